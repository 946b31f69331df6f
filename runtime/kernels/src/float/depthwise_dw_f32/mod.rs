//! The gradient of a depthwise convolution's weights and biases, added to what was there.
//!
//! ```text
//! x (H, W, C)   dy (OH, OW, C)   sums (1 + KH * KW, C): db, then dw (KH, KW, C)
//! dw[ky,kx,c] += sum_{oy,ox} x[oy*sh+ky*dh-top, ox*sw+kx*dw-left, c] * dy[oy,ox,c]        db[c] += sum_{oy,ox} dy[oy,ox,c]
//! ```
//! Forward: `y[oy,ox,c] = b[c] + sum x[..] * w[ky,kx,c]` ([`depthwise_f32`](super::depthwise_f32)). Padding reads 0.
//!
//! Eight channels at a time, three by three taps together, so that one load of dy meets nine inputs; the sums of a band stay in
//! registers. An input without padding is read where it lies, any other in bands of rows copied to scratch with their padding.

mod taps;

pub(crate) use taps::{Sums, Taps, taps};

use super::conv_f32::{Bands, ConvShapeF32, Order};
use super::lanes::{LANES, Lanes};
use super::{FloatIsa, with_lanes};
use crate::image::{Image, Window};

/// What is asked.
pub struct DepthwiseDwF32<'a> {
    /// Shape of the convolution's input.
    pub shape: Image,
    /// Kernel, stride, dilation, padding; it fits the input.
    pub window: Window,
    /// Its input, H W C.
    pub x: &'a [f32],
    /// Gradient of its output, OH OW C.
    pub dy: &'a [f32],
}

/// The definition.
pub fn reference(d: &DepthwiseDwF32<'_>, sums: &mut [f32]) {
    let (Image { h, w, c: channels }, out, [kh, kw]) = (d.shape, convolution(d.shape, d.window).y(), d.window.kernel);
    for (n, dy) in d.dy.iter().enumerate() {
        let (c, ox, oy) = (n % channels, n / channels % out.w, n / channels / out.w);
        sums[c] += dy;
        for ky in 0..kh {
            for kx in 0..kw {
                if let (Some(iy), Some(ix)) = (d.window.input(0, oy, ky, h), d.window.input(1, ox, kx, w)) {
                    sums[(1 + ky * kw + kx) * channels + c] += d.x[(iy * w + ix) * channels + c] * dy;
                }
            }
        }
    }
}

/// The shape whose bands are those of this one.
fn convolution(x: Image, window: Window) -> ConvShapeF32 {
    ConvShapeF32 { x, order: Order::Interleaved, channels: x.c, window }
}

/// Values of scratch that [`run`] wants.
pub fn scratch_len(shape: Image, window: Window) -> usize {
    Bands::of(&convolution(shape, window)).copied_len
}

/// The fast version, on one path: adds to `sums`.
///
/// # Panics
/// When a length contradicts the shape, or `scratch` is shorter than [`scratch_len`].
pub fn run(isa: FloatIsa, d: &DepthwiseDwF32<'_>, sums: &mut [f32], scratch: &mut [f32]) {
    with_lanes!(isa, lanes => drive(lanes, d, sums, scratch))
}

fn drive<L: Lanes>(lanes: L, d: &DepthwiseDwF32<'_>, sums: &mut [f32], scratch: &mut [f32]) {
    let (shape, window) = (convolution(d.shape, d.window), &d.window);
    let (c, out, bands, [kh, kw]) = (d.shape.c, shape.y(), Bands::of(&shape), window.kernel);
    assert_eq!(d.x.len(), d.shape.len(), "x against {:?}", d.shape);
    assert_eq!(d.dy.len(), out.len(), "dy against {out:?}");
    assert_eq!(sums.len(), (1 + kh * kw) * c, "gradients");
    let scratch = &mut scratch[..bands.copied_len];
    if c < LANES {
        return reference(d, sums);
    }
    let x_steps = [window.stride[0] * bands.pitch, window.stride[1] * c];
    let tap_steps = [window.dilation[0] * bands.pitch, window.dilation[1] * c];
    for first in (0..bands.total).step_by(bands.per_band) {
        let here = bands.per_band.min(bands.total - first);
        let (lines, pixels) = if bands.flat { (1, here) } else { (here, out.w) };
        let x = bands.input(&shape, d.x, [first, here], scratch);
        let dy = &d.dy[first * if bands.flat { 1 } else { out.w } * c..][..lines * pixels * c];
        let dy_steps = [pixels * c, c];
        for block in (0..c).step_by(LANES) {
            // The last block repeats channels of the one before it; their sums are not added twice.
            let at = block.min(c - LANES);
            for ky in (0..kh).step_by(3) {
                for kx in (0..kw).step_by(3) {
                    let group = [3.min(kh - ky), 3.min(kw - kx)];
                    let x = &x[ky * tap_steps[0] + kx * tap_steps[1] + at..];
                    let farthest = |steps: [usize; 2]| (lines - 1) * steps[0] + (pixels - 1) * steps[1] + LANES;
                    let last_tap = (group[0] - 1) * tap_steps[0] + (group[1] - 1) * tap_steps[1];
                    assert!(farthest(x_steps) + last_tap <= x.len(), "x inside");
                    assert!(at + farthest(dy_steps) <= dy.len(), "dy inside");
                    let t = Taps {
                        x: x.as_ptr(),
                        x_steps,
                        taps: group,
                        tap_steps,
                        dy: dy[at..].as_ptr(),
                        dy_steps,
                        lines,
                        pixels,
                    };
                    // SAFETY: a path's lanes exist only where detection saw its instructions; the assertions are about the farthest
                    // values read; groups are 1 to 3 taps each way.
                    let all = unsafe { lanes.depthwise_dw(&t) };
                    let mut add = |row: usize, from: &[f32; LANES]| {
                        let to = &mut sums[row * c + block..][..LANES - (block - at)];
                        to.iter_mut().zip(&from[block - at..]).for_each(|(to, from)| *to += from);
                    };
                    for (n, from) in all[..group[0] * group[1]].iter().enumerate() {
                        add(1 + (ky + n / group[1]) * kw + kx + n % group[1], from);
                    }
                    if (ky, kx) == (0, 0) {
                        add(0, &all[group[0] * group[1]]);
                    }
                }
            }
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
            suite::depthwise_dw_f32(|d, sums, scratch| run(isa, d, sums, scratch));
        }
    }
}
