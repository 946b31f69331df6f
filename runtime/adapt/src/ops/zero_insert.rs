//! Gradient of `Downsample`: the kept elements go back to their places, zeros between them.

use tract_core::internal::tract_ndarray::{Axis, Slice};
use tract_core::internal::*;

use super::gradient_op;

/// dy → dx of length `len` along `axis`: dx[modulo + i·stride] = dy[i].
#[derive(Debug, Clone, Hash, PartialEq, Eq)]
pub(crate) struct ZeroInsert {
    pub axis: usize,
    pub stride: usize,
    pub modulo: usize,
    pub len: usize,
}

gradient_op!(ZeroInsert, "ZeroInsert");

impl ZeroInsert {
    fn facts(&self, inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        let mut fact = inputs[0].without_value();
        fact.shape.set(self.axis, self.len.to_dim());
        Ok(tvec!(fact))
    }

    fn compute(&self, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        let dy = args_1!(inputs);
        let mut shape: TVec<usize> = dy.shape().into();
        shape[self.axis] = self.len;
        let mut dx = Tensor::zero::<f32>(&shape)?;
        {
            let from = dy.to_plain_array_view::<f32>()?;
            let mut plain = dx.try_as_plain_ram_mut()?;
            let mut to = plain.to_array_view_mut::<f32>()?;
            let places = Slice::new(self.modulo as isize, None, self.stride as isize);
            to.slice_axis_mut(Axis(self.axis), places).assign(&from);
        }
        Ok(tvec!(dx.into_tvalue()))
    }
}
