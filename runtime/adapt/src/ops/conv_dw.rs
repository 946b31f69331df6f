//! Gradients of the weights and biases of an own convolution: as packed sums, which many samples are added to, and unpacked.
//!
//! dw[o, i, ky, kx] = Σ_{oy, ox} dy[oy, ox, o] · x[oy·s + ky·d − p, ox·s + kx·d − p, i]        db[o] = Σ_{oy, ox} dy[oy, ox, o]

use limbeck_engine::{Outputs, WiredConv};
use limbeck_kernels::float::FloatIsa;
use limbeck_kernels::float::conv_dw_f32::{self, ConvDwF32};
use limbeck_kernels::float::conv_f32::{self, ConvShapeF32};
use limbeck_kernels::float::depthwise_dw_f32::{self, DepthwiseDwF32};
use tract_core::internal::*;

use super::{gradient_op, with_f32};

/// Inputs x, dy; output the packed sums. A third input of their shape is added to, in place when it is exclusive.
#[derive(Debug, Clone)]
pub(crate) struct ConvDw {
    isa: FloatIsa,
    shape: ConvShapeF32,
    depthwise: bool,
    outputs: Outputs,
}

impl PartialEq for ConvDw {
    fn eq(&self, other: &ConvDw) -> bool {
        (self.isa, self.shape, self.depthwise) == (other.isa, other.shape, other.depthwise)
    }
}
impl Eq for ConvDw {}
gradient_op!(ConvDw, "ConvDw");

impl ConvDw {
    pub fn of(conv: &WiredConv) -> ConvDw {
        let WiredConv { isa, shape, depthwise, .. } = *conv;
        ConvDw { isa, shape, depthwise, outputs: conv.outputs().clone() }
    }

    fn len(&self) -> usize {
        match self.depthwise {
            true => (1 + self.shape.window.taps()) * self.shape.channels,
            false => conv_f32::packed_len(&self.shape),
        }
    }

    fn scratch_len(&self) -> usize {
        match self.depthwise {
            true => depthwise_dw_f32::scratch_len(self.shape.x, self.shape.window),
            false => conv_dw_f32::scratch_len(&self.shape),
        }
    }

    /// Bytes of its scratch.
    pub fn scratch_bytes(&self) -> usize {
        self.scratch_len() * size_of::<f32>()
    }

    fn facts(&self, _inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        Ok(tvec!(f32::fact([self.len()])))
    }

    fn compute(&self, mut inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        let mut sums = match inputs.len() {
            3 => inputs.remove(2).into_tensor(),
            _ => Tensor::zero::<f32>(&[self.len()])?,
        };
        let [x, dy] = &inputs[..] else { bail!("a gradient of {} inputs", inputs.len()) };
        let (shape, window) = (self.shape, self.shape.window);
        let scratch_len = self.scratch_len();
        let mut view = sums.try_as_plain_ram_mut()?;
        let to = view.as_slice_mut::<f32>()?;
        with_f32(x, |x| {
            with_f32(dy, |dy| {
                self.outputs.workspace().lent(scratch_len, |scratch| match self.depthwise {
                    true => {
                        let d = DepthwiseDwF32 { shape: shape.x, window, x, dy };
                        depthwise_dw_f32::run(self.isa, &d, to, scratch)
                    }
                    false => conv_dw_f32::run(self.isa, &ConvDwF32 { shape, x, dy }, to, scratch),
                })
            })
        })??;
        Ok(tvec!(sums.into_tvalue()))
    }
}

/// Which gradient is read from packed sums.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    /// dw (O, I, KH, KW), or (C, 1, KH, KW) where depthwise.
    Weights,
    /// db (O).
    Biases,
}

/// Input packed sums; output one of the gradients in them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct UnpackDw {
    shape: ConvShapeF32,
    depthwise: bool,
    part: Part,
}

gradient_op!(UnpackDw, "UnpackDw");

impl UnpackDw {
    pub fn of(conv: &WiredConv, part: Part) -> UnpackDw {
        UnpackDw { shape: conv.shape, depthwise: conv.depthwise, part }
    }

    fn dims(&self) -> TVec<usize> {
        let ([kh, kw], inputs) = (self.shape.window.kernel, if self.depthwise { 1 } else { self.shape.x.c });
        match self.part {
            Part::Weights => tvec!(self.shape.channels, inputs, kh, kw),
            Part::Biases => tvec!(self.shape.channels),
        }
    }

    fn facts(&self, _inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        Ok(tvec!(f32::fact(&*self.dims())))
    }

    fn compute(&self, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        let sums = args_1!(inputs);
        let gradient = with_f32(&sums, |sums| self.read(sums, 1.0))?;
        Ok(tvec!(Tensor::from_shape(&self.dims(), &gradient)?.into_tvalue()))
    }

    /// The gradient in packed sums, times `scale`.
    pub fn read(&self, sums: &[f32], scale: f32) -> Vec<f32> {
        let (channels, taps) = (self.shape.channels, self.shape.window.taps());
        let mut gradient = vec![0.0; self.dims().iter().product()];
        match (self.depthwise, self.part) {
            (true, Part::Biases) => gradient.copy_from_slice(&sums[..channels]),
            (true, Part::Weights) => {
                for (tap, row) in sums[channels..].chunks_exact(channels).enumerate() {
                    gradient[tap..].iter_mut().step_by(taps).zip(row).for_each(|(to, &from)| *to = from);
                }
            }
            (false, Part::Biases) => conv_dw_f32::unpack_biases(&self.shape, sums, &mut gradient),
            (false, Part::Weights) => conv_dw_f32::unpack_weights(&self.shape, sums, &mut gradient),
        }
        gradient.iter_mut().for_each(|g| *g *= scale);
        gradient
    }
}
