//! A convolution and a fully connected layer whose weights are inputs of the operator: what training runs and differentiates.

use limbeck_kernels::float::conv_f32::{self, ConvShapeF32};
use limbeck_kernels::float::{FloatIsa, matrix_f32};
use tract_onnx::prelude::*;
use tract_onnx::tract_core::internal::*;

use super::outputs::Outputs;
use super::packed::{Kept, Packed};

/// x (1, H, W, I), or (1, I, H, W) where its order is planar; w (O, I, KH, KW), or (C, 1, KH, KW) where depthwise; b (O); addend
/// (1, OH, OW, O), if there is one → y (1, OH, OW, O)
#[derive(Debug, Clone)]
pub struct WiredConv {
    /// The path.
    pub isa: FloatIsa,
    /// Its shape.
    pub shape: ConvShapeF32,
    /// Each output channel reads its own input channel only.
    pub depthwise: bool,
    /// Least and greatest output.
    pub bounds: [f32; 2],
    /// Packed weights, once for all runs with the same.
    packed: Kept<Packed>,
    outputs: Outputs,
}

/// x (.., I), w (O, I) or (I, O) → y of a given shape, O values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WiredDense {
    /// The path.
    pub isa: FloatIsa,
    /// Inputs, I.
    pub inputs: usize,
    /// Outputs, O.
    pub outputs: usize,
    /// The weights are (I, O).
    pub inputs_first: bool,
    /// Shape of y.
    pub y_shape: Vec<usize>,
}

impl WiredConv {
    pub(super) fn new(
        isa: FloatIsa,
        shape: ConvShapeF32,
        depthwise: bool,
        bounds: [f32; 2],
        outputs: &Outputs,
    ) -> WiredConv {
        let (packed, outputs) = (Kept::default(), outputs.clone());
        WiredConv { isa, shape, depthwise, bounds, packed, outputs }
    }

    /// Where it and its gradients put their results.
    pub fn outputs(&self) -> &Outputs {
        &self.outputs
    }

    /// Bytes of the packed weights that it holds from run to run, and of its scratch.
    pub fn held_bytes(&self) -> [usize; 2] {
        let dense = [conv_f32::packed_len(&self.shape), conv_f32::scratch_len(&self.shape)];
        let depthwise = [(1 + self.shape.window.taps()) * self.shape.channels, 0];
        (if self.depthwise { depthwise } else { dense }).map(|values| values * size_of::<f32>())
    }

    /// Shape of its output.
    pub fn y_shape(&self) -> [usize; 4] {
        let y = self.shape.y();
        [1, y.h, y.w, y.c]
    }
}

impl PartialEq for WiredConv {
    fn eq(&self, other: &WiredConv) -> bool {
        (self.isa, self.shape, self.depthwise, self.bounds) == (other.isa, other.shape, other.depthwise, other.bounds)
    }
}
impl Eq for WiredConv {}

impl Op for WiredConv {
    fn name(&self) -> StaticName {
        if self.depthwise { "LimbeckWiredDepthwiseF32".into() } else { "LimbeckWiredConvF32".into() }
    }

    fn info(&self) -> TractResult<Vec<String>> {
        Ok(vec![format!("{:?}, bounds {:?}", self.shape, self.bounds)])
    }
    op_as_typed_op!();
}

impl EvalOp for WiredConv {
    op_out_of_plan!();

    fn eval(&self, _context: &EvalContext, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        let views = inputs.iter().map(|i| i.try_as_plain_ram()).collect::<TractResult<Vec<_>>>()?;
        let slices = views.iter().map(|v| v.as_slice::<f32>()).collect::<TractResult<Vec<_>>>()?;
        let [x, w, b, ref addend @ ..] = slices[..] else { bail!("a convolution with {} inputs", slices.len()) };
        let addend = addend.first().copied();
        let shape = &self.shape;
        let depth = if self.depthwise { shape.window.taps() } else { shape.depth() };
        ensure!(x.len() == shape.x.len(), "{} values for {:?}", x.len(), shape.x);
        ensure!(
            w.len() == shape.channels * depth && b.len() == shape.channels,
            "{} weights, {} biases",
            w.len(),
            b.len()
        );
        ensure!(addend.is_none_or(|a| a.len() == shape.y().len()), "an addend of another size than the output");
        let packed = self.packed.made_of(&[&inputs[1], &inputs[2]], || Ok(Packed::new(shape, self.depthwise, w, b)))?;
        let y = self.outputs.workspace().lent(packed.scratch_len(shape), |scratch| {
            self.outputs.written(&self.y_shape(), |y| {
                packed.run(self.isa, shape, x, addend, self.bounds, y, scratch);
                Ok(())
            })
        })?;
        Ok(tvec!(y))
    }
}

impl TypedOp for WiredConv {
    as_op!();

    fn output_facts(&self, _inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        Ok(tvec!(f32::fact(self.y_shape())))
    }

    fn cost(&self, _inputs: &[&TypedFact]) -> TractResult<TVec<(Cost, TDim)>> {
        let depth = if self.depthwise { self.shape.window.taps() } else { self.shape.depth() };
        Ok(tvec!((Cost::FMA(f32::datum_type()), (self.shape.y().len() * depth).to_dim())))
    }
}

impl Op for WiredDense {
    fn name(&self) -> StaticName {
        "LimbeckWiredDenseF32".into()
    }
    op_as_typed_op!();
}

impl EvalOp for WiredDense {
    op_out_of_plan!();

    fn eval(&self, _context: &EvalContext, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        let (x, w) = args_2!(inputs);
        let (x, w) = (x.try_as_plain_ram()?, w.try_as_plain_ram()?);
        let (x, w) = (x.as_slice::<f32>()?, w.as_slice::<f32>()?);
        ensure!(x.len() == self.inputs && w.len() == self.inputs * self.outputs, "{} x {} values", x.len(), w.len());
        let mut y = vec![0.0; self.outputs];
        match self.inputs_first {
            false => matrix_f32::times(self.isa, w, x, &mut y),
            true => matrix_f32::transposed(self.isa, w, x, &mut y),
        }
        Ok(tvec!(Tensor::from_shape(&self.y_shape, &y)?.into_tvalue()))
    }
}

impl TypedOp for WiredDense {
    as_op!();

    fn output_facts(&self, _inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        Ok(tvec!(f32::fact(&self.y_shape)))
    }

    fn cost(&self, _inputs: &[&TypedFact]) -> TractResult<TVec<(Cost, TDim)>> {
        Ok(tvec!((Cost::FMA(f32::datum_type()), (self.inputs * self.outputs).to_dim())))
    }
}

/// The node as a fully connected layer, and its operands x and w: one sample against a matrix.
pub(super) fn dense(model: &TypedModel, node: &TypedNode, isa: FloatIsa) -> Option<(WiredDense, [OutletId; 2])> {
    use tract_onnx::tract_core::ops::einsum::EinSum;
    let op = node.op_as::<EinSum>().filter(|op| op.q_params.is_none() && op.operating_dt == f32::datum_type())?;
    let [x, w] = node.inputs[..] else { return None };
    let shape = |outlet: OutletId| {
        let fact = model.outlet_fact(outlet).ok()?;
        (fact.datum_type == f32::datum_type()).then_some(fact.shape.as_concrete()?)
    };
    let (x_shape, w_shape) = (shape(x)?, shape(w)?);
    let y_shape = node.outputs.first()?.fact.shape.as_concrete()?;
    let (inputs, outputs) = op.axes.to_strs();
    let (x_axes, w_axes, y_axes) = (inputs.first()?, inputs.get(1)?, outputs.first()?);
    let [a, b] = w_axes.chars().collect::<Vec<_>>()[..] else { return None };
    // Which of the two axes of w is summed; the other is the only one of the output that is no 1.
    let inputs_first = match (x_axes.contains(a), x_axes.contains(b)) {
        (true, false) => true,
        (false, true) => false,
        _ => return None,
    };
    let (summed, made) = if inputs_first { (a, b) } else { (b, a) };
    let [inputs, outputs] = if inputs_first { [w_shape[0], w_shape[1]] } else { [w_shape[1], w_shape[0]] };
    let alone = |axes: &str, shape: &[usize], axis: char| axes.chars().zip(shape).all(|(c, &d)| c == axis || d == 1);
    let fits = alone(x_axes, x_shape, summed)
        && alone(y_axes, y_shape, made)
        && !y_axes.contains(summed)
        && y_axes.contains(made)
        && x_shape.iter().product::<usize>() == inputs
        && y_shape.iter().product::<usize>() == outputs;
    let dense = WiredDense { isa, inputs, outputs, inputs_first, y_shape: y_shape.to_vec() };
    fits.then_some((dense, [x, w]))
}
