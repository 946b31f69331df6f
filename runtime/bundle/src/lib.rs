//! The deployable file: everything a board needs to run, check and measure a student.
//!
//! A bundle is a tar archive (any tool opens it) with exactly these members, in this order, the last of which may be missing:
//!
//! ```text
//! manifest.json   format version, what made it, sha-256 of the members below, probes
//! manifest.sha256 sha-256 of manifest.json
//! student.onnx    float or QDQ
//! card.toml       the student's card
//! samples.bin     test samples: pixels, labels, the teacher's choices (layout: `samples`)
//! replay.bin      samples that the student was distilled on, with all that the teacher said (layout: `replay`)
//! ```
//!
//! | format | adds |
//! |---|---|
//! | 1 | manifest, student, card, samples |
//! | 2 | `replay.bin`, and in the manifest `adapted`: what a student that was tuned on a board came from |
//!
//! A bundle is written in the lowest format that holds it, so that an old agent still reads what it understands.
//!
//! Nothing is unpacked to disk. [`Bundle::read`] checks every hash before anything is used, so a bundle is whole or refused.
//! A *probe* is the digest of every integer that the host computed for one sample: a board that computes the same has the
//! same arithmetic.

#![forbid(unsafe_code)]

mod replay;
mod samples;

use std::collections::BTreeMap;
use std::io::{Cursor, Read};
use std::path::{Path, PathBuf};

use limbeck_answers::{Card, CardError};
use limbeck_files::{FileError, sha256_hex, write_atomic};
use serde::{Deserialize, Serialize};

pub use replay::{Replay, ReplaySample};
pub use samples::{BundledSample, Samples};

/// The newest version of the bundle that this build writes and reads.
pub const FORMAT: u32 = 2;

const MANIFEST: &str = "manifest.json";
const MANIFEST_HASH: &str = "manifest.sha256";
const STUDENT: &str = "student.onnx";
const CARD: &str = "card.toml";
const SAMPLES: &str = "samples.bin";
const REPLAY: &str = "replay.bin";

/// A tar archive is made of blocks of this size.
const TAR_BLOCK: usize = 512;

/// A member larger than this is refused before it is read into memory.
const MEMBER_LIMIT: u64 = 4 << 30;

/// Student, card and samples, whole.
#[derive(Debug, Clone)]
pub struct Bundle {
    /// What the bundle says of itself.
    pub manifest: Manifest,
    /// The student's ONNX bytes.
    pub student: Vec<u8>,
    /// The student's card.
    pub card: Card,
    /// Test samples.
    pub samples: Samples,
    /// What adaptation must not forget; none in a bundle that was made without.
    pub replay: Option<Replay>,
}

/// What the bundle says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// The lowest format that holds what is in it, at most [`FORMAT`].
    pub format: u32,
    /// The student's name, for people.
    pub name: String,
    /// What wrote it: `limbeck 0.1.0`.
    pub tool: String,
    /// SHA-256 of every other member.
    pub members: BTreeMap<String, String>,
    /// SHA-256 of the files this was made from, by role ("teacher", "answers", …).
    pub sources: BTreeMap<String, String>,
    /// What the machine that made the student computed for some of the samples.
    pub probes: Vec<Probe>,
    /// What the student was tuned from, where that was done on a board.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub adapted: Option<Adapted>,
}

/// What an adapted student came from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Adapted {
    /// SHA-256 of the bundle that it was before.
    pub parent: String,
    /// SHA-256 of the teacher's answers.
    pub answers: String,
    /// SHA-256 of the images, as the answers name them.
    pub images: String,
    /// How it was trained, for people.
    pub recipe: String,
    /// SHA-256 of that text.
    pub recipe_sha256: String,
    /// Optimiser steps taken.
    pub steps: u64,
}

/// What the host computed for one sample.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Probe {
    /// Index of the sample.
    pub sample: usize,
    /// The class that the student chose.
    pub class: usize,
    /// Integers that went into the digest; 0 for a float student.
    pub integers: u64,
    /// XXH3-128 over those integers, 32 hex digits.
    pub digest: String,
}

/// Why a file is not a bundle this build can use.
#[derive(Debug, thiserror::Error)]
pub enum BundleError {
    /// The file.
    #[error(transparent)]
    File(#[from] FileError),
    /// Not an archive, or not one of ours.
    #[error("{}: not a bundle ({why}); make it with `limbeck bundle`", path.display())]
    NotABundle {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// Written by a newer version.
    #[error("{}: bundle format {found}, this build reads up to {FORMAT}; update the agent", path.display())]
    TooNew {
        /// The file.
        path: PathBuf,
        /// Its format.
        found: u32,
    },
    /// A member's hash is not what the manifest says.
    #[error("{}: `{member}` is damaged (its sha-256 is not the one that was written); copy the bundle again", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// The member.
        member: String,
    },
    /// The card in it.
    #[error(transparent)]
    Card(#[from] CardError),
}

impl Bundle {
    /// Put a bundle together. Hashes of the members are filled in here.
    pub fn new(name: &str, student: Vec<u8>, card: Card, samples: Samples) -> Bundle {
        let members = BTreeMap::from([
            (STUDENT.to_owned(), sha256_hex(&student)),
            (CARD.to_owned(), sha256_hex(card.to_toml().as_bytes())),
            (SAMPLES.to_owned(), sha256_hex(&samples.emit())),
        ]);
        let tool = format!("limbeck {}", env!("CARGO_PKG_VERSION"));
        let manifest = Manifest { format: 1, name: name.into(), tool, members, ..Manifest::default() };
        Bundle { manifest, student, card, samples, replay: None }
    }

    /// Add the set that adaptation must not forget.
    pub fn with_replay(mut self, replay: Replay) -> Bundle {
        self.manifest.members.insert(REPLAY.into(), sha256_hex(&replay.emit()));
        self.manifest.format = FORMAT;
        self.replay = Some(replay);
        self
    }

    /// The same bundle with another student, which was tuned from this one on a board, and what it computes.
    pub fn with_adapted(mut self, student: Vec<u8>, adapted: Adapted, probes: Vec<Probe>) -> Bundle {
        self.manifest.members.insert(STUDENT.into(), sha256_hex(&student));
        self.manifest.tool = format!("limbeck {}", env!("CARGO_PKG_VERSION"));
        self.manifest.sources.insert("student".into(), sha256_hex(&student));
        self.manifest.format = FORMAT;
        (self.student, self.manifest.probes, self.manifest.adapted) = (student, probes, Some(adapted));
        self
    }

    /// Write the file, whole or not at all. Equal bundles give equal bytes.
    pub fn write(&self, path: &Path) -> Result<(), BundleError> {
        let bytes = self.emit();
        write_atomic(path, |out| out.write_all(&bytes))?;
        Ok(())
    }

    /// The file's bytes. Equal bundles give equal bytes.
    pub fn emit(&self) -> Vec<u8> {
        let manifest = serde_json::to_vec_pretty(&self.manifest).unwrap_or_default();
        let hash = sha256_hex(&manifest);
        let (card, samples) = (self.card.to_toml().into_bytes(), self.samples.emit());
        let replay = self.replay.as_ref().map(Replay::emit);
        let mut members: Vec<(&str, &[u8])> = vec![
            (MANIFEST, &manifest),
            (MANIFEST_HASH, hash.as_bytes()),
            (STUDENT, &self.student),
            (CARD, &card),
            (SAMPLES, &samples),
        ];
        members.extend(replay.as_ref().map(|bytes| (REPLAY, &bytes[..])));
        let mut archive = vec![];
        for (name, bytes) in members {
            let mut header = tar::Header::new_ustar();
            let name_field = &mut header.as_old_mut().name;
            name_field[..name.len()].copy_from_slice(name.as_bytes());
            header.set_size(bytes.len() as u64);
            header.set_mode(0o644);
            header.set_mtime(0);
            header.set_cksum();
            archive.extend(header.as_bytes());
            archive.extend(bytes);
            archive.resize(archive.len().next_multiple_of(TAR_BLOCK), 0);
        }
        // Two blocks of zeros end an archive.
        archive.resize(archive.len() + 2 * TAR_BLOCK, 0);
        archive
    }

    /// Read and check a file.
    pub fn read(path: &Path) -> Result<Bundle, BundleError> {
        Bundle::parse(&limbeck_files::read(path)?, path)
    }

    /// Check bytes; `path` is the file that errors name.
    pub fn parse(bytes: &[u8], path: &Path) -> Result<Bundle, BundleError> {
        let wrong = |why: String| BundleError::NotABundle { path: path.to_owned(), why };
        let mut members = members(bytes).map_err(wrong)?;
        let mut take = |name: &str| members.remove(name).ok_or_else(|| wrong(format!("it has no `{name}`")));
        let (manifest, hash) = (take(MANIFEST)?, take(MANIFEST_HASH)?);
        if hash != sha256_hex(&manifest).as_bytes() {
            return Err(BundleError::Damaged { path: path.to_owned(), member: MANIFEST.into() });
        }
        #[derive(Deserialize)]
        struct Version {
            format: u32,
        }
        let Version { format } = serde_json::from_slice(&manifest).map_err(|e| wrong(e.to_string()))?;
        if format > FORMAT {
            return Err(BundleError::TooNew { path: path.to_owned(), found: format });
        }
        let manifest: Manifest = serde_json::from_slice(&manifest).map_err(|e| wrong(e.to_string()))?;
        let (student, card, samples) = (take(STUDENT)?, take(CARD)?, take(SAMPLES)?);
        let replay = manifest.members.contains_key(REPLAY).then(|| take(REPLAY)).transpose()?;
        if let Some(extra) = members.keys().next() {
            return Err(wrong(format!("it holds `{extra}`, which no such bundle has")));
        }
        let mut whole = vec![(STUDENT, &student), (CARD, &card), (SAMPLES, &samples)];
        whole.extend(replay.as_ref().map(|bytes| (REPLAY, bytes)));
        for (name, bytes) in whole {
            if manifest.members.get(name) != Some(&sha256_hex(bytes)) {
                return Err(BundleError::Damaged { path: path.to_owned(), member: name.into() });
            }
        }
        let card = String::from_utf8(card).map_err(|e| wrong(format!("its card is not text: {e}")))?;
        let card = Card::parse(&card, &path.join(CARD))?;
        let samples = Samples::parse(&samples).map_err(wrong)?;
        if let Some(probe) = manifest.probes.iter().find(|p| p.sample >= samples.len()) {
            return Err(wrong(format!("it probes sample {} of {}", probe.sample, samples.len())));
        }
        let replay = replay.map(|bytes| Replay::parse(&bytes).map_err(wrong)).transpose()?;
        if let Some(replay) = replay.as_ref().filter(|r| r.classes() != card.labels.len()) {
            let (classes, labels) = (replay.classes(), card.labels.len());
            return Err(wrong(format!("its replay set has answers of {classes} classes, its card names {labels}")));
        }
        Ok(Bundle { manifest, student, card, samples, replay })
    }
}

/// The archive's members by name. Only plain files with plain names, each once.
fn members(bytes: &[u8]) -> Result<BTreeMap<String, Vec<u8>>, String> {
    let mut archive = tar::Archive::new(Cursor::new(bytes));
    let mut members = BTreeMap::new();
    for entry in archive.entries().map_err(|e| e.to_string())? {
        let entry = entry.map_err(|e| e.to_string())?;
        let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        if !entry.header().entry_type().is_file() || name.contains(['/', '\\']) {
            return Err(format!("`{name}` is not a plain member"));
        }
        if entry.size() > MEMBER_LIMIT || entry.size() > bytes.len() as u64 {
            return Err(format!("`{name}` claims {} bytes", entry.size()));
        }
        let size = entry.size();
        let mut contents = vec![];
        entry.take(size).read_to_end(&mut contents).map_err(|e| format!("`{name}`: {e}"))?;
        if contents.len() as u64 != size {
            return Err(format!("`{name}` is cut short"));
        }
        if members.insert(name.clone(), contents).is_some() {
            return Err(format!("`{name}` is in it twice"));
        }
    }
    Ok(members)
}

#[cfg(test)]
mod tests {
    use super::*;
    use limbeck_answers::Image;

    const CARD_TOML: &str = r#"
        version = 1
        task = "classification"
        labels = ["a", "b"]
        [input]
        width = 2
        height = 1
        layout = "nchw"
        colour = "rgb"
        resize = "exact"
        scale = 1.0
        mean = [0.0, 0.0, 0.0]
        std = [1.0, 1.0, 1.0]
    "#;

    fn bundle() -> Bundle {
        let card = Card::parse(CARD_TOML, Path::new("card.toml")).unwrap();
        let image = Image { width: 2, height: 1, rgb: vec![1, 2, 3, 4, 5, 6] };
        let mut samples = Samples::default();
        samples.push(BundledSample { image: image.clone(), label: Some(1), teacher: None });
        samples.push(BundledSample { image, label: None, teacher: Some(0) });
        Bundle::new("tiny", b"not a real model".to_vec(), card, samples)
    }

    fn bytes() -> (tempfile::TempDir, PathBuf, Vec<u8>) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("student.limbeck");
        bundle().write(&path).unwrap();
        let bytes = std::fs::read(&path).unwrap();
        (dir, path, bytes)
    }

    #[test]
    fn what_is_written_is_read() {
        let (_dir, path, _) = bytes();
        let (read, made) = (Bundle::read(&path).unwrap(), bundle());
        assert_eq!((read.student, read.samples, read.manifest), (made.student, made.samples, made.manifest));
    }

    #[test]
    fn every_truncation_is_refused() {
        let (_dir, path, bytes) = bytes();
        // The archive ends with two blocks of zeros, which carry nothing.
        let end = bytes.len() - 1024;
        for length in (0..end).step_by(7) {
            assert!(Bundle::parse(&bytes[..length], &path).is_err(), "cut at {length}");
        }
    }

    #[test]
    fn a_changed_byte_in_a_member_is_refused_by_name() {
        let (_dir, path, mut bytes) = bytes();
        let at = bytes.windows(16).position(|w| w == b"not a real model").unwrap();
        bytes[at] ^= 1;
        let error = Bundle::parse(&bytes, &path).unwrap_err().to_string();
        assert!(error.contains("student.onnx") && error.contains("damaged"), "{error}");
    }

    #[test]
    fn a_changed_byte_in_the_manifest_is_refused() {
        let (_dir, path, mut bytes) = bytes();
        let at = bytes.windows(6).position(|w| w == b"\"tiny\"").unwrap();
        bytes[at + 1] = b'T';
        let error = Bundle::parse(&bytes, &path).unwrap_err().to_string();
        assert!(error.contains("manifest.json") && error.contains("damaged"), "{error}");
    }

    fn with_replay() -> Bundle {
        let mut replay = Replay::new(2);
        let image = Image { width: 2, height: 1, rgb: vec![9, 8, 7, 6, 5, 4] };
        replay.push(ReplaySample { image, label: Some(0), teacher: vec![1.0, -1.0] });
        bundle().with_replay(replay)
    }

    #[test]
    fn a_bundle_without_news_is_of_the_first_format() {
        assert_eq!(bundle().manifest.format, 1);
        let text = String::from_utf8(serde_json::to_vec(&bundle().manifest).unwrap()).unwrap();
        assert!(!text.contains("adapted") && !text.contains("replay"), "{text}");
    }

    #[test]
    fn a_replay_set_and_what_was_adapted_come_back() {
        let adapted = Adapted {
            parent: "p".into(),
            answers: "a".into(),
            images: "i".into(),
            recipe: "adam".into(),
            recipe_sha256: sha256_hex(b"adam"),
            steps: 7,
        };
        let probe = Probe { sample: 1, class: 0, integers: 3, digest: "d".into() };
        let made = with_replay().with_adapted(b"another".to_vec(), adapted, vec![probe]);
        let read = Bundle::parse(&made.emit(), Path::new("b")).unwrap();
        assert_eq!((read.manifest.format, &read.student[..]), (2, &b"another"[..]));
        assert_eq!((read.manifest, read.replay, read.samples), (made.manifest, made.replay, made.samples));
    }

    #[test]
    fn a_changed_byte_in_the_replay_set_is_refused_by_name() {
        let mut bytes = with_replay().emit();
        let at = bytes.windows(6).position(|w| w == [9, 8, 7, 6, 5, 4]).unwrap();
        bytes[at] ^= 1;
        let error = Bundle::parse(&bytes, Path::new("b")).unwrap_err().to_string();
        assert!(error.contains("replay.bin") && error.contains("damaged"), "{error}");
    }

    #[test]
    fn a_newer_format_is_refused_by_number() {
        let (dir, _, _) = bytes();
        let path = dir.path().join("newer");
        let mut bundle = bundle();
        bundle.manifest.format = FORMAT + 1;
        bundle.write(&path).unwrap();
        assert!(matches!(Bundle::read(&path), Err(BundleError::TooNew { found, .. }) if found == FORMAT + 1));
    }
}
