//! The end of every multiply-accumulate op on AVX2: i32 sums to stored i8, sixteen channels at a time.
//!
//! ```text
//! y = min(fl(f32(acc) * M), 127 - zy)      q = sat8(sat16(sat16(rne(y)) + zy))
//! ```
//!
//! Equal to `arithmetic::requantize`, which clamps before it rounds: rounding is monotone and both rails are integers. Only the
//! upper rail needs a clamp in f32: an f32 beyond the range of i32 converts to -2^31, which is right for large negative
//! values alone.

use core::arch::x86_64::*;

use crate::packed_conv::Line;

/// Multiplier and rails, ready in registers.
#[derive(Clone, Copy)]
pub(super) struct Rails {
    high: __m256,
    zero: __m256i,
}

impl Rails {
    #[inline]
    #[target_feature(enable = "avx2")]
    pub(super) fn new(y_zero: i8) -> Rails {
        Rails { high: _mm256_set1_ps((127 - y_zero as i32) as f32), zero: _mm256_set1_epi16(y_zero as i16) }
    }

    /// Eight sums to eight integers without zero point.
    #[inline]
    #[target_feature(enable = "avx2")]
    fn round(self, acc: __m256i, scale: __m256) -> __m256i {
        let y = _mm256_mul_ps(_mm256_cvtepi32_ps(acc), scale);
        _mm256_cvtps_epi32(_mm256_min_ps(y, self.high))
    }

    /// Sixteen sums to stored values in the order 0 .. 15, when lanes hold the channels `0..4 8..12` and `4..8 12..16`.
    #[inline]
    #[target_feature(enable = "avx2")]
    pub(super) fn sixteen(self, acc: [__m256i; 2], scale: [__m256; 2]) -> __m128i {
        let [a, b] = [self.round(acc[0], scale[0]), self.round(acc[1], scale[1])];
        let q = _mm256_adds_epi16(_mm256_packs_epi32(a, b), self.zero);
        _mm_packs_epi16(_mm256_castsi256_si128(q), _mm256_extracti128_si256::<1>(q))
    }

    /// The same of two pixels: the first in the low half.
    #[inline]
    #[target_feature(enable = "avx2")]
    pub(super) fn two_sixteens(self, acc: [[__m256i; 2]; 2], scale: [__m256; 2]) -> __m256i {
        let [p, q] = acc.map(|acc| {
            let [a, b] = [self.round(acc[0], scale[0]), self.round(acc[1], scale[1])];
            _mm256_adds_epi16(_mm256_packs_epi32(a, b), self.zero)
        });
        // The pack works on halves: its result holds p 0..8, q 0..8, p 8..16, q 8..16.
        _mm256_permute4x64_epi64::<0b11_01_10_00>(_mm256_packs_epi16(p, q))
    }

    /// Eight sums to stored values in the low half, lanes in order.
    #[inline]
    #[target_feature(enable = "avx2")]
    pub(super) fn eight(self, acc: __m256i, scale: __m256) -> __m128i {
        let a = self.round(acc, scale);
        let q = _mm_packs_epi32(_mm256_castsi256_si128(a), _mm256_extracti128_si256::<1>(a));
        let q = _mm_adds_epi16(q, _mm256_castsi256_si128(self.zero));
        _mm_packs_epi16(q, q)
    }

    /// Requantizes and writes a tile: sums of `R` pixels x `8 * V` channels (`V` is 1 or 2), whose multipliers lie behind `8 * V` biases
    /// at `t.head`. Always inlined, which a function with `target_feature` cannot promise: a call would send the sums through memory, and
    /// behind a reference they would live there through the whole inner loop.
    ///
    /// # Safety
    /// The CPU has AVX2; those of `Gemm::line`, with `pixels` = `R` and `width` = `8 * V`.
    #[inline(always)]
    pub(super) unsafe fn finish<X, const R: usize, const V: usize>(self, acc: [[__m256i; V]; R], t: &Line<X>) {
        // SAFETY: the caller's promise: 8 * V multipliers are readable, `channels` outputs of each pixel writable.
        unsafe {
            let scales = t.head.add(32 * V).cast::<f32>();
            let scale = [_mm256_loadu_ps(scales), _mm256_loadu_ps(scales.add(8 * (V - 1)))];
            let y = |r: usize| t.y.add(r * t.y_step);
            if V == 2 {
                let (pairs, single) = acc.as_chunks::<2>();
                for (n, pair) in pairs.iter().enumerate() {
                    let q = self.two_sixteens(pair.map(|row| [row[0], row[V - 1]]), scale);
                    store(_mm256_castsi256_si128(q), y(2 * n), t.channels);
                    store(_mm256_extracti128_si256::<1>(q), y(2 * n + 1), t.channels);
                }
                if let [row] = single {
                    store(self.sixteen([row[0], row[V - 1]], scale), y(R - 1), t.channels);
                }
            } else {
                for (r, row) in acc.iter().enumerate() {
                    store(self.eight(row[0], scale[0]), y(r), t.channels);
                }
            }
        }
    }
}

/// Channel that lane `lane` of two vectors of eight holds, so that two packs bring sixteen channels into order.
pub(super) const fn channel_of_lane(lane: usize) -> usize {
    // Lanes 0..4 stay, 4..8 are 8..12, 8..12 are 4..8, 12..16 stay.
    match lane / 4 {
        1 => lane + 4,
        2 => lane - 4,
        _ => lane,
    }
}

/// Writes the first `channels` of sixteen values.
///
/// # Safety
/// `channels <= 16` bytes are writable at `y`.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn store(q: __m128i, y: *mut i8, channels: usize) {
    // SAFETY: what is written sums to `channels`.
    unsafe {
        if channels == 16 {
            return _mm_storeu_si128(y.cast(), q);
        }
        // Eight, four, two, one: a call for a few bytes would cost more than all that is before it.
        let (mut low, mut y) = (_mm_cvtsi128_si64(q) as u64, y);
        if channels & 8 != 0 {
            y.cast::<u64>().write_unaligned(low);
            (low, y) = (_mm_extract_epi64::<1>(q) as u64, y.add(8));
        }
        if channels & 4 != 0 {
            y.cast::<u32>().write_unaligned(low as u32);
            (low, y) = (low >> 32, y.add(4));
        }
        if channels & 2 != 0 {
            y.cast::<u16>().write_unaligned(low as u16);
            (low, y) = (low >> 16, y.add(2));
        }
        if channels & 1 != 0 {
            *y = low as i8;
        }
    }
}
