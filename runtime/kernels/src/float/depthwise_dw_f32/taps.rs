//! The inner loop: up to three by three taps of eight channels over all pixels of a band.

use crate::float::lanes::{LANES, Lanes};

/// Some taps of eight channels, at every pixel of some lines.
pub(crate) struct Taps {
    /// What the first tap reads at line 0, pixel 0.
    pub(crate) x: *const f32,
    /// Values from one line to the next, from one pixel to the next.
    pub(crate) x_steps: [usize; 2],
    /// Taps: rows, columns; 1 to 3 each.
    pub(crate) taps: [usize; 2],
    /// Values of `x` from one to the next.
    pub(crate) tap_steps: [usize; 2],
    /// The gradient at line 0, pixel 0.
    pub(crate) dy: *const f32,
    pub(crate) dy_steps: [usize; 2],
    pub(crate) lines: usize,
    pub(crate) pixels: usize,
}

/// Sums of the taps, row by row, then that of the gradient.
pub(crate) type Sums = [[f32; LANES]; 10];

/// # Safety
/// - The CPU has the path's instructions.
/// - For each line `l`, pixel `p` and tap `(a, b)`, eight values are readable at
///   `x + l * x_steps[0] + p * x_steps[1] + a * tap_steps[0] + b * tap_steps[1]` and at `dy + l * dy_steps[0] + p * dy_steps[1]`.
/// - `taps` are 1 to 3.
#[inline(always)]
pub(crate) unsafe fn taps<L: Lanes>(lanes: L, t: &Taps) -> Sums {
    // SAFETY: the caller's promise, handed on.
    unsafe {
        match t.taps {
            [1, 1] => tile::<L, 1, 1>(lanes, t),
            [1, 2] => tile::<L, 1, 2>(lanes, t),
            [1, _] => tile::<L, 1, 3>(lanes, t),
            [2, 1] => tile::<L, 2, 1>(lanes, t),
            [2, 2] => tile::<L, 2, 2>(lanes, t),
            [2, _] => tile::<L, 2, 3>(lanes, t),
            [_, 1] => tile::<L, 3, 1>(lanes, t),
            [_, 2] => tile::<L, 3, 2>(lanes, t),
            [_, _] => tile::<L, 3, 3>(lanes, t),
        }
    }
}

/// # Safety
/// Those of [`taps`], with `taps` = `[H, W]`.
#[inline(always)]
unsafe fn tile<L: Lanes, const H: usize, const W: usize>(lanes: L, t: &Taps) -> Sums {
    // SAFETY: the caller's promise.
    unsafe {
        let mut sums = [[lanes.splat(0.0); W]; H];
        let mut sum = lanes.splat(0.0);
        for line in 0..t.lines {
            let mut x = t.x.add(line * t.x_steps[0]);
            let mut dy = t.dy.add(line * t.dy_steps[0]);
            for _ in 0..t.pixels {
                let dy_p = lanes.load(dy);
                sum = lanes.add(sum, dy_p);
                for (a, row) in sums.iter_mut().enumerate() {
                    for (b, sum) in row.iter_mut().enumerate() {
                        let x_ab = lanes.load(x.add(a * t.tap_steps[0] + b * t.tap_steps[1]));
                        *sum = lanes.multiply_add(x_ab, dy_p, *sum);
                    }
                }
                // The last step may leave the arrays, where nothing is read any more.
                x = x.wrapping_add(t.x_steps[1]);
                dy = dy.wrapping_add(t.dy_steps[1]);
            }
        }
        let mut all = [[0.0; LANES]; 10];
        for (a, row) in sums.iter().enumerate() {
            for (b, &sum) in row.iter().enumerate() {
                lanes.store(sum, all[a * W + b].as_mut_ptr());
            }
        }
        lanes.store(sum, all[H * W].as_mut_ptr());
        all
    }
}
