//! Inner loop of packed convolutions with SDOT: four products a lane, sixteen an instruction.
//!
//! `sdot acc.4s, w.16b, x.4b[i]` multiplies the weights of four channels for four neighbouring inputs with four inputs of one pixel.
//! Tile: 8 pixels x 8 channels, 16 sums in registers; 16 inputs of each pixel and 8 loads of weights feed 64 instructions.

use core::arch::aarch64::*;
use core::arch::asm;
use core::mem::transmute_copy;

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

/// Fours of steps of a run, eight pixels against a panel of eight, as a loop of `asm!`: pixels are addressed by their distance, where
/// the compiler would keep or compute eight pointers.
///
/// # Safety
/// `fours >= 1`; `fours * 16` bytes are readable at `x + r * x_step` for `r < 8`, eight times as many at `w`.
#[inline]
#[target_feature(enable = "neon,dotprod")]
unsafe fn fours_8x8(
    mut acc: [[int32x4_t; 2]; 8],
    x: *const i8,
    x_step: usize,
    w: *const i8,
    fours: usize,
) -> [[int32x4_t; 2]; 8] {
    // SAFETY: the caller's promise; every other operand is a register.
    unsafe {
        asm!(
            "2:",
            "ldr {x0:q}, [{x}]",
            "ldr {x1:q}, [{x}, {s1}]",
            "ldr {x2:q}, [{x}, {s2}]",
            "ldr {x3:q}, [{x}, {s3}]",
            "ldr {x4:q}, [{x}, {s4}]",
            "ldr {x5:q}, [{x}, {s5}]",
            "ldr {x6:q}, [{x}, {s6}]",
            "ldr {x7:q}, [{x}, {s7}]",
            "add {x}, {x}, #16",
            "ldp {w0:q}, {w1:q}, [{w}]",
            "sdot {a00:v}.4s, {w0:v}.16b, {x0:v}.4b[0]",
            "sdot {a10:v}.4s, {w0:v}.16b, {x1:v}.4b[0]",
            "sdot {a20:v}.4s, {w0:v}.16b, {x2:v}.4b[0]",
            "sdot {a30:v}.4s, {w0:v}.16b, {x3:v}.4b[0]",
            "sdot {a40:v}.4s, {w0:v}.16b, {x4:v}.4b[0]",
            "sdot {a50:v}.4s, {w0:v}.16b, {x5:v}.4b[0]",
            "sdot {a60:v}.4s, {w0:v}.16b, {x6:v}.4b[0]",
            "sdot {a70:v}.4s, {w0:v}.16b, {x7:v}.4b[0]",
            "sdot {a01:v}.4s, {w1:v}.16b, {x0:v}.4b[0]",
            "sdot {a11:v}.4s, {w1:v}.16b, {x1:v}.4b[0]",
            "sdot {a21:v}.4s, {w1:v}.16b, {x2:v}.4b[0]",
            "sdot {a31:v}.4s, {w1:v}.16b, {x3:v}.4b[0]",
            "sdot {a41:v}.4s, {w1:v}.16b, {x4:v}.4b[0]",
            "sdot {a51:v}.4s, {w1:v}.16b, {x5:v}.4b[0]",
            "sdot {a61:v}.4s, {w1:v}.16b, {x6:v}.4b[0]",
            "sdot {a71:v}.4s, {w1:v}.16b, {x7:v}.4b[0]",
            "ldp {w0:q}, {w1:q}, [{w}, #32]",
            "sdot {a00:v}.4s, {w0:v}.16b, {x0:v}.4b[1]",
            "sdot {a10:v}.4s, {w0:v}.16b, {x1:v}.4b[1]",
            "sdot {a20:v}.4s, {w0:v}.16b, {x2:v}.4b[1]",
            "sdot {a30:v}.4s, {w0:v}.16b, {x3:v}.4b[1]",
            "sdot {a40:v}.4s, {w0:v}.16b, {x4:v}.4b[1]",
            "sdot {a50:v}.4s, {w0:v}.16b, {x5:v}.4b[1]",
            "sdot {a60:v}.4s, {w0:v}.16b, {x6:v}.4b[1]",
            "sdot {a70:v}.4s, {w0:v}.16b, {x7:v}.4b[1]",
            "sdot {a01:v}.4s, {w1:v}.16b, {x0:v}.4b[1]",
            "sdot {a11:v}.4s, {w1:v}.16b, {x1:v}.4b[1]",
            "sdot {a21:v}.4s, {w1:v}.16b, {x2:v}.4b[1]",
            "sdot {a31:v}.4s, {w1:v}.16b, {x3:v}.4b[1]",
            "sdot {a41:v}.4s, {w1:v}.16b, {x4:v}.4b[1]",
            "sdot {a51:v}.4s, {w1:v}.16b, {x5:v}.4b[1]",
            "sdot {a61:v}.4s, {w1:v}.16b, {x6:v}.4b[1]",
            "sdot {a71:v}.4s, {w1:v}.16b, {x7:v}.4b[1]",
            "ldp {w0:q}, {w1:q}, [{w}, #64]",
            "sdot {a00:v}.4s, {w0:v}.16b, {x0:v}.4b[2]",
            "sdot {a10:v}.4s, {w0:v}.16b, {x1:v}.4b[2]",
            "sdot {a20:v}.4s, {w0:v}.16b, {x2:v}.4b[2]",
            "sdot {a30:v}.4s, {w0:v}.16b, {x3:v}.4b[2]",
            "sdot {a40:v}.4s, {w0:v}.16b, {x4:v}.4b[2]",
            "sdot {a50:v}.4s, {w0:v}.16b, {x5:v}.4b[2]",
            "sdot {a60:v}.4s, {w0:v}.16b, {x6:v}.4b[2]",
            "sdot {a70:v}.4s, {w0:v}.16b, {x7:v}.4b[2]",
            "sdot {a01:v}.4s, {w1:v}.16b, {x0:v}.4b[2]",
            "sdot {a11:v}.4s, {w1:v}.16b, {x1:v}.4b[2]",
            "sdot {a21:v}.4s, {w1:v}.16b, {x2:v}.4b[2]",
            "sdot {a31:v}.4s, {w1:v}.16b, {x3:v}.4b[2]",
            "sdot {a41:v}.4s, {w1:v}.16b, {x4:v}.4b[2]",
            "sdot {a51:v}.4s, {w1:v}.16b, {x5:v}.4b[2]",
            "sdot {a61:v}.4s, {w1:v}.16b, {x6:v}.4b[2]",
            "sdot {a71:v}.4s, {w1:v}.16b, {x7:v}.4b[2]",
            "ldp {w0:q}, {w1:q}, [{w}, #96]",
            "sdot {a00:v}.4s, {w0:v}.16b, {x0:v}.4b[3]",
            "sdot {a10:v}.4s, {w0:v}.16b, {x1:v}.4b[3]",
            "sdot {a20:v}.4s, {w0:v}.16b, {x2:v}.4b[3]",
            "sdot {a30:v}.4s, {w0:v}.16b, {x3:v}.4b[3]",
            "sdot {a40:v}.4s, {w0:v}.16b, {x4:v}.4b[3]",
            "sdot {a50:v}.4s, {w0:v}.16b, {x5:v}.4b[3]",
            "sdot {a60:v}.4s, {w0:v}.16b, {x6:v}.4b[3]",
            "sdot {a70:v}.4s, {w0:v}.16b, {x7:v}.4b[3]",
            "sdot {a01:v}.4s, {w1:v}.16b, {x0:v}.4b[3]",
            "sdot {a11:v}.4s, {w1:v}.16b, {x1:v}.4b[3]",
            "sdot {a21:v}.4s, {w1:v}.16b, {x2:v}.4b[3]",
            "sdot {a31:v}.4s, {w1:v}.16b, {x3:v}.4b[3]",
            "sdot {a41:v}.4s, {w1:v}.16b, {x4:v}.4b[3]",
            "sdot {a51:v}.4s, {w1:v}.16b, {x5:v}.4b[3]",
            "sdot {a61:v}.4s, {w1:v}.16b, {x6:v}.4b[3]",
            "sdot {a71:v}.4s, {w1:v}.16b, {x7:v}.4b[3]",
            "add {w}, {w}, #128",
            "subs {fours}, {fours}, #1",
            "b.ne 2b",
            a00 = inout(vreg) acc[0][0], a01 = inout(vreg) acc[0][1],
            a10 = inout(vreg) acc[1][0], a11 = inout(vreg) acc[1][1],
            a20 = inout(vreg) acc[2][0], a21 = inout(vreg) acc[2][1],
            a30 = inout(vreg) acc[3][0], a31 = inout(vreg) acc[3][1],
            a40 = inout(vreg) acc[4][0], a41 = inout(vreg) acc[4][1],
            a50 = inout(vreg) acc[5][0], a51 = inout(vreg) acc[5][1],
            a60 = inout(vreg) acc[6][0], a61 = inout(vreg) acc[6][1],
            a70 = inout(vreg) acc[7][0], a71 = inout(vreg) acc[7][1],
            x0 = out(vreg) _, x1 = out(vreg) _, x2 = out(vreg) _, x3 = out(vreg) _, x4 = out(vreg) _, x5 = out(vreg) _, x6 = out(vreg) _, x7 = out(vreg) _,
            w0 = out(vreg) _, w1 = out(vreg) _,
            x = inout(reg) x => _, w = inout(reg) w => _, fours = inout(reg) fours => _,
            s1 = in(reg) x_step, s2 = in(reg) 2 * x_step, s3 = in(reg) 3 * x_step, s4 = in(reg) 4 * x_step,
            s5 = in(reg) 5 * x_step, s6 = in(reg) 6 * x_step, s7 = in(reg) 7 * x_step,
            options(readonly, nostack)
        );
    }
    acc
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
                let mut fours = t.steps / 4;
                if (R, V) == (8, 2) && fours > 0 {
                    // Of these sizes it is the same type; by value, so that the sums stay in registers.
                    let sums = fours_8x8(transmute_copy(&acc), x, t.x_step, w, fours);
                    acc = transmute_copy(&sums);
                    (x, w) = (x.add(16 * fours), w.add(128 * fours));
                    fours = 0;
                }
                for _ in 0..fours {
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
        let q = acc.map(|row| eight([row[0], row[V - 1]], scale, zero));
        store(q, R, t.y, t.y_step, t.channels);
    }
}
