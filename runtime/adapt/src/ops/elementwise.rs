//! Gradient of element-wise functions: dx = dy · f'(x).

use tract_core::internal::*;

use super::{gradient_op, with_f32};

/// y = f(x) for one element.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Function {
    Sigmoid,
    Tanh,
    /// x · min(max(x / 6 + ½, 0), 1)
    HardSwish,
    /// x for x ≥ 0, α·x below.
    LeakyRelu(f32),
    Square,
    Exp,
    Sqrt,
    Rsqrt,
    Recip,
    Neg,
}

impl Function {
    /// f'(x).
    fn derivative(self, x: f32) -> f32 {
        match self {
            Function::Sigmoid => {
                let y = 1.0 / (1.0 + (-x).exp());
                y * (1.0 - y)
            }
            Function::Tanh => 1.0 - x.tanh() * x.tanh(),
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
            Function::Square => 2.0 * x,
            Function::Exp => x.exp(),
            Function::Sqrt => 0.5 / x.sqrt(),
            Function::Rsqrt => -0.5 / (x * x.sqrt()),
            Function::Recip => -1.0 / (x * x),
            Function::Neg => -1.0,
        }
    }
}

/// Inputs dy, x; output dx, in place on dy when it is exclusive.
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
                *d *= self.0.derivative(x);
            }
            Ok(())
        })??;
        Ok(tvec!(dx.into_tvalue()))
    }
}
