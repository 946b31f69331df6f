//! Gradient of the input of an own convolution.
//!
//! dx[iy, ix, i] = addend[iy, ix, i] + Σ dy[oy, ox, o] · w[o, i, ky, kx] over all (oy, ox, ky, kx, o) that read (iy, ix)

use limbeck_engine::{Kept, Outputs, WiredConv, taps_first};
use limbeck_kernels::float::FloatIsa;
use limbeck_kernels::float::conv_dx_f32::{self, ConvDxF32};
use limbeck_kernels::float::conv_f32::ConvShapeF32;
use limbeck_kernels::float::depthwise_dx_f32::{self, DepthwiseDxF32};
use tract_core::internal::*;

use super::{gradient_op, with_f32};

/// Inputs dy (1, OH, OW, O), w (O, I, KH, KW), or (C, 1, KH, KW) where depthwise; output dx (1, H, W, I).
///
/// A third input of dx's shape is added; not where depthwise.
#[derive(Debug, Clone)]
pub(crate) struct ConvDx {
    isa: FloatIsa,
    shape: ConvShapeF32,
    pub depthwise: bool,
    /// Packed weights, once for all runs with the same.
    packed: Kept<Vec<f32>>,
    outputs: Outputs,
}

impl PartialEq for ConvDx {
    fn eq(&self, other: &ConvDx) -> bool {
        (self.isa, self.shape, self.depthwise) == (other.isa, other.shape, other.depthwise)
    }
}
impl Eq for ConvDx {}
gradient_op!(ConvDx, "ConvDx");

impl ConvDx {
    pub fn of(conv: &WiredConv) -> ConvDx {
        let WiredConv { isa, shape, depthwise, .. } = *conv;
        let outputs = conv.outputs().clone();
        ConvDx { isa, shape, depthwise, packed: Kept::default(), outputs }
    }

    fn facts(&self, _inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        let x = self.shape.x;
        Ok(tvec!(f32::fact([1, x.h, x.w, x.c])))
    }

    /// Bytes of the packed weights that it holds from run to run, and of its scratch.
    pub fn held_bytes(&self) -> [usize; 2] {
        let dense = [conv_dx_f32::packed_len(&self.shape), conv_dx_f32::scratch_len(&self.shape)];
        let depthwise = [self.shape.window.taps() * self.shape.channels, 0];
        (if self.depthwise { depthwise } else { dense }).map(|values| values * size_of::<f32>())
    }

    fn pack(&self, w: &[f32]) -> Vec<f32> {
        if self.depthwise {
            return taps_first(w, self.shape.channels);
        }
        let mut packed = vec![0.0; conv_dx_f32::packed_len(&self.shape)];
        conv_dx_f32::pack(&self.shape, w, &mut packed);
        packed
    }

    fn compute(&self, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        let [dy, w, addend @ ..] = &inputs[..] else { bail!("a gradient of {} inputs", inputs.len()) };
        let packed = self.packed.made_of(&[w], || with_f32(w, |w| self.pack(w)))?;
        let addend = addend.first().map(|a| a.try_as_plain_ram()).transpose()?;
        let addend = addend.as_ref().map(|a| a.as_slice::<f32>()).transpose()?;
        let (shape, x) = (self.shape, self.shape.x);
        let scratch_len = if self.depthwise { 0 } else { conv_dx_f32::scratch_len(&shape) };
        let dx = with_f32(dy, |dy| {
            self.outputs.workspace().lent(scratch_len, |scratch| {
                self.outputs.written(&[1, x.h, x.w, x.c], |dx| {
                    if self.depthwise {
                        let d = DepthwiseDxF32 { shape: x, window: shape.window, dy, w: &packed };
                        depthwise_dx_f32::run(self.isa, &d, dx);
                    } else {
                        let c = ConvDxF32 { shape, dy, packed: &packed, addend };
                        conv_dx_f32::run(self.isa, &c, dx, scratch);
                    }
                    Ok(())
                })
            })
        })??;
        Ok(tvec!(dx))
    }
}
