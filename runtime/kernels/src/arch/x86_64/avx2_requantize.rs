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
