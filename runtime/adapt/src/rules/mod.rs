//! One rule per operator: given dL/dy, wire dL/dx for every input that a trained tensor stands behind.
//!
//! To add one: write `fn name(b, op, g)` in the file of its kind, add a line to [`apply`], add a case to
//! the file of its kind in `tests/finite_differences`. The formulas are in reference order: docs quote the forward line.

mod axis_map;
mod binary;
mod conv;
mod deconv;
mod einsum;
mod elementwise;
mod integer;
#[cfg(test)]
mod layouts;
mod norm;
mod own;
mod pool;
mod shape;

use limbeck_engine::{ScaleChannels, SumPixels, WiredConv, WiredDense};
use tract_core::internal::*;
use tract_core::ops::Downsample;
use tract_core::ops::array::{Gather, MultiBroadcastTo, Pad, Slice, Tile, TypedConcat};
use tract_core::ops::binary::TypedBinOp;
use tract_core::ops::cast::Cast;
use tract_core::ops::cnn::{Conv, Deconv, MaxPool, SumPool};
use tract_core::ops::einsum::EinSum;
use tract_core::ops::element_wise::ElementWiseOp;
use tract_core::ops::identity::Identity;
use tract_core::ops::logic::Iff;
use tract_core::ops::nn::{NearestUpsample, Reduce, Resize, RmsNorm, Softmax};

use crate::differentiate::Backward;

/// (input slot, gradient of that input).
type Contributions = TVec<(usize, OutletId)>;

/// The gradients of the node's inputs, given `g`, the gradient of its output.
pub(crate) fn apply(b: &mut Backward, g: OutletId) -> TractResult<Contributions> {
    let op: Box<dyn TypedOp> = b.node.op.clone();
    let op: &dyn TypedOp = op.as_ref();
    if let Some(op) = op.downcast_ref::<WiredConv>() {
        own::conv(b, op, g)
    } else if let Some(op) = op.downcast_ref::<WiredDense>() {
        own::dense(b, op, g)
    } else if let Some(op) = op.downcast_ref::<SumPixels>() {
        own::sum_pixels(b, op, g)
    } else if let Some(op) = op.downcast_ref::<ScaleChannels>() {
        own::scale_channels(b, op, g)
    } else if let Some(op) = op.downcast_ref::<Conv>() {
        conv::conv(b, op, g)
    } else if let Some(op) = op.downcast_ref::<Deconv>() {
        deconv::deconv(b, op, g)
    } else if let Some(op) = op.downcast_ref::<EinSum>() {
        einsum::einsum(b, op, g)
    } else if let Some(op) = op.downcast_ref::<TypedBinOp>() {
        binary::binary(b, op, g)
    } else if let Some(op) = op.downcast_ref::<ElementWiseOp>() {
        elementwise::elementwise(b, op, g)
    } else if let Some(op) = op.downcast_ref::<AxisOp>() {
        shape::axis_op(b, op, g)
    } else if let Some(op) = op.downcast_ref::<Reduce>() {
        shape::reduce(b, op, g)
    } else if op.is::<MultiBroadcastTo>() {
        shape::broadcast(b, g)
    } else if let Some(op) = op.downcast_ref::<Downsample>() {
        shape::downsample(b, op, g)
    } else if let Some(op) = op.downcast_ref::<Pad>() {
        axis_map::pad(b, op, g)
    } else if let Some(op) = op.downcast_ref::<Slice>() {
        shape::slice(b, op, g)
    } else if let Some(op) = op.downcast_ref::<TypedConcat>() {
        shape::concat(b, op, g)
    } else if let Some(op) = op.downcast_ref::<SumPool>() {
        pool::sum_pool(b, op, g)
    } else if let Some(op) = op.downcast_ref::<MaxPool>() {
        pool::max_pool(b, op, g)
    } else if let Some(op) = op.downcast_ref::<Resize>() {
        axis_map::resize(b, op, g)
    } else if let Some(op) = op.downcast_ref::<NearestUpsample>() {
        axis_map::nearest_upsample(b, op, g)
    } else if let Some(op) = op.downcast_ref::<Gather>() {
        axis_map::gather(b, op, g)
    } else if let Some(op) = op.downcast_ref::<Tile>() {
        axis_map::tile(b, op, g)
    } else if let Some(op) = op.downcast_ref::<Softmax>() {
        norm::softmax(b, op, g)
    } else if let Some(op) = op.downcast_ref::<RmsNorm>() {
        norm::rms_norm(b, op, g)
    } else if op.is::<Iff>() {
        binary::choice(b, g)
    } else if op.is::<Identity>() || op.is::<Cast>() {
        shape::cast_back(b, g)
    } else if let Some(op) = op.downcast_ref::<crate::ops::integer::Forward>() {
        integer::integer(b, op, g)
    } else {
        bail!("no rule is written for it")
    }
}

/// A constant that can be combined with values of `rank` axes.
fn scalar(b: &mut Backward, value: f32, rank: usize) -> TractResult<OutletId> {
    b.constant("scalar", tensor0(value).broadcast_into_rank(rank)?)
}
