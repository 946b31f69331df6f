//! Into integers and out of them: the first `QuantizeLinear` and the last `DequantizeLinear`.
//!
//! ```text
//! quantize     n = clamp(rne(fl(x / s)))        dx = dn / s where x / s is within the clamp
//! dequantize   y = fl(n · s)                    dn = dy · s
//! ```

use limbeck_kernels::arithmetic::saturate;

use super::{Form, Operand, holds};

/// x in real numbers → n in integers from the zero point.
#[derive(Debug)]
pub(crate) struct Quantize {
    pub scale: f32,
    pub zero: i8,
}

impl Form for Quantize {
    fn name(&self) -> &'static str {
        "Quantize"
    }

    fn forward(&self, x: &[Operand<'_>], y: &mut [f32]) {
        for (y, &x) in y.iter_mut().zip(x[0].data) {
            let steps = x / self.scale;
            // As the kernel: not a number counts as 0.
            let q = saturate(if steps.is_nan() { 0.0 } else { steps }, self.zero);
            *y = (q as i32 - self.zero as i32) as f32;
        }
    }

    fn backward(&self, _slot: usize, x: &[Operand<'_>], dy: &[f32], dx: &mut [f32]) {
        for ((dx, &dy), &x) in dx.iter_mut().zip(dy).zip(x[0].data) {
            *dx = if holds(x / self.scale, self.zero) { dy / self.scale } else { 0.0 };
        }
    }
}

/// n in integers from the zero point → y in real numbers.
#[derive(Debug)]
pub(crate) struct Dequantize {
    pub scale: f32,
}

impl Form for Dequantize {
    fn name(&self) -> &'static str {
        "Dequantize"
    }

    fn forward(&self, x: &[Operand<'_>], y: &mut [f32]) {
        y.iter_mut().zip(x[0].data).for_each(|(y, n)| *y = n * self.scale);
    }

    fn backward(&self, _slot: usize, _x: &[Operand<'_>], dy: &[f32], dx: &mut [f32]) {
        dx.iter_mut().zip(dy).for_each(|(dx, dy)| *dx = dy * self.scale);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::integer::both;

    #[test]
    fn gradients_pass_where_nothing_is_saturated() {
        // 8 bits from the zero point -100: -28 ..= 227 steps of 0.5.
        let x = Operand { shape: &[5], data: &[-14.3, -14.0, 0.3, 113.5, 114.0] };
        let (n, dx) = both(&Quantize { scale: 0.5, zero: -100 }, &[x], &[1.0; 5]);
        assert_eq!(n, [-28.0, -28.0, 1.0, 227.0, 227.0]);
        assert_eq!(dx[0], [0.0, 2.0, 2.0, 2.0, 0.0]);
        let (y, dn) = both(&Dequantize { scale: 0.5 }, &[Operand { shape: &[5], data: &n }], &[1.0; 5]);
        assert_eq!(y, [-14.0, -14.0, 0.5, 113.5, 113.5]);
        assert_eq!(dn[0], [0.5; 5]);
    }
}
