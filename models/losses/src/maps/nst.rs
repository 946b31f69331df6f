//! Neuron selectivity transfer: where channels look, as a distribution over maps.
//!
//! F (B, C, H, W) → q_c = F_c / ‖F_c‖₂ over the pixels, k(x, y) = (x·y)²
//! L = 1/B Σ_b [ 1/C_s² ΣΣ k(q_s, q_s') + 1/C_t² ΣΣ k(q_t, q_t') - 2/(C_s·C_t) ΣΣ k(q_s, q_t) ]
//!   = 1/B Σ_b ‖M_s - M_t‖²_F,  M = 1/C Σ_c q_c q_cᵀ (H·W x H·W)
//!
//! Huang, Wang, "Like what you like: knowledge distill via neuron selectivity transfer", arXiv 1707.01219, with the polynomial
//! kernel d = 2, c = 0; RepDistiller's reduction (weight 50). Student and teacher need not have the same channels. The first line costs
//! C²·H·W, the second C·(H·W)²; the first is computed, so equal maps give 0 but for rounding, and a negative rounding is 0.

use serde::Deserialize;

use super::matched::{Matched, Resize};
use super::normalize::{normalize, normalize_backward};
use crate::error::LossError;
use crate::given::{Evaluated, Given, Loss};

const KIND: &str = "nst";

/// Options of `nst`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Nst {
    /// Where heights or widths differ.
    pub resize: Resize,
}

impl Loss for Nst {
    fn evaluate(&mut self, given: &Given<'_>) -> Result<Evaluated, LossError> {
        let maps = Matched::new(KIND, given, 0, self.resize)?;
        let samples = maps.s.samples();
        let (c_s, pixels) = maps.s.channels_and_pixels();
        let (c_s, c_t) = (c_s as f64, maps.t.dims[0] as f64);
        let mut ds = maps.s.zeros_like();
        let mut loss = 0.0;
        for b in 0..samples {
            let (mut q_s, mut q_t) = (maps.s.sample(b).to_vec(), maps.t.sample(b).to_vec());
            let norms: Vec<f64> = q_s.chunks_exact_mut(pixels).map(normalize).collect();
            for q in q_t.chunks_exact_mut(pixels) {
                normalize(q);
            }
            let dq = ds.sample_mut(b);
            // d k(x, y) / dx = 2 (x·y) y, and each pair of the student's is met twice
            let own = kernels(&q_s, &q_s, pixels, |x, dot, q| {
                add(&mut dq[x * pixels..][..pixels], 4.0 * dot / (c_s * c_s * samples as f64), q);
            });
            let both = kernels(&q_s, &q_t, pixels, |x, dot, q| {
                add(&mut dq[x * pixels..][..pixels], -4.0 * dot / (c_s * c_t * samples as f64), q);
            });
            let theirs = kernels(&q_t, &q_t, pixels, |_, _, _| {});
            let discrepancy = own / (c_s * c_s) + theirs / (c_t * c_t) - 2.0 * both / (c_s * c_t);
            loss += discrepancy.max(0.0) / samples as f64;
            for ((dq, q), &norm) in dq.chunks_exact_mut(pixels).zip(q_s.chunks_exact(pixels)).zip(&norms) {
                normalize_backward(q, norm, dq);
            }
        }
        Ok(Evaluated { loss, gradients: vec![maps.tap_gradient(ds)] })
    }
}

/// ΣΣ k(x, y) over the channels of both; `visit` gets the number of x, x·y, and y.
fn kernels(x: &[f64], y: &[f64], pixels: usize, mut visit: impl FnMut(usize, f64, &[f64])) -> f64 {
    let mut sum = 0.0;
    for (i, x) in x.chunks_exact(pixels).enumerate() {
        for y in y.chunks_exact(pixels) {
            let dot: f64 = x.iter().zip(y).map(|(x, y)| x * y).sum();
            sum += dot * dot;
            visit(i, dot, y);
        }
    }
    sum
}

/// to += by · from
fn add(to: &mut [f64], by: f64, from: &[f64]) {
    to.iter_mut().zip(from).for_each(|(to, from)| *to += by * from);
}
