//! Inner loop of packed depthwise convolutions on NEON, for all three paths: a dot product sums over inputs, and here each channel
//! has its own.
//!
//! Products of two taps are summed in i16, then widened: `smull`, `smlal`, `saddw`. As in `neon_gemm`, a convolution that has the weight
//! -128 widens every product by itself. Weights: `(taps, 16)` i8, channels in order.

use core::arch::aarch64::*;

use super::neon_requantize::sixteen;
use super::{Neon, Sdot, Smmla};
use crate::packed_depthwise::{BLOCK, Row, Rows};

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

    unsafe fn row(self, row: &Row<'_>) {
        // SAFETY: holding a `Neon` means that the CPU has it; the rest is the caller's promise, handed on.
        unsafe {
            match (<&[usize; 9]>::try_from(row.offsets), row.has_lowest_weight) {
                (Ok(offsets), false) => row_of_nine(row, offsets),
                (Err(_), false) => row_of_any::<true>(row),
                (_, true) => row_of_any::<false>(row),
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

            unsafe fn row(self, row: &Row<'_>) {
                // SAFETY: the caller's promise, handed on.
                unsafe { self.neon().row(row) }
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
/// `row.block` holds biases and multipliers.
#[inline]
#[target_feature(enable = "neon")]
unsafe fn block(row: &Row<'_>) -> Block {
    let at = row.block.as_ptr();
    // SAFETY: 64 bytes of biases, then 64 of multipliers; weights follow them.
    unsafe {
        let (bias, scale) = (at.cast::<i32>(), at.add(64).cast::<f32>());
        Block {
            bias: [0, 4, 8, 12].map(|n| vld1q_s32(bias.add(n))),
            scale: [0, 4, 8, 12].map(|n| vld1q_f32(scale.add(n))),
            zero: vdupq_n_s16(row.y_zero as i16),
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

#[inline]
#[target_feature(enable = "neon")]
fn one_tap(acc: [int32x4_t; 4], x: int8x16_t, w: int8x16_t) -> [int32x4_t; 4] {
    widen(acc, vmull_s8(vget_low_s8(x), vget_low_s8(w)), vmull_high_s8(x, w))
}

#[inline]
#[target_feature(enable = "neon")]
fn two_taps(acc: [int32x4_t; 4], x: [int8x16_t; 2], w: [int8x16_t; 2]) -> [int32x4_t; 4] {
    let low = vmull_s8(vget_low_s8(x[0]), vget_low_s8(w[0]));
    let high = vmull_high_s8(x[0], w[0]);
    widen(acc, vmlal_s8(low, vget_low_s8(x[1]), vget_low_s8(w[1])), vmlal_high_s8(high, x[1], w[1]))
}

/// Nine taps: weights stay in registers.
///
/// # Safety
/// Those of [`Rows::row`]; no weight is -128.
#[target_feature(enable = "neon")]
unsafe fn row_of_nine(row: &Row<'_>, offsets: &[usize; 9]) {
    // SAFETY: the caller's promise: taps of the block and pixels of the row, and no others, are touched.
    unsafe {
        let block = block(row);
        let mut w = [vdupq_n_s8(0); 9];
        for (n, w) in w.iter_mut().enumerate() {
            *w = vld1q_s8(block.weights.add(16 * n));
        }
        let offsets = *offsets;
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

/// # Safety
/// Those of [`Rows::row`]; with `PAIRS`, no weight is -128.
#[target_feature(enable = "neon")]
unsafe fn row_of_any<const PAIRS: bool>(row: &Row<'_>) {
    // SAFETY: as in `row_of_nine`.
    unsafe {
        let block = block(row);
        let (pairs, single) = row.offsets.as_chunks::<2>();
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
