//! Knowledge distillation: the teacher's softened distribution as the student's target.
//!
//! s, t (B, C) → L = T²/B Σ_b KL(σ(t_b/T) ‖ σ(s_b/T)),  ds = T/B (σ(s/T) - σ(t/T))
//!
//! Hinton, Vinyals, Dean, "Distilling the knowledge in a neural network", NIPS workshop 2014. The factor T² and the mean over samples
//! ('batchmean') are RepDistiller's; torchdistill's KDLoss leaves T² out where it has no labels. The hard term of the paper is the loss
//! `cross-entropy` with a weight of its own. A top-K answer gives K bins and a tail bucket (see [`Tail`]).

use serde::Deserialize;

use crate::error::LossError;
use crate::given::{Evaluated, Given, Loss, Teacher};
use crate::logits::noise::Noise;
use crate::logits::soft::{dense_logits, logits, tempered};
use crate::logits::target::{Tail, Target};
use crate::options::positive;

/// Options of `kd`.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Kd {
    /// T
    #[serde(deserialize_with = "positive")]
    pub temperature: f64,
    /// What the classes that are not listed become.
    pub tail: Tail,
    /// Disturb the teacher; needs dense logits.
    pub noise: Option<Noise>,
}

impl Default for Kd {
    fn default() -> Self {
        Kd { temperature: 4.0, tail: Tail::Bucket, noise: None }
    }
}

impl Kd {
    pub(crate) fn seeded(self, seed: u64) -> KdLoss {
        KdLoss { options: self, seed }
    }
}

/// `kd`, and what its noise is drawn from.
pub(crate) struct KdLoss {
    options: Kd,
    seed: u64,
}

impl Loss for KdLoss {
    fn evaluate(&mut self, given: &Given<'_>) -> Result<Evaluated, LossError> {
        const KIND: &str = "kd";
        let Kd { temperature, tail, noise } = self.options;
        let (s, teacher) = logits(KIND, given)?;
        let disturbed = match noise {
            None => None,
            Some(noise) => {
                let mut t = dense_logits(KIND, given)?.1.clone();
                for (b, &sample) in given.samples.iter().enumerate() {
                    let z = noise.disturb(t.sample(b), self.seed, sample, given.progress.step);
                    t.sample_mut(b).copy_from_slice(&z);
                }
                Some(Teacher::Dense(t))
            }
        };
        let teacher = disturbed.as_ref().unwrap_or(teacher);
        let (mut loss, mut ds) = (0.0, s.zeros_like());
        let mean = 1.0 / s.samples() as f64;
        for b in 0..s.samples() {
            let target = Target::of(KIND, teacher, b, temperature, tail)?;
            let (kl, dz) = target.kl(&tempered(s.sample(b), temperature));
            loss += temperature * temperature * mean * kl;
            ds.sample_mut(b).iter_mut().zip(&dz).for_each(|(d, dz)| *d = temperature * mean * dz);
        }
        Ok(Evaluated { loss, gradients: vec![ds] })
    }
}
