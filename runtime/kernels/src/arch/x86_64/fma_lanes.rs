//! Float inner loops on AVX2 and FMA: eight f32 a register, product and sum in one rounding.

use core::arch::x86_64::*;

use super::Fma;
use crate::float::conv_dw_f32::{Columns, columns};
use crate::float::conv_f32::{Line, line};
use crate::float::depthwise_dw_f32::{Sums, Taps, taps};
use crate::float::depthwise_f32::{Row, row};
use crate::float::lanes::Lanes;
use crate::float::matrix_f32::{Matrix, Rows, matrix_times, matrix_transposed};

impl Lanes for Fma {
    type V = __m256;

    #[inline(always)]
    unsafe fn load(self, from: *const f32) -> __m256 {
        // SAFETY: the caller's promise; holding an `Fma` means that the CPU has the instruction (so for all below).
        unsafe { _mm256_loadu_ps(from) }
    }

    #[inline(always)]
    unsafe fn store(self, v: __m256, to: *mut f32) {
        // SAFETY: as in `load`.
        unsafe { _mm256_storeu_ps(to, v) }
    }

    #[inline(always)]
    unsafe fn splat(self, value: f32) -> __m256 {
        // SAFETY: as in `load`.
        unsafe { _mm256_set1_ps(value) }
    }

    #[inline(always)]
    unsafe fn multiply_add(self, a: __m256, b: __m256, sum: __m256) -> __m256 {
        // SAFETY: as in `load`.
        unsafe { _mm256_fmadd_ps(a, b, sum) }
    }

    #[inline(always)]
    unsafe fn add(self, a: __m256, b: __m256) -> __m256 {
        // SAFETY: as in `load`.
        unsafe { _mm256_add_ps(a, b) }
    }

    #[inline(always)]
    unsafe fn clamp(self, v: __m256, [low, high]: [__m256; 2]) -> __m256 {
        // Both give their second operand when one is no number.
        // SAFETY: as in `load`.
        unsafe { _mm256_min_ps(high, _mm256_max_ps(low, v)) }
    }

    unsafe fn conv_line(self, l: &Line) {
        #[target_feature(enable = "avx2,fma")]
        unsafe fn with_fma(fma: Fma, l: &Line) {
            // SAFETY: the caller's promise, handed on.
            unsafe { line(fma, l) }
        }
        // SAFETY: holding an `Fma` means that the CPU has both; the rest is the caller's promise.
        unsafe { with_fma(self, l) }
    }

    unsafe fn depthwise_row(self, r: &Row<'_>) {
        #[target_feature(enable = "avx2,fma")]
        unsafe fn with_fma(fma: Fma, r: &Row<'_>) {
            // SAFETY: the caller's promise, handed on.
            unsafe { row(fma, r) }
        }
        // SAFETY: holding an `Fma` means that the CPU has both; the rest is the caller's promise.
        unsafe { with_fma(self, r) }
    }

    unsafe fn conv_dw(self, c: &Columns) {
        #[target_feature(enable = "avx2,fma")]
        unsafe fn with_fma(fma: Fma, c: &Columns) {
            // SAFETY: the caller's promise, handed on.
            unsafe { columns(fma, c) }
        }
        // SAFETY: holding an `Fma` means that the CPU has both; the rest is the caller's promise.
        unsafe { with_fma(self, c) }
    }

    unsafe fn depthwise_dw(self, t: &Taps) -> Sums {
        #[target_feature(enable = "avx2,fma")]
        unsafe fn with_fma(fma: Fma, t: &Taps) -> Sums {
            // SAFETY: the caller's promise, handed on.
            unsafe { taps(fma, t) }
        }
        // SAFETY: holding an `Fma` means that the CPU has both; the rest is the caller's promise.
        unsafe { with_fma(self, t) }
    }

    unsafe fn matrix_times(self, m: &Matrix) {
        #[target_feature(enable = "avx2,fma")]
        unsafe fn with_fma(fma: Fma, m: &Matrix) {
            // SAFETY: the caller's promise, handed on.
            unsafe { matrix_times(fma, m) }
        }
        // SAFETY: holding an `Fma` means that the CPU has both; the rest is the caller's promise.
        unsafe { with_fma(self, m) }
    }

    unsafe fn matrix_transposed(self, m: &Rows) {
        #[target_feature(enable = "avx2,fma")]
        unsafe fn with_fma(fma: Fma, m: &Rows) {
            // SAFETY: the caller's promise, handed on.
            unsafe { matrix_transposed(fma, m) }
        }
        // SAFETY: holding an `Fma` means that the CPU has both; the rest is the caller's promise.
        unsafe { with_fma(self, m) }
    }
}
