//! `probe`: may this board take the bundle, and does it compute what the host computed?
//!
//! Integer for integer where the student's integers are the same on every machine; else the class it chooses.

use std::path::Path;
use std::process::ExitCode;

use anyhow::Result;
use limbeck_bundle::{Bundle, Trust};

use crate::loaded::Loaded;
use crate::output::{Probed, Refused, emit};

/// Run every probe of the bundle and compare digests; first ask `admit`, the working folder of a board, whether it is for this board.
pub fn probe(path: &Path, admit: Option<&Path>) -> Result<ExitCode> {
    let bundle = Bundle::read(path).map_err(|e| Refused(e.to_string()))?;
    if let Some(workdir) = admit {
        Trust::read(workdir)?.admit(&bundle, path)?;
    }
    let loaded = Loaded::of(bundle, path)?;
    let (probes, differing) = (loaded.bundle.manifest.probes.len(), differing(&loaded)?);
    let code = if differing.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(3) };
    emit(&Probed { kind: "probe", probes, differing })?;
    Ok(code)
}

/// Samples of the probes on which this machine computes something else.
pub fn differing(loaded: &Loaded) -> Result<Vec<usize>> {
    let mut worker = loaded.student.worker()?;
    let mut logits = vec![0.0; loaded.student.output_len()];
    let mut differing = vec![];
    for probe in &loaded.bundle.manifest.probes {
        let integers = worker.run_hashed(&loaded.input(probe.sample)?, &mut logits)?;
        let digest = format!("{:032x}", integers.digest);
        let has_integers = integers.count > 0 || probe.integers > 0;
        let equal = if has_integers && loaded.student.integers_are_exact() {
            digest == probe.digest && integers.count == probe.integers
        } else {
            limbeck_engine::argmax(&logits) == probe.class
        };
        if !equal {
            differing.push(probe.sample);
        }
    }
    Ok(differing)
}
