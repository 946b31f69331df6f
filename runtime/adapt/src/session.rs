//! A training run: steps over epochs, from a recipe to a trained model, stopped and resumed anywhere.

use crate::checkpoint::Checkpoint;
use crate::error::AdaptError;
use crate::estimate::MemoryEstimate;
use crate::opened::Opened;
use crate::optimiser::OptimiserState;
use crate::recipe::Recipe;
use crate::run::{Run, Sums};
use crate::step::{BatchGradient, CutChoice, CutOptions, Examples, TrainingNet};
use crate::visits::Visits;
use limbeck_engine::onnx::Model;
use limbeck_files::sha256_hex;

/// A run under way.
pub struct Session {
    run: Run,
    net: TrainingNet,
    identity: String,
    choice: Option<CutChoice>,
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
        Ok(Session { run: Run::new(opened, recipe, visits)?, net, identity, choice })
    }

    /// What the run holds at its fullest moment, predicted.
    pub fn memory(&self) -> MemoryEstimate {
        let all = self.run.opened.model.parameters() as u64 * 4;
        MemoryEstimate::new(self.net.shape().size(), &self.run.opened.parameters, all, &self.run.recipe)
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
        &self.run.opened
    }

    /// Steps done.
    pub fn steps(&self) -> usize {
        self.run.step
    }

    /// Steps in all.
    pub fn total(&self) -> usize {
        self.run.total
    }

    /// Do no more than `total` steps; the learning rate's cosine ends there. Of use before the first step only: later it changes nothing.
    pub fn limit(&mut self, total: usize) {
        if self.run.step == 0 {
            self.run.total = self.run.total.min(total);
        }
    }

    /// Are all steps done?
    pub fn is_done(&self) -> bool {
        self.run.step >= self.run.total
    }

    /// Epochs that ended.
    pub fn epochs(&self) -> &[Epoch] {
        &self.run.epochs
    }

    /// Take the next step.
    ///
    /// # Errors
    /// [`AdaptError::Diverged`] when the loss, a gradient or a weight is no longer finite; those of the examples. The run can then not
    /// go on; nothing was written.
    pub fn step(&mut self, examples: &dyn Examples) -> Result<StepReport, AdaptError> {
        let indices = self.run.next();
        let gradient = self.gradient(examples, &indices)?;
        self.run.advance(gradient, indices.len())
    }

    /// Mean loss and gradients of these samples at the weights as they are; nothing is changed.
    pub fn gradient(&self, examples: &dyn Examples, indices: &[usize]) -> Result<BatchGradient, AdaptError> {
        let scaled = Scaled { examples, scale: self.run.opened.input_scale };
        self.net.gradient(&self.run.opened.parameters, &scaled, indices)
    }

    /// The model as it is trained so far; the moving average where there is one.
    pub fn model(&self) -> Result<Model, AdaptError> {
        self.run.model()
    }

    /// Everything that decides how the run goes on, as bytes for [`crate::CheckpointStore`].
    pub fn checkpoint(&self) -> Vec<u8> {
        let Run { opened, values, step, total, sums, epochs, .. } = &self.run;
        let OptimiserState { first, second, steps } = values.optimiser.state();
        let mut numbers = vec![sums.loss.to_bits(), sums.agreement.to_bits(), sums.samples as u64];
        numbers.extend(epochs.iter().flat_map(|e| [e.loss.to_bits(), e.agreement.to_bits()]));
        let (step, total) = (*step as u64, *total as u64);
        let (identity, optimiser_steps) = (self.identity.clone(), *steps);
        Checkpoint { identity, step, total, sums: numbers, optimiser_steps, ..Checkpoint::default() }.emit_with([
            &opened.parameters.values,
            first,
            second,
            &values.average,
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
        let run = &mut self.run;
        let fits = lens(&values) == lens(&run.opened.parameters.values) && checkpoint.sums.len() >= 3;
        if !fits || lens(&average) != lens(&run.values.average) {
            return Err(other("damaged"));
        }
        let (sums, epochs) = checkpoint.sums.split_at(3);
        let [loss, agreement] = [sums[0], sums[1]].map(f64::from_bits);
        run.sums = Sums { loss, agreement, samples: sums[2] as usize };
        let epoch = |e: &[u64]| Epoch { loss: f64::from_bits(e[0]), agreement: f64::from_bits(e[1]) };
        run.epochs = epochs.chunks_exact(2).map(epoch).collect();
        (run.step, run.total) = (checkpoint.step as usize, checkpoint.total as usize);
        run.opened.parameters.values = values;
        run.values.average = average;
        run.values.optimiser.restore(OptimiserState { first, second, steps: checkpoint.optimiser_steps });
        Ok(())
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
