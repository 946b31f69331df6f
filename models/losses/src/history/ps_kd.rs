//! Progressive self-knowledge distillation: what the student said of a sample one epoch ago softens its label.
//!
//! u = (1 - α) onehot(y) + α p_past,  α = `alpha` (epoch + 1) / epochs, epochs from 0;  p_past = σ(past logits)
//! L = -1/B Σ_b Σ_c u_bc ln σ(s_b)_c,  ds = (σ(s) - u) / B
//!
//! Kim et al., "Self-knowledge distillation with progressive refinement of targets", ICCV 2021, equations 4 and 7; schedule and α = 0.8 as
//! in its authors' program. In the first epoch there is no past: u is the label alone (there too), and what stands in the
//! teacher's place is not read. The teacher's answers are the student's own logits, which whoever trains writes after each epoch; ln p does as well.

use serde::Deserialize;

use crate::error::LossError;
use crate::given::{Evaluated, Given, Loss, Progress};
use crate::logits::soft::{dense_logits, label, student};
use crate::logits::target::Target;
use crate::options::fraction;

/// Options of `ps-kd`.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PsKd {
    /// α of the last epoch.
    #[serde(deserialize_with = "fraction")]
    pub alpha: f64,
}

impl Default for PsKd {
    fn default() -> Self {
        PsKd { alpha: 0.8 }
    }
}

impl PsKd {
    /// α; 0 in the first epoch.
    fn weight(&self, progress: Progress) -> f64 {
        let each = progress.epoch_steps.max(1);
        let (epoch, epochs) = (progress.step / each, progress.total.div_ceil(each).max(1));
        if epoch == 0 { 0.0 } else { self.alpha * ((epoch + 1) as f64 / epochs as f64).min(1.0) }
    }
}

impl Loss for PsKd {
    fn evaluate(&mut self, given: &Given<'_>) -> Result<Evaluated, LossError> {
        const KIND: &str = "ps-kd";
        let s = student(KIND, given, 0)?;
        let alpha = self.weight(given.progress);
        let past = if alpha > 0.0 { Some(dense_logits(KIND, given)?.1) } else { None };
        let (mut loss, mut ds) = (0.0, s.zeros_like());
        let mean = 1.0 / s.samples() as f64;
        for b in 0..s.samples() {
            let y = label(KIND, given, b, s.len())?;
            let mut u = vec![0.0; s.len()];
            if let Some(past) = past {
                Target::dense(past.sample(b), 1.0).listed.iter().for_each(|&(c, ln_p)| u[c] = alpha * ln_p.exp());
            }
            u[y] += 1.0 - alpha;
            let listed = u.iter().map(|u| u.ln()).enumerate().collect();
            let (ce, dz) = Target { listed, tail: None }.cross_entropy(s.sample(b));
            loss += mean * ce;
            ds.sample_mut(b).iter_mut().zip(&dz).for_each(|(d, dz)| *d = mean * dz);
        }
        Ok(Evaluated { loss, gradients: vec![ds] })
    }
}
