//! Inner loop of packed convolutions on baseline NEON (Cortex-A53, A72): products in i16, pairs of them summed before they widen.
//!
//! ```text
//! p.8h = smull(x.8b, w.8b)   p.8h += smlal2(x.16b, w.16b)   acc.4s += sadalp(p.8h)        16 products, 3 instructions
//! ```
//!
//! Sixteen neighbouring inputs of one pixel meet those of one channel, so a sum ends as four partial sums. Two products fit an i16
//! unless both are -128 * -128: a layer where two such weights meet is marked when it is packed, and widens every product by itself.
//! Tile: 4 pixels x 4 channels, 16 sums in registers.

use core::arch::aarch64::*;
use core::arch::asm;
use core::mem::transmute_copy;

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
            match (width, line.has_lowest_pair) {
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
#[inline(never)] // tests/src/mca.rs looks for it by its name
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

/// A run of four pixels against a panel, as a loop of `asm!`. Four products at a time are under way, since an in-order core
/// (Cortex-A53) would wait for each result of a chain; and pixels are addressed by their distance, which takes one pointer.
///
/// # Safety
/// `steps >= 1`; `steps * 16` bytes are readable at `x + r * x_step` for `r < 4`, four times as many at `w`; no two weights of -128 meet.
#[inline]
#[target_feature(enable = "neon")]
unsafe fn run_4x4(
    mut acc: [[int32x4_t; 4]; 4],
    x: *const i8,
    x_step: usize,
    w: *const i8,
    steps: usize,
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
            "ldp {w0:q}, {w1:q}, [{w}]",
            "ldp {w2:q}, {w3:q}, [{w}, #32]",
            "add {w}, {w}, #64",
            "smull {p0:v}.8h, {x0:v}.8b, {w0:v}.8b",
            "smull {p1:v}.8h, {x1:v}.8b, {w0:v}.8b",
            "smull {p2:v}.8h, {x2:v}.8b, {w0:v}.8b",
            "smull {p3:v}.8h, {x3:v}.8b, {w0:v}.8b",
            "smlal2 {p0:v}.8h, {x0:v}.16b, {w0:v}.16b",
            "smlal2 {p1:v}.8h, {x1:v}.16b, {w0:v}.16b",
            "smlal2 {p2:v}.8h, {x2:v}.16b, {w0:v}.16b",
            "smlal2 {p3:v}.8h, {x3:v}.16b, {w0:v}.16b",
            "sadalp {a00:v}.4s, {p0:v}.8h",
            "sadalp {a10:v}.4s, {p1:v}.8h",
            "sadalp {a20:v}.4s, {p2:v}.8h",
            "sadalp {a30:v}.4s, {p3:v}.8h",
            "smull {p0:v}.8h, {x0:v}.8b, {w1:v}.8b",
            "smull {p1:v}.8h, {x1:v}.8b, {w1:v}.8b",
            "smull {p2:v}.8h, {x2:v}.8b, {w1:v}.8b",
            "smull {p3:v}.8h, {x3:v}.8b, {w1:v}.8b",
            "smlal2 {p0:v}.8h, {x0:v}.16b, {w1:v}.16b",
            "smlal2 {p1:v}.8h, {x1:v}.16b, {w1:v}.16b",
            "smlal2 {p2:v}.8h, {x2:v}.16b, {w1:v}.16b",
            "smlal2 {p3:v}.8h, {x3:v}.16b, {w1:v}.16b",
            "sadalp {a01:v}.4s, {p0:v}.8h",
            "sadalp {a11:v}.4s, {p1:v}.8h",
            "sadalp {a21:v}.4s, {p2:v}.8h",
            "sadalp {a31:v}.4s, {p3:v}.8h",
            "smull {p0:v}.8h, {x0:v}.8b, {w2:v}.8b",
            "smull {p1:v}.8h, {x1:v}.8b, {w2:v}.8b",
            "smull {p2:v}.8h, {x2:v}.8b, {w2:v}.8b",
            "smull {p3:v}.8h, {x3:v}.8b, {w2:v}.8b",
            "smlal2 {p0:v}.8h, {x0:v}.16b, {w2:v}.16b",
            "smlal2 {p1:v}.8h, {x1:v}.16b, {w2:v}.16b",
            "smlal2 {p2:v}.8h, {x2:v}.16b, {w2:v}.16b",
            "smlal2 {p3:v}.8h, {x3:v}.16b, {w2:v}.16b",
            "sadalp {a02:v}.4s, {p0:v}.8h",
            "sadalp {a12:v}.4s, {p1:v}.8h",
            "sadalp {a22:v}.4s, {p2:v}.8h",
            "sadalp {a32:v}.4s, {p3:v}.8h",
            "smull {p0:v}.8h, {x0:v}.8b, {w3:v}.8b",
            "smull {p1:v}.8h, {x1:v}.8b, {w3:v}.8b",
            "smull {p2:v}.8h, {x2:v}.8b, {w3:v}.8b",
            "smull {p3:v}.8h, {x3:v}.8b, {w3:v}.8b",
            "smlal2 {p0:v}.8h, {x0:v}.16b, {w3:v}.16b",
            "smlal2 {p1:v}.8h, {x1:v}.16b, {w3:v}.16b",
            "smlal2 {p2:v}.8h, {x2:v}.16b, {w3:v}.16b",
            "smlal2 {p3:v}.8h, {x3:v}.16b, {w3:v}.16b",
            "sadalp {a03:v}.4s, {p0:v}.8h",
            "sadalp {a13:v}.4s, {p1:v}.8h",
            "sadalp {a23:v}.4s, {p2:v}.8h",
            "sadalp {a33:v}.4s, {p3:v}.8h",
            "subs {steps}, {steps}, #1",
            "b.ne 2b",
            a00 = inout(vreg) acc[0][0], a01 = inout(vreg) acc[0][1], a02 = inout(vreg) acc[0][2], a03 = inout(vreg) acc[0][3],
            a10 = inout(vreg) acc[1][0], a11 = inout(vreg) acc[1][1], a12 = inout(vreg) acc[1][2], a13 = inout(vreg) acc[1][3],
            a20 = inout(vreg) acc[2][0], a21 = inout(vreg) acc[2][1], a22 = inout(vreg) acc[2][2], a23 = inout(vreg) acc[2][3],
            a30 = inout(vreg) acc[3][0], a31 = inout(vreg) acc[3][1], a32 = inout(vreg) acc[3][2], a33 = inout(vreg) acc[3][3],
            x0 = out(vreg) _, x1 = out(vreg) _, x2 = out(vreg) _, x3 = out(vreg) _,
            w0 = out(vreg) _, w1 = out(vreg) _, w2 = out(vreg) _, w3 = out(vreg) _,
            p0 = out(vreg) _, p1 = out(vreg) _, p2 = out(vreg) _, p3 = out(vreg) _,
            x = inout(reg) x => _, w = inout(reg) w => _, steps = inout(reg) steps => _,
            s1 = in(reg) x_step, s2 = in(reg) 2 * x_step, s3 = in(reg) 3 * x_step,
            options(readonly, nostack)
        );
    }
    acc
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
        // A bias starts as one of the four partial sums of its channel.
        let mut acc = [[vdupq_n_s32(0); W]; R];
        for c in 0..W {
            let bias = vld1q_lane_s32::<0>(t.head.cast::<i32>().add(c), vdupq_n_s32(0));
            for row in &mut acc {
                row[c] = bias;
            }
        }
        let mut w = t.weights;
        for outer in 0..t.runs[0] {
            for inner in 0..t.runs[1] {
                let mut x = t.x.add(outer * t.run_step[0] + inner * t.run_step[1]);
                if PAIRS && (R, W) == (4, 4) {
                    // Of these sizes it is the same type; by value, so that the sums stay in registers.
                    let sums = run_4x4(transmute_copy(&acc), x, t.x_step, w, t.steps);
                    acc = transmute_copy(&sums);
                    w = w.add(16 * W * t.steps);
                    continue;
                }
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
        let scale = t.head.add(4 * W).cast::<f32>();
        let scale = match W {
            4 => vld1q_f32(scale),
            _ => vreinterpretq_f32_s64(vld1q_dup_s64(scale.cast())),
        };
        let zero = vdupq_n_s16(t.y_zero as i16);
        let real = acc.map(|row| {
            let sums = vpaddq_s32(vpaddq_s32(row[0], row[1]), vpaddq_s32(row[W - 2], row[W - 1]));
            vmulq_f32(vcvtq_f32_s32(sums), scale)
        });
        for (n, pair) in real.chunks(2).enumerate() {
            // Two pixels of four channels narrow together.
            let [a, b] = [pair[0], pair[pair.len() - 1]].map(|real| vcvtnq_s32_f32(real));
            let q = vqmovn_s16(vqaddq_s16(vqmovn_high_s32(vqmovn_s32(a), b), zero));
            let y = t.y.add(2 * n * t.y_step);
            store_four(vget_lane_u32::<0>(vreinterpret_u32_s8(q)), y, t.channels);
            if pair.len() == 2 {
                store_four(vget_lane_u32::<1>(vreinterpret_u32_s8(q)), y.add(t.y_step), t.channels);
            }
        }
    }
}

/// Writes the first `channels` bytes of `q`.
///
/// # Safety
/// `channels <= 4` bytes are writable at `y`.
#[inline]
unsafe fn store_four(q: u32, y: *mut i8, channels: usize) {
    // SAFETY: what is written sums to `channels`.
    unsafe {
        if channels == 4 {
            return y.cast::<u32>().write_unaligned(q);
        }
        if channels & 2 != 0 {
            y.cast::<u16>().write_unaligned(q as u16);
        }
        if channels & 1 != 0 {
            *y.add(channels - 1) = (q >> (8 * (channels - 1))) as i8;
        }
    }
}
