//! The training loop: a float student against cached answers.
//!
//! The student is normalised first (batch norm folded), so what is trained is what is later quantized. One epoch visits
//! every sample once, in an order drawn from the seed; each visit shows one view of the sample, and student and teacher
//! always speak of the same view. Training stops at the first loss, gradient
//! or weight that is not finite, and returns no model.

#![forbid(unsafe_code)]

use std::time::Instant;

use limbeck_adapt::{
    AdaptError, BatchGradient, Examples, Loss, Optimiser, Parameters, Rule, TrainingNet, clip, cosine,
};
use limbeck_answers::rng::Stream;
use limbeck_answers::{Answers, AnswersError, Card, Preprocess, View};
use limbeck_data::{DataError, Dataset, Watch};
use limbeck_engine::onnx::{Model, Tensor};
use limbeck_engine::{EngineError, input_shape, normalise};

/// How to train.
#[derive(Debug, Clone)]
pub struct Recipe {
    /// What to train towards.
    pub loss: Loss,
    /// Passes over the data.
    pub epochs: usize,
    /// Samples a step.
    pub batch: usize,
    /// Peak learning rate.
    pub rate: f32,
    /// Share of all steps over which the rate rises to its peak; then half a cosine to zero.
    pub warm_up: f32,
    /// SGD or Adam.
    pub rule: Rule,
    /// Weight decay of weights; biases do not decay.
    pub weight_decay: f32,
    /// Largest joint L2 norm of a step's gradients.
    pub clip: f32,
    /// Draws the order of samples and views.
    pub seed: u64,
    /// Threads. The result is the same for any number.
    pub threads: usize,
}

impl Default for Recipe {
    fn default() -> Self {
        Recipe {
            loss: Loss::default(),
            epochs: 4,
            batch: 64,
            rate: 1e-3,
            warm_up: 0.05,
            rule: Rule::ADAM,
            weight_decay: 0.0,
            clip: 5.0,
            seed: 0,
            threads: std::thread::available_parallelism().map_or(1, usize::from),
        }
    }
}

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

/// Train `student`, whose inputs `card` describes, on `dataset` towards `target`.
pub fn distill(
    student: &Model,
    card: &Card,
    dataset: &dyn Dataset,
    target: Target<'_>,
    recipe: &Recipe,
    watch: &dyn Watch,
) -> Result<Distilled, DistillError> {
    let mut model = normalise(student)?;
    let preprocess = Preprocess::new(card);
    let shape = input_shape(&model, 1)?;
    if shape.iter().product::<usize>() != preprocess.len() {
        let pixels = preprocess.len();
        let what = format!("the student's input has the shape {shape:?}, but its card describes {pixels} values");
        return Err(DistillError::Mismatch(format!("{what}; correct the card")));
    }
    let samples = TrainingSamples { preprocess, dataset, target };
    let first_layers = first_layers(&model);
    let scale = if first_layers.is_empty() { 1.0 } else { samples.input_scale()? };
    divide(&mut model, &first_layers, 1.0 / scale);
    let mut parameters = Parameters::of(&model)?;
    let scaled = ScaledExamples { samples: &samples, scale };
    let net = TrainingNet::new(&model, &parameters, &recipe.loss, recipe.threads)?;
    match target {
        Target::Answers(answers) if net.classes() != answers.classes() => {
            return Err(DistillError::Mismatch(format!(
                "the student has {} classes and the teacher answered {}; use a student with as many classes",
                net.classes(),
                answers.classes()
            )));
        }
        Target::Labels(_) if recipe.loss.teacher_weight != 0.0 => {
            return Err(DistillError::Mismatch("a teacher's weight without a teacher's answers; give answers".into()));
        }
        _ => {}
    }
    let mut optimiser = Optimiser::new(recipe.rule, recipe.weight_decay);
    let decays = parameters.decays();
    let steps_an_epoch = dataset.len().div_ceil(recipe.batch.max(1));
    let total = steps_an_epoch * recipe.epochs;
    let warm_up = (total as f32 * recipe.warm_up).round() as usize;
    let mut epochs = vec![];
    let mut step = 0;
    for epoch in 0..recipe.epochs {
        let start = Instant::now();
        let mut sums = Sums::default();
        for batch in visits(dataset.len(), target.views().len(), recipe.seed, epoch).chunks(recipe.batch.max(1)) {
            if watch.cancelled() {
                return Err(DistillError::Cancelled { steps: step });
            }
            let mut gradient = net.gradient(&parameters, &scaled, batch)?;
            let norm = clip(&mut gradient.gradients, recipe.clip);
            sums.add(&gradient, batch.len());
            for (what, value) in [("the loss", sums.loss as f32), ("the gradient", norm)] {
                if !value.is_finite() {
                    return Err(AdaptError::Diverged { what, step }.into());
                }
            }
            let rate = cosine(recipe.rate, step, total, warm_up);
            optimiser.step(rate, &mut parameters.values, &gradient.gradients, &decays);
            step += 1;
            let (loss, agreement) = sums.means();
            watch.note(&format!("loss {loss:.4} agree {:.1}%", agreement * 100.0));
            watch.progress(epoch * dataset.len() + sums.samples, recipe.epochs * dataset.len());
        }
        let (loss, agreement) = sums.means();
        epochs.push(Epoch { loss, agreement, seconds: start.elapsed().as_secs_f64() });
    }
    if parameters.values.iter().flatten().any(|w| !w.is_finite()) {
        return Err(AdaptError::Diverged { what: "a weight", step }.into());
    }
    parameters.store(&mut model);
    divide(&mut model, &first_layers, scale);
    Ok(Distilled { model, epochs, steps: step })
}

#[derive(Default)]
struct Sums {
    loss: f64,
    agreement: f64,
    samples: usize,
}

impl Sums {
    fn add(&mut self, batch: &BatchGradient, samples: usize) {
        self.loss += (batch.teacher_loss + batch.label_loss) as f64 * samples as f64;
        self.agreement += batch.agreement as f64 * samples as f64;
        self.samples += samples;
    }

    fn means(&self) -> (f64, f64) {
        let n = self.samples.max(1) as f64;
        (self.loss / n, self.agreement / n)
    }
}

/// (sample, view) pairs of one epoch as `sample * views + view`: every sample once, order and view drawn from the seed.
fn visits(samples: usize, views: usize, seed: u64, epoch: usize) -> Vec<usize> {
    // Sorting by drawn keys is a uniform shuffle; the index breaks ties, so the order is the same everywhere.
    let mut keyed: Vec<(u64, usize)> = (0..samples)
        .map(|sample| {
            let mut random = Stream::new(seed, ((epoch as u64) << 40) | sample as u64, VISITS);
            let key = ((random.next_u32() as u64) << 32) | random.next_u32() as u64;
            (key, sample * views + random.below(views.max(1) as u32) as usize)
        })
        .collect();
    keyed.sort_unstable();
    keyed.into_iter().map(|(_, visit)| visit).collect()
}

/// Keeps these draws apart from any other use of the same seed.
const VISITS: u32 = 0x7669_7369;

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

    /// Root mean square of the input over a few samples. Some cards feed 0..255; trained with that, the first layer's
    /// gradients are hundreds of times those of the others.
    fn input_scale(&self) -> Result<f32, DistillError> {
        const SAMPLES: usize = 32;
        let mut x = vec![0.0; self.preprocess.len()];
        let count = self.dataset.len().min(SAMPLES);
        let mut squares = 0f64;
        for i in 0..count {
            let index = i * self.dataset.len() / count;
            self.input(index, View::Identity, &mut x).map_err(AdaptError::Example)?;
            squares += x.iter().map(|&v| v as f64 * v as f64).sum::<f64>() / x.len() as f64;
        }
        let rms = (squares / count.max(1) as f64).sqrt();
        // A power of two: dividing the input and multiplying the weights by it rounds nothing.
        Ok(if rms.is_normal() { rms.log2().round().exp2() as f32 } else { 1.0 })
    }
}

/// The same samples with inputs divided by a power of two.
struct ScaledExamples<'a> {
    samples: &'a TrainingSamples<'a>,
    scale: f32,
}

impl Examples for ScaledExamples<'_> {
    fn example(&self, visit: usize, x: &mut [f32], teacher: &mut [f32]) -> Result<Option<usize>, String> {
        let label = self.samples.fill(visit, x, teacher)?;
        x.iter_mut().for_each(|x| *x /= self.scale);
        Ok(label)
    }
}

/// The weights that meet the graph's input, if a convolution or `Gemm` is all that reads it; else none. Dividing the input
/// and multiplying these by the same power of two changes nothing.
fn first_layers(model: &Model) -> Vec<String> {
    let Some(input) = model.graph.inputs.first().map(|i| i.name.clone()) else { return vec![] };
    let readers: Vec<_> = model.graph.nodes.iter().filter(|n| n.inputs.contains(&input)).collect();
    let weights: Vec<String> = readers
        .iter()
        .filter(|n| matches!(n.op.as_str(), "Conv" | "Gemm") && n.input(0) == Some(&input))
        .filter_map(|n| n.input(1).filter(|w| model.graph.initializers.contains_key(*w)))
        .map(str::to_owned)
        .collect();
    if weights.len() == readers.len() { weights } else { vec![] }
}

/// Divide constants by `by`, a power of two.
fn divide(model: &mut Model, names: &[String], by: f32) {
    for name in names {
        if let Some(tensor) = model.graph.initializers.get_mut(name)
            && let Some(values) = tensor.as_f32()
        {
            *tensor = Tensor::f32(&tensor.dims, values.iter().map(|w| w / by).collect());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_epoch_visits_every_sample_once_in_an_order_of_its_own() {
        let samples = |epoch| -> Vec<usize> { visits(100, 2, 7, epoch).into_iter().map(|v| v / 2).collect() };
        let (first, second) = (samples(0), samples(1));
        assert_eq!(first, samples(0));
        assert_ne!(first, second);
        for mut epoch in [first, second] {
            epoch.sort_unstable();
            assert_eq!(epoch, (0..100).collect::<Vec<_>>());
        }
        let views: std::collections::HashSet<usize> = visits(100, 2, 7, 0).into_iter().map(|v| v % 2).collect();
        assert_eq!(views.len(), 2, "both views are shown");
    }

    #[test]
    fn first_layers_are_left_alone_where_something_else_reads_the_input() {
        let plan = limbeck_zoo::scenes_student();
        let mut model = limbeck_zoo::build(&plan, 32, 1);
        assert_eq!(first_layers(&model), ["stem.weight"]);
        let before = model.clone();
        divide(&mut model, &["stem.weight".to_owned()], 0.25);
        divide(&mut model, &["stem.weight".to_owned()], 4.0);
        assert_eq!(model, before, "powers of two round nothing");
        model.graph.nodes.push(limbeck_engine::onnx::Node::new("Relu", "other", &["image"], &["other"]));
        assert!(first_layers(&model).is_empty());
    }
}
