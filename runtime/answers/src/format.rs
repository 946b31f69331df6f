//! The answers file as data: manifest, header, offsets, errors. The layout is drawn in the crate's front page.

use std::path::PathBuf;

use half::f16;
use limbeck_files::FileError;
use serde::{Deserialize, Serialize};

use crate::card::Card;
use crate::view::View;
use crate::views::Augment;

/// First bytes of an answers file.
pub const MAGIC: [u8; 8] = *b"LBANSWER";
/// Last bytes of an answers file.
pub const END: [u8; 8] = *b"LBANSEND";
/// The version this build reads and writes.
pub const VERSION: u32 = 1;
/// Bytes of the header; the manifest follows.
pub const HEADER: usize = 64;
/// Bytes of the footer: SHA-256 and [`END`].
pub const FOOTER: usize = 32 + END.len();
/// Bytes that one xxh3-64 of the block table covers.
pub const BLOCK: usize = 1 << 20;

const AT_VERSION: usize = MAGIC.len();
const AT_FLAGS: usize = AT_VERSION + 4;
const AT_SAMPLES: usize = AT_FLAGS + 4;
const AT_VIEWS: usize = AT_SAMPLES + 8;
const AT_HEADS: usize = AT_VIEWS + 4;
const AT_MANIFEST: usize = AT_HEADS + 4;
const AT_RECORDS: usize = AT_MANIFEST + 8;
const AT_LENGTH: usize = AT_RECORDS + 8;
const AT_STRIDE: usize = AT_LENGTH + 8;
const AT_CRC: usize = AT_STRIDE + 4;
const _: () = assert!(AT_CRC + 4 == HEADER);

/// Where the answers come from and what they look like.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// Program and version that wrote the file.
    pub tool: String,
    /// The teacher's ONNX file.
    pub teacher: Source,
    /// The teacher's card: its labels and its preprocessing.
    pub card: Card,
    /// [`Card::sha256`] of `card`.
    pub card_sha256: String,
    /// The samples.
    pub dataset: DatasetId,
    /// Views with a record for every sample, in file order.
    pub views: Vec<View>,
    /// What drawn views are drawn from; `None` without drawn views.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub augment: Option<Augment>,
    /// What a record is.
    pub head: Head,
}

/// A file, by name (for people) and hash (for the check).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Source {
    /// File name, without folders.
    pub name: String,
    /// 64 hex digits.
    pub sha256: String,
}

/// The samples, in order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DatasetId {
    /// For people.
    pub name: String,
    /// How many.
    pub samples: u64,
    /// Over the samples' bytes in order, 64 hex digits.
    pub sha256: String,
    /// Class names of the data; empty when unlabeled.
    pub labels: Vec<String>,
}

/// What a record is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Head {
    /// How the logits are stored.
    pub kind: HeadKind,
    /// K, logits of one answer.
    pub classes: u32,
}

/// How the logits of one answer are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HeadKind {
    /// f16 of `z - max z`: the softmax is the same at every temperature. The error is at most `2^-11 |z - max z|`
    /// (`2^-25` below `2^-14`); more than 65504 below the maximum is stored as 65504 below.
    DenseF16,
    /// f32 of `z`, as the teacher gave it.
    DenseF32,
}

impl Head {
    /// Bytes of one record.
    pub fn stride(&self) -> u64 {
        self.classes as u64
            * match self.kind {
                HeadKind::DenseF16 => 2,
                HeadKind::DenseF32 => 4,
            }
    }

    /// Append the record of `logits`, which are finite and `classes` many.
    pub fn emit(&self, logits: &[f32], record: &mut [u8]) {
        match self.kind {
            HeadKind::DenseF16 => {
                let max = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
                for (z, out) in logits.iter().zip(record.chunks_exact_mut(2)) {
                    let below = (z - max).max(f16::MIN.to_f32());
                    out.copy_from_slice(&f16::from_f32(below).to_le_bytes());
                }
            }
            HeadKind::DenseF32 => {
                for (z, out) in logits.iter().zip(record.chunks_exact_mut(4)) {
                    out.copy_from_slice(&z.to_le_bytes());
                }
            }
        }
    }

    /// Read a record back.
    pub fn parse(&self, record: &[u8], logits: &mut [f32]) {
        match self.kind {
            HeadKind::DenseF16 => {
                for (z, bytes) in logits.iter_mut().zip(record.chunks_exact(2)) {
                    *z = f16::from_le_bytes([bytes[0], bytes[1]]).to_f32();
                }
            }
            HeadKind::DenseF32 => {
                for (z, bytes) in logits.iter_mut().zip(record.chunks_exact(4)) {
                    *z = f32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
                }
            }
        }
    }
}

impl Manifest {
    /// The fields agree with each other; else the field and what is wrong with it.
    pub fn validate(&self) -> Result<(), (&'static str, String)> {
        let hashes = [
            ("teacher.sha256", &self.teacher.sha256),
            ("card_sha256", &self.card_sha256),
            ("dataset.sha256", &self.dataset.sha256),
        ];
        for (field, hash) in hashes {
            if hash.len() != 64 || !hash.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
                return Err((field, format!("is `{hash}`, not 64 lower-case hex digits")));
            }
        }
        self.card.validate(std::path::Path::new("the teacher's card")).map_err(|e| ("card", e.to_string()))?;
        if self.card.sha256() != self.card_sha256 {
            return Err(("card_sha256", format!("is {}, but the card's is {}", self.card_sha256, self.card.sha256())));
        }
        if self.dataset.samples == 0 {
            return Err(("dataset.samples", "is 0; answers need at least one sample".into()));
        }
        if self.views.is_empty() {
            return Err(("views", "is empty; answers need at least one view".into()));
        }
        if (1..self.views.len()).any(|i| self.views[..i].contains(&self.views[i])) {
            return Err(("views", "names a view twice".into()));
        }
        Augment::check_views(self.augment.as_ref(), &self.views).map_err(|why| ("augment", why))?;
        let (classes, labels) = (self.head.classes as usize, self.card.labels.len());
        if classes == 0 {
            return Err(("head.classes", "is 0".into()));
        }
        if !self.card.labels.is_empty() && classes != labels {
            return Err(("head.classes", format!("is {classes}, but the teacher's card names {labels} labels")));
        }
        Ok(())
    }
}

/// Numbers of the header, and the offsets that follow from them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// S
    pub samples: u64,
    /// V
    pub views: u32,
    /// M, bytes of JSON.
    pub manifest: u64,
    /// Bytes a record.
    pub stride: u32,
}

impl Header {
    /// Where the records begin. All offsets are `None` when they do not fit 64 bits.
    pub fn records_at(&self) -> Option<u64> {
        (HEADER as u64).checked_add(self.manifest)?.checked_next_multiple_of(8)
    }

    /// Bytes of all records, without padding.
    pub fn records_len(&self) -> Option<u64> {
        self.samples.checked_mul(self.views as u64)?.checked_mul(self.stride as u64)
    }

    /// Where the block table begins.
    pub fn table_at(&self) -> Option<u64> {
        self.records_at()?.checked_add(self.records_len()?)?.checked_next_multiple_of(8)
    }

    /// Where the footer begins.
    pub fn footer_at(&self) -> Option<u64> {
        let table = self.table_at()?;
        table.checked_add(table.div_ceil(BLOCK as u64).checked_mul(8)?)
    }

    /// Bytes of the whole file.
    pub fn length(&self) -> Option<u64> {
        self.footer_at()?.checked_add(FOOTER as u64)
    }

    /// The 64 bytes; `None` when the file would not fit 64 bits.
    pub fn emit(&self) -> Option<[u8; HEADER]> {
        let mut bytes = [0; HEADER];
        let mut put = |at: usize, value: &[u8]| bytes[at..at + value.len()].copy_from_slice(value);
        put(0, &MAGIC);
        put(AT_VERSION, &VERSION.to_le_bytes());
        put(AT_SAMPLES, &self.samples.to_le_bytes());
        put(AT_VIEWS, &self.views.to_le_bytes());
        put(AT_HEADS, &1_u32.to_le_bytes());
        put(AT_MANIFEST, &self.manifest.to_le_bytes());
        put(AT_RECORDS, &self.records_at()?.to_le_bytes());
        put(AT_LENGTH, &self.length()?.to_le_bytes());
        put(AT_STRIDE, &self.stride.to_le_bytes());
        let crc = crc32fast::hash(&bytes[..AT_CRC]);
        bytes[AT_CRC..].copy_from_slice(&crc.to_le_bytes());
        Some(bytes)
    }

    /// Read the header of a file of `length` bytes that begins with `bytes`.
    pub fn parse(bytes: &[u8], length: u64) -> Result<Header, HeaderError> {
        if !bytes.starts_with(&MAGIC) {
            return Err(HeaderError::NotAnswers);
        }
        let Some(bytes) = bytes.get(..HEADER) else {
            return Err(HeaderError::Truncated { need: HEADER as u64 });
        };
        let u32_at = |at: usize| u32::from_le_bytes(std::array::from_fn(|i| bytes[at + i]));
        let u64_at = |at: usize| u64::from_le_bytes(std::array::from_fn(|i| bytes[at + i]));
        let intact = u32_at(AT_CRC) == crc32fast::hash(&bytes[..AT_CRC]);
        // A newer version may keep its checksum elsewhere, so it is named first, but only if it can be true.
        if u32_at(AT_VERSION) > VERSION && (intact || u32_at(AT_VERSION) < 1000) {
            return Err(HeaderError::TooNew { found: u32_at(AT_VERSION) });
        }
        if !intact || u32_at(AT_VERSION) == 0 {
            return Err(HeaderError::Damaged);
        }
        if u32_at(AT_FLAGS) != 0 || u32_at(AT_HEADS) != 1 {
            return Err(HeaderError::TooNew { found: u32_at(AT_VERSION) });
        }
        let header = Header {
            samples: u64_at(AT_SAMPLES),
            views: u32_at(AT_VIEWS),
            manifest: u64_at(AT_MANIFEST),
            stride: u32_at(AT_STRIDE),
        };
        let need = u64_at(AT_LENGTH);
        if header.length() != Some(need) || header.records_at() != Some(u64_at(AT_RECORDS)) {
            return Err(HeaderError::Damaged);
        }
        if need != length {
            return Err(HeaderError::Truncated { need });
        }
        Ok(header)
    }
}

/// Why 64 bytes are no header. The reader adds the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeaderError {
    /// The magic is missing.
    NotAnswers,
    /// Written by a newer build.
    TooNew {
        /// Version of the file.
        found: u32,
    },
    /// The checksum or the arithmetic is wrong.
    Damaged,
    /// The file has another length than the header says.
    Truncated {
        /// Bytes that the header promises.
        need: u64,
    },
}

/// What a reader of answers insists on; `None` is not checked.
#[derive(Clone, Debug, Default)]
pub struct Expected {
    /// Of the teacher's ONNX file.
    pub teacher_sha256: Option<String>,
    /// Of the teacher's card.
    pub card_sha256: Option<String>,
    /// Of the data set.
    pub dataset_sha256: Option<String>,
    /// The student's labels, which must be the teacher's, in order.
    pub labels: Option<Vec<String>>,
    /// [`Augment::sha256`] of what the drawn views are drawn from.
    pub augment_sha256: Option<String>,
}

/// Why answers cannot be written or used.
#[derive(Debug, thiserror::Error)]
pub enum AnswersError {
    /// The file cannot be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// These bytes are something else.
    #[error("{}: not an answers file; make one with `limbeck teach`", path.display())]
    NotAnswers {
        /// The file.
        path: PathBuf,
    },
    /// Written by a newer format.
    #[error(
        "{}: answers format {found}, with features that this build (format {VERSION}) does not know; \
         update limbeck, or teach again", path.display()
    )]
    TooNew {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: u32,
    },
    /// Bytes were changed or lost.
    #[error("{}: damaged: {what}; copy the file again, or teach again", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Which part, and how it is known.
        what: String,
    },
    /// Whole, but its manifest contradicts itself; also: a manifest that no file can be made of.
    #[error("{}: manifest: `{field}` {why}", path.display())]
    Manifest {
        /// The file.
        path: PathBuf,
        /// The manifest's field.
        field: &'static str,
        /// What is wrong.
        why: String,
    },
    /// The answers belong to something else.
    #[error(
        "{}: the answers are for another {field}: they were made with {in_file}, this run has {expected}; \
         teach again, or give the {field} that they belong to", path.display()
    )]
    Mismatch {
        /// The file.
        path: PathBuf,
        /// "teacher", "teacher card", "data set", "augment" or "labels".
        field: &'static str,
        /// What the file says.
        in_file: String,
        /// What was asked for.
        expected: String,
    },
    /// The teacher gave NaN or infinity.
    #[error(
        "{}: the teacher's logit {class} of sample {sample}, view {view}, is {value}; \
         check the teacher and its card (scale, mean, std)", path.display()
    )]
    NonFinite {
        /// The file.
        path: PathBuf,
        /// The sample.
        sample: u64,
        /// The view.
        view: View,
        /// Index of the logit.
        class: usize,
        /// What it was.
        value: f32,
    },
    /// Finished too early.
    #[error(
        "{}: {missing} of {all} answers are missing, the first for sample {sample}, view {view}; \
         answer every sample in every view before finishing", path.display()
    )]
    Missing {
        /// The file.
        path: PathBuf,
        /// First sample without a record, in file order.
        sample: u64,
        /// Its view.
        view: View,
        /// Records missing.
        missing: u64,
        /// Records a whole file has.
        all: u64,
    },
    /// The same answer was given twice.
    #[error("{}: sample {sample}, view {view}, was answered twice; answer it once", path.display())]
    Repeated {
        /// The file.
        path: PathBuf,
        /// The sample.
        sample: u64,
        /// The view.
        view: View,
    },
    /// Past the last sample.
    #[error("{}: there is no sample {sample}; the file is for {samples} samples", path.display())]
    NoSuchSample {
        /// The file.
        path: PathBuf,
        /// Asked for.
        sample: u64,
        /// There are.
        samples: u64,
    },
    /// The file has no answers for this view.
    #[error("{}: there are no answers for view {view}; teach with it, or train without it", path.display())]
    NoSuchView {
        /// The file.
        path: PathBuf,
        /// Asked for.
        view: View,
    },
    /// A slice of logits of the wrong length.
    #[error("{}: an answer has {classes} logits, not {have}; check that teacher and student have the same classes", path.display())]
    WrongLength {
        /// The file.
        path: PathBuf,
        /// Given.
        have: usize,
        /// Of the file.
        classes: u32,
    },
    /// The records do not fit in memory.
    #[error("{}: {bytes} bytes of answers do not fit in memory; use fewer samples or views, or dense_f16", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// Of all records.
        bytes: u64,
    },
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A manifest of 5 samples, both views, 3 classes.
    pub(crate) fn manifest(kind: HeadKind) -> Manifest {
        let text = "version = 1\ntask = \"classification\"\nlabels = [\"a\", \"b\", \"c\"]\n[input]\nwidth = 2\nheight = 2\n\
                    layout = \"nchw\"\ncolour = \"gray\"\nresize = \"exact\"\nscale = 0.003921569\nmean = [0.1]\nstd = [0.3]\n";
        let card = Card::parse(text, std::path::Path::new("teacher.toml")).unwrap();
        Manifest {
            tool: "limbeck 0.1.0".into(),
            teacher: Source { name: "teacher.onnx".into(), sha256: "1".repeat(64) },
            card_sha256: card.sha256(),
            card,
            dataset: DatasetId { name: "five".into(), samples: 5, sha256: "2".repeat(64), labels: vec![] },
            views: View::ALL.to_vec(),
            augment: None,
            head: Head { kind, classes: 3 },
        }
    }

    #[test]
    fn a_header_reads_back() {
        let header = Header { samples: 7, views: 2, manifest: 333, stride: 20 };
        let length = header.length().unwrap();
        assert_eq!(length, 400 + 280 + 8 + 40);
        let bytes = header.emit().unwrap();
        assert_eq!(Header::parse(&bytes, length), Ok(header));
        assert_eq!(Header::parse(&bytes, length - 1), Err(HeaderError::Truncated { need: length }));
        assert_eq!(Header::parse(&bytes[..63], length), Err(HeaderError::Truncated { need: 64 }));
        assert_eq!(Header::parse(b"PK", 2), Err(HeaderError::NotAnswers));
    }

    #[test]
    fn sizes_that_overflow_are_none() {
        let header = Header { samples: u64::MAX, views: 2, manifest: 0, stride: 20 };
        assert_eq!((header.length(), header.emit()), (None, None));
        assert_eq!(Header { samples: 1, views: 1, manifest: u64::MAX - 3, stride: 1 }.length(), None);
    }

    #[test]
    fn a_newer_file_is_called_newer() {
        let header = Header { samples: 7, views: 2, manifest: 333, stride: 20 };
        let mut bytes = header.emit().unwrap();
        bytes[AT_VERSION] = 2;
        assert_eq!(Header::parse(&bytes, header.length().unwrap()), Err(HeaderError::TooNew { found: 2 }));
    }

    #[test]
    fn manifests_that_contradict_themselves_are_refused_by_field() {
        type Break = fn(&mut Manifest);
        let cases: &[(&str, Break)] = &[
            ("teacher.sha256", |m| m.teacher.sha256 = "abc".into()),
            ("card_sha256", |m| m.card_sha256 = "0".repeat(64)),
            ("card_sha256", |m| m.card.input.mean[0] = 0.2),
            ("card", |m| m.card.input.std[0] = 0.0),
            ("dataset.sha256", |m| m.dataset.sha256 = "G".repeat(64)),
            ("dataset.samples", |m| m.dataset.samples = 0),
            ("views", |m| m.views.clear()),
            ("views", |m| m.views.push(View::Flip)),
            ("augment", |m| m.views.push(View::Drawn(0))),
            ("augment", |m| m.augment = Augment::preset("light", 0).ok()),
            ("augment", |m| {
                m.views.push(View::Drawn(0));
                m.augment = Some(Augment::new(0));
            }),
            ("head.classes", |m| m.head.classes = 0),
            ("head.classes", |m| m.head.classes = 4),
        ];
        assert_eq!(manifest(HeadKind::DenseF32).validate(), Ok(()));
        for (field, damage) in cases {
            let mut m = manifest(HeadKind::DenseF32);
            damage(&mut m);
            assert_eq!(m.validate().unwrap_err().0, *field);
        }
    }
}
