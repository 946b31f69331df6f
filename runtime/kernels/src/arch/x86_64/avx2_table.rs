//! 256-entry table on AVX2: thirty-two look-ups by sixteen `vpshufb`.
//!
//! `vpshufb` looks up in 16 entries by the low four bits of an index, and gives 0 where bit 7 of the index is set. The upper and the
//! lower half of the table (by the sign of the stored value) are walked apart, 16 entries a step, the index less 16 a step:
//!
//! ```text
//! r = T0[i]   i -= 16   r ^= (T1 ^ T0)[i]   i -= 16   r ^= (T2 ^ T1)[i]   ...
//! ```
//!
//! An index below 16 turns negative, stays so (the subtraction saturates) and adds nothing more; one that lasts to step `n` has collected `T0 ^ (T1 ^ T0) ^ ... = Tn`.

use core::arch::x86_64::*;

use super::Avx2;
use crate::table::{self, Table};

/// As [`table::portable`].
pub(crate) fn table(_have: Avx2, t: &Table<'_>, y: &mut [i8]) {
    // SAFETY: holding an `Avx2` means that `Avx2::detect` saw the feature on this CPU.
    unsafe { with_avx2(t, y) }
}

/// What each of eight steps through half a table adds, twice in a vector.
type Steps = [__m256i; 8];

#[target_feature(enable = "avx2")]
fn with_avx2(t: &Table<'_>, y: &mut [i8]) {
    assert_eq!(t.x.len(), y.len(), "x against y");
    // Entry `n` answers the stored value `n - 128`: first those of the negative ones.
    let (negative, positive) = t.table.split_at(128);
    let halves = [steps(negative), steps(positive)];
    let (blocks, tail) = t.x.as_chunks::<32>();
    let (y_blocks, y_tail) = y.as_chunks_mut::<32>();
    for (x, y) in blocks.iter().zip(y_blocks) {
        // SAFETY: both are thirty-two bytes.
        unsafe {
            let x = _mm256_loadu_si256(x.as_ptr().cast());
            // A negative value is index `x + 128` of its half, and has bit 7 set for the other half.
            let low = look_up(&halves[0], _mm256_xor_si256(x, _mm256_set1_epi8(i8::MIN)));
            _mm256_storeu_si256(y.as_mut_ptr().cast(), _mm256_xor_si256(low, look_up(&halves[1], x)));
        }
    }
    table::portable(&Table { x: tail, table: t.table }, y_tail);
}

/// Differences of neighbouring sixteens of half a table.
#[target_feature(enable = "avx2")]
fn steps(half: &[i8]) -> Steps {
    let mut before = _mm256_setzero_si256();
    let mut steps = [before; 8];
    for (step, sixteen) in steps.iter_mut().zip(half.as_chunks::<16>().0) {
        // SAFETY: sixteen bytes.
        let these = unsafe { _mm256_broadcastsi128_si256(_mm_loadu_si128(sixteen.as_ptr().cast())) };
        *step = _mm256_xor_si256(these, before);
        before = these;
    }
    steps
}

/// Entry `i` of half a table for every `i` in 0 .. 128, 0 for negative ones.
#[inline]
#[target_feature(enable = "avx2")]
fn look_up(steps: &Steps, mut i: __m256i) -> __m256i {
    let mut found = _mm256_setzero_si256();
    for &step in steps {
        found = _mm256_xor_si256(found, _mm256_shuffle_epi8(step, i));
        i = _mm256_subs_epi8(i, _mm256_set1_epi8(16));
    }
    found
}
