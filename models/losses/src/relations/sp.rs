//! Similarity-preserving distillation: samples that are alike for the teacher are alike for the student.
//!
//! F_s (B, D), F_t (B, E) → G = F Fᵀ (B, B), Ĝ = its rows over their lengths
//! L = 1/B² ‖Ĝ_s - Ĝ_t‖²_F
//!
//! Tung, Mori, "Similarity-preserving knowledge distillation", ICCV 2019, equations 2 to 4 (weight γ = 3000 in RepDistiller). Lengths are
//! Euclidean (`norm = "l2"`) in the paper and in RepDistiller; torchdistill 1.1.5 divides by sums of magnitudes (`"l1"`: its call passes 1
//! for the order of the norm, where an axis was meant). A row of zeros stays as it is and gets no gradient.

use serde::Deserialize;

use crate::batch::Batch;
use crate::error::LossError;
use crate::given::{Evaluated, Given, Loss};
use crate::relations::rows::{LEAST, dot, gram, gram_backward, normalise, pair};

/// What a row is divided by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Norm {
    /// √Σ x²
    #[default]
    L2,
    /// Σ |x|
    L1,
}

/// Options of `sp`.
#[derive(Debug, Clone, Copy, PartialEq, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Sp {
    /// What a row is divided by.
    pub norm: Norm,
}

impl Loss for Sp {
    fn evaluate(&mut self, given: &Given<'_>) -> Result<Evaluated, LossError> {
        let (s, t) = pair("sp", given, 0)?;
        let n = s.samples();
        let (g_s, g_t) = (Batch::new(&[n], gram(s)), Batch::new(&[n], gram(t)));
        let dg = |a: &Batch, b: &Batch| {
            let scale = 1.0 / (n * n) as f64;
            let differences = a.values.iter().zip(&b.values).map(|(a, b)| a - b);
            let loss = differences.clone().map(|d| scale * d * d).sum::<f64>();
            (loss, Batch::new(&[n], differences.map(|d| 2.0 * scale * d).collect()))
        };
        let (loss, dg) = match self.norm {
            Norm::L2 => {
                let a = normalise(&g_s);
                let (loss, dy) = dg(&a.rows, &normalise(&g_t).rows);
                (loss, a.backward(&dy))
            }
            Norm::L1 => {
                let a = over_magnitudes(&g_s);
                let (loss, dy) = dg(&a, &over_magnitudes(&g_t));
                (loss, over_magnitudes_backward(&g_s, &a, dy))
            }
        };
        Ok(Evaluated { loss, gradients: vec![gram_backward(s, &dg.values)] })
    }
}

/// Σ |x|
fn magnitude(row: &[f64]) -> f64 {
    row.iter().map(|v| v.abs()).sum()
}

/// y = x / Σ |x|
fn over_magnitudes(x: &Batch) -> Batch {
    let mut y = x.clone();
    for b in 0..x.samples() {
        let sum = magnitude(x.sample(b)).max(LEAST);
        y.sample_mut(b).iter_mut().for_each(|v| *v /= sum);
    }
    y
}

/// dx = (dy - sign(x) y·dy) / Σ |x|
fn over_magnitudes_backward(x: &Batch, y: &Batch, mut dy: Batch) -> Batch {
    for b in 0..x.samples() {
        let sum = magnitude(x.sample(b));
        let along = dot(y.sample(b), dy.sample(b));
        for (d, x) in dy.sample_mut(b).iter_mut().zip(x.sample(b)) {
            *d = if sum > LEAST { (*d - x.signum() * along) / sum } else { 0.0 };
        }
    }
    dy
}
