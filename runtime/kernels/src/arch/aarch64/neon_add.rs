//! Addition on NEON: the portable form, with the shift and the narrowing in one instruction each.
//!
//! ```text
//! y = sat8(sat16(sat16((a * ma + b * mb + constant) >> shift) + zy))        constant as in `add::portable`
//! ```

use core::arch::aarch64::*;

use super::Neon;
use crate::add::{self, Add};

/// As [`add::portable`].
pub(crate) fn add(_have: Neon, add: &Add<'_>, y: &mut [i8]) {
    add.check(y);
    let (a_blocks, a_tail) = add.a.as_chunks::<16>();
    let (b_blocks, b_tail) = add.b.as_chunks::<16>();
    let (y_blocks, y_tail) = y.as_chunks_mut::<16>();
    // SAFETY: holding a `Neon` means that the CPU has it; every block is sixteen bytes.
    unsafe {
        let (ma, mb) = (vdupq_n_s32(add.scales.ma), vdupq_n_s32(add.scales.mb));
        let (constant, right) = (vdupq_n_s32(add.constant()), vdupq_n_s32(-(add.scales.shift as i32)));
        let zero = vdupq_n_s16(add.y_zero as i16);
        for ((a, b), y) in a_blocks.iter().zip(b_blocks).zip(y_blocks) {
            let (a, b) = (vld1q_s8(a.as_ptr()), vld1q_s8(b.as_ptr()));
            let sum = |a: int32x4_t, b| vshlq_s32(vmlaq_s32(vmlaq_s32(constant, a, ma), b, mb), right);
            let eight = |a: int16x8_t, b: int16x8_t| {
                let low = sum(vmovl_s16(vget_low_s16(a)), vmovl_s16(vget_low_s16(b)));
                let high = sum(vmovl_high_s16(a), vmovl_high_s16(b));
                vqaddq_s16(vqmovn_high_s32(vqmovn_s32(low), high), zero)
            };
            let low = eight(vmovl_s8(vget_low_s8(a)), vmovl_s8(vget_low_s8(b)));
            let high = eight(vmovl_high_s8(a), vmovl_high_s8(b));
            vst1q_s8(y.as_mut_ptr(), vqmovn_high_s16(vqmovn_s16(low), high));
        }
    }
    add::portable(&Add { a: a_tail, b: b_tail, ..*add }, y_tail);
}
