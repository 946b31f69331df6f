//! What is counted: one plan, run between marker system calls, without tract and without files but the plan.
//!
//! ```text
//! limbeck-guest              the kernel paths of this program on this CPU, slowest first, `path NAME` a line; the last
//!                            is taken unless LIMBECK_ISA names another
//! limbeck-guest suite        the kernels of every path against their references, `met PATH` a line
//! limbeck-guest PLAN RUNS    one hashed run, then RUNS runs, each followed by a marker
//! ```
//! `limbeck-tests` builds it for other CPUs and runs it under emulators (`tests/instructions/README.md`); it runs anywhere.
//! PLAN is a file of plan bytes. Every input is the ramp x[i] = (i % 251) / 125 - 1, and the digest is that of
//! `limbeck_engine::Integers`: XXH3-128 over every integer tensor in execution order, each preceded by its name and a 0.
//!
//! The marker is `getppid`: it costs nothing, nothing else here calls it, and an emulator's plugin sees it. One stands before
//! the first counted run and one after each.

#![forbid(unsafe_code)]

use std::error::Error;

use limbeck_plan::{Isa, PlanBuf};
use xxhash_rust::xxh3::Xxh3;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let isa = path()?;
    match &arguments[..] {
        [] => Isa::available().for_each(|isa| println!("path {}", isa.name())),
        [suite] if suite == "suite" => {
            for isa in Isa::available() {
                limbeck_kernels::suite::all(isa);
                println!("met {}", isa.name());
            }
        }
        [plan, runs] => {
            println!("path {}", isa.name());
            count(PlanBuf::new(std::fs::read(plan)?)?, isa, runs.parse()?)?;
        }
        _ => return Err("usage: limbeck-guest [suite | PLAN RUNS]".into()),
    }
    Ok(())
}

/// The path that runs: what LIMBECK_ISA names, or the fastest.
fn path() -> Result<Isa, String> {
    let Ok(wanted) = std::env::var("LIMBECK_ISA") else { return Ok(Isa::detect()) };
    Isa::named(&wanted).ok_or_else(|| {
        let paths: Vec<&str> = Isa::available().map(Isa::name).collect();
        format!("LIMBECK_ISA={wanted}: this CPU has the paths {}", paths.join(", "))
    })
}

fn count(plan: PlanBuf, isa: Isa, runs: usize) -> Result<(), Box<dyn Error>> {
    let packed = plan.pack(isa)?;
    let packed = packed.plan();
    let plan = packed.plan();
    let ramp = |n: usize| (0..n).map(|i| (i % 251) as f32 / 125.0 - 1.0).collect::<Vec<f32>>();
    let inputs: Vec<Vec<f32>> = plan.inputs().map(|t| ramp(t.shape.elements())).collect();
    let xs: Vec<&[f32]> = inputs.iter().map(Vec::as_slice).collect();
    let mut outputs: Vec<Vec<f32>> = plan.outputs().map(|t| vec![0.0; t.shape.elements()]).collect();
    let mut ys: Vec<&mut [f32]> = outputs.iter_mut().map(Vec::as_mut_slice).collect();
    let mut arena = vec![0; packed.arena_bytes()];

    let (mut hasher, mut integers) = (Xxh3::new(), 0);
    packed.run(&xs, &mut ys, &mut arena, |tensor, data| {
        hasher.update(tensor.name.as_bytes());
        hasher.update(&[0]);
        let mut block = [0u8; 512];
        for chunk in data.chunks(block.len()) {
            block.iter_mut().zip(chunk).for_each(|(b, &q)| *b = q as u8);
            hasher.update(&block[..chunk.len()]);
        }
        integers += data.len();
    })?;
    println!("integers {integers}\ndigest {:032x}", hasher.digest128());

    let expected: Vec<Vec<f32>> = ys.iter().map(|y| y.to_vec()).collect();
    mark();
    for _ in 0..runs {
        packed.run(&xs, &mut ys, &mut arena, |_, _| ())?;
        mark();
    }
    if ys.iter().zip(&expected).any(|(y, expected)| **y != expected[..]) {
        return Err("a counted run gave other outputs than the hashed one".into());
    }
    Ok(())
}

fn mark() {
    let _ = std::os::unix::process::parent_id();
}
