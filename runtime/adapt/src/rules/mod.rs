//! One rule per operator: given dL/dy, wire dL/dx for every input that a trained tensor stands behind.
//!
//! To add one: write `fn name(b, op, g)` in the file of its kind, add a line to [`apply`], add a case to
//! `tests/finite_differences.rs`. The formulas are in reference order: docs quote the forward line.

mod binary;
mod conv;
mod einsum;
mod integer;
mod pool;
mod shape;

use tract_core::internal::*;
use tract_core::ops::Downsample;
use tract_core::ops::array::{MultiBroadcastTo, Pad, Slice, TypedConcat};
use tract_core::ops::binary::TypedBinOp;
use tract_core::ops::cnn::{Conv, MaxPool, SumPool};
use tract_core::ops::einsum::EinSum;
use tract_core::ops::element_wise::ElementWiseOp;
use tract_core::ops::nn::Reduce;

use crate::differentiate::Backward;

/// (input slot, gradient of that input).
type Contributions = TVec<(usize, OutletId)>;

/// The gradients of the node's inputs, given `g`, the gradient of its output.
pub(crate) fn apply(b: &mut Backward, g: OutletId) -> TractResult<Contributions> {
    let op: Box<dyn TypedOp> = b.node.op.clone();
    let op: &dyn TypedOp = op.as_ref();
    if let Some(op) = op.downcast_ref::<Conv>() {
        conv::conv(b, op, g)
    } else if let Some(op) = op.downcast_ref::<EinSum>() {
        einsum::einsum(b, op, g)
    } else if let Some(op) = op.downcast_ref::<TypedBinOp>() {
        binary::binary(b, op, g)
    } else if let Some(op) = op.downcast_ref::<ElementWiseOp>() {
        binary::elementwise(b, op, g)
    } else if let Some(op) = op.downcast_ref::<AxisOp>() {
        shape::axis_op(b, op, g)
    } else if let Some(op) = op.downcast_ref::<Reduce>() {
        shape::reduce(b, op, g)
    } else if op.is::<MultiBroadcastTo>() {
        shape::broadcast(b, g)
    } else if let Some(op) = op.downcast_ref::<Downsample>() {
        shape::downsample(b, op, g)
    } else if let Some(op) = op.downcast_ref::<Pad>() {
        shape::pad(b, op, g)
    } else if let Some(op) = op.downcast_ref::<Slice>() {
        shape::slice(b, op, g)
    } else if let Some(op) = op.downcast_ref::<TypedConcat>() {
        shape::concat(b, op, g)
    } else if let Some(op) = op.downcast_ref::<SumPool>() {
        pool::sum_pool(b, op, g)
    } else if let Some(op) = op.downcast_ref::<MaxPool>() {
        pool::max_pool(b, op, g)
    } else if let Some(op) = op.downcast_ref::<crate::ops::integer::Forward>() {
        integer::integer(b, op, g)
    } else {
        bail!("no rule is written for it")
    }
}
