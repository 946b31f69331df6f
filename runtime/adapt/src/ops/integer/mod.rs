//! The operators of an integer plan, on f32 tensors that hold integers, with straight-through gradients.
//!
//! A value n stands for the stored integer n + zero point, so 0 is the real number 0 and zero padding is right. Forward is what
//! the plan computes, by the kernels' own functions; backward is that of the float operator, let through where rounding is and
//! stopped where the 8 bits are saturated (Bengio, Léonard, Courville, "Estimating or Propagating Gradients Through Stochastic
//! Neurons", 2013; Jacob et al., CVPR 2018). Gradients are in integer units too: dL/dn.
//!
//! To add one: a file with a struct that implements [`Form`], and its place in `quantized/region.rs`.

mod add;
mod average_pool;
mod mul;
mod quantize;
mod requantize;
mod resize;
mod table;
mod weight_quant;

use std::fmt::Debug;

use tract_core::internal::*;

pub(crate) use add::AddIntegers;
pub(crate) use average_pool::AverageIntegers;
pub(crate) use mul::MulIntegers;
pub(crate) use quantize::{Dequantize, Quantize};
pub(crate) use requantize::{Requantize, bias_integer};
pub(crate) use resize::ResizeNearest;
pub(crate) use table::TableLookup;
pub(crate) use weight_quant::{WeightQuant, WeightScale};

use super::{gradient_op, with_f32};

/// An operand: shape and elements, row-major. Activations are (1, C, H, W).
#[derive(Clone, Copy)]
pub(crate) struct Operand<'a> {
    pub shape: &'a [usize],
    pub data: &'a [f32],
}

/// An operator and its gradient.
pub(crate) trait Form: Debug + Send + Sync + 'static {
    /// How tract's messages name it.
    fn name(&self) -> &'static str;

    /// Shape of the result; by default that of the first operand.
    fn y_shape(&self, x: &[&[usize]]) -> TVec<usize> {
        x[0].into()
    }

    /// y from the operands.
    fn forward(&self, x: &[Operand<'_>], y: &mut [f32]);

    /// dL/dx of operand `slot`, which comes zeroed, from dL/dy.
    fn backward(&self, slot: usize, x: &[Operand<'_>], dy: &[f32], dx: &mut [f32]);

    /// The first operand whose gradient is the same as that of `slot`; `None` where `slot` gets none.
    fn gradient_of(&self, slot: usize) -> Option<usize> {
        Some(slot)
    }
}

/// y = form(operands).
#[derive(Debug, Clone)]
pub(crate) struct Forward(pub Arc<dyn Form>);

/// Inputs dy, then the operands; output dx of operand `slot`.
#[derive(Debug, Clone)]
pub(crate) struct Backward {
    pub form: Arc<dyn Form>,
    pub slot: usize,
}

impl PartialEq for Forward {
    fn eq(&self, other: &Forward) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}
impl Eq for Forward {}

impl PartialEq for Backward {
    fn eq(&self, other: &Backward) -> bool {
        Arc::ptr_eq(&self.form, &other.form) && self.slot == other.slot
    }
}
impl Eq for Backward {}

gradient_op!(Forward, "LimbeckInteger");
gradient_op!(Backward, "LimbeckIntegerDx");

impl Forward {
    fn facts(&self, inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        let shapes = inputs
            .iter()
            .map(|i| i.shape.as_concrete().with_context(|| format!("{}: symbolic shape {:?}", self.0.name(), i.shape)))
            .collect::<TractResult<Vec<_>>>()?;
        Ok(tvec!(f32::fact(self.0.y_shape(&shapes))))
    }

    fn compute(&self, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        let shapes: Vec<&[usize]> = inputs.iter().map(|i| i.shape()).collect();
        let shape = self.0.y_shape(&shapes);
        let mut y = vec![0f32; shape.iter().product()];
        with_operands(&inputs, |x| self.0.forward(x, &mut y))?;
        Ok(tvec!(Tensor::from_shape(&shape, &y)?.into_tvalue()))
    }
}

impl Backward {
    fn facts(&self, inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        Ok(tvec!(inputs[self.slot + 1].without_value()))
    }

    fn compute(&self, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        let shape = inputs[self.slot + 1].shape();
        let mut dx = vec![0f32; inputs[self.slot + 1].len()];
        with_f32(&inputs[0], |dy| with_operands(&inputs[1..], |x| self.form.backward(self.slot, x, dy, &mut dx)))??;
        Ok(tvec!(Tensor::from_shape(shape, &dx)?.into_tvalue()))
    }
}

fn with_operands<T>(inputs: &[TValue], f: impl FnOnce(&[Operand<'_>]) -> T) -> TractResult<T> {
    let views = inputs.iter().map(|i| i.try_as_plain_ram()).collect::<TractResult<Vec<_>>>()?;
    let operands = views
        .iter()
        .zip(inputs)
        .map(|(view, i)| Ok(Operand { shape: i.shape(), data: view.as_slice::<f32>()? }))
        .collect::<TractResult<Vec<_>>>()?;
    Ok(f(&operands))
}

/// The stored integers of values that are counted from the zero point.
fn stored(values: &[f32], zero: i8) -> Vec<i8> {
    values.iter().map(|&n| (n as i32 + zero as i32) as i8).collect()
}

/// The other way.
fn counted(stored: &[i8], zero: i8, y: &mut [f32]) {
    y.iter_mut().zip(stored).for_each(|(y, &q)| *y = (q as i32 - zero as i32) as f32);
}

/// Is a real number of steps within what 8 bits with this zero point hold?
fn holds(steps: f32, zero: i8) -> bool {
    (-128 - zero as i32) as f32 <= steps && steps <= (127 - zero as i32) as f32
}

#[cfg(test)]
/// y of `form`, and dx of every operand for dy = `dy`.
fn both(form: &dyn Form, x: &[Operand<'_>], dy: &[f32]) -> (Vec<f32>, Vec<Vec<f32>>) {
    let shapes: Vec<&[usize]> = x.iter().map(|x| x.shape).collect();
    let mut y = vec![0.0; form.y_shape(&shapes).iter().product()];
    form.forward(x, &mut y);
    let gradient = |slot: usize| {
        let mut dx = vec![0.0; x[slot].data.len()];
        if form.gradient_of(slot).is_some() {
            form.backward(slot, x, dy, &mut dx);
        }
        dx
    };
    (y, (0..x.len()).map(gradient).collect())
}
