//! `bench`: the latency of one inference, and what it needs in memory.
//!
//! Only the student is timed: the samples are preprocessed before, and logits are not looked at.

use std::path::Path;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Result, ensure};
use limbeck_measure::{Environment, Protocol, measure, monotonic_clock, peak_rss_bytes};

use crate::loaded::Loaded;
use crate::output::{Benchmark, emit};

/// Samples that take turns as input, so that no single one stays in the caches.
const INPUTS: usize = 8;

/// How long to measure.
#[derive(clap::Args)]
pub struct Options {
    /// The full protocol: 5 windows of 10 s (default: quick, 3 windows of 2 s, marked as quick).
    #[arg(long, conflicts_with_all = ["windows", "seconds", "min_runs"])]
    full: bool,
    /// Windows.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=16))]
    windows: Option<u32>,
    /// Seconds a window.
    #[arg(long)]
    seconds: Option<f64>,
    /// Fewest runs a window.
    #[arg(long)]
    min_runs: Option<u64>,
}

impl Options {
    fn protocol(&self) -> Result<Protocol> {
        if self.full {
            return Ok(Protocol::full());
        }
        let seconds = self.seconds.unwrap_or(2.0);
        ensure!(seconds.is_finite() && (0.0..=3600.0).contains(&seconds), "--seconds {seconds}: 0 to 3600");
        let quick = Protocol::quick(seconds);
        Ok(Protocol {
            windows: self.windows.unwrap_or(quick.windows),
            min_per_window: self.min_runs.unwrap_or(quick.min_per_window),
            ..quick
        })
    }
}

/// Load the bundle and measure it.
pub fn bench(bundle: &Path, options: &Options) -> Result<ExitCode> {
    let protocol = options.protocol()?;
    let start = Instant::now();
    let loaded = Loaded::read(bundle)?;
    let mut worker = loaded.student.worker()?;
    let load_ms = start.elapsed().as_secs_f64() * 1e3;
    let count = loaded.bundle.samples.len();
    ensure!(count > 0, "{}: the bundle has no samples to run", bundle.display());
    let inputs = (0..INPUTS.min(count)).map(|i| loaded.input(i)).collect::<Result<Vec<_>>>()?;
    let mut logits = vec![0.0; loaded.student.output_len()];
    let mut turn = inputs.iter().cycle();
    let latency = measure(
        &mut monotonic_clock(),
        &mut || match turn.next() {
            Some(x) => worker.run(x, &mut logits),
            None => Ok(()),
        },
        &protocol,
    )?;
    emit(&Benchmark {
        kind: "bench",
        latency,
        load_ms,
        arena_bytes: loaded.student.arena_bytes(),
        peak_rss_bytes: peak_rss_bytes(),
        environment: Environment::read(),
    })?;
    Ok(ExitCode::SUCCESS)
}
