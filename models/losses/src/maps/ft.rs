//! Factor transfer: the student's translated factors are the teacher's paraphrased ones, up to length.
//!
//! s, t (B, C, H, W) → q = F / ‖F‖₂ over all values of a sample
//! p = 1: L = 1/(B·C·H·W) Σ |q_s - q_t|
//! p = 2: L = 1/B Σ_b ‖q_s - q_t‖₂
//!
//! Kim, Park, Kwak, "Paraphrasing complex network: network compression via factor transfer", NeurIPS 2018. The paper does
//! not say how norms are reduced; p = 1 means over values and p = 2 over samples, as in torchdistill's `FTLoss` (weight 200 with
//! p = 1). The tap is the output of the translator in the student's graph, the answers are those of the paraphraser, trained before.

use serde::Deserialize;

use super::matched::{Matched, Resize, same_channels};
use super::normalize::{normalize, normalize_backward};
use crate::error::LossError;
use crate::given::{Evaluated, Given, Loss};

const KIND: &str = "ft";

/// The norm of the difference.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(try_from = "u8")]
pub enum FtNorm {
    /// Mean of absolute values, p = 1.
    #[default]
    L1,
    /// Length, p = 2.
    L2,
}

impl TryFrom<u8> for FtNorm {
    type Error = String;

    fn try_from(p: u8) -> Result<Self, String> {
        match p {
            1 => Ok(FtNorm::L1),
            2 => Ok(FtNorm::L2),
            _ => Err(format!("p = {p}, and the norm is p = 1 or p = 2")),
        }
    }
}

/// Options of `ft`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Ft {
    /// Which norm.
    pub p: FtNorm,
    /// Where heights or widths differ.
    pub resize: Resize,
}

impl Loss for Ft {
    fn evaluate(&mut self, given: &Given<'_>) -> Result<Evaluated, LossError> {
        let maps = Matched::new(KIND, given, 0, self.resize)?;
        same_channels(KIND, &maps.s, &maps.t)?;
        let samples = maps.s.samples();
        let count = maps.s.values.len() as f64;
        let mut ds = maps.s.zeros_like();
        let mut loss = 0.0;
        for b in 0..samples {
            let (mut q_s, mut q_t) = (maps.s.sample(b).to_vec(), maps.t.sample(b).to_vec());
            let norm = normalize(&mut q_s);
            normalize(&mut q_t);
            let dq = ds.sample_mut(b);
            for ((d, s), t) in dq.iter_mut().zip(&q_s).zip(&q_t) {
                *d = s - t;
            }
            match self.p {
                FtNorm::L1 => {
                    loss += dq.iter().map(|d| d.abs()).sum::<f64>() / count;
                    dq.iter_mut().filter(|d| **d != 0.0).for_each(|d| *d = d.signum() / count);
                }
                FtNorm::L2 => {
                    let length = dq.iter().map(|d| d * d).sum::<f64>().sqrt();
                    loss += length / samples as f64;
                    if length > 0.0 {
                        dq.iter_mut().for_each(|d| *d /= length * samples as f64);
                    }
                }
            }
            normalize_backward(&q_s, norm, dq);
        }
        Ok(Evaluated { loss, gradients: vec![maps.tap_gradient(ds)] })
    }
}
