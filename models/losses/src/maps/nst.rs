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
use super::vector::{add, dot};
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
            let (by_own, by_both) = (4.0 / (c_s * c_s * samples as f64), -4.0 / (c_s * c_t * samples as f64));
            let own = kernels_within(&q_s, pixels, |i, j, product| {
                add(&mut dq[i * pixels..][..pixels], by_own * product, &q_s[j * pixels..]);
                if i != j {
                    add(&mut dq[j * pixels..][..pixels], by_own * product, &q_s[i * pixels..]);
                }
            });
            let mut both = 0.0;
            for (q_s, dq) in q_s.chunks_exact(pixels).zip(dq.chunks_exact_mut(pixels)) {
                for q_t in q_t.chunks_exact(pixels) {
                    let product = dot(q_s, q_t);
                    both += product * product;
                    add(dq, by_both * product, q_t);
                }
            }
            let theirs = kernels_within(&q_t, pixels, |_, _, _| {});
            let discrepancy = own / (c_s * c_s) + theirs / (c_t * c_t) - 2.0 * both / (c_s * c_t);
            loss += discrepancy.max(0.0) / samples as f64;
            for ((dq, q), &norm) in dq.chunks_exact_mut(pixels).zip(q_s.chunks_exact(pixels)).zip(&norms) {
                normalize_backward(q, norm, dq);
            }
        }
        Ok(Evaluated { loss, gradients: vec![maps.tap_gradient(ds)] })
    }
}

/// ΣΣ k(q_i, q_j) over all pairs of channels; `visit` gets i, j ≥ i and the product of both.
fn kernels_within(q: &[f64], pixels: usize, mut visit: impl FnMut(usize, usize, f64)) -> f64 {
    let channel = |i: usize| &q[i * pixels..][..pixels];
    let channels = q.len() / pixels;
    let mut sum = 0.0;
    for i in 0..channels {
        for j in i..channels {
            let product = dot(channel(i), channel(j));
            sum += if i == j { 1.0 } else { 2.0 } * product * product;
            visit(i, j, product);
        }
    }
    sum
}
