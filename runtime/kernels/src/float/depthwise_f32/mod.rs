//! Depthwise convolution in f32: as many outputs as inputs, each from its own channel.
//!
//! ```text
//! x (H, W, C)   w (KH, KW, C)   bias (C)   y (OH, OW, C)
//! y[oy,ox,c] = min(max(bias[c] + sum_{ky,kx} x[oy*sh+ky*dh-top, ox*sw+kx*dw-left, c] * w[ky,kx,c], low), high)
//! ```
//! Taps in the padding are left out, so that nothing is copied. Vectors lie along the channels, hence no width of an image is odd.

mod row;

pub(crate) use row::{Row, row};

use super::lanes::{LANES, Lanes, clamp};
use super::{FloatIsa, with_lanes};
use crate::image::{Image, Window};

/// Most taps of a window; 7 x 7 is the largest in use.
pub const MOST_TAPS: usize = 64;

/// What is asked of a depthwise convolution.
pub struct DepthwiseF32<'a> {
    /// Shape of the input.
    pub shape: Image,
    /// Kernel, stride, dilation, padding; it fits the input and has at most [`MOST_TAPS`].
    pub window: Window,
    /// Input, H W C.
    pub x: &'a [f32],
    /// Weights, KH KW C.
    pub w: &'a [f32],
    /// Biases.
    pub bias: &'a [f32],
    /// Least and greatest output.
    pub bounds: [f32; 2],
}

impl DepthwiseF32<'_> {
    fn y(&self) -> Image {
        let Some([h, w]) = self.window.output(self.shape.h, self.shape.w) else {
            panic!("{:?} does not fit {:?}", self.window, self.shape)
        };
        Image { h, w, c: self.shape.c }
    }
}

/// The definition.
pub fn reference(d: &DepthwiseF32<'_>, y: &mut [f32]) {
    let (out, [kh, kw]) = (d.y(), d.window.kernel);
    for (n, y) in y.iter_mut().enumerate() {
        let (c, ox, oy) = (n % out.c, n / out.c % out.w, n / out.c / out.w);
        *y = one(d, c, [oy, ox], [0..kh, 0..kw]);
    }
}

/// One output, over some of the taps.
fn one(d: &DepthwiseF32<'_>, c: usize, [oy, ox]: [usize; 2], [rows, columns]: [core::ops::Range<usize>; 2]) -> f32 {
    let Image { h, w, c: channels } = d.shape;
    let mut sum = d.bias[c];
    for ky in rows {
        for kx in columns.clone() {
            let (Some(iy), Some(ix)) = (d.window.input(0, oy, ky, h), d.window.input(1, ox, kx, w)) else { continue };
            sum += d.x[(iy * w + ix) * channels + c] * d.w[(ky * d.window.kernel[1] + kx) * channels + c];
        }
    }
    clamp(sum, d.bounds)
}

/// The fast version, on one path.
///
/// # Panics
/// When a length contradicts the shape, or the window has too many taps.
pub fn run(isa: FloatIsa, d: &DepthwiseF32<'_>, y: &mut [f32]) {
    with_lanes!(isa, lanes => drive(lanes, d, y))
}

/// Taps of an axis that lie inside the image for output `out`: of a window that never leaves it, all.
fn inside(window: &Window, axis: usize, out: usize, size: usize) -> core::ops::Range<usize> {
    let (start, dilation) = (out * window.stride[axis], window.dilation[axis]);
    let first = window.pad[axis].saturating_sub(start).div_ceil(dilation).min(window.kernel[axis]);
    let end = (size + window.pad[axis]).saturating_sub(start).div_ceil(dilation).min(window.kernel[axis]);
    first..end.max(first)
}

/// Output columns whose windows do not touch a border.
fn whole(window: &Window, w: usize, out: usize) -> core::ops::Range<usize> {
    let (pad, stride, reach) = (window.pad[1], window.stride[1], (window.kernel[1] - 1) * window.dilation[1]);
    let end = (w + pad).checked_sub(reach + 1).map_or(0, |last| last / stride + 1);
    pad.div_ceil(stride)..end.min(out)
}

fn drive<L: Lanes>(lanes: L, d: &DepthwiseF32<'_>, y: &mut [f32]) {
    let (Image { h, w, c }, out, window) = (d.shape, d.y(), &d.window);
    let [kh, kw] = window.kernel;
    assert!(kh * kw <= MOST_TAPS, "{kh} x {kw} taps");
    assert_eq!(d.x.len(), d.shape.len(), "x against {:?}", d.shape);
    assert_eq!(d.w.len(), kh * kw * c, "weights");
    assert_eq!(d.bias.len(), c, "biases");
    assert_eq!(y.len(), out.len(), "y against {out:?}");
    if c < LANES {
        for (n, y) in y.iter_mut().enumerate() {
            *y = one(d, n % c, [n / c / out.w, n / c % out.w], [0..kh, 0..kw]);
        }
        return;
    }
    let whole = whole(window, w, out.w);
    for oy in 0..out.h {
        let rows = inside(window, 0, oy, h);
        let mut ox = 0;
        while ox < out.w {
            // Pixels that have the same taps, as all have that do not touch a border.
            let columns = inside(window, 1, ox, w);
            let pixels = if whole.contains(&ox) { whole.end - ox } else { 1 };
            let mut offsets = [(0, 0); MOST_TAPS];
            let mut taps = 0;
            // The first tap inside the image; none where a window lies wholly in the padding.
            let origin = [(0, oy, rows.start), (1, ox, columns.start)]
                .map(|(a, out, tap)| (out * window.stride[a] + tap * window.dilation[a]).saturating_sub(window.pad[a]));
            for ky in rows.clone() {
                for kx in columns.clone() {
                    let [dy, dx] = [(ky - rows.start) * window.dilation[0], (kx - columns.start) * window.dilation[1]];
                    offsets[taps] = ((dy * w + dx) * c, (ky * kw + kx) * c);
                    taps += 1;
                }
            }
            let x_step = window.stride[1] * c;
            let x = if taps == 0 { &[][..] } else { &d.x[(origin[0] * w + origin[1]) * c..] };
            if let Some((last, _)) = offsets[..taps].last() {
                assert!((pixels - 1) * x_step + last + c <= x.len(), "taps inside the image");
            }
            let y = &mut y[(oy * out.w + ox) * c..][..pixels * c];
            let row = Row {
                x: x.as_ptr(),
                x_step,
                pixels,
                taps: &offsets[..taps],
                w: d.w.as_ptr(),
                bias: d.bias.as_ptr(),
                channels: c,
                y: y.as_mut_ptr(),
                y_step: c,
                bounds: d.bounds,
            };
            // SAFETY: a path's lanes exist only where detection saw its instructions; the assertions above, of which the last is
            // about the farthest value read, since offsets ascend; `w` holds `c` values a tap, `bias` `c`, `y` `c` a pixel; `c >= 8`.
            unsafe { lanes.depthwise_row(&row) }
            ox += pixels;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::float::suite;

    #[test]
    fn every_path_agrees_with_the_reference() {
        for isa in FloatIsa::available() {
            suite::depthwise_f32(|d, y| run(isa, d, y));
        }
    }
}
