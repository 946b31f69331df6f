//! The inner loop: neighbouring pixels that have the same taps, six at a time, sixteen channels at a time.

use crate::float::lanes::{LANES, Lanes};

/// Pixels with the same taps.
pub(crate) struct Row<'a> {
    /// What pixel 0 reads at offset 0.
    pub(crate) x: *const f32,
    /// Values from one pixel to the next.
    pub(crate) x_step: usize,
    pub(crate) pixels: usize,
    /// Offsets of each tap into `x` and `w`.
    pub(crate) taps: &'a [(usize, usize)],
    pub(crate) w: *const f32,
    /// Null: biases of 0.
    pub(crate) bias: *const f32,
    pub(crate) channels: usize,
    pub(crate) y: *mut f32,
    /// Values from one pixel to the next.
    pub(crate) y_step: usize,
    pub(crate) bounds: [f32; 2],
}

/// # Safety
/// - The CPU has the path's instructions, and `channels` is 8 or more.
/// - For each tap `(a, b)`, `channels` values are readable at `x + p * x_step + a` for every pixel `p`, and at `w + b`.
/// - `bias` is null or has `channels` readable values; `channels` are writable at `y + p * y_step`.
#[inline(always)]
pub(crate) unsafe fn row<L: Lanes>(lanes: L, r: &Row<'_>) {
    let mut c = 0;
    // SAFETY: every block of channels ends at `channels` or before; the rest is the caller's promise.
    unsafe {
        if r.pixels == 1 {
            // One pixel alone would wait for its own sums: more channels at once.
            while c + 4 * LANES <= r.channels {
                tile::<L, 1, 4>(lanes, r, 0, c);
                c += 4 * LANES;
            }
        }
        while c + 2 * LANES <= r.channels {
            pixels::<L, 2>(lanes, r, c);
            c += 2 * LANES;
        }
        while c < r.channels {
            // The last block may repeat some channels of the one before it.
            pixels::<L, 1>(lanes, r, c.min(r.channels - LANES));
            c += LANES;
        }
    }
}

/// # Safety
/// Those of [`row`], and `c + 8 * V <= channels`.
#[inline(always)]
unsafe fn pixels<L: Lanes, const V: usize>(lanes: L, r: &Row<'_>, c: usize) {
    let tiles = r.pixels.div_ceil(6);
    let mut pixel = 0;
    for n in 0..tiles {
        let rows = (r.pixels - pixel).div_ceil(tiles - n);
        // SAFETY: `pixel + rows` is no more than `pixels`; the rest is the caller's promise.
        unsafe {
            match rows {
                1 => tile::<L, 1, V>(lanes, r, pixel, c),
                2 => tile::<L, 2, V>(lanes, r, pixel, c),
                3 => tile::<L, 3, V>(lanes, r, pixel, c),
                4 => tile::<L, 4, V>(lanes, r, pixel, c),
                5 => tile::<L, 5, V>(lanes, r, pixel, c),
                _ => tile::<L, 6, V>(lanes, r, pixel, c),
            }
        }
        pixel += rows;
    }
}

/// `R` pixels x `8 * V` channels.
///
/// # Safety
/// Those of [`row`], `first + R <= pixels`, and `c + 8 * V <= channels`.
#[inline(always)]
unsafe fn tile<L: Lanes, const R: usize, const V: usize>(lanes: L, t: &Row<'_>, first: usize, c: usize) {
    // SAFETY: the caller's promise.
    unsafe {
        let x = t.x.wrapping_add(first * t.x_step + c);
        let mut sums = [[lanes.splat(0.0); V]; R];
        if !t.bias.is_null() {
            for v in 0..V {
                let bias = lanes.load(t.bias.add(c + LANES * v));
                sums.iter_mut().for_each(|row| row[v] = bias);
            }
        }
        for &(x_at, w_at) in t.taps {
            let mut w_v = [lanes.splat(0.0); V];
            for (v, w_v) in w_v.iter_mut().enumerate() {
                *w_v = lanes.load(t.w.add(w_at + c + LANES * v));
            }
            for (r, row) in sums.iter_mut().enumerate() {
                for (v, sum) in row.iter_mut().enumerate() {
                    *sum = lanes.multiply_add(lanes.load(x.add(x_at + r * t.x_step + LANES * v)), w_v[v], *sum);
                }
            }
        }
        let bounds = [lanes.splat(t.bounds[0]), lanes.splat(t.bounds[1])];
        for (r, row) in sums.iter().enumerate() {
            for (v, &sum) in row.iter().enumerate() {
                lanes.store(lanes.clamp(sum, bounds), t.y.add((first + r) * t.y_step + c + LANES * v));
            }
        }
    }
}
