//! The sum over an image and the factor a channel as operators of tract's typed graph: tract's own are made for N C H W.

use limbeck_kernels::Image;
use limbeck_kernels::float::pixels_f32;
use tract_onnx::prelude::*;
use tract_onnx::tract_core::internal::*;

use super::outputs::Outputs;

/// x (N, H, W, C) → y (N, 1, 1, C)
#[derive(Debug, Clone)]
pub struct SumPixels {
    /// N H W C of the input.
    pub shape: [usize; 4],
    /// Where it puts its result.
    pub outputs: Outputs,
}

/// x (N, H, W, C), s (N, 1, 1, C) → y (N, H, W, C)
#[derive(Debug, Clone)]
pub struct ScaleChannels {
    /// N H W C of the input.
    pub shape: [usize; 4],
    /// Where it puts its result.
    pub outputs: Outputs,
}

/// Runs `f(x, s, y)` for each sample; `s` is empty where there is no second input.
fn by_sample(
    outputs: &Outputs,
    inputs: &[TValue],
    [batch, x_len, s_len, y_len]: [usize; 4],
    y_shape: [usize; 4],
    f: impl Fn(&[f32], &[f32], &mut [f32]),
) -> TractResult<TVec<TValue>> {
    let views = inputs.iter().map(|i| i.try_as_plain_ram()).collect::<TractResult<Vec<_>>>()?;
    let slices = views.iter().map(|v| v.as_slice::<f32>()).collect::<TractResult<Vec<_>>>()?;
    let x = slices.first().copied().unwrap_or_default();
    let s = slices.get(1).copied().unwrap_or_default();
    ensure!(x.len() == batch * x_len && s.len() == batch * s_len, "{} and {} values", x.len(), s.len());
    let output = outputs.written(&y_shape, |y| {
        for (n, y) in y.chunks_exact_mut(y_len).enumerate() {
            f(&x[n * x_len..][..x_len], &s[n * s_len..][..s_len], y);
        }
        Ok(())
    })?;
    Ok(tvec!(output))
}

impl PartialEq for SumPixels {
    fn eq(&self, other: &SumPixels) -> bool {
        self.shape == other.shape
    }
}
impl Eq for SumPixels {}

impl Op for SumPixels {
    fn name(&self) -> StaticName {
        "LimbeckSumPixelsF32".into()
    }
    op_as_typed_op!();
}

impl EvalOp for SumPixels {
    op_out_of_plan!();

    fn eval(&self, _context: &EvalContext, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        let [n, h, w, c] = self.shape;
        let shape = Image { h, w, c };
        by_sample(&self.outputs, &inputs, [n, shape.len(), 0, c], [n, 1, 1, c], |x, _, y| pixels_f32::sums(shape, x, y))
    }
}

impl TypedOp for SumPixels {
    as_op!();

    fn output_facts(&self, _inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        let [n, _, _, c] = self.shape;
        Ok(tvec!(f32::fact([n, 1, 1, c])))
    }
}

impl PartialEq for ScaleChannels {
    fn eq(&self, other: &ScaleChannels) -> bool {
        self.shape == other.shape
    }
}
impl Eq for ScaleChannels {}

impl Op for ScaleChannels {
    fn name(&self) -> StaticName {
        "LimbeckScaleChannelsF32".into()
    }
    op_as_typed_op!();
}

impl EvalOp for ScaleChannels {
    op_out_of_plan!();

    fn eval(&self, _context: &EvalContext, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        let [n, h, w, c] = self.shape;
        let len = Image { h, w, c }.len();
        by_sample(&self.outputs, &inputs, [n, len, c, len], self.shape, pixels_f32::scale)
    }
}

impl TypedOp for ScaleChannels {
    as_op!();

    fn output_facts(&self, _inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        Ok(tvec!(f32::fact(self.shape)))
    }
}
