//! Inner loop of packed depthwise convolutions on NEON, for all three paths: a dot product sums over inputs, and here each channel
//! has its own.
//!
//! Products of two taps are summed in i16, then widened: `smull`, `smlal`, `saddw`. As in `neon_gemm`, a convolution where two weights
//! of -128 meet is marked, and widens every product by itself. Weights: `(taps, 16)` i8, channels in order.

use core::arch::aarch64::*;
use core::arch::asm;

use super::neon_requantize::sixteen;
use super::{Neon, Sdot, Smmla};
use crate::packed_depthwise::{BLOCK, Band, Rows};

impl Rows for Neon {
    fn weights_len(self, taps: usize) -> usize {
        taps * BLOCK
    }

    fn channel_of_lane(self, lane: usize) -> usize {
        lane
    }

    fn pack(self, taps: &[[i8; BLOCK]], to: &mut [i8]) {
        to.copy_from_slice(taps.as_flattened());
    }

    unsafe fn band(self, band: &Band<'_>) {
        // SAFETY: holding a `Neon` means that the CPU has it; the rest is the caller's promise, handed on.
        unsafe {
            match (<&[usize; 9]>::try_from(band.offsets), band.has_lowest_pair) {
                (Ok(offsets), false) => band_of_nine(band, offsets),
                (Err(_), false) => band_of_any::<true>(band),
                (_, true) => band_of_any::<false>(band),
            }
        }
    }
}

/// The same for the paths that have more than NEON.
macro_rules! as_neon {
    ($($path:ident)*) => {$(
        impl Rows for $path {
            fn weights_len(self, taps: usize) -> usize {
                self.neon().weights_len(taps)
            }

            fn channel_of_lane(self, lane: usize) -> usize {
                Rows::channel_of_lane(self.neon(), lane)
            }

            fn pack(self, taps: &[[i8; BLOCK]], to: &mut [i8]) {
                self.neon().pack(taps, to)
            }

            unsafe fn band(self, band: &Band<'_>) {
                // SAFETY: the caller's promise, handed on.
                unsafe { self.neon().band(band) }
            }
        }
    )*};
}

as_neon! { Sdot Smmla }

/// The parts of a packed block.
struct Block {
    bias: [int32x4_t; 4],
    scale: [float32x4_t; 4],
    zero: int16x8_t,
    weights: *const i8,
}

/// # Safety
/// `band.block` holds biases and multipliers.
#[inline]
#[target_feature(enable = "neon")]
unsafe fn block(band: &Band<'_>) -> Block {
    let at = band.block.as_ptr();
    // SAFETY: 64 bytes of biases, then 64 of multipliers; weights follow them.
    unsafe {
        let (bias, scale) = (at.cast::<i32>(), at.add(64).cast::<f32>());
        Block {
            bias: [0, 4, 8, 12].map(|n| vld1q_s32(bias.add(n))),
            scale: [0, 4, 8, 12].map(|n| vld1q_f32(scale.add(n))),
            zero: vdupq_n_s16(band.y_zero as i16),
            weights: at.add(128),
        }
    }
}

/// Adds sixteen products, or sums of two.
#[inline]
#[target_feature(enable = "neon")]
fn widen(acc: [int32x4_t; 4], low: int16x8_t, high: int16x8_t) -> [int32x4_t; 4] {
    [
        vaddw_s16(acc[0], vget_low_s16(low)),
        vaddw_high_s16(acc[1], low),
        vaddw_s16(acc[2], vget_low_s16(high)),
        vaddw_high_s16(acc[3], high),
    ]
}

/// As `asm!`, because the compiler takes the upper halves of weights out of the loop, and then has neither `smull2` nor registers.
#[inline]
#[target_feature(enable = "neon")]
fn one_tap(acc: [int32x4_t; 4], x: int8x16_t, w: int8x16_t) -> [int32x4_t; 4] {
    let (low, high): (int16x8_t, int16x8_t);
    // SAFETY: two instructions on registers, of the feature that this function has.
    unsafe {
        asm!(
            "smull {low:v}.8h, {x:v}.8b, {w:v}.8b",
            "smull2 {high:v}.8h, {x:v}.16b, {w:v}.16b",
            x = in(vreg) x, w = in(vreg) w, low = out(vreg) low, high = out(vreg) high,
            options(pure, nomem, nostack, preserves_flags)
        );
    }
    widen(acc, low, high)
}

#[inline]
#[target_feature(enable = "neon")]
fn two_taps(acc: [int32x4_t; 4], x: [int8x16_t; 2], w: [int8x16_t; 2]) -> [int32x4_t; 4] {
    let (low, high): (int16x8_t, int16x8_t);
    // SAFETY: four instructions on registers, of the feature that this function has.
    unsafe {
        asm!(
            "smull {low:v}.8h, {x0:v}.8b, {w0:v}.8b",
            "smull2 {high:v}.8h, {x0:v}.16b, {w0:v}.16b",
            "smlal {low:v}.8h, {x1:v}.8b, {w1:v}.8b",
            "smlal2 {high:v}.8h, {x1:v}.16b, {w1:v}.16b",
            x0 = in(vreg) x[0], w0 = in(vreg) w[0], x1 = in(vreg) x[1], w1 = in(vreg) w[1],
            low = out(vreg) low, high = out(vreg) high,
            options(pure, nomem, nostack, preserves_flags)
        );
    }
    widen(acc, low, high)
}

/// Nine taps: weights stay in registers.
///
/// # Safety
/// Those of [`Rows::band`]; no two weights of -128 meet.
#[inline(never)] // tests/src/mca.rs looks for it by its name
#[target_feature(enable = "neon")]
unsafe fn band_of_nine(band: &Band<'_>, offsets: &[usize; 9]) {
    // SAFETY: the caller's promise: taps of the block and pixels of the band, and no others, are touched.
    unsafe {
        let block = block(band);
        let mut w = [vdupq_n_s8(0); 9];
        for (n, w) in w.iter_mut().enumerate() {
            *w = vld1q_s8(block.weights.add(16 * n));
        }
        let offsets = *offsets;
        for row in band.each_row() {
            let (mut x, mut y) = (row.x, row.y);
            for _ in 0..row.pixels {
                let tap = |n: usize| vld1q_s8(x.add(offsets[n]));
                let mut acc = two_taps(block.bias, [tap(0), tap(1)], [w[0], w[1]]);
                acc = two_taps(acc, [tap(2), tap(3)], [w[2], w[3]]);
                acc = two_taps(acc, [tap(4), tap(5)], [w[4], w[5]]);
                acc = two_taps(acc, [tap(6), tap(7)], [w[6], w[7]]);
                acc = one_tap(acc, tap(8), w[8]);
                vst1q_s8(y, sixteen(acc, block.scale, block.zero));
                x = x.wrapping_add(row.x_step);
                y = y.wrapping_add(row.y_step);
            }
        }
    }
}

/// # Safety
/// Those of [`Rows::band`]; with `PAIRS`, no two weights of -128 meet.
#[target_feature(enable = "neon")]
unsafe fn band_of_any<const PAIRS: bool>(band: &Band<'_>) {
    // SAFETY: as in `band_of_nine`.
    unsafe {
        let block = block(band);
        let (pairs, single) = band.offsets.as_chunks::<2>();
        for row in band.each_row() {
            for pixel in 0..row.pixels {
                let x = row.x.add(pixel * row.x_step);
                let tap = |offset: usize| vld1q_s8(x.add(offset));
                let mut acc = block.bias;
                let mut at = block.weights;
                for &[a, b] in pairs {
                    let w = [vld1q_s8(at), vld1q_s8(at.add(16))];
                    acc = match PAIRS {
                        true => two_taps(acc, [tap(a), tap(b)], w),
                        false => one_tap(one_tap(acc, tap(a), w[0]), tap(b), w[1]),
                    };
                    at = at.add(32);
                }
                if let &[a] = single {
                    acc = one_tap(acc, tap(a), vld1q_s8(at));
                }
                vst1q_s8(row.y.add(pixel * row.y_step), sixteen(acc, block.scale, block.zero));
            }
        }
    }
}
