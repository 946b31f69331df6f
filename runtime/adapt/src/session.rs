//! A training run: steps over epochs, from a recipe to a trained model, stopped and resumed anywhere.

use crate::checkpoint::Checkpoint;
use crate::error::AdaptError;
use crate::estimate::MemoryEstimate;
use crate::opened::Opened;
use crate::optimiser::{Optimiser, OptimiserState, clip, cosine};
use crate::recipe::Recipe;
use crate::step::{BatchGradient, CutChoice, CutOptions, Examples, TrainingNet};
use crate::visits::Visits;
use limbeck_engine::onnx::Model;
use limbeck_files::sha256_hex;

/// A run under way.
pub struct Session {
    opened: Opened,
    net: TrainingNet,
    recipe: Recipe,
    visits: Visits,
    identity: String,
    values: Values,
    step: usize,
    total: usize,
    sums: Sums,
    epochs: Vec<Epoch>,
    choice: Option<CutChoice>,
    /// The epoch whose order this is, and the order.
    order: (usize, Vec<usize>),
}

/// What training changes.
struct Values {
    optimiser: Optimiser,
    decays: Vec<bool>,
    average: Vec<Vec<f32>>,
}

/// One pass over the data, in means over its samples.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Epoch {
    /// Teacher and label part of the loss together.
    pub loss: f64,
    /// Share of samples on which student and teacher choose the same class, while training.
    pub agreement: f64,
}

/// Where a run stands after a step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct StepReport {
    /// Steps done.
    pub step: usize,
    /// Steps in all.
    pub total: usize,
    /// Samples seen in this step.
    pub samples: usize,
    /// Learning rate of the step.
    pub rate: f32,
    /// L2 norm of the gradients before clipping.
    pub norm: f32,
    /// Means over the epoch so far.
    pub so_far: Epoch,
}

impl Session {
    /// Prepare a run. With `cuts`, what the frozen part makes is kept there if that pays ([`Session::cut_choice`]). `data` names the examples (a hash): with model, recipe and selection it decides whether a checkpoint is of this run.
    pub fn new(
        opened: Opened,
        recipe: &Recipe,
        visits: Visits,
        data: &str,
        cuts: Option<&CutOptions>,
    ) -> Result<Session, AdaptError> {
        if visits.samples.is_empty() {
            return Err(AdaptError::Unsuitable("there is no sample to train on".into()));
        }
        let mut net = TrainingNet::of(&opened, &recipe.loss, recipe.threads)?;
        let choice = cuts.map(|cuts| net.shape().cut_choice(cuts, net.input_len(), recipe.epochs));
        let kept = cuts.filter(|_| choice.as_ref().is_some_and(|c| c.kept));
        if let Some(cuts) = kept {
            net.keep_cuts(&opened.model, &opened.parameters, cuts)?;
        }
        let format = kept.map(|c| c.format);
        let identity = [
            sha256_hex(&opened.model.emit()),
            opened.parameters.names().join(","),
            recipe.identity(),
            format!("{format:?} {visits:?}"),
            data.to_owned(),
        ];
        let identity = sha256_hex(identity.join("\n").as_bytes());
        let dims = opened.parameters.dims();
        let values = Values {
            optimiser: Optimiser::of(recipe.rule, recipe.weight_decay, dims),
            decays: opened.parameters.decays(),
            average: if recipe.ema.is_some() { opened.parameters.values.clone() } else { vec![] },
        };
        let total = visits.samples.len().div_ceil(recipe.batch.max(1)) * recipe.epochs;
        Ok(Session {
            opened,
            net,
            recipe: recipe.clone(),
            visits,
            identity,
            values,
            step: 0,
            total,
            sums: Sums::default(),
            epochs: vec![],
            choice,
            order: (usize::MAX, vec![]),
        })
    }

    /// What the run holds at its fullest moment, predicted.
    pub fn memory(&self) -> MemoryEstimate {
        let all = self.opened.model.parameters() as u64 * 4;
        MemoryEstimate::new(self.net.shape().size(), &self.opened.parameters, all, &self.recipe)
    }

    /// The differentiated model.
    pub fn net(&self) -> &TrainingNet {
        &self.net
    }

    /// Whether the frozen part runs once a sample, where that was asked for.
    pub fn cut_choice(&self) -> Option<&CutChoice> {
        self.choice.as_ref()
    }

    /// What is trained.
    pub fn opened(&self) -> &Opened {
        &self.opened
    }

    /// Steps done.
    pub fn steps(&self) -> usize {
        self.step
    }

    /// Steps in all.
    pub fn total(&self) -> usize {
        self.total
    }

    /// Do no more than `total` steps; the learning rate's cosine ends there. Of use before the first step only: later it changes nothing.
    pub fn limit(&mut self, total: usize) {
        if self.step == 0 {
            self.total = self.total.min(total);
        }
    }

    /// Are all steps done?
    pub fn is_done(&self) -> bool {
        self.step >= self.total
    }

    /// Epochs that ended.
    pub fn epochs(&self) -> &[Epoch] {
        &self.epochs
    }

    /// Take the next step.
    ///
    /// # Errors
    /// [`AdaptError::Diverged`] when the loss, a gradient or a weight is no longer finite; those of the examples. The run can then not
    /// go on; nothing was written.
    pub fn step(&mut self, examples: &dyn Examples) -> Result<StepReport, AdaptError> {
        let batch = self.recipe.batch.max(1);
        let an_epoch = self.visits.samples.len().div_ceil(batch);
        let (epoch, place) = (self.step / an_epoch, self.step % an_epoch);
        if self.order.0 != epoch {
            self.order = (epoch, self.visits.epoch(self.recipe.seed, epoch));
        }
        let end = ((place + 1) * batch).min(self.order.1.len());
        let indices = &self.order.1[place * batch..end];
        let scaled = Scaled { examples, scale: self.opened.input_scale };
        let mut gradient = self.net.gradient(&self.opened.parameters, &scaled, indices)?;
        let norm = clip(&mut gradient.gradients, self.recipe.clip);
        self.sums.add(&gradient, indices.len());
        let step = self.step;
        let finite =
            |what, value: f32| if value.is_finite() { Ok(()) } else { Err(AdaptError::Diverged { what, step }) };
        finite("the loss", gradient.teacher_loss + gradient.label_loss)?;
        finite("the gradient", norm)?;
        let warm_up = (self.total as f32 * self.recipe.warm_up).round() as usize;
        let rate = cosine(self.recipe.rate, step, self.total, warm_up);
        let Values { optimiser, decays, average } = &mut self.values;
        let weights = &mut self.opened.parameters.values;
        optimiser.step(rate, weights, &gradient.gradients, decays);
        if let Some(decay) = self.recipe.ema {
            for (average, weights) in average.iter_mut().zip(&*weights) {
                average.iter_mut().zip(weights).for_each(|(a, w)| *a = decay * *a + (1.0 - decay) * w);
            }
        }
        let samples = indices.len();
        self.step += 1;
        let so_far = self.sums.means();
        if self.step.is_multiple_of(an_epoch) || self.step == self.total {
            self.epochs.push(so_far);
            self.sums = Sums::default();
        }
        if self.step >= self.total {
            let largest = weights.iter().flatten().fold(0f32, |m, w| if w.is_finite() { m } else { f32::NAN });
            finite("a weight", largest)?;
        }
        Ok(StepReport { step: self.step, total: self.total, samples, rate, norm, so_far })
    }

    /// Mean loss and gradients of these samples at the weights as they are; nothing is changed.
    pub fn gradient(&self, examples: &dyn Examples, indices: &[usize]) -> Result<BatchGradient, AdaptError> {
        let scaled = Scaled { examples, scale: self.opened.input_scale };
        self.net.gradient(&self.opened.parameters, &scaled, indices)
    }

    /// The model as it is trained so far; the moving average where there is one.
    pub fn model(&self) -> Result<Model, AdaptError> {
        let values = if self.recipe.ema.is_some() { &self.values.average } else { &self.opened.parameters.values };
        if values.iter().flatten().any(|w| !w.is_finite()) {
            return Err(AdaptError::Diverged { what: "a weight", step: self.step });
        }
        self.opened.close(values)
    }

    /// Everything that decides how the run goes on, as bytes for [`crate::CheckpointStore`].
    pub fn checkpoint(&self) -> Vec<u8> {
        let OptimiserState { first, second, steps } = self.values.optimiser.state();
        let mut sums = vec![self.sums.loss.to_bits(), self.sums.agreement.to_bits(), self.sums.samples as u64];
        sums.extend(self.epochs.iter().flat_map(|e| [e.loss.to_bits(), e.agreement.to_bits()]));
        let (step, total) = (self.step as u64, self.total as u64);
        let (identity, optimiser_steps) = (self.identity.clone(), *steps);
        Checkpoint { identity, step, total, sums, optimiser_steps, ..Checkpoint::default() }.emit_with([
            &self.opened.parameters.values,
            first,
            second,
            &self.values.average,
        ])
    }

    /// Go on from there, to the same bits as if the run had not been interrupted.
    ///
    /// # Errors
    /// When the bytes are not a checkpoint, or one of another model, selection, recipe or data; the session is then as it was.
    pub fn resume(&mut self, bytes: &[u8]) -> Result<(), AdaptError> {
        let other = |what: &str| AdaptError::Unsuitable(format!("the checkpoint is {what}; remove it to begin anew"));
        let checkpoint = Checkpoint::parse(bytes).ok_or_else(|| other("damaged"))?;
        if checkpoint.identity != self.identity {
            return Err(other("of another model, selection, recipe or data"));
        }
        let [values, first, second, average] = checkpoint.lists;
        let lens = |lists: &[Vec<f32>]| lists.iter().map(Vec::len).collect::<Vec<_>>();
        let fits = lens(&values) == lens(&self.opened.parameters.values) && checkpoint.sums.len() >= 3;
        if !fits || lens(&average) != lens(&self.values.average) {
            return Err(other("damaged"));
        }
        let (sums, epochs) = checkpoint.sums.split_at(3);
        let [loss, agreement] = [sums[0], sums[1]].map(f64::from_bits);
        self.sums = Sums { loss, agreement, samples: sums[2] as usize };
        let epoch = |e: &[u64]| Epoch { loss: f64::from_bits(e[0]), agreement: f64::from_bits(e[1]) };
        self.epochs = epochs.chunks_exact(2).map(epoch).collect();
        (self.step, self.total) = (checkpoint.step as usize, checkpoint.total as usize);
        self.opened.parameters.values = values;
        self.values.average = average;
        self.values.optimiser.restore(OptimiserState { first, second, steps: checkpoint.optimiser_steps });
        Ok(())
    }
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

    fn means(&self) -> Epoch {
        let n = self.samples.max(1) as f64;
        Epoch { loss: self.loss / n, agreement: self.agreement / n }
    }
}

/// The same samples with inputs divided by a power of two.
pub(crate) struct Scaled<'a> {
    pub(crate) examples: &'a dyn Examples,
    pub(crate) scale: f32,
}

impl Examples for Scaled<'_> {
    fn example(&self, index: usize, x: &mut [f32], teacher: &mut [f32]) -> Result<Option<usize>, String> {
        let label = self.examples.example(index, x, teacher)?;
        x.iter_mut().for_each(|x| *x /= self.scale);
        Ok(label)
    }

    fn answer(&self, index: usize, x: &mut [f32], teacher: &mut [f32]) -> Result<Option<usize>, String> {
        self.examples.answer(index, x, teacher)
    }
}
