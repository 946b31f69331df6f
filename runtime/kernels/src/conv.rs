//! Convolution, int8 in and out: any kernel, stride, dilation, padding and groups.
//!
//! ```text
//! x (H, W, I)   weights (O, kh, kw, I/g)   bias (O), folded   scale (O)   y (H', W', O)
//! acc[h,w,o] = bias[o] + sum over taps and i of x[h*sh + kh*dh - top, w*sw + kw*dw - left, i] * weights[o,kh,kw,i]
//! y[h,w,o]   = requantize(acc[h,w,o], scale[o], zy)                                  outside the image x is zx
//! ```
//!
//! Versions: `reference`; `portable`, which widens the patches of [`PIXELS`] outputs to i16 in lent scratch and then multiplies
//! them as a small GEMM. A 1 x 1 convolution is the same GEMM, its patch being the pixel itself.

use crate::arithmetic::requantize;
use crate::image::{Image, Window};

/// What a convolution is asked to do. `O` is `bias.len()`.
#[derive(Clone, Copy, Debug)]
pub struct Conv<'a> {
    /// Input, `H W I`.
    pub x: &'a [i8],
    /// Shape of `x`; its channels are a multiple of `groups`.
    pub x_shape: Image,
    /// Zero point of `x`, which the padding reads.
    pub x_zero: i8,
    /// `O kh kw I/g`.
    pub weights: &'a [i8],
    /// Folded bias, `O`; `O` is a multiple of `groups`.
    pub bias: &'a [i32],
    /// M, `O`.
    pub scale: &'a [f32],
    /// Zero point of the output.
    pub y_zero: i8,
    /// Kernel, stride, dilation, padding.
    pub window: Window,
    /// Groups; output channel `o` reads the input channels of group `o / (O / groups)`.
    pub groups: usize,
}

impl Conv<'_> {
    /// Shape of the output.
    ///
    /// # Panics
    /// When the window does not fit the image.
    pub fn y_shape(&self) -> Image {
        let Some([h, w]) = self.window.output(self.x_shape.h, self.x_shape.w) else {
            panic!("{:?} does not fit {:?}", self.window, self.x_shape)
        };
        Image { h, w, c: self.bias.len() }
    }

    /// Inputs that one output sums.
    fn depth(&self) -> usize {
        self.window.taps() * (self.x_shape.c / self.groups)
    }

    fn check(&self, y: &[i8]) -> Image {
        let out = self.y_shape();
        assert!(
            self.groups > 0 && self.x_shape.c.is_multiple_of(self.groups) && out.c.is_multiple_of(self.groups),
            "groups {}",
            self.groups
        );
        assert_eq!(self.x.len(), self.x_shape.len(), "x against {:?}", self.x_shape);
        assert_eq!(self.weights.len(), out.c * self.depth(), "weights against O * kh * kw * I/g");
        assert_eq!(self.scale.len(), out.c, "scale against bias");
        assert_eq!(y.len(), out.len(), "y against {out:?}");
        out
    }
}

/// The definition; every faster version is tested against it.
pub fn reference(c: &Conv<'_>, y: &mut [i8]) {
    let out = c.check(y);
    let ([kh, kw], ig, og) = (c.window.kernel, c.x_shape.c / c.groups, out.c / c.groups);
    for oy in 0..out.h {
        for ox in 0..out.w {
            for o in 0..out.c {
                let mut acc = c.bias[o];
                for ky in 0..kh {
                    for kx in 0..kw {
                        let row = c.window.input(0, oy, ky, c.x_shape.h);
                        let column = c.window.input(1, ox, kx, c.x_shape.w);
                        for i in 0..ig {
                            let x = match (row, column) {
                                (Some(iy), Some(ix)) => c.x[(iy * c.x_shape.w + ix) * c.x_shape.c + o / og * ig + i],
                                _ => c.x_zero,
                            };
                            acc += x as i32 * c.weights[((o * kh + ky) * kw + kx) * ig + i] as i32;
                        }
                    }
                }
                y[(oy * out.w + ox) * out.c + o] = requantize(acc, c.scale[o], c.y_zero);
            }
        }
    }
}

/// Outputs that `portable` computes together: each weight is loaded and widened once for this many.
pub const PIXELS: usize = 4;

/// i16 elements of scratch that [`portable`] needs for an input of `channels` channels.
pub const fn scratch_len(window: &Window, channels: usize, groups: usize) -> usize {
    PIXELS * window.taps() * (channels / groups)
}

/// Patches of a few outputs, widened to i16, times the weights. i16 because two neighbouring products then add up in one
/// instruction (`pmaddwd`) or accumulate by lanes (`smlal`); widening once a patch takes it out of the inner loop.
///
/// `scratch` holds at least [`scratch_len`] elements; what it holds before is not read, what it holds after means nothing.
///
/// Sums wrap, where `reference` would overflow: callers keep 256 * sum|w| + |bias| below 2^31, so neither happens.
pub fn portable(c: &Conv<'_>, y: &mut [i8], scratch: &mut [i16]) {
    let out = c.check(y);
    let depth = c.depth();
    let og = out.c / c.groups;
    let patches = &mut scratch[..PIXELS * depth];
    for first in (0..out.h * out.w).step_by(PIXELS) {
        let pixels = PIXELS.min(out.h * out.w - first);
        let y_block = &mut y[first * out.c..][..pixels * out.c];
        for group in 0..c.groups {
            for (p, patch) in patches.chunks_exact_mut(depth).take(pixels).enumerate() {
                gather(c, group, [(first + p) / out.w, (first + p) % out.w], patch);
            }
            let channels = group * og..(group + 1) * og;
            let weights = &c.weights[channels.start * depth..channels.end * depth];
            for (o, w_o) in channels.zip(weights.chunks_exact(depth)) {
                let (bias, scale) = (c.bias[o], c.scale[o]);
                // Rows past `pixels` hold stale values; they are summed and dropped.
                let acc = dot_4(w_o, patches);
                for (y_p, acc) in y_block.chunks_exact_mut(out.c).zip(acc) {
                    y_p[o] = requantize(acc.wrapping_add(bias), scale, c.y_zero);
                }
            }
        }
    }
}

/// Copies what output `[oy, ox]` reads, `kh kw I/g`, widened; the padding becomes `zx`.
#[inline]
fn gather(c: &Conv<'_>, group: usize, [oy, ox]: [usize; 2], patch: &mut [i16]) {
    let (x_shape, [_, kw]) = (c.x_shape, c.window.kernel);
    let ig = x_shape.c / c.groups;
    // Taps of one row lie side by side in memory unless dilated, grouped or cut by the border.
    let left = c.window.input(1, ox, 0, x_shape.w);
    let whole_row = c.groups == 1 && c.window.dilation[1] == 1 && left.is_some_and(|ix| ix + kw <= x_shape.w);
    for (ky, patch_row) in patch.chunks_exact_mut(kw * ig).enumerate() {
        let Some(iy) = c.window.input(0, oy, ky, x_shape.h) else {
            patch_row.fill(c.x_zero as i16);
            continue;
        };
        let x_row = &c.x[iy * x_shape.w * x_shape.c..][..x_shape.w * x_shape.c];
        if let (true, Some(ix)) = (whole_row, left) {
            widen(&x_row[ix * ig..][..kw * ig], patch_row);
            continue;
        }
        for (kx, patch_tap) in patch_row.chunks_exact_mut(ig).enumerate() {
            match c.window.input(1, ox, kx, x_shape.w) {
                Some(ix) => widen(&x_row[ix * x_shape.c + group * ig..][..ig], patch_tap),
                None => patch_tap.fill(c.x_zero as i16),
            }
        }
    }
}

#[inline(always)]
fn widen(from: &[i8], to: &mut [i16]) {
    for (to, &from) in to.iter_mut().zip(from) {
        *to = from as i16;
    }
}

/// Four dot products of one row of weights with the rows of `patches` (4, K).
#[inline(always)]
fn dot_4(w: &[i8], patches: &[i16]) -> [i32; PIXELS] {
    let k = w.len();
    let (x_0, rest) = patches.split_at(k);
    let (x_1, rest) = rest.split_at(k);
    let (x_2, x_3) = rest.split_at(k);
    let x_3 = &x_3[..k];
    let mut acc = [0i32; PIXELS];
    for i in 0..k {
        let w_i = w[i] as i32;
        acc[0] = acc[0].wrapping_add(x_0[i] as i32 * w_i);
        acc[1] = acc[1].wrapping_add(x_1[i] as i32 * w_i);
        acc[2] = acc[2].wrapping_add(x_2[i] as i32 * w_i);
        acc[3] = acc[3].wrapping_add(x_3[i] as i32 * w_i);
    }
    acc
}

#[cfg(test)]
mod tests {
    use crate::suite;

    #[test]
    fn portable_agrees_with_reference() {
        suite::conv(super::portable);
    }
}
