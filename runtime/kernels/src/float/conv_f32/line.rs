//! The inner loop: equally spaced pixels against one panel, six (or eight) pixels at a time.

use crate::float::lanes::{LANES, Lanes};

/// A line of pixels against one panel.
pub(crate) struct Line {
    /// First value that pixel 0 reads.
    pub(crate) x: *const f32,
    /// Values from one pixel to the next.
    pub(crate) x_step: usize,
    pub(crate) pixels: usize,
    /// Runs of a patch: outer, inner.
    pub(crate) runs: [usize; 2],
    /// Values from one to the next.
    pub(crate) run_step: [usize; 2],
    /// Neighbouring values of a run.
    pub(crate) run_len: usize,
    /// Channels of the panel: 16 or 8.
    pub(crate) width: usize,
    /// The panel: biases, weights.
    pub(crate) panel: *const f32,
    /// First output of pixel 0; null, or the addend of the same place.
    pub(crate) y: *mut f32,
    pub(crate) addend: *const f32,
    /// Values from one pixel to the next, of both.
    pub(crate) y_step: usize,
    /// Channels to write, no more than `width`.
    pub(crate) channels: usize,
    pub(crate) bounds: [f32; 2],
}

/// # Safety
/// - The CPU has the path's instructions.
/// - Pixel `p` reads `run_len` values at `x + p * x_step + a * run_step[0] + b * run_step[1]`, for all `a < runs[0]` and
///   `b < runs[1]`: all of them are readable.
/// - `panel` has `width * (1 + runs[0] * runs[1] * run_len)` readable values, and `width` is 8 or 16.
/// - `channels` values are writable at `y + p * y_step`, and readable at `addend + p * y_step` unless `addend` is null.
#[inline(always)]
pub(crate) unsafe fn line<L: Lanes>(lanes: L, l: &Line) {
    // SAFETY: the caller's promise, handed on.
    unsafe {
        match l.width {
            8 => line_of::<L, 8, 1>(lanes, l),
            _ => line_of::<L, 6, 2>(lanes, l),
        }
    }
}

/// Cuts the line into tiles of nearly one size, of `MOST` pixels at most: a last tile of one pixel would wait for its own sums.
///
/// # Safety
/// Those of [`line`], with `width` = `8 * V`.
#[inline(always)]
unsafe fn line_of<L: Lanes, const MOST: usize, const V: usize>(lanes: L, l: &Line) {
    let tiles = l.pixels.div_ceil(MOST);
    let mut pixel = 0;
    for n in 0..tiles {
        let rows = (l.pixels - pixel).div_ceil(tiles - n);
        // SAFETY: `pixel + rows` is no more than `pixels`; the rest is the caller's promise.
        unsafe {
            match rows {
                1 => tile::<L, 1, V>(lanes, l, pixel),
                2 => tile::<L, 2, V>(lanes, l, pixel),
                3 => tile::<L, 3, V>(lanes, l, pixel),
                4 => tile::<L, 4, V>(lanes, l, pixel),
                5 => tile::<L, 5, V>(lanes, l, pixel),
                6 => tile::<L, 6, V>(lanes, l, pixel),
                // Only where `MOST` is 8.
                7 => tile::<L, 7, V>(lanes, l, pixel),
                _ => tile::<L, 8, V>(lanes, l, pixel),
            }
        }
        pixel += rows;
    }
}

/// `R` pixels x `8 * V` channels.
///
/// # Safety
/// Those of [`line`], with `width` = `8 * V`, and `first + R <= pixels`.
#[inline(always)]
unsafe fn tile<L: Lanes, const R: usize, const V: usize>(lanes: L, l: &Line, first: usize) {
    // SAFETY: the caller's promise; weights advance by one row of the panel for each value of a run.
    unsafe {
        // Wrapping: where there are no runs, nothing is read and `x` may point at nothing.
        let x = l.x.wrapping_add(first * l.x_step);
        let mut w = l.panel;
        let mut sums = [[lanes.splat(0.0); V]; R];
        for v in 0..V {
            let bias = lanes.load(w.add(LANES * v));
            sums.iter_mut().for_each(|row| row[v] = bias);
        }
        w = w.add(LANES * V);
        for outer in 0..l.runs[0] {
            for inner in 0..l.runs[1] {
                let mut x = x.add(outer * l.run_step[0] + inner * l.run_step[1]);
                for _ in 0..l.run_len {
                    let mut w_v = [lanes.splat(0.0); V];
                    for (v, w_v) in w_v.iter_mut().enumerate() {
                        *w_v = lanes.load(w.add(LANES * v));
                    }
                    for (r, row) in sums.iter_mut().enumerate() {
                        let x_r = lanes.splat(*x.add(r * l.x_step));
                        for (sum, &w_v) in row.iter_mut().zip(&w_v) {
                            *sum = lanes.multiply_add(x_r, w_v, *sum);
                        }
                    }
                    x = x.add(1);
                    w = w.add(LANES * V);
                }
            }
        }
        let bounds = [lanes.splat(l.bounds[0]), lanes.splat(l.bounds[1])];
        for (r, row) in sums.iter().enumerate() {
            let at = (first + r) * l.y_step;
            if l.channels == LANES * V {
                for (v, &sum) in row.iter().enumerate() {
                    let sum = match l.addend.is_null() {
                        true => sum,
                        false => lanes.add(sum, lanes.load(l.addend.add(at + LANES * v))),
                    };
                    lanes.store(lanes.clamp(sum, bounds), l.y.add(at + LANES * v));
                }
                continue;
            }
            let mut values = [[0.0f32; LANES]; V];
            if !l.addend.is_null() {
                core::ptr::copy_nonoverlapping(l.addend.add(at), values.as_mut_ptr().cast(), l.channels);
            }
            for (values, &sum) in values.iter_mut().zip(row) {
                let sum = lanes.add(sum, lanes.load(values.as_ptr()));
                lanes.store(lanes.clamp(sum, bounds), values.as_mut_ptr());
            }
            core::ptr::copy_nonoverlapping(values.as_ptr().cast(), l.y.add(at), l.channels);
        }
    }
}
