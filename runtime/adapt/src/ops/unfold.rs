//! Patches of a convolution's input as a matrix, so that dW is one matrix product that tract lowers to its own kernels.
//!
//! x (1, C, H, W) in any layout → (G, C/G·kh·kw, oh·ow), zero where a tap falls outside.

use tract_core::internal::*;

use super::{Windows, gradient_op, with_f32};

#[derive(Debug, Clone, Hash, PartialEq, Eq)]
pub(crate) struct Unfold {
    pub windows: Windows,
    pub groups: usize,
    /// Input channels of one group.
    pub channels: usize,
}

gradient_op!(Unfold, "Unfold");

impl Unfold {
    fn shape(&self) -> [usize; 3] {
        let [kh, kw] = self.windows.kernel;
        [self.groups, self.channels * kh * kw, self.windows.pixels()]
    }

    fn facts(&self, _inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        Ok(tvec!(f32::fact(self.shape())))
    }

    fn compute(&self, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        ensure!(self.windows.n == 1, "gradients are taken one sample at a time");
        let mut patches = vec![0f32; self.shape().iter().product()];
        with_f32(&inputs[0], |x| self.fill(x, &mut patches))?;
        Ok(tvec!(Tensor::from_shape(&self.shape(), &patches)?.into_tvalue()))
    }

    fn fill(&self, x: &[f32], patches: &mut [f32]) {
        let w = &self.windows;
        let [_, x_c, x_h, x_w] = w.x_step;
        let (oh_ow, ow) = (w.pixels(), w.output[1]);
        let taps = w.kernel[0] * w.kernel[1];
        for (row_index, row) in patches.chunks_exact_mut(oh_ow).enumerate() {
            let (c, tap) = (row_index / taps, row_index % taps);
            let (ky, kx) = (tap / w.kernel[1], tap % w.kernel[1]);
            let columns = w.span(1, kx);
            if columns.is_empty() {
                continue;
            }
            let left = w.source(1, kx, columns.start);
            for oy in w.span(0, ky) {
                let from = c * x_c + w.source(0, ky, oy) * x_h + left * x_w;
                let to = &mut row[oy * ow..][columns.clone()];
                let step = w.stride[1] * x_w;
                if step == 1 {
                    to.copy_from_slice(&x[from..from + to.len()]);
                } else {
                    to.iter_mut().enumerate().for_each(|(j, t)| *t = x[from + j * step]);
                }
            }
        }
    }
}
