//! `probe`: does the board compute what the host computed?

use std::process::ExitCode;

use anyhow::Result;

use crate::Loaded;
use crate::output::{Probed, emit};

/// Run every probe of the bundle and compare digests. A float student's probes compare the chosen class.
pub fn probe(loaded: &Loaded) -> Result<ExitCode> {
    let mut worker = loaded.student.worker()?;
    let mut logits = vec![0.0; loaded.student.output_len()];
    let mut differing = vec![];
    let probes = &loaded.bundle.manifest.probes;
    for probe in probes {
        let integers = worker.run_hashed(&loaded.input(probe.sample)?, &mut logits)?;
        let digest = format!("{:032x}", integers.digest);
        let equal = if integers.count > 0 || probe.integers > 0 {
            digest == probe.digest && integers.count == probe.integers
        } else {
            limbeck_engine::argmax(&logits) == probe.class
        };
        if !equal {
            differing.push(probe.sample);
        }
    }
    let code = if differing.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(3) };
    emit(&Probed { kind: "probe", probes: probes.len(), differing })?;
    Ok(code)
}
