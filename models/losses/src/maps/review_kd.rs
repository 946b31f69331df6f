//! Knowledge review: the hierarchical context loss between fused student maps and the teacher's maps.
//!
//! n taps s and n keys t (B, C, H, W)
//! levels: the maps as they are, then average-pooled to k x k for each k of `sizes` that is less than H and W
//! L = Σ_taps [ Σ_i ½^i MSE(level i of s, level i of t) ] / Σ_i ½^i,   i = 0, 1, ... over the levels there are
//!
//! Chen, Liu, Zhao, Jia, "Distilling knowledge via knowledge review", CVPR 2021; sizes {4, 2, 1} and the weights are
//! those of the authors' `hcl` and torchdistill's `HierarchicalContextLoss` (weight 1 to 8). The attention-based fusion that makes
//! the taps belongs to the student's graph.

use std::num::NonZeroUsize;

use serde::Deserialize;

use super::matched::{Matched, Resize, same_channels};
use super::pool::{average, average_backward, chw};
use crate::batch::Batch;
use crate::error::LossError;
use crate::given::{Evaluated, Given, Loss};

const KIND: &str = "review-kd";

/// Options of `review-kd`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ReviewKd {
    /// n, student taps and as many teacher keys; the authors review the four stages of a ResNet.
    pub taps: NonZeroUsize,
    /// Sizes that maps are pooled to, in the order of their weights.
    pub sizes: Vec<NonZeroUsize>,
    /// Where heights or widths of a tap and its key differ.
    pub resize: Resize,
}

impl Default for ReviewKd {
    fn default() -> Self {
        let size = |n: usize| NonZeroUsize::MIN.saturating_add(n - 1);
        ReviewKd { taps: size(4), sizes: vec![size(4), size(2), size(1)], resize: Resize::Pool }
    }
}

impl Loss for ReviewKd {
    fn evaluate(&mut self, given: &Given<'_>) -> Result<Evaluated, LossError> {
        let taps = self.taps.get();
        if given.student.len() != taps || given.teacher.len() != taps {
            let why = format!(
                "taps = {taps}, and it is given {} student taps and {} teacher keys; set taps to the number of both",
                given.student.len(),
                given.teacher.len()
            );
            return Err(LossError::Options { kind: KIND, why });
        }
        let mut loss = 0.0;
        let mut gradients = Vec::with_capacity(taps);
        for i in 0..taps {
            let maps = Matched::new(KIND, given, i, self.resize)?;
            same_channels(KIND, &maps.s, &maps.t)?;
            let (value, ds) = self.hierarchical_context(&maps.s, &maps.t);
            loss += value;
            gradients.push(maps.tap_gradient(ds));
        }
        Ok(Evaluated { loss, gradients })
    }
}

impl ReviewKd {
    /// Loss and gradient of one pair of maps of one shape.
    fn hierarchical_context(&self, s: &Batch, t: &Batch) -> (f64, Batch) {
        let [_, h, w] = chw(s);
        let sizes: Vec<usize> = self.sizes.iter().map(|k| k.get()).filter(|&k| k < h.min(w)).collect();
        let total: f64 = std::iter::successors(Some(1.0), |weight| Some(weight / 2.0)).take(1 + sizes.len()).sum();
        let (mut loss, mut ds) = mean_square(s, t, 1.0 / total);
        let mut weight = 1.0 / total;
        for k in sizes {
            weight /= 2.0;
            let (value, dy) = mean_square(&average(s, k, k), &average(t, k, k), weight);
            loss += value;
            let back = average_backward(&dy, h, w);
            ds.values.iter_mut().zip(&back.values).for_each(|(d, back)| *d += back);
        }
        (loss, ds)
    }
}

/// weight · mean (s - t)² and its gradient.
fn mean_square(s: &Batch, t: &Batch, weight: f64) -> (f64, Batch) {
    let by = weight / s.values.len() as f64;
    let mut ds = s.zeros_like();
    let mut loss = 0.0;
    for ((d, s), t) in ds.values.iter_mut().zip(&s.values).zip(&t.values) {
        loss += (s - t) * (s - t) * by;
        *d = 2.0 * (s - t) * by;
    }
    (loss, ds)
}
