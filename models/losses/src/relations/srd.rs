//! Simple recipe distillation: the logarithm of a soft maximum of all differences.
//!
//! s, t (B, D) → x = batch-normalised s, y = batch-normalised t (no affine, biased variance, ε = 1e-5)
//! L = ln Σ_bd |x - y|^α,   dx = α |x - y|^(α-1) sign(x - y) / Σ
//!
//! Miles, Mikolajczyk, "Understanding the role of the projector in knowledge distillation", AAAI 2024, equation 8 and section 4; α = 4 as
//! its ImageNet recipe. Its total is 2 L plus `kd` at T = 1, two losses of a recipe. `batch_norm = false` compares the vectors as they are
//! (torchdistill's SRDLoss, whose models normalise first). Where both agree the sum is kept at 1e-30 and the gradient is zero.

use serde::Deserialize;

use crate::batch::Batch;
use crate::error::LossError;
use crate::given::{Evaluated, Given, Loss};
use crate::options::positive;
use crate::relations::rows::equal_pair;

/// Added to the variance, as batch normalisation does.
const EPS: f64 = 1e-5;
/// The smallest sum.
const LEAST_SUM: f64 = 1e-30;

/// Options of `srd`.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Srd {
    /// α
    #[serde(deserialize_with = "positive")]
    pub exponent: f64,
    /// Normalise every value over the batch first, on both sides.
    pub batch_norm: bool,
}

impl Default for Srd {
    fn default() -> Self {
        Srd { exponent: 4.0, batch_norm: true }
    }
}

impl Loss for Srd {
    fn evaluate(&mut self, given: &Given<'_>) -> Result<Evaluated, LossError> {
        let (s, t) = equal_pair("srd", given, 0)?;
        let identity = |f: &Batch| (f.clone(), vec![1.0; f.len()]);
        let ((x, sd), (y, _)) =
            if self.batch_norm { (batch_normalised(s), batch_normalised(t)) } else { (identity(s), identity(t)) };
        let differences = x.values.iter().zip(&y.values).map(|(x, y)| x - y);
        let sum: f64 = differences.clone().map(|d| d.abs().powf(self.exponent)).sum();
        let mut dx = x.zeros_like();
        if sum > LEAST_SUM {
            for (dx, d) in dx.values.iter_mut().zip(differences).filter(|&(_, d)| d != 0.0) {
                *dx = self.exponent * d.abs().powf(self.exponent - 1.0) * d.signum() / sum;
            }
        }
        let ds = if self.batch_norm { batch_normalised_backward(&x, &sd, &dx) } else { dx };
        Ok(Evaluated { loss: sum.max(LEAST_SUM).ln(), gradients: vec![ds] })
    }
}

/// (f - mean) / √(variance + ε) of every value over the batch, and that root.
fn batch_normalised(f: &Batch) -> (Batch, Vec<f64>) {
    let (n, mut x) = (f.samples(), f.clone());
    let roots = (0..f.len())
        .map(|d| {
            let mean = (0..n).map(|b| f.sample(b)[d]).sum::<f64>() / n as f64;
            let variance = (0..n).map(|b| (f.sample(b)[d] - mean).powi(2)).sum::<f64>() / n as f64;
            let root = (variance + EPS).sqrt();
            (0..n).for_each(|b| x.sample_mut(b)[d] = (f.sample(b)[d] - mean) / root);
            root
        })
        .collect();
    (x, roots)
}

/// df = (dx - mean dx - x mean(x dx)) / root
fn batch_normalised_backward(x: &Batch, roots: &[f64], dx: &Batch) -> Batch {
    let (n, mut df) = (x.samples(), x.zeros_like());
    for (d, root) in roots.iter().enumerate() {
        let mean = (0..n).map(|b| dx.sample(b)[d]).sum::<f64>() / n as f64;
        let along = (0..n).map(|b| dx.sample(b)[d] * x.sample(b)[d]).sum::<f64>() / n as f64;
        (0..n).for_each(|b| df.sample_mut(b)[d] = (dx.sample(b)[d] - mean - x.sample(b)[d] * along) / root);
    }
    df
}
