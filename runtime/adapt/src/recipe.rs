//! How to train.

use crate::loss::Loss;
use crate::optimiser::Rule;

/// How to train. Two runs of one recipe on one model and one set of examples give the same bits.
#[derive(Debug, Clone, PartialEq)]
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
    /// The update rule.
    pub rule: Rule,
    /// Weight decay of weights; biases do not decay.
    pub weight_decay: f32,
    /// Largest joint L2 norm of a step's gradients.
    pub clip: f32,
    /// Decay d of a moving average of the weights, a ← d·a + (1 − d)·w after each step; the student that results is the average. (Polyak,
    /// Juditsky, 1992.) `None`: the last weights.
    pub ema: Option<f32>,
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
            ema: None,
            seed: 0,
            threads: std::thread::available_parallelism().map_or(1, usize::from),
        }
    }
}

impl Recipe {
    /// All that decides the result, as text: everything but the number of threads.
    pub(crate) fn identity(&self) -> String {
        format!("{:?}", Recipe { threads: 0, ..self.clone() })
    }
}
