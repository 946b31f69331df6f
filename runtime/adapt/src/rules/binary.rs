//! Element-wise operators of two inputs, each broadcast to the other, and the choice between two inputs.
//!
//! What was broadcast gets the sum over its copies.

use tract_core::internal::*;
use tract_core::ops::binary::TypedBinOp;
use tract_core::ops::logic::Iff;
use tract_core::ops::math::{self, Add, Div, Max, Min, Mul, Pow, Sub, SubF};

use super::{Contributions, scalar};
use crate::differentiate::Backward;
use crate::ops::{ExtremumDx, Gate};

pub(super) fn binary(b: &mut Backward, op: &TypedBinOp, g: OutletId) -> TractResult<Contributions> {
    let op = &op.0;
    if (op.is::<Max>() || op.is::<Min>())
        && let Some(contributions) = clamp(b, op.is::<Max>(), g)?
    {
        return Ok(contributions);
    }
    let mut contributions = tvec!();
    for slot in b.needed_slots() {
        let (own, other) = (b.input(slot), b.input(1 - slot));
        let gradient = match slot {
            _ if op.is::<Add>() => g,
            // y = x0 - x1
            0 if op.is::<Sub>() => g,
            1 if op.is::<Sub>() => b.wire("negated", math::neg(), &[g])?,
            // y = x1 - x0
            0 if op.is::<SubF>() => b.wire("negated", math::neg(), &[g])?,
            1 if op.is::<SubF>() => g,
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
            // y = max(x0, x1) or min(x0, x1)
            _ if op.is::<Max>() || op.is::<Min>() => {
                b.wire("winner", ExtremumDx { is_max: op.is::<Max>() }, &[g, own, other])?
            }
            // y = x0 ^ x1: dx0 = dy · x1 · x0 ^ (x1 - 1)
            0 if op.is::<Pow>() => {
                let rank = b.shape(other)?.len();
                let one = scalar(b, 1.0, rank)?;
                let less = b.wire("exponent", math::sub(), &[other, one])?;
                let power = b.wire("power", math::pow(), &[own, less])?;
                let slope = b.wire("slope", math::mul(), &[power, other])?;
                b.wire("scaled", math::mul(), &[g, slope])?
            }
            // dx1 = dy · y · ln x0
            1 if op.is::<Pow>() => {
                let y = b.output();
                let log = b.wire("log", math::ln(), &[other])?;
                let slope = b.wire("slope", math::mul(), &[y, log])?;
                b.wire("scaled", math::mul(), &[g, slope])?
            }
            _ => bail!("no rule is written for it"),
        };
        let shape = b.shape(own)?;
        contributions.push((slot, b.unbroadcast(gradient, &shape)?));
    }
    Ok(contributions)
}

/// y = max(x, k) or min(x, k) with one constant k: dy passes where the clamp does not bite.
fn clamp(b: &mut Backward, is_max: bool, g: OutletId) -> TractResult<Option<Contributions>> {
    let slot = if b.needs(0) { 0 } else { 1 };
    let Some(bound) = b.constant_input(1 - slot)?.filter(|bound| bound.len() == 1) else { return Ok(None) };
    let bound = bound.cast_to_scalar::<f32>()?;
    let gate =
        if is_max { Gate { low: bound, high: f32::INFINITY } } else { Gate { low: f32::NEG_INFINITY, high: bound } };
    let y = b.output();
    Ok(Some(tvec!((slot, b.wire("gate", gate, &[g, y])?))))
}

/// y = c ? x1 : x2: dy goes to the one that was chosen. The condition has no gradient.
pub(super) fn choice(b: &mut Backward, g: OutletId) -> TractResult<Contributions> {
    let rank = b.shape(g)?.len();
    let zero = scalar(b, 0.0, rank)?;
    let condition = b.input(0);
    let mut contributions = tvec!();
    for slot in b.needed_slots().into_iter().filter(|&slot| slot > 0) {
        let branches = if slot == 1 { [condition, g, zero] } else { [condition, zero, g] };
        let gradient = b.wire("chosen", Iff, &branches)?;
        let shape = b.shape(b.input(slot))?;
        contributions.push((slot, b.unbroadcast(gradient, &shape)?));
    }
    Ok(contributions)
}
