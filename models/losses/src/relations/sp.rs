//! Similarity-preserving distillation: samples that are alike for the teacher are alike for the student.
//!
//! F_s (B, D), F_t (B, E) → G = F Fᵀ (B, B), Ĝ = its rows over their lengths
//! L = 1/B² ‖Ĝ_s - Ĝ_t‖²_F
//!
//! Tung, Mori, "Similarity-preserving knowledge distillation", ICCV 2019, equations 2 to 4 (weight γ = 3000 in RepDistiller).

use serde::Deserialize;

use crate::batch::Batch;
use crate::error::LossError;
use crate::given::{Evaluated, Given, Loss};
use crate::relations::rows::{gram, gram_backward, normalise, pair};

/// Options of `sp`: none.
#[derive(Debug, Clone, Copy, PartialEq, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Sp {}

impl Loss for Sp {
    fn evaluate(&mut self, given: &Given<'_>) -> Result<Evaluated, LossError> {
        let (s, t) = pair("sp", given, 0)?;
        let n = s.samples();
        let similar = |f: &Batch| normalise(&Batch::new(&[n], gram(f)));
        let (g_s, g_t) = (similar(s), similar(t));
        let scale = 1.0 / (n * n) as f64;
        let (mut loss, mut dg) = (0.0, g_s.rows.zeros_like());
        for ((d, a), b) in dg.values.iter_mut().zip(&g_s.rows.values).zip(&g_t.rows.values) {
            loss += scale * (a - b) * (a - b);
            *d = 2.0 * scale * (a - b);
        }
        Ok(Evaluated { loss, gradients: vec![gram_backward(s, &g_s.backward(&dg).values)] })
    }
}
