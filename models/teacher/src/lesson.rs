//! Asking a teacher about all of a data set, or a part of it.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Instant;

use limbeck_answers::{
    Answers, AnswersWriter, Augment, Card, DatasetId, LOGITS, Manifest, Preprocess, Probe, Shard, Teacher, View,
};
use limbeck_data::{DataError, Dataset, Viewed, Watch, parallel};
use limbeck_engine::argmax;
use limbeck_engine::onnx::{Model, OnnxError};
use limbeck_files::{hex, merkle_root};

use crate::asked::Asked;
use crate::error::TeachError;
use crate::heads::HeadSpec;
use crate::part::Part;
use crate::pca::fit;
use crate::recent::Recent;

/// What to ask the teacher.
#[derive(Debug, Clone)]
pub struct TeachOptions {
    /// Views of every sample, in the order of the file.
    pub views: Vec<View>,
    /// What drawn views are drawn from; `None` without drawn views.
    pub augment: Option<Augment>,
    /// What is kept of every answer, in the order of the file.
    pub heads: Vec<HeadSpec>,
    /// Which samples; `None`: all of them.
    pub part: Option<Part>,
    /// Threads; each runs one sample at a time.
    pub threads: usize,
}

/// What came out.
#[derive(Debug, Clone, PartialEq)]
pub struct Taught {
    /// Inferences of this run.
    pub asked: usize,
    /// Answers that an earlier run had left.
    pub earlier: usize,
    /// Samples asked about in this run, in the first view, that carry a label.
    pub labelled: usize,
    /// Those of them on which the teacher is right.
    pub correct: usize,
    /// The inferences took this long, with all that goes with them.
    pub seconds: f64,
}

impl Taught {
    /// Inferences a second.
    pub fn rate(&self) -> f64 {
        self.asked as f64 / self.seconds.max(1e-9)
    }
}

/// All that an answers file will say about itself, and the teacher who will fill it.
pub struct Lesson<'a> {
    teacher: PathBuf,
    asked: Asked,
    dataset: Recent<'a>,
    manifest: Manifest,
    leaves: Vec<[u8; 32]>,
    threads: usize,
}

/// Write `out`: the answers of the teacher at `teacher` with card `card` over `dataset`.
pub fn teach(
    teacher: &Path,
    card: &Card,
    dataset: &dyn Dataset,
    out: &Path,
    options: &TeachOptions,
    watch: &dyn Watch,
) -> Result<Taught, TeachError> {
    Lesson::prepare(teacher, card, dataset, options, watch)?.run(out, watch)
}

impl<'a> Lesson<'a> {
    /// Load the teacher and hash the samples that will be asked about.
    pub fn prepare(
        teacher: &Path,
        card: &Card,
        dataset: &'a dyn Dataset,
        options: &TeachOptions,
        watch: &dyn Watch,
    ) -> Result<Lesson<'a>, TeachError> {
        let model = Model::read(teacher)?;
        let pca = |spec: &HeadSpec| {
            let wanted = spec.components().is_some();
            wanted.then(|| fit(&model, teacher, spec, card, dataset, options.threads, watch)).transpose()
        };
        let pcas = options.heads.iter().map(pca).collect::<Result<Vec<_>, _>>()?;
        let asked = Asked::new(&model, teacher, &options.heads, &pcas)?;
        check(teacher, &asked, card, dataset)?;
        let samples = dataset.len() as u64;
        let shard = options.part.map(|part| Shard::part(part.index(), part.count(), samples));
        if let (Some(part), Some(Shard { count: 0, .. })) = (options.part, shard) {
            return Err(TeachError::EmptyPart { part: part.to_string(), samples: dataset.len() });
        }
        let range = shard.map_or(0..samples, |s| s.first..s.first + s.count);
        let leaves = leaves(dataset, range, options.threads, watch)?;
        let name = teacher.file_name().map(|n| n.to_string_lossy().into_owned());
        let manifest = Manifest {
            tool: format!("limbeck {}", env!("CARGO_PKG_VERSION")),
            teacher: Teacher {
                name: name.unwrap_or_default(),
                sha256: limbeck_files::sha256_file(teacher).map_err(OnnxError::File)?,
                opset: u64::try_from(model.opset).unwrap_or_default(),
                runtime: limbeck_engine::RUNTIME.into(),
                precision: "f32".into(),
            },
            card: card.clone(),
            card_sha256: card.sha256(),
            dataset: DatasetId {
                name: dataset.name().into(),
                samples,
                sha256: hex(&merkle_root(leaves.iter().copied())),
                labels: dataset.labels().to_vec(),
            },
            views: options.views.clone(),
            augment: options.augment.clone(),
            heads: asked.heads().to_vec(),
            shard,
            probe: asked.heads().iter().any(|h| h.key == LOGITS).then(|| Probe::of(LOGITS, samples)),
        };
        let (dataset, threads, teacher) = (Recent::of(dataset), options.threads, teacher.to_owned());
        Ok(Lesson { teacher, asked, dataset, manifest, leaves, threads })
    }

    /// What the file will say about itself.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// `path` already is the file that [`Lesson::run`] would write, and whole. An unreadable file, another one, or a damaged one is
    /// not, and the log says which.
    pub fn is_done(&self, path: &Path) -> bool {
        let whole = Answers::open(path).and_then(|answers| {
            let same = *answers.manifest() == self.manifest;
            answers.verify().map(|()| same)
        });
        match whole {
            Ok(true) => return true,
            Ok(false) => log::warn!("{}: holds other answers; teaching anew", path.display()),
            Err(error) => log::warn!("{error}; teaching anew"),
        }
        false
    }

    /// Ask about every sample in every view that an earlier run has not asked about, and write `out`.
    pub fn run(&self, out: &Path, watch: &dyn Watch) -> Result<Taught, TeachError> {
        let manifest = self.manifest.clone();
        let views = manifest.views.clone();
        let (range, augment) = (manifest.range(), manifest.augment.clone());
        let writer = match manifest.shard {
            Some(_) => AnswersWriter::create_or_resume_shard(out, manifest, &self.leaves)?,
            None => AnswersWriter::create_or_resume(out, manifest)?,
        };
        let earlier = writer.resumed() as usize;
        let (writer, preprocess) = (Mutex::new(writer), Preprocess::new(&self.manifest.card));
        let viewed = Viewed::new(&self.dataset, augment.as_ref());
        let logits = self.manifest.head(LOGITS);
        let score = Mutex::new((0, 0));
        let failed = |source| TeachError::Engine { path: self.teacher.clone(), source };
        let (start, all) = (Instant::now(), (range.end - range.start) as usize * views.len());
        // The views of a sample follow each other, so that it is read once.
        let done = parallel::for_each(
            all,
            self.threads,
            watch,
            || self.asked.asker(&preprocess).map_err(failed),
            |asker, job| {
                let (sample, view) = (range.start + (job / views.len()) as u64, views[job % views.len()]);
                if lock(&writer).is_done(sample, view) {
                    return Ok(());
                }
                let shown = viewed.input(&preprocess, sample as usize, view, &mut asker.input)?;
                asker.ask().map_err(failed)?;
                let label = shown.only();
                let values: Vec<&[f32]> = asker.values.iter().map(Vec::as_slice).collect();
                lock(&writer).put(sample, view, label.and_then(|l| u16::try_from(l).ok()), &values)?;
                if let (Some(label), Some(logits), true) = (label, logits, view == views[0]) {
                    let mut score = lock(&score);
                    score.0 += 1;
                    score.1 += usize::from(argmax(values[logits]) == label);
                }
                Ok::<_, TeachError>(())
            },
        )?;
        let mut writer = writer.into_inner().unwrap_or_else(|poisoned| poisoned.into_inner());
        if !done {
            writer.sync()?;
            let done =
                self.manifest.views.iter().map(|v| range.clone().filter(|s| writer.is_done(*s, *v)).count() as u64);
            let (done, all, partial) = (done.sum(), all as u64, writer.partial().to_owned());
            return Err(TeachError::Cancelled { partial, done, all });
        }
        writer.finish()?;
        let (labelled, correct) = score.into_inner().unwrap_or_else(|poisoned| poisoned.into_inner());
        let seconds = start.elapsed().as_secs_f64();
        Ok(Taught { asked: all - earlier, earlier, labelled, correct, seconds })
    }
}

/// The leaves of these samples, in order, on all threads.
pub(crate) fn leaves(
    dataset: &dyn Dataset,
    range: Range<u64>,
    threads: usize,
    watch: &dyn Watch,
) -> Result<Vec<[u8; 32]>, TeachError> {
    let (first, count) = (range.start as usize, (range.end - range.start) as usize);
    let found = Mutex::new(vec![[0; 32]; count]);
    let done = parallel::for_each(
        count,
        threads,
        watch,
        || Ok(()),
        |(), i| {
            let leaf = dataset.leaf(first + i)?;
            lock(&found)[i] = leaf;
            Ok::<_, DataError>(())
        },
    )?;
    match done {
        true => Ok(found.into_inner().unwrap_or_else(|poisoned| poisoned.into_inner())),
        false => Err(TeachError::NotBegun),
    }
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

/// Teacher, card and data belong together.
pub(crate) fn check(teacher: &Path, asked: &Asked, card: &Card, dataset: &dyn Dataset) -> Result<(), TeachError> {
    let wrong = |what: String| Err(TeachError::Mismatch(format!("{}: {what}", teacher.display())));
    let (input, pixels) = (asked.input_shape(), Preprocess::new(card).len());
    if input.iter().product::<usize>() != pixels {
        return wrong(format!(
            "its input has the shape {input:?}, but its card describes {pixels} values; correct the card"
        ));
    }
    let classes = asked.classes();
    if classes != card.labels.len() {
        return wrong(format!(
            "it answers {classes} classes, but its card names {}; correct the card",
            card.labels.len()
        ));
    }
    if !dataset.labels().is_empty() && dataset.labels() != card.labels {
        return wrong(format!(
            "its labels ({}) are not those of the data set {} ({})",
            card.labels.join(", "),
            dataset.name(),
            dataset.labels().join(", ")
        ));
    }
    Ok(())
}
