//! Sum of two integer tensors of one shape: the kernel's fixed point forward, a·sa/sy + b·sb/sy backward.

use limbeck_kernels::add::{Add, AddScales, portable};

use super::{Form, Operand, counted, holds, stored};

/// Operands a, b.
#[derive(Debug)]
pub(crate) struct AddIntegers {
    pub zeros: [i8; 2],
    pub y_zero: i8,
    pub scales: AddScales,
    /// sa / sy, sb / sy.
    pub ratios: [f32; 2],
}

impl Form for AddIntegers {
    fn name(&self) -> &'static str {
        "Add"
    }

    fn forward(&self, x: &[Operand<'_>], y: &mut [f32]) {
        let [a_zero, b_zero] = self.zeros;
        let (a, b) = (stored(x[0].data, a_zero), stored(x[1].data, b_zero));
        let mut q = vec![0; y.len()];
        portable(&Add { a: &a, a_zero, b: &b, b_zero, scales: self.scales, y_zero: self.y_zero }, &mut q);
        counted(&q, self.y_zero, y);
    }

    fn backward(&self, slot: usize, x: &[Operand<'_>], dy: &[f32], dx: &mut [f32]) {
        let [ra, rb] = self.ratios;
        for (((dx, dy), a), b) in dx.iter_mut().zip(dy).zip(x[0].data).zip(x[1].data) {
            *dx = if holds(a * ra + b * rb, self.y_zero) { dy * self.ratios[slot] } else { 0.0 };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::integer::both;

    #[test]
    fn terms_are_brought_to_one_scale() {
        let (sa, sb, sy) = (0.5, 0.25, 1.0);
        let scales = AddScales::new(sa, sb, sy).unwrap();
        let form = AddIntegers { zeros: [3, -128], y_zero: -100, scales, ratios: [sa / sy, sb / sy] };
        let a = Operand { shape: &[1, 3, 1, 1], data: &[8.0, -100.0, 4.0] };
        let b = Operand { shape: &[1, 3, 1, 1], data: &[4.0, 0.0, 255.0] };
        let (n, dx) = both(&form, &[a, b], &[1.0; 3]);
        assert_eq!(n, [5.0, -28.0, 66.0]);
        assert_eq!(dx, [[0.5, 0.0, 0.5], [0.25, 0.0, 0.25]]);
    }
}
