//! Eight f32 side by side: all that the float inner loops ask of an instruction set.
//!
//! The loops are written once over this trait and compiled once a path: `arch` instantiates them inside a function that has the
//! path's instructions, and everything here is inlined there.

use super::conv_dw_f32::{Columns, columns};
use super::conv_f32::{Line, line};
use super::depthwise_dw_f32::{Sums, Taps, taps};
use super::depthwise_f32::{Row, row};
use super::matrix_f32::{Matrix, Rows, matrix_times, matrix_transposed};

/// Values of a vector.
pub(crate) const LANES: usize = 8;

/// A vector of [`LANES`] values, and the inner loops made of it.
pub(crate) trait Lanes: Copy {
    /// The vector.
    type V: Copy;

    /// # Safety
    /// Eight values are readable at `from`, and the CPU has the path's instructions (so for all below).
    unsafe fn load(self, from: *const f32) -> Self::V;

    /// # Safety
    /// Eight values are writable at `to`.
    unsafe fn store(self, v: Self::V, to: *mut f32);

    /// # Safety
    /// The CPU has the path's instructions.
    unsafe fn splat(self, value: f32) -> Self::V;

    /// a * b + sum, in one rounding or in two.
    ///
    /// # Safety
    /// The CPU has the path's instructions.
    unsafe fn multiply_add(self, a: Self::V, b: Self::V, sum: Self::V) -> Self::V;

    /// # Safety
    /// The CPU has the path's instructions.
    unsafe fn add(self, a: Self::V, b: Self::V) -> Self::V;

    /// [`clamp()`] of each.
    ///
    /// # Safety
    /// The CPU has the path's instructions.
    unsafe fn clamp(self, v: Self::V, bounds: [Self::V; 2]) -> Self::V;

    /// [`line()`] compiled for this path.
    ///
    /// # Safety
    /// Those of [`line()`].
    unsafe fn conv_line(self, l: &Line);

    /// [`row()`] compiled for this path.
    ///
    /// # Safety
    /// Those of [`row()`].
    unsafe fn depthwise_row(self, r: &Row<'_>);

    /// [`columns()`] compiled for this path.
    ///
    /// # Safety
    /// Those of [`columns()`].
    unsafe fn conv_dw(self, c: &Columns);

    /// [`taps()`] compiled for this path.
    ///
    /// # Safety
    /// Those of [`taps()`].
    unsafe fn depthwise_dw(self, t: &Taps) -> Sums;

    /// [`matrix_times()`] compiled for this path.
    ///
    /// # Safety
    /// Those of [`matrix_times()`].
    unsafe fn matrix_times(self, m: &Matrix);

    /// [`matrix_transposed()`] compiled for this path.
    ///
    /// # Safety
    /// Those of [`matrix_transposed()`].
    unsafe fn matrix_transposed(self, m: &Rows);
}

/// No less than the first bound, no more than the second; what is no number stays none.
#[inline(always)]
pub(crate) fn clamp(v: f32, [low, high]: [f32; 2]) -> f32 {
    let v = if v < low { low } else { v };
    if v > high { high } else { v }
}

/// Plain Rust. Multiplies, then adds: without the instruction a fused operation is a slow call.
#[derive(Clone, Copy)]
pub(crate) struct Portable;

impl Lanes for Portable {
    type V = [f32; LANES];

    #[inline(always)]
    unsafe fn load(self, from: *const f32) -> Self::V {
        // SAFETY: the caller's promise; an array of f32 asks for no more alignment than an f32.
        unsafe { from.cast::<Self::V>().read() }
    }

    #[inline(always)]
    unsafe fn store(self, v: Self::V, to: *mut f32) {
        // SAFETY: as in `load`.
        unsafe { to.cast::<Self::V>().write(v) }
    }

    #[inline(always)]
    unsafe fn splat(self, value: f32) -> Self::V {
        [value; LANES]
    }

    #[inline(always)]
    unsafe fn multiply_add(self, a: Self::V, b: Self::V, sum: Self::V) -> Self::V {
        core::array::from_fn(|n| a[n] * b[n] + sum[n])
    }

    #[inline(always)]
    unsafe fn add(self, a: Self::V, b: Self::V) -> Self::V {
        core::array::from_fn(|n| a[n] + b[n])
    }

    #[inline(always)]
    unsafe fn clamp(self, v: Self::V, [low, high]: [Self::V; 2]) -> Self::V {
        core::array::from_fn(|n| clamp(v[n], [low[n], high[n]]))
    }

    unsafe fn conv_line(self, l: &Line) {
        // SAFETY: the caller's promise, handed on.
        unsafe { line(self, l) }
    }

    unsafe fn depthwise_row(self, r: &Row<'_>) {
        // SAFETY: the caller's promise, handed on.
        unsafe { row(self, r) }
    }

    unsafe fn conv_dw(self, c: &Columns) {
        // SAFETY: the caller's promise, handed on.
        unsafe { columns(self, c) }
    }

    unsafe fn depthwise_dw(self, t: &Taps) -> Sums {
        // SAFETY: the caller's promise, handed on.
        unsafe { taps(self, t) }
    }

    unsafe fn matrix_times(self, m: &Matrix) {
        // SAFETY: the caller's promise, handed on.
        unsafe { matrix_times(self, m) }
    }

    unsafe fn matrix_transposed(self, m: &Rows) {
        // SAFETY: the caller's promise, handed on.
        unsafe { matrix_transposed(self, m) }
    }
}
