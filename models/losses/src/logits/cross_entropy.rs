//! Cross-entropy with the label.
//!
//! s (B, C), y (B) → L = -1/B Σ_b ln σ(s_b)[y_b],  ds = (σ(s) - onehot(y)) / B

use serde::Deserialize;

use crate::error::LossError;
use crate::given::{Evaluated, Given, Loss};
use crate::logits::soft::{label, student};
use crate::logits::target::Target;

/// Options of `cross-entropy`: none.
#[derive(Debug, Clone, Copy, PartialEq, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CrossEntropy {}

impl Loss for CrossEntropy {
    fn evaluate(&mut self, given: &Given<'_>) -> Result<Evaluated, LossError> {
        const KIND: &str = "cross-entropy";
        let s = student(KIND, given, 0)?;
        let (mut loss, mut ds) = (0.0, s.zeros_like());
        let mean = 1.0 / s.samples() as f64;
        for b in 0..s.samples() {
            let y = label(KIND, given, b, s.len())?;
            let (ce, dz) = Target { listed: vec![(y, 0.0)], tail: None }.cross_entropy(s.sample(b));
            loss += mean * ce;
            ds.sample_mut(b).iter_mut().zip(&dz).for_each(|(d, dz)| *d = mean * dz);
        }
        Ok(Evaluated { loss, gradients: vec![ds] })
    }
}
