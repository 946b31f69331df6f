//! `validate`: every sample of the bundle, once.

use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use anyhow::{Context, Result};
use limbeck_engine::{Integers, argmax};

use crate::loaded::Loaded;
use crate::output::{Validation, emit};

/// Samples whose outputs are shown, where they are floats: the host compares them with its own.
const SHOWN: usize = 64;

/// Run all samples on `threads` threads.
pub fn validate(loaded: &Loaded, threads: usize) -> Result<ExitCode> {
    let start = Instant::now();
    let samples = &loaded.bundle.samples;
    let results = run_all(loaded, threads)?;
    let mut validation = Validation {
        kind: "validate",
        n: samples.len(),
        labelled: 0,
        correct: 0,
        answered: 0,
        agreeing: 0,
        integers: results.iter().map(|ran| ran.integers.count).sum(),
        digest: limbeck_engine::combined_digest(results.iter().map(|ran| ran.integers)),
        classes: results.iter().map(|ran| ran.class).collect(),
        outputs: results.into_iter().map_while(|ran| ran.outputs).collect(),
        seconds: 0.0,
    };
    for (sample, &class) in samples.iter().zip(&validation.classes) {
        let matches = |expected: Option<u16>| expected.map(|e| e as usize == class);
        validation.labelled += matches(sample.label).is_some() as usize;
        validation.correct += (matches(sample.label) == Some(true)) as usize;
        validation.answered += matches(sample.teacher).is_some() as usize;
        validation.agreeing += (matches(sample.teacher) == Some(true)) as usize;
    }
    validation.seconds = start.elapsed().as_secs_f64();
    emit(&validation)?;
    Ok(ExitCode::SUCCESS)
}

/// What one sample gave.
struct Ran {
    class: usize,
    integers: Integers,
    /// Of the first [`SHOWN`] samples of a student that does not compute the same bits everywhere.
    outputs: Option<Vec<f32>>,
}

/// What every sample gave, in order, whatever the number of threads.
fn run_all(loaded: &Loaded, threads: usize) -> Result<Vec<Ran>> {
    let count = loaded.bundle.samples.len();
    let is_shown =
        |i: usize| i < SHOWN && (loaded.student.integer_operators() == 0 || !loaded.student.integers_are_exact());
    let next = AtomicUsize::new(0);
    let results: Mutex<Vec<(usize, Result<Ran>)>> = Mutex::new(Vec::with_capacity(count));
    let one = |worker: &mut limbeck_engine::StudentWorker<'_>, i: usize| -> Result<Ran> {
        let mut logits = vec![0.0; loaded.student.output_len()];
        let integers = worker.run_hashed(&loaded.input(i)?, &mut logits)?;
        Ok(Ran { class: argmax(&logits), integers, outputs: is_shown(i).then_some(logits) })
    };
    let work = || -> Result<()> {
        let mut worker = loaded.student.worker()?;
        loop {
            let i = next.fetch_add(1, Ordering::Relaxed);
            if i >= count {
                return Ok(());
            }
            let result = one(&mut worker, i);
            results.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).push((i, result));
        }
    };
    std::thread::scope(|scope| {
        let others: Vec<_> = (1..threads.clamp(1, count.max(1))).map(|_| scope.spawn(work)).collect();
        work()?;
        others.into_iter().try_for_each(|t| t.join().map_err(|_| anyhow::anyhow!("a thread died"))?)
    })?;
    let mut results = results.into_inner().unwrap_or_else(|poisoned| poisoned.into_inner());
    results.sort_by_key(|(i, _)| *i);
    results.into_iter().map(|(i, r)| r.with_context(|| format!("sample {i}"))).collect()
}
