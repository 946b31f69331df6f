//! What the agent prints: one JSON object a line. The host reads these structures back.

use std::io::Write;

use limbeck_adapt::AdaptError;
use limbeck_bundle::{BundleError, TrustError};
use limbeck_files::FileError;
use limbeck_measure::PinError;
use limbeck_measure::energy::EnergyError;
use serde::Serialize;

use crate::adapt::{LockError, SlotError};

/// The bundle or the model in it cannot be used here: exit code 9.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Refused(pub String);

/// A process that this one started did not get to its first answer.
#[derive(Debug, thiserror::Error)]
#[error("a cold start failed: {status}")]
pub struct ColdStartFailed {
    /// How it ended.
    pub status: std::process::ExitStatus,
    /// Its exit code, which becomes ours.
    pub code: u8,
}

/// The exit code of a program that ends with this error.
pub fn code(error: &anyhow::Error) -> u8 {
    for cause in error.chain() {
        match cause.downcast_ref() {
            Some(AdaptError::Budget { .. }) => return 4,
            Some(AdaptError::File(file)) if file.is_full_disk() => return 8,
            Some(_) => return 9,
            None if cause.is::<Refused>() => return 9,
            None => {}
        }
        match cause.downcast_ref() {
            Some(LockError::Busy { .. }) => return 6,
            Some(LockError::File(file)) if file.is_full_disk() => return 8,
            _ => {}
        }
        match cause.downcast_ref() {
            Some(SlotError::NotCurrent { .. } | SlotError::NotInstalled { .. }) => return 2,
            Some(SlotError::File(file)) if file.is_full_disk() => return 8,
            _ => {}
        }
        if cause.is::<PinError>() || matches!(cause.downcast_ref(), Some(EnergyError::NoMeter { .. })) {
            return 2;
        }
        // A model that loads and then fails is to blame as much as one that does not load.
        if cause.is::<limbeck_engine::EngineError>() {
            return 9;
        }
        if let Some(ColdStartFailed { code, .. }) = cause.downcast_ref() {
            return *code;
        }
        if cause.is::<TrustError>() || matches!(cause.downcast_ref(), Some(BundleError::Untrusted { .. })) {
            return 7;
        }
        if cause.downcast_ref::<FileError>().is_some_and(FileError::is_full_disk) {
            return 8;
        }
    }
    1
}

/// The first line.
#[derive(Serialize)]
pub struct Header {
    /// Version of these lines.
    pub schema_version: u32,
    /// Version of the agent.
    pub agent: &'static str,
    /// What it was compiled for.
    pub arch: &'static str,
    /// Which int8 kernels run.
    pub kernels: &'static str,
    /// The arithmetic they compute.
    pub arithmetic: &'static str,
}

impl Header {
    /// The line of this build.
    pub fn of_this_program() -> Header {
        Header {
            schema_version: 1,
            agent: env!("CARGO_PKG_VERSION"),
            arch: std::env::consts::ARCH,
            kernels: limbeck_engine::path()
                .map_or("none: LIMBECK_ISA names a path that this CPU has not", |isa| isa.name()),
            arithmetic: "f32-rne/1",
        }
    }
}

/// One inference.
#[derive(Serialize)]
pub struct Inference {
    pub kind: &'static str,
    pub sample: usize,
    pub class: usize,
    pub label: Option<String>,
    pub logits: Vec<f32>,
}

/// What `probe` found.
#[derive(Serialize)]
pub struct Probed {
    pub kind: &'static str,
    /// Probes in the bundle.
    pub probes: usize,
    /// Samples on which the board's integers differ from the host's.
    pub differing: Vec<usize>,
}

/// What `validate` found.
#[derive(Serialize)]
pub struct Validation {
    pub kind: &'static str,
    /// Samples run.
    pub n: usize,
    /// Samples with a label, and how many of them the student got right.
    pub labelled: usize,
    pub correct: usize,
    /// Samples with a teacher's choice, and on how many the student chose the same.
    pub answered: usize,
    pub agreeing: usize,
    /// Integers the student produced in all, and their digest.
    pub integers: u64,
    pub digest: String,
    /// The class chosen for each sample.
    pub classes: Vec<usize>,
    /// Outputs of the first samples, where they are floats that a machine may sum in its own order.
    pub outputs: Vec<Vec<f32>>,
    pub seconds: f64,
}

/// A record of `limbeck-measure`, with its kind.
#[derive(Serialize)]
pub struct Line<T> {
    pub kind: &'static str,
    #[serde(flatten)]
    pub record: T,
}

/// Print one line.
pub fn emit(value: &impl Serialize) -> anyhow::Result<()> {
    let line = serde_json::to_string(value)?;
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}")?;
    out.flush()?;
    Ok(())
}

/// Did the reader of stdout go away, as with `| head -1`?
pub fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.downcast_ref::<std::io::Error>().is_some_and(|e| e.kind() == std::io::ErrorKind::BrokenPipe)
}
