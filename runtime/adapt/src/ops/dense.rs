//! Gradients of an own fully connected layer, y = W x.
//!
//! dx = Wᵀ dy        dW = dy xᵀ        (the other way round where W is (I, O))

use limbeck_engine::WiredDense;
use limbeck_kernels::float::matrix_f32;
use tract_core::internal::*;

use super::{gradient_op, with_f32};

/// Inputs dy, W; output dx of the given shape.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DenseDx {
    pub dense: WiredDense,
    pub x_shape: TVec<usize>,
}

gradient_op!(DenseDx, "DenseDx");

impl DenseDx {
    fn facts(&self, _inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        Ok(tvec!(f32::fact(&*self.x_shape)))
    }

    fn compute(&self, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        let (dy, w) = args_2!(inputs);
        let mut dx = vec![0f32; self.dense.inputs];
        with_f32(&dy, |dy| {
            with_f32(&w, |w| match self.dense.inputs_first {
                false => matrix_f32::transposed(self.dense.isa, w, dy, &mut dx),
                true => matrix_f32::times(self.dense.isa, w, dy, &mut dx),
            })
        })??;
        Ok(tvec!(Tensor::from_shape(&self.x_shape, &dx)?.into_tvalue()))
    }
}

/// Inputs x, dy; output dW in the order of W. A third input of its shape is added to, in place when it is exclusive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DenseDw {
    pub dense: WiredDense,
}

gradient_op!(DenseDw, "DenseDw");

impl DenseDw {
    fn dims(&self) -> [usize; 2] {
        let WiredDense { inputs, outputs, inputs_first, .. } = self.dense;
        if inputs_first { [inputs, outputs] } else { [outputs, inputs] }
    }

    fn facts(&self, _inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        Ok(tvec!(f32::fact(self.dims())))
    }

    fn compute(&self, mut inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        let mut sums = match inputs.len() {
            3 => inputs.remove(2).into_tensor(),
            _ => Tensor::zero::<f32>(&self.dims())?,
        };
        let (x, dy) = args_2!(inputs);
        let mut view = sums.try_as_plain_ram_mut()?;
        let to = view.as_slice_mut::<f32>()?;
        with_f32(&x, |x| {
            with_f32(&dy, |dy| match self.dense.inputs_first {
                false => matrix_f32::outer(dy, x, to),
                true => matrix_f32::outer(x, dy, to),
            })
        })??;
        Ok(tvec!(sums.into_tvalue()))
    }
}
