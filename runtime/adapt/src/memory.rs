//! What a graph costs before it runs: bytes alive at its fullest moment, and multiply-accumulates.

use std::sync::Arc;

use limbeck_engine::WiredConv;
use tract_core::internal::*;
use tract_core::ops::Cost;
use tract_core::ops::konst::Const;
use tract_core::ops::source::TypedSource;

use crate::ops::{ConvDw, ConvDx};

/// Bytes of the values that a run of `plan` makes and has at the same time, at most, and of what its operators hold from run to run: packed
/// weights and scratch. Inputs and constants are not among them.
pub(crate) fn peak_bytes(plan: &Arc<TypedSimplePlan>) -> TractResult<u64> {
    step_bytes(plan.model(), plan.order_without_consts())
}

/// The same for a graph that runs in this order.
pub(crate) fn step_bytes(model: &TypedModel, order: &[usize]) -> TractResult<u64> {
    Ok(peak_in_order(model, order)? + held_bytes(model))
}

/// Bytes that our operators hold from run to run, in one thread: packed weights, one scratch and the place where results are written before
/// they become tensors, each as large as the greatest that is asked for.
fn held_bytes(model: &TypedModel) -> u64 {
    let (mut packed, mut scratch, mut result) = (0, 0, 0);
    for node in model.nodes() {
        let conv = node.op_as::<WiredConv>().map(WiredConv::held_bytes);
        let dx = node.op_as::<ConvDx>().map(ConvDx::held_bytes);
        let dw = node.op_as::<ConvDw>().map(|dw| [0, dw.scratch_bytes()]);
        let Some([own_packed, own_scratch]) = conv.or(dx).or(dw) else { continue };
        let outputs = node.outputs.iter().filter_map(|o| o.fact.shape.as_concrete());
        let bytes = outputs.map(|shape| shape.iter().product::<usize>() * size_of::<f32>()).sum::<usize>();
        packed += own_packed;
        scratch = scratch.max(own_scratch);
        result = result.max(bytes);
    }
    (packed + scratch + result) as u64
}

/// Bytes of the values alone.
pub(crate) fn peak_in_order(model: &TypedModel, order: &[usize]) -> TractResult<u64> {
    let made = |node: &TypedNode| !node.op_is::<Const>() && !node.op_is::<TypedSource>();
    let usage = model.eval_tmp_memory_usage(order, made)?;
    let bytes = usage.iter().map(|(_, bytes)| bytes.to_usize()).collect::<Result<Vec<_>, _>>()?;
    Ok(bytes.into_iter().max().unwrap_or(0) as u64)
}

/// Multiply-accumulates of one run, as far as tract knows them: products of matrices and convolutions.
pub(crate) fn macs(model: &TypedModel) -> TractResult<u64> {
    let mut sum = 0;
    for id in model.eval_order()? {
        let node = model.node(id);
        let costs = node.op.cost(&model.node_input_facts(id)?)?;
        for (_, n) in costs.iter().filter(|(cost, _)| matches!(cost, Cost::FMA(_))) {
            sum += n.to_usize()? as u64;
        }
    }
    Ok(sum)
}
