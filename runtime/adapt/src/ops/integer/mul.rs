//! Product of two integer tensors; the second may be one value a channel (a squeeze-excite gate).
//!
//! y = a·b·M with M = fl(fl(sa · sb) / sy), by the kernel, a channel at a time; da = dy·b·M, db = Σ dy·a·M, where y is not saturated.

use limbeck_kernels::mul::{Mul, portable};

use super::{Form, Operand, counted, holds, stored};

/// Operands a (1, C, H, W) and b, of a's shape or (1, C, 1, 1).
#[derive(Debug)]
pub(crate) struct MulIntegers {
    pub zeros: [i8; 2],
    pub y_zero: i8,
    /// M.
    pub scale: f32,
}

impl Form for MulIntegers {
    fn name(&self) -> &'static str {
        "Mul"
    }

    fn forward(&self, x: &[Operand<'_>], y: &mut [f32]) {
        let [a_zero, b_zero] = self.zeros;
        let (a, b) = (stored(x[0].data, a_zero), stored(x[1].data, b_zero));
        let mut q = vec![0; y.len()];
        // Elements that share one b: the pixels of a channel, or one.
        let shared = (a.len() / b.len().max(1)).max(1);
        for ((a_c, b_c), q_c) in a.chunks(shared).zip(b.chunks(1)).zip(q.chunks_mut(shared)) {
            portable(&Mul { a: a_c, a_zero, b: b_c, b_zero, scale: self.scale, y_zero: self.y_zero }, q_c);
        }
        counted(&q, self.y_zero, y);
    }

    fn backward(&self, slot: usize, x: &[Operand<'_>], dy: &[f32], dx: &mut [f32]) {
        let (a, b) = (x[0].data, x[1].data);
        let shared = (a.len() / b.len().max(1)).max(1);
        for (at, (&a, &dy)) in a.iter().zip(dy).enumerate() {
            let b = b[at / shared];
            if !holds(a * b * self.scale, self.y_zero) {
                continue;
            }
            match slot {
                0 => dx[at] = dy * b * self.scale,
                _ => dx[at / shared] += dy * a * self.scale,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::integer::both;

    #[test]
    fn a_gate_multiplies_its_channel() {
        let form = MulIntegers { zeros: [0, -128], y_zero: 0, scale: 0.01 };
        let a = Operand { shape: &[1, 2, 1, 2], data: &[10.0, -20.0, 30.0, 127.0] };
        let b = Operand { shape: &[1, 2, 1, 1], data: &[100.0, 200.0] };
        let (n, dx) = both(&form, &[a, b], &[1.0, 2.0, 1.0, 1.0]);
        assert_eq!(n, [10.0, -20.0, 60.0, 127.0]);
        let near = |have: &[f32], want: &[f32]| have.iter().zip(want).for_each(|(h, w)| assert!((h - w).abs() < 1e-5));
        near(&dx[0], &[1.0, 2.0, 2.0, 0.0]);
        near(&dx[1], &[0.1 - 0.4, 0.3]);
    }
}
