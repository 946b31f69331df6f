//! Inner loop of packed depthwise convolutions on AVX2.
//!
//! Two taps of sixteen channels are widened to i16, interleaved, and multiplied by one `vpmaddwd` for each half:
//! `x0 * w0 + x1 * w1` in i32, exact. Weights: pairs of taps, `(ceil(taps / 2), 16, 2)` i16 with channels by lane; an odd last tap
//! is paired with a weight of 0.
//!
//! A 3 x 3 kernel keeps the vertical pairs of the columns that the next pixel reads again: at stride 1 nine shuffles a pixel instead
//! of twenty, and shuffles are what bounds the general loop.

use core::arch::x86_64::*;

use super::Avx2;
use super::avx2_requantize::{Rails, channel_of_lane};
use crate::packed_depthwise::{BLOCK, Band, Rows};

impl Rows for Avx2 {
    fn weights_len(self, taps: usize) -> usize {
        taps.div_ceil(2) * 4 * BLOCK
    }

    fn channel_of_lane(self, lane: usize) -> usize {
        channel_of_lane(lane)
    }

    fn pack(self, taps: &[[i8; BLOCK]], to: &mut [i8]) {
        for (pair, to) in taps.chunks(2).zip(to.chunks_exact_mut(4 * BLOCK)) {
            for (lane, to) in to.as_chunks_mut::<4>().0.iter_mut().enumerate() {
                let weight = |tap: usize| pair.get(tap).map_or(0, |tap| tap[channel_of_lane(lane)] as i16);
                let ([a, b], [c, d]) = (weight(0).to_ne_bytes(), weight(1).to_ne_bytes());
                *to = [a, b, c, d].map(|b| b as i8);
            }
        }
    }

    unsafe fn band(self, band: &Band<'_>) {
        for row in band.each_row() {
            // SAFETY: holding an `Avx2` means that `Avx2::detect` saw the feature; the rest is the caller's promise, handed on.
            unsafe {
                match row.columns_3x3 {
                    Some(1) => row_3x3::<1>(&row),
                    Some(2) => row_3x3::<2>(&row),
                    _ => row_of_any(&row),
                }
            }
        }
    }
}

/// Sixteen channels of one tap, widened.
///
/// # Safety
/// 16 bytes are readable at `x`.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn load(x: *const i8) -> __m256i {
    // SAFETY: the caller's promise.
    unsafe { _mm256_cvtepi8_epi16(_mm_loadu_si128(x.cast())) }
}

/// Two taps side by side: channels `0..4 8..12` and `4..8 12..16`, as `channel_of_lane` has them.
#[inline]
#[target_feature(enable = "avx2")]
fn interleave(a: __m256i, b: __m256i) -> [__m256i; 2] {
    [_mm256_unpacklo_epi16(a, b), _mm256_unpackhi_epi16(a, b)]
}

#[inline]
#[target_feature(enable = "avx2")]
fn accumulate(acc: [__m256i; 2], x: [__m256i; 2], w: [__m256i; 2]) -> [__m256i; 2] {
    [_mm256_add_epi32(acc[0], _mm256_madd_epi16(x[0], w[0])), _mm256_add_epi32(acc[1], _mm256_madd_epi16(x[1], w[1]))]
}

/// The parts of a packed block.
struct Block {
    bias: [__m256i; 2],
    scale: [__m256; 2],
    weights: *const __m256i,
}

/// # Safety
/// `block` holds biases and multipliers.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn block(block: &[i8]) -> Block {
    let at = block.as_ptr();
    // SAFETY: 64 bytes of biases, then 64 of multipliers; weights follow them.
    unsafe {
        let (bias, scale) = (at.cast::<__m256i>(), at.add(64).cast::<f32>());
        Block {
            bias: [_mm256_loadu_si256(bias), _mm256_loadu_si256(bias.add(1))],
            scale: [_mm256_loadu_ps(scale), _mm256_loadu_ps(scale.add(8))],
            weights: at.add(128).cast(),
        }
    }
}

/// # Safety
/// Pair `pair` of the weights exists.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn weights(block: &Block, pair: usize) -> [__m256i; 2] {
    // SAFETY: the caller's promise; a pair is two vectors.
    unsafe {
        let at = block.weights.add(2 * pair);
        [_mm256_loadu_si256(at), _mm256_loadu_si256(at.add(1))]
    }
}

/// # Safety
/// Those of [`Rows::band`].
#[target_feature(enable = "avx2")]
unsafe fn row_of_any(row: &Band<'_>) {
    // SAFETY: the caller's promise: taps of the block and pixels of the row, and no others, are touched.
    unsafe {
        let block = block(row.block);
        let rails = Rails::new(row.y_zero);
        let (pairs, single) = row.offsets.as_chunks::<2>();
        for pixel in 0..row.pixels {
            let x = row.x.add(pixel * row.x_step);
            let mut acc = block.bias;
            for (n, &[a, b]) in pairs.iter().enumerate() {
                acc = accumulate(acc, interleave(load(x.add(a)), load(x.add(b))), weights(&block, n));
            }
            if let &[a] = single {
                let alone = interleave(load(x.add(a)), _mm256_setzero_si256());
                acc = accumulate(acc, alone, weights(&block, pairs.len()));
            }
            let q = rails.sixteen(acc, block.scale);
            _mm_storeu_si128(row.y.add(pixel * row.y_step).cast(), q);
        }
    }
}

/// # Safety
/// Those of [`Rows::band`], for a 3 x 3 kernel of neighbouring columns that moves by `STRIDE` of them.
#[target_feature(enable = "avx2")]
unsafe fn row_3x3<const STRIDE: usize>(row: &Band<'_>) {
    let &[_, below, next, _, after, _, third, ..] = row.offsets else { return };
    // SAFETY: column 0 is at offset 0, 1 at `next`, 2 at `after`; pixels move by `STRIDE` columns, so the columns read ahead of the
    // loop are those of pixel 0. The rest as in `row_of_any`.
    unsafe {
        let block = block(row.block);
        let rails = Rails::new(row.y_zero);
        let pair = |x: *const i8| interleave(load(x), load(x.add(below)));
        let mut upper_0 = pair(row.x);
        let mut third_0 = load(row.x.add(third));
        // Of stride 1, column 1 of a pixel is column 2 of the one before, too.
        let (mut upper_1, mut third_1) = (pair(row.x.add(next)), load(row.x.add(third + next)));
        for pixel in 0..row.pixels {
            let x = row.x.add(pixel * row.x_step);
            if STRIDE == 2 {
                (upper_1, third_1) = (pair(x.add(next)), load(x.add(third + next)));
            }
            let (upper_2, third_2) = (pair(x.add(after)), load(x.add(third + after)));
            let mut acc = accumulate(block.bias, upper_0, weights(&block, 0));
            acc = accumulate(acc, upper_1, weights(&block, 1));
            acc = accumulate(acc, upper_2, weights(&block, 2));
            acc = accumulate(acc, interleave(third_0, third_1), weights(&block, 3));
            acc = accumulate(acc, interleave(third_2, _mm256_setzero_si256()), weights(&block, 4));
            let q = rails.sixteen(acc, block.scale);
            _mm_storeu_si128(row.y.add(pixel * row.y_step).cast(), q);
            if STRIDE == 1 {
                (upper_0, third_0) = (upper_1, third_1);
                (upper_1, third_1) = (upper_2, third_2);
            } else {
                (upper_0, third_0) = (upper_2, third_2);
            }
        }
    }
}
