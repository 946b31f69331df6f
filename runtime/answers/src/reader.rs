//! Reading an answers file: everything is checked once, when it is opened.

use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};
use xxhash_rust::xxh3::xxh3_64;

use crate::format::{AnswersError, BLOCK, END, Expected, HEADER, Header, HeaderError, Manifest};
use crate::view::View;

/// An answers file in memory, every byte of it checked.
#[derive(Debug)]
pub struct Answers {
    path: PathBuf,
    bytes: Vec<u8>,
    manifest: Manifest,
    header: Header,
    records_at: usize,
    sha256: String,
}

impl Answers {
    /// Read and check `path`: magic, version, length, header checksum, every block, the footer's hash, the manifest.
    pub fn open(path: &Path) -> Result<Answers, AnswersError> {
        Answers::from_bytes(limbeck_files::read(path)?, path)
    }

    /// Check bytes that are already here (out of a bundle, say); `named` is the file in messages.
    pub fn from_bytes(bytes: Vec<u8>, named: &Path) -> Result<Answers, AnswersError> {
        let path = || named.to_owned();
        let damaged = |what: String| AnswersError::Damaged { path: path(), what };
        let have = bytes.len() as u64;
        let header = Header::parse(&bytes, have).map_err(|e| match e {
            HeaderError::NotAnswers => AnswersError::NotAnswers { path: path() },
            HeaderError::TooNew { found } => AnswersError::TooNew { path: path(), found },
            HeaderError::Damaged => damaged("the header's checksum is wrong".into()),
            HeaderError::Truncated { need } => damaged(format!("{need} bytes were written, {have} are here")),
        })?;
        // `parse` compared the length, so every offset is inside the file and fits a usize.
        let offsets = [header.records_at(), header.table_at(), header.footer_at()];
        let [Some(records_at), Some(table_at), Some(footer_at)] =
            offsets.map(|o| o.and_then(|o| usize::try_from(o).ok()))
        else {
            return Err(damaged("the header's offsets are impossible".into()));
        };
        let (body, footer) = bytes.split_at(footer_at);
        let (covered, table) = body.split_at(table_at);
        for (i, (block, sum)) in covered.chunks(BLOCK).zip(table.chunks_exact(8)).enumerate() {
            if xxh3_64(block).to_le_bytes() != sum {
                return Err(damaged(format!(
                    "the checksum of bytes {}..{} is wrong",
                    i * BLOCK,
                    i * BLOCK + block.len()
                )));
            }
        }
        let mut hash = Sha256::new_with_prefix(body);
        if footer[..32] != *hash.clone().finalize() || footer[32..] != END {
            return Err(damaged("the footer's hash is wrong".into()));
        }
        hash.update(footer);
        let sha256 = limbeck_files::hex(&hash.finalize());

        let bad = |field, why: String| AnswersError::Manifest { path: path(), field, why };
        let json = &covered[HEADER..HEADER + header.manifest as usize];
        let manifest: Manifest =
            serde_json::from_slice(json).map_err(|e| bad("json", format!("does not parse: {e}")))?;
        manifest.validate().map_err(|(field, why)| bad(field, why))?;
        let promised = (manifest.dataset.samples, manifest.views.len() as u64, manifest.head.stride());
        if promised != (header.samples, header.views as u64, header.stride as u64) {
            return Err(bad("dataset", "does not describe the records in the file".into()));
        }
        let answers = Answers { path: path(), manifest, header, records_at, sha256, bytes };
        answers.check_finite()?;
        Ok(answers)
    }

    /// A writer refuses NaN and infinity; bytes made by something else may still hold them.
    fn check_finite(&self) -> Result<(), AnswersError> {
        let mut logits = vec![0.0; self.manifest.head.classes as usize];
        for &view in &self.manifest.views {
            for sample in 0..self.header.samples {
                self.logits_into(sample, view, &mut logits)?;
                if let Some(class) = logits.iter().position(|z| !z.is_finite()) {
                    let (path, value) = (self.path.clone(), logits[class]);
                    return Err(AnswersError::NonFinite { path, sample, view, class, value });
                }
            }
        }
        Ok(())
    }

    /// Refuse the answers, by field, unless they are what `expected` says.
    pub fn check(&self, expected: &Expected) -> Result<(), AnswersError> {
        let m = &self.manifest;
        let mismatch = |field, in_file: &str, expected: &str| {
            let (in_file, expected) = (in_file.to_owned(), expected.to_owned());
            Err(AnswersError::Mismatch { path: self.path.clone(), field, in_file, expected })
        };
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

    /// SHA-256 of the whole file, as `sha256sum` gives it.
    pub fn sha256(&self) -> &str {
        &self.sha256
    }

    /// The file, as it was named when opened.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// S
    pub fn samples(&self) -> u64 {
        self.header.samples
    }

    /// Views that have records.
    pub fn views(&self) -> &[View] {
        &self.manifest.views
    }

    /// K, the length of an answer.
    pub fn classes(&self) -> usize {
        self.manifest.head.classes as usize
    }

    /// The K logits of `sample` seen through `view`, into `out`: raw with `dense_f32`, relative to the largest with
    /// `dense_f16`. A view without records is an error, never another view's answer.
    pub fn logits_into(&self, sample: u64, view: View, out: &mut [f32]) -> Result<(), AnswersError> {
        let path = || self.path.clone();
        let Some(v) = self.manifest.views.iter().position(|w| *w == view) else {
            return Err(AnswersError::NoSuchView { path: path(), view });
        };
        if sample >= self.header.samples {
            return Err(AnswersError::NoSuchSample { path: path(), sample, samples: self.header.samples });
        }
        if out.len() != self.classes() {
            return Err(AnswersError::WrongLength {
                path: path(),
                have: out.len(),
                classes: self.manifest.head.classes,
            });
        }
        // Inside the file: the header's arithmetic was checked when it was opened.
        let stride = self.header.stride as usize;
        let index = v * self.header.samples as usize + sample as usize;
        self.manifest.head.parse(&self.bytes[self.records_at + index * stride..][..stride], out);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::tests::manifest;
    use crate::format::{HeadKind, Manifest};
    use crate::rng::Stream;
    use crate::writer::AnswersWriter;

    fn logits(sample: u64, view: View, classes: usize) -> Vec<f32> {
        let mut s = Stream::new(3, sample, (view == View::Flip) as u32);
        (0..classes).map(|_| (s.next_u32() as f32 / 2.0_f32.powi(31) - 1.0) * 20.0).collect()
    }

    fn write(m: Manifest) -> Vec<u8> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("t.answers");
        let mut writer = AnswersWriter::create(&path, m.clone()).unwrap();
        for sample in (0..m.dataset.samples).rev() {
            for &view in &m.views {
                writer.put(sample, view, &logits(sample, view, m.head.classes as usize)).unwrap();
            }
        }
        writer.finish().unwrap();
        std::fs::read(path).unwrap()
    }

    fn open(bytes: &[u8]) -> Result<Answers, AnswersError> {
        Answers::from_bytes(bytes.to_vec(), Path::new("t.answers"))
    }

    #[test]
    fn answers_come_back() {
        for kind in [HeadKind::DenseF32, HeadKind::DenseF16] {
            let m = manifest(kind);
            let bytes = write(m.clone());
            let answers = open(&bytes).unwrap();
            assert_eq!(answers.manifest(), &m);
            assert_eq!(answers.sha256(), limbeck_files::sha256_hex(&bytes));
            assert_eq!((answers.samples(), answers.views(), answers.classes()), (5, &View::ALL[..], 3));
            let mut out = [0.0; 3];
            for (sample, view) in (0..5).flat_map(|s| View::ALL.map(|v| (s, v))) {
                answers.logits_into(sample, view, &mut out).unwrap();
                let z = logits(sample, view, 3);
                let max = z.iter().copied().fold(f32::NEG_INFINITY, f32::max);
                match kind {
                    HeadKind::DenseF32 => assert_eq!(out[..], z),
                    HeadKind::DenseF16 => {
                        for (out, z) in out.iter().zip(&z) {
                            assert!((out - (z - max)).abs() <= (z - max).abs() / 2048.0, "{out} {}", z - max);
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn far_below_the_maximum_stays_finite_in_f16() {
        let mut m = manifest(HeadKind::DenseF16);
        (m.views, m.dataset.samples) = (vec![View::Identity], 1);
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("t.answers");
        let mut writer = AnswersWriter::create(&path, m).unwrap();
        writer.put(0, View::Identity, &[f32::MAX, f32::MIN, f32::MAX]).unwrap();
        writer.finish().unwrap();
        let mut out = [1.0; 3];
        Answers::open(&path).unwrap().logits_into(0, View::Identity, &mut out).unwrap();
        assert_eq!(out, [0.0, -65504.0, 0.0]);
    }

    #[test]
    fn any_flipped_bit_is_refused() {
        let mut bytes = write(manifest(HeadKind::DenseF16));
        for at in 0..bytes.len() {
            for bit in 0..8 {
                bytes[at] ^= 1 << bit;
                assert!(open(&bytes).is_err(), "byte {at} bit {bit}");
                bytes[at] ^= 1 << bit;
            }
        }
        open(&bytes).unwrap();
    }

    #[test]
    fn any_truncation_and_any_tail_is_refused() {
        let mut bytes = write(manifest(HeadKind::DenseF32));
        for length in 0..bytes.len() {
            assert!(open(&bytes[..length]).is_err(), "{length}");
        }
        bytes.push(0);
        let error = open(&bytes).unwrap_err().to_string();
        assert!(error.contains("t.answers") && error.contains("bytes were written"), "{error}");
    }

    #[test]
    fn damage_in_a_large_file_names_the_block() {
        let mut m = manifest(HeadKind::DenseF32);
        m.dataset.samples = 100_000;
        let mut bytes = write(m);
        open(&bytes).unwrap();
        bytes[BLOCK + 5] ^= 1;
        let error = open(&bytes).unwrap_err().to_string();
        assert!(error.contains("1048576..2097152"), "{error}");
    }

    #[test]
    fn answers_for_something_else_are_refused_by_field() {
        let mut m = manifest(HeadKind::DenseF16);
        m.views.push(View::Drawn(0));
        m.augment = crate::Augment::preset("light", 0).ok();
        let answers = open(&write(m)).unwrap();
        let m = answers.manifest().clone();
        let right = Expected {
            augment_sha256: m.augment.map(|recipe| recipe.sha256()),
            teacher_sha256: Some(m.teacher.sha256),
            card_sha256: Some(m.card_sha256),
            dataset_sha256: Some(m.dataset.sha256),
            labels: Some(m.card.labels),
        };
        answers.check(&right).unwrap();
        answers.check(&Expected::default()).unwrap();
        let other = || Some("f".repeat(64));
        let cases = [
            ("teacher", Expected { teacher_sha256: other(), ..right.clone() }),
            ("teacher card", Expected { card_sha256: other(), ..right.clone() }),
            ("data set", Expected { dataset_sha256: other(), ..right.clone() }),
            ("augment", Expected { augment_sha256: other(), ..right.clone() }),
            ("labels", Expected { labels: Some(vec!["b".into(), "a".into(), "c".into()]), ..right.clone() }),
        ];
        for (name, wrong) in cases {
            match answers.check(&wrong).unwrap_err() {
                AnswersError::Mismatch { field, in_file, expected, .. } => {
                    assert_eq!(field, name);
                    assert_ne!(in_file, expected);
                }
                error => panic!("{error}"),
            }
        }
    }

    #[test]
    fn a_view_or_sample_without_a_record_is_an_error() {
        let mut m = manifest(HeadKind::DenseF16);
        m.views = vec![View::Identity];
        let answers = open(&write(m)).unwrap();
        let mut out = [0.0; 3];
        assert!(matches!(answers.logits_into(0, View::Flip, &mut out), Err(AnswersError::NoSuchView { .. })));
        assert!(matches!(answers.logits_into(5, View::Identity, &mut out), Err(AnswersError::NoSuchSample { .. })));
        assert!(matches!(answers.logits_into(0, View::Identity, &mut out[..2]), Err(AnswersError::WrongLength { .. })));
    }

    #[test]
    fn the_order_of_writing_does_not_matter() {
        let m = manifest(HeadKind::DenseF16);
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("t.answers");
        let mut writer = AnswersWriter::create(&path, m.clone()).unwrap();
        for view in [View::Flip, View::Identity] {
            for sample in [3, 0, 4, 1, 2] {
                writer.put(sample, view, &logits(sample, view, 3)).unwrap();
            }
        }
        writer.finish().unwrap();
        assert_eq!(std::fs::read(path).unwrap(), write(m));
    }

    #[test]
    fn something_else_is_called_something_else() {
        let error = open(b"\x08\x0aONNX, perhaps").unwrap_err().to_string();
        assert!(error.contains("not an answers file") && error.contains("limbeck teach"), "{error}");
        assert!(Answers::open(Path::new("/no/such/t.answers")).unwrap_err().to_string().contains("/no/such/t.answers"));
    }
}
