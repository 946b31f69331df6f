//! Correlation congruence: how samples of a batch relate to each other.
//!
//! `difference`: δ_b = |s_b - t_b|,                        L = 1/(B-1) Σ_b Σ_d δ_bd δ_(b+1)d
//! `rbf`:        C_ij = e^(-2γ) Σ_(p≤P) (2γ)^p/p! (f_i·f_j)^p, f of length one,  L = 1/B² ‖C_s - C_t‖²_F
//! `rbf-root`:   the same C of f as they are,              L = 1/B² ‖C_s - C_t‖_F
//!
//! Peng et al., "Correlation congruence for knowledge distillation", ICCV 2019, equations 5 to 9: `rbf`, whose series is that of
//! exp(-γ ‖f_i - f_j‖²) for f of length one, with the authors' γ = 0.4 and P = 2. `difference`, the default, is what RepDistiller's
//! Correlation computes under that name (weight 0.02); it needs equal shapes. `rbf-root` is torchdistill's CCKDLoss. A difference of exactly
//! zero, and a root of zero, get no gradient.

use serde::Deserialize;

use crate::batch::Batch;
use crate::error::LossError;
use crate::given::{Evaluated, Given, Loss};
use crate::options::positive;
use crate::relations::rows::{equal_pair, gram, gram_backward, normalise, pair};

const KIND: &str = "cc";

/// Which formula.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Congruence {
    /// Products of neighbouring differences.
    #[default]
    Difference,
    /// Gaussian kernel, squared.
    Rbf,
    /// Gaussian kernel without normalisation, not squared.
    RbfRoot,
}

/// Options of `cc`.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Cc {
    /// Which formula.
    pub form: Congruence,
    /// γ of the kernel.
    #[serde(deserialize_with = "positive")]
    pub gamma: f64,
    /// P: terms of the series after the constant one.
    pub order: u32,
}

impl Default for Cc {
    fn default() -> Self {
        Cc { form: Congruence::Difference, gamma: 0.4, order: 2 }
    }
}

impl Loss for Cc {
    fn evaluate(&mut self, given: &Given<'_>) -> Result<Evaluated, LossError> {
        match self.form {
            Congruence::Difference => differences(given),
            Congruence::Rbf => {
                let (s, t) = pair(KIND, given, 0)?;
                let (s, t) = (normalise(s), normalise(t));
                let (square, dc) = self.compare(&s.rows, &t.rows);
                let scale = 1.0 / (s.rows.samples() * s.rows.samples()) as f64;
                let mut ds = s.backward(&gram_backward(&s.rows, &dc));
                ds.values.iter_mut().for_each(|d| *d *= scale);
                Ok(Evaluated { loss: scale * square, gradients: vec![ds] })
            }
            Congruence::RbfRoot => {
                let (s, t) = pair(KIND, given, 0)?;
                let (square, dc) = self.compare(s, t);
                let (root, scale) = (square.sqrt(), 1.0 / (s.samples() * s.samples()) as f64);
                let mut ds = gram_backward(s, &dc);
                let slope = if root > 0.0 { scale / (2.0 * root) } else { 0.0 };
                ds.values.iter_mut().for_each(|d| *d *= slope);
                Ok(Evaluated { loss: scale * root, gradients: vec![ds] })
            }
        }
    }
}

impl Cc {
    /// ‖C_s - C_t‖²_F and its gradient with respect to the products f_i·f_j of the student.
    fn compare(&self, s: &Batch, t: &Batch) -> (f64, Vec<f64>) {
        let (mut g_s, g_t) = (gram(s), gram(t));
        let mut square = 0.0;
        for (a, b) in g_s.iter_mut().zip(&g_t) {
            let ((c_s, slope), (c_t, _)) = (self.kernel(*a), self.kernel(*b));
            square += (c_s - c_t) * (c_s - c_t);
            *a = 2.0 * (c_s - c_t) * slope;
        }
        (square, g_s)
    }

    /// The series and its slope at x = f_i·f_j.
    fn kernel(&self, x: f64) -> (f64, f64) {
        let outer = (-2.0 * self.gamma).exp();
        let (mut term, mut value, mut slope) = (outer, outer, 0.0);
        for p in 1..=self.order {
            // d/dx (2γ)^p/p! x^p = 2γ times the term before
            slope += 2.0 * self.gamma * term;
            term *= 2.0 * self.gamma * x / p as f64;
            value += term;
        }
        (value, slope)
    }
}

fn differences(given: &Given<'_>) -> Result<Evaluated, LossError> {
    let (s, t) = equal_pair(KIND, given, 0)?;
    let (mut loss, mut ds) = (0.0, s.zeros_like());
    let scale = 1.0 / (s.samples().max(2) - 1) as f64;
    for b in 1..s.samples() {
        for d in 0..s.len() {
            let of = |b: usize| s.sample(b)[d] - t.sample(b)[d];
            let (before, here) = (of(b - 1), of(b));
            loss += scale * before.abs() * here.abs();
            ds.sample_mut(b - 1)[d] += scale * sign(before) * here.abs();
            ds.sample_mut(b)[d] += scale * sign(here) * before.abs();
        }
    }
    Ok(Evaluated { loss, gradients: vec![ds] })
}

/// -1, 0 or 1.
fn sign(x: f64) -> f64 {
    if x == 0.0 { 0.0 } else { x.signum() }
}
