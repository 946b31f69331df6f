//! Inner loop of packed convolutions on AVX2: `vpmaddwd`, exact.
//!
//! Activations and weights are i16; a `vpmaddwd` multiplies a pair of neighbouring inputs of one pixel with the weights of eight
//! channels and adds the two products in i32. `vpmaddubsw` takes twice as many products but saturates, and needs a second
//! multiply to come to i32: on the cores that have two multipliers for it (Zen, Skylake) nothing is gained.
//!
//! Tile: 6 pixels x 16 channels, 12 sums in registers; two loads of weights and six broadcasts feed 12 multiplies.

use core::arch::x86_64::*;

use super::Avx2;
use super::avx2_requantize::{Rails, channel_of_lane};
use crate::packed_conv::{Gemm, Tile};

impl Gemm for Avx2 {
    type X = i16;
    const NR: usize = 16;
    const KR: usize = 2;
    const ROWS: usize = 6;
    const X_OFFSET: i32 = 0;
    const IN_PLACE: bool = false;
    /// 24 KiB of a first cache of 32.
    const BAND: usize = 12 << 10;
    const WIDE: usize = 2;

    fn channel_of_lane(self, width: usize, lane: usize) -> usize {
        if width == 16 { channel_of_lane(lane) } else { lane }
    }

    fn element(x: i8) -> i16 {
        x as i16
    }

    fn bring(self, from: &[i8], to: &mut [i16]) {
        // SAFETY: holding an `Avx2` means that `Avx2::detect` saw the feature on this CPU.
        unsafe { widen(from, to) }
    }

    fn in_place(_: &[i8]) -> &[i16] {
        &[]
    }

    fn widen(self, from: &[i8], to: &mut [i8]) {
        // SAFETY: any bytes are an i16; the feature as in `bring`.
        unsafe {
            let (before, to, _) = to.align_to_mut::<i16>();
            assert!(before.is_empty(), "scratch for a panel is aligned");
            widen(from, to)
        }
    }

    unsafe fn tile(self, rows: usize, width: usize, t: &Tile<i16>) {
        // SAFETY: the feature as in `bring`; the rest is the caller's promise, handed on.
        unsafe {
            match (width, t.wide) {
                (16, true) => tile_of_rows::<2, true>(rows, t),
                (16, false) => tile_of_rows::<2, false>(rows, t),
                (_, true) => tile_of_rows::<1, true>(rows, t),
                (_, false) => tile_of_rows::<1, false>(rows, t),
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
/// Those of [`Gemm::tile`].
#[target_feature(enable = "avx2")]
unsafe fn tile_of_rows<const V: usize, const WIDE: bool>(rows: usize, t: &Tile<i16>) {
    // SAFETY: the caller's promise, handed on.
    unsafe {
        match rows {
            1 => tile::<1, V, WIDE>(t),
            2 => tile::<2, V, WIDE>(t),
            3 => tile::<3, V, WIDE>(t),
            4 => tile::<4, V, WIDE>(t),
            5 => tile::<5, V, WIDE>(t),
            _ => tile::<6, V, WIDE>(t),
        }
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
            // Pixels 3.. count from the third, so that all addresses are a pointer and a multiple of the step.
            let x_r = if r < 3 { x.add(r * x_step) } else { x.add(3 * x_step).add((r - 3) * x_step) };
            let pair = _mm256_set1_epi32(x_r.cast::<i32>().read_unaligned());
            for (sum, &w_v) in row.iter_mut().zip(&w_v) {
                *sum = _mm256_add_epi32(*sum, _mm256_madd_epi16(pair, w_v));
            }
        }
    }
}

/// `R` pixels x `8 * V` channels.
///
/// # Safety
/// Those of [`Gemm::tile`], with `rows` = `R` and `width` = `8 * V`.
#[target_feature(enable = "avx2")]
unsafe fn tile<const R: usize, const V: usize, const WIDE: bool>(t: &Tile<i16>) {
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
        let rails = Rails::new(t.y_zero);
        let mut scale = [_mm256_setzero_ps(); V];
        for (v, scale) in scale.iter_mut().enumerate() {
            *scale = _mm256_loadu_ps(t.head.add(32 * V).cast::<f32>().add(8 * v));
        }
        for (r, row) in acc.iter().enumerate() {
            let y = t.y.add(r * t.y_step);
            let q = if V == 2 {
                rails.sixteen([row[0], row[V - 1]], [scale[0], scale[V - 1]])
            } else {
                rails.eight(row[0], scale[0])
            };
            match (V, t.channels) {
                (2, 16) => _mm_storeu_si128(y.cast(), q),
                (1, 8) => _mm_storel_epi64(y.cast(), q),
                (_, channels) => {
                    let mut bytes = [0i8; 16];
                    _mm_storeu_si128(bytes.as_mut_ptr().cast(), q);
                    core::ptr::copy_nonoverlapping(bytes.as_ptr(), y, channels);
                }
            }
        }
    }
}
