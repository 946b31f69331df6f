//! int8 back to floats, and our order to ONNX's.
//!
//! ```text
//! x (H, W, C) i8   y (C, H, W) f32
//! y[c,h,w] = fl(f32(x[h,w,c] - zero) * scale)
//! ```
//!
//! Versions: `reference`; `portable`, which walks the output in order.

#[cfg(target_arch = "x86_64")]
use crate::arch::x86_64;

use crate::image::Image;
use crate::isa::Isa;

/// What a dequantization is asked to do.
#[derive(Clone, Copy, Debug)]
pub struct Dequantize<'a> {
    /// Input, `H W C`.
    pub x: &'a [i8],
    /// Its shape.
    pub shape: Image,
    /// Scale.
    pub scale: f32,
    /// Zero point.
    pub zero: i8,
}

impl Dequantize<'_> {
    fn check(&self, y: &[f32]) {
        assert_eq!(self.x.len(), self.shape.len(), "x against {:?}", self.shape);
        assert_eq!(y.len(), self.shape.len(), "y against {:?}", self.shape);
    }

    #[inline(always)]
    fn one(&self, x: i8) -> f32 {
        (x as i32 - self.zero as i32) as f32 * self.scale
    }
}

/// The definition; every faster version is tested against it.
pub fn reference(d: &Dequantize<'_>, y: &mut [f32]) {
    d.check(y);
    let pixels = d.shape.h * d.shape.w;
    for p in 0..pixels {
        for c in 0..d.shape.c {
            y[c * pixels + p] = d.one(d.x[p * d.shape.c + c]);
        }
    }
}

/// Channel by channel, stores in order.
#[inline(always)]
pub fn portable(d: &Dequantize<'_>, y: &mut [f32]) {
    d.check(y);
    let (pixels, channels) = (d.shape.h * d.shape.w, d.shape.c);
    if pixels == 0 || channels == 0 {
        return;
    }
    for (c, y_c) in y.chunks_exact_mut(pixels).enumerate() {
        for (y, x_p) in y_c.iter_mut().zip(d.x.chunks_exact(channels)) {
            *y = d.one(x_p[c]);
        }
    }
}

/// The same on a path: the fastest version that it has.
pub fn run(isa: Isa, d: &Dequantize<'_>, y: &mut [f32]) {
    #[cfg(target_arch = "x86_64")]
    if let Some(have) = isa.avx2() {
        return x86_64::dequantize_f32(have, d, y);
    }
    // NEON is part of plain aarch64, so the portable loops have it.
    let _ = isa;
    portable(d, y)
}

#[cfg(test)]
mod tests {
    use crate::suite;

    #[test]
    fn every_path_agrees_with_reference() {
        for isa in crate::Isa::available() {
            suite::dequantize_f32(|contract, y| super::run(isa, contract, y));
        }
    }

    #[test]
    fn portable_agrees_with_reference() {
        suite::dequantize_f32(super::portable);
    }
}
