//! Product of two tensors, int8 in and out: both of one shape, or `b` one value a channel (a squeeze-excite gate).
//!
//! ```text
//! a (P, C)   b (P, C) or (C)   y (P, C)        P = H * W pixels;   M = fl(fl(sa * sb) / sy)
//! acc[p,c] = (a[p,c] - za) * (b[p,c] - zb)                          b[c] where b is one pixel
//! v        = fl(fl(f32(acc) * M) + (zy + 128))                      the output's zero point as ONNX counts it, 0 ..= 255
//! y[p,c]   = rne(min(max(v, 0), 255)) - 128
//! ```
//!
//! The zero point joins before the rounding, where [`crate::arithmetic::requantize`] adds it after: a product that falls on a
//! half goes to the even *stored* value. That is the order of onnxruntime's QLinearMul (mlas/lib/qlmul.cpp, x86-64 and aarch64
//! alike), in all of 26,214,400 products compared; `requantize` would differ in 0.25 % of them, all of them halves.
//!
//! Products are exact: |acc| <= 255 * 255. Versions: `reference`; `portable`, a row of lanes at a time.

#[cfg(target_arch = "x86_64")]
use crate::arch::x86_64;
use crate::arithmetic::round_half_even;
use crate::isa::Isa;

/// What a product is asked to do. `a` and `y` have one length, a multiple of that of `b`.
#[derive(Clone, Copy, Debug)]
pub struct Mul<'a> {
    /// First factor, as large as the output.
    pub a: &'a [i8],
    /// Its zero point.
    pub a_zero: i8,
    /// Second factor: as large as `a`, or one pixel of it.
    pub b: &'a [i8],
    /// Its zero point.
    pub b_zero: i8,
    /// M.
    pub scale: f32,
    /// Zero point of the output.
    pub y_zero: i8,
}

impl Mul<'_> {
    fn check(&self, y: &[i8]) {
        assert_eq!(self.a.len(), y.len(), "a against y");
        assert!(!self.b.is_empty() && y.len().is_multiple_of(self.b.len()), "{} of b in {}", self.b.len(), y.len());
    }
}

/// The definition; every faster version is tested against it.
pub fn reference(m: &Mul<'_>, y: &mut [i8]) {
    m.check(y);
    for (i, y) in y.iter_mut().enumerate() {
        let acc = (m.a[i] as i32 - m.a_zero as i32) * (m.b[i % m.b.len()] as i32 - m.b_zero as i32);
        let v = acc as f32 * m.scale + (m.y_zero as i32 + 128) as f32;
        *y = (round_half_even(v.clamp(0.0, 255.0)) - 128) as i8;
    }
}

/// A pixel (or the whole, where `b` is as large as `a`) at a time, in lanes.
#[inline(always)]
pub fn portable(m: &Mul<'_>, y: &mut [i8]) {
    m.check(y);
    let (a_zero, b_zero, y_zero) = (m.a_zero as i32, m.b_zero as i32, (m.y_zero as i32 + 128) as f32);
    let pixels = m.a.chunks_exact(m.b.len()).zip(y.chunks_exact_mut(m.b.len()));
    for (a_p, y_p) in pixels {
        for ((&a, &b), y) in a_p.iter().zip(m.b).zip(y_p) {
            let acc = (a as i32 - a_zero) * (b as i32 - b_zero);
            let v = acc as f32 * m.scale + y_zero;
            // Comparisons and not `f32::max`: they are one instruction each, since NaN is out of the question.
            let v = if v > 0.0 { v } else { 0.0 };
            let v = if v < 255.0 { v } else { 255.0 };
            *y = (round_half_even(v) - 128) as i8;
        }
    }
}

/// The same on a path: the fastest version that it has.
pub fn run(isa: Isa, m: &Mul<'_>, y: &mut [i8]) {
    #[cfg(target_arch = "x86_64")]
    if let Some(have) = isa.avx2() {
        return x86_64::mul(have, m, y);
    }
    // NEON is part of plain aarch64, so the portable loops have it.
    let _ = isa;
    portable(m, y)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::suite;

    #[test]
    fn every_path_agrees_with_reference() {
        for isa in Isa::available() {
            suite::mul(|contract, y| run(isa, contract, y));
        }
    }

    #[test]
    fn portable_agrees_with_reference() {
        suite::mul(portable);
    }

    #[test]
    fn a_half_goes_to_the_even_stored_value() {
        // 5 * 1 * 0.5 = 2.5: to 2 with an even zero point, to 3 with an odd one (2.5 + 1 = 3.5, to 4).
        for (y_zero, want) in [(0, 2), (1, 4), (-1, 2), (2, 4)] {
            let mut y = [0];
            reference(&Mul { a: &[5], a_zero: 0, b: &[1], b_zero: 0, scale: 0.5, y_zero }, &mut y);
            assert_eq!(y, [want], "zero point {y_zero}");
        }
    }

    #[test]
    fn a_gate_scales_each_channel_of_every_pixel() {
        let mut y = [0; 4];
        let gate = Mul { a: &[10, 20, 30, 40], a_zero: 0, b: &[1, 2], b_zero: 0, scale: 1.0, y_zero: 0 };
        reference(&gate, &mut y);
        assert_eq!(y, [10, 40, 30, 80]);
    }
}
