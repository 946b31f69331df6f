//! The training loop: a student against cached answers.
//!
//! A float student is trained in float ([`distill`]). A quantized one is trained in its own integers ([`distill_quantized`]): what
//! training sees is what its int8 plan computes.
//!
//! A float student is normalised first (batch norm folded), so what is trained is what is later quantized. One epoch visits
//! every sample once, in an order drawn from the seed; each visit shows one view of the sample, and student and teacher
//! always speak of the same view. Drawn views come from the recipe in the answers file. A picture that is mixed from two samples has
//! no single label: it has no cross-entropy with a label, only with the teacher. Training stops at the first loss, gradient
//! or weight that is not finite, and returns no model.
//!
//! That is soft labels. Every other method of the field is a [`DistillRecipe`]: losses over the student's inner tensors, in stages, run by a
//! [`Job`].

#![forbid(unsafe_code)]

mod connect;
mod exchange;
mod objective;
mod own;
mod recipe;
mod stages;

use std::path::Path;
use std::time::Instant;

use limbeck_adapt::{
    AdaptError, CutFormat, CutOptions, Examples, Loss, Opened, QuantizedOptions, Selection, Session, Visits,
};
use limbeck_answers::{Answers, AnswersError, Augment, Card, Preprocess, View};
use limbeck_data::{DataError, Dataset, Viewed, Watch};
use limbeck_engine::onnx::Model;
use limbeck_engine::{EngineError, input_shape, normalise};
use limbeck_quantize::equalise;

// How to train, apart from the losses
pub use limbeck_adapt::Recipe;
// Which losses
pub use connect::ConnectError;
pub use exchange::Exchange;
pub use recipe::{BUILTIN, DistillRecipe, Key, RecipeError, Schedule, Source, Stage, Term};
pub use stages::{Job, Pupil};

/// What the student is shown the answer of.
#[derive(Clone, Copy)]
pub enum Target<'a> {
    /// A teacher's answers; its views are the student's. The caller has checked that they are of this data set
    /// ([`Answers::check`]).
    Answers(&'a Answers),
    /// Labels only, over these views. [`Loss::teacher_weight`] must be 0.
    Labels(&'a [View]),
}

impl<'a> Target<'a> {
    fn views(self) -> &'a [View] {
        match self {
            Target::Answers(answers) => answers.views(),
            Target::Labels(views) => views,
        }
    }

    fn augment(self) -> Option<&'a Augment> {
        match self {
            Target::Answers(answers) => answers.manifest().augment.as_ref(),
            Target::Labels(_) => None,
        }
    }
}

/// One pass over the data, in means over its samples.
#[derive(Debug, Clone, PartialEq)]
pub struct Epoch {
    /// Teacher and label part of the loss together.
    pub loss: f64,
    /// Share of samples on which student and teacher choose the same class, while training.
    pub agreement: f64,
    /// Wall time.
    pub seconds: f64,
}

/// A trained student.
#[derive(Debug, Clone)]
pub struct Distilled {
    /// Input and output names as they were; a float student has its batch norm folded.
    pub model: Model,
    /// One entry a pass.
    pub epochs: Vec<Epoch>,
    /// Optimiser steps taken.
    pub steps: usize,
}

/// Why there is no trained student.
#[derive(Debug, thiserror::Error)]
pub enum DistillError {
    /// Differentiating or stepping.
    #[error(transparent)]
    Adapt(#[from] AdaptError),
    /// The student itself.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The answers.
    #[error(transparent)]
    Answers(#[from] AnswersError),
    /// The samples.
    #[error(transparent)]
    Data(#[from] DataError),
    /// A recipe does not fit the student or the answers.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// Student, card, data and answers do not belong together.
    #[error("{0}")]
    Mismatch(String),
    /// Ctrl-C.
    #[error("interrupted after {steps} steps; the student on disk is as it was")]
    Cancelled {
        /// Steps taken, and lost.
        steps: usize,
    },
}

/// What is trained, and what is kept of the rest.
#[derive(Debug, Clone, Copy)]
pub struct What<'a> {
    /// The trained tensors.
    pub selection: &'a Selection,
    /// Where to keep what the frozen part of the model makes of each sample, if that pays.
    pub frozen_cache: Option<&'a Path>,
}

impl What<'_> {
    /// Every tensor.
    pub const ALL: What<'static> = What { selection: &Selection::All, frozen_cache: None };

    fn cut_options(&self, samples: &TrainingSamples<'_>, card: &Card) -> Result<Option<CutOptions>, DistillError> {
        self.frozen_cache.map(|path| samples.cut_options(path, card)).transpose()
    }
}

/// Train the selected tensors of `student`, whose inputs `card` describes, on `dataset` towards `target`.
pub fn distill(
    student: &Model,
    card: &Card,
    dataset: &dyn Dataset,
    target: Target<'_>,
    what: &What<'_>,
    recipe: &Recipe,
    watch: &dyn Watch,
) -> Result<Distilled, DistillError> {
    let samples = TrainingSamples::of(student, card, dataset, target)?;
    let opened = Opened::float(student, what.selection, samples.input_rms()?)?;
    train(opened, &samples, what.cut_options(&samples, card)?, recipe, None, watch)
}

/// A quantized student and how to open it.
#[derive(Clone, Copy)]
pub struct QuantizedStudent<'a> {
    /// The QDQ file.
    pub file: &'a Model,
    /// The student that it was quantized from: its weights, where the file's integers are theirs.
    pub float: Option<&'a Model>,
    /// What is trained besides weights and biases.
    pub options: QuantizedOptions,
}

impl QuantizedStudent<'_> {
    /// Is this a quantized model?
    pub fn is(model: &Model) -> bool {
        Opened::is_quantized(model)
    }

    /// What recovers the loss of quantization: the teacher alone at T = 1, a small rate, a cosine (reference/distillation.md §5.2).
    ///
    /// The rate is Adam's, by measurement with ResNet-8 on CIFAR-10: a weight must be able to cross half a step of its integers, which is
    /// 18 times as wide at 4 bits.
    pub fn recipe(file: &Model) -> Recipe {
        let four = file.metadata.get("limbeck.weight_bits").is_some_and(|bits| bits == "4");
        let loss = Loss { temperature: 1.0, teacher_weight: 1.0, label_weight: 0.0 };
        Recipe { loss, rate: if four { 1e-3 } else { 1e-4 }, ..Recipe::default() }
    }

    /// Open it. Where its layers were equalised, so is the float student first.
    fn open(&self, selection: &Selection) -> Result<Opened, DistillError> {
        let equalised = self.file.metadata.get("limbeck.calibration").is_some_and(|c| c.contains(", equalised"));
        let float = match self.float {
            Some(float) if equalised => Some(equalise(&normalise(float)?)?.0),
            float => float.cloned(),
        };
        Ok(Opened::quantized(self.file, float.as_ref(), &self.options, selection)?)
    }
}

/// The same for a quantized student. The result is its file with other integers, and with other weight scales if they are learned.
pub fn distill_quantized(
    student: &QuantizedStudent<'_>,
    card: &Card,
    dataset: &dyn Dataset,
    target: Target<'_>,
    what: &What<'_>,
    recipe: &Recipe,
    watch: &dyn Watch,
) -> Result<Distilled, DistillError> {
    let samples = TrainingSamples::of(student.file, card, dataset, target)?;
    train(student.open(what.selection)?, &samples, what.cut_options(&samples, card)?, recipe, None, watch)
}

/// `steps`, where it is not all of the recipe's.
fn train(
    opened: Opened,
    samples: &TrainingSamples<'_>,
    cuts: Option<CutOptions>,
    recipe: &Recipe,
    steps: Option<usize>,
    watch: &dyn Watch,
) -> Result<Distilled, DistillError> {
    let (dataset, target) = (samples.dataset, samples.target);
    let visits = Visits::all(dataset.len(), target.views().len());
    let mut session = Session::new(opened, recipe, visits, "", cuts.as_ref())?;
    if let Some(steps) = steps {
        session.limit(steps);
    }
    if let Some(choice) = session.cut_choice() {
        let kept = if choice.kept { "kept" } else { "not kept" };
        log::info!("what the frozen part makes is {kept}: {}", choice.why);
    }
    match target {
        Target::Answers(answers) if session.net().classes() != answers.classes() => {
            return Err(DistillError::Mismatch(format!(
                "the student has {} classes and the teacher answered {}; use a student with as many classes",
                session.net().classes(),
                answers.classes()
            )));
        }
        Target::Labels(_) if recipe.loss.teacher_weight != 0.0 => {
            return Err(DistillError::Mismatch("a teacher's weight without a teacher's answers; give answers".into()));
        }
        _ => {}
    }
    let mut epochs = vec![];
    let mut start = Instant::now();
    let mut seen = 0;
    while !session.is_done() {
        if watch.cancelled() {
            return Err(DistillError::Cancelled { steps: session.steps() });
        }
        let report = session.step(samples)?;
        seen += report.samples;
        let (loss, agreement) = (report.so_far.loss, report.so_far.agreement);
        watch.note(&format!("loss {loss:.4} agree {:.1}%", agreement * 100.0));
        watch.progress(seen, session.total() * recipe.batch);
        if session.epochs().len() > epochs.len() {
            epochs.push(Epoch { loss, agreement, seconds: start.elapsed().as_secs_f64() });
            start = Instant::now();
        }
    }
    Ok(Distilled { model: session.model()?, epochs, steps: session.steps() })
}

/// Largest file for what the frozen part makes, on the host.
const FROZEN_CACHE_LIMIT: u64 = 16 << 30;

struct TrainingSamples<'a> {
    preprocess: Preprocess,
    dataset: &'a dyn Dataset,
    target: Target<'a>,
}

impl<'a> TrainingSamples<'a> {
    /// The samples that `student` is shown, if its input is what `card` describes.
    fn of(
        student: &Model,
        card: &Card,
        dataset: &'a dyn Dataset,
        target: Target<'a>,
    ) -> Result<TrainingSamples<'a>, DistillError> {
        let preprocess = Preprocess::new(card);
        let shape = input_shape(student, 1)?;
        if shape.iter().product::<usize>() != preprocess.len() {
            let pixels = preprocess.len();
            let what = format!("the student's input has the shape {shape:?}, but its card describes {pixels} values");
            return Err(DistillError::Mismatch(format!("{what}; correct the card")));
        }
        Ok(TrainingSamples { preprocess, dataset, target })
    }

    /// The pictures that the teacher was shown.
    fn viewed(&self) -> Viewed<'a> {
        Viewed::new(self.dataset, self.target.augment())
    }

    /// Sample and view of a visit.
    fn visited(&self, visit: usize) -> (usize, View) {
        let views = self.target.views();
        (visit / views.len(), views[visit % views.len()])
    }

    fn teacher(&self, index: usize, view: View, teacher: &mut [f32]) -> Result<(), String> {
        match self.target {
            Target::Answers(answers) => answers.logits_into(index as u64, view, teacher).map_err(|e| e.to_string()),
            Target::Labels(_) => Ok(()),
        }
    }

    fn input(&self, index: usize, view: View, x: &mut [f32]) -> Result<Option<usize>, String> {
        let shown = self.viewed().input(&self.preprocess, index, view, x).map_err(|e| e.to_string())?;
        Ok(shown.only())
    }

    fn cut_options(&self, path: &Path, card: &Card) -> Result<CutOptions, DistillError> {
        let views = self.target.views();
        let recipe = self.target.augment().map(Augment::sha256).unwrap_or_default();
        let made_of = format!("{} {} {views:?} {recipe}", self.dataset.sha256()?, card.to_toml());
        Ok(CutOptions {
            path: path.to_owned(),
            identity: limbeck_files::sha256(made_of.as_bytes()),
            records: (self.dataset.len() * views.len()) as u64,
            format: CutFormat::F16,
            limit: FROZEN_CACHE_LIMIT,
        })
    }

    /// Root mean square of the input over a few samples.
    fn input_rms(&self) -> Result<f32, DistillError> {
        const SAMPLES: usize = 32;
        let mut x = vec![0.0; self.preprocess.len()];
        let count = self.dataset.len().min(SAMPLES);
        let mut squares = 0f64;
        for i in 0..count {
            let index = i * self.dataset.len() / count;
            self.input(index, View::Identity, &mut x).map_err(AdaptError::Example)?;
            squares += x.iter().map(|&v| v as f64 * v as f64).sum::<f64>() / x.len() as f64;
        }
        Ok((squares / count.max(1) as f64).sqrt() as f32)
    }
}

impl Examples for TrainingSamples<'_> {
    fn example(&self, visit: usize, x: &mut [f32], teacher: &mut [f32]) -> Result<Option<usize>, String> {
        let (index, view) = self.visited(visit);
        self.teacher(index, view, teacher)?;
        self.input(index, view, x)
    }

    fn answer(&self, visit: usize, _x: &mut [f32], teacher: &mut [f32]) -> Result<Option<usize>, String> {
        let (index, view) = self.visited(visit);
        self.teacher(index, view, teacher)?;
        let plan = self.viewed().plan(index, view).map_err(|e| e.to_string())?;
        if plan.mix.is_some() {
            return Ok(None);
        }
        Ok(self.dataset.sample(index).map_err(|e| e.to_string())?.label.map(usize::from))
    }
}
