//! The training loop: a float student against cached answers.
//!
//! The student is normalised first (batch norm folded), so what is trained is what is later quantized. One epoch visits
//! every sample once, in an order drawn from the seed; each visit shows one view of the sample, and student and teacher
//! always speak of the same view. Training stops at the first loss, gradient
//! or weight that is not finite, and returns no model.

#![forbid(unsafe_code)]

use std::time::Instant;

use limbeck_adapt::{AdaptError, Examples, Opened, Selection, Session, Visits};
use limbeck_answers::{Answers, AnswersError, Card, Preprocess, View};
use limbeck_data::{DataError, Dataset, Watch};
use limbeck_engine::onnx::Model;
use limbeck_engine::{EngineError, input_shape};

pub use limbeck_adapt::Recipe;

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
    /// Float, batch norm folded, input and output names as they were.
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

/// Train the selected tensors of `student`, whose inputs `card` describes, on `dataset` towards `target`.
pub fn distill(
    student: &Model,
    card: &Card,
    dataset: &dyn Dataset,
    target: Target<'_>,
    selection: &Selection,
    recipe: &Recipe,
    watch: &dyn Watch,
) -> Result<Distilled, DistillError> {
    let preprocess = Preprocess::new(card);
    let shape = input_shape(student, 1)?;
    if shape.iter().product::<usize>() != preprocess.len() {
        let pixels = preprocess.len();
        let what = format!("the student's input has the shape {shape:?}, but its card describes {pixels} values");
        return Err(DistillError::Mismatch(format!("{what}; correct the card")));
    }
    let samples = TrainingSamples { preprocess, dataset, target };
    let opened = Opened::float(student, selection, samples.input_rms()?)?;
    let visits = Visits::all(dataset.len(), target.views().len());
    let mut session = Session::new(opened, recipe, visits, "", None)?;
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
        let report = session.step(&samples)?;
        seen += report.samples;
        let (loss, agreement) = (report.so_far.loss, report.so_far.agreement);
        watch.note(&format!("loss {loss:.4} agree {:.1}%", agreement * 100.0));
        watch.progress(seen, recipe.epochs * dataset.len());
        if session.epochs().len() > epochs.len() {
            epochs.push(Epoch { loss, agreement, seconds: start.elapsed().as_secs_f64() });
            start = Instant::now();
        }
    }
    Ok(Distilled { model: session.model()?, epochs, steps: session.steps() })
}

struct TrainingSamples<'a> {
    preprocess: Preprocess,
    dataset: &'a dyn Dataset,
    target: Target<'a>,
}

impl TrainingSamples<'_> {
    fn fill(&self, visit: usize, x: &mut [f32], teacher: &mut [f32]) -> Result<Option<usize>, String> {
        let views = self.target.views();
        let (index, view) = (visit / views.len(), views[visit % views.len()]);
        let label = self.input(index, view, x)?;
        if let Target::Answers(answers) = self.target {
            answers.logits_into(index as u64, view, teacher).map_err(|e| e.to_string())?;
        }
        Ok(label)
    }

    fn input(&self, index: usize, view: View, x: &mut [f32]) -> Result<Option<usize>, String> {
        let sample = self.dataset.sample(index).map_err(|e| e.to_string())?;
        let run = self.preprocess.run(&sample.image, view, x);
        run.map_err(|e| format!("sample {}: {e}", self.dataset.id(index)))?;
        Ok(sample.label.map(usize::from))
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
        self.fill(visit, x, teacher)
    }
}
