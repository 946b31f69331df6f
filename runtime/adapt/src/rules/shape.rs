//! Operators that move, drop, repeat or sum elements.

use tract_core::internal::*;
use tract_core::ops::Downsample;
use tract_core::ops::array::{MultiBroadcastTo, Pad, PadMode, Slice, TypedConcat};
use tract_core::ops::binary::TypedBinOp;
use tract_core::ops::cast::cast;
use tract_core::ops::logic::comp_eq;
use tract_core::ops::math;
use tract_core::ops::nn::{Reduce, Reducer};

use super::{Contributions, scalar};
use crate::differentiate::Backward;
use crate::ops::ZeroInsert;

/// A transposition, an added or dropped axis, a reshape: undone.
pub(super) fn axis_op(b: &mut Backward, op: &AxisOp, g: OutletId) -> TractResult<Contributions> {
    Ok(tvec!((0, b.wire("undo", op.recip(), &[g])?)))
}

/// A reduction over axes kept as 1.
///
/// y = Σ x: every summand gets dy. y = mean x²: dx = 2/n · x · dy. y = max x or min x: those that reach it share dy evenly
/// (as PyTorch's `amax`).
pub(super) fn reduce(b: &mut Backward, op: &Reduce, g: OutletId) -> TractResult<Contributions> {
    let x = b.input(0);
    let shape = b.shape(x)?;
    let dx = match op.reducer {
        Reducer::Sum => broadcast_to(b, g, &shape)?,
        Reducer::MeanOfSquares => {
            let n: usize = op.axes.iter().map(|&axis| shape[axis]).product();
            let factor = scalar(b, 2.0 / n as f32, shape.len())?;
            let scaled = b.wire("scaled", math::mul(), &[g, factor])?;
            b.wire("dx", math::mul(), &[x, scaled])?
        }
        Reducer::Max | Reducer::Min => {
            let y = b.output();
            let reaches = b.wire("reaches", TypedBinOp(comp_eq(), None), &[x, y])?;
            let reaches = b.wire("mask", cast(f32::datum_type()), &[reaches])?;
            let count = Reduce { axes: op.axes.clone(), reducer: Reducer::Sum };
            let count = b.wire("count", count, &[reaches])?;
            let share = b.wire("share", math::div(), &[g, count])?;
            b.wire("dx", math::mul(), &[reaches, share])?
        }
        reducer => bail!("it reduces by {reducer:?}; sum, mean of squares, maximum and minimum have a gradient here"),
    };
    Ok(tvec!((0, dx)))
}

/// y = x, perhaps in another float type.
pub(super) fn cast_back(b: &mut Backward, g: OutletId) -> TractResult<Contributions> {
    let (from, to) = (b.datum_type(b.input(0))?, b.datum_type(g)?);
    ensure!(from.is_float() && to.is_float(), "it turns {from:?} into {to:?}");
    let dx = if from == to { g } else { b.wire("cast", cast(from), &[g])? };
    Ok(tvec!((0, dx)))
}

fn broadcast_to(b: &mut Backward, value: OutletId, shape: &[usize]) -> TractResult<OutletId> {
    let dims: TVec<TDim> = shape.iter().map(|d| d.to_dim()).collect();
    b.wire("broadcast", MultiBroadcastTo::new(dims.into()), &[value])
}

/// y = x repeated: dx is the sum over the repeats. Leading axes may be new.
pub(super) fn broadcast(b: &mut Backward, g: OutletId) -> TractResult<Contributions> {
    let shape = b.shape(b.input(0))?;
    let mut aligned = TVec::from_elem(1, b.shape(g)?.len() - shape.len());
    aligned.extend_from_slice(&shape);
    let dx = b.unbroadcast(g, &aligned)?;
    Ok(tvec!((0, b.reshape(dx, &shape)?)))
}

/// y = every `stride`-th element of x.
pub(super) fn downsample(b: &mut Backward, op: &Downsample, g: OutletId) -> TractResult<Contributions> {
    let stride = usize::try_from(op.stride).map_err(|_| format_err!("it runs backwards"))?;
    let len = b.shape(b.input(0))?[op.axis];
    let insert = ZeroInsert { axis: op.axis, stride, modulo: op.modulo, len };
    Ok(tvec!((0, b.wire("zero_insert", insert, &[g])?)))
}

/// y = x[start..end]: zeros where x was not read.
pub(super) fn slice(b: &mut Backward, op: &Slice, g: OutletId) -> TractResult<Contributions> {
    let shape = b.shape(b.input(0))?;
    let (start, end) = (op.start.to_usize()?, op.end.to_usize()?);
    let mut pads = vec![(0, 0); shape.len()];
    pads[op.axis] = (start, shape[op.axis] - end);
    let mode = PadMode::Constant(Arc::new(tensor0(0f32)));
    Ok(tvec!((0, b.wire("outer", Pad { pads, mode }, &[g])?)))
}

/// y = inputs one after the other: each gets its part of dy.
pub(super) fn concat(b: &mut Backward, op: &TypedConcat, g: OutletId) -> TractResult<Contributions> {
    let mut contributions = tvec!();
    let mut start = 0;
    for slot in 0..b.node.inputs.len() {
        let end = start + b.shape(b.input(slot))?[op.axis];
        if b.needs(slot) {
            contributions.push((slot, b.wire("part", Slice::new(op.axis, start, end), &[g])?));
        }
        start = end;
    }
    Ok(contributions)
}
