//! What a model does in one run, step by step: the rows of `inspect` and `profile`.

use limbeck_plan::{OpKind, PackedPlan};
use tract_onnx::prelude::*;
use tract_onnx::tract_core::internal::DimLike;
use tract_onnx::tract_core::ops::Cost;
use tract_onnx::tract_core::ops::source::TypedSource;

use crate::float::Work;
use crate::plan_op::PlanOp;

/// One step of a run.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    /// Name of the node in the model, or of the tensor that enters or leaves the integers.
    pub name: String,
    /// What kind of work it is: `conv 1x1`, `depthwise 3x3`, `add`, `quantize`, `float DepthWise`, …
    pub class: String,
    /// What computes it: a path of the int8 plan or of our float convolutions, or `tract`.
    pub path: &'static str,
    /// Is it computed in integers? Crossing into them and out of them is not.
    pub integer: bool,
    /// Multiply-accumulates; 0 where it multiplies no weights, or tract does not say.
    pub macs: u64,
    /// Bytes that it reads and writes at least once: activations and constants, as they lie in memory on this path.
    pub bytes: u64,
    /// Bytes of packed weights, 0 when there are none.
    pub packed_bytes: u64,
    /// Size of what it writes: `H×W×C` in a plan, tract's own shape elsewhere.
    pub output: String,
}

/// All steps of one plan: its inputs become integers, its ops, its outputs become floats.
pub(crate) fn of_plan(plan: &PackedPlan<'_>) -> Vec<Step> {
    let crossing = |class: &str, tensor: limbeck_plan::Tensor<'_>, output: String| Step {
        name: tensor.name.into(),
        class: class.into(),
        path: plan.isa().without_weights().name(),
        integer: false,
        macs: 0,
        // f32 on one side, i8 on the other.
        bytes: 5 * tensor.shape.elements() as u64,
        packed_bytes: 0,
        output,
    };
    let mut steps: Vec<Step> = plan.plan().inputs().map(|t| crossing("quantize", t, size(t.shape))).collect();
    steps.extend(plan.ops().map(|packed| {
        let op = packed.op;
        let [kh, kw] = op.kernel;
        let name = op.kind.name();
        let class = match op.kind {
            OpKind::Conv | OpKind::Depthwise => format!("{name} {kh}x{kw}"),
            _ => name.into(),
        };
        let constants = if packed.packed_bytes > 0 { packed.packed_bytes } else { op.constant_bytes };
        Step {
            name: op.name.into(),
            class,
            path: packed.isa.name(),
            integer: true,
            macs: op.macs,
            bytes: (op.input_bytes + constants + op.output.shape.elements()) as u64,
            packed_bytes: packed.packed_bytes as u64,
            output: size(op.output.shape),
        }
    }));
    // All outputs leave together.
    let mut outputs = plan.plan().outputs();
    if let Some(first) = outputs.next() {
        let mut last = crossing("dequantize", first, size(first.shape));
        for tensor in outputs {
            last.name += &format!(", {}", tensor.name);
            last.bytes += 5 * tensor.shape.elements() as u64;
        }
        steps.push(last);
    }
    steps
}

fn size(shape: limbeck_plan::Shape) -> String {
    format!("{}×{}×{}", shape.h, shape.w, shape.c)
}

/// Does running this node do anything? A source only hands the input on.
pub(crate) fn is_step(node: &TypedNode) -> bool {
    !node.op_is::<TypedSource>()
}

/// All steps of a tract graph; those of a plan inside it stand before the node that holds it.
pub(crate) fn of_graph(net: &TypedRunnableModel) -> Vec<Step> {
    let model = net.model();
    let mut steps = vec![];
    for node in net.order_without_consts().iter().map(|&id| model.node(id)).filter(|n| is_step(n)) {
        let bytes = |fact: &TypedFact| fact.mem_size().to_usize().unwrap_or(0) as u64;
        let inputs = model.node_input_facts(node.id).unwrap_or_default();
        let moved = inputs.iter().map(|f| bytes(f)).sum::<u64>();
        let mut step = Step {
            name: node.name.clone(),
            class: format!("float {}", node.op().name()),
            path: "tract",
            integer: false,
            macs: macs(node, &inputs),
            bytes: moved + node.outputs.iter().map(|o| bytes(&o.fact)).sum::<u64>(),
            packed_bytes: 0,
            output: node.outputs.first().map_or(String::new(), |o| shape(&o.fact)),
        };
        if let Some(plan) = node.op_as::<PlanOp>() {
            steps.extend(of_plan(&plan.packed()));
            step.class = "in and out of tract".into();
        }
        if let Some(work) = crate::float::work(node) {
            step.bytes += work.packed_bytes;
            Work { class: step.class, path: step.path, macs: step.macs, packed_bytes: step.packed_bytes } = work;
        }
        steps.push(step);
    }
    steps
}

fn shape(fact: &TypedFact) -> String {
    fact.shape.iter().map(|d| d.to_string()).collect::<Vec<_>>().join("×")
}

/// What tract says of a matrix product or a convolution. It also says it of sums and scalings, which are no layers with weights
/// and would make float and int8 profiles of one net differ.
fn macs(node: &TypedNode, inputs: &[&TypedFact]) -> u64 {
    const PRODUCTS: [&str; 4] = ["MatMul", "DepthWise", "Conv", "EinSum"];
    let name = node.op().name();
    if !PRODUCTS.iter().any(|product| name.contains(product)) {
        return 0;
    }
    let costs = node.op.cost(inputs).unwrap_or_default();
    let products = costs.iter().filter(|(cost, _)| matches!(cost, Cost::FMA(_)));
    products.map(|(_, n)| n.to_usize().unwrap_or(0) as u64).sum()
}
