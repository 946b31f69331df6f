//! Run a teacher over a data set, once, and keep its answers.
//!
//! Every (view, sample) pair is preprocessed by the *teacher's* card, run on tract on all cores, and its logits go to the
//! answers file. The file takes its final name only when it is whole; a run that was stopped is taken up by the next.

#![forbid(unsafe_code)]

use std::path::{Path, PathBuf};
use std::sync::Mutex;

use limbeck_answers::{
    Answers, AnswersError, AnswersWriter, Card, DatasetId, Head, HeadKind, LOGITS, Manifest, Preprocess, Probe,
    Teacher, View,
};
use limbeck_data::{Dataset, Watch, parallel};
use limbeck_engine::onnx::{Model, OnnxError};
use limbeck_engine::{EngineError, Net};

/// What to ask the teacher.
#[derive(Debug, Clone)]
pub struct TeachOptions {
    /// Views of every sample, in the order of the file.
    pub views: Vec<View>,
    /// How logits are stored.
    pub head: HeadKind,
    /// Threads; each runs one sample at a time.
    pub threads: usize,
}

/// Why there are no answers.
#[derive(Debug, thiserror::Error)]
pub enum TeachError {
    /// The teacher's file.
    #[error(transparent)]
    Onnx(#[from] OnnxError),
    /// The teacher on tract.
    #[error("teacher {}: {source}", path.display())]
    Engine {
        /// The ONNX file.
        path: PathBuf,
        /// What went wrong.
        source: EngineError,
    },
    /// Writing the answers.
    #[error(transparent)]
    Answers(#[from] AnswersError),
    /// Reading a sample.
    #[error(transparent)]
    Data(#[from] limbeck_data::DataError),
    /// A sample does not fit the card.
    #[error("sample {id}: {why}")]
    Sample {
        /// The sample's file or number.
        id: String,
        /// What does not fit.
        why: String,
    },
    /// Teacher, card and data do not belong together.
    #[error("{0}")]
    Mismatch(String),
    /// Ctrl-C.
    #[error("interrupted; the same command goes on where it stopped")]
    Cancelled,
}

/// What came out.
#[derive(Debug, Clone, PartialEq)]
pub struct Taught {
    /// Samples that carry a label, counted in the first view.
    pub labelled: usize,
    /// Labelled samples on which the teacher is right, in the first view.
    pub correct: usize,
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
    let model = Model::read(teacher)?;
    let failed = |source| TeachError::Engine { path: teacher.to_owned(), source };
    let net = Net::load(&model, 1).map_err(failed)?;
    let classes = check(teacher, &net, card, dataset)?;
    let probabilities = ends_in_softmax(&model);
    let manifest = Manifest {
        tool: format!("limbeck {}", env!("CARGO_PKG_VERSION")),
        teacher: Teacher {
            name: teacher.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default(),
            sha256: limbeck_files::sha256_file(teacher).map_err(OnnxError::File)?,
            opset: u64::try_from(model.opset).unwrap_or_default(),
            runtime: limbeck_engine::RUNTIME.into(),
            precision: "f32".into(),
        },
        card: card.clone(),
        card_sha256: card.sha256(),
        dataset: DatasetId {
            name: dataset.name().into(),
            samples: dataset.len() as u64,
            sha256: dataset.sha256()?,
            labels: dataset.labels().to_vec(),
        },
        views: options.views.clone(),
        heads: vec![Head {
            key: LOGITS.into(),
            tensor: model.graph.outputs.first().map(|o| o.name.clone()).unwrap_or_default(),
            dims: vec![classes as u32],
            kind: options.head,
        }],
        shard: None,
        probe: Some(Probe::of(LOGITS, dataset.len() as u64)),
    };
    let writer = Mutex::new(AnswersWriter::create_or_resume(out, manifest)?);
    let preprocess = Preprocess::new(card);
    let samples = dataset.len();
    let (score, earlier) = (Mutex::new(Taught { labelled: 0, correct: 0 }), Mutex::new(vec![]));
    let total = samples * options.views.len();
    let done = parallel::for_each(
        total,
        options.threads,
        watch,
        || Ok((net.worker().map_err(failed)?, vec![0.0; preprocess.len()])),
        |(worker, x), job| {
            let (view, index) = (options.views[job / samples], job % samples);
            let sample = dataset.sample(index)?;
            if lock(&writer).is_done(index as u64, view) {
                lock(&earlier).extend(sample.label.filter(|_| job < samples).map(|label| (index as u64, label)));
                return Ok(());
            }
            preprocess
                .run(&sample.image, view, x)
                .map_err(|e| TeachError::Sample { id: dataset.id(index), why: e.to_string() })?;
            let mut logits = vec![];
            worker
                .run(x, |output, y| {
                    if output == 0 {
                        logits = y.to_vec()
                    }
                })
                .map_err(failed)?;
            if probabilities {
                // Logarithms of probabilities are logits: softmax gives the same distribution back.
                logits.iter_mut().for_each(|p| *p = p.max(1e-12).ln());
            }
            lock(&writer).put(index as u64, view, sample.label, &[&logits])?;
            if let Some(label) = sample.label.filter(|_| job < samples) {
                let mut score = lock(&score);
                score.labelled += 1;
                score.correct += (limbeck_engine::argmax(&logits) == label as usize) as usize;
            }
            Ok::<_, TeachError>(())
        },
    )?;
    if !done {
        lock(&writer).sync()?;
        return Err(TeachError::Cancelled);
    }
    writer.into_inner().unwrap_or_else(|poisoned| poisoned.into_inner()).finish()?;
    let mut score = score.into_inner().unwrap_or_else(|poisoned| poisoned.into_inner());
    let earlier = earlier.into_inner().unwrap_or_else(|poisoned| poisoned.into_inner());
    if !earlier.is_empty() {
        let (answers, view) = (Answers::open(out)?, options.views[0]);
        for (sample, label) in earlier {
            score.labelled += 1;
            score.correct += (first_choice(&answers, sample, view)? == label as usize) as usize;
        }
    }
    Ok(score)
}

/// The class that the teacher chose, from the file.
fn first_choice(answers: &Answers, sample: u64, view: View) -> Result<usize, AnswersError> {
    let head = answers.head(LOGITS)?;
    if let HeadKind::TopKF16 { .. } = answers.heads()[0].kind {
        return Ok(answers.top_k(head, sample, view)?.index.first().copied().unwrap_or_default().into());
    }
    let mut logits = vec![0.0; answers.classes()];
    answers.values_into(head, sample, view, &mut logits)?;
    Ok(limbeck_engine::argmax(&logits))
}

/// Does the model answer with probabilities? Looks back from the output past operators that only change its shape.
fn ends_in_softmax(model: &Model) -> bool {
    let mut value = model.graph.outputs.first().map(|o| o.name.as_str());
    while let Some(node) = value.and_then(|v| model.graph.nodes.iter().find(|n| n.outputs.iter().any(|o| o == v))) {
        match node.op.as_str() {
            "Softmax" => return true,
            "Identity" | "Flatten" | "Reshape" | "Squeeze" => value = node.input(0),
            _ => return false,
        }
    }
    false
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

/// Teacher, card and data belong together; returns the number of classes.
fn check(teacher: &Path, net: &Net, card: &Card, dataset: &dyn Dataset) -> Result<usize, TeachError> {
    let wrong = |what: String| Err(TeachError::Mismatch(format!("{}: {what}", teacher.display())));
    let (input, pixels) = (net.input_shape(), Preprocess::new(card).len());
    if input.iter().product::<usize>() != pixels {
        return wrong(format!(
            "its input has the shape {input:?}, but its card describes {pixels} values; correct the card"
        ));
    }
    let classes = net.output_shapes().first().map_or(0, |s| s.iter().product::<usize>());
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
    Ok(classes)
}
