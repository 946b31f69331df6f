//! Noise on a teacher's logits.
//!
//! t' = t (1 + ξ),  ξ ~ N(0, v) for each class, on a drawn fraction of the samples; the others are left as they are
//!
//! Sau, Balasubramanian, "Deep model compression: distilling knowledge from noisy teachers", 2016, arXiv 1610.09650; fraction and
//! variance by default as in KD_Lib. A sample's noise depends on (seed, sample, step) alone. The noise is relative, so it matters what
//! zero is: logits are taken as the file holds them, and a file in f16 holds them relative to the largest, whose logit then is 0 and
//! never moves; `teach --head logits:f32` keeps the teacher's own.

use limbeck_answers::rng::Stream;
use serde::Deserialize;

use crate::options::{fraction, not_negative};

/// Key of this purpose, so that the same seed elsewhere draws other numbers.
const PURPOSE: u64 = 0x6e6f_6973_795f_7465;

/// Option `noise` of `kd`.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Noise {
    /// Probability that a sample's logits are disturbed at a step.
    #[serde(deserialize_with = "fraction")]
    pub fraction: f64,
    /// v
    #[serde(deserialize_with = "not_negative")]
    pub variance: f64,
}

impl Default for Noise {
    fn default() -> Self {
        Noise { fraction: 0.5, variance: 0.1 }
    }
}

impl Noise {
    /// t' of one sample at one step.
    pub(crate) fn disturb(&self, t: &[f64], seed: u64, sample: u64, step: usize) -> Vec<f64> {
        let mut random = Stream::new(seed ^ PURPOSE, sample, step as u32);
        if uniform(&mut random) > self.fraction {
            return t.to_vec();
        }
        let sd = self.variance.sqrt();
        t.iter().map(|t| t * (1.0 + sd * normal(&mut random))).collect()
    }
}

/// Evenly from above 0 to 1.
pub(crate) fn uniform(random: &mut Stream) -> f64 {
    (random.next_u32() as f64 + 1.0) / 2f64.powi(32)
}

/// N(0, 1): Box, Muller, "A note on the generation of random normal deviates", 1958.
pub(crate) fn normal(random: &mut Stream) -> f64 {
    let (u, v) = (uniform(random), uniform(random));
    (-2.0 * u.ln()).sqrt() * (std::f64::consts::TAU * v).cos()
}
