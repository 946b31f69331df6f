//! `bench`: what one inference takes, in time, memory and energy. One pass a process.
//!
//! | pass | file | prints |
//! |---|---|---|
//! | windows (protocol single-stream v1) | `windows` | `bench` |
//! | `--cold` | `cold` | `cold`; a process it starts: `cold-start` |
//! | `--memory` | `memory` | `memory` |
//! | `--sustained` | `sustained` | `minute` as it goes, `sustained` |
//!
//! Only the student is timed: the samples are preprocessed before, and logits are not looked at. A measurement whose conditions were not
//! as they should be is printed with `"valid":false` and the reasons, and the exit code is 5.

mod cold;
mod memory;
mod options;
mod sustained;
mod windows;

use std::path::Path;
use std::process::ExitCode;

use anyhow::{Result, ensure};
use limbeck_engine::{EngineError, StudentWorker};
use limbeck_measure::Validity;

use crate::loaded::Loaded;

pub use options::Options;

/// Samples that take turns as input, so that no single one stays in the caches.
const INPUTS: usize = 8;

/// Exit code of a measurement that does not count.
const INVALID: u8 = 5;

/// Run the pass that was asked for.
pub fn bench(bundle: &Path, options: &Options) -> Result<ExitCode> {
    let pass = &options.pass;
    match (pass.cold, pass.sustained) {
        (Some(starts), _) => cold::cold(bundle, starts, &options.conditions),
        (_, Some(length)) => sustained::sustained(bundle, length, &options.conditions),
        _ if pass.cold_start => cold::cold_start(bundle, &options.conditions),
        _ if pass.memory => memory::memory(bundle, &options.conditions),
        _ => windows::windows(bundle, options),
    }
}

/// The exit code that goes with a verdict.
fn code(validity: &Validity) -> ExitCode {
    if validity.valid { ExitCode::SUCCESS } else { ExitCode::from(INVALID) }
}

/// Inferences, one input after the other.
struct Inferences<'a> {
    worker: StudentWorker<'a>,
    inputs: Vec<Vec<f32>>,
    next: usize,
    logits: Vec<f32>,
}

impl<'a> Inferences<'a> {
    /// With the first samples of the bundle, preprocessed.
    fn of(loaded: &'a Loaded, worker: StudentWorker<'a>) -> Result<Inferences<'a>> {
        let count = loaded.bundle.samples.len();
        ensure!(count > 0, "the bundle has no samples to run; make it again with --samples");
        let inputs = (0..INPUTS.min(count)).map(|i| loaded.input(i)).collect::<Result<Vec<_>>>()?;
        Ok(Inferences { worker, inputs, next: 0, logits: vec![0.0; loaded.student.output_len()] })
    }

    /// One inference.
    fn run(&mut self) -> Result<(), EngineError> {
        let x = &self.inputs[self.next];
        self.next = (self.next + 1) % self.inputs.len();
        self.worker.run(x, &mut self.logits)
    }
}
