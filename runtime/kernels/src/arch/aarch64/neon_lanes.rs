//! Float inner loops on NEON: eight f32 in two registers, product and sum in one rounding.

use core::arch::aarch64::*;

use super::Neon;
use crate::float::conv_dw_f32::{Columns, columns};
use crate::float::conv_f32::{Line, line};
use crate::float::depthwise_dw_f32::{Sums, Taps, taps};
use crate::float::depthwise_f32::{Row, row};
use crate::float::lanes::Lanes;
use crate::float::matrix_f32::{Matrix, Rows, matrix_times, matrix_transposed};

impl Lanes for Neon {
    type V = [float32x4_t; 2];

    #[inline(always)]
    unsafe fn load(self, from: *const f32) -> Self::V {
        // SAFETY: the caller's promise; holding a `Neon` means that the CPU has the instruction (so for all below).
        unsafe { [vld1q_f32(from), vld1q_f32(from.add(4))] }
    }

    #[inline(always)]
    unsafe fn store(self, v: Self::V, to: *mut f32) {
        // SAFETY: as in `load`.
        unsafe {
            vst1q_f32(to, v[0]);
            vst1q_f32(to.add(4), v[1]);
        }
    }

    #[inline(always)]
    unsafe fn splat(self, value: f32) -> Self::V {
        // SAFETY: as in `load`.
        unsafe { [vdupq_n_f32(value); 2] }
    }

    #[inline(always)]
    unsafe fn multiply_add(self, a: Self::V, b: Self::V, sum: Self::V) -> Self::V {
        // SAFETY: as in `load`.
        unsafe { [vfmaq_f32(sum[0], a[0], b[0]), vfmaq_f32(sum[1], a[1], b[1])] }
    }

    #[inline(always)]
    unsafe fn add(self, a: Self::V, b: Self::V) -> Self::V {
        // SAFETY: as in `load`.
        unsafe { [vaddq_f32(a[0], b[0]), vaddq_f32(a[1], b[1])] }
    }

    #[inline(always)]
    unsafe fn clamp(self, v: Self::V, [low, high]: [Self::V; 2]) -> Self::V {
        // SAFETY: as in `load`.
        unsafe { [0, 1].map(|n| vminq_f32(vmaxq_f32(v[n], low[n]), high[n])) }
    }

    unsafe fn conv_line(self, l: &Line) {
        // SAFETY: the caller's promise, handed on. NEON is part of every aarch64 target that has it, so that no function of its own
        // need enable it.
        unsafe { line(self, l) }
    }

    unsafe fn depthwise_row(self, r: &Row<'_>) {
        // SAFETY: as in `conv_line`.
        unsafe { row(self, r) }
    }

    unsafe fn conv_dw(self, c: &Columns) {
        // SAFETY: as in `conv_line`.
        unsafe { columns(self, c) }
    }

    unsafe fn depthwise_dw(self, t: &Taps) -> Sums {
        // SAFETY: as in `conv_line`.
        unsafe { taps(self, t) }
    }

    unsafe fn matrix_times(self, m: &Matrix) {
        // SAFETY: as in `conv_line`.
        unsafe { matrix_times(self, m) }
    }

    unsafe fn matrix_transposed(self, m: &Rows) {
        // SAFETY: as in `conv_line`.
        unsafe { matrix_transposed(self, m) }
    }
}
