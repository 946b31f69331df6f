//! Our QDQ files as other quantizers write them: the forms that an imported model may have and our own quantizer never gives.

use limbeck_engine::onnx::{Attribute, Data, Graph, Model, Node};

/// The golden variants made from the golden model `name`.
pub fn variants(name: &str, model: &Model) -> Vec<(&'static str, Model)> {
    match name {
        // onnxruntime's quantizer gives each operand of a Concat its own scale.
        "concat" => vec![("concat_unequal", rescaled(model, "b.out", 1.37, 40))],
        "max_pool" => vec![("max_pool_unequal", rescaled(model, "pool.out", 0.83, 3))],
        "pad" => vec![("pad_unequal", rescaled(model, "pad.out", 1.21, 90))],
        "resize_uneven" => vec![("resize_unequal", rescaled(model, "resize.out", 1.9, 7))],
        "flatten_gemm" => vec![("constant_nodes", constant_nodes(model))],
        "residual_net" => {
            vec![("signed_net", signed(model)), ("signed_symmetric", without_zero_points(&signed(model)))]
        }
        "squeeze_excite" => vec![("signed_gate", signed(model))],
        "mul" => vec![("no_zero_points", without_zero_points(model))],
        _ => vec![],
    }
}

/// Scale and zero point of the activation `value` changed, those of the values that move into it or come from it kept.
fn rescaled(model: &Model, value: &str, factor: f32, zero: u8) -> Model {
    let mut model = model.clone();
    let constants = &mut model.graph.initializers;
    for (name, tensor) in constants.iter_mut() {
        match &mut tensor.data {
            Data::F32(scale) if *name == format!("{value}/scale") => scale.iter_mut().for_each(|s| *s *= factor),
            Data::U8(zeros) if *name == format!("{value}/zero_point") => zeros.fill(zero),
            _ => {}
        }
    }
    model
}

/// u8 activations as i8: the same real numbers.
fn signed(model: &Model) -> Model {
    let mut model = model.clone();
    for tensor in model.graph.initializers.values_mut() {
        if let Data::U8(zeros) = &tensor.data {
            tensor.data = Data::I8(zeros.iter().map(|z| (z ^ 0x80) as i8).collect());
        }
    }
    model
}

/// Activations without zero points, which opset 21 allows: 0 of the element type that the `QuantizeLinear` names.
///
/// A different function, since u8 then has no negative values and i8 is symmetric: good enough to compare integers.
fn without_zero_points(model: &Model) -> Model {
    let mut model = Model { opset: 21, ir_version: 10, ..model.clone() };
    let Graph { nodes, initializers, .. } = &mut model.graph;
    for node in nodes.iter_mut() {
        let is_weight = node.input(0).is_some_and(|x| initializers.contains_key(x));
        let zero = node.input(2).and_then(|z| initializers.get(z)).map(|z| z.data_type() as i64);
        match (node.op.as_str(), zero) {
            ("QuantizeLinear", Some(element)) => {
                node.inputs.truncate(2);
                node.attributes.insert("output_dtype".into(), Attribute::Int(element));
            }
            ("DequantizeLinear", Some(_)) if !is_weight => node.inputs.truncate(2),
            _ => {}
        }
    }
    model.graph.remove_dead();
    model
}

/// Scales and zero points as `Constant` nodes instead of initializers.
fn constant_nodes(model: &Model) -> Model {
    let mut model = model.clone();
    let Graph { nodes, initializers, .. } = &mut model.graph;
    let quantization = |n: &&Node| matches!(n.op.as_str(), "QuantizeLinear" | "DequantizeLinear");
    let parameters: Vec<String> =
        nodes.iter().filter(quantization).flat_map(|n| n.inputs.iter().skip(1).cloned()).collect();
    let mut constants = vec![];
    for name in parameters {
        if let Some(tensor) = initializers.remove(&name) {
            let node = Node::new("Constant", &format!("{name}/constant"), &[], &[&name]);
            constants.push(node.with("value", Attribute::Tensor(tensor)));
        }
    }
    nodes.splice(..0, constants);
    model
}
