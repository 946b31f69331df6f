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

/// Writes the first `channels` of eight values.
///
/// # Safety
/// `channels <= 8` bytes are writable at `y`.
#[inline]
#[target_feature(enable = "neon")]
pub(super) unsafe fn store(q: int8x8_t, y: *mut i8, channels: usize) {
    // SAFETY: the caller's promise; `bytes` has eight.
    unsafe {
        if channels == 8 {
            vst1_s8(y, q);
        } else {
            let mut bytes = [0i8; 8];
            vst1_s8(bytes.as_mut_ptr(), q);
            core::ptr::copy_nonoverlapping(bytes.as_ptr(), y, channels);
        }
    }
}
