//! FitNets: the student's map is the teacher's (a hint).
//!
//! s, t (B, C, H, W) → L = 1/(B·C·H·W) Σ (s - t)²,  ds = 2 (s - t) / (B·C·H·W)
//!
//! Romero, Ballas, Kahou, Chassang, Gatta, Bengio, "FitNets: hints for thin deep nets", ICLR 2015, equation 3. The paper sums and
//! halves; the mean is what everybody runs (PyTorch's `MSELoss`; weight 100). The regressor, a 1×1 convolution, belongs to the
//! student's graph.

use serde::Deserialize;

use super::matched::{Matched, Resize, same_channels};
use crate::error::LossError;
use crate::given::{Evaluated, Given, Loss};

const KIND: &str = "fitnets";

/// Options of `fitnets`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Fitnets {
    /// Where heights or widths differ.
    pub resize: Resize,
}

impl Loss for Fitnets {
    fn evaluate(&mut self, given: &Given<'_>) -> Result<Evaluated, LossError> {
        let maps = Matched::new(KIND, given, 0, self.resize)?;
        same_channels(KIND, &maps.s, &maps.t)?;
        let mut ds = maps.s.zeros_like();
        let count = ds.values.len() as f64;
        let mut loss = 0.0;
        for ((d, s), t) in ds.values.iter_mut().zip(&maps.s.values).zip(&maps.t.values) {
            loss += (s - t) * (s - t);
            *d = 2.0 * (s - t) / count;
        }
        Ok(Evaluated { loss: loss / count, gradients: vec![maps.tap_gradient(ds)] })
    }
}
