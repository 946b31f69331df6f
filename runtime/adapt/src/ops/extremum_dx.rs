//! Gradient of the element-wise maximum or minimum of two tensors, for one of them.
//!
//! y = max(a, b), each broadcast to the other: da = dy where a > b, ½·dy where a = b, else 0 (as PyTorch's `maximum`).

use tract_core::internal::tract_ndarray::Zip;
use tract_core::internal::*;

use super::gradient_op;

/// Inputs dy, the operand whose gradient is asked for, the other operand; output of dy's shape, not yet summed over what
/// was broadcast.
#[derive(Debug, Clone, Hash, PartialEq, Eq)]
pub(crate) struct ExtremumDx {
    /// A maximum, else a minimum.
    pub is_max: bool,
}

gradient_op!(ExtremumDx, "ExtremumDx");

impl ExtremumDx {
    fn facts(&self, inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        Ok(tvec!(inputs[0].without_value()))
    }

    fn compute(&self, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        let (dy, own, other) = args_3!(inputs);
        let mut dx = dy.into_tensor();
        {
            let mut plain = dx.try_as_plain_ram_mut()?;
            let (own, other) = (own.to_plain_array_view::<f32>()?, other.to_plain_array_view::<f32>()?);
            Zip::from(plain.to_array_view_mut::<f32>()?).and_broadcast(own).and_broadcast(other).for_each(
                |d, &own, &other| {
                    let wins = if self.is_max { own > other } else { own < other };
                    *d *= if wins {
                        1.0
                    } else if own == other {
                        0.5
                    } else {
                        0.0
                    };
                },
            );
        }
        Ok(tvec!(dx.into_tvalue()))
    }
}
