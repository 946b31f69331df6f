//! Reading an answers file.
//!
//! [`Answers::open`] checks header, manifest, block table, footer, probe and bitmap; a record's block is checked when the
//! first record of it is read. A flipped bit is found by one or the other, before its value is used. [`Answers::verify`] reads
//! everything.

use std::fs::File;
use std::path::{Path, PathBuf};

use limbeck_files::{FileError, merkle_root};
use xxhash_rust::xxh3::xxh3_64;

use crate::blocks::{Blocks, Source};
use crate::error::AnswersError;
use crate::format::{BLOCK, END, FOOTER, HEADER, Header, HeaderError, Layout};
use crate::head::{Head, HeadKind, TopK};
use crate::manifest::{LOGITS, Manifest};
use crate::seal::Seal;
use crate::view::View;

/// Files up to this size are kept in memory.
const SMALL: u64 = 16 << 20;

/// A record up to this size is read without an allocation.
const SMALL_RECORD: usize = 1024;

/// An answers file that is open for reading, from any number of threads.
#[derive(Debug)]
pub struct Answers {
    path: PathBuf,
    blocks: Blocks,
    manifest: Manifest,
    layout: Layout,
    sha256: String,
}

/// A head of an open file: [`Answers::head`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct HeadId(pub(crate) usize);

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
    /// [`crate::Augment::sha256`] of what the drawn views are drawn from.
    pub augment_sha256: Option<String>,
}

impl Answers {
    /// Open `path` and check all but its records: see the module.
    pub fn open(path: &Path) -> Result<Answers, AnswersError> {
        let at = |doing| move |source| FileError { path: path.to_owned(), doing, source };
        let meta = std::fs::metadata(path).map_err(at("read"))?;
        if !meta.is_file() || meta.len() <= SMALL {
            return Answers::from_bytes(limbeck_files::read(path)?, path);
        }
        let file = File::open(path).map_err(at("read"))?;
        Answers::new(Source::File(file), meta.len(), path)
    }

    /// The same of bytes that are already here; `named` is the file in messages.
    pub fn from_bytes(bytes: Vec<u8>, named: &Path) -> Result<Answers, AnswersError> {
        let length = bytes.len() as u64;
        Answers::new(Source::Memory(bytes), length, named)
    }

    fn new(source: Source, have: u64, path: &Path) -> Result<Answers, AnswersError> {
        let named = || path.to_owned();
        let damaged = |what: String| AnswersError::Damaged { path: named(), what };
        let bad = |(field, why): (&'static str, String)| AnswersError::Manifest { path: named(), field, why };
        let read = |at: u64, count: u64| -> Result<Vec<u8>, AnswersError> {
            let mut bytes = vec![0; usize::try_from(count).map_err(|_| damaged("it is too large to read".into()))?];
            source.read(at, &mut bytes).map_err(|source| FileError { path: named(), doing: "read", source })?;
            Ok(bytes)
        };
        let front = read(0, have.min(HEADER as u64))?;
        let header = Header::parse(&front).map_err(|e| match e {
            HeaderError::NotAnswers => AnswersError::NotAnswers { path: named() },
            HeaderError::TooNew { found } => AnswersError::TooNew { path: named(), found },
            HeaderError::TooOld { found } => AnswersError::TooOld { path: named(), found },
            HeaderError::Damaged => damaged("the header's checksum is wrong".into()),
            HeaderError::Truncated => damaged(format!("a header has {HEADER} bytes, {have} are here")),
        })?;
        if header.length != have {
            return Err(damaged(format!("{} bytes were written, {have} are here", header.length)));
        }
        let mut end = read(header.table_at, have - header.table_at)?;
        let footer = end.split_off(end.len() - FOOTER);
        let (digest, rest) = footer.split_at(32);
        let (length, rest) = rest.split_at(8);
        let (sum, magic) = rest.split_at(8);
        end.extend(&footer[..40]);
        if xxh3_64(&end).to_le_bytes() != sum || magic != END || length != have.to_le_bytes() {
            return Err(damaged("the checksum of the block table and the footer is wrong".into()));
        }
        end.truncate(end.len() - 40);
        let sha256 = limbeck_files::hex(digest);

        let blocks = Blocks::new(path, source, header.table_at, end);
        // Of a file of this length, so there is room for it.
        let mut json = vec![0; header.manifest as usize];
        blocks.read(HEADER as u64, &mut json)?;
        let manifest = Manifest::from_json(&json).map_err(bad)?;
        let layout = Layout::of(&manifest, json.len());
        let Some(layout) = layout.filter(|l| front.first_chunk().is_some_and(|h| l.agrees(h))) else {
            return Err(bad(("dataset", "does not describe the records in the file".into())));
        };
        let answers = Answers { path: named(), blocks, manifest, layout, sha256 };
        answers.check_done()?;
        answers.check_leaves()?;
        answers.probe()?;
        Ok(answers)
    }

    /// Every answer is marked as there.
    fn check_done(&self) -> Result<(), AnswersError> {
        let mut left = self.layout.answers();
        let mut bytes = vec![0; (self.layout.table_at - self.layout.done_at).min(BLOCK as u64) as usize];
        let mut at = self.layout.done_at;
        while at < self.layout.table_at {
            let count = (self.layout.table_at - at).min(BLOCK as u64) as usize;
            self.blocks.read(at, &mut bytes[..count])?;
            for byte in &bytes[..count] {
                let here = left.min(8);
                if u16::from(*byte) != (1 << here) - 1 {
                    return Err(self.damaged("not every answer is marked as written"));
                }
                left -= here;
            }
            at += count as u64;
        }
        Ok(())
    }

    fn check_leaves(&self) -> Result<(), AnswersError> {
        let mut failed = None;
        let leaves = self.leaves().map_while(|leaf| leaf.map_err(|e| failed = Some(e)).ok());
        let root = limbeck_files::hex(&merkle_root(leaves));
        match failed {
            Some(error) => Err(error),
            None if self.manifest.shard.is_some() && root != self.manifest.dataset.sha256 => {
                Err(self.damaged("the hashes of its samples do not make the hash of its data set"))
            }
            None => Ok(()),
        }
    }

    /// A shard's leaf of each sample ([`limbeck_files::merkle`]), in order; nothing in a whole file.
    fn leaves(&self) -> impl Iterator<Item = Result<[u8; 32], AnswersError>> {
        let count = if self.manifest.shard.is_some() { self.layout.samples } else { 0 };
        (0..count).map(|i| {
            let mut leaf = [0; 32];
            self.blocks.read(self.layout.leaves_at + 32 * i, &mut leaf)?;
            Ok(leaf)
        })
    }

    fn damaged(&self, what: &str) -> AnswersError {
        AnswersError::Damaged { path: self.path.clone(), what: what.into() }
    }

    /// Read everything: every block, the hash of the whole, every record as numbers.
    pub fn verify(&self) -> Result<(), AnswersError> {
        let mut seal = Seal::new();
        self.blocks.each(|bytes| seal.update(bytes))?;
        if seal.finish().sha256 != self.sha256 {
            return Err(self.damaged("the footer's hash is wrong"));
        }
        for (h, head) in self.manifest.heads.iter().enumerate() {
            let mut values = vec![0.0; if head.is_dense() { head.len() } else { 0 }];
            let stride = self.layout.heads[h].1;
            let at_once = (BLOCK as u64 / stride.max(1)).max(1);
            let mut records = Vec::new();
            let mut index = 0;
            while index < self.layout.answers() {
                let count = at_once.min(self.layout.answers() - index);
                records.resize((count * stride) as usize, 0);
                self.blocks.read(self.layout.record(h, index).0, &mut records)?;
                for (i, record) in (index..).zip(records.chunks_exact(stride as usize)) {
                    let (sample, view) = (self.layout.first + i % self.layout.samples, i / self.layout.samples);
                    let view = self.manifest.views[view as usize];
                    match head.kind {
                        HeadKind::TopKF16 { .. } => drop(self.parse_top_k(head, record)?),
                        _ => self.parse(head, sample, view, record, &mut values)?,
                    }
                }
                index += count;
            }
        }
        Ok(())
    }

    /// Refuse the answers, by field, unless they are what `expected` says, of all samples.
    pub fn check(&self, expected: &Expected) -> Result<(), AnswersError> {
        let m = &self.manifest;
        let mismatch = |field, in_file: &str, expected: &str| {
            let (in_file, expected) = (in_file.to_owned(), expected.to_owned());
            Err(AnswersError::Mismatch { path: self.path.clone(), field, in_file, expected })
        };
        if let Some(shard) = m.shard {
            let (first, end, of) = (shard.first, m.range().end, shard.of);
            return Err(AnswersError::Shard { path: self.path.clone(), first, end, of });
        }
        let hashes = [
            ("teacher", &m.teacher.sha256, &m.teacher.name, &expected.teacher_sha256),
            ("teacher card", &m.card_sha256, &m.teacher.name, &expected.card_sha256),
            ("data set", &m.dataset.sha256, &m.dataset.name, &expected.dataset_sha256),
        ];
        for (field, have, name, want) in hashes {
            if let Some(want) = want.as_ref().filter(|w| *w != have) {
                return mismatch(field, &format!("sha256 {have} ({name})"), &format!("sha256 {want}"));
            }
        }
        if let Some(want) = &expected.augment_sha256 {
            let have = m.augment.as_ref().map(|recipe| recipe.sha256());
            if have.as_ref() != Some(want) {
                let have = have.map_or("no drawn views".into(), |sha256| format!("sha256 {sha256}"));
                return mismatch("augment", &have, &format!("sha256 {want}"));
            }
        }
        match &expected.labels {
            Some(want) if *want != m.card.labels => {
                let list = |labels: &[String]| format!("{} labels [{}]", labels.len(), labels.join(", "));
                mismatch("labels", &list(&m.card.labels), &list(want))
            }
            _ => Ok(()),
        }
    }

    /// What the file says about itself.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// The name of these answers: the SHA-256 in the footer, of all bytes before it
    /// (`head -c -56 train.answers | sha256sum`). [`Answers::verify`] compares it with the bytes.
    pub fn sha256(&self) -> &str {
        &self.sha256
    }

    /// The file, as it was named when opened.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Bytes of the file.
    pub fn bytes(&self) -> u64 {
        self.layout.length
    }

    /// Samples with answers here: all of the data set, or a shard's.
    pub fn samples(&self) -> u64 {
        self.layout.samples
    }

    /// Views that have records.
    pub fn views(&self) -> &[View] {
        &self.manifest.views
    }

    /// What is kept of every answer.
    pub fn heads(&self) -> &[Head] {
        &self.manifest.heads
    }

    /// The head with this key.
    pub fn head(&self, key: &str) -> Result<HeadId, AnswersError> {
        self.manifest.head(key).map(HeadId).ok_or_else(|| self.no_head(key))
    }

    /// K, how many logits the teacher has; 0 when the file keeps none.
    pub fn classes(&self) -> usize {
        self.manifest.head(LOGITS).map_or(0, |h| self.manifest.heads[h].len())
    }

    /// The K logits of `sample` seen through `view`, into `out`: raw with `dense_f32`, else relative to the largest. An
    /// error when the file keeps the largest only.
    pub fn logits_into(&self, sample: u64, view: View, out: &mut [f32]) -> Result<(), AnswersError> {
        self.values_into(self.head(LOGITS)?, sample, view, out)
    }

    /// The value of a dense head for `sample` (its number in the data set) seen through `view`, into `out`, which has
    /// [`Head::len`] values. A view without records is an error, never another view's answer.
    pub fn values_into(&self, head: HeadId, sample: u64, view: View, out: &mut [f32]) -> Result<(), AnswersError> {
        let h = self.by_id(head)?;
        if let HeadKind::TopKF16 { k } = h.kind {
            let (path, key) = (self.path.clone(), h.key.clone());
            return Err(AnswersError::NotDense { path, key, k, classes: h.len() });
        }
        if out.len() != h.len() {
            let (path, key) = (self.path.clone(), h.key.clone());
            return Err(AnswersError::WrongLength { path, key, have: out.len(), want: h.len() });
        }
        self.with_record(head, sample, view, |record| self.parse(h, sample, view, record, out))
    }

    /// The largest logits of `sample` seen through `view`.
    pub fn top_k(&self, head: HeadId, sample: u64, view: View) -> Result<TopK, AnswersError> {
        let h = self.by_id(head)?;
        if h.is_dense() {
            return Err(AnswersError::NotTopK { path: self.path.clone(), key: h.key.clone(), kind: h.kind });
        }
        self.with_record(head, sample, view, |record| self.parse_top_k(h, record))
    }

    /// The probe: number of each sample and its value as the teacher gave it, through the first view. Empty without one.
    pub fn probe(&self) -> Result<Vec<(u64, Vec<f32>)>, AnswersError> {
        let probe = self.manifest.probe.as_ref().and_then(|p| self.manifest.heads.iter().find(|h| h.key == p.head));
        let Some(head) = probe else { return Ok(vec![]) };
        let plain = Head { kind: HeadKind::VecF32, dims: vec![head.len() as u32], ..head.clone() };
        let answer = |&(index, at): &(u64, u64)| {
            let (mut record, mut values) = (vec![0; self.layout.probe_stride as usize], vec![0.0; head.len()]);
            self.blocks.read(at, &mut record)?;
            let sample = self.layout.first + index;
            self.parse(&plain, sample, self.manifest.views[0], &record, &mut values)?;
            Ok((sample, values))
        };
        self.layout.probes.iter().map(answer).collect()
    }

    fn by_id(&self, head: HeadId) -> Result<&Head, AnswersError> {
        self.manifest.heads.get(head.0).ok_or_else(|| self.no_head(&format!("number {}", head.0)))
    }

    fn no_head(&self, key: &str) -> AnswersError {
        let there: Vec<&str> = self.heads().iter().map(|h| h.key.as_str()).collect();
        AnswersError::NoSuchHead { path: self.path.clone(), key: key.into(), there: there.join(", ") }
    }

    /// Number of the answer for `sample` seen through `view`.
    fn index(&self, sample: u64, view: View) -> Result<u64, AnswersError> {
        let path = || self.path.clone();
        let Some(v) = self.manifest.views.iter().position(|w| *w == view) else {
            return Err(AnswersError::NoSuchView { path: path(), view });
        };
        match sample.checked_sub(self.layout.first).filter(|s| *s < self.layout.samples) {
            Some(inside) => Ok(v as u64 * self.layout.samples + inside),
            None => {
                let range = self.manifest.range();
                Err(AnswersError::NoSuchSample { path: path(), sample, first: range.start, end: range.end })
            }
        }
    }

    fn with_record<T>(
        &self,
        head: HeadId,
        sample: u64,
        view: View,
        take: impl FnOnce(&[u8]) -> Result<T, AnswersError>,
    ) -> Result<T, AnswersError> {
        let (at, stride) = self.layout.record(head.0, self.index(sample, view)?);
        let (mut small, mut large) = ([0; SMALL_RECORD], Vec::new());
        let record = match small.get_mut(..stride as usize) {
            Some(record) => record,
            None => {
                large.resize(stride as usize, 0);
                &mut large[..]
            }
        };
        self.blocks.read(at, record)?;
        take(record)
    }

    /// A writer refuses NaN and infinity; bytes made by something else may still hold them.
    fn parse(&self, head: &Head, sample: u64, view: View, record: &[u8], out: &mut [f32]) -> Result<(), AnswersError> {
        head.parse(record, out);
        match out.iter().position(|v| !v.is_finite()) {
            None => Ok(()),
            Some(index) => {
                let (path, head, value) = (self.path.clone(), head.key.clone(), out[index]);
                Err(AnswersError::NonFinite { path, head, sample, view, index, value })
            }
        }
    }

    fn parse_top_k(&self, head: &Head, record: &[u8]) -> Result<TopK, AnswersError> {
        let HeadKind::TopKF16 { k } = head.kind else { return Err(self.damaged("heads")) };
        let parsed = TopK::parse(record, k.into(), head.len());
        parsed.ok_or_else(|| self.damaged(&format!("a record of `{}` is impossible", head.key)))
    }

    /// Where the record of head `h`, view number `v` and a sample of this file is, and how long it is.
    pub(crate) fn record_at(&self, h: usize, v: u64, sample: u64) -> (u64, u64) {
        self.layout.record(h, v * self.layout.samples + (sample - self.layout.first))
    }

    /// Where a shard's leaf of a sample is.
    pub(crate) fn leaf_at(&self, sample: u64) -> u64 {
        self.layout.leaves_at + 32 * (sample - self.layout.first)
    }

    /// Where the probe of a sample of this file is, if it has it.
    pub(crate) fn probe_at(&self, sample: u64) -> Option<u64> {
        self.layout.probe(sample - self.layout.first)
    }

    pub(crate) fn layout(&self) -> &Layout {
        &self.layout
    }

    pub(crate) fn read(&self, at: u64, out: &mut [u8]) -> Result<(), AnswersError> {
        self.blocks.read(at, out)
    }
}
