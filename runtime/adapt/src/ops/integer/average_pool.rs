//! Average over windows of an integer tensor, by the kernel, a channel at a time.
//!
//! v = acc · fl(fl(sx / sy) / n); every element of a window gets dy · fl(fl(sx / sy) / n) where v is not saturated.

use std::ops::Range;

use limbeck_kernels::average_pool::{AveragePool, Count, portable};
use limbeck_kernels::{Image, Pool};
use tract_core::internal::*;

use super::{Form, Operand, counted, holds, stored};

/// Operand x (1, C, H, W).
#[derive(Debug)]
pub(crate) struct AverageIntegers {
    pub pool: Pool,
    pub count: Count,
    /// Height and width of the output.
    pub output: [usize; 2],
    pub x_zero: i8,
    pub y_zero: i8,
    /// fl(sx / sy).
    pub ratio: f32,
}

impl AverageIntegers {
    /// Along `axis`, the inputs that output `out` covers, of `size`.
    fn covers(&self, axis: usize, out: usize, size: usize) -> Range<usize> {
        let start = out * self.pool.stride[axis];
        let end = (start + self.pool.kernel[axis]).saturating_sub(self.pool.pad[axis]);
        start.saturating_sub(self.pool.pad[axis])..end.min(size)
    }
}

impl Form for AverageIntegers {
    fn name(&self) -> &'static str {
        "AveragePool"
    }

    fn y_shape(&self, x: &[&[usize]]) -> TVec<usize> {
        tvec!(x[0][0], x[0][1], self.output[0], self.output[1])
    }

    fn forward(&self, x: &[Operand<'_>], y: &mut [f32]) {
        let [h, w] = [x[0].shape[2], x[0].shape[3]];
        let pixels = self.output[0] * self.output[1];
        let mut q = vec![0; pixels];
        for (x_c, y_c) in x[0].data.chunks(h * w).zip(y.chunks_mut(pixels)) {
            let AverageIntegers { pool, count, x_zero, y_zero, ratio, .. } = *self;
            let x = stored(x_c, x_zero);
            let x_shape = Image { h, w, c: 1 };
            portable(&AveragePool { x: &x, x_shape, x_zero, ratio, y_zero, pool, count }, &mut q);
            counted(&q, y_zero, y_c);
        }
    }

    fn backward(&self, _slot: usize, x: &[Operand<'_>], dy: &[f32], dx: &mut [f32]) {
        let [h, w] = [x[0].shape[2], x[0].shape[3]];
        let [out_h, out_w] = self.output;
        for ((x_c, dx_c), dy_c) in x[0].data.chunks(h * w).zip(dx.chunks_mut(h * w)).zip(dy.chunks(out_h * out_w)) {
            for (at, &dy) in dy_c.iter().enumerate() {
                let (rows, columns) = (self.covers(0, at / out_w, h), self.covers(1, at % out_w, w));
                let n = match self.count {
                    Count::Kernel => self.pool.kernel[0] * self.pool.kernel[1],
                    Count::Real => rows.len() * columns.len(),
                };
                let scale = self.ratio / n as f32;
                let sum: f32 = rows.clone().map(|r| x_c[r * w..][columns.clone()].iter().sum::<f32>()).sum();
                if holds(sum * scale, self.y_zero) {
                    rows.for_each(|r| dx_c[r * w..][columns.clone()].iter_mut().for_each(|dx| *dx += dy * scale));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::integer::both;

    #[test]
    fn every_element_of_a_window_has_its_share() {
        let pool = Pool { kernel: [2, 2], stride: [1, 1], pad: [0, 1, 0, 0] };
        let form = AverageIntegers { pool, count: Count::Real, output: [1, 2], x_zero: -128, y_zero: -128, ratio: 2.0 };
        let x = Operand { shape: &[1, 1, 2, 2], data: &[3.0, 1.0, 2.0, 250.0] };
        let (n, dx) = both(&form, &[x], &[1.0, 1.0]);
        // (3 + 2) · 2 / 2, and 256 · 2 / 4.
        assert_eq!(n, [5.0, 128.0]);
        assert_eq!(dx[0], [1.5, 0.5, 1.5, 0.5]);
    }
}
