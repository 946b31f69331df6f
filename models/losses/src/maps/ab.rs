//! Activation boundaries: each neuron of the student is on the teacher's side of zero, by a margin.
//!
//! s (B, C, H, W) before its activation, t = 1 where the teacher's neuron is active (> 0), else 0
//! L = 1/B Σ (s + m)² [t = 0, s > -m] + (s - m)² [t = 1, s ≤ m]
//!
//! Heo, Lee, Yun, Choi, "Knowledge transfer via distillation of activation boundaries formed by hidden neurons", AAAI 2019; the
//! reduction is that of the authors and torchdistill's `AltActTransferLoss` ("mean": by samples only). The authors
//! weigh it 3/1000 and a layer further from the output by half: both are `weight` of a recipe. The student's connector, a 1×1
//! convolution, belongs to its graph.
//!
//! The teacher is a map of signs, one bit a value in the answers file; anything > 0 is active, so a map of features does as well.

use std::borrow::Cow;

use serde::Deserialize;

use super::matched::{Resize, same_channels, student, teacher};
use super::pool::{average, average_backward, chw};
use crate::batch::Batch;
use crate::error::LossError;
use crate::given::{Evaluated, Given, Loss};

const KIND: &str = "ab";

/// Options of `ab`.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Ab {
    /// m
    pub margin: f64,
    /// Where heights or widths differ. Only the student's map can be pooled: signs have no mean.
    pub resize: Resize,
}

impl Default for Ab {
    fn default() -> Self {
        Ab { margin: 1.0, resize: Resize::Pool }
    }
}

impl Loss for Ab {
    fn evaluate(&mut self, given: &Given<'_>) -> Result<Evaluated, LossError> {
        if !(self.margin >= 0.0 && self.margin.is_finite()) {
            let why = format!("margin = {}, and a margin is 0 or more; the paper has 1", self.margin);
            return Err(LossError::Options { kind: KIND, why });
        }
        let (s, t) = (student(KIND, given, 0)?, teacher(KIND, given, 0)?);
        same_channels(KIND, &s, &t)?;
        let ([_, s_h, s_w], [_, t_h, t_w]) = (chw(&s), chw(&t));
        let pooled = match self.resize {
            _ if (s_h, s_w) == (t_h, t_w) => s,
            Resize::Pool if s_h.is_multiple_of(t_h) && s_w.is_multiple_of(t_w) => Cow::Owned(average(&s, t_h, t_w)),
            _ => {
                let why = format!(
                    "the student's map is {s_h} x {s_w} and the teacher's signs {t_h} x {t_w}; only a student's map of whole multiples \
                     is pooled (resize = \"pool\"), else put connector = \"resize\" at the student's tap"
                );
                return Err(LossError::Shapes { kind: KIND, why });
            }
        };
        let samples = pooled.samples() as f64;
        let mut ds = pooled.zeros_like();
        let mut loss = 0.0;
        for ((d, &s), &t) in ds.values.iter_mut().zip(&pooled.values).zip(&t.values) {
            let short = match t > 0.0 {
                false if s > -self.margin => s + self.margin,
                true if s <= self.margin => s - self.margin,
                _ => continue,
            };
            loss += short * short / samples;
            *d = 2.0 * short / samples;
        }
        let ds = if ds.dims[1..] == [s_h, s_w] { ds } else { average_backward(&ds, s_h, s_w) };
        Ok(Evaluated { loss, gradients: vec![Batch { dims: given.student[0].dims.clone(), values: ds.values }] })
    }
}
