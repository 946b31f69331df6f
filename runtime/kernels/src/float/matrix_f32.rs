//! A matrix against a vector: the three products of a fully connected layer and of its gradients, from weights that lie as the model
//! has them. At one sample a step each weight is used once, so nothing is packed.
//!
//! ```text
//! w (R, C)   times: y[r] = sum_c w[r,c] * x[c]        transposed: x[c] = sum_r w[r,c] * y[r]        outer: dw[r,c] += y[r] * x[c]
//! ```
//! With weights (O, I) the forward pass is `times`, dx is `transposed`, dw is `outer` of dy and x; with (I, O) the first two change
//! places. [`times`] sums eight columns apart side by side, then these.

use super::lanes::{LANES, Lanes};
use super::{FloatIsa, with_lanes};

/// Rows that a loop takes together.
const ROWS: usize = 4;

/// The definition of [`times`].
pub fn times_reference(w: &[f32], x: &[f32], y: &mut [f32]) {
    for (r, y) in y.iter_mut().enumerate() {
        *y = w[r * x.len()..][..x.len()].iter().zip(x).fold(0.0, |sum, (w, x)| sum + w * x);
    }
}

/// The definition of [`transposed`].
pub fn transposed_reference(w: &[f32], y: &[f32], x: &mut [f32]) {
    let columns = x.len();
    for (c, x) in x.iter_mut().enumerate() {
        *x = y.iter().enumerate().fold(0.0, |sum, (r, y)| sum + w[r * columns + c] * y);
    }
}

/// The definition of [`outer`].
pub fn outer_reference(y: &[f32], x: &[f32], dw: &mut [f32]) {
    for (n, dw) in dw.iter_mut().enumerate() {
        *dw += y[n / x.len()] * x[n % x.len()];
    }
}

/// y = w x.
///
/// # Panics
/// When `w` is not as many values as its sides make.
pub fn times(isa: FloatIsa, w: &[f32], x: &[f32], y: &mut [f32]) {
    assert_eq!(w.len(), x.len() * y.len(), "weights");
    let m = Matrix { w: w.as_ptr(), x: x.as_ptr(), y: y.as_mut_ptr(), rows: y.len(), columns: x.len() };
    // SAFETY: the lengths just asserted; a path's lanes exist only where detection saw its instructions.
    with_lanes!(isa, lanes => unsafe { lanes.matrix_times(&m) })
}

/// x = wᵀ y.
///
/// # Panics
/// When `w` is not as many values as its sides make.
pub fn transposed(isa: FloatIsa, w: &[f32], y: &[f32], x: &mut [f32]) {
    assert_eq!(w.len(), x.len() * y.len(), "weights");
    x.fill(0.0);
    let m = Rows { w: w.as_ptr(), y: y.as_ptr(), x: x.as_mut_ptr(), rows: y.len(), columns: x.len() };
    // SAFETY: as in `times`.
    with_lanes!(isa, lanes => unsafe { lanes.matrix_transposed(&m) })
}

/// dw += y xᵀ. Plain Rust: each product and sum stands alone, and the memory is what it waits for.
///
/// # Panics
/// When `dw` is not as many values as its sides make.
pub fn outer(y: &[f32], x: &[f32], dw: &mut [f32]) {
    assert_eq!(dw.len(), x.len() * y.len(), "gradients");
    if x.is_empty() {
        return;
    }
    for (dw, y) in dw.chunks_exact_mut(x.len()).zip(y) {
        dw.iter_mut().zip(x).for_each(|(dw, x)| *dw += y * x);
    }
}

/// Operands of y = w x.
pub(crate) struct Matrix {
    w: *const f32,
    x: *const f32,
    y: *mut f32,
    rows: usize,
    columns: usize,
}

/// Operands of x += wᵀ y.
pub(crate) struct Rows {
    w: *const f32,
    y: *const f32,
    x: *mut f32,
    rows: usize,
    columns: usize,
}

/// # Safety
/// The CPU has the path's instructions; `w` has `rows * columns` readable values, `x` `columns`, `y` `rows` writable ones.
#[inline(always)]
pub(crate) unsafe fn matrix_times<L: Lanes>(lanes: L, m: &Matrix) {
    let mut r = 0;
    // SAFETY: rows stay below `rows`, columns below `columns`.
    unsafe {
        while r + ROWS <= m.rows {
            dots::<L, ROWS>(lanes, m, r);
            r += ROWS;
        }
        while r < m.rows {
            dots::<L, 1>(lanes, m, r);
            r += 1;
        }
    }
}

/// # Safety
/// Those of [`matrix_times`], and `first + R <= rows`.
#[inline(always)]
unsafe fn dots<L: Lanes, const R: usize>(lanes: L, m: &Matrix, first: usize) {
    // SAFETY: the caller's promise.
    unsafe {
        let w = m.w.add(first * m.columns);
        let mut sums = [[lanes.splat(0.0); 2]; R];
        let mut c = 0;
        while c + 2 * LANES <= m.columns {
            let x = [lanes.load(m.x.add(c)), lanes.load(m.x.add(c + LANES))];
            for (r, sums) in sums.iter_mut().enumerate() {
                for (v, sum) in sums.iter_mut().enumerate() {
                    *sum = lanes.multiply_add(lanes.load(w.add(r * m.columns + c + LANES * v)), x[v], *sum);
                }
            }
            c += 2 * LANES;
        }
        for (r, sums) in sums.iter().enumerate() {
            let mut parts = [0.0; LANES];
            lanes.store(lanes.add(sums[0], sums[1]), parts.as_mut_ptr());
            let mut sum = parts.iter().fold(0.0, |sum, part| sum + part);
            for c in c..m.columns {
                sum += *w.add(r * m.columns + c) * *m.x.add(c);
            }
            *m.y.add(first + r) = sum;
        }
    }
}

/// # Safety
/// The CPU has the path's instructions; `w` has `rows * columns` readable values, `y` `rows`, `x` `columns` writable ones.
#[inline(always)]
pub(crate) unsafe fn matrix_transposed<L: Lanes>(lanes: L, m: &Rows) {
    let mut r = 0;
    // SAFETY: rows stay below `rows`, columns below `columns`.
    unsafe {
        while r + ROWS <= m.rows {
            scaled::<L, ROWS>(lanes, m, r);
            r += ROWS;
        }
        while r < m.rows {
            scaled::<L, 1>(lanes, m, r);
            r += 1;
        }
    }
}

/// # Safety
/// Those of [`matrix_transposed`], and `first + R <= rows`.
#[inline(always)]
unsafe fn scaled<L: Lanes, const R: usize>(lanes: L, m: &Rows, first: usize) {
    // SAFETY: the caller's promise.
    unsafe {
        let w = m.w.add(first * m.columns);
        let mut y = [lanes.splat(0.0); R];
        for (r, y) in y.iter_mut().enumerate() {
            *y = lanes.splat(*m.y.add(first + r));
        }
        let mut c = 0;
        while c + LANES <= m.columns {
            let mut sum = lanes.load(m.x.add(c));
            for (r, &y) in y.iter().enumerate() {
                sum = lanes.multiply_add(lanes.load(w.add(r * m.columns + c)), y, sum);
            }
            lanes.store(sum, m.x.add(c));
            c += LANES;
        }
        for c in c..m.columns {
            for r in 0..R {
                *m.x.add(c) += *w.add(r * m.columns + c) * *m.y.add(first + r);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::float::suite;

    #[test]
    fn every_path_agrees_with_the_references() {
        for isa in FloatIsa::available() {
            suite::matrix_f32(|w, x, y| times(isa, w, x, y), |w, y, x| transposed(isa, w, y, x), outer);
        }
    }
}
