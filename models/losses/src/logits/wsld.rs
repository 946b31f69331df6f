//! Weighted soft labels: soft labels count where the student lags behind the teacher on the true class.
//!
//! CE = -ln σ(.)[y] at temperature 1, H = cross-entropy of soft labels at τ, w = 1 - exp(-CE_s / (CE_t + 1e-7)), a constant
//! L = τ²/B Σ_b w_b H(σ(t_b/τ), σ(s_b/τ)),  ds = τ/B w (σ(s/τ) - σ(t/τ))
//!
//! Zhou et al., "Rethinking soft labels for knowledge distillation: a bias-variance tradeoff perspective", ICLR 2021, equation 9; defaults of
//! its code, which also takes the weight as a constant: the gradient is not that of L, but of L at fixed weights. A top-K answer must
//! list the true class, or its probability is not known.

use serde::Deserialize;

use crate::error::LossError;
use crate::given::{Evaluated, Given, Loss};
use crate::logits::soft::{label, log_softmax, logits, tempered};
use crate::logits::target::{Tail, Target};
use crate::options::positive;

/// Options of `wsld`.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Wsld {
    /// τ
    #[serde(deserialize_with = "positive")]
    pub temperature: f64,
    /// What the classes that are not listed become.
    pub tail: Tail,
}

impl Default for Wsld {
    fn default() -> Self {
        Wsld { temperature: 2.0, tail: Tail::Bucket }
    }
}

impl Loss for Wsld {
    fn evaluate(&mut self, given: &Given<'_>) -> Result<Evaluated, LossError> {
        const KIND: &str = "wsld";
        let (s, teacher) = logits(KIND, given)?;
        let (mut loss, mut ds) = (0.0, s.zeros_like());
        let mean = 1.0 / s.samples() as f64;
        for b in 0..s.samples() {
            let y = label(KIND, given, b, s.len())?;
            let Some(ln_p_y) = Target::of(KIND, teacher, b, 1.0, self.tail)?.ln_p(y) else {
                let why = format!("needs the true class {y} of sample {} among the listed logits", given.samples[b]);
                return Err(LossError::Head { kind: KIND, why, head: "--head logits:dense".into() });
            };
            let ce_s = -log_softmax(s.sample(b))[y];
            let weight = 1.0 - (-ce_s / (1e-7 - ln_p_y)).exp();
            let target = Target::of(KIND, teacher, b, self.temperature, self.tail)?;
            let (h, dz) = target.cross_entropy(&tempered(s.sample(b), self.temperature));
            loss += self.temperature * self.temperature * mean * weight * h;
            ds.sample_mut(b).iter_mut().zip(&dz).for_each(|(d, dz)| *d = self.temperature * mean * weight * dz);
        }
        Ok(Evaluated { loss, gradients: vec![ds] })
    }
}
