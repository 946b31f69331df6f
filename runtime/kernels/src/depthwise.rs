//! Depthwise convolution, int8 in and out: one kernel a channel, multiplier 1.
//!
//! ```text
//! x (H, W, C)   weights (kh, kw, C)   bias (C), folded   scale (C)   y (H', W', C)
//! y[h,w,c] = requantize(bias[c] + sum over taps of x[h*sh + kh*dh - top, w*sw + kw*dw - left, c] * weights[kh,kw,c], scale[c], zy)
//! ```
//!
//! The weights are tap-major, unlike ONNX's (C, 1, kh, kw): channels are the lanes. Outside the image x is zx.
//! Versions: `reference`; `portable`, sixteen channels at a time, a border tap reading a row of zx.

use crate::arithmetic::requantize;
use crate::image::{Image, Window};

/// What a depthwise convolution is asked to do. `C` is `bias.len()`.
#[derive(Clone, Copy, Debug)]
pub struct Depthwise<'a> {
    /// Input, `H W C`.
    pub x: &'a [i8],
    /// Shape of `x`.
    pub x_shape: Image,
    /// Zero point of `x`, which the padding reads.
    pub x_zero: i8,
    /// `kh kw C`.
    pub weights: &'a [i8],
    /// Folded bias, `C`.
    pub bias: &'a [i32],
    /// M, `C`.
    pub scale: &'a [f32],
    /// Zero point of the output.
    pub y_zero: i8,
    /// Kernel, stride, dilation, padding.
    pub window: Window,
}

impl Depthwise<'_> {
    /// Shape of the output.
    ///
    /// # Panics
    /// When the window does not fit the image.
    pub fn y_shape(&self) -> Image {
        let Some([h, w]) = self.window.output(self.x_shape.h, self.x_shape.w) else {
            panic!("{:?} does not fit {:?}", self.window, self.x_shape)
        };
        Image { h, w, c: self.x_shape.c }
    }

    fn check(&self, y: &[i8]) -> Image {
        let out = self.y_shape();
        assert_eq!(self.x.len(), self.x_shape.len(), "x against {:?}", self.x_shape);
        assert_eq!(self.weights.len(), self.window.taps() * out.c, "weights against kh * kw * C");
        assert_eq!(self.bias.len(), out.c, "bias against C");
        assert_eq!(self.scale.len(), out.c, "scale against C");
        assert_eq!(y.len(), out.len(), "y against {out:?}");
        out
    }
}

/// The definition; every faster version is tested against it.
pub fn reference(d: &Depthwise<'_>, y: &mut [i8]) {
    let out = d.check(y);
    let [kh, kw] = d.window.kernel;
    for oy in 0..out.h {
        for ox in 0..out.w {
            for c in 0..out.c {
                let mut acc = d.bias[c];
                for ky in 0..kh {
                    for kx in 0..kw {
                        let row = d.window.input(0, oy, ky, d.x_shape.h);
                        let column = d.window.input(1, ox, kx, d.x_shape.w);
                        let x = match (row, column) {
                            (Some(iy), Some(ix)) => d.x[(iy * d.x_shape.w + ix) * out.c + c],
                            _ => d.x_zero,
                        };
                        acc += x as i32 * d.weights[(ky * kw + kx) * out.c + c] as i32;
                    }
                }
                y[(oy * out.w + ox) * out.c + c] = requantize(acc, d.scale[c], d.y_zero);
            }
        }
    }
}

/// Channels by sixteen, then eight, then one. Products are taken in i16, where |x * w| <= 2^14 fits, then widened.
/// Sums wrap (see [`crate::conv::portable`]).
pub fn portable(d: &Depthwise<'_>, y: &mut [i8]) {
    let out = d.check(y);
    for (pixel, y_pixel) in y.chunks_exact_mut(out.c).enumerate() {
        let at = [pixel / out.w, pixel % out.w];
        let mut c = 0;
        while c + 16 <= out.c {
            channels::<16>(d, at, c, y_pixel);
            c += 16;
        }
        if c + 8 <= out.c {
            channels::<8>(d, at, c, y_pixel);
            c += 8;
        }
        while c < out.c {
            channels::<1>(d, at, c, y_pixel);
            c += 1;
        }
    }
}

/// Output `[oy, ox]`, channels `first .. first + N`.
#[inline(always)]
fn channels<const N: usize>(d: &Depthwise<'_>, [oy, ox]: [usize; 2], first: usize, y: &mut [i8]) {
    let (channels, [kh, kw]) = (d.x_shape.c, d.window.kernel);
    let border = [d.x_zero; N];
    let mut acc = [0i32; N];
    for ky in 0..kh {
        let row = d.window.input(0, oy, ky, d.x_shape.h);
        for kx in 0..kw {
            let x: &[i8] = match (row, d.window.input(1, ox, kx, d.x_shape.w)) {
                (Some(iy), Some(ix)) => &d.x[(iy * d.x_shape.w + ix) * channels + first..][..N],
                _ => &border,
            };
            let w = &d.weights[(ky * kw + kx) * channels + first..][..N];
            for ((acc, &x), &w) in acc.iter_mut().zip(x).zip(w) {
                *acc = acc.wrapping_add((x as i16).wrapping_mul(w as i16) as i32);
            }
        }
    }
    let (bias, scale) = (&d.bias[first..][..N], &d.scale[first..][..N]);
    for (((y, acc), &bias), &scale) in y[first..][..N].iter_mut().zip(acc).zip(bias).zip(scale) {
        *y = requantize(acc.wrapping_add(bias), scale, d.y_zero);
    }
}

#[cfg(test)]
mod tests {
    use crate::suite;

    #[test]
    fn portable_agrees_with_reference() {
        suite::depthwise(super::portable);
    }
}
