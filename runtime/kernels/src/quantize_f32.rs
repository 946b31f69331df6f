//! Floats to int8, and ONNX order to ours.
//!
//! ```text
//! x (C, H, W) f32   y (H, W, C) i8
//! y[h,w,c] = int(rne(clamp(fl(x[c,h,w] / scale), -128 - zero, 127 - zero))) + zero
//! ```
//!
//! A division, not a product with the reciprocal: the two differ in one value of a million. Infinities go to the rails.
//! **NaN becomes the zero point**, as if it were 0: ONNX does not say, and CPUs disagree (x86 `max` drops a NaN, NEON's keeps it).
//! Versions: `reference`; `portable`, a block of pixels at a time.

#[cfg(target_arch = "x86_64")]
use crate::arch::x86_64;

use crate::arithmetic::saturate;
use crate::image::Image;
use crate::isa::Isa;

/// What a quantization is asked to do.
#[derive(Clone, Copy, Debug)]
pub struct Quantize<'a> {
    /// Input, `C H W`.
    pub x: &'a [f32],
    /// Its shape.
    pub shape: Image,
    /// Scale, positive and normal.
    pub scale: f32,
    /// Zero point.
    pub zero: i8,
}

impl Quantize<'_> {
    pub(crate) fn check(&self, y: &[i8]) {
        assert_eq!(self.x.len(), self.shape.len(), "x against {:?}", self.shape);
        assert_eq!(y.len(), self.shape.len(), "y against {:?}", self.shape);
    }

    #[inline(always)]
    pub(crate) fn one(&self, x: f32) -> i8 {
        let real = x / self.scale;
        saturate(if real.is_nan() { 0.0 } else { real }, self.zero)
    }
}

/// The definition; every faster version is tested against it.
pub fn reference(q: &Quantize<'_>, y: &mut [i8]) {
    q.check(y);
    let pixels = q.shape.h * q.shape.w;
    for p in 0..pixels {
        for c in 0..q.shape.c {
            y[p * q.shape.c + c] = q.one(q.x[c * pixels + p]);
        }
    }
}

/// Sixteen neighbours of each channel are divided and rounded together, then brought to their pixels. Colour images, which have
/// three channels, go through a loop of their own, whose stores are shuffles and not single bytes.
#[inline(always)]
pub fn portable(q: &Quantize<'_>, y: &mut [i8]) {
    q.check(y);
    let (pixels, channels) = (q.shape.h * q.shape.w, q.shape.c);
    if pixels == 0 || channels == 0 {
        return;
    }
    if channels == 3 {
        return three_channels(q, y);
    }
    for (c, x_c) in q.x.chunks_exact(pixels).enumerate() {
        let (blocks, tail) = x_c.as_chunks::<16>();
        for (x_block, y_block) in blocks.iter().zip(y.chunks_exact_mut(16 * channels)) {
            let done = x_block.map(|x| q.one(x));
            for (y_p, value) in y_block.chunks_exact_mut(channels).zip(done) {
                y_p[c] = value;
            }
        }
        let y_tail = &mut y[(pixels - tail.len()) * channels..];
        for (y_p, &x) in y_tail.chunks_exact_mut(channels).zip(tail) {
            y_p[c] = q.one(x);
        }
    }
}

#[inline(always)]
fn three_channels(q: &Quantize<'_>, y: &mut [i8]) {
    let pixels = q.shape.h * q.shape.w;
    let (x_0, rest) = q.x.split_at(pixels);
    let (x_1, x_2) = rest.split_at(pixels);
    let (y_pixels, _) = y.as_chunks_mut::<3>();
    let mut at = 0;
    while at + BLOCK <= pixels {
        let done = [x_0, x_1, x_2].map(|x_c| {
            let mut block = [0i8; BLOCK];
            for (q_p, &x) in block.iter_mut().zip(&x_c[at..at + BLOCK]) {
                *q_p = q.one(x);
            }
            block
        });
        for (p, y_p) in y_pixels[at..at + BLOCK].iter_mut().enumerate() {
            *y_p = [done[0][p], done[1][p], done[2][p]];
        }
        at += BLOCK;
    }
    for (p, y_p) in y_pixels.iter_mut().enumerate().skip(at) {
        *y_p = [x_0[p], x_1[p], x_2[p]].map(|x| q.one(x));
    }
}

/// Pixels that three channels are done of together.
const BLOCK: usize = 32;

/// The same on a path: the fastest version that it has.
pub fn run(isa: Isa, q: &Quantize<'_>, y: &mut [i8]) {
    #[cfg(target_arch = "x86_64")]
    if let Some(have) = isa.avx2() {
        return x86_64::quantize_f32(have, q, y);
    }
    // NEON is part of plain aarch64, so the portable loops have it.
    let _ = isa;
    portable(q, y)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::suite;

    #[test]
    fn every_path_agrees_with_reference() {
        for isa in Isa::available() {
            suite::quantize_f32(|contract, y| run(isa, contract, y));
        }
    }

    #[test]
    fn portable_agrees_with_reference() {
        suite::quantize_f32(portable);
    }

    #[test]
    fn the_odd_floats_have_a_place() {
        let x = [f32::NAN, -f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 0.0, -0.0, 1e-45, f32::MAX];
        let q = Quantize { x: &x, shape: Image { h: 1, w: 8, c: 1 }, scale: 0.5, zero: -3 };
        for version in [reference, portable] {
            let mut y = [0; 8];
            version(&q, &mut y);
            assert_eq!(y, [-3, -3, 127, -128, -3, -3, -3, 127]);
        }
    }

    #[test]
    fn ties_go_to_even_before_the_zero_point() {
        let q = Quantize { x: &[0.5, 1.5, 2.5, -0.5, -1.5], shape: Image { h: 1, w: 5, c: 1 }, scale: 1.0, zero: 1 };
        let mut y = [0; 5];
        reference(&q, &mut y);
        assert_eq!(y, [1, 3, 3, 1, -1]);
    }
}
