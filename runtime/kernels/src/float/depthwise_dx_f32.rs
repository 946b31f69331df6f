//! The gradient of a depthwise convolution's input.
//!
//! ```text
//! dy (OH, OW, C)   w (KH, KW, C)   dx (H, W, C)
//! dx[iy,ix,c] = sum_{oy*sh+ky*dh-top = iy, ox*sw+kx*dw-left = ix} dy[oy,ox,c] * w[ky,kx,c]
//! ```
//! Forward: `y[oy,ox,c] = b[c] + sum x[oy*sh+ky*dh-top, ox*sw+kx*dw-left, c] * w[ky,kx,c]` ([`depthwise_f32`](super::depthwise_f32)).
//!
//! Every input gathers the outputs that read it. Inputs a stride apart meet the same taps, but for those near a border, so that the
//! inner loop is that of the forward pass. An input that no output reads is 0.

use super::depthwise_f32::{MOST_TAPS, Row};
use super::lanes::{LANES, Lanes};
use super::{FloatIsa, with_lanes};
use crate::image::{Image, Window};

/// What is asked.
pub struct DepthwiseDxF32<'a> {
    /// Shape of the convolution's input, and of dx.
    pub shape: Image,
    /// Kernel, stride, dilation, padding; it fits the input and has at most [`MOST_TAPS`].
    pub window: Window,
    /// Gradient of its output, OH OW C.
    pub dy: &'a [f32],
    /// Weights, KH KW C.
    pub w: &'a [f32],
}

impl DepthwiseDxF32<'_> {
    fn out(&self) -> Image {
        let Some([h, w]) = self.window.output(self.shape.h, self.shape.w) else {
            panic!("{:?} does not fit {:?}", self.window, self.shape)
        };
        Image { h, w, c: self.shape.c }
    }
}

/// The definition.
pub fn reference(d: &DepthwiseDxF32<'_>, dx: &mut [f32]) {
    let (Image { h, w, c: channels }, out, [kh, kw]) = (d.shape, d.out(), d.window.kernel);
    dx.fill(0.0);
    for (n, dy) in d.dy.iter().enumerate() {
        let (c, ox, oy) = (n % channels, n / channels % out.w, n / channels / out.w);
        for ky in 0..kh {
            for kx in 0..kw {
                if let (Some(iy), Some(ix)) = (d.window.input(0, oy, ky, h), d.window.input(1, ox, kx, w)) {
                    dx[(iy * w + ix) * channels + c] += dy * d.w[(ky * kw + kx) * channels + c];
                }
            }
        }
    }
}

/// The fast version, on one path.
///
/// # Panics
/// When a length contradicts the shape, or the window has too many taps.
pub fn run(isa: FloatIsa, d: &DepthwiseDxF32<'_>, dx: &mut [f32]) {
    with_lanes!(isa, lanes => drive(lanes, d, dx))
}

/// The output that reads input `at` through `tap`, along one axis.
fn output(window: &Window, axis: usize, at: usize, tap: usize, outputs: usize) -> Option<usize> {
    let far = (at + window.pad[axis]).checked_sub(tap * window.dilation[axis])?;
    let out = far / window.stride[axis];
    (far % window.stride[axis] == 0 && out < outputs).then_some(out)
}

/// The taps of one axis that meet input `at`, outputs ascending: output, tap.
fn taps_of(window: &Window, axis: usize, at: usize, outputs: usize, to: &mut [(usize, usize); MOST_TAPS]) -> usize {
    let mut count = 0;
    for tap in (0..window.kernel[axis]).rev() {
        if let Some(out) = output(window, axis, at, tap, outputs) {
            to[count] = (out, tap);
            count += 1;
        }
    }
    count
}

/// How many inputs of a row, a stride apart from `ix` on, meet the same taps: until an output enters the image at its left, or leaves it at
/// its right.
fn alike(window: &Window, ix: usize, outputs: usize) -> usize {
    let (stride, outputs) = (window.stride[1] as isize, outputs as isize);
    let mut count = usize::MAX;
    for tap in 0..window.kernel[1] {
        let far = (ix + window.pad[1]) as isize - (tap * window.dilation[1]) as isize;
        let output = far.div_euclid(stride);
        if far.rem_euclid(stride) == 0 && output < outputs {
            count = count.min(if output < 0 { -output } else { outputs - output } as usize);
        }
    }
    count
}

fn drive<L: Lanes>(lanes: L, d: &DepthwiseDxF32<'_>, dx: &mut [f32]) {
    let (Image { h, w, c }, out, window) = (d.shape, d.out(), &d.window);
    let [kh, kw] = window.kernel;
    assert!(kh * kw <= MOST_TAPS, "{kh} x {kw} taps");
    assert_eq!(d.dy.len(), out.len(), "dy against {out:?}");
    assert_eq!(d.w.len(), kh * kw * c, "weights");
    assert_eq!(dx.len(), d.shape.len(), "dx against {:?}", d.shape);
    if c < LANES {
        return reference(d, dx);
    }
    let stride = window.stride[1];
    let [mut rows, mut columns] = [[(0, 0); MOST_TAPS]; 2];
    for iy in 0..h {
        let rows_len = taps_of(window, 0, iy, out.h, &mut rows);
        for phase in 0..stride.min(w) {
            let mut ix = phase;
            while ix < w {
                let columns_len = taps_of(window, 1, ix, out.w, &mut columns);
                let pixels = alike(window, ix, out.w).min((w - ix).div_ceil(stride));
                let mut offsets = [(0, 0); MOST_TAPS];
                let mut taps = 0;
                let origin = match (rows_len, columns_len) {
                    (0, _) | (_, 0) => [0; 2],
                    _ => [rows[0].0, columns[0].0],
                };
                for &(oy, ky) in &rows[..rows_len] {
                    for &(ox, kx) in &columns[..columns_len] {
                        offsets[taps] = (((oy - origin[0]) * out.w + ox - origin[1]) * c, (ky * kw + kx) * c);
                        taps += 1;
                    }
                }
                let dy = &d.dy[(origin[0] * out.w + origin[1]) * c..];
                if let Some((last, _)) = offsets[..taps].last() {
                    assert!((pixels - 1) * c + last + c <= dy.len(), "taps inside the image");
                }
                let dx = &mut dx[(iy * w + ix) * c..][..((pixels - 1) * stride + 1) * c];
                let row = Row {
                    x: dy.as_ptr(),
                    x_step: c,
                    pixels,
                    taps: &offsets[..taps],
                    w: d.w.as_ptr(),
                    bias: core::ptr::null(),
                    channels: c,
                    y: dx.as_mut_ptr(),
                    y_step: stride * c,
                    bounds: [f32::NEG_INFINITY, f32::INFINITY],
                };
                // SAFETY: a path's lanes exist only where detection saw its instructions; the assertions above, of which the last is
                // about the farthest value read, since offsets ascend; `w` holds `c` values a tap, the slice of `dx` just what the
                // pixels write; `c >= 8`.
                unsafe { lanes.depthwise_row(&row) }
                ix += pixels * stride;
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
            suite::depthwise_dx_f32(|d, dx| run(isa, d, dx));
        }
    }
}
