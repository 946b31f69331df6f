//! Mean squared error of logits.
//!
//! s, t (B, C) → L = 1/(B·C) Σ (s - t)²,  ds = 2 (s - t) / (B·C)
//!
//! Ba, Caruana, "Do deep nets really need to be deep?", NIPS 2014, equation 2. Logits are compared as they are, so the file must hold them as
//! the teacher gave them (`logits:f32`), or both are taken relative to their mean first (`centred`, the default): softmax does not see
//! the difference, and files in f16 keep logits relative to the largest.

use serde::Deserialize;

use crate::batch::Batch;
use crate::error::LossError;
use crate::given::{Evaluated, Given, Loss};

/// Options of `logit-mse`.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LogitMse {
    /// Subtract each sample's mean logit from both sides first.
    pub centred: bool,
}

impl Default for LogitMse {
    fn default() -> Self {
        LogitMse { centred: true }
    }
}

impl Loss for LogitMse {
    fn evaluate(&mut self, given: &Given<'_>) -> Result<Evaluated, LossError> {
        let (s, t) = (&given.student[0], given.dense("logit-mse", 0)?);
        if s.dims != t.dims || s.samples() != t.samples() {
            let why = format!("the student has {:?} logits and the teacher {:?}", s.dims, t.dims);
            return Err(LossError::Shapes { kind: "logit-mse", why });
        }
        let classes = s.len() as f64;
        let scale = 1.0 / s.values.len() as f64;
        let mut ds: Batch = s.zeros_like();
        let mut loss = 0.0;
        for b in 0..s.samples() {
            let (s_b, t_b) = (s.sample(b), t.sample(b));
            let mean = s_b.iter().zip(t_b).map(|(s, t)| s - t).sum::<f64>() / classes;
            let shift = if self.centred { mean } else { 0.0 };
            for ((d, s), t) in ds.sample_mut(b).iter_mut().zip(s_b).zip(t_b) {
                let difference = s - t - shift;
                loss += difference * difference * scale;
                *d = 2.0 * difference * scale;
            }
        }
        Ok(Evaluated { loss, gradients: vec![ds] })
    }
}
