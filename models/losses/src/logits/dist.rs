//! DIST: the student's probabilities correlate with the teacher's, within each sample and within each class.
//!
//! p = σ(s/τ), q = σ(t/τ) (B, C), ρ = Pearson correlation
//! L = τ² [β (1 - mean_b ρ(p_b,:, q_b,:)) + γ (1 - mean_c ρ(p_:,c, q_:,c))]
//! with centred x, y:  dρ/dx = (y/‖y‖ - ρ x/‖x‖) / ‖x‖
//!
//! Huang et al., "Knowledge distillation from a stronger teacher", NeurIPS 2022, equations 6 to 9; defaults of its code. A row or column
//! that does not vary (its centred length is below 1e-8, as in torch's cosine_similarity) has ρ = 0 and no gradient.

use serde::Deserialize;

use crate::error::LossError;
use crate::given::{Evaluated, Given, Loss};
use crate::logits::soft::{dense_logits, log_softmax, softmax_backward, tempered};
use crate::options::{not_negative, positive};

/// Options of `dist`.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Dist {
    /// τ
    #[serde(deserialize_with = "positive")]
    pub temperature: f64,
    /// Weight of the correlation within samples.
    #[serde(deserialize_with = "not_negative")]
    pub beta: f64,
    /// Weight of the correlation within classes.
    #[serde(deserialize_with = "not_negative")]
    pub gamma: f64,
}

impl Default for Dist {
    fn default() -> Self {
        Dist { temperature: 1.0, beta: 1.0, gamma: 1.0 }
    }
}

impl Loss for Dist {
    fn evaluate(&mut self, given: &Given<'_>) -> Result<Evaluated, LossError> {
        let (s, t) = dense_logits("dist", given)?;
        let (rows, classes) = (s.samples(), s.len());
        let soft =
            |z: &[f64]| -> Vec<f64> { log_softmax(&tempered(z, self.temperature)).iter().map(|l| l.exp()).collect() };
        let p: Vec<Vec<f64>> = (0..rows).map(|b| soft(s.sample(b))).collect();
        let q: Vec<Vec<f64>> = (0..rows).map(|b| soft(t.sample(b))).collect();
        let of_samples = self.temperature * self.temperature * self.beta;
        let of_classes = self.temperature * self.temperature * self.gamma;
        let mut loss = of_samples + of_classes;
        let mut dp = vec![vec![0.0; classes]; rows];
        for b in 0..rows {
            let (rho, d) = correlation(&p[b], &q[b]);
            loss -= of_samples / rows as f64 * rho;
            dp[b].iter_mut().zip(&d).for_each(|(dp, d)| *dp -= of_samples / rows as f64 * d);
        }
        for c in 0..classes {
            let column = |m: &[Vec<f64>]| m.iter().map(|row| row[c]).collect::<Vec<f64>>();
            let (rho, d) = correlation(&column(&p), &column(&q));
            loss -= of_classes / classes as f64 * rho;
            dp.iter_mut().zip(&d).for_each(|(dp, d)| dp[c] -= of_classes / classes as f64 * d);
        }
        let mut ds = s.zeros_like();
        for b in 0..rows {
            let dz = softmax_backward(&p[b], &dp[b]);
            ds.sample_mut(b).iter_mut().zip(&dz).for_each(|(d, dz)| *d = dz / self.temperature);
        }
        Ok(Evaluated { loss, gradients: vec![ds] })
    }
}

/// ρ(x, y) and dρ/dx.
fn correlation(x: &[f64], y: &[f64]) -> (f64, Vec<f64>) {
    const LEAST: f64 = 1e-8;
    let unit = |v: &[f64]| -> (Vec<f64>, f64) {
        let mean = v.iter().sum::<f64>() / v.len() as f64;
        let norm = v.iter().map(|v| (v - mean).powi(2)).sum::<f64>().sqrt();
        (v.iter().map(|v| (v - mean) / norm.max(LEAST)).collect(), norm)
    };
    let ((x, norm), (y, norm_y)) = (unit(x), unit(y));
    if norm < LEAST || norm_y < LEAST {
        return (0.0, vec![0.0; x.len()]);
    }
    let rho: f64 = x.iter().zip(&y).map(|(x, y)| x * y).sum();
    (rho, x.iter().zip(&y).map(|(x, y)| (y - rho * x) / norm).collect())
}
