//! Inner loop of packed convolutions on baseline NEON (Cortex-A53, A72): products in i16, pairs of them summed before they widen.
//!
//! ```text
//! p.8h = smull(x.8b, w.8b)   p.8h += smlal2(x.16b, w.16b)   acc.4s += sadalp(p.8h)        16 products, 3 instructions
//! ```
//!
//! Sixteen neighbouring inputs of one pixel meet those of one channel, so a sum ends as four partial sums. Two products fit an i16
//! unless both are -128 * -128: a layer that has the weight -128 is packed with its own mark and widens every product by itself.
//! Tile: 4 pixels x 4 channels, 16 sums in registers.

use core::arch::aarch64::*;

use super::Neon;
use crate::packed_conv::{Gemm, Line};

impl Gemm for Neon {
    type X = i8;
    const NR: usize = 4;
    const KR: usize = 16;
    const ROWS: usize = 4;
    const X_OFFSET: i32 = 0;
    const IN_PLACE: bool = true;
    /// Half of a first cache of 32 KiB.
    const BAND: usize = 16 << 10;
    const WIDE: usize = 0;

    fn channel_of_lane(self, _width: usize, lane: usize) -> usize {
        lane
    }

    fn element(x: i8) -> i8 {
        x
    }

    fn bring(self, from: &[i8], to: &mut [i8]) {
        to.copy_from_slice(from);
    }

    fn in_place(x: &[i8]) -> &[i8] {
        x
    }

    fn widen(self, _from: &[i8], _to: &mut [i8]) {}

    unsafe fn line(self, width: usize, line: &Line<i8>) {
        // SAFETY: holding a `Neon` means that the CPU has it; the rest is the caller's promise, handed on.
        unsafe {
            match (width, line.has_lowest_weight) {
                (4, false) => line_of::<4, true>(line),
                (4, true) => line_of::<4, false>(line),
                (_, false) => line_of::<2, true>(line),
                (_, true) => line_of::<2, false>(line),
            }
        }
    }
}

/// # Safety
/// Those of [`Gemm::line`], with `width` = `W`.
#[target_feature(enable = "neon")]
unsafe fn line_of<const W: usize, const PAIRS: bool>(line: &Line<i8>) {
    // SAFETY: the caller's promise, handed on.
    unsafe {
        line.tiles::<4>(
            |whole| tile::<4, W, PAIRS>(whole),
            |rest| match rest.pixels {
                1 => tile::<1, W, PAIRS>(rest),
                2 => tile::<2, W, PAIRS>(rest),
                _ => tile::<3, W, PAIRS>(rest),
            },
        );
    }
}

/// Sixteen products, four partial sums.
#[inline]
#[target_feature(enable = "neon")]
fn accumulate<const PAIRS: bool>(acc: int32x4_t, x: int8x16_t, w: int8x16_t) -> int32x4_t {
    let low = vmull_s8(vget_low_s8(x), vget_low_s8(w));
    if PAIRS {
        vpadalq_s16(acc, vmlal_high_s8(low, x, w))
    } else {
        vpadalq_s16(vpadalq_s16(acc, low), vmull_high_s8(x, w))
    }
}

/// `R` pixels x `W` channels.
///
/// # Safety
/// Those of [`Gemm::line`], with `pixels` = `R` and `width` = `W`.
#[target_feature(enable = "neon")]
unsafe fn tile<const R: usize, const W: usize, const PAIRS: bool>(t: &Line<i8>) {
    // SAFETY: all pointers stay inside what the caller promised: weights advance by one step of one panel at a time, and each of
    // the `runs` reads the `steps * 16` inputs of its own run.
    unsafe {
        let mut acc = [[vdupq_n_s32(0); W]; R];
        let mut w = t.weights;
        for outer in 0..t.runs[0] {
            for inner in 0..t.runs[1] {
                let mut x = t.x.add(outer * t.run_step[0] + inner * t.run_step[1]);
                for _ in 0..t.steps {
                    let mut x_r = [vdupq_n_s8(0); R];
                    for (r, x_r) in x_r.iter_mut().enumerate() {
                        *x_r = vld1q_s8(x.add(r * t.x_step));
                    }
                    for c in 0..W {
                        let w_c = vld1q_s8(w.add(16 * c));
                        for (row, &x_r) in acc.iter_mut().zip(&x_r) {
                            row[c] = accumulate::<PAIRS>(row[c], x_r, w_c);
                        }
                    }
                    x = x.add(16);
                    w = w.add(16 * W);
                }
            }
        }
        // Half a panel computes its two channels twice.
        let (bias, scale) = (t.head.cast::<i32>(), t.head.add(4 * W).cast::<f32>());
        let (bias, scale) = match W {
            4 => (vld1q_s32(bias), vld1q_f32(scale)),
            _ => {
                (vreinterpretq_s32_s64(vld1q_dup_s64(bias.cast())), vreinterpretq_f32_s64(vld1q_dup_s64(scale.cast())))
            }
        };
        let zero = vdup_n_s16(t.y_zero as i16);
        for (r, row) in acc.iter().enumerate() {
            let sums = vpaddq_s32(vpaddq_s32(row[0], row[1]), vpaddq_s32(row[W - 2], row[W - 1]));
            let real = vmulq_f32(vcvtq_f32_s32(vaddq_s32(sums, bias)), scale);
            let q = vqadd_s16(vqmovn_s32(vcvtnq_s32_f32(real)), zero);
            let q = vqmovn_s16(vcombine_s16(q, q));
            let y = t.y.add(r * t.y_step);
            if t.channels == 4 {
                y.cast::<i32>().write_unaligned(vget_lane_s32::<0>(vreinterpret_s32_s8(q)));
            } else {
                let mut bytes = [0i8; 8];
                vst1_s8(bytes.as_mut_ptr(), q);
                core::ptr::copy_nonoverlapping(bytes.as_ptr(), y, t.channels);
            }
        }
    }
}
