//! The deployable file: everything a board needs to run, check and measure a student.
//!
//! A bundle is a tar archive (any tool opens it) with exactly these members, in this order:
//!
//! ```text
//! manifest.json   format version, what made it, sha-256 of the members below, probes
//! manifest.sha256 sha-256 of manifest.json
//! student.onnx    float or QDQ
//! card.toml       the student's card
//! samples.bin     test samples: pixels, labels, the teacher's choices (layout: `samples`)
//! ```
//!
//! Nothing is unpacked to disk. [`Bundle::read`] checks every hash before anything is used, so a bundle is whole or refused.
//! A *probe* is the digest of every integer that the host computed for one sample: a board that computes the same has the
//! same arithmetic.

#![forbid(unsafe_code)]

mod samples;

use std::collections::BTreeMap;
use std::io::{Cursor, Read};
use std::path::{Path, PathBuf};

use limbeck_answers::{Card, CardError};
use limbeck_files::{FileError, sha256_hex, write_atomic};
use serde::{Deserialize, Serialize};

pub use samples::{BundledSample, Samples};

/// Version of the bundle that this build writes, and the newest it reads.
pub const FORMAT: u32 = 1;

const MANIFEST: &str = "manifest.json";
const MANIFEST_HASH: &str = "manifest.sha256";
const STUDENT: &str = "student.onnx";
const CARD: &str = "card.toml";
const SAMPLES: &str = "samples.bin";

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
}

/// What the bundle says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// [`FORMAT`].
    pub format: u32,
    /// The student's name, for people.
    pub name: String,
    /// What wrote it: `limbeck 0.1.0`.
    pub tool: String,
    /// SHA-256 of every other member.
    pub members: BTreeMap<String, String>,
    /// SHA-256 of the files this was made from, by role ("teacher", "answers", …).
    pub sources: BTreeMap<String, String>,
    /// What the host computed for some of the samples.
    pub probes: Vec<Probe>,
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
        let manifest = Manifest { format: FORMAT, name: name.into(), tool, members, ..Manifest::default() };
        Bundle { manifest, student, card, samples }
    }

    /// Write the file, whole or not at all. Equal bundles give equal bytes.
    pub fn write(&self, path: &Path) -> Result<(), BundleError> {
        let manifest = serde_json::to_vec_pretty(&self.manifest).unwrap_or_default();
        let hash = sha256_hex(&manifest);
        let (card, samples) = (self.card.to_toml().into_bytes(), self.samples.emit());
        let members: [(&str, &[u8]); 5] = [
            (MANIFEST, &manifest),
            (MANIFEST_HASH, hash.as_bytes()),
            (STUDENT, &self.student),
            (CARD, &card),
            (SAMPLES, &samples),
        ];
        write_atomic(path, |out| {
            let mut archive = tar::Builder::new(out);
            for (name, bytes) in members {
                let mut header = tar::Header::new_ustar();
                header.set_size(bytes.len() as u64);
                header.set_mode(0o644);
                header.set_mtime(0);
                archive.append_data(&mut header, name, bytes)?;
            }
            archive.finish()
        })?;
        Ok(())
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
        let (student, card, samples) = (take(STUDENT)?, take(CARD)?, take(SAMPLES)?);
        if let Some(extra) = members.keys().next() {
            return Err(wrong(format!("it holds `{extra}`, which no bundle has")));
        }
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
        for (name, bytes) in [(STUDENT, &student), (CARD, &card), (SAMPLES, &samples)] {
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
        Ok(Bundle { manifest, student, card, samples })
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
