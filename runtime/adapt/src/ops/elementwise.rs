//! Gradient of element-wise functions: dx = dy · f'(x).

use std::f64::consts::{FRAC_1_SQRT_2, FRAC_2_SQRT_PI};

use tract_core::internal::*;

use super::{gradient_op, with_f32};

/// y = f(x) for one element.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Function {
    Abs,
    Asinh,
    Atan,
    Cos,
    Cosh,
    /// 2/√π · ∫₀ˣ exp(−t²) dt
    Erf,
    Exp,
    /// x · Φ(x), Φ the normal distribution (Hendrycks, Gimpel, 2016).
    GeluExact,
    /// ½ · x · (1 + tanh(√(2/π) · (x + 0.044715 · x³))); x² in place of x³ is tract's reading of a shortened form.
    GeluTanh {
        /// 3, or 2.
        power: i32,
    },
    /// x · min(max(x / 6 + ½, 0), 1) (Howard et al., MobileNetV3, 2019).
    HardSwish,
    /// x for x ≥ 0, α·x below.
    LeakyRelu(f32),
    Ln,
    Neg,
    /// x to a constant power.
    Pow(f32),
    Recip,
    Rsqrt,
    Sigmoid,
    /// x · sigmoid(x) (Elfwing et al., 2017).
    Silu,
    Sin,
    Sinh,
    Sqrt,
    Square,
    Tanh,
}

impl Function {
    /// f'(x).
    fn derivative(self, x: f32) -> f32 {
        match self {
            Function::Abs if x == 0.0 => 0.0,
            Function::Abs => x.signum(),
            Function::Asinh => 1.0 / (x * x + 1.0).sqrt(),
            Function::Atan => 1.0 / (x * x + 1.0),
            Function::Cos => -x.sin(),
            Function::Cosh => x.sinh(),
            Function::Erf => FRAC_2_SQRT_PI as f32 * (-x * x).exp(),
            Function::Exp => x.exp(),
            Function::GeluExact => {
                // Φ(x) + x·φ(x)
                let x = x as f64;
                let density = 0.5 * FRAC_2_SQRT_PI * FRAC_1_SQRT_2 * (-0.5 * x * x).exp();
                (0.5 * (1.0 + erf(x * FRAC_1_SQRT_2)) + x * density) as f32
            }
            Function::GeluTanh { power } => {
                // y = ½x(1 + t), t = tanh(u), u = k(x + c·xᵖ): ½(1 + t) + ½x(1 − t²)·k(1 + c·p·xᵖ⁻¹)
                let (k, c) = ((2.0 / std::f32::consts::PI).sqrt(), 0.044715);
                let t = (k * (x + c * x.powi(power))).tanh();
                let du = k * (1.0 + c * power as f32 * x.powi(power - 1));
                0.5 * (1.0 + t) + 0.5 * x * (1.0 - t * t) * du
            }
            Function::HardSwish if x <= -3.0 => 0.0,
            Function::HardSwish if x >= 3.0 => 1.0,
            Function::HardSwish => (2.0 * x + 3.0) / 6.0,
            Function::LeakyRelu(alpha) => {
                if x > 0.0 {
                    1.0
                } else {
                    alpha
                }
            }
            Function::Ln => 1.0 / x,
            Function::Neg => -1.0,
            Function::Pow(power) => power * x.powf(power - 1.0),
            Function::Recip => -1.0 / (x * x),
            Function::Rsqrt => -0.5 / (x * x.sqrt()),
            Function::Sigmoid => {
                let y = sigmoid(x);
                y * (1.0 - y)
            }
            Function::Silu => {
                let y = sigmoid(x);
                y * (1.0 + x * (1.0 - y))
            }
            Function::Sin => x.cos(),
            Function::Sinh => x.cosh(),
            Function::Sqrt => 0.5 / x.sqrt(),
            Function::Square => 2.0 * x,
            Function::Tanh => 1.0 - x.tanh() * x.tanh(),
        }
    }
}

fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + (-x).exp())
}

/// The error function to 1.5e-7 (Abramowitz, Stegun, "Handbook of Mathematical Functions", 7.1.26).
fn erf(x: f64) -> f64 {
    let t = 1.0 / (1.0 + 0.327_591_1 * x.abs());
    let polynomial = [1.061_405_429, -1.453_152_027, 1.421_413_741, -0.284_496_736, 0.254_829_592];
    let y = 1.0 - polynomial.iter().fold(0.0, |sum, a| sum * t + a) * t * (-x * x).exp();
    y.copysign(x)
}

/// Inputs dy, x; output dx, in place on dy when it is exclusive.
///
/// dx is 0 where dy is: behind a branch that was not taken f' may be infinite, and 0 · ∞ is no gradient.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ElementwiseDx(pub Function);

impl Eq for ElementwiseDx {}
gradient_op!(ElementwiseDx, "ElementwiseDx");

impl ElementwiseDx {
    fn facts(&self, inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        Ok(tvec!(inputs[0].without_value()))
    }

    fn compute(&self, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        let (dy, x) = args_2!(inputs);
        let mut dx = dy.into_tensor();
        with_f32(&x, |x| -> TractResult<()> {
            let mut view = dx.try_as_plain_ram_mut()?;
            for (d, &x) in view.as_slice_mut::<f32>()?.iter_mut().zip(x) {
                *d = if *d == 0.0 { 0.0 } else { *d * self.0.derivative(x) };
            }
            Ok(())
        })??;
        Ok(tvec!(dx.into_tvalue()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn erf_at_points_of_the_table() {
        // Abramowitz and Stegun, table 7.1.
        for (x, y) in [(0.0, 0.0), (0.5, 0.520_499_878), (1.0, 0.842_700_793), (2.0, 0.995_322_265)] {
            assert!((erf(x) - y).abs() < 2e-7, "erf({x}) = {}", erf(x));
            assert_eq!(erf(-x), -erf(x));
        }
    }

    #[test]
    fn nothing_comes_back_from_a_branch_not_taken() {
        let op = ElementwiseDx(Function::Exp);
        let inputs = tvec!(tensor1(&[0f32, 1.0]).into_tvalue(), tensor1(&[1000f32, 0.0]).into_tvalue());
        assert_eq!(*op.compute(inputs).unwrap()[0], tensor1(&[0f32, 1.0]));
    }
}
