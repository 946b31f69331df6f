//! The forward graph in the forms that the rules know, before it is differentiated. The function stays the same.
//!
//! - Kernels of convolutions and transposed convolutions become O I H W, by axis moves that have a gradient of their own.
//! - An axis that only one operand of an `EinSum` has is summed before the product: Σ_{ij} a_i b_j = (Σ_i a_i) · (Σ_j b_j).
//!   tract lowers no product with such an axis to a kernel, and would build a model on every call.

use tract_core::internal::*;
use tract_core::model::Rewriter;
use tract_core::ops::cnn::{Conv, Deconv, KernelFormat};
use tract_core::ops::einsum::EinSum;
use tract_core::ops::nn::{Reduce, Reducer};

pub(crate) fn canonical(model: &TypedModel) -> TractResult<TypedModel> {
    let mut model = model.clone();
    Rewriter::<()>::default()
        .with_rule_for::<Conv>("kernel as O I H W", conv)
        .with_rule_for::<Deconv>("kernel as O I H W", deconv)
        .with_rule_for::<EinSum>("axes of one operand summed", einsum)
        .rewrite(&(), &mut model)?;
    Ok(model)
}

fn conv(_: &(), model: &TypedModel, node: &TypedNode, _: &str, op: &Conv) -> TractResult<Option<TypedModelPatch>> {
    if op.kernel_fmt == KernelFormat::OIHW || op.q_params.is_some() {
        return Ok(None);
    }
    let to = Conv { kernel_fmt: KernelFormat::OIHW, ..op.clone() };
    kernel_turned(model, node, op.kernel_fmt, op.group, to).map(Some)
}

fn deconv(_: &(), model: &TypedModel, node: &TypedNode, _: &str, op: &Deconv) -> TractResult<Option<TypedModelPatch>> {
    if op.kernel_format == KernelFormat::OIHW {
        return Ok(None);
    }
    let to = Deconv { kernel_format: KernelFormat::OIHW, ..op.clone() };
    kernel_turned(model, node, op.kernel_format, op.group, to).map(Some)
}

/// `to` in place of `node`, its kernel (input 1) brought from `format` to O I H W.
fn kernel_turned(
    model: &TypedModel,
    node: &TypedNode,
    format: KernelFormat,
    group: usize,
    to: impl Into<Box<dyn TypedOp>>,
) -> TractResult<TypedModelPatch> {
    let mut patch = TypedModelPatch::default();
    let mut inputs = patch.taps(model, &node.inputs)?;
    let shape = model.outlet_fact(node.inputs[1])?.shape.clone();
    for (i, op) in format.kernel_as_group_o_i_h_w_ops(&shape, group).into_iter().enumerate() {
        inputs[1] = patch.wire_node(format!("{}.kernel_oihw.{i}", node.name), op, &[inputs[1]])?[0];
    }
    // (G, O/G, I/G, kh, kw) -> (O, I/G, kh, kw)
    let shape = patch.outlet_fact(inputs[1])?.shape.clone();
    let merge = AxisOp::Reshape(0, shape[..2].into(), tvec!(shape[0].clone() * &shape[1]));
    inputs[1] = patch.wire_node(format!("{}.kernel_oihw", node.name), merge, &[inputs[1]])?[0];
    let y = patch.wire_node(&node.name, to, &inputs)?;
    patch.shunt_outside(model, node.id.into(), y[0])?;
    Ok(patch)
}

fn einsum(_: &(), model: &TypedModel, node: &TypedNode, _: &str, op: &EinSum) -> TractResult<Option<TypedModelPatch>> {
    let (inputs, outputs) = op.axes.to_strs();
    if op.q_params.is_some() || inputs.len() != 2 {
        return Ok(None);
    }
    let mut patch = TypedModelPatch::default();
    let mut operands = patch.taps(model, &node.inputs)?;
    let mut changed = false;
    for slot in 0..2 {
        let shape = &model.outlet_fact(node.inputs[slot])?.shape;
        let lonely = |c: char| !inputs[1 - slot].contains(c) && !outputs[0].contains(c);
        let axes: TVec<usize> = inputs[slot]
            .chars()
            .enumerate()
            .filter(|&(i, c)| lonely(c) && !shape[i].is_one())
            .map(|(i, _)| i)
            .collect();
        if !axes.is_empty() {
            changed = true;
            let name = format!("{}.summed.{slot}", node.name);
            operands[slot] = patch.wire_node(name, Reduce { axes, reducer: Reducer::Sum }, &[operands[slot]])?[0];
        }
    }
    if !changed {
        return Ok(None);
    }
    let y = patch.wire_node(&node.name, op.clone(), &operands)?;
    patch.shunt_outside(model, node.id.into(), y[0])?;
    Ok(Some(patch))
}
