//! Convolution in f32, groups 1.
//!
//! ```text
//! x (H, W, I) or (I, H, W)   w (O, I, KH, KW), packed   bias (O)   addend, y (OH, OW, O)
//! y[oy,ox,o] = min(max(bias[o] + sum_{ky,kx,i} x[oy*sh+ky*dh-top, ox*sw+kx*dw-left, i] * w[o,i,ky,kx] + addend[oy,ox,o], low), high)
//! ```
//! Padding reads 0. `low` -inf and `high` inf are no bounds, 0 and inf a ReLU, 0 and 6 a ReLU6.
//!
//! Packed: panels of 16 output channels (the last of 8, if so many are left): their biases, then for each (ky, kx, i) their weights.
//! Channels beyond O have bias and weights 0. An input without padding is read where it lies, any other in bands of rows that are
//! copied to scratch with their padding.

mod drive;
mod line;

pub(super) use drive::{Bands, runs};
pub(crate) use line::{Line, line};

use super::lanes::clamp;
use super::{FloatIsa, with_lanes};
use crate::image::{Image, Window};

/// What a convolution's memory depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConvShapeF32 {
    /// Shape of the input.
    pub x: Image,
    /// How the input lies in memory.
    pub order: Order,
    /// Output channels, O.
    pub channels: usize,
    /// Kernel, stride, dilation, padding; it fits the input.
    pub window: Window,
}

/// How an image lies in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Order {
    /// H W C: the channels of a pixel side by side.
    Interleaved,
    /// C H W: one plane a channel. Always copied.
    Planar,
}

/// What is asked of a convolution.
pub struct ConvF32<'a> {
    /// Its shape.
    pub shape: ConvShapeF32,
    /// Input, `shape.x.len()` values.
    pub x: &'a [f32],
    /// From [`pack`].
    pub packed: &'a [f32],
    /// Added before the bounds, as many as outputs.
    pub addend: Option<&'a [f32]>,
    /// Least and greatest output.
    pub bounds: [f32; 2],
}

impl ConvShapeF32 {
    /// Shape of the output.
    ///
    /// # Panics
    /// When the window does not fit the input.
    pub fn y(&self) -> Image {
        let Some([h, w]) = self.window.output(self.x.h, self.x.w) else {
            panic!("{:?} does not fit {:?}", self.window, self.x)
        };
        Image { h, w, c: self.channels }
    }

    /// Inputs that one output sums.
    pub fn depth(&self) -> usize {
        self.window.taps() * self.x.c
    }
}

/// Channels of a whole panel.
const PANEL: usize = 16;

/// First channel and width of each panel.
pub(super) fn panels(channels: usize) -> impl Iterator<Item = (usize, usize)> {
    (0..channels)
        .step_by(PANEL)
        .map(move |first| (first, if channels - first <= PANEL / 2 { PANEL / 2 } else { PANEL }))
}

/// Values of packed weights.
pub fn packed_len(shape: &ConvShapeF32) -> usize {
    panels(shape.channels).map(|(_, width)| width * (1 + shape.depth())).sum()
}

/// Packs weights (O, I, KH, KW) and biases (O) into `packed_len` values.
///
/// # Panics
/// When a length contradicts the shape.
pub fn pack(shape: &ConvShapeF32, weights: &[f32], bias: &[f32], to: &mut [f32]) {
    assert_eq!(weights.len(), shape.channels * shape.depth(), "weights");
    assert_eq!(bias.len(), shape.channels, "biases");
    assert_eq!(to.len(), packed_len(shape), "packed weights");
    let (inputs, taps, depth) = (shape.x.c, shape.window.taps(), shape.depth());
    let mut rest = to;
    for (first, width) in panels(shape.channels) {
        let (panel, others) = rest.split_at_mut(width * (1 + depth));
        rest = others;
        let lanes = width.min(shape.channels - first);
        if lanes < width {
            panel.fill(0.0);
        }
        let (head, body) = panel.split_at_mut(width);
        head[..lanes].copy_from_slice(&bias[first..][..lanes]);
        let rows = &weights[first * depth..][..lanes * depth];
        for (tap, body) in body.chunks_exact_mut(inputs * width).enumerate() {
            for (i, to) in body.chunks_exact_mut(width).enumerate() {
                let column = rows[i * taps + tap..].iter().step_by(depth);
                to.iter_mut().zip(column).for_each(|(to, &w)| *to = w);
            }
        }
    }
}

/// The definition, from weights that are not packed.
pub fn reference(c: &ConvF32<'_>, weights: &[f32], bias: &[f32], y: &mut [f32]) {
    let ConvShapeF32 { x, order, window, .. } = c.shape;
    let out = c.shape.y();
    let [kh, kw] = window.kernel;
    for (n, y) in y.iter_mut().enumerate() {
        let (o, ox, oy) = (n % out.c, n / out.c % out.w, n / out.c / out.w);
        let mut sum = bias[o];
        for ky in 0..kh {
            for kx in 0..kw {
                let (Some(iy), Some(ix)) = (window.input(0, oy, ky, x.h), window.input(1, ox, kx, x.w)) else {
                    continue;
                };
                for i in 0..x.c {
                    let at = match order {
                        Order::Interleaved => (iy * x.w + ix) * x.c + i,
                        Order::Planar => (i * x.h + iy) * x.w + ix,
                    };
                    sum += c.x[at] * weights[((o * x.c + i) * kh + ky) * kw + kx];
                }
            }
        }
        *y = clamp(sum + c.addend.map_or(0.0, |a| a[n]), c.bounds);
    }
}

/// Values of scratch that [`run`] wants.
pub fn scratch_len(shape: &ConvShapeF32) -> usize {
    Bands::of(shape).copied_len
}

/// The fast version, on one path.
///
/// # Panics
/// When a length contradicts the shape, or `scratch` is shorter than [`scratch_len`].
pub fn run(isa: FloatIsa, c: &ConvF32<'_>, y: &mut [f32], scratch: &mut [f32]) {
    with_lanes!(isa, lanes => drive::run(lanes, c, y, scratch))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::float::suite;

    #[test]
    fn every_path_agrees_with_the_reference() {
        for isa in FloatIsa::available() {
            suite::conv_f32(|c, y, scratch| run(isa, c, y, scratch));
        }
    }

    #[test]
    fn what_is_no_number_stays_none_whatever_the_bounds() {
        let window = Window { kernel: [1, 1], stride: [1, 1], dilation: [1, 1], pad: [0; 4] };
        let shape = ConvShapeF32 { x: Image { h: 1, w: 3, c: 1 }, order: Order::Interleaved, channels: 9, window };
        let mut packed = [0.0; 32];
        let packed = &mut packed[..packed_len(&shape)];
        pack(&shape, &[1.0; 9], &[0.0; 9], packed);
        for (isa, bounds) in
            FloatIsa::available().flat_map(|isa| [(isa, [0.0, 6.0]), (isa, [f32::NEG_INFINITY, f32::INFINITY])])
        {
            let mut y = [0.0; 27];
            run(isa, &ConvF32 { shape, x: &[1.0, f32::NAN, 2.0], packed, addend: None, bounds }, &mut y, &mut []);
            assert!(y[..9].iter().all(|&y| y == 1.0) && y[18..].iter().all(|&y| y == 2.0), "{isa:?}");
            assert!(y[9..18].iter().all(|y| y.is_nan()), "{isa:?}");
        }
    }
}
