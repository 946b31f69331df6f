//! Gradients of many samples, summed: sum' = sum + g.

use tract_core::internal::*;

use super::{gradient_op, with_f32};

/// Inputs g, sum; output their sum, in place on the second when it is exclusive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Accumulate;

gradient_op!(Accumulate, "Accumulate");

impl Accumulate {
    fn facts(&self, inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        Ok(tvec!(inputs[1].without_value()))
    }

    fn compute(&self, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        let (g, sum) = args_2!(inputs);
        let mut sum = sum.into_tensor();
        with_f32(&g, |g| -> TractResult<()> {
            let mut view = sum.try_as_plain_ram_mut()?;
            view.as_slice_mut::<f32>()?.iter_mut().zip(g).for_each(|(s, g)| *s += g);
            Ok(())
        })??;
        Ok(tvec!(sum.into_tvalue()))
    }
}
