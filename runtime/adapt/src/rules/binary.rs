//! Element-wise operators of two inputs and of one.

use tract_core::internal::*;
use tract_core::ops::binary::TypedBinOp;
use tract_core::ops::element_wise::ElementWiseOp;
use tract_core::ops::math::{self, Add, Div, Exp, Max, Min, Mul, Neg, Recip, Rsqrt, Sqrt, Square, Sub, Tanh};
use tract_core::ops::nn::{HardSwish, LeakyRelu, Sigmoid};

use super::Contributions;
use crate::differentiate::Backward;
use crate::ops::{ElementwiseDx, Function, Gate};

pub(super) fn binary(b: &mut Backward, op: &TypedBinOp, g: OutletId) -> TractResult<Contributions> {
    let op = &op.0;
    if op.is::<Max>() || op.is::<Min>() {
        return clamp(b, op.is::<Max>(), g);
    }
    let mut contributions = tvec!();
    for slot in b.needed_slots() {
        let other = b.input(1 - slot);
        let gradient = match slot {
            _ if op.is::<Add>() => g,
            // y = x0 - x1
            0 if op.is::<Sub>() => g,
            1 if op.is::<Sub>() => b.wire("negated", math::neg(), &[g])?,
            // y = x0 · x1
            _ if op.is::<Mul>() => b.wire("scaled", math::mul(), &[g, other])?,
            // y = x0 / x1
            0 if op.is::<Div>() => b.wire("divided", math::div(), &[g, other])?,
            // dx1 = -dy · y / x1
            1 if op.is::<Div>() => {
                let (y, x1) = (b.output(), b.input(1));
                let ratio = b.wire("ratio", math::div(), &[y, x1])?;
                let product = b.wire("product", math::mul(), &[g, ratio])?;
                b.wire("negated", math::neg(), &[product])?
            }
            _ => bail!("no rule is written for it"),
        };
        let shape = b.shape(b.input(slot))?;
        contributions.push((slot, b.unbroadcast(gradient, &shape)?));
    }
    Ok(contributions)
}

/// y = max(x, k) or min(x, k) with one constant k: dy passes where the clamp does not bite.
fn clamp(b: &mut Backward, is_max: bool, g: OutletId) -> TractResult<Contributions> {
    let slot = if b.needs(0) { 0 } else { 1 };
    let bound = b.constant_input(1 - slot)?.context("neither operand is constant")?;
    ensure!(bound.len() == 1, "its bound has {} values", bound.len());
    let bound = bound.cast_to::<f32>()?.try_as_plain_ram()?.as_slice::<f32>()?[0];
    let gate =
        if is_max { Gate { low: bound, high: f32::INFINITY } } else { Gate { low: f32::NEG_INFINITY, high: bound } };
    let y = b.output();
    Ok(tvec!((slot, b.wire("gate", gate, &[g, y])?)))
}

pub(super) fn elementwise(b: &mut Backward, op: &ElementWiseOp, g: OutletId) -> TractResult<Contributions> {
    let op = &op.0;
    let function = if op.is::<Sigmoid>() {
        Function::Sigmoid
    } else if op.is::<Tanh>() {
        Function::Tanh
    } else if op.is::<HardSwish>() {
        Function::HardSwish
    } else if let Some(op) = op.downcast_ref::<LeakyRelu>() {
        Function::LeakyRelu(op.alpha)
    } else if op.is::<Square>() {
        Function::Square
    } else if op.is::<Exp>() {
        Function::Exp
    } else if op.is::<Sqrt>() {
        Function::Sqrt
    } else if op.is::<Rsqrt>() {
        Function::Rsqrt
    } else if op.is::<Recip>() {
        Function::Recip
    } else if op.is::<Neg>() {
        Function::Neg
    } else {
        bail!("no rule is written for the function {}", op.name())
    };
    let x = b.input(0);
    Ok(tvec!((0, b.wire("dx", ElementwiseDx(function), &[g, x])?)))
}
