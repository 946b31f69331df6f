//! The inner loop: neighbouring values of every patch against the gradients of one panel's channels, over lines of pixels; six values
//! (or eight) stay in registers at a time.

use crate::float::lanes::{LANES, Lanes};

/// Neighbouring values of a patch, at every pixel of some lines.
pub(crate) struct Columns {
    /// The first of the values at line 0, pixel 0; the others follow it.
    pub(crate) x: *const f32,
    /// Values from one line to the next, from one pixel to the next.
    pub(crate) x_steps: [usize; 2],
    /// The gradient of the panel's first channel at line 0, pixel 0.
    pub(crate) dy: *const f32,
    /// As of `x`.
    pub(crate) dy_steps: [usize; 2],
    /// Lines, pixels of a line.
    pub(crate) lines: usize,
    pub(crate) pixels: usize,
    /// How many values of a patch.
    pub(crate) rows: usize,
    /// Channels of the panel: 16 or 8.
    pub(crate) width: usize,
    /// `rows * width` sums, which are added to.
    pub(crate) sums: *mut f32,
}

/// # Safety
/// - The CPU has the path's instructions.
/// - For each line `l` and pixel `p`, `rows` values are readable at `x + l * x_steps[0] + p * x_steps[1]`, and `width` at
///   `dy + l * dy_steps[0] + p * dy_steps[1]`.
/// - `rows * width` values are readable and writable at `sums`; `width` is 16 or 8.
#[inline(always)]
pub(crate) unsafe fn columns<L: Lanes>(lanes: L, c: &Columns) {
    // Blocks of nearly one size: a last one of one row would wait for its own sums.
    let blocks = c.rows.div_ceil(if c.width == 8 { 8 } else { 6 });
    let mut done = 0;
    for block in 0..blocks {
        let rows = (c.rows - done).div_ceil(blocks - block);
        // SAFETY: `done + rows` is no more than `c.rows`; the rest is the caller's promise.
        unsafe {
            match (c.width, rows) {
                (16, 1) => tile::<L, 1, 2>(lanes, c, done),
                (16, 2) => tile::<L, 2, 2>(lanes, c, done),
                (16, 3) => tile::<L, 3, 2>(lanes, c, done),
                (16, 4) => tile::<L, 4, 2>(lanes, c, done),
                (16, 5) => tile::<L, 5, 2>(lanes, c, done),
                (16, _) => tile::<L, 6, 2>(lanes, c, done),
                (_, 1) => tile::<L, 1, 1>(lanes, c, done),
                (_, 2) => tile::<L, 2, 1>(lanes, c, done),
                (_, 3) => tile::<L, 3, 1>(lanes, c, done),
                (_, 4) => tile::<L, 4, 1>(lanes, c, done),
                (_, 5) => tile::<L, 5, 1>(lanes, c, done),
                (_, 6) => tile::<L, 6, 1>(lanes, c, done),
                (_, 7) => tile::<L, 7, 1>(lanes, c, done),
                (_, _) => tile::<L, 8, 1>(lanes, c, done),
            }
        }
        done += rows;
    }
}

/// `R` values of a patch x `8 * V` channels.
///
/// # Safety
/// Those of [`columns`], with `first + R <= rows` and `width` = `8 * V`.
#[inline(always)]
unsafe fn tile<L: Lanes, const R: usize, const V: usize>(lanes: L, c: &Columns, first: usize) {
    // SAFETY: the caller's promise.
    unsafe {
        let mut sums = [[lanes.splat(0.0); V]; R];
        for line in 0..c.lines {
            let mut x = c.x.add(first + line * c.x_steps[0]);
            let mut dy = c.dy.add(line * c.dy_steps[0]);
            for _ in 0..c.pixels {
                let mut dy_v = [lanes.splat(0.0); V];
                for (v, dy_v) in dy_v.iter_mut().enumerate() {
                    *dy_v = lanes.load(dy.add(LANES * v));
                }
                for (r, row) in sums.iter_mut().enumerate() {
                    let x_r = lanes.splat(*x.add(r));
                    for (sum, &dy_v) in row.iter_mut().zip(&dy_v) {
                        *sum = lanes.multiply_add(x_r, dy_v, *sum);
                    }
                }
                // The last step may leave the arrays, where nothing is read any more.
                x = x.wrapping_add(c.x_steps[1]);
                dy = dy.wrapping_add(c.dy_steps[1]);
            }
        }
        for (r, row) in sums.iter().enumerate() {
            for (v, &sum) in row.iter().enumerate() {
                let to = c.sums.add(LANES * ((first + r) * V + v));
                lanes.store(lanes.add(lanes.load(to), sum), to);
            }
        }
    }
}
