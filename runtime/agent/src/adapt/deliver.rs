//! The accepted student becomes a bundle: a file, an install, or both. Nothing is replaced before what was written has been
//! read back and has computed its own probes.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use limbeck_answers::{Preprocess, View};
use limbeck_bundle::{Adapted, Bundle, Probe};
use limbeck_engine::{Student, argmax};
use limbeck_files::disk::{Disk, RealDisk};

use super::lock::Lock;
use super::options::Options;
use super::slots::{SlotError, Slots};
use crate::loaded::Loaded;
use crate::probe::differing;

/// Probes of a bundle whose parent had none.
const PROBES: usize = 8;

/// Where the new bundle goes.
pub struct Delivery<'a> {
    disk: &'a RealDisk,
    out: Option<PathBuf>,
    install: Option<(Slots<'a, RealDisk>, Lock)>,
}

/// Where it went.
pub struct Delivered {
    /// Of the bundle.
    pub sha256: String,
    pub out: Option<String>,
    pub slot: Option<u32>,
}

impl<'a> Delivery<'a> {
    /// Before anything is trained: the install is locked, and what is adapted is what is current in it.
    pub fn open(disk: &'a RealDisk, options: &Options) -> Result<Delivery<'a>> {
        let mut install = None;
        if let Some(workdir) = &options.install {
            let lock = Lock::acquire(workdir)?;
            let slots = Slots::new(disk, workdir);
            let current = slots.bundle(slots.current()?);
            let same = |a: &Path, b: &Path| Some(a.canonicalize().ok()? == b.canonicalize().ok()?);
            if same(&current, &options.bundle) != Some(true) {
                return Err(SlotError::NotCurrent { bundle: options.bundle.clone(), current }.into());
            }
            install = Some((slots, lock));
        }
        Ok(Delivery { disk, out: options.out.clone(), install })
    }

    /// Put `student` into `bundle` and deliver it.
    ///
    /// # Errors
    /// A full disk, or bytes that do not come back as they were written; what was there is as it was.
    pub fn deliver(
        &self,
        bundle: Bundle,
        bytes: Vec<u8>,
        student: &Student,
        preprocess: &Preprocess,
        origin: Adapted,
    ) -> Result<Delivered> {
        let probes = probes(&bundle, student, preprocess)?;
        let emitted = bundle.with_adapted(bytes, origin, probes).emit();
        let sha256 = limbeck_files::sha256_hex(&emitted);
        if let Some(out) = &self.out {
            // Checked under another name: `out` may be a good bundle that is to be replaced.
            let candidate = out.with_extension("candidate");
            let checked = (self.disk.replace(&candidate, &emitted).map_err(anyhow::Error::from))
                .and_then(|()| fits(&candidate).map_err(anyhow::Error::msg))
                .and_then(|()| Ok(self.disk.rename(&candidate, out)?));
            if let Err(error) = checked {
                let _ = self.disk.remove(&candidate);
                return Err(error.context(format!("{}: the old student stays", out.display())));
            }
            self.disk.sync_dir(out.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new(".")))?;
        }
        let slot = self.install.as_ref().map(|(slots, _)| slots.add(&emitted, fits)).transpose()?;
        Ok(Delivered { sha256, out: self.out.as_ref().map(|p| p.display().to_string()), slot })
    }
}

/// Does the bundle that lies there compute what its probes say?
fn fits(path: &Path) -> Result<(), String> {
    let differing = Loaded::read(path).and_then(|loaded| differing(&loaded)).map_err(|e| format!("{e:#}"))?;
    if differing.is_empty() { Ok(()) } else { Err(format!("probes {differing:?} differ")) }
}

/// What the student computes for the samples that its parent was probed with.
fn probes(bundle: &Bundle, student: &Student, preprocess: &Preprocess) -> Result<Vec<Probe>> {
    let mut samples: Vec<usize> = bundle.manifest.probes.iter().map(|p| p.sample).collect();
    if samples.is_empty() {
        samples = (0..bundle.samples.len().min(PROBES)).collect();
    }
    let mut worker = student.worker()?;
    let (mut x, mut logits) = (vec![0.0; student.input_len()], vec![0.0; student.output_len()]);
    let mut probes = vec![];
    for sample in samples {
        let bundled = bundle.samples.get(sample).with_context(|| format!("no sample {sample}"))?;
        preprocess.run(&bundled.image, View::Identity, &mut x).with_context(|| format!("sample {sample}"))?;
        let integers = worker.run_hashed(&x, &mut logits)?;
        let digest = format!("{:032x}", integers.digest);
        probes.push(Probe { sample, class: argmax(&logits), integers: integers.count, digest });
    }
    Ok(probes)
}
