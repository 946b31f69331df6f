//! The sustained pass: a line a minute, as it goes.

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;
use limbeck_measure::{
    Conditions, Environment, Instruments, Minute, Samples, Stretches, SustainedRecord, Validity, monotonic_clock,
    sustain,
};

use super::options::ConditionOptions;
use super::{Inferences, code};
use crate::loaded::Loaded;
use crate::output::{Line, emit};

/// Durations kept of a minute: every percentile rests on an even sample of it.
const KEPT: usize = 1 << 15;

/// Load the bundle and run it for `length`.
pub fn sustained(bundle: &Path, length: Duration, conditions: &ConditionOptions) -> Result<ExitCode> {
    conditions.settle();
    conditions.pin()?;
    let root = conditions.root();
    let environment = Environment::read_from(root);
    let before = environment.before(Conditions::read_from(root));
    let loaded = Loaded::read(bundle)?;
    let worker = loaded.student.worker()?;
    let mut inferences = Inferences::of(&loaded, worker)?;
    let stretches = Stretches::minutes_of(length.as_secs_f64());
    let mut edges = Vec::new();
    let mut each = |minute: &Minute| -> Result<()> {
        edges.push(minute.edges);
        emit(&Line { kind: "minute", record: minute })
    };
    let mut instruments = Instruments { clock: monotonic_clock(), conditions: |_| Conditions::read_from(root) };
    let mut run = || -> Result<()> { Ok(inferences.run()?) };
    let mut samples = Box::new(Samples::<KEPT>::new());
    let sustained = sustain(&mut instruments, &mut run, stretches, &mut samples, &mut each)?;

    let setting = conditions.setting();
    let validity = Validity::judge(&setting.limits, &before, &edges);
    let code = code(&validity);
    emit(&Line { kind: "sustained", record: SustainedRecord { sustained, validity, setting, environment } })?;
    Ok(code)
}
