//! What every training run has: visits in their order, a learning rate, an optimiser, a moving average, and the watch for numbers that are
//! no longer finite.

use crate::error::AdaptError;
use crate::opened::Opened;
use crate::optimiser::{Optimiser, clip, cosine};
use crate::parameters::Parameters;
use crate::recipe::Recipe;
use crate::session::{Epoch, StepReport};
use crate::step::BatchGradient;
use crate::visits::Visits;
use limbeck_engine::onnx::Model;

/// A run, wherever its gradients come from.
pub(crate) struct Run {
    pub opened: Opened,
    pub recipe: Recipe,
    pub visits: Visits,
    pub values: Values,
    pub step: usize,
    pub total: usize,
    pub sums: Sums,
    pub epochs: Vec<Epoch>,
    /// The epoch whose order this is, and the order.
    order: (usize, Vec<usize>),
}

/// What training changes, besides the weights.
pub(crate) struct Values {
    pub optimiser: Optimiser,
    pub decays: Vec<bool>,
    pub average: Vec<Vec<f32>>,
}

#[derive(Default)]
pub(crate) struct Sums {
    pub loss: f64,
    pub agreement: f64,
    pub samples: usize,
}

impl Run {
    pub fn new(opened: Opened, recipe: &Recipe, visits: Visits) -> Result<Run, AdaptError> {
        if visits.samples.is_empty() {
            return Err(AdaptError::Unsuitable("there is no sample to train on".into()));
        }
        let values = Values {
            optimiser: Optimiser::of(recipe.rule, recipe.weight_decay, opened.parameters.dims()),
            decays: opened.parameters.decays(),
            average: if recipe.ema.is_some() { opened.parameters.values.clone() } else { vec![] },
        };
        let total = visits.samples.len().div_ceil(recipe.batch.max(1)) * recipe.epochs;
        let (recipe, sums, order) = (recipe.clone(), Sums::default(), (usize::MAX, vec![]));
        Ok(Run { opened, recipe, visits, values, step: 0, total, sums, epochs: vec![], order })
    }

    /// Steps an epoch.
    pub fn an_epoch(&self) -> usize {
        self.visits.samples.len().div_ceil(self.recipe.batch.max(1))
    }

    /// The visits of the next step.
    pub fn next(&mut self) -> Vec<usize> {
        let batch = self.recipe.batch.max(1);
        let (epoch, place) = (self.step / self.an_epoch(), self.step % self.an_epoch());
        if self.order.0 != epoch {
            self.order = (epoch, self.visits.epoch(self.recipe.seed, epoch));
        }
        let end = ((place + 1) * batch).min(self.order.1.len());
        self.order.1[place * batch..end].to_vec()
    }

    /// Move the weights along the gradient of a step over so many samples.
    ///
    /// # Errors
    /// [`AdaptError::Diverged`] when the loss, a gradient or a weight is no longer finite.
    pub fn advance(&mut self, mut gradient: BatchGradient, samples: usize) -> Result<StepReport, AdaptError> {
        let norm = clip(&mut gradient.gradients, self.recipe.clip);
        self.sums.add(&gradient, samples);
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
        self.step += 1;
        let so_far = self.sums.means();
        if self.step.is_multiple_of(self.visits.samples.len().div_ceil(self.recipe.batch.max(1)))
            || self.step == self.total
        {
            self.epochs.push(so_far);
            self.sums = Sums::default();
        }
        if self.step >= self.total {
            let largest = weights.iter().flatten().fold(0f32, |m, w| if w.is_finite() { m } else { f32::NAN });
            finite("a weight", largest)?;
        }
        Ok(StepReport { step: self.step, total: self.total, samples, rate, norm, so_far })
    }

    /// The trained tensors with the values of the moving average.
    pub fn average(&self) -> Option<Parameters> {
        self.recipe.ema.is_some().then(|| self.opened.parameters.with_values(&self.values.average))
    }

    /// The model as it is trained so far; the moving average where there is one.
    pub fn model(&self) -> Result<Model, AdaptError> {
        let values = if self.recipe.ema.is_some() { &self.values.average } else { &self.opened.parameters.values };
        if values.iter().flatten().any(|w| !w.is_finite()) {
            return Err(AdaptError::Diverged { what: "a weight", step: self.step });
        }
        self.opened.close(values)
    }
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
