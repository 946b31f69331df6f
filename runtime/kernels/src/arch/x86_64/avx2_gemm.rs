//! Inner loop of packed convolutions on AVX2: `vpmaddwd`, exact.
//!
//! Activations and weights are i16; a `vpmaddwd` multiplies a pair of neighbouring inputs of one pixel with the weights of eight
//! channels and adds the two products in i32. `vpmaddubsw` takes twice as many products but saturates, and needs a second
//! multiply to come to i32.
//!
//! Tile: 4 pixels x 16 channels, 8 sums in registers; two loads of weights and four broadcasts feed 8 multiplies. Six pixels would be
//! 2 % faster in a loop alone (Zen 3), but need all sixteen registers, and what the compiler then spills costs a quarter.

use core::arch::x86_64::*;

use super::Avx2;
use super::avx2_requantize::{Rails, channel_of_lane};
use crate::packed_conv::{Gemm, Line};

impl Gemm for Avx2 {
    type X = i16;
    const NR: usize = 16;
    const KR: usize = 2;
    const ROWS: usize = 4;
    /// 24 KiB of a first cache of 32.
    const BAND: usize = 12 << 10;
    const WIDE: usize = 2;

    fn channel_of_lane(self, width: usize, lane: usize) -> usize {
        if width == 16 { channel_of_lane(lane) } else { lane }
    }

    fn bring(self, from: &[i8], to: &mut [i16]) {
        // SAFETY: holding an `Avx2` means that `Avx2::detect` saw the feature on this CPU.
        unsafe { widen(from, to) }
    }

    fn widen(self, from: &[i8], to: &mut [i8]) {
        // SAFETY: any bytes are an i16; the feature as in `bring`.
        unsafe {
            let (before, to, _) = to.align_to_mut::<i16>();
            assert!(before.is_empty(), "scratch for a panel is aligned");
            widen(from, to)
        }
    }

    unsafe fn line(self, width: usize, line: &Line<i16>) {
        // SAFETY: the feature as in `bring`; the rest is the caller's promise, handed on.
        unsafe {
            match (width, line.wide) {
                (16, true) => line_of::<2, true>(line),
                (16, false) => line_of::<2, false>(line),
                (_, true) => line_of::<1, true>(line),
                (_, false) => line_of::<1, false>(line),
            }
        }
    }
}

#[target_feature(enable = "avx2")]
fn widen(from: &[i8], to: &mut [i16]) {
    assert_eq!(from.len(), to.len());
    for (to, &from) in to.iter_mut().zip(from) {
        *to = from as i16;
    }
}

/// # Safety
/// Those of [`Gemm::line`], with `width` = `8 * V`.
#[target_feature(enable = "avx2")]
unsafe fn line_of<const V: usize, const WIDE: bool>(line: &Line<i16>) {
    // SAFETY: the caller's promise, handed on.
    unsafe {
        line.tiles::<4>(
            |whole| tile::<4, V, WIDE>(whole),
            |rest| match rest.pixels {
                1 => tile::<1, V, WIDE>(rest),
                2 => tile::<2, V, WIDE>(rest),
                _ => tile::<3, V, WIDE>(rest),
            },
        );
    }
}

/// Two inputs of each pixel against two of each channel.
///
/// # Safety
/// `x + r * x_step` has two readable elements for all `r < R`, `w` a step of weights.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn step<const R: usize, const V: usize, const WIDE: bool>(
    acc: &mut [[__m256i; V]; R],
    x: *const i16,
    x_step: usize,
    w: *const i8,
) {
    // SAFETY: the caller's promise.
    unsafe {
        let mut w_v = [_mm256_setzero_si256(); V];
        for (v, w_v) in w_v.iter_mut().enumerate() {
            *w_v = match WIDE {
                true => _mm256_loadu_si256(w.cast::<__m256i>().add(v)),
                false => _mm256_cvtepi8_epi16(_mm_loadu_si128(w.cast::<__m128i>().add(v))),
            };
        }
        for (r, row) in acc.iter_mut().enumerate() {
            let pair = _mm256_set1_epi32(x.add(r * x_step).cast::<i32>().read_unaligned());
            for (sum, &w_v) in row.iter_mut().zip(&w_v) {
                *sum = _mm256_add_epi32(*sum, _mm256_madd_epi16(pair, w_v));
            }
        }
    }
}

/// `R` pixels x `8 * V` channels.
///
/// # Safety
/// Those of [`Gemm::line`], with `pixels` = `R` and `width` = `8 * V`.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn tile<const R: usize, const V: usize, const WIDE: bool>(t: &Line<i16>) {
    // SAFETY: all pointers stay inside what the caller promised: weights advance by one step of one panel at a time, and each of
    // the `runs` of `steps` reads the pairs of its own run.
    unsafe {
        let step_bytes = V * if WIDE { 32 } else { 16 };
        let bias = t.head.cast::<__m256i>();
        let mut acc = [[_mm256_setzero_si256(); V]; R];
        for v in 0..V {
            let bias_v = _mm256_loadu_si256(bias.add(v));
            for row in &mut acc {
                row[v] = bias_v;
            }
        }
        let mut w = t.weights;
        for outer in 0..t.runs[0] {
            for inner in 0..t.runs[1] {
                let mut x = t.x.add(outer * t.run_step[0] + inner * t.run_step[1]);
                // Two steps an iteration: at one, what counts and points would cost as many issue slots as a vector.
                for _ in 0..t.steps / 2 {
                    step::<R, V, WIDE>(&mut acc, x, t.x_step, w);
                    step::<R, V, WIDE>(&mut acc, x.add(2), t.x_step, w.add(step_bytes));
                    x = x.add(4);
                    w = w.add(2 * step_bytes);
                }
                if t.steps % 2 == 1 {
                    step::<R, V, WIDE>(&mut acc, x, t.x_step, w);
                    w = w.add(step_bytes);
                }
            }
        }
        Rails::new(t.y_zero).finish(acc, t);
    }
}
