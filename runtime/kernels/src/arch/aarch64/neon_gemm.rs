//! Inner loop of packed convolutions on baseline NEON (Cortex-A53, A72): products in i16, two of them summed before they widen.
//!
//! ```text
//! d0 = dup(x[k], x[k+1])   d1 = dup(x[k+2], x[k+3])                       one pixel, four neighbouring inputs
//! p.8h = smull(d0.8b, w.8b)   p.8h += smlal2(d1.16b, w.16b)   acc.4s += sadalp(p.8h)        16 products, 3 instructions
//! ```
//!
//! A vector of weights holds four channels: two inputs of each in its low half, the next two in its high half. `sadalp` adds neighbours,
//! so a lane of `acc` is a channel, and nothing is left to sum at the end: that is why this form beats the one with inputs along the
//! lanes wherever inputs are few. Two products fit an i16 unless both are -128 * -128: a layer where two such weights meet is marked when
//! it is packed, and widens every product by itself. Tile: 4 pixels x 16 channels, 16 sums in registers.

use core::arch::aarch64::*;
use core::arch::asm;
use core::mem::transmute_copy;

use super::Neon;
use super::neon_requantize::{eight, sixteen, store, store_sixteen};
use crate::packed_conv::{Gemm, Line};

impl Gemm for Neon {
    type X = i8;
    const NR: usize = 16;
    const KR: usize = 4;
    const ROWS: usize = 4;

    fn arrange(self, step: &mut [i8]) {
        for vector in step.as_chunks_mut::<16>().0 {
            // Four channels of four inputs: first the first two inputs of each, then the others.
            let by_channel = *vector;
            for (n, w) in vector.iter_mut().enumerate() {
                let (half, channel, input) = (n / 8, n % 8 / 2, n % 2);
                *w = by_channel[4 * channel + 2 * half + input];
            }
        }
    }

    unsafe fn line(self, width: usize, line: &Line<i8>) {
        // SAFETY: holding a `Neon` means that the CPU has it; the rest is the caller's promise, handed on.
        unsafe {
            match (width, line.has_lowest_pair) {
                (16, false) => line_of::<4, true>(line),
                (16, true) => line_of::<4, false>(line),
                (_, false) => line_of::<2, true>(line),
                (_, true) => line_of::<2, false>(line),
            }
        }
    }
}

/// # Safety
/// Those of [`Gemm::line`], with `width` = `4 * V`.
#[inline(never)] // tests/src/mca.rs looks for it by its name
#[target_feature(enable = "neon")]
unsafe fn line_of<const V: usize, const PAIRS: bool>(line: &Line<i8>) {
    // SAFETY: the caller's promise, handed on.
    unsafe {
        line.tiles::<4>(
            |whole| tile::<4, V, PAIRS>(whole),
            |rest| match rest.pixels {
                1 => tile::<1, V, PAIRS>(rest),
                2 => tile::<2, V, PAIRS>(rest),
                _ => tile::<3, V, PAIRS>(rest),
            },
        );
    }
}

/// Four inputs of four channels against those of a pixel, twice two.
#[inline]
#[target_feature(enable = "neon")]
fn accumulate<const PAIRS: bool>(acc: int32x4_t, d: [int8x16_t; 2], w: int8x16_t) -> int32x4_t {
    let first = vmull_s8(vget_low_s8(d[0]), vget_low_s8(w));
    if PAIRS {
        vpadalq_s16(acc, vmlal_high_s8(first, d[1], w))
    } else {
        vpadalq_s16(vpadalq_s16(acc, first), vmull_high_s8(d[1], w))
    }
}

/// A step of whole tiles: both `dup`s of each pixel, then four products at a time under way, since an in-order core (Cortex-A53) would
/// wait for each result of a chain. `$at` is where its weights lie, `$a` and `$b` are the halfwords of the sixteen inputs that the step takes.
macro_rules! quad {
    ($at:literal, $a:literal, $b:literal) => {
        concat!(
            "ldp {w0:q}, {w1:q}, [{w}, #", $at, "]\n",
            "ldp {w2:q}, {w3:q}, [{w}, #", $at, " + 32]\n",
            quad!(@ "{x0:v}", $a, $b, "{a00:v}", "{a01:v}", "{a02:v}", "{a03:v}"),
            quad!(@ "{x1:v}", $a, $b, "{a10:v}", "{a11:v}", "{a12:v}", "{a13:v}"),
            quad!(@ "{x2:v}", $a, $b, "{a20:v}", "{a21:v}", "{a22:v}", "{a23:v}"),
            quad!(@ "{x3:v}", $a, $b, "{a30:v}", "{a31:v}", "{a32:v}", "{a33:v}"),
        )
    };
    (@ $x:literal, $a:literal, $b:literal, $s0:literal, $s1:literal, $s2:literal, $s3:literal) => {
        concat!(
            "dup {d0:v}.8h, ", $x, ".h[", $a, "]\n",
            "dup {d1:v}.8h, ", $x, ".h[", $b, "]\n",
            "smull {p0:v}.8h, {d0:v}.8b, {w0:v}.8b\n",
            "smull {p1:v}.8h, {d0:v}.8b, {w1:v}.8b\n",
            "smull {p2:v}.8h, {d0:v}.8b, {w2:v}.8b\n",
            "smull {p3:v}.8h, {d0:v}.8b, {w3:v}.8b\n",
            "smlal2 {p0:v}.8h, {d1:v}.16b, {w0:v}.16b\n",
            "smlal2 {p1:v}.8h, {d1:v}.16b, {w1:v}.16b\n",
            "smlal2 {p2:v}.8h, {d1:v}.16b, {w2:v}.16b\n",
            "smlal2 {p3:v}.8h, {d1:v}.16b, {w3:v}.16b\n",
            "sadalp ", $s0, ".4s, {p0:v}.8h\n",
            "sadalp ", $s1, ".4s, {p1:v}.8h\n",
            "sadalp ", $s2, ".4s, {p2:v}.8h\n",
            "sadalp ", $s3, ".4s, {p3:v}.8h\n",
        )
    };
}

/// Fours of steps of a run, four pixels against a panel of sixteen, as a loop of `asm!`: the compiler would compute pointers to all
/// pixels, and take the upper halves of weights apart.
///
/// # Safety
/// `fours >= 1`; `fours * 16` bytes are readable at `x + r * x_step` for `r < 4`, sixteen times as many at `w`; no two weights of -128
/// meet.
#[inline]
#[target_feature(enable = "neon")]
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
            quad!("0", "0", "1"),
            quad!("64", "2", "3"),
            quad!("128", "4", "5"),
            quad!("192", "6", "7"),
            "add {w}, {w}, #256",
            "subs {fours}, {fours}, #1",
            "b.ne 2b",
            a00 = inout(vreg) acc[0][0], a01 = inout(vreg) acc[0][1], a02 = inout(vreg) acc[0][2], a03 = inout(vreg) acc[0][3],
            a10 = inout(vreg) acc[1][0], a11 = inout(vreg) acc[1][1], a12 = inout(vreg) acc[1][2], a13 = inout(vreg) acc[1][3],
            a20 = inout(vreg) acc[2][0], a21 = inout(vreg) acc[2][1], a22 = inout(vreg) acc[2][2], a23 = inout(vreg) acc[2][3],
            a30 = inout(vreg) acc[3][0], a31 = inout(vreg) acc[3][1], a32 = inout(vreg) acc[3][2], a33 = inout(vreg) acc[3][3],
            x0 = out(vreg) _, x1 = out(vreg) _, x2 = out(vreg) _, x3 = out(vreg) _,
            w0 = out(vreg) _, w1 = out(vreg) _, w2 = out(vreg) _, w3 = out(vreg) _,
            p0 = out(vreg) _, p1 = out(vreg) _, p2 = out(vreg) _, p3 = out(vreg) _, d0 = out(vreg) _, d1 = out(vreg) _,
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
#[target_feature(enable = "neon")]
unsafe fn tile<const R: usize, const V: usize, const PAIRS: bool>(t: &Line<i8>) {
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
                if PAIRS && (R, V) == (4, 4) && steps >= 4 {
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
                        let x = x.add(r * t.x_step).cast::<i16>();
                        let d = [x, x.add(1)].map(|two| vreinterpretq_s8_s16(vld1q_dup_s16(two)));
                        for (sum, &w_v) in row.iter_mut().zip(&w_v) {
                            *sum = accumulate::<PAIRS>(*sum, d, w_v);
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
