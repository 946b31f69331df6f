//! Gradient of a clamp, gated on its *output*: dx = dy where low < y < high, else 0.
//!
//! y = min(max(x, low), high). Looking at the output keeps the forward matrix product fused with its activation.

use tract_core::internal::*;

use super::{gradient_op, with_f32};

/// Inputs dy, y; output dx, in place on dy when it is exclusive.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Gate {
    pub low: f32,
    pub high: f32,
}

impl Eq for Gate {}
gradient_op!(Gate, "Gate");

impl Gate {
    fn facts(&self, inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        Ok(tvec!(inputs[0].without_value()))
    }

    fn compute(&self, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        let (dy, y) = args_2!(inputs);
        let mut dx = dy.into_tensor();
        with_f32(&y, |y| -> TractResult<()> {
            let mut view = dx.try_as_plain_ram_mut()?;
            for (d, &y) in view.as_slice_mut::<f32>()?.iter_mut().zip(y) {
                *d = if self.low < y && y < self.high { *d } else { 0.0 };
            }
            Ok(())
        })??;
        Ok(tvec!(dx.into_tvalue()))
    }
}
