//! Floats to int8 on AVX2: thirty-two at a time, and the three channels of a colour image brought together by shuffles.

use core::arch::x86_64::*;

use super::Avx2;
use crate::quantize_f32::{self, Quantize};

/// As [`quantize_f32::portable`].
pub(crate) fn quantize_f32(_have: Avx2, q: &Quantize<'_>, y: &mut [i8]) {
    // SAFETY: holding an `Avx2` means that `Avx2::detect` saw the feature on this CPU.
    unsafe {
        match q.shape.c {
            1 => one_channel(q, y),
            3 => three_channels(q, y),
            _ => any_channels(q, y),
        }
    }
}

#[target_feature(enable = "avx2")]
fn any_channels(q: &Quantize<'_>, y: &mut [i8]) {
    quantize_f32::portable(q, y)
}

#[target_feature(enable = "avx2")]
fn one_channel(q: &Quantize<'_>, y: &mut [i8]) {
    q.check(y);
    let steps = Steps::new(q);
    let (blocks, tail) = q.x.as_chunks::<16>();
    let (y_blocks, y_tail) = y.as_chunks_mut::<16>();
    for (x, y) in blocks.iter().zip(y_blocks) {
        // SAFETY: sixteen bytes.
        unsafe { _mm_storeu_si128(y.as_mut_ptr().cast(), steps.sixteen(x)) }
    }
    for (y, &x) in y_tail.iter_mut().zip(tail) {
        *y = q.one(x);
    }
}

#[target_feature(enable = "avx2")]
fn three_channels(q: &Quantize<'_>, y: &mut [i8]) {
    q.check(y);
    let (steps, spread) = (Steps::new(q), Spread::new());
    let (x_0, rest) = q.x.split_at(q.shape.h * q.shape.w);
    let (x_1, x_2) = rest.split_at(x_0.len());
    let [(x_0, tail_0), (x_1, tail_1), (x_2, tail_2)] = [x_0, x_1, x_2].map(<[f32]>::as_chunks::<16>);
    let (y_blocks, y_tail) = y.as_chunks_mut::<48>();
    for (((x_0, x_1), x_2), y) in x_0.iter().zip(x_1).zip(x_2).zip(y_blocks) {
        let pixels = spread.together([steps.sixteen(x_0), steps.sixteen(x_1), steps.sixteen(x_2)]);
        for (sixteen, y) in pixels.iter().zip(y.as_chunks_mut::<16>().0) {
            // SAFETY: sixteen bytes.
            unsafe { _mm_storeu_si128(y.as_mut_ptr().cast(), *sixteen) }
        }
    }
    for (p, y_p) in y_tail.as_chunks_mut::<3>().0.iter_mut().enumerate() {
        *y_p = [tail_0[p], tail_1[p], tail_2[p]].map(|x| q.one(x));
    }
}

/// Scale, upper rail and zero point in registers.
#[derive(Clone, Copy)]
struct Steps {
    scale: __m256,
    high: __m256,
    zero: __m256i,
}

impl Steps {
    #[inline]
    #[target_feature(enable = "avx2")]
    fn new(q: &Quantize<'_>) -> Steps {
        let high = _mm256_set1_ps((127 - q.zero as i32) as f32);
        Steps { scale: _mm256_set1_ps(q.scale), high, zero: _mm256_set1_epi16(q.zero as i16) }
    }

    /// Eight integers without zero point. Only the upper rail needs a clamp, as in `avx2_requantize`.
    #[inline]
    #[target_feature(enable = "avx2")]
    fn eight(self, x: __m256) -> __m256i {
        let real = _mm256_div_ps(x, self.scale);
        let number = _mm256_and_ps(real, _mm256_cmp_ps::<_CMP_ORD_Q>(real, real));
        _mm256_cvtps_epi32(_mm256_min_ps(number, self.high))
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    fn sixteen(self, x: &[f32; 16]) -> __m128i {
        // SAFETY: sixteen floats.
        let [a, b] = unsafe { [_mm256_loadu_ps(x.as_ptr()), _mm256_loadu_ps(x.as_ptr().add(8))] };
        // The pack works on halves: its result holds 0..4 8..12 4..8 12..16.
        let q = _mm256_permute4x64_epi64::<0b11_01_10_00>(_mm256_packs_epi32(self.eight(a), self.eight(b)));
        let q = _mm256_adds_epi16(q, self.zero);
        _mm_packs_epi16(_mm256_castsi256_si128(q), _mm256_extracti128_si256::<1>(q))
    }
}

/// Where the values of each channel go in each sixteen bytes of three.
struct Spread([[__m128i; 3]; 3]);

impl Spread {
    #[target_feature(enable = "avx2")]
    fn new() -> Spread {
        let mut spread = [[_mm_setzero_si128(); 3]; 3];
        for (third, channels) in spread.iter_mut().enumerate() {
            for (c, indices) in channels.iter_mut().enumerate() {
                let mut bytes = [-1i8; 16];
                for (n, byte) in bytes.iter_mut().enumerate() {
                    let at = 16 * third + n;
                    if at % 3 == c {
                        *byte = (at / 3) as i8;
                    }
                }
                // SAFETY: sixteen bytes.
                *indices = unsafe { _mm_loadu_si128(bytes.as_ptr().cast()) };
            }
        }
        Spread(spread)
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    fn together(&self, x: [__m128i; 3]) -> [__m128i; 3] {
        let mut y = [_mm_setzero_si128(); 3];
        for (y, channels) in y.iter_mut().zip(&self.0) {
            let [a, b, c] = [0, 1, 2].map(|c| _mm_shuffle_epi8(x[c], channels[c]));
            *y = _mm_or_si128(_mm_or_si128(a, b), c);
        }
        y
    }
}
