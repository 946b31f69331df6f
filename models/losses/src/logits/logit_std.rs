//! Logit standardisation: `kd` of logits without their scale.
//!
//! u(z) = (z - μ) / (1e-7 + sd), μ and sd of a sample's logits, sd unbiased
//! L = T²/B Σ_b KL(σ(u(t_b)/T) ‖ σ(u(s_b)/T))
//! du_i/dz_j = (δ_ij - 1/C) / (1e-7 + sd) - u_i (z_j - μ) / ((1e-7 + sd) (C - 1) sd)
//!
//! Sun et al., "Logit standardization in knowledge distillation", CVPR 2024, algorithm 1; base temperature of its code. torchdistill's
//! LogitStdKDLoss leaves T² out where it has no labels. Logits that are all equal (sd below 1e-12) have no direction to be pushed in:
//! no gradient. The temperature of a sample is T sd, at which a top-K answer knows no tail, so it must lack at most one class, whose logit
//! then is its tail.

use serde::Deserialize;

use crate::batch::TopKBatch;
use crate::error::LossError;
use crate::given::{Evaluated, Given, Loss, Teacher};
use crate::logits::soft::{logits, tempered};
use crate::logits::target::Target;
use crate::options::positive;

const KIND: &str = "logit-std";
/// Added to sd (the paper's code).
const EPS: f64 = 1e-7;

/// Options of `logit-std`.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LogitStd {
    /// T
    #[serde(deserialize_with = "positive")]
    pub temperature: f64,
}

impl Default for LogitStd {
    fn default() -> Self {
        LogitStd { temperature: 2.0 }
    }
}

impl Loss for LogitStd {
    fn evaluate(&mut self, given: &Given<'_>) -> Result<Evaluated, LossError> {
        let (s, teacher) = logits(KIND, given)?;
        let (mut loss, mut ds) = (0.0, s.zeros_like());
        let mean = 1.0 / s.samples() as f64;
        for b in 0..s.samples() {
            let t = match teacher {
                Teacher::Dense(t) => t.sample(b).to_vec(),
                Teacher::TopK(t) => all_logits(t, b)?,
            };
            let target = Target::dense(&standardised(&t).0, self.temperature);
            let (u, sd) = standardised(s.sample(b));
            let (kl, du) = target.kl(&tempered(&u, self.temperature));
            loss += self.temperature * self.temperature * mean * kl;
            if sd < 1e-12 {
                continue;
            }
            let classes = u.len() as f64;
            let du_mean = du.iter().sum::<f64>() / classes;
            let du_u: f64 = du.iter().zip(&u).map(|(du, u)| du * u).sum();
            for ((d, du), u) in ds.sample_mut(b).iter_mut().zip(&du).zip(&u) {
                // (z - μ) / sd = u (1e-7 + sd) / sd
                let dz = (du - du_mean) / (EPS + sd) - du_u * u / ((classes - 1.0) * sd);
                *d = self.temperature * mean * dz;
            }
        }
        Ok(Evaluated { loss, gradients: vec![ds] })
    }
}

/// u(z) and sd.
fn standardised(z: &[f64]) -> (Vec<f64>, f64) {
    let mean = z.iter().sum::<f64>() / z.len() as f64;
    let square = z.iter().map(|z| (z - mean).powi(2)).sum::<f64>();
    let sd = (square / (z.len() as f64 - 1.0).max(1.0)).sqrt();
    (z.iter().map(|z| (z - mean) / (EPS + sd)).collect(), sd)
}

/// Every logit, where at most one is not listed.
fn all_logits(t: &TopKBatch, b: usize) -> Result<Vec<f64>, LossError> {
    if t.k + 1 < t.classes {
        return Err(LossError::Head {
            kind: KIND,
            why: format!("needs all {} logits of an answer, and the file keeps the largest {}", t.classes, t.k),
            head: "--head logits:dense".into(),
        });
    }
    let mut z = vec![t.tail_lse[b * TopKBatch::TEMPERATURES.len()]; t.classes];
    for (&c, &listed) in t.index[b * t.k..].iter().zip(&t.z[b * t.k..(b + 1) * t.k]) {
        let why = || format!("an answer lists class {c} of {}", t.classes);
        *z.get_mut(c as usize).ok_or_else(|| LossError::Shapes { kind: KIND, why: why() })? = listed;
    }
    Ok(z)
}
