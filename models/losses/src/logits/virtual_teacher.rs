//! A teacher made by hand from the label (Tf-KD with regularisation): no teacher network, no answers file.
//!
//! p^d (C) = a at the true class, (1 - a) / (C - 1) elsewhere
//! `code`:     u = σ(p^d / T),           L = m/(B C) Σ_b KL(u_b ‖ σ(s_b)),    ds = m/(B C) (σ(s) - u)
//! `tempered`: u_c ∝ (p^d_c)^(1/T),      L = T²/B Σ_b KL(u_b ‖ σ(s_b/T)),     ds = T/B (σ(s/T) - u)
//!
//! Yuan et al., "Revisiting knowledge distillation via label smoothing regularization", CVPR 2020, section 5. `code`, the default, is what
//! its authors ran: the softmax of probabilities, the student untempered, the mean over all B C terms, times a `multiplier` (T = 20, 1000 for
//! CIFAR-100 in ports of it). `tempered` softens the distribution itself and is reduced as `kd`. The paper's (1 - α) cross-entropy + α L
//! is two losses of a recipe.

use serde::Deserialize;

use crate::error::LossError;
use crate::given::{Evaluated, Given, Loss};
use crate::logits::soft::{label, student, tempered};
use crate::logits::target::Target;
use crate::options::positive;

/// How the virtual teacher is softened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Softening {
    /// As in the authors' program.
    #[default]
    Code,
    /// A distribution raised to 1/T.
    Tempered,
}

/// Options of `virtual-teacher`.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct VirtualTeacher {
    /// T
    #[serde(deserialize_with = "positive")]
    pub temperature: f64,
    /// a, below 1
    #[serde(deserialize_with = "positive")]
    pub correct: f64,
    /// m, of `code` alone
    #[serde(deserialize_with = "positive")]
    pub multiplier: f64,
    /// Which formula.
    pub form: Softening,
}

impl Default for VirtualTeacher {
    fn default() -> Self {
        VirtualTeacher { temperature: 20.0, correct: 0.99, multiplier: 1000.0, form: Softening::Code }
    }
}

impl Loss for VirtualTeacher {
    fn evaluate(&mut self, given: &Given<'_>) -> Result<Evaluated, LossError> {
        const KIND: &str = "virtual-teacher";
        let s = student(KIND, given, 0)?;
        let classes = s.len();
        if classes < 2 || self.correct >= 1.0 {
            let why = "needs at least two classes, and `correct` below 1".into();
            return Err(LossError::Options { kind: KIND, why });
        }
        let (t_s, scale) = match self.form {
            Softening::Code => (1.0, self.multiplier / (s.samples() * classes) as f64),
            Softening::Tempered => (self.temperature, self.temperature * self.temperature / s.samples() as f64),
        };
        let (mut loss, mut ds) = (0.0, s.zeros_like());
        for b in 0..s.samples() {
            let y = label(KIND, given, b, classes)?;
            let mut p = vec![(1.0 - self.correct) / (classes - 1) as f64; classes];
            p[y] = self.correct;
            if self.form == Softening::Tempered {
                p.iter_mut().for_each(|p| *p = p.ln());
            }
            let (kl, dz) = Target::dense(&p, self.temperature).kl(&tempered(s.sample(b), t_s));
            loss += scale * kl;
            ds.sample_mut(b).iter_mut().zip(&dz).for_each(|(d, dz)| *d = scale / t_s * dz);
        }
        Ok(Evaluated { loss, gradients: vec![ds] })
    }
}
