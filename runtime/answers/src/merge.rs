//! Shards put together: the same bytes as if one writer had answered everything.
//!
//! Shards may be given in any order and may overlap, as when a job was run twice, if they say the same where they do. The
//! data set's hash is that of the tree over all leaves, which the shards carry. Nothing is held in memory but the manifests.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};

use limbeck_files::{FileError, Staged, merkle_root};

use crate::error::AnswersError;
use crate::format::{BLOCK, Layout};
use crate::manifest::Manifest;
use crate::reader::Answers;
use crate::seal::Seal;

/// Why shards cannot be put together.
#[derive(Debug, thiserror::Error)]
pub enum MergeError {
    /// A shard cannot be read, or the file cannot be written.
    #[error(transparent)]
    Answers(#[from] AnswersError),
    /// Nothing was given.
    #[error("nothing to merge; name the shards")]
    Nothing,
    /// A file with the answers of all samples.
    #[error("{}: is no shard: it has the answers of all samples already", path.display())]
    Whole {
        /// The file.
        path: PathBuf,
    },
    /// Two shards are of different runs.
    #[error(
        "{} and {} are not of the same run: `{field}` is {in_first} in one and {in_second} in the other; \
         merge the shards of one teacher, card, data set and list of heads and views", first.display(), second.display()
    )]
    Differ {
        /// A shard.
        first: PathBuf,
        /// Another.
        second: PathBuf,
        /// Path of the manifest's field.
        field: String,
        /// What the first says.
        in_first: String,
        /// What the second says.
        in_second: String,
    },
    /// Two shards have other answers, or other bytes, for the same sample.
    #[error(
        "{} and {} both have sample {sample}, and `{what}` differs; leave one of them out", first.display(), second.display()
    )]
    Contradict {
        /// A shard.
        first: PathBuf,
        /// Another.
        second: PathBuf,
        /// The sample.
        sample: u64,
        /// Key of the head, or "sample" when its own hash differs.
        what: String,
    },
    /// Some samples are in no shard.
    #[error("samples {first}..{end} of {of} are in none of the shards; add the shard that has them")]
    Gap {
        /// First missing sample.
        first: u64,
        /// One past the last in a row.
        end: u64,
        /// Of the whole data set.
        of: u64,
    },
}

/// A run of samples that is taken from one shard.
struct Segment<'a> {
    shard: &'a Answers,
    samples: Range<u64>,
}

/// Write to `out` the file that `shards` are the parts of; returns [`Answers::sha256`].
pub fn merge(shards: &[PathBuf], out: &Path) -> Result<String, MergeError> {
    let mut open = shards.iter().map(|path| Answers::open(path)).collect::<Result<Vec<_>, _>>()?;
    let Some(first) = open.first() else { return Err(MergeError::Nothing) };
    let run = of_run(first.manifest());
    for shard in &open {
        let path = shard.path().to_owned();
        if shard.manifest().shard.is_none() {
            return Err(MergeError::Whole { path });
        }
        if let Some((field, in_first, in_second)) = run.difference(&of_run(shard.manifest())) {
            return Err(MergeError::Differ { first: first.path().into(), second: path, field, in_first, in_second });
        }
    }
    open.sort_by_key(|a| (a.manifest().range().start, a.manifest().range().end));
    let segments = cover(&open, run.dataset.samples)?;

    let mut failed = None;
    let leaves = segments.iter().flat_map(|s| s.leaves()).map_while(|leaf| leaf.map_err(|e| failed = Some(e)).ok());
    let root = limbeck_files::hex(&merkle_root(leaves));
    if let Some(error) = failed {
        return Err(error.into());
    }
    let mut manifest = run;
    manifest.dataset.sha256 = root;
    let bad = |(field, why)| AnswersError::Manifest { path: out.to_owned(), field, why };
    manifest.validate().map_err(bad)?;
    let json = manifest.to_json().map_err(bad)?;
    let layout = Layout::of(&manifest, json.len());
    let layout = layout.ok_or_else(|| AnswersError::TooLarge { path: out.to_owned(), bytes: u64::MAX })?;
    Ok(write(out, &layout, &layout.front(&json), &segments)?)
}

/// What all shards of one run have in common.
fn of_run(manifest: &Manifest) -> Manifest {
    let mut run = manifest.clone();
    run.shard = None;
    run.dataset.sha256 = "0".repeat(64);
    run
}

/// Which samples to take from which shard, in order; every sample once.
fn cover(shards: &[Answers], of: u64) -> Result<Vec<Segment<'_>>, MergeError> {
    let mut segments: Vec<Segment> = vec![];
    let mut next = 0;
    for shard in shards {
        let range = shard.manifest().range();
        if range.start > next {
            return Err(MergeError::Gap { first: next, end: range.start, of });
        }
        for earlier in &segments {
            let both = range.start.max(earlier.samples.start)..range.end.min(earlier.samples.end);
            if !both.is_empty() {
                compare(earlier.shard, shard, both)?;
            }
        }
        if range.end > next {
            segments.push(Segment { shard, samples: next..range.end });
            next = range.end;
        }
    }
    if next < of { Err(MergeError::Gap { first: next, end: of, of }) } else { Ok(segments) }
}

/// Two shards have the same bytes for `samples`, which are in both.
fn compare(a: &Answers, b: &Answers, samples: Range<u64>) -> Result<(), MergeError> {
    let differ = |sample, what: &str| MergeError::Contradict {
        first: a.path().into(),
        second: b.path().into(),
        sample,
        what: what.into(),
    };
    let (mut x, mut y) = (vec![], vec![]);
    let mut same = |at_a: u64, at_b: u64, count: usize| -> Result<bool, AnswersError> {
        x.resize(count, 0);
        y.resize(count, 0);
        a.read(at_a, &mut x)?;
        b.read(at_b, &mut y)?;
        Ok(x == y)
    };
    for sample in samples {
        if !same(a.leaf_at(sample), b.leaf_at(sample), 32)? {
            return Err(differ(sample, "sample"));
        }
        for (h, head) in a.heads().iter().enumerate() {
            for v in 0..a.views().len() as u64 {
                let ((at_a, stride), (at_b, _)) = (a.record_at(h, v, sample), b.record_at(h, v, sample));
                if !same(at_a, at_b, stride as usize)? {
                    return Err(differ(sample, &head.key));
                }
            }
        }
        if let (Some(at_a), Some(at_b)) = (a.probe_at(sample), b.probe_at(sample))
            && !same(at_a, at_b, a.layout().probe_stride as usize)?
        {
            return Err(differ(sample, "probe"));
        }
    }
    Ok(())
}

impl Segment<'_> {
    fn leaves(&self) -> impl Iterator<Item = Result<[u8; 32], AnswersError>> {
        self.samples.clone().map(|sample| {
            let mut leaf = [0; 32];
            self.shard.read(self.shard.leaf_at(sample), &mut leaf)?;
            Ok(leaf)
        })
    }

    /// Hand the records of head `h` and view `v` to `take`, in pieces.
    fn records(
        &self,
        h: usize,
        v: u64,
        mut take: impl FnMut(&[u8]) -> Result<(), AnswersError>,
    ) -> Result<(), AnswersError> {
        let (mut at, stride) = self.shard.record_at(h, v, self.samples.start);
        let mut left = stride * (self.samples.end - self.samples.start);
        let mut bytes = vec![0; left.min(BLOCK as u64) as usize];
        while left > 0 {
            let count = left.min(BLOCK as u64);
            self.shard.read(at, &mut bytes[..count as usize])?;
            take(&bytes[..count as usize])?;
            (at, left) = (at + count, left - count);
        }
        Ok(())
    }
}

/// A file that is written from its beginning to its end, and sealed on the way.
struct Stream {
    path: PathBuf,
    staged: Staged,
    seal: Seal,
    at: u64,
}

impl Stream {
    fn put(&mut self, bytes: &[u8]) -> Result<(), AnswersError> {
        self.seal.update(bytes);
        self.at += bytes.len() as u64;
        self.staged.write_all(bytes).map_err(|e| self.failed(e))
    }

    /// Zeros up to `at`.
    fn pad(&mut self, at: u64) -> Result<(), AnswersError> {
        self.put(&[0; 8][..(at - self.at) as usize])
    }

    fn failed(&self, source: io::Error) -> AnswersError {
        FileError { path: self.path.clone(), doing: "write", source }.into()
    }
}

fn write(out: &Path, layout: &Layout, front: &[u8], segments: &[Segment]) -> Result<String, AnswersError> {
    let mut stream = Stream { path: out.to_owned(), staged: Staged::create(out)?, seal: Seal::new(), at: 0 };
    stream.put(front)?;
    for h in 0..layout.heads.len() {
        stream.pad(layout.heads[h].0)?;
        for v in 0..u64::from(layout.views) {
            for segment in segments {
                segment.records(h, v, |bytes| stream.put(bytes))?;
            }
        }
    }
    let owner: BTreeMap<u64, &Segment> = segments.iter().map(|s| (s.samples.start, s)).collect();
    stream.pad(stream.at.next_multiple_of(8))?;
    let mut probe = vec![0; layout.probe_stride as usize * usize::from(!layout.probes.is_empty())];
    for &(sample, _) in &layout.probes {
        let shard = owner.range(..=sample).next_back().map(|(_, s)| s.shard);
        if let Some((shard, at)) = shard.and_then(|s| Some((s, s.probe_at(sample)?))) {
            shard.read(at, &mut probe)?;
        }
        stream.put(&probe)?;
    }
    stream.pad(layout.done_at)?;
    let (whole, rest) = (layout.answers() / 8, layout.answers() % 8);
    let ones = vec![0xFF; whole.min(BLOCK as u64) as usize];
    let mut left = whole;
    while left > 0 {
        let count = left.min(BLOCK as u64);
        stream.put(&ones[..count as usize])?;
        left -= count;
    }
    if rest > 0 {
        stream.put(&[(1 << rest) - 1])?;
    }
    stream.pad(layout.table_at)?;
    let Stream { path, mut staged, seal, .. } = stream;
    let sealed = seal.finish();
    let ended = staged.write_all(&sealed.end);
    ended.map_err(|source| FileError { path, doing: "write", source })?;
    staged.commit()?;
    Ok(sealed.sha256)
}
