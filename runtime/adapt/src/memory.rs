//! What a graph costs before it runs: bytes alive at its fullest moment, and multiply-accumulates.

use std::sync::Arc;

use tract_core::internal::*;
use tract_core::ops::Cost;
use tract_core::ops::konst::Const;
use tract_core::ops::source::TypedSource;

/// Bytes of the values that a run of `plan` makes and has at the same time, at most. Inputs and constants are not among them.
pub(crate) fn peak_bytes(plan: &Arc<TypedSimplePlan>) -> TractResult<u64> {
    peak_in_order(plan.model(), plan.order_without_consts())
}

/// The same for a graph that runs in this order.
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
