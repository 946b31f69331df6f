//! y = f(x), element by element: dx = dy · f'(x). The derivatives are with the functions, in `ops/elementwise.rs`.

use tract_core::internal::*;
use tract_core::ops::element_wise::ElementWiseOp;
use tract_core::ops::math::{
    Abs, Asinh, Atan, Ceil, Cos, Cosh, Erf, Exp, Floor, Ln, Neg, PowConst, Recip, Round, RoundHalfToEven, Rsqrt, Sign,
    Sin, Sinh, Sqrt, Square, Tanh,
};
use tract_core::ops::nn::gelu_approximate::GeluApproximate;
use tract_core::ops::nn::{GeluExact, HardSwish, LeakyRelu, Sigmoid, Silu};

use super::Contributions;
use crate::differentiate::Backward;
use crate::ops::{ElementwiseDx, Function};

pub(super) fn elementwise(b: &mut Backward, op: &ElementWiseOp, g: OutletId) -> TractResult<Contributions> {
    let Some(function) = function(op) else {
        let op = &op.0;
        if op.is::<Sign>() || op.is::<Floor>() || op.is::<Ceil>() || op.is::<Round>() || op.is::<RoundHalfToEven>() {
            bail!("{} is flat, so nothing before it can learn", op.name());
        }
        bail!("no rule is written for the function {}", op.name());
    };
    let x = b.input(0);
    Ok(tvec!((0, b.wire("dx", ElementwiseDx(function), &[g, x])?)))
}

fn function(op: &ElementWiseOp) -> Option<Function> {
    let op = &op.0;
    Some(if op.is::<Abs>() {
        Function::Abs
    } else if op.is::<Asinh>() {
        Function::Asinh
    } else if op.is::<Atan>() {
        Function::Atan
    } else if op.is::<Cos>() {
        Function::Cos
    } else if op.is::<Cosh>() {
        Function::Cosh
    } else if op.is::<Erf>() {
        Function::Erf
    } else if op.is::<Exp>() {
        Function::Exp
    } else if op.is::<GeluExact>() {
        Function::GeluExact
    } else if let Some(op) = op.downcast_ref::<GeluApproximate>() {
        Function::GeluTanh { power: if op.fast_impl { 2 } else { 3 } }
    } else if op.is::<HardSwish>() {
        Function::HardSwish
    } else if let Some(op) = op.downcast_ref::<LeakyRelu>() {
        Function::LeakyRelu(op.alpha)
    } else if op.is::<Ln>() {
        Function::Ln
    } else if op.is::<Neg>() {
        Function::Neg
    } else if let Some(op) = op.downcast_ref::<PowConst>() {
        Function::Pow(op.exponent)
    } else if op.is::<Recip>() {
        Function::Recip
    } else if op.is::<Rsqrt>() {
        Function::Rsqrt
    } else if op.is::<Sigmoid>() {
        Function::Sigmoid
    } else if op.is::<Silu>() {
        Function::Silu
    } else if op.is::<Sin>() {
        Function::Sin
    } else if op.is::<Sinh>() {
        Function::Sinh
    } else if op.is::<Sqrt>() {
        Function::Sqrt
    } else if op.is::<Square>() {
        Function::Square
    } else if op.is::<Tanh>() {
        Function::Tanh
    } else {
        return None;
    })
}
