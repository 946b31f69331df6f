//! A training run whose loss lies outside the graph ([`crate::TappedNet`]).

use limbeck_engine::onnx::Model;

use crate::error::AdaptError;
use crate::opened::Opened;
use crate::recipe::Recipe;
use crate::run::Run;
use crate::session::{Epoch, StepReport};
use crate::tapped::{Objective, TappedExamples, TappedNet};
use crate::visits::Visits;

/// A run under way. Objectives may remember things, so there are no checkpoints: a run is short, and begun anew.
pub struct TappedSession {
    run: Run,
    net: TappedNet,
}

impl TappedSession {
    /// Prepare a run. The recipe's `loss` is not looked at.
    pub fn new(opened: Opened, recipe: &Recipe, visits: Visits) -> Result<TappedSession, AdaptError> {
        let net = TappedNet::of(&opened, recipe.threads)?;
        Ok(TappedSession { run: Run::new(opened, recipe, visits)?, net })
    }

    /// The differentiated model.
    pub fn net(&self) -> &TappedNet {
        &self.net
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
    /// [`AdaptError::Diverged`] when the loss, a gradient or a weight is no longer finite; those of the examples and of the objective. The
    /// run can then not go on.
    pub fn step(
        &mut self,
        examples: &dyn TappedExamples,
        objective: &mut dyn Objective,
    ) -> Result<StepReport, AdaptError> {
        let indices = self.run.next();
        let average = if objective.wants_average() { self.run.average() } else { None };
        let scaled = Scaled { examples, scale: self.run.opened.input_scale };
        let steps = [self.run.step, self.run.total, self.run.an_epoch()];
        let parameters = &self.run.opened.parameters;
        let gradient = self.net.gradient(parameters, average.as_ref(), &scaled, &indices, steps, objective)?;
        self.run.advance(gradient, indices.len())
    }

    /// The model as it is trained so far, without what was attached; the moving average where there is one.
    pub fn model(&self) -> Result<Model, AdaptError> {
        self.run.model()
    }
}

/// The same samples with images divided by a power of two.
struct Scaled<'a> {
    examples: &'a dyn TappedExamples,
    scale: f32,
}

impl TappedExamples for Scaled<'_> {
    fn example(&self, index: usize, x: &mut [f32], further: &mut [Vec<f32>]) -> Result<Option<usize>, String> {
        let label = self.examples.example(index, x, further)?;
        x.iter_mut().for_each(|x| *x /= self.scale);
        Ok(label)
    }
}
