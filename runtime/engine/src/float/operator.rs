//! One convolution as an operator of tract's typed graph.
//!
//! x (N, H, W, I), or (N, I, H, W) where its order is planar; addend (N, OH, OW, O), if there is one → y (N, OH, OW, O)

use std::sync::{Arc, Mutex};

use limbeck_kernels::float::FloatIsa;
use limbeck_kernels::float::conv_f32::{self, ConvF32, ConvShapeF32};
use limbeck_kernels::float::depthwise_f32::{self, DepthwiseF32};
use tract_onnx::prelude::*;
use tract_onnx::tract_core::internal::*;

use super::Work;
use super::fuse::Chain;
use super::outputs::Outputs;

/// The operator.
#[derive(Debug, Clone)]
pub(super) struct FloatConv {
    isa: FloatIsa,
    batch: usize,
    shape: ConvShapeF32,
    weights: Arc<Weights>,
    bounds: [f32; 2],
    /// Scratch not in use; one a concurrent run.
    scratch: Arc<Mutex<Vec<Vec<f32>>>>,
    outputs: Outputs,
}

#[derive(Debug, PartialEq)]
enum Weights {
    /// Packed.
    Dense(Vec<f32>),
    /// KH KW C, and biases.
    Depthwise { w: Vec<f32>, bias: Vec<f32> },
}

impl FloatConv {
    /// Packs the weights; `shape` has the order that the input will have.
    pub(super) fn new(isa: FloatIsa, chain: &Chain, shape: ConvShapeF32, outputs: &Outputs) -> FloatConv {
        let weights = if chain.depthwise {
            let (taps, channels) = (shape.window.taps(), shape.channels);
            let w = (0..taps * channels).map(|n| chain.weights[n % channels * taps + n / channels]).collect();
            Weights::Depthwise { w, bias: chain.bias.clone() }
        } else {
            let mut packed = vec![0.0; conv_f32::packed_len(&shape)];
            conv_f32::pack(&shape, &chain.weights, &chain.bias, &mut packed);
            Weights::Dense(packed)
        };
        FloatConv {
            isa,
            batch: chain.batch,
            shape,
            weights: Arc::new(weights),
            bounds: chain.bounds,
            scratch: Arc::default(),
            outputs: outputs.clone(),
        }
    }

    /// What `inspect` and `profile` say of it.
    pub(super) fn work(&self) -> Work {
        let [kh, kw] = self.shape.window.kernel;
        let y = self.shape.y();
        let (kind, terms, packed) = match &*self.weights {
            Weights::Dense(packed) => ("conv", self.shape.x.c * self.shape.window.taps(), packed.len()),
            Weights::Depthwise { w, .. } => ("depthwise", self.shape.window.taps(), w.len()),
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

    fn sample(&self, x: &[f32], addend: Option<&[f32]>, y: &mut [f32], scratch: &mut [f32]) {
        let (shape, bounds) = (self.shape, self.bounds);
        match &*self.weights {
            Weights::Dense(packed) => {
                conv_f32::run(self.isa, &ConvF32 { shape, x, packed, addend, bounds }, y, scratch)
            }
            Weights::Depthwise { w, bias } => {
                let d = DepthwiseF32 { shape: shape.x, window: shape.window, x, w, bias, bounds };
                depthwise_f32::run(self.isa, &d, y)
            }
        }
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
            Weights::Dense(_) => "LimbeckConvF32".into(),
            Weights::Depthwise { .. } => "LimbeckDepthwiseF32".into(),
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

        let scratch_len = match *self.weights {
            Weights::Dense(_) => conv_f32::scratch_len(&self.shape),
            Weights::Depthwise { .. } => 0,
        };
        let spare = self.scratch.lock().ok().and_then(|mut s| s.pop());
        let mut scratch = spare.unwrap_or_else(|| vec![0.0; scratch_len]);
        let output = self.outputs.written(&self.y_shape(), |y| {
            for (n, (x, y)) in x.chunks_exact(x_len).zip(y.chunks_exact_mut(y_len)).enumerate() {
                self.sample(x, addend.map(|a| &a[n * y_len..][..y_len]), y, &mut scratch);
            }
            Ok(())
        })?;
        if let Ok(mut spare) = self.scratch.lock() {
            spare.push(scratch);
        }
        Ok(tvec!(output))
    }
}

impl TypedOp for FloatConv {
    as_op!();

    fn output_facts(&self, _inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        Ok(tvec!(f32::fact(self.y_shape())))
    }
}
