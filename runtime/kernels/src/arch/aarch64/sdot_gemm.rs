//! Inner loop of packed convolutions with SDOT: four products a lane, sixteen an instruction.
//!
//! `sdot acc.4s, w.16b, x.4b[i]` multiplies the weights of four channels for four neighbouring inputs with four inputs of one pixel.
//! Tile: 8 pixels x 8 channels, 16 sums in registers; 16 inputs of each pixel and 8 loads of weights feed 64 instructions.

use core::arch::aarch64::*;
use core::arch::asm;

use super::Sdot;
use super::neon_requantize::{eight, store};
use crate::packed_conv::{Gemm, Line};

impl Gemm for Sdot {
    type X = i8;
    const NR: usize = 8;
    const KR: usize = 4;
    const ROWS: usize = 8;
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
        // SAFETY: holding an `Sdot` means that `Sdot::detect` saw the feature; the rest is the caller's promise, handed on.
        unsafe {
            match width {
                8 => line_of::<2>(line),
                _ => line_of::<1>(line),
            }
        }
    }
}

/// `acc[c] += sum_j w[4c + j] * x[4 * LANE + j]`.
#[inline]
#[target_feature(enable = "neon,dotprod")]
fn sdot<const LANE: i32>(acc: int32x4_t, w: int8x16_t, x: int8x16_t) -> int32x4_t {
    let mut acc = acc;
    // SAFETY: one instruction on registers, of the feature that this function has.
    unsafe {
        asm!(
            "sdot {acc:v}.4s, {w:v}.16b, {x:v}.4b[{lane}]",
            acc = inout(vreg) acc, w = in(vreg) w, x = in(vreg) x, lane = const LANE,
            options(pure, nomem, nostack, preserves_flags)
        );
    }
    acc
}

/// # Safety
/// Those of [`Gemm::line`], with `width` = `4 * V`.
#[target_feature(enable = "neon,dotprod")]
unsafe fn line_of<const V: usize>(line: &Line<i8>) {
    // SAFETY: the caller's promise, handed on.
    unsafe {
        line.tiles::<8>(
            |whole| tile::<8, V>(whole),
            |rest| match rest.pixels {
                1 => tile::<1, V>(rest),
                2 => tile::<2, V>(rest),
                3 => tile::<3, V>(rest),
                4 => tile::<4, V>(rest),
                5 => tile::<5, V>(rest),
                6 => tile::<6, V>(rest),
                _ => tile::<7, V>(rest),
            },
        );
    }
}

/// `R` pixels x `4 * V` channels.
///
/// # Safety
/// Those of [`Gemm::line`], with `pixels` = `R` and `width` = `4 * V`.
#[target_feature(enable = "neon,dotprod")]
unsafe fn tile<const R: usize, const V: usize>(t: &Line<i8>) {
    // SAFETY: all pointers stay inside what the caller promised: weights advance by one step of one panel at a time, and each of
    // the `runs` reads the `steps * 4` inputs of its own run.
    unsafe {
        let mut acc = [[vdupq_n_s32(0); V]; R];
        for v in 0..V {
            let bias = vld1q_s32(t.head.cast::<i32>().add(4 * v));
            for row in &mut acc {
                row[v] = bias;
            }
        }
        let mut w = t.weights;
        for outer in 0..t.runs[0] {
            for inner in 0..t.runs[1] {
                let mut x = t.x.add(outer * t.run_step[0] + inner * t.run_step[1]);
                for _ in 0..t.steps / 4 {
                    let mut x_r = [vdupq_n_s8(0); R];
                    for (r, x_r) in x_r.iter_mut().enumerate() {
                        *x_r = vld1q_s8(x.add(r * t.x_step));
                    }
                    x = x.add(16);
                    macro_rules! step {
                        ($lane:literal) => {
                            for v in 0..V {
                                let w_v = vld1q_s8(w.add(16 * v));
                                for (row, &x_r) in acc.iter_mut().zip(&x_r) {
                                    row[v] = sdot::<$lane>(row[v], w_v, x_r);
                                }
                            }
                            w = w.add(16 * V);
                        };
                    }
                    step!(0);
                    step!(1);
                    step!(2);
                    step!(3);
                }
                for _ in 0..t.steps % 4 {
                    let mut w_v = [vdupq_n_s8(0); V];
                    for (v, w_v) in w_v.iter_mut().enumerate() {
                        *w_v = vld1q_s8(w.add(16 * v));
                    }
                    for (r, row) in acc.iter_mut().enumerate() {
                        let quad = x.add(r * t.x_step).cast::<i32>().read_unaligned();
                        let x_r = vreinterpretq_s8_s32(vsetq_lane_s32::<0>(quad, vdupq_n_s32(0)));
                        for (sum, &w_v) in row.iter_mut().zip(&w_v) {
                            *sum = sdot::<0>(*sum, w_v, x_r);
                        }
                    }
                    x = x.add(4);
                    w = w.add(16 * V);
                }
            }
        }
        let zero = vdupq_n_s16(t.y_zero as i16);
        let scales = t.head.add(16 * V).cast::<f32>();
        let scale = [vld1q_f32(scales), vld1q_f32(scales.add(4 * (V - 1)))];
        for (r, row) in acc.iter().enumerate() {
            let q = eight([row[0], row[V - 1]], scale, zero);
            store(q, t.y.add(r * t.y_step), t.channels);
        }
    }
}
