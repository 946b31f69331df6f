//! Inner loop of packed convolutions with SMMLA: a 2 x 8 matrix times an 8 x 2 matrix, 32 products an instruction.
//!
//! `smmla acc.4s, x.16b, w.16b` takes eight inputs of two pixels and the weights of two channels for them, and adds
//! `[p0 c0, p0 c1, p1 c0, p1 c1]`. Tile: 8 pixels x 8 channels, 16 sums in registers.

use core::arch::aarch64::*;
use core::arch::asm;

use super::Smmla;
use super::neon_requantize::{eight, store};
use crate::packed_conv::{Gemm, Line};

impl Gemm for Smmla {
    type X = i8;
    const NR: usize = 8;
    const KR: usize = 8;
    const ROWS: usize = 8;

    unsafe fn line(self, width: usize, line: &Line<i8>) {
        // SAFETY: holding an `Smmla` means that `Smmla::detect` saw the feature; the rest is the caller's promise, handed on.
        unsafe {
            match width {
                8 => line_of::<4>(line),
                _ => line_of::<2>(line),
            }
        }
    }
}

/// Two pixels times two channels.
#[inline]
#[target_feature(enable = "neon,i8mm")]
fn smmla(acc: int32x4_t, x: int8x16_t, w: int8x16_t) -> int32x4_t {
    let mut acc = acc;
    // SAFETY: one instruction on registers, of the feature that this function has.
    unsafe {
        asm!(
            "smmla {acc:v}.4s, {x:v}.16b, {w:v}.16b",
            acc = inout(vreg) acc, x = in(vreg) x, w = in(vreg) w,
            options(pure, nomem, nostack, preserves_flags)
        );
    }
    acc
}

/// # Safety
/// Those of [`Gemm::line`], with `width` = `2 * P`.
#[target_feature(enable = "neon,i8mm")]
unsafe fn line_of<const P: usize>(line: &Line<i8>) {
    // SAFETY: the caller's promise, handed on.
    unsafe {
        line.tiles::<8>(
            |whole| tile::<4, P>(whole),
            |rest| match rest.pixels.div_ceil(2) {
                1 => tile::<1, P>(rest),
                2 => tile::<2, P>(rest),
                3 => tile::<3, P>(rest),
                _ => tile::<4, P>(rest),
            },
        );
    }
}

/// `2 * R` pixels (or one fewer: the last then stands in for the missing one) x `2 * P` channels.
///
/// # Safety
/// Those of [`Gemm::line`], with `pixels` = `2 * R` or `2 * R - 1` and `width` = `2 * P`.
#[target_feature(enable = "neon,i8mm")]
unsafe fn tile<const R: usize, const P: usize>(t: &Line<i8>) {
    // SAFETY: all pointers stay inside what the caller promised: weights advance by one step of one panel at a time, each of
    // the `runs` reads the `steps * 8` inputs of its own run, and no pixel from `rows` on is read or written.
    unsafe {
        let rows = t.pixels;
        let pixel = |n: usize| n.min(rows - 1) * t.x_step;
        let mut acc = [[vdupq_n_s32(0); P]; R];
        for p in 0..P {
            let bias = vreinterpretq_s32_s64(vld1q_dup_s64(t.head.cast::<i64>().add(p)));
            for pair in &mut acc {
                pair[p] = bias;
            }
        }
        let mut w = t.weights;
        for outer in 0..t.runs[0] {
            for inner in 0..t.runs[1] {
                let mut x = t.x.add(outer * t.run_step[0] + inner * t.run_step[1]);
                for _ in 0..t.steps {
                    let mut w_p = [vdupq_n_s8(0); P];
                    for (p, w_p) in w_p.iter_mut().enumerate() {
                        *w_p = vld1q_s8(w.add(16 * p));
                    }
                    for (r, pair) in acc.iter_mut().enumerate() {
                        let x_r = vcombine_s8(vld1_s8(x.add(pixel(2 * r))), vld1_s8(x.add(pixel(2 * r + 1))));
                        for (sum, &w_p) in pair.iter_mut().zip(&w_p) {
                            *sum = smmla(*sum, x_r, w_p);
                        }
                    }
                    x = x.add(8);
                    w = w.add(16 * P);
                }
            }
        }
        let zero = vdupq_n_s16(t.y_zero as i16);
        let scales = t.head.add(8 * P).cast::<f32>();
        let scale = [vld1q_f32(scales), vld1q_f32(scales.add(2 * P - 4))];
        let q = acc.map(|pair| {
            // Two neighbouring sums are two channels of one pixel.
            let half = |n: usize| vreinterpretq_s64_s32(pair[n]);
            let first = |n: usize| vreinterpretq_s32_s64(vzip1q_s64(half(n), half(n + 1)));
            let second = |n: usize| vreinterpretq_s32_s64(vzip2q_s64(half(n), half(n + 1)));
            [eight([first(0), first(P - 2)], scale, zero), eight([second(0), second(P - 2)], scale, zero)]
        });
        store(q.map(|[first, _]| first), R, t.y, 2 * t.y_step, t.channels);
        store(q.map(|[_, second]| second), rows / 2, t.y.wrapping_add(t.y_step), 2 * t.y_step, t.channels);
    }
}
