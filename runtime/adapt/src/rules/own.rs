//! Operators of our own in the forward graph: N H W C convolutions with weights as inputs, and what goes with them
//! (`limbeck_engine::training_model`).

use limbeck_engine::{ScaleChannels, SumPixels, WiredConv, WiredDense};
use limbeck_kernels::float::conv_f32::Order;
use tract_core::internal::*;
use tract_core::ops::array::MultiBroadcastTo;
use tract_core::ops::math;

use super::Contributions;
use crate::differentiate::Backward;
use crate::ops::{ConvDw, ConvDx, DenseDw, DenseDx, Gate, Part, UnpackDw};

/// y = min(max(conv(x, w) + b + addend, low), high)
pub(super) fn conv(b: &mut Backward, op: &WiredConv, g: OutletId) -> TractResult<Contributions> {
    let [low, high] = op.bounds;
    let y = b.output();
    let g = match op.bounds {
        [f32::NEG_INFINITY, f32::INFINITY] => g,
        _ => b.wire("gate", Gate { low, high }, &[g, y])?,
    };
    let mut contributions = tvec!();
    if b.needs(0) {
        let w = b.input(1);
        let dx = b.wire("dx", ConvDx::of(op), &[g, w])?;
        let dx = match op.shape.order {
            Order::Interleaved => dx,
            Order::Planar => b.wire("nchw", AxisOp::Move(3, 1), &[dx])?,
        };
        contributions.push((0, dx));
    }
    if b.needs(1) {
        let x = b.input(0);
        let sums = b.wire("dw_db", ConvDw::of(op), &[x, g])?;
        contributions.push((1, b.wire("dw", UnpackDw::of(op, Part::Weights), &[sums])?));
        if b.needs(2) {
            contributions.push((2, b.wire("db", UnpackDw::of(op, Part::Biases), &[sums])?));
        }
    } else if b.needs(2) {
        let sum = SumPixels { shape: op.y_shape(), outputs: op.outputs().clone() };
        let sum = b.wire("db", sum, &[g])?;
        contributions.push((2, b.reshape(sum, &[op.shape.channels])?));
    }
    if b.node.inputs.len() > 3 && b.needs(3) {
        contributions.push((3, g));
    }
    Ok(contributions)
}

/// y = W x
pub(super) fn dense(b: &mut Backward, op: &WiredDense, g: OutletId) -> TractResult<Contributions> {
    let (x, w) = (b.input(0), b.input(1));
    let mut contributions = tvec!();
    if b.needs(0) {
        let x_shape = b.shape(x)?;
        contributions.push((0, b.wire("dx", DenseDx { dense: op.clone(), x_shape }, &[g, w])?));
    }
    if b.needs(1) {
        contributions.push((1, b.wire("dw", DenseDw { dense: op.clone() }, &[x, g])?));
    }
    Ok(contributions)
}

/// y[c] = Σ x[h, w, c]: every pixel gets dy.
pub(super) fn sum_pixels(b: &mut Backward, op: &SumPixels, g: OutletId) -> TractResult<Contributions> {
    let shape: TVec<TDim> = op.shape.iter().map(|d| d.to_dim()).collect();
    Ok(tvec!((0, b.wire("broadcast", MultiBroadcastTo::new(shape.into()), &[g])?)))
}

/// y[h, w, c] = x[h, w, c] · s[c]
pub(super) fn scale_channels(b: &mut Backward, op: &ScaleChannels, g: OutletId) -> TractResult<Contributions> {
    let (x, s) = (b.input(0), b.input(1));
    let mut contributions = tvec!();
    if b.needs(0) {
        contributions.push((0, b.wire("dx", op.clone(), &[g, s])?));
    }
    if b.needs(1) {
        let product = b.wire("product", math::mul(), &[g, x])?;
        let sum = SumPixels { shape: op.shape, outputs: op.outputs.clone() };
        contributions.push((1, b.wire("ds", sum, &[product])?));
    }
    Ok(contributions)
}
