//! Operators that move, drop, repeat or sum elements.

use tract_core::internal::*;
use tract_core::ops::Downsample;
use tract_core::ops::array::{MultiBroadcastTo, Pad, PadMode, Slice, TypedConcat};
use tract_core::ops::nn::{Reduce, Reducer};

use super::Contributions;
use crate::differentiate::Backward;
use crate::ops::ZeroInsert;

/// A transposition, an added or dropped axis, a reshape: undone.
pub(super) fn axis_op(b: &mut Backward, op: &AxisOp, g: OutletId) -> TractResult<Contributions> {
    Ok(tvec!((0, b.wire("undo", op.recip(), &[g])?)))
}

/// y = Σ x over axes kept as 1: every summand gets dy.
pub(super) fn reduce(b: &mut Backward, op: &Reduce, g: OutletId) -> TractResult<Contributions> {
    ensure!(op.reducer == Reducer::Sum, "it reduces by {:?}, not by a sum", op.reducer);
    let shape = b.shape(b.input(0))?;
    Ok(tvec!((0, broadcast_to(b, g, &shape)?)))
}

fn broadcast_to(b: &mut Backward, value: OutletId, shape: &[usize]) -> TractResult<OutletId> {
    let dims: TVec<TDim> = shape.iter().map(|d| d.to_dim()).collect();
    b.wire("broadcast", MultiBroadcastTo::new(dims.into()), &[value])
}

/// y = x repeated: dx is the sum over the repeats.
pub(super) fn broadcast(b: &mut Backward, g: OutletId) -> TractResult<Contributions> {
    let shape = b.shape(b.input(0))?;
    Ok(tvec!((0, b.unbroadcast(g, &shape)?)))
}

/// y = every `stride`-th element of x.
pub(super) fn downsample(b: &mut Backward, op: &Downsample, g: OutletId) -> TractResult<Contributions> {
    let stride = usize::try_from(op.stride).map_err(|_| format_err!("it runs backwards"))?;
    let len = b.shape(b.input(0))?[op.axis];
    let insert = ZeroInsert { axis: op.axis, stride, modulo: op.modulo, len };
    Ok(tvec!((0, b.wire("zero_insert", insert, &[g])?)))
}

/// y = x with a constant margin: the margin's gradient is dropped.
pub(super) fn pad(b: &mut Backward, op: &Pad, g: OutletId) -> TractResult<Contributions> {
    ensure!(matches!(op.mode, PadMode::Constant(_)), "it pads by {:?}, not by a constant", op.mode);
    let shape = b.shape(b.input(0))?;
    let mut dx = g;
    for (axis, &(before, after)) in op.pads.iter().enumerate() {
        if (before, after) != (0, 0) {
            dx = b.wire("inner", Slice::new(axis, before, before + shape[axis]), &[dx])?;
        }
    }
    Ok(tvec!((0, dx)))
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
