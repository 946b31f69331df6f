//! dW of a depthwise convolution (one input channel per output channel).
//!
//! dw[c, ky, kx] = Σ_{oy, ox} dy[c, oy, ox] · x[c, oy·s + ky·d - p, ox·s + kx·d - p]
//!
//! As an `EinSum` it runs 30-130 times slower (reference/training.md §5): no matrix product hides in it.

use tract_core::internal::*;

use super::{Windows, gradient_op, with_f32};

/// Inputs x, dy; output dw (C, 1, kh, kw).
#[derive(Debug, Clone, Hash, PartialEq, Eq)]
pub(crate) struct DepthwiseDw {
    pub windows: Windows,
    pub channels: usize,
}

gradient_op!(DepthwiseDw, "DepthwiseDw");

impl DepthwiseDw {
    fn shape(&self) -> [usize; 4] {
        [self.channels, 1, self.windows.kernel[0], self.windows.kernel[1]]
    }

    fn facts(&self, _inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        Ok(tvec!(f32::fact(self.shape())))
    }

    fn compute(&self, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        ensure!(self.windows.n == 1, "gradients are taken one sample at a time");
        let mut dw = vec![0f32; self.shape().iter().product()];
        with_f32(&inputs[0], |x| {
            with_f32(&inputs[1], |dy| {
                if self.windows.channels_last {
                    self.channels_last(x, dy, &mut dw)
                } else {
                    self.channels_first(x, dy, &mut dw)
                }
            })
        })??;
        Ok(tvec!(Tensor::from_shape(&self.shape(), &dw)?.into_tvalue()))
    }

    /// A row dot product per tap and output row.
    fn channels_first(&self, x: &[f32], dy: &[f32], dw: &mut [f32]) {
        let w = &self.windows;
        let taps = w.kernel[0] * w.kernel[1];
        for (index, dw) in dw.iter_mut().enumerate() {
            let (c, tap) = (index / taps, index % taps);
            let (ky, kx) = (tap / w.kernel[1], tap % w.kernel[1]);
            let columns = w.span(1, kx);
            if columns.is_empty() {
                continue;
            }
            let left = w.source(1, kx, columns.start);
            let mut sum = 0f32;
            for oy in w.span(0, ky) {
                let x_row = &x[c * w.x_step[1] + w.source(0, ky, oy) * w.x_step[2] + left..];
                let dy_row = &dy[c * w.y_step[1] + oy * w.y_step[2]..][columns.clone()];
                sum += dy_row.iter().zip(x_row.iter().step_by(w.stride[1])).map(|(dy, x)| dy * x).sum::<f32>();
            }
            *dw = sum;
        }
    }

    /// All channels of a pixel at once, one accumulator row per tap.
    fn channels_last(&self, x: &[f32], dy: &[f32], dw: &mut [f32]) {
        let w = &self.windows;
        let (taps, channels) = (w.kernel[0] * w.kernel[1], self.channels);
        let mut sums = vec![0f32; channels];
        for tap in 0..taps {
            let (ky, kx) = (tap / w.kernel[1], tap % w.kernel[1]);
            sums.fill(0.0);
            for oy in w.span(0, ky) {
                for ox in w.span(1, kx) {
                    let x_pixel =
                        &x[w.source(0, ky, oy) * w.x_step[2] + w.source(1, kx, ox) * w.x_step[3]..][..channels];
                    let dy_pixel = &dy[oy * w.y_step[2] + ox * w.y_step[3]..][..channels];
                    sums.iter_mut().zip(x_pixel.iter().zip(dy_pixel)).for_each(|(s, (x, dy))| *s += x * dy);
                }
            }
            sums.iter().enumerate().for_each(|(c, s)| dw[c * taps + tap] = *s);
        }
    }
}
