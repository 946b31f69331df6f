//! Inner loop of packed depthwise convolutions on armv7 NEON: a pixel of sixteen channels.
//!
//! Products of two taps are summed in i16, then widened, as in `aarch64/neon_depthwise`. Weights: `(taps, 16)` i8, with a tap of zeros
//! to make their number even.

use core::arch::asm;

use super::{ArmNeon, Rails};
use crate::packed_depthwise::{BLOCK, Band, MAX_TAPS, Rows};

impl Rows for ArmNeon {
    fn weights_len(self, taps: usize) -> usize {
        taps.next_multiple_of(2) * BLOCK
    }

    fn channel_of_lane(self, lane: usize) -> usize {
        lane
    }

    fn pack(self, taps: &[[i8; BLOCK]], to: &mut [i8]) {
        let (weights, rest) = to.split_at_mut(taps.as_flattened().len());
        weights.copy_from_slice(taps.as_flattened());
        rest.fill(0);
    }

    unsafe fn band(self, band: &Band<'_>) {
        // The tap of zeros reads what the first tap reads.
        let mut offsets = [band.offsets[0]; MAX_TAPS];
        offsets[..band.offsets.len()].copy_from_slice(band.offsets);
        let rails = Rails::new(band.y_zero);
        for row in band.each_row() {
            for n in 0..row.pixels {
                // SAFETY: holding an `ArmNeon` means that the CPU has it; `n < pixels`, and an offset is a tap's.
                unsafe {
                    let pixel = Pixel {
                        x: row.x.add(n * row.x_step),
                        offsets: offsets.as_ptr(),
                        pairs: row.offsets.len().div_ceil(2),
                        block: row.block.as_ptr(),
                        y: row.y.add(n * row.y_step),
                        rails: &rails,
                    };
                    match row.has_lowest_pair {
                        false => pixel.compute::<true>(),
                        true => pixel.compute::<false>(),
                    }
                }
            }
        }
    }
}

struct Pixel<'a> {
    x: *const i8,
    offsets: *const usize,
    pairs: usize,
    block: *const i8,
    y: *mut i8,
    rails: &'a Rails,
}

/// Two taps of sixteen channels, `$body` adding their products to `q8`..`q11`; then the requantization.
macro_rules! pixel {
    ($pixel:expr, $($body:literal),+) => {
        asm!(
            ".fpu neon",
            // Biases; multipliers and weights lie behind them.
            "vldmia {block}!, {{d16-d23}}",
            "mov {scale}, {block}",
            "add {block}, {block}, #64",
            "2:",
            "ldr {a}, [{offsets}], #4",
            "ldr {b}, [{offsets}], #4",
            "add {a}, {a}, {x}",
            "add {b}, {b}, {x}",
            "vld1.8 {{d0, d1}}, [{a}]",
            "vld1.8 {{d2, d3}}, [{b}]",
            "vld1.8 {{d4-d7}}, [{block}]!",
            $($body,)+
            "subs {pairs}, {pairs}, #1",
            "bne 2b",
            "vldmia {scale}, {{d24-d31}}",
            "vldmia {rails}, {{d0-d7}}",
            "vcvt.f32.s32 q8, q8",
            "vcvt.f32.s32 q9, q9",
            "vcvt.f32.s32 q10, q10",
            "vcvt.f32.s32 q11, q11",
            "vmul.f32 q8, q8, q12",
            "vmul.f32 q9, q9, q13",
            "vmul.f32 q10, q10, q14",
            "vmul.f32 q11, q11, q15",
            "vmax.f32 q8, q8, q0",
            "vmax.f32 q9, q9, q0",
            "vmax.f32 q10, q10, q0",
            "vmax.f32 q11, q11, q0",
            "vmin.f32 q8, q8, q1",
            "vmin.f32 q9, q9, q1",
            "vmin.f32 q10, q10, q1",
            "vmin.f32 q11, q11, q1",
            "vadd.f32 q8, q8, q2",
            "vadd.f32 q9, q9, q2",
            "vadd.f32 q10, q10, q2",
            "vadd.f32 q11, q11, q2",
            "vsub.i32 q8, q8, q2",
            "vsub.i32 q9, q9, q2",
            "vsub.i32 q10, q10, q2",
            "vsub.i32 q11, q11, q2",
            "vadd.i32 q8, q8, q3",
            "vadd.i32 q9, q9, q3",
            "vadd.i32 q10, q10, q3",
            "vadd.i32 q11, q11, q3",
            "vmovn.i32 d16, q8",
            "vmovn.i32 d17, q9",
            "vmovn.i32 d18, q10",
            "vmovn.i32 d19, q11",
            "vmovn.i16 d16, q8",
            "vmovn.i16 d17, q9",
            "vst1.8 {{d16, d17}}, [{y}]",
            block = inout(reg) $pixel.block => _,
            offsets = inout(reg) $pixel.offsets => _,
            pairs = inout(reg) $pixel.pairs => _,
            x = in(reg) $pixel.x,
            y = in(reg) $pixel.y,
            rails = in(reg) $pixel.rails,
            a = out(reg) _,
            b = out(reg) _,
            scale = out(reg) _,
            out("d0") _, out("d1") _, out("d2") _, out("d3") _, out("d4") _, out("d5") _, out("d6") _, out("d7") _,
            out("d8") _, out("d9") _, out("d10") _, out("d11") _,
            options(nostack)
        )
    };
}

impl Pixel<'_> {
    /// # Safety
    /// NEON is there; `offsets` has `2 * pairs` entries and 16 bytes are readable at `x` plus each; `block` is a packed block; 16
    /// bytes are writable at `y`; with `PAIRS`, no two weights of -128 meet.
    unsafe fn compute<const PAIRS: bool>(&self) {
        // SAFETY: the caller's promise.
        unsafe {
            if PAIRS {
                pixel!(
                    self,
                    "vmull.s8 q4, d0, d4",
                    "vmull.s8 q5, d1, d5",
                    "vmlal.s8 q4, d2, d6",
                    "vmlal.s8 q5, d3, d7",
                    "vaddw.s16 q8, q8, d8",
                    "vaddw.s16 q9, q9, d9",
                    "vaddw.s16 q10, q10, d10",
                    "vaddw.s16 q11, q11, d11"
                );
            } else {
                pixel!(
                    self,
                    "vmull.s8 q4, d0, d4",
                    "vmull.s8 q5, d1, d5",
                    "vaddw.s16 q8, q8, d8",
                    "vaddw.s16 q9, q9, d9",
                    "vaddw.s16 q10, q10, d10",
                    "vaddw.s16 q11, q11, d11",
                    "vmull.s8 q4, d2, d6",
                    "vmull.s8 q5, d3, d7",
                    "vaddw.s16 q8, q8, d8",
                    "vaddw.s16 q9, q9, d9",
                    "vaddw.s16 q10, q10, d10",
                    "vaddw.s16 q11, q11, d11"
                );
            }
        }
    }
}
