//! Adaptive pooling of maps, and the way back.
//!
//! x (B, C, H, W) → y (B, C, h, w);  window i of an axis reaches from ⌊i·H/h⌋ to ⌈(i+1)·H/h⌉
//! average: y = mean of the window,  dx += dy / window's size
//! maximum: y = largest of the window, the first of equals,  dx += dy at that place
//!
//! The windows of PyTorch's `adaptive_avg_pool2d` and `adaptive_max_pool2d`: even where h divides H, overlapping by one where it does not.

use std::ops::Range;

use crate::batch::Batch;

/// (C, H, W) of a map with three axes.
pub(super) fn chw(x: &Batch) -> [usize; 3] {
    [x.dims[0], x.dims[1], x.dims[2]]
}

/// Each sample and channel with every window of it: (number of the output value, rows, columns), offset of the plane given.
fn windows(
    planes: usize,
    from: [usize; 2],
    to: [usize; 2],
    mut visit: impl FnMut(usize, usize, Range<usize>, Range<usize>),
) {
    let reach = |i: usize, n: usize, out: usize| i * n / out..((i + 1) * n).div_ceil(out);
    for plane in 0..planes {
        for i in 0..to[0] {
            for j in 0..to[1] {
                let y = (plane * to[0] + i) * to[1] + j;
                visit(y, plane * from[0] * from[1], reach(i, from[0], to[0]), reach(j, from[1], to[1]));
            }
        }
    }
}

/// Mean of each window.
pub(super) fn average(x: &Batch, h: usize, w: usize) -> Batch {
    let [c, from_h, from_w] = chw(x);
    let planes = x.samples() * c;
    let mut y = Batch { dims: vec![c, h, w], values: vec![0.0; planes * h * w] };
    windows(planes, [from_h, from_w], [h, w], |at, plane, rows, columns| {
        let area = (rows.len() * columns.len()) as f64;
        let sum: f64 = rows.flat_map(|r| &x.values[plane + r * from_w..][columns.clone()]).sum();
        y.values[at] = sum / area;
    });
    y
}

/// dx of [`average`] from maps of `h` x `w`.
pub(super) fn average_backward(dy: &Batch, h: usize, w: usize) -> Batch {
    let [c, to_h, to_w] = chw(dy);
    let planes = dy.samples() * c;
    let mut dx = Batch { dims: vec![c, h, w], values: vec![0.0; planes * h * w] };
    windows(planes, [h, w], [to_h, to_w], |at, plane, rows, columns| {
        let part = dy.values[at] / (rows.len() * columns.len()) as f64;
        for r in rows {
            dx.values[plane + r * w..][columns.clone()].iter_mut().for_each(|d| *d += part);
        }
    });
    dx
}

/// Largest of each window, and where each stands among the values of `x`.
pub(super) fn maximum(x: &Batch, h: usize, w: usize) -> (Batch, Vec<usize>) {
    let [c, from_h, from_w] = chw(x);
    let planes = x.samples() * c;
    let mut y = Batch { dims: vec![c, h, w], values: vec![0.0; planes * h * w] };
    let mut places = vec![0; y.values.len()];
    windows(planes, [from_h, from_w], [h, w], |at, plane, rows, columns| {
        let mut best = plane + rows.start * from_w + columns.start;
        for place in rows.flat_map(|r| columns.clone().map(move |column| plane + r * from_w + column)) {
            if x.values[place] > x.values[best] {
                best = place;
            }
        }
        (y.values[at], places[at]) = (x.values[best], best);
    });
    (y, places)
}

/// dx of [`maximum`] from maps of `h` x `w`.
pub(super) fn maximum_backward(dy: &Batch, places: &[usize], h: usize, w: usize) -> Batch {
    let c = dy.dims[0];
    let mut dx = Batch { dims: vec![c, h, w], values: vec![0.0; dy.samples() * c * h * w] };
    for (&place, d) in places.iter().zip(&dy.values) {
        dx.values[place] += d;
    }
    dx
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 1, 2, 3, ... in some order.
    fn numbers(c: usize, h: usize, w: usize, samples: usize) -> Batch {
        let count = c * h * w * samples;
        Batch::new(&[c, h, w], (0..count).map(|i| ((i * 7 + 3) % count) as f64).collect())
    }

    #[test]
    fn windows_are_those_of_pytorch() {
        // adaptive_avg_pool2d and adaptive_max_pool2d of 0, 1, ... 14 as 3 x 5 to 2 x 2
        let x = Batch::new(&[1, 3, 5], (0..15).map(f64::from).collect());
        assert_eq!(average(&x, 2, 2).values, [3.5, 5.5, 8.5, 10.5]);
        assert_eq!(maximum(&x, 2, 2).0.values, [7.0, 9.0, 12.0, 14.0]);
    }

    #[test]
    fn pooling_to_the_same_size_changes_nothing() {
        let x = numbers(2, 3, 4, 2);
        assert_eq!(average(&x, 3, 4), x);
        assert_eq!(maximum(&x, 3, 4).0, x);
    }

    #[test]
    fn the_way_back_is_the_transpose() {
        // <dy, pool(x)> = <pool'(dy), x>: average pooling is linear, and so is the maximum where it stands
        let dot = |a: &Batch, b: &Batch| a.values.iter().zip(&b.values).map(|(a, b)| a * b).sum::<f64>();
        for (h, w) in [(1, 1), (2, 3), (4, 6), (3, 5), (5, 4)] {
            let x = numbers(2, 4, 6, 3);
            let dy = numbers(2, h, w, 3);
            let y = average(&x, h, w);
            assert!((dot(&dy, &y) - dot(&average_backward(&dy, 4, 6), &x)).abs() < 1e-9, "{h} x {w}");
            let (y, places) = maximum(&x, h, w);
            assert_eq!(dot(&dy, &y), dot(&maximum_backward(&dy, &places, 4, 6), &x), "{h} x {w}");
        }
    }
}
