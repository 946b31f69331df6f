//! Inner loop of packed convolutions on armv7 NEON: products in i16, pairs of them summed before they widen.
//!
//! ```text
//! p = vmull.s8(x, w)   p += vmlal.s8(x', w')   acc += vpadal.s16(p)        16 products, 3 instructions
//! ```
//!
//! As `aarch64/neon_gemm`, with half of its registers: 2 pixels x 4 channels, 8 sums (`q8`..`q15`), each as four partial sums.

use core::arch::asm;

use super::{ArmNeon, Rails};
use crate::packed_conv::{Gemm, Line};

impl Gemm for ArmNeon {
    type X = i8;
    const NR: usize = 4;
    const KR: usize = 16;
    const ROWS: usize = 2;

    unsafe fn line(self, width: usize, line: &Line<i8>) {
        // SAFETY: holding an `ArmNeon` means that the CPU has it; the rest is the caller's promise, handed on.
        unsafe { line.tiles::<2>(|whole| tile(width, whole), |rest| tile(width, rest)) }
    }
}

/// One or two pixels.
///
/// # Safety
/// NEON is there; those of [`Gemm::line`].
unsafe fn tile(width: usize, t: &Line<i8>) {
    let mut sums = Sums([[[0; 4]; 4]; 2]);
    // A missing second pixel is the first once more, and is not written.
    let second = if t.pixels == 2 { t.x_step } else { 0 };
    // SAFETY: the caller's promise. Weights advance by one step of one panel at a time, and each of
    // the `runs` reads the `steps * 16` inputs of its own run.
    unsafe {
        let mut w = t.weights;
        for outer in 0..t.runs[0] {
            for inner in 0..t.runs[1] {
                let x = t.x.add(outer * t.run_step[0] + inner * t.run_step[1]);
                let run = Run { x: [x, x.add(second)], w, steps: t.steps };
                match (width, t.has_lowest_pair) {
                    (4, false) => run.four::<true>(&mut sums),
                    (4, true) => run.four::<false>(&mut sums),
                    (_, false) => run.two::<true>(&mut sums),
                    (_, true) => run.two::<false>(&mut sums),
                }
                w = w.add(16 * width * t.steps);
            }
        }
        // Half a panel has two biases and two multipliers; what its other lanes hold is not written.
        let mut head = Head([0; 8]);
        let (bias, scale) = (t.head.cast::<i32>(), t.head.add(4 * width).cast::<i32>());
        core::ptr::copy_nonoverlapping(bias, head.0.as_mut_ptr(), width);
        core::ptr::copy_nonoverlapping(scale, head.0.as_mut_ptr().add(4), width);
        let q = requantize(&mut sums, &head, &Rails::new(t.y_zero));
        for (r, q) in q.iter().take(t.pixels).enumerate() {
            core::ptr::copy_nonoverlapping(q.as_ptr(), t.y.add(r * t.y_step), t.channels);
        }
    }
}

/// Partial sums: pixel, channel, lane.
#[repr(C, align(16))]
struct Sums([[[i32; 4]; 4]; 2]);

/// Four biases, four multipliers.
#[repr(C, align(16))]
struct Head([i32; 8]);

/// One run of two pixels against a panel.
struct Run {
    x: [*const i8; 2],
    w: *const i8,
    steps: usize,
}

/// One channel of a step: its weights meet both pixels; sums in `$a` and `$b`.
macro_rules! channel {
    (pairs $a:literal $b:literal) => {
        concat!(
            "vld1.8 {{d4, d5}}, [{w}]!\n",
            "vmull.s8 q3, d4, d0\n",
            "vmull.s8 q4, d4, d2\n",
            "vmlal.s8 q3, d5, d1\n",
            "vmlal.s8 q4, d5, d3\n",
            "vpadal.s16 ",
            $a,
            ", q3\n",
            "vpadal.s16 ",
            $b,
            ", q4\n",
        )
    };
    (single $a:literal $b:literal) => {
        concat!(
            "vld1.8 {{d4, d5}}, [{w}]!\n",
            "vmull.s8 q3, d4, d0\n",
            "vmull.s8 q4, d4, d2\n",
            "vmull.s8 q5, d5, d1\n",
            "vmull.s8 q6, d5, d3\n",
            "vpadal.s16 ",
            $a,
            ", q3\n",
            "vpadal.s16 ",
            $b,
            ", q4\n",
            "vpadal.s16 ",
            $a,
            ", q5\n",
            "vpadal.s16 ",
            $b,
            ", q6\n",
        )
    };
}

/// The loop over steps, for the channels listed.
macro_rules! run {
    ($run:expr, $sums:expr, $($kind:ident $a:literal $b:literal),+) => {
        asm!(
            ".fpu neon",
            "vldmia {sums}, {{d16-d31}}",
            "2:",
            "vld1.8 {{d0, d1}}, [{x0}]!",
            "vld1.8 {{d2, d3}}, [{x1}]!",
            concat!($(channel!($kind $a $b)),+),
            "subs {steps}, {steps}, #1",
            "bne 2b",
            "vstmia {sums}, {{d16-d31}}",
            x0 = inout(reg) $run.x[0] => _,
            x1 = inout(reg) $run.x[1] => _,
            w = inout(reg) $run.w => _,
            steps = inout(reg) $run.steps => _,
            sums = in(reg) $sums.0.as_mut_ptr(),
            out("d0") _, out("d1") _, out("d2") _, out("d3") _, out("d4") _, out("d5") _, out("d6") _, out("d7") _,
            out("d8") _, out("d9") _, out("d10") _, out("d11") _, out("d12") _, out("d13") _,
            options(nostack)
        )
    };
}

impl Run {
    /// # Safety
    /// NEON is there; `steps >= 1`; `steps * 16` bytes are readable at both of `x`, four times as many at `w`.
    unsafe fn four<const PAIRS: bool>(&self, sums: &mut Sums) {
        // SAFETY: the caller's promise; `sums` is 128 bytes.
        unsafe {
            if PAIRS {
                run!(self, sums, pairs "q8" "q12", pairs "q9" "q13", pairs "q10" "q14", pairs "q11" "q15");
            } else {
                run!(self, sums, single "q8" "q12", single "q9" "q13", single "q10" "q14", single "q11" "q15");
            }
        }
    }

    /// # Safety
    /// Those of `four`, with twice as many bytes at `w`.
    unsafe fn two<const PAIRS: bool>(&self, sums: &mut Sums) {
        // SAFETY: the caller's promise; `sums` is 128 bytes.
        unsafe {
            if PAIRS {
                run!(self, sums, pairs "q8" "q12", pairs "q9" "q13");
            } else {
                run!(self, sums, single "q8" "q12", single "q9" "q13");
            }
        }
    }
}

/// Partial sums of two pixels to four stored values each.
///
/// # Safety
/// NEON is there.
unsafe fn requantize(sums: &mut Sums, head: &Head, rails: &Rails) -> [[i8; 4]; 2] {
    let mut q = [[0i8; 4]; 2];
    // SAFETY: the caller's promise; every pointer is to a whole value of the size that is loaded or stored.
    unsafe {
        asm!(
            ".fpu neon",
            "vldmia {sums}, {{d16-d31}}",
            "vldmia {rails}, {{d0-d7}}",
            "vldmia {head}, {{d8-d11}}",
            // Lanes to sums: q8 holds pixel 0, q12 pixel 1.
            "vpadd.i32 d16, d16, d17",
            "vpadd.i32 d17, d18, d19",
            "vpadd.i32 d18, d20, d21",
            "vpadd.i32 d19, d22, d23",
            "vpadd.i32 d16, d16, d17",
            "vpadd.i32 d17, d18, d19",
            "vpadd.i32 d24, d24, d25",
            "vpadd.i32 d25, d26, d27",
            "vpadd.i32 d26, d28, d29",
            "vpadd.i32 d27, d30, d31",
            "vpadd.i32 d24, d24, d25",
            "vpadd.i32 d25, d26, d27",
            "vadd.i32 q8, q8, q4",
            "vadd.i32 q12, q12, q4",
            "vcvt.f32.s32 q8, q8",
            "vcvt.f32.s32 q12, q12",
            "vmul.f32 q8, q8, q5",
            "vmul.f32 q12, q12, q5",
            "vmax.f32 q8, q8, q0",
            "vmax.f32 q12, q12, q0",
            "vmin.f32 q8, q8, q1",
            "vmin.f32 q12, q12, q1",
            "vadd.f32 q8, q8, q2",
            "vadd.f32 q12, q12, q2",
            "vsub.i32 q8, q8, q2",
            "vsub.i32 q12, q12, q2",
            "vadd.i32 q8, q8, q3",
            "vadd.i32 q12, q12, q3",
            "vmovn.i32 d16, q8",
            "vmovn.i32 d17, q12",
            "vmovn.i16 d16, q8",
            "vst1.8 {{d16}}, [{q}]",
            sums = in(reg) sums.0.as_mut_ptr(),
            rails = in(reg) rails,
            head = in(reg) head.0.as_ptr(),
            q = in(reg) q.as_mut_ptr(),
            out("d0") _, out("d1") _, out("d2") _, out("d3") _, out("d4") _, out("d5") _, out("d6") _, out("d7") _,
            out("d8") _, out("d9") _, out("d10") _, out("d11") _,
            options(nostack)
        );
    }
    q
}
