//! `profile`: the steps of an inference that take longest, on this board.

use std::process::ExitCode;

use anyhow::Result;
use serde::Serialize;

use crate::loaded::Loaded;
use crate::output::emit;

/// Steps that are printed.
const SHOWN: usize = 20;

/// What `profile` found.
#[derive(Serialize)]
struct Profiled {
    kind: &'static str,
    /// Inferences that were timed step by step.
    runs: usize,
    /// Median of the whole inference, with a clock read after each step, and without.
    inference_us: f64,
    undisturbed_us: f64,
    /// The slowest first.
    nodes: Vec<Node>,
}

/// One step.
#[derive(Serialize)]
struct Node {
    name: String,
    op: String,
    /// Median, without that of steps inside it.
    us: f64,
    /// Of the sum over all steps, 0 to 1.
    share: f64,
    /// Multiply-accumulates; none where it multiplies no weights.
    macs: Option<u64>,
}

/// Time each step over `runs` inferences of the bundle's first sample.
pub fn profile(loaded: &Loaded, runs: usize) -> Result<ExitCode> {
    let profile = loaded.student.profile(&loaded.input(0)?, runs)?;
    let us = |ns: u64| ns as f64 / 1e3;
    let all = profile.steps_ns().max(1) as f64;
    let node = |(step, &ns): (&limbeck_engine::Step, &u64)| Node {
        name: step.name.clone(),
        op: step.class.clone(),
        us: us(ns),
        share: ns as f64 / all,
        macs: (step.macs > 0).then_some(step.macs),
    };
    let mut nodes: Vec<Node> = profile.steps.iter().zip(&profile.median_ns).map(node).collect();
    nodes.sort_by(|a, b| b.us.total_cmp(&a.us));
    nodes.truncate(SHOWN);
    let (inference_us, undisturbed_us) = (us(profile.inference_ns), us(profile.undisturbed_ns));
    emit(&Profiled { kind: "profile", runs: profile.runs, inference_us, undisturbed_us, nodes })?;
    Ok(ExitCode::SUCCESS)
}
