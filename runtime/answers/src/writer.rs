//! Writing an answers file: records in any order, over as many runs as it takes, and one file at the end.

use std::fs::{File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use limbeck_files::{FileError, merkle_root};

use crate::error::AnswersError;
use crate::format::{HEADER, Header, Layout};
use crate::manifest::Manifest;
use crate::partial::{self, Bits, Storage};
use crate::view::View;

/// Answers after which [`AnswersWriter::put`] makes them durable: what a kill costs at most.
const SYNC_ANSWERS: usize = 1024;
/// Bytes of records after which it does.
const SYNC_BYTES: u64 = 64 << 20;

/// Writes the answers of a teacher into `<path>.partial`, which becomes `path` in [`AnswersWriter::finish`], whole. Killed
/// at any moment, even by the loss of power, the next [`AnswersWriter::create_or_resume`] goes on, and the file ends up with the same
/// bytes. Memory: one bit an answer.
pub struct AnswersWriter {
    path: PathBuf,
    partial: PathBuf,
    manifest: Manifest,
    layout: Layout,
    storage: Box<dyn Storage>,
    done: Bits,
    resumed: u64,
    /// The finished file's hash, once it has its end.
    sealed: Option<String>,
    /// Journal entries that wait for their records to be synced.
    pending: Vec<(u64, u64)>,
    pending_bytes: u64,
    record: Vec<u8>,
}

impl AnswersWriter {
    /// Begin the file that will become `path`, or go on with what an earlier run left. The folder must exist; a path that
    /// cannot be written fails here and not after an hour of teaching. For a manifest of all samples.
    pub fn create_or_resume(path: &Path, manifest: Manifest) -> Result<AnswersWriter, AnswersError> {
        if manifest.shard.is_some() {
            let why = "is set; a shard needs the leaves of its samples".into();
            return Err(AnswersError::Manifest { path: path.to_owned(), field: "shard", why });
        }
        AnswersWriter::start(path, manifest, &[])
    }

    /// The same for a shard. `leaves` are those of its samples ([`limbeck_files::merkle::leaf`]), in order, and `dataset.sha256` is
    /// their root: they stay in the shard, so that whoever merges all shards can tell the hash of the whole data set.
    pub fn create_or_resume_shard(
        path: &Path,
        manifest: Manifest,
        leaves: &[[u8; 32]],
    ) -> Result<AnswersWriter, AnswersError> {
        let bad = |field, why: String| Err(AnswersError::Manifest { path: path.to_owned(), field, why });
        let Some(shard) = manifest.shard else {
            return bad("shard", "is missing".into());
        };
        if leaves.len() as u64 != shard.count {
            return bad("shard.count", format!("is {}, but there are {} leaves", shard.count, leaves.len()));
        }
        let root = limbeck_files::hex(&merkle_root(leaves.iter().copied()));
        if manifest.dataset.sha256 != root {
            return bad("dataset.sha256", format!("is {}, but its samples have {root}", manifest.dataset.sha256));
        }
        AnswersWriter::start(path, manifest, leaves)
    }

    /// Delete what an earlier run left of `path`, if it left anything and nobody is at it.
    pub fn restart(path: &Path) -> Result<(), AnswersError> {
        let partial = partial_of(path);
        let Some(file) = open_locked(&partial)? else { return Ok(()) };
        std::fs::remove_file(&partial).map_err(|source| FileError { path: partial, doing: "remove", source })?;
        drop(file);
        Ok(())
    }

    fn start(path: &Path, manifest: Manifest, leaves: &[[u8; 32]]) -> Result<AnswersWriter, AnswersError> {
        let partial = partial_of(path);
        let (layout, json) = plan(path, &manifest)?;
        let length = partial::length(&layout).ok_or_else(|| too_large(path, &layout))?;
        loop {
            let leaves = leaves.concat();
            if let Some(file) = open_locked(&partial)? {
                let mut writer = AnswersWriter::resume(path, manifest, Box::new(file))?;
                let written = writer.storage.write(layout.leaves_at, &leaves);
                written.map_err(|source| FileError { path: partial, doing: "write", source })?;
                return Ok(writer);
            }
            let front = layout.front(&json);
            limbeck_files::create_sparse(&partial, length, &[(0, &front), (layout.leaves_at, &leaves)])?;
        }
    }

    /// Go on with the partial in `storage`.
    pub(crate) fn resume(
        path: &Path,
        manifest: Manifest,
        storage: Box<dyn Storage>,
    ) -> Result<AnswersWriter, AnswersError> {
        let partial = partial_of(path);
        let (layout, json) = plan(path, &manifest)?;
        let mut done = Bits::zeros(layout.answers()).ok_or_else(|| too_large(path, &layout))?;
        let failed = |source| FileError { path: partial.clone(), doing: "read", source };
        let damaged = |what: &str| AnswersError::DamagedPartial { path: partial.clone(), what: what.into() };

        let length = storage.length().map_err(failed)?;
        let front = layout.front(&json);
        let mut found = vec![0; front.len().min(usize::try_from(length).unwrap_or(usize::MAX))];
        storage.read(0, &mut found).map_err(failed)?;
        if found != front {
            let earlier = earlier(storage.as_ref(), length);
            let difference = earlier.and_then(|earlier| earlier.difference(&manifest));
            return Err(match difference {
                Some((field, in_file, now)) => AnswersError::OtherRun { path: partial, field, in_file, now },
                None => damaged("its header or manifest is not whole"),
            });
        }
        let mut sealed = None;
        if length == layout.length {
            // Finished but for its name: the journal is cut off last.
            let seal = partial::seal(storage.as_ref(), &layout).map_err(failed)?;
            let mut end = vec![0; seal.end.len()];
            storage.read(layout.table_at, &mut end).map_err(failed)?;
            if end != seal.end {
                return Err(damaged("its checksums are wrong"));
            }
            done.set_all(layout.answers());
            sealed = Some(seal.sha256);
        } else if Some(length) == partial::length(&layout) {
            partial::resume(storage.as_ref(), &layout, &mut done).map_err(failed)?;
        } else {
            return Err(damaged(&format!("it has {length} bytes")));
        }
        Ok(AnswersWriter {
            resumed: done.count(),
            path: path.to_owned(),
            partial,
            manifest,
            layout,
            storage,
            done,
            sealed,
            pending: vec![],
            pending_bytes: 0,
            record: vec![],
        })
    }

    /// What the file will say about itself.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// The unfinished file.
    pub fn partial(&self) -> &Path {
        &self.partial
    }

    /// Answers that an earlier run left.
    pub fn resumed(&self) -> u64 {
        self.resumed
    }

    /// The answer for `sample` seen through `view` is there. False for what is not of this file.
    pub fn is_done(&self, sample: u64, view: View) -> bool {
        self.index(sample, view).is_ok_and(|index| self.done.get(index))
    }

    fn index(&self, sample: u64, view: View) -> Result<u64, AnswersError> {
        let path = || self.path.clone();
        let Some(v) = self.manifest.views.iter().position(|w| *w == view) else {
            return Err(AnswersError::NoSuchView { path: path(), view });
        };
        let range = self.manifest.range();
        if !range.contains(&sample) {
            return Err(AnswersError::NoSuchSample { path: path(), sample, first: range.start, end: range.end });
        }
        Ok(v as u64 * self.layout.samples + (sample - range.start))
    }

    /// Keep the teacher's answer for `sample` seen through `view`: one value a head, in the order of the heads, as the
    /// teacher gave it. `label` is the true class, if there is one. Once each, in any order. After 1024 answers, or 64 MiB, what
    /// was put is made durable.
    pub fn put(&mut self, sample: u64, view: View, label: Option<u16>, values: &[&[f32]]) -> Result<(), AnswersError> {
        let index = self.index(sample, view)?;
        let path = || self.path.clone();
        if values.len() != self.manifest.heads.len() {
            return Err(AnswersError::WrongHeads { path: path(), have: values.len(), want: self.manifest.heads.len() });
        }
        for (head, values) in self.manifest.heads.iter().zip(values) {
            let key = || head.key.clone();
            if values.len() != head.len() {
                return Err(AnswersError::WrongLength {
                    path: path(),
                    key: key(),
                    have: values.len(),
                    want: head.len(),
                });
            }
            if let Some(index) = values.iter().position(|v| !v.is_finite()) {
                let value = values[index];
                return Err(AnswersError::NonFinite { path: path(), head: key(), sample, view, index, value });
            }
        }
        if self.done.get(index) {
            return Err(AnswersError::Repeated { path: path(), sample, view });
        }

        let heads = self.layout.heads.iter().map(|h| h.1).sum::<u64>();
        let probe = self.layout.probe(index).map_or(0, |_| self.layout.probe_stride);
        self.record.resize((heads + probe) as usize, 0);
        let mut rest = &mut self.record[..];
        let mut parts = Vec::with_capacity(values.len() + 1);
        for (h, (head, values)) in self.manifest.heads.iter().zip(values).enumerate() {
            let (at, stride) = self.layout.record(h, index);
            let (record, after) = rest.split_at_mut(stride as usize);
            head.emit(values, label, record);
            parts.push((at, &*record));
            rest = after;
        }
        if let Some(at) = self.layout.probe(index) {
            let probed = self.manifest.probe.as_ref().and_then(|p| values.get(self.manifest.head(&p.head)?));
            for (v, out) in probed.into_iter().flat_map(|v| v.iter()).zip(rest.chunks_exact_mut(4)) {
                out.copy_from_slice(&v.to_le_bytes());
            }
            parts.push((at, &*rest));
        }
        for (at, record) in &parts {
            let written = self.storage.write(*at, record);
            written.map_err(|source| FileError { path: self.partial.clone(), doing: "write", source })?;
        }
        let sum = partial::sum(index, parts.iter().map(|(_, record)| *record));
        self.pending.push((index, sum));
        self.pending_bytes += heads + probe;
        self.done.set(index);
        if self.pending.len() >= SYNC_ANSWERS || self.pending_bytes >= SYNC_BYTES {
            self.sync()?;
        }
        Ok(())
    }

    /// Make all that was put durable: a kill or a power cut after this does not lose it.
    pub fn sync(&mut self) -> Result<(), AnswersError> {
        if self.pending.is_empty() {
            return Ok(());
        }
        self.pending.sort_unstable();
        let mut entries = || -> io::Result<()> {
            self.storage.sync()?;
            for run in self.pending.chunk_by(|a, b| a.0 + 1 == b.0) {
                let sums: Vec<u8> = run.iter().flat_map(|(_, sum)| sum.to_le_bytes()).collect();
                self.storage.write(partial::entry(&self.layout, run[0].0), &sums)?;
            }
            self.storage.sync()
        };
        let written = entries();
        written.map_err(|source| FileError { path: self.partial.clone(), doing: "write", source })?;
        self.pending.clear();
        self.pending_bytes = 0;
        Ok(())
    }

    /// Give the file its end and its name; returns [`Answers::sha256`](crate::Answers::sha256). Refuses while an answer is
    /// missing, and then keeps what there is for the next run.
    pub fn finish(mut self) -> Result<String, AnswersError> {
        let sha256 = self.seal()?;
        limbeck_files::move_into_place(&self.partial, &self.path)?;
        Ok(sha256)
    }

    /// Everything but the name.
    fn seal(&mut self) -> Result<String, AnswersError> {
        self.sync()?;
        let answers = self.layout.answers();
        if let Some(index) = self.done.first_zero(answers) {
            return Err(AnswersError::Missing {
                path: self.path.clone(),
                sample: self.layout.first + index % self.layout.samples,
                view: self.manifest.views[(index / self.layout.samples) as usize],
                missing: answers - self.done.count(),
                all: answers,
            });
        }
        if let Some(sha256) = &self.sealed {
            return Ok(sha256.clone());
        }
        let (storage, layout) = (&mut *self.storage, &self.layout);
        let end = |storage: &mut dyn Storage| -> io::Result<String> {
            partial::mark_all(storage, layout)?;
            let sealed = partial::seal(storage, layout)?;
            storage.write(layout.table_at, &sealed.end)?;
            storage.sync()?;
            storage.set_length(layout.length)?;
            storage.sync()?;
            Ok(sealed.sha256)
        };
        let sealed = end(storage);
        let sha256 = sealed.map_err(|source| FileError { path: self.partial.clone(), doing: "write", source })?;
        self.sealed = Some(sha256.clone());
        Ok(sha256)
    }
}

impl Drop for AnswersWriter {
    /// What was put before an error or Ctrl-C is kept for the next run.
    fn drop(&mut self) {
        if let Err(error) = self.sync() {
            log::warn!("{error}");
        }
    }
}

/// `<path>.partial`
fn partial_of(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".partial");
    name.into()
}

fn too_large(path: &Path, layout: &Layout) -> AnswersError {
    AnswersError::TooLarge { path: path.to_owned(), bytes: layout.length }
}

/// Where everything will lie, and the manifest's bytes.
fn plan(path: &Path, manifest: &Manifest) -> Result<(Layout, Vec<u8>), AnswersError> {
    let bad = |(field, why)| AnswersError::Manifest { path: path.to_owned(), field, why };
    manifest.validate().map_err(bad)?;
    let json = manifest.to_json().map_err(bad)?;
    let layout = Layout::of(manifest, json.len());
    let layout = layout.ok_or_else(|| AnswersError::TooLarge { path: path.to_owned(), bytes: u64::MAX })?;
    Ok((layout, json))
}

/// Open a partial for this process alone; none when there is no such file.
fn open_locked(partial: &Path) -> Result<Option<File>, AnswersError> {
    let at = |doing| move |source| FileError { path: partial.to_owned(), doing, source };
    loop {
        let file = match partial::open(partial) {
            Ok(file) => file,
            Err(source) if source.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(at("open")(source).into()),
        };
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(AnswersError::Busy { path: partial.to_owned() }),
            Err(TryLockError::Error(source)) => return Err(at("lock")(source).into()),
        }
        // Who had the lock before may have finished the file, and its name with it.
        if is_still(partial, &file).map_err(at("read"))? {
            return Ok(Some(file));
        }
    }
}

/// `path` is the name of `file`.
fn is_still(path: &Path, file: &File) -> io::Result<bool> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt;
        let named = match std::fs::metadata(path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(false),
            named => named?,
        };
        let open = file.metadata()?;
        Ok((named.dev(), named.ino()) == (open.dev(), open.ino()))
    }
    #[cfg(not(unix))]
    {
        // An open file keeps its name there.
        let _ = (path, file);
        Ok(true)
    }
}

/// The manifest of whatever partial this is.
fn earlier(storage: &dyn Storage, length: u64) -> Option<Manifest> {
    let mut header = [0; HEADER];
    storage.read(0, &mut header).ok()?;
    let header = Header::parse(&header).ok().filter(|h| h.manifest <= length)?;
    let mut json = vec![0; usize::try_from(header.manifest).ok()?];
    storage.read(HEADER as u64, &mut json).ok()?;
    Manifest::from_json(&json).ok()
}

#[cfg(test)]
#[path = "writer_power_tests.rs"]
mod power_tests;
