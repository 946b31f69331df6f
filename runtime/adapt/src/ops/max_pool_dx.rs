//! Gradient of max pooling: the first maximum of each window, in scan order, takes all of dy.

use tract_core::internal::*;

use super::{Windows, gradient_op, with_f32};

/// Inputs x, dy; output dx of x's shape.
#[derive(Debug, Clone, Hash, PartialEq, Eq)]
pub(crate) struct MaxPoolDx {
    pub windows: Windows,
    pub channels: usize,
}

gradient_op!(MaxPoolDx, "MaxPoolDx");

impl MaxPoolDx {
    fn facts(&self, inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        Ok(tvec!(inputs[0].without_value()))
    }

    fn compute(&self, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        let (x, dy) = args_2!(inputs);
        let mut dx = vec![0f32; x.len()];
        with_f32(&x, |x| with_f32(&dy, |dy| self.scatter(x, dy, &mut dx)))??;
        Ok(tvec!(Tensor::from_shape(x.shape(), &dx)?.into_tvalue()))
    }

    fn scatter(&self, x: &[f32], dy: &[f32], dx: &mut [f32]) {
        let w = &self.windows;
        for n in 0..w.n {
            for c in 0..self.channels {
                let x_plane = n * w.x_step[0] + c * w.x_step[1];
                let y_plane = n * w.y_step[0] + c * w.y_step[1];
                for oy in 0..w.output[0] {
                    for ox in 0..w.output[1] {
                        if let Some(place) = self.first_maximum(&x[x_plane..], oy, ox) {
                            dx[x_plane + place] += dy[y_plane + oy * w.y_step[2] + ox * w.y_step[3]];
                        }
                    }
                }
            }
        }
    }

    /// Offset in the channel plane of the first maximum of the window of output (oy, ox).
    fn first_maximum(&self, plane: &[f32], oy: usize, ox: usize) -> Option<usize> {
        let w = &self.windows;
        let mut best: Option<(usize, f32)> = None;
        for ky in (0..w.kernel[0]).filter(|&ky| w.span(0, ky).contains(&oy)) {
            for kx in (0..w.kernel[1]).filter(|&kx| w.span(1, kx).contains(&ox)) {
                let place = w.source(0, ky, oy) * w.x_step[2] + w.source(1, kx, ox) * w.x_step[3];
                if best.is_none_or(|(_, value)| plane[place] > value) {
                    best = Some((place, plane[place]));
                }
            }
        }
        best.map(|(place, _)| place)
    }
}
