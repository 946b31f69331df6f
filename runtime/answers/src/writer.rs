//! Writing an answers file: records in any order, one file at the end or none.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use limbeck_files::{FileError, Staged};
use sha2::{Digest, Sha256};
use xxhash_rust::xxh3::xxh3_64;

use crate::format::{AnswersError, BLOCK, END, Header, Manifest};
use crate::view::View;

/// Collects the answers of a teacher. Records wait in memory (`S V stride` bytes: 1 MB for 50,000 samples of 10
/// classes) and the file appears in [`AnswersWriter::finish`], whole; dropped before that, nothing is left.
pub struct AnswersWriter {
    staged: Staged,
    path: PathBuf,
    manifest: Manifest,
    json: Vec<u8>,
    header: Header,
    records: Vec<u8>,
    done: Vec<bool>,
}

impl AnswersWriter {
    /// Begin the file that will become `path`. The folder must exist; a path that cannot be written fails here and not
    /// after an hour of teaching.
    pub fn create(path: &Path, manifest: Manifest) -> Result<AnswersWriter, AnswersError> {
        let bad = |(field, why)| AnswersError::Manifest { path: path.to_owned(), field, why };
        manifest.validate().map_err(bad)?;
        let json = serde_json::to_vec(&manifest).map_err(|e| bad(("card", e.to_string())))?;
        if serde_json::from_slice::<Manifest>(&json).ok().as_ref() != Some(&manifest) {
            return Err(bad(("card", "has a number that JSON does not give back; use fewer digits".into())));
        }
        let too_large = |bytes| AnswersError::TooLarge { path: path.to_owned(), bytes };
        let header = Header {
            samples: manifest.dataset.samples,
            views: manifest.views.len() as u32,
            manifest: json.len() as u64,
            stride: u32::try_from(manifest.head.stride()).map_err(|_| too_large(manifest.head.stride()))?,
        };
        let bytes = header.length().and(header.records_len()).ok_or(too_large(u64::MAX))?;
        let (mut records, mut done) = (Vec::new(), Vec::new());
        let count = header.samples * header.views as u64;
        let (size, count) =
            usize::try_from(bytes).and_then(|b| Ok((b, usize::try_from(count)?))).map_err(|_| too_large(bytes))?;
        records.try_reserve_exact(size).and(done.try_reserve_exact(count)).map_err(|_| too_large(bytes))?;
        records.resize(size, 0);
        done.resize(count, false);
        Ok(AnswersWriter {
            staged: Staged::create(path)?,
            path: path.to_owned(),
            manifest,
            json,
            header,
            records,
            done,
        })
    }

    /// What the file will say about itself.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Keep the teacher's K raw logits for `sample` seen through `view`. Once each, in any order.
    pub fn put(&mut self, sample: u64, view: View, logits: &[f32]) -> Result<(), AnswersError> {
        let path = || self.path.clone();
        if sample >= self.header.samples {
            return Err(AnswersError::NoSuchSample { path: path(), sample, samples: self.header.samples });
        }
        let Some(v) = self.manifest.views.iter().position(|w| *w == view) else {
            return Err(AnswersError::NoSuchView { path: path(), view });
        };
        let classes = self.manifest.head.classes;
        if logits.len() != classes as usize {
            return Err(AnswersError::WrongLength { path: path(), have: logits.len(), classes });
        }
        if let Some(class) = logits.iter().position(|z| !z.is_finite()) {
            return Err(AnswersError::NonFinite { path: path(), sample, view, class, value: logits[class] });
        }
        // Fits: `records` of this length was allocated.
        let index = v * self.header.samples as usize + sample as usize;
        if self.done[index] {
            return Err(AnswersError::Repeated { path: path(), sample, view });
        }
        let stride = self.header.stride as usize;
        self.manifest.head.emit(logits, &mut self.records[index * stride..][..stride]);
        self.done[index] = true;
        Ok(())
    }

    /// Write the file, or refuse while a record is missing.
    pub fn finish(self) -> Result<(), AnswersError> {
        let missing = self.done.iter().filter(|d| !**d).count() as u64;
        if let Some(index) = self.done.iter().position(|d| !*d) {
            let samples = self.header.samples as usize;
            return Err(AnswersError::Missing {
                path: self.path,
                sample: (index % samples) as u64,
                view: self.manifest.views[index / samples],
                missing,
                all: self.done.len() as u64,
            });
        }
        let Some(header) = self.header.emit() else {
            return Err(AnswersError::TooLarge { path: self.path, bytes: self.records.len() as u64 });
        };
        let mut staged = self.staged;
        let written = write(&mut staged, &[&header, &padded(&self.json), &padded(&self.records)]);
        written.map_err(|source| FileError { path: self.path.clone(), doing: "write", source })?;
        Ok(staged.commit()?)
    }
}

/// The bytes, followed by zeros to a multiple of 8.
fn padded(bytes: &[u8]) -> std::borrow::Cow<'_, [u8]> {
    match bytes.len() % 8 {
        0 => bytes.into(),
        rest => [bytes, &[0; 8][rest..]].concat().into(),
    }
}

/// `parts`, then the block table over them, then the footer.
fn write(out: &mut impl Write, parts: &[&[u8]]) -> io::Result<()> {
    let mut whole = Sha256::new();
    let mut block = Vec::with_capacity(BLOCK);
    let mut table = Vec::new();
    for mut part in parts.iter().copied() {
        whole.update(part);
        out.write_all(part)?;
        while !part.is_empty() {
            let (now, later) = part.split_at(part.len().min(BLOCK - block.len()));
            block.extend_from_slice(now);
            part = later;
            if block.len() == BLOCK {
                table.extend(xxh3_64(&block).to_le_bytes());
                block.clear();
            }
        }
    }
    if !block.is_empty() {
        table.extend(xxh3_64(&block).to_le_bytes());
    }
    whole.update(&table);
    out.write_all(&table)?;
    out.write_all(&whole.finalize())?;
    out.write_all(&END)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::HeadKind;
    use crate::format::tests::manifest;

    #[test]
    fn an_unfinished_file_leaves_nothing_and_names_what_is_missing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("t.answers");
        let mut writer = AnswersWriter::create(&path, manifest(HeadKind::DenseF16)).unwrap();
        for (sample, view) in [(0, View::Identity), (1, View::Identity), (3, View::Identity), (3, View::Flip)] {
            writer.put(sample, view, &[1.0, 2.0, 3.0]).unwrap();
        }
        match writer.finish().unwrap_err() {
            AnswersError::Missing { sample: 2, view: View::Identity, missing: 6, all: 10, .. } => {}
            other => panic!("{other}"),
        }
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn answers_that_cannot_be_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("t.answers");
        let mut m = manifest(HeadKind::DenseF32);
        m.views = vec![View::Identity];
        let mut writer = AnswersWriter::create(&path, m).unwrap();
        let mut put = |sample, view, logits: &[f32]| writer.put(sample, view, logits).unwrap_err().to_string();
        assert!(put(5, View::Identity, &[0.0; 3]).contains("no sample 5"));
        assert!(put(0, View::Flip, &[0.0; 3]).contains("view flip"));
        assert!(put(0, View::Identity, &[0.0; 4]).contains("3 logits, not 4"));
        assert!(put(2, View::Identity, &[0.0, f32::NAN, 0.0]).contains("logit 1 of sample 2"));
        writer.put(1, View::Identity, &[0.0; 3]).unwrap();
        assert!(writer.put(1, View::Identity, &[0.0; 3]).unwrap_err().to_string().contains("twice"));
    }

    #[test]
    fn a_path_that_cannot_be_written_fails_at_once() {
        let error = AnswersWriter::create(Path::new("/no/such/folder/t.answers"), manifest(HeadKind::DenseF16));
        assert!(matches!(error, Err(AnswersError::File(_))));
    }

    #[test]
    fn impossible_sizes_are_an_error() {
        let dir = tempfile::tempdir().unwrap();
        for samples in [u64::MAX, u64::MAX / 8, 1 << 60] {
            let mut m = manifest(HeadKind::DenseF16);
            m.dataset.samples = samples;
            let result = AnswersWriter::create(&dir.path().join("t.answers"), m);
            assert!(matches!(result, Err(AnswersError::TooLarge { .. })));
        }
    }
}
