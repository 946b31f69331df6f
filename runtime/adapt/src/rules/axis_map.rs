//! Operators each of whose outputs is a weighted sum of a few inputs along an axis: dx is the transposed map, axis by axis.

use tract_core::internal::*;
use tract_core::ops::array::{Gather, Pad, PadMode, Slice, Tile};
use tract_core::ops::nn::{NearestUpsample, Resize};

use super::Contributions;
use crate::differentiate::Backward;
use crate::ops::{AxisMapDx, Tap};

/// Interpolation: weights and taps are those that tract's forward operator plans, whatever mode it is in.
pub(super) fn resize(b: &mut Backward, op: &Resize, g: OutletId) -> TractResult<Contributions> {
    let (input, output) = (b.shape(b.input(0))?, b.shape(g)?);
    let scales = match op.optional_scales_input {
        Some(slot) => b.constant_input(slot)?,
        None => None,
    };
    let scales: TVec<f32> = match scales.filter(|s| s.len() == input.len()) {
        Some(scales) => scales.cast_to::<f32>()?.try_as_plain_ram()?.as_slice::<f32>()?.into(),
        None => output.iter().zip(&input).map(|(o, i)| *o as f32 / *i as f32).collect(),
    };
    let mut dx = g;
    for axis in (0..input.len()).rev().filter(|&axis| input[axis] != output[axis] || scales[axis] != 1.0) {
        let plan = op.plan_axis(scales[axis], input[axis], output[axis]);
        let taps = (0..output[axis]).filter(|&o| !plan.extrapolated[o]).flat_map(|output| {
            let places = output * plan.window..(output + 1) * plan.window;
            let (sources, weights) = (&plan.indices[places.clone()], &plan.weights[places]);
            let tap = |(&source, &weight): (&usize, &f32)| Tap { output, source, weight };
            sources.iter().zip(weights).filter(|(_, w)| **w != 0.0).map(tap).collect::<Vec<_>>()
        });
        let map = AxisMapDx { axis, len: input[axis], taps: Arc::new(taps.collect()) };
        dx = b.wire("resampled", map, &[dx])?;
    }
    Ok(tvec!((0, dx)))
}

/// y[.., o, ..] = x[.., o / s, ..]: dx sums the s copies.
pub(super) fn nearest_upsample(b: &mut Backward, op: &NearestUpsample, g: OutletId) -> TractResult<Contributions> {
    per_axis(b, g, |axis, _, o| Some(o / op.scales[axis]))
}

/// y[.., o, ..] = x[.., o mod n, ..]: dx sums the tiles.
pub(super) fn tile(b: &mut Backward, _: &Tile, g: OutletId) -> TractResult<Contributions> {
    per_axis(b, g, |_, n, o| Some(o % n))
}

/// y = x with a margin. A constant margin drops its gradient; one that repeats the edge or mirrors gives it back.
pub(super) fn pad(b: &mut Backward, op: &Pad, g: OutletId) -> TractResult<Contributions> {
    if let PadMode::Constant(_) = op.mode {
        let shape = b.shape(b.input(0))?;
        let mut dx = g;
        for (axis, &(before, after)) in op.pads.iter().enumerate() {
            if (before, after) != (0, 0) {
                dx = b.wire("inner", Slice::new(axis, before, before + shape[axis]), &[dx])?;
            }
        }
        return Ok(tvec!((0, dx)));
    }
    let mirrors = op.mode == PadMode::Reflect;
    per_axis(b, g, |axis, n, o| {
        let (before, last) = (op.pads[axis].0, n - 1);
        Some(match (o.checked_sub(before), mirrors) {
            (Some(i), _) if i <= last => i,
            (None, false) => 0,
            (Some(_), false) => last,
            (None, true) => before - o,
            (Some(i), true) => 2 * last - i,
        })
    })
}

/// y = x at constant places along one axis: dx sums what was read twice.
pub(super) fn gather(b: &mut Backward, op: &Gather, g: OutletId) -> TractResult<Contributions> {
    let places = b.constant_input(1)?.context("its indices are not constant")?;
    let places = places.cast_to::<i64>()?.into_owned();
    let shape = b.shape(b.input(0))?;
    let len = shape[op.axis];
    let place = |&i: &i64| usize::try_from(if i < 0 { i + len as i64 } else { i }).ok().filter(|&i| i < len);
    let places: Option<Vec<usize>> = places.try_as_plain_ram()?.as_slice::<i64>()?.iter().map(place).collect();
    let places = places.context("an index lies outside its axis")?;
    let mut collapsed = shape.clone();
    collapsed[op.axis] = places.len();
    let g = b.reshape(g, &collapsed)?;
    let map = AxisMapDx::of(op.axis, len, places.len(), |o| Some(places[o]));
    Ok(tvec!((0, b.wire("scattered", map, &[g])?)))
}

/// The gradient of an operator that reads x[source(axis, length of x, output)] along every axis whose length or order
/// changes.
fn per_axis(
    b: &mut Backward,
    g: OutletId,
    source: impl Fn(usize, usize, usize) -> Option<usize>,
) -> TractResult<Contributions> {
    let (input, output) = (b.shape(b.input(0))?, b.shape(g)?);
    let mut dx = g;
    for axis in (0..input.len()).rev().filter(|&axis| input[axis] != output[axis]) {
        let map = AxisMapDx::of(axis, input[axis], output[axis], |o| source(axis, input[axis], o));
        dx = b.wire("mapped", map, &[dx])?;
    }
    Ok(tvec!((0, dx)))
}
