//! The end of every multiply-accumulate op on NEON: i32 sums to stored i8.
//!
//! ```text
//! q = sat8(sat16(sat16(rne(fl(f32(acc) * M))) + zy))
//! ```
//!
//! Equal to `arithmetic::requantize`, which clamps before it rounds: rounding is monotone and both rails are integers, and
//! `fcvtns` saturates.

use core::arch::aarch64::*;

/// Four sums to integers without zero point.
#[inline]
#[target_feature(enable = "neon")]
fn round(acc: int32x4_t, scale: float32x4_t) -> int32x4_t {
    vcvtnq_s32_f32(vmulq_f32(vcvtq_f32_s32(acc), scale))
}

/// Eight sums to eight stored values.
#[inline]
#[target_feature(enable = "neon")]
pub(super) fn eight(acc: [int32x4_t; 2], scale: [float32x4_t; 2], zero: int16x8_t) -> int8x8_t {
    let q = vqmovn_high_s32(vqmovn_s32(round(acc[0], scale[0])), round(acc[1], scale[1]));
    vqmovn_s16(vqaddq_s16(q, zero))
}

/// Sixteen sums to sixteen stored values.
#[inline]
#[target_feature(enable = "neon")]
pub(super) fn sixteen(acc: [int32x4_t; 4], scale: [float32x4_t; 4], zero: int16x8_t) -> int8x16_t {
    let high = |a: usize| vqmovn_high_s32(vqmovn_s32(round(acc[a], scale[a])), round(acc[a + 1], scale[a + 1]));
    vqmovn_high_s16(vqmovn_s16(vqaddq_s16(high(0), zero)), vqaddq_s16(high(2), zero))
}

/// Writes a tile: the first `channels` of eight values for each pixel. Always inlined, which a function with `target_feature` cannot
/// promise: a call would send the tile through memory.
///
/// # Safety
/// NEON is there; `channels <= 8` bytes are writable at `y + r * y_step` for all `r < rows`.
#[inline(always)]
pub(super) unsafe fn store<const R: usize>(q: [int8x8_t; R], rows: usize, y: *mut i8, y_step: usize, channels: usize) {
    // SAFETY: the caller's promise.
    unsafe {
        if channels == 8 && rows == R {
            for (r, &q) in q.iter().enumerate() {
                vst1_s8(y.add(r * y_step), q);
            }
        } else {
            for (r, &q) in q.iter().enumerate().take(rows) {
                store_some(vget_lane_u64::<0>(vreinterpret_u64_s8(q)), y.add(r * y_step), channels);
            }
        }
    }
}

/// The same for sixteen values a pixel.
///
/// # Safety
/// NEON is there; `channels <= 16` bytes are writable at `y + r * y_step` for all `r < R`.
#[inline(always)]
pub(super) unsafe fn store_sixteen<const R: usize>(q: [int8x16_t; R], y: *mut i8, y_step: usize, channels: usize) {
    // SAFETY: the caller's promise.
    unsafe {
        if channels == 16 {
            for (r, &q) in q.iter().enumerate() {
                vst1q_s8(y.add(r * y_step), q);
            }
            return;
        }
        for (r, &q) in q.iter().enumerate() {
            let (y, halves) = (y.add(r * y_step), vreinterpretq_u64_s8(q));
            if channels >= 8 {
                store_some(vgetq_lane_u64::<0>(halves), y, 8);
                store_some(vgetq_lane_u64::<1>(halves), y.add(8), channels - 8);
            } else {
                store_some(vgetq_lane_u64::<0>(halves), y, channels);
            }
        }
    }
}

/// The first `channels` bytes of `q`, without a call: one for a few bytes would cost more than all that is before it.
///
/// # Safety
/// `channels <= 8` bytes are writable at `y`.
#[inline(always)]
unsafe fn store_some(mut q: u64, mut y: *mut i8, channels: usize) {
    // SAFETY: what is written sums to `channels`.
    unsafe {
        if channels & 8 != 0 {
            return y.cast::<u64>().write_unaligned(q);
        }
        if channels & 4 != 0 {
            y.cast::<u32>().write_unaligned(q as u32);
            (q, y) = (q >> 32, y.add(4));
        }
        if channels & 2 != 0 {
            y.cast::<u16>().write_unaligned(q as u16);
            (q, y) = (q >> 16, y.add(2));
        }
        if channels & 1 != 0 {
            *y = q as i8;
        }
    }
}
