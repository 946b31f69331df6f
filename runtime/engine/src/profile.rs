//! Where the time of an inference goes, step by step.
//!
//! Runs with a clock inside and runs without one take turns, so that what looking costs is in the result:
//! `inference_ns - undisturbed_ns`. A step's time is the median over the runs.

use std::time::Instant;

use crate::error::EngineError;
use crate::observe::{self, Span};
use crate::steps::Step;
use crate::student::Student;

/// A profile of one model on one path of this machine.
#[derive(Debug, Clone, PartialEq)]
pub struct Profile {
    /// The steps of one run, in execution order; one of a plan inside a tract graph stands before the node that holds the plan.
    pub steps: Vec<Step>,
    /// Median time of each step, without that of steps inside it.
    pub median_ns: Vec<u64>,
    /// Inferences that were timed step by step; as many were timed as a whole only.
    pub runs: usize,
    /// Median of the whole inference, with a clock read after each step.
    pub inference_ns: u64,
    /// Median of the whole inference without.
    pub undisturbed_ns: u64,
    /// The fastest of those: far from the median where other programs ran, too.
    pub fastest_ns: u64,
    /// Each step in the run of median length.
    pub spans: Vec<Span>,
}

impl Profile {
    /// Sum over all steps.
    pub fn steps_ns(&self) -> u64 {
        self.median_ns.iter().sum()
    }
}

impl Student {
    /// Times every step of an inference: medians over `runs` inferences of `x` (at least one), after a few that are not counted.
    ///
    /// # Errors
    /// Those of a run.
    pub fn profile(&self, x: &[f32], runs: usize) -> Result<Profile, EngineError> {
        let steps = self.steps();
        let mut worker = self.worker()?;
        let mut logits = vec![0.0; self.output_len()];
        let runs = runs.max(1);
        let warm_up = 3 + runs / 5;
        let mut whole = Vec::with_capacity(runs);
        let mut timed: Vec<(u64, Vec<Span>)> = Vec::with_capacity(runs);
        for i in 0..warm_up + runs {
            let start = Instant::now();
            worker.run(x, &mut logits)?;
            let undisturbed = start.elapsed().as_nanos() as u64;
            let (result, spans, inference) = observe::timed(steps.len(), || worker.run_timed(x, &mut logits));
            result?;
            if spans.len() != steps.len() {
                let (saw, has) = (spans.len(), steps.len());
                return Err(EngineError::Unsuitable(format!("a run took {saw} steps, the model has {has}")));
            }
            if i >= warm_up {
                whole.push(undisturbed);
                timed.push((inference, spans));
            }
        }
        let column = |step: usize| median(timed.iter().map(|(_, spans)| spans[step].own_ns).collect());
        let median_ns = (0..steps.len()).map(column).collect();
        timed.sort_by_key(|(inference, _)| *inference);
        let (inference_ns, spans) = timed.swap_remove(runs / 2);
        let fastest_ns = whole.iter().copied().min().unwrap_or(0);
        Ok(Profile { steps, median_ns, runs, inference_ns, undisturbed_ns: median(whole), fastest_ns, spans })
    }
}

/// The upper one of two middle values.
fn median(mut values: Vec<u64>) -> u64 {
    values.sort_unstable();
    values.get(values.len() / 2).copied().unwrap_or(0)
}
