//! `cargo run -p limbeck-engine --example run -- MODEL.onnx [INPUT.f32 [OUTPUT.f32]]`: what of a model is integer, what stays
//! float and why, its output for one input (raw little-endian f32; a ramp without a file), and the time of one run.

use std::time::Instant;

use limbeck_engine::{Student, onnx::Model};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let model = Model::read(arguments.next().ok_or("usage: run MODEL.onnx [INPUT.f32 [OUTPUT.f32]]")?)?;
    let student = Student::load(&model)?;
    println!("{} integer operators; float:", student.integer_operators());
    for node in student.float_nodes() {
        println!("  {}: {}", node.node, node.reason);
    }
    let x: Vec<f32> = match arguments.next() {
        Some(file) => std::fs::read(file)?.as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b)).collect(),
        None => (0..student.input_len()).map(|i| (i % 251) as f32 / 125.0 - 1.0).collect(),
    };
    let mut worker = student.worker()?;
    let mut logits = vec![0.0; student.output_len()];
    let integers = worker.run_hashed(&x, &mut logits)?;
    println!("output {:?}", &logits[..logits.len().min(12)]);
    println!("{} integers, digest {:032x}", integers.count, integers.digest);
    if let Some(file) = arguments.next() {
        std::fs::write(file, logits.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<_>>())?;
    }
    let mut best = f64::INFINITY;
    for _ in 0..20 {
        let start = Instant::now();
        worker.run(&x, &mut logits)?;
        best = best.min(start.elapsed().as_secs_f64() * 1e3);
    }
    println!("best of 20 runs: {best:.3} ms");
    Ok(())
}
