//! Gradient of sum and average pooling: every input of a window gets dy over the window's divisor.

use tract_core::internal::*;

use super::{Windows, gradient_op, with_f32};

/// Input dy; output dx.
#[derive(Debug, Clone, Hash, PartialEq, Eq)]
pub(crate) struct SumPoolDx {
    pub windows: Windows,
    pub channels: usize,
    /// Shape of x, and so of dx.
    pub shape: TVec<usize>,
    /// Divide by the number of window elements (an average), else a plain sum.
    pub normalize: bool,
    /// Padding counts as elements of the window.
    pub count_include_pad: bool,
}

gradient_op!(SumPoolDx, "SumPoolDx");

impl SumPoolDx {
    fn facts(&self, _inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        Ok(tvec!(f32::fact(&self.shape)))
    }

    fn compute(&self, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        let dy = args_1!(inputs);
        let mut dx = vec![0f32; self.shape.iter().product()];
        with_f32(&dy, |dy| self.spread(dy, &mut dx))?;
        Ok(tvec!(Tensor::from_shape(&self.shape, &dx)?.into_tvalue()))
    }

    fn spread(&self, dy: &[f32], dx: &mut [f32]) {
        let w = &self.windows;
        for oy in 0..w.output[0] {
            for ox in 0..w.output[1] {
                let rows: Vec<_> = (0..w.kernel[0]).filter(|&k| w.span(0, k).contains(&oy)).collect();
                let columns: Vec<_> = (0..w.kernel[1]).filter(|&k| w.span(1, k).contains(&ox)).collect();
                let divisor = match (self.normalize, self.count_include_pad) {
                    (false, _) => 1,
                    (true, true) => w.kernel[0] * w.kernel[1],
                    (true, false) => rows.len() * columns.len(),
                };
                for plane in 0..w.n * self.channels {
                    let (n, c) = (plane / self.channels, plane % self.channels);
                    let y_at = n * w.y_step[0] + c * w.y_step[1] + oy * w.y_step[2] + ox * w.y_step[3];
                    let share = dy[y_at] / divisor as f32;
                    for &ky in &rows {
                        for &kx in &columns {
                            let place = w.source(0, ky, oy) * w.x_step[2] + w.source(1, kx, ox) * w.x_step[3];
                            dx[n * w.x_step[0] + c * w.x_step[1] + place] += share;
                        }
                    }
                }
            }
        }
    }
}
