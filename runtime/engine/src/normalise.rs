//! Graph → the same function in fewer kinds of node. Every later stage starts from the result.
//!
//! In order: `Constant` nodes become initializers, constants are folded, `Identity` and inference-time `Dropout` go, zero padding and `auto_pad` move into the
//! convolution, batch norm is folded into the convolution or matrix product before it, every convolution and `Gemm`
//! gets a bias, and every float constant gets one reader. Input and output names stay.
//!
//! Folding changes the float result by rounding only.

use std::collections::HashMap;

use crate::error::EngineError;
use crate::facts::{Fact, infer};
use crate::onnx::{Attribute, Data, Graph, Model, Node, Tensor};

/// The normal form of a model.
pub fn normalise(model: &Model) -> Result<Model, EngineError> {
    let mut model = model.clone();
    lift_constants(&mut model.graph);
    let facts = infer(&model)?;
    fold_constants(&mut model.graph, &facts);
    drop_identities(&mut model.graph);
    absorb_padding(&mut model.graph, &facts);
    fold_batch_norm(&mut model.graph);
    add_biases(&mut model.graph);
    unshare_constants(&mut model.graph);
    model.graph.remove_dead();
    Ok(model)
}

/// `Constant` nodes become initializers: the one form in which later stages look for scales, zero points and weights.
pub(crate) fn lift_constants(graph: &mut Graph) {
    let outputs: Vec<String> = graph.outputs.iter().map(|o| o.name.clone()).collect();
    let initializers = &mut graph.initializers;
    graph.nodes.retain(|node| {
        let (Some(name), Some(value)) = (node.outputs.first(), constant_value(node)) else { return true };
        if outputs.contains(name) {
            return true;
        }
        initializers.insert(name.clone(), value);
        false
    });
}

/// What a `Constant` node holds, where Limbeck reads it.
fn constant_value(node: &Node) -> Option<Tensor> {
    if node.op != "Constant" || !(node.domain.is_empty() || node.domain == "ai.onnx") {
        return None;
    }
    let (name, value) = node.attributes.iter().next()?;
    Some(match (name.as_str(), value) {
        ("value", Attribute::Tensor(tensor)) => tensor.clone(),
        ("value_float", Attribute::Float(v)) => Tensor::scalar(*v),
        ("value_floats", Attribute::Floats(v)) => Tensor::f32(&[v.len()], v.clone()),
        ("value_int", Attribute::Int(v)) => Tensor { dims: vec![], data: Data::I64(vec![*v]) },
        ("value_ints", Attribute::Ints(v)) => Tensor::i64(v.clone()),
        _ => return None,
    })
}

/// What does not depend on the input becomes an initializer.
fn fold_constants(graph: &mut Graph, facts: &HashMap<String, Fact>) {
    let outputs: Vec<String> = graph.outputs.iter().map(|o| o.name.clone()).collect();
    let initializers = &mut graph.initializers;
    graph.nodes.retain(|node| {
        let known = |o: &String| o.is_empty() || facts.get(o).is_some_and(|f| f.value.is_some());
        if node.outputs.iter().any(|o| outputs.contains(o)) || !node.outputs.iter().all(known) {
            return true;
        }
        for output in node.outputs.iter().filter(|o| !o.is_empty()) {
            if let Some(value) = facts.get(output).and_then(|f| f.value.clone()) {
                initializers.insert(output.clone(), value);
            }
        }
        false
    });
    graph.remove_dead();
}

/// `Identity` and `Dropout` (as in inference) hand their input through.
fn drop_identities(graph: &mut Graph) {
    let mut i = 0;
    while i < graph.nodes.len() {
        let node = &graph.nodes[i];
        let mask_used = node.outputs.get(1).is_some_and(|m| !m.is_empty());
        let pass = node.op == "Identity" || (node.op == "Dropout" && !mask_used);
        match (pass, node.input(0), node.outputs.first()) {
            (true, Some(from), Some(to)) if !graph.is_output(to) => {
                let (from, to) = (from.to_owned(), to.clone());
                graph.nodes.remove(i);
                graph.redirect(&to, &from);
            }
            _ => i += 1,
        }
    }
}

/// The only reader of `value`, when there is exactly one and it is no graph output.
fn only_reader(graph: &Graph, value: &str) -> Option<usize> {
    if graph.is_output(value) {
        return None;
    }
    let mut readers = graph.nodes.iter().enumerate().filter(|(_, n)| n.inputs.iter().any(|i| i == value));
    match (readers.next(), readers.next()) {
        (Some((i, _)), None) => Some(i),
        _ => None,
    }
}

/// y = (x - mean) * gamma / sqrt(var + eps) + beta, folded into weights and bias of the node that makes x.
///
/// w' = w * k, b' = (b - mean) * k + beta with k = gamma / sqrt(var + eps), per output channel, computed in f64.
fn fold_batch_norm(graph: &mut Graph) {
    let mut i = 0;
    while i < graph.nodes.len() {
        match batch_norm_at(graph, i) {
            Some((producer, weights, bias)) => {
                let output = graph.nodes[i].outputs[0].clone();
                let title = &graph.nodes[producer].name;
                let w_name = unused(graph, &format!("{title}.folded.weight"));
                let b_name = unused(graph, &format!("{title}.folded.bias"));
                graph.initializers.insert(w_name.clone(), weights);
                graph.initializers.insert(b_name.clone(), bias);
                let node = &mut graph.nodes[producer];
                node.inputs.resize(3, String::new());
                node.inputs[1] = w_name;
                node.inputs[2] = b_name;
                node.outputs[0] = output;
                graph.nodes.remove(i);
            }
            None => i += 1,
        }
    }
}

/// The producer of node `i`'s input and its folded weights and bias, where node `i` is a batch norm that can fold.
fn batch_norm_at(graph: &Graph, i: usize) -> Option<(usize, Tensor, Tensor)> {
    let norm = &graph.nodes[i];
    if norm.op != "BatchNormalization" || norm.int("training_mode", 0) != 0 {
        return None;
    }
    let x = norm.input(0)?;
    let producer = graph.nodes.iter().position(|n| n.outputs.first().is_some_and(|o| o == x))?;
    if only_reader(graph, x) != Some(i) {
        return None;
    }
    let node = &graph.nodes[producer];
    let constant = |name: Option<&str>| graph.initializers.get(name?)?.as_f32();
    let per_channel = |slot: usize| constant(norm.input(slot));
    let (gamma, beta, mean, var) = (per_channel(1)?, per_channel(2)?, per_channel(3)?, per_channel(4)?);
    let epsilon = norm.float("epsilon", 1e-5) as f64;
    let k: Vec<f64> = gamma.iter().zip(var).map(|(&g, &v)| g as f64 / (v as f64 + epsilon).sqrt()).collect();
    let weights = graph.initializers.get(node.input(1)?)?;
    let w = weights.as_f32()?;
    let channels = k.len();
    // How a flat weight index maps to its output channel.
    let channel_of: Box<dyn Fn(usize) -> usize> = match node.op.as_str() {
        "Conv" if weights.dims.first() == Some(&channels) => {
            let per = w.len() / channels.max(1);
            Box::new(move |at| at / per)
        }
        "Gemm" if node.float("alpha", 1.0) == 1.0 && node.float("beta", 1.0) == 1.0 && weights.dims.len() == 2 => {
            let columns = weights.dims[1];
            match node.int("transB", 0) {
                0 if columns == channels => Box::new(move |at| at % columns),
                1 if weights.dims[0] == channels => Box::new(move |at| at / columns),
                _ => return None,
            }
        }
        _ => return None,
    };
    let old_bias = match node.input(2) {
        Some(name) => constant(Some(name)).filter(|b| b.len() == channels)?.to_vec(),
        None => vec![0.0; channels],
    };
    if [gamma.len(), beta.len(), mean.len(), var.len()].iter().any(|&n| n != channels) {
        return None;
    }
    let scaled = w.iter().enumerate().map(|(at, &w)| (w as f64 * k[channel_of(at)]) as f32).collect();
    let bias = (0..channels).map(|c| ((old_bias[c] as f64 - mean[c] as f64) * k[c] + beta[c] as f64) as f32).collect();
    Some((producer, Tensor::f32(&weights.dims, scaled), Tensor::f32(&[channels], bias)))
}

/// `Pad` with zeros before a convolution, and `auto_pad`, become the convolution's own `pads`.
fn absorb_padding(graph: &mut Graph, facts: &HashMap<String, Fact>) {
    for i in 0..graph.nodes.len() {
        if graph.nodes[i].op == "Conv" {
            if let Some(pads) = explicit_padding(&graph.nodes[i], graph, facts) {
                let node = &mut graph.nodes[i];
                node.attributes.remove("auto_pad");
                node.attributes.insert("pads".into(), Attribute::Ints(pads));
            }
            let Some((x, extra)) = zero_padding_before(graph, i) else { continue };
            let node = &mut graph.nodes[i];
            let mut pads = node.ints("pads").map_or(vec![0; 4], <[i64]>::to_vec);
            if node.text("auto_pad").is_some_and(|a| a != "NOTSET") || pads.len() != 4 {
                continue;
            }
            for (pad, more) in pads.iter_mut().zip(extra) {
                *pad += more;
            }
            node.attributes.insert("pads".into(), Attribute::Ints(pads));
            node.inputs[0] = x;
        }
    }
    graph.remove_dead();
}

/// `pads` that `auto_pad = SAME_*` or `VALID` stands for (ONNX operator Conv).
fn explicit_padding(node: &Node, graph: &Graph, facts: &HashMap<String, Fact>) -> Option<Vec<i64>> {
    let mode = node.text("auto_pad").filter(|m| *m != "NOTSET")?;
    if mode == "VALID" {
        return Some(vec![0; 4]);
    }
    let input = facts.get(node.input(0)?)?.dims.clone()?;
    let kernel = &graph.initializers.get(node.input(1)?)?.dims;
    if input.len() != 4 || kernel.len() != 4 {
        return None;
    }
    let mut pads = vec![0; 4];
    for axis in 0..2 {
        let size = input[2 + axis]? as i64;
        let stride = at(node.ints("strides"), axis).max(1);
        let dilation = at(node.ints("dilations"), axis);
        let extent = (kernel[2 + axis] as i64 - 1) * dilation + 1;
        let output = (size + stride - 1) / stride;
        let total = ((output - 1) * stride + extent - size).max(0);
        let (small, large) = (total / 2, total - total / 2);
        (pads[axis], pads[axis + 2]) = if mode == "SAME_LOWER" { (large, small) } else { (small, large) };
    }
    Some(pads)
}

/// Element `axis` of an attribute, 1 where it is not given.
fn at(ints: Option<&[i64]>, axis: usize) -> i64 {
    ints.and_then(|v| v.get(axis)).copied().unwrap_or(1)
}

/// What the convolution's input is before a zero `Pad`, and how much that pad adds: top, left, bottom, right.
fn zero_padding_before(graph: &Graph, conv: usize) -> Option<(String, [i64; 4])> {
    let input = graph.nodes[conv].input(0)?;
    let pad = graph.nodes.iter().find(|n| n.op == "Pad" && n.outputs.first().is_some_and(|o| o == input))?;
    if pad.text("mode").is_some_and(|m| m != "constant") {
        return None;
    }
    let zero = match pad.input(2) {
        Some(value) => graph.initializers.get(value)?.as_f32()?.iter().all(|&v| v == 0.0),
        None => pad.float("value", 0.0) == 0.0,
    };
    let amounts: Vec<i64> = match pad.input(1) {
        Some(value) => graph.initializers.get(value)?.as_i64()?.to_vec(),
        None => pad.ints("pads")?.to_vec(),
    };
    if !zero || pad.input(3).is_some() || amounts.len() != 8 || amounts.iter().any(|&a| a < 0) {
        return None;
    }
    let [0, 0, top, left, 0, 0, bottom, right] = amounts[..] else { return None };
    Some((pad.input(0)?.to_owned(), [top, left, bottom, right]))
}

/// Convolutions and `Gemm`s without a bias get one of zeros, so that it can be trained and corrected.
fn add_biases(graph: &mut Graph) {
    for i in 0..graph.nodes.len() {
        let node = &graph.nodes[i];
        if !matches!(node.op.as_str(), "Conv" | "Gemm") || node.input(2).is_some() {
            continue;
        }
        let Some(weights) = node.input(1).and_then(|w| graph.initializers.get(w)) else { continue };
        let rows = match (node.op.as_str(), node.int("transB", 0)) {
            ("Gemm", 0) => weights.dims.get(1),
            _ => weights.dims.first(),
        };
        let Some(&channels) = rows else { continue };
        let name = unused(graph, &format!("{}.bias", node.name));
        graph.initializers.insert(name.clone(), Tensor::f32(&[channels], vec![0.0; channels]));
        let node = &mut graph.nodes[i];
        node.inputs.resize(3, String::new());
        node.inputs[2] = name;
    }
}

/// A constant read in several places becomes as many constants: training must be free to move them apart.
fn unshare_constants(graph: &mut Graph) {
    let mut seen: HashMap<String, usize> = HashMap::new();
    for i in 0..graph.nodes.len() {
        for slot in 0..graph.nodes[i].inputs.len() {
            let name = graph.nodes[i].inputs[slot].clone();
            let is_float = graph.initializers.get(&name).is_some_and(|t| matches!(t.data, Data::F32(_)));
            if !is_float {
                continue;
            }
            let readers = seen.entry(name.clone()).or_default();
            *readers += 1;
            if *readers > 1 {
                let copy = unused(graph, &format!("{name}.{readers}"));
                graph.initializers.insert(copy.clone(), graph.initializers[&name].clone());
                graph.nodes[i].inputs[slot] = copy;
            }
        }
    }
}

/// `wanted`, or `wanted` with a number that makes it new.
fn unused(graph: &Graph, wanted: &str) -> String {
    let names = graph.names();
    let numbered = (2..=names.len() + 2).map(|n| format!("{wanted}.{n}"));
    std::iter::once(wanted.to_owned()).chain(numbered).find(|n| !names.contains(n)).unwrap_or_default()
}
