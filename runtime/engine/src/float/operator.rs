//! One convolution as an operator of tract's typed graph.
//!
//! x (N, H, W, I), or (N, I, H, W) where its order is planar; addend (N, OH, OW, O), if there is one → y (N, OH, OW, O)

use std::sync::Arc;

use limbeck_kernels::float::FloatIsa;
use limbeck_kernels::float::conv_f32::ConvShapeF32;
use tract_onnx::prelude::*;
use tract_onnx::tract_core::internal::*;

use super::Work;
use super::outputs::Outputs;
use super::packed::Packed;
use super::scratch::Scratch;

/// The operator.
#[derive(Debug, Clone)]
pub(super) struct FloatConv {
    isa: FloatIsa,
    batch: usize,
    shape: ConvShapeF32,
    weights: Arc<Packed>,
    bounds: [f32; 2],
    scratch: Scratch,
    outputs: Outputs,
}

impl FloatConv {
    /// `shape` has the order that the input will have.
    pub(super) fn new(
        isa: FloatIsa,
        (batch, shape): (usize, ConvShapeF32),
        weights: Packed,
        bounds: [f32; 2],
        outputs: &Outputs,
    ) -> FloatConv {
        let weights = Arc::new(weights);
        FloatConv { isa, batch, shape, weights, bounds, scratch: Scratch::default(), outputs: outputs.clone() }
    }

    /// What `inspect` and `profile` say of it.
    pub(super) fn work(&self) -> Work {
        let [kh, kw] = self.shape.window.kernel;
        let y = self.shape.y();
        let (kind, terms, packed) = match &*self.weights {
            Packed::Dense(packed) => ("conv", self.shape.x.c * self.shape.window.taps(), packed.len()),
            Packed::Depthwise { w, .. } => ("depthwise", self.shape.window.taps(), w.len()),
        };
        Work {
            class: format!("float {kind} {kh}x{kw}"),
            path: self.isa.name(),
            macs: (self.batch * y.len() * terms) as u64,
            packed_bytes: (packed * size_of::<f32>()) as u64,
        }
    }

    fn y_shape(&self) -> [usize; 4] {
        let y = self.shape.y();
        [self.batch, y.h, y.w, y.c]
    }
}

impl PartialEq for FloatConv {
    fn eq(&self, other: &FloatConv) -> bool {
        (self.batch, self.shape, self.bounds) == (other.batch, other.shape, other.bounds)
            && self.weights == other.weights
    }
}
impl Eq for FloatConv {}

impl Op for FloatConv {
    fn name(&self) -> StaticName {
        match *self.weights {
            Packed::Dense(_) => "LimbeckConvF32".into(),
            Packed::Depthwise { .. } => "LimbeckDepthwiseF32".into(),
        }
    }

    fn info(&self) -> TractResult<Vec<String>> {
        Ok(vec![format!("{:?}, bounds {:?}", self.shape, self.bounds)])
    }
    op_as_typed_op!();
}

impl EvalOp for FloatConv {
    op_out_of_plan!();

    fn eval(&self, _context: &EvalContext, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        let views = inputs.iter().map(|i| i.try_as_plain_ram()).collect::<TractResult<Vec<_>>>()?;
        let slices = views.iter().map(|v| v.as_slice::<f32>()).collect::<TractResult<Vec<_>>>()?;
        let [x, ref addend @ ..] = slices[..] else { bail!("a convolution without input") };
        let addend = addend.first();
        let (x_len, y_len) = (self.shape.x.len(), self.shape.y().len());
        ensure!(x.len() == self.batch * x_len, "{} values for {:?} x {}", x.len(), self.shape.x, self.batch);
        ensure!(addend.is_none_or(|a| a.len() == self.batch * y_len), "an addend of another size than the output");

        let output = self.scratch.lent(self.weights.scratch_len(&self.shape), |scratch| {
            self.outputs.written(&self.y_shape(), |y| {
                for (n, (x, y)) in x.chunks_exact(x_len).zip(y.chunks_exact_mut(y_len)).enumerate() {
                    let addend = addend.map(|a| &a[n * y_len..][..y_len]);
                    self.weights.run(self.isa, &self.shape, x, addend, self.bounds, y, scratch);
                }
                Ok(())
            })
        })?;
        Ok(tvec!(output))
    }
}

impl TypedOp for FloatConv {
    as_op!();

    fn output_facts(&self, _inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        Ok(tvec!(f32::fact(self.y_shape())))
    }
}
