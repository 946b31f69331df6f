//! The deployable file: everything a board needs to run, check and measure a student.
//!
//! A bundle is a tar archive (any tool opens it) with these members, in this order; those marked * may be missing:
//!
//! ```text
//! manifest.json      format, version, what made it, sha-256 of the members below, probes, budgets
//! manifest.sha256    sha-256 of manifest.json
//! manifest.minisig * signature of manifest.json, and so of everything (ed25519, as minisign writes it)
//! student.onnx       float or QDQ
//! student.plan     * the int8 plan that the student compiles to, where it is one plan and nothing else
//! card.toml          the student's card
//! samples.bin        test samples: pixels, labels, the teacher's choices (layout: `samples`)
//! replay.bin       * samples that the student was distilled on, with all that the teacher said (layout: `replay`)
//! ```
//!
//! | format | adds |
//! |---|---|
//! | 1 | manifest, student, card, samples |
//! | 2 | `replay.bin`, and in the manifest `adapted`: what a student that was tuned on a board came from |
//! | 3 | `student.plan`, `manifest.minisig`, and in the manifest `version` and `budgets` |
//!
//! A bundle is written in the lowest format that holds it, so that an old agent still reads what it understands.
//!
//! Nothing is unpacked to disk. [`Bundle::read`] checks every hash before anything is used, so a bundle is whole or refused.
//! A *probe* is the digest of every integer that the host computed for one sample: a board that computes the same has the
//! same arithmetic. Who may put a bundle on a board is decided by [`Trust`]: the board remembers a key and the highest version it
//! had, and takes nothing else and nothing older.

#![forbid(unsafe_code)]

mod archive;
mod budgets;
mod error;
mod manifest;
mod replay;
mod samples;
mod signature;
mod trust;

use std::collections::BTreeMap;
use std::path::Path;

use limbeck_answers::Card;
use limbeck_files::{sha256_hex, write_atomic};
use serde::Deserialize;

// What a bundle says of itself.
pub use budgets::{Budget, Budgets, BudgetsError};
pub use error::BundleError;
pub use manifest::{Adapted, Manifest, Probe};
// What is in it.
pub use replay::{Replay, ReplaySample};
pub use samples::{BundledSample, Samples};
// Whom a board believes.
pub use signature::{KeyError, PublicKey, Signature};
pub use trust::{TRUSTED_KEY, Trust, TrustError, Untrusted, VERSION_FILE};

/// The newest version of the bundle that this build writes and reads.
pub const FORMAT: u32 = 3;

const MANIFEST: &str = "manifest.json";
const MANIFEST_HASH: &str = "manifest.sha256";
const SIGNATURE: &str = "manifest.minisig";
const STUDENT: &str = "student.onnx";
const PLAN: &str = "student.plan";
const CARD: &str = "card.toml";
const SAMPLES: &str = "samples.bin";
const REPLAY: &str = "replay.bin";

/// Student, card and samples, whole.
#[derive(Debug, Clone)]
pub struct Bundle {
    /// What the bundle says of itself.
    pub manifest: Manifest,
    /// The student's ONNX bytes.
    pub student: Vec<u8>,
    /// The plan that it compiles to; none where it is more than a plan.
    pub plan: Option<Vec<u8>>,
    /// The student's card.
    pub card: Card,
    /// Test samples.
    pub samples: Samples,
    /// What adaptation must not forget; none in a bundle that was made without.
    pub replay: Option<Replay>,
    /// Who says that this is the bundle; none where nobody does.
    signature: Option<Signature>,
}

impl Bundle {
    /// Put a bundle together. Hashes of the members are filled in here.
    pub fn new(name: &str, student: Vec<u8>, card: Card, samples: Samples) -> Bundle {
        let members = BTreeMap::from([
            (STUDENT.to_owned(), sha256_hex(&student)),
            (CARD.to_owned(), sha256_hex(card.to_toml().as_bytes())),
            (SAMPLES.to_owned(), sha256_hex(&samples.emit())),
        ]);
        let manifest = Manifest { format: 1, name: name.into(), tool: tool(), members, ..Manifest::default() };
        Bundle { manifest, student, plan: None, card, samples, replay: None, signature: None }
    }

    /// Add the set that adaptation must not forget.
    pub fn with_replay(mut self, replay: Replay) -> Bundle {
        self.manifest.members.insert(REPLAY.into(), sha256_hex(&replay.emit()));
        self.manifest.format = self.manifest.format.max(2);
        self.replay = Some(replay);
        self
    }

    /// Add the plan that the student compiles to.
    pub fn with_plan(mut self, plan: Vec<u8>) -> Bundle {
        self.manifest.members.insert(PLAN.into(), sha256_hex(&plan));
        self.manifest.format = FORMAT;
        self.plan = Some(plan);
        self
    }

    /// Number it, and say what it must reach.
    pub fn with_promises(mut self, version: u64, budgets: Budgets) -> Bundle {
        if version > 0 || !budgets.is_empty() {
            self.manifest.format = FORMAT;
        }
        (self.manifest.version, self.manifest.budgets) = (version, budgets);
        self
    }

    /// The same bundle with another student, which was tuned from this one on a board, and what it computes. Nobody has signed it,
    /// and the old plan is not its plan.
    pub fn with_adapted(mut self, student: Vec<u8>, adapted: Adapted, probes: Vec<Probe>) -> Bundle {
        self.manifest.members.insert(STUDENT.into(), sha256_hex(&student));
        self.manifest.members.remove(PLAN);
        self.manifest.tool = tool();
        self.manifest.sources.insert("student".into(), sha256_hex(&student));
        self.manifest.format = self.manifest.format.max(2);
        (self.student, self.manifest.probes, self.manifest.adapted) = (student, probes, Some(adapted));
        (self.plan, self.signature) = (None, None);
        self
    }

    /// What a signature is of: the manifest, which holds the hash of everything else, as it will be written.
    pub fn signable(&mut self) -> Vec<u8> {
        self.manifest.format = FORMAT;
        self.manifest_bytes()
    }

    /// Add the signature of [`Bundle::signable`]. Whatever is changed afterwards drops it.
    pub fn with_signature(mut self, minisig: String) -> Bundle {
        let signed = self.signable();
        self.signature = Some(Signature::new(minisig, signed));
        self
    }

    /// Who says that this is the bundle.
    pub fn signature(&self) -> Option<&Signature> {
        self.signature.as_ref()
    }

    fn manifest_bytes(&self) -> Vec<u8> {
        // Plain data with string keys: there is nothing in it that JSON cannot hold.
        serde_json::to_vec_pretty(&self.manifest).unwrap_or_default()
    }

    /// Write the file, whole or not at all. Equal bundles give equal bytes.
    pub fn write(&self, path: &Path) -> Result<(), BundleError> {
        let bytes = self.emit();
        write_atomic(path, |out| out.write_all(&bytes))?;
        Ok(())
    }

    /// The file's bytes. Equal bundles give equal bytes.
    pub fn emit(&self) -> Vec<u8> {
        // A signature is of the bytes that were read, however an older version wrote them.
        let signature = self.signature.as_ref().filter(|s| s.is_of(&self.manifest));
        let manifest = signature.map_or_else(|| self.manifest_bytes(), |s| s.signed().to_vec());
        let hash = sha256_hex(&manifest);
        let (card, samples) = (self.card.to_toml().into_bytes(), self.samples.emit());
        let replay = self.replay.as_ref().map(Replay::emit);
        let mut members: Vec<(&str, &[u8])> = vec![(MANIFEST, &manifest), (MANIFEST_HASH, hash.as_bytes())];
        members.extend(signature.map(|s| (SIGNATURE, s.minisig().as_bytes())));
        members.push((STUDENT, &self.student));
        members.extend(self.plan.as_ref().map(|bytes| (PLAN, &bytes[..])));
        members.extend([(CARD, &card[..]), (SAMPLES, &samples)]);
        members.extend(replay.as_ref().map(|bytes| (REPLAY, &bytes[..])));
        archive::emit(&members)
    }

    /// Read and check a file.
    pub fn read(path: &Path) -> Result<Bundle, BundleError> {
        Bundle::parse(&limbeck_files::read(path)?, path)
    }

    /// Check bytes; `path` is the file that errors name.
    pub fn parse(bytes: &[u8], path: &Path) -> Result<Bundle, BundleError> {
        let wrong = |why: String| BundleError::NotABundle { path: path.to_owned(), why };
        let damaged = |member: &str| BundleError::Damaged { path: path.to_owned(), member: member.into() };
        let mut members = archive::members(bytes).map_err(wrong)?;
        let mut take = |name: &str| members.remove(name).ok_or_else(|| wrong(format!("it has no `{name}`")));
        let (signed, hash) = (take(MANIFEST)?, take(MANIFEST_HASH)?);
        if hash != sha256_hex(&signed).as_bytes() {
            return Err(damaged(MANIFEST));
        }
        #[derive(Deserialize)]
        struct Version {
            format: u32,
        }
        let Version { format } = serde_json::from_slice(&signed).map_err(|e| wrong(e.to_string()))?;
        if format > FORMAT {
            return Err(BundleError::TooNew { path: path.to_owned(), found: format });
        }
        let manifest: Manifest = serde_json::from_slice(&signed).map_err(|e| wrong(e.to_string()))?;
        manifest.budgets.check().map_err(wrong)?;
        let (student, card, samples) = (take(STUDENT)?, take(CARD)?, take(SAMPLES)?);
        let mut take_listed = |name: &str| manifest.members.contains_key(name).then(|| take(name)).transpose();
        let (plan, replay) = (take_listed(PLAN)?, take_listed(REPLAY)?);
        let signature = members.remove(SIGNATURE);
        if let Some(extra) = members.keys().next() {
            return Err(wrong(format!("it holds `{extra}`, which no such bundle has")));
        }
        let mut whole = vec![(STUDENT, &student), (CARD, &card), (SAMPLES, &samples)];
        whole.extend(plan.as_ref().map(|bytes| (PLAN, bytes)));
        whole.extend(replay.as_ref().map(|bytes| (REPLAY, bytes)));
        if let Some((name, _)) = whole.iter().find(|(name, b)| manifest.members.get(*name) != Some(&sha256_hex(b))) {
            return Err(damaged(name));
        }
        if let Some(listed) = manifest.members.keys().find(|listed| whole.iter().all(|(name, _)| name != listed)) {
            return Err(wrong(format!("its manifest lists `{listed}`, which no such bundle has")));
        }
        let text =
            |member: &str, bytes| String::from_utf8(bytes).map_err(|e| wrong(format!("{member} is no text: {e}")));
        let signature = signature.map(|bytes| text(SIGNATURE, bytes)).transpose()?;
        let card = Card::parse(&text(CARD, card)?, &path.join(CARD))?;
        let samples = Samples::parse(&samples).map_err(wrong)?;
        if let Some(probe) = manifest.probes.iter().find(|p| p.sample >= samples.len()) {
            return Err(wrong(format!("it probes sample {} of {}", probe.sample, samples.len())));
        }
        let replay = replay.map(|bytes| Replay::parse(&bytes).map_err(wrong)).transpose()?;
        if let Some(replay) = replay.as_ref().filter(|r| r.classes() != card.labels.len()) {
            let (classes, labels) = (replay.classes(), card.labels.len());
            return Err(wrong(format!("its replay set has answers of {classes} classes, its card names {labels}")));
        }
        let signature = signature.map(|minisig| Signature::new(minisig, signed));
        Ok(Bundle { manifest, student, plan, card, samples, replay, signature })
    }
}

/// What writes bundles here.
fn tool() -> String {
    format!("limbeck {}", env!("CARGO_PKG_VERSION"))
}

#[cfg(test)]
mod tests;
