//! Inner loop of packed convolutions with SDOT: four products a lane, sixteen an instruction.
//!
//! `sdot acc.4s, w.16b, x.4b[i]` multiplies the weights of four channels for four neighbouring inputs with four inputs of one pixel.
//! Tile: 4 pixels x 16 channels, 16 sums in registers; 16 inputs of each pixel and 16 vectors of weights feed 64 instructions.

use core::arch::aarch64::*;
use core::arch::asm;
use core::mem::transmute_copy;

use super::Sdot;
use super::neon_requantize::{eight, sixteen, store, store_sixteen};
use crate::packed_conv::{Gemm, Line};

impl Gemm for Sdot {
    type X = i8;
    const NR: usize = 16;
    const KR: usize = 4;
    const ROWS: usize = 4;

    unsafe fn line(self, width: usize, line: &Line<i8>) {
        // SAFETY: holding an `Sdot` means that `Sdot::detect` saw the feature; the rest is the caller's promise, handed on.
        unsafe {
            match width {
                16 => line_of::<4>(line),
                _ => line_of::<2>(line),
            }
        }
    }
}

/// `acc[c] += sum_j w[4c + j] * x[j]`.
#[inline]
#[target_feature(enable = "neon,dotprod")]
fn sdot(acc: int32x4_t, w: int8x16_t, x: int8x16_t) -> int32x4_t {
    let mut acc = acc;
    // SAFETY: one instruction on registers, of the feature that this function has.
    unsafe {
        asm!(
            "sdot {acc:v}.4s, {w:v}.16b, {x:v}.4b[0]",
            acc = inout(vreg) acc, w = in(vreg) w, x = in(vreg) x,
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
        line.tiles::<4>(
            |whole| tile::<4, V>(whole),
            |rest| match rest.pixels {
                1 => tile::<1, V>(rest),
                2 => tile::<2, V>(rest),
                _ => tile::<3, V>(rest),
            },
        );
    }
}

/// A step of whole tiles: weights at `$at`, four inputs, the words `$lane` of sixteen.
macro_rules! quad {
    ($at:literal, $lane:literal) => {
        concat!(
            "ldp {w0:q}, {w1:q}, [{w}, #", $at, "]\n",
            "ldp {w2:q}, {w3:q}, [{w}, #", $at, " + 32]\n",
            quad!(@ "{w0:v}", $lane, "{a00:v}", "{a10:v}", "{a20:v}", "{a30:v}"),
            quad!(@ "{w1:v}", $lane, "{a01:v}", "{a11:v}", "{a21:v}", "{a31:v}"),
            quad!(@ "{w2:v}", $lane, "{a02:v}", "{a12:v}", "{a22:v}", "{a32:v}"),
            quad!(@ "{w3:v}", $lane, "{a03:v}", "{a13:v}", "{a23:v}", "{a33:v}"),
        )
    };
    (@ $w:literal, $lane:literal, $s0:literal, $s1:literal, $s2:literal, $s3:literal) => {
        concat!(
            "sdot ", $s0, ".4s, ", $w, ".16b, {x0:v}.4b[", $lane, "]\n",
            "sdot ", $s1, ".4s, ", $w, ".16b, {x1:v}.4b[", $lane, "]\n",
            "sdot ", $s2, ".4s, ", $w, ".16b, {x2:v}.4b[", $lane, "]\n",
            "sdot ", $s3, ".4s, ", $w, ".16b, {x3:v}.4b[", $lane, "]\n",
        )
    };
}

/// Fours of steps of a run, four pixels against a panel of sixteen, as a loop of `asm!`: the compiler would compute a pointer to each
/// pixel.
///
/// # Safety
/// `fours >= 1`; `fours * 16` bytes are readable at `x + r * x_step` for `r < 4`, sixteen times as many at `w`.
#[inline]
#[target_feature(enable = "neon,dotprod")]
unsafe fn fours_4x16(
    mut acc: [[int32x4_t; 4]; 4],
    x: *const i8,
    x_step: usize,
    w: *const i8,
    fours: usize,
) -> [[int32x4_t; 4]; 4] {
    // SAFETY: the caller's promise; every other operand is a register.
    unsafe {
        asm!(
            "2:",
            "ldr {x0:q}, [{x}]",
            "ldr {x1:q}, [{x}, {s1}]",
            "ldr {x2:q}, [{x}, {s2}]",
            "ldr {x3:q}, [{x}, {s3}]",
            "add {x}, {x}, #16",
            quad!("0", "0"),
            quad!("64", "1"),
            quad!("128", "2"),
            quad!("192", "3"),
            "add {w}, {w}, #256",
            "subs {fours}, {fours}, #1",
            "b.ne 2b",
            a00 = inout(vreg) acc[0][0], a01 = inout(vreg) acc[0][1], a02 = inout(vreg) acc[0][2], a03 = inout(vreg) acc[0][3],
            a10 = inout(vreg) acc[1][0], a11 = inout(vreg) acc[1][1], a12 = inout(vreg) acc[1][2], a13 = inout(vreg) acc[1][3],
            a20 = inout(vreg) acc[2][0], a21 = inout(vreg) acc[2][1], a22 = inout(vreg) acc[2][2], a23 = inout(vreg) acc[2][3],
            a30 = inout(vreg) acc[3][0], a31 = inout(vreg) acc[3][1], a32 = inout(vreg) acc[3][2], a33 = inout(vreg) acc[3][3],
            x0 = out(vreg) _, x1 = out(vreg) _, x2 = out(vreg) _, x3 = out(vreg) _,
            w0 = out(vreg) _, w1 = out(vreg) _, w2 = out(vreg) _, w3 = out(vreg) _,
            x = inout(reg) x => _, w = inout(reg) w => _, fours = inout(reg) fours => _,
            s1 = in(reg) x_step, s2 = in(reg) 2 * x_step, s3 = in(reg) 3 * x_step,
            options(readonly, nostack)
        );
    }
    acc
}

/// `R` pixels x `4 * V` channels.
///
/// # Safety
/// Those of [`Gemm::line`], with `pixels` = `R` and `width` = `4 * V`.
#[inline]
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
                let mut steps = t.steps;
                if (R, V) == (4, 4) && steps >= 4 {
                    // Of these sizes it is the same type; by value, so that the sums stay in registers.
                    let fours = steps / 4;
                    let sums = fours_4x16(transmute_copy(&acc), x, t.x_step, w, fours);
                    acc = transmute_copy(&sums);
                    (x, w, steps) = (x.add(16 * fours), w.add(256 * fours), steps % 4);
                }
                for _ in 0..steps {
                    let mut w_v = [vdupq_n_s8(0); V];
                    for (v, w_v) in w_v.iter_mut().enumerate() {
                        *w_v = vld1q_s8(w.add(16 * v));
                    }
                    for (r, row) in acc.iter_mut().enumerate() {
                        let four = vreinterpretq_s8_s32(vld1q_dup_s32(x.add(r * t.x_step).cast()));
                        for (sum, &w_v) in row.iter_mut().zip(&w_v) {
                            *sum = sdot(*sum, w_v, four);
                        }
                    }
                    x = x.add(4);
                    w = w.add(16 * V);
                }
            }
        }
        let zero = vdupq_n_s16(t.y_zero as i16);
        let scales = t.head.add(16 * V).cast::<f32>();
        if V == 4 {
            let scale = [0, 4, 8, 12].map(|n| vld1q_f32(scales.add(n)));
            let q = acc.map(|row| sixteen([row[0], row[1], row[V - 2], row[V - 1]], scale, zero));
            store_sixteen(q, t.y, t.y_step, t.channels);
        } else {
            let scale = [vld1q_f32(scales), vld1q_f32(scales.add(4))];
            let q = acc.map(|row| eight([row[0], row[1]], scale, zero));
            store(q, R, t.y, t.y_step, t.channels);
        }
    }
}
