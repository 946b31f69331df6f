//! The float graph with Q and DQ nodes round every integer operator.

use std::collections::HashSet;

use limbeck_engine::onnx::{Attribute, Data, Graph, Model, Node, Tensor};

use crate::method::Quant;
use crate::scope::{Absorbed, Scope, activations};
use crate::weight_bits::WeightBits;
use crate::weights::WeightIndex;

/// Put Q → DQ behind every activation of `scope`, and DQ before every constant of its integer nodes.
pub(crate) fn rewrite(model: &Model, scope: &Scope, quants: &[Quant], bits: WeightBits) -> Model {
    let mut out = Rewrite { source: &model.graph, scope, quants, bits, graph: empty_like(&model.graph) };
    for input in &model.graph.inputs {
        if scope.group(&input.name).is_some() {
            out.quantize(&input.name, &input.name);
        }
    }
    let absorbed: HashSet<usize> = scope.integer.values().filter_map(|a| a.activation).collect();
    for (i, node) in model.graph.nodes.iter().enumerate() {
        match scope.integer.get(&i) {
            Some(result) => out.integer(node, result),
            None if absorbed.contains(&i) => {}
            None => out.float(node),
        }
    }
    let mut quantized = Model { graph: out.graph, ..model.clone() };
    // QuantizeLinear with an axis is opset 13; the IR version that goes with it is 7.
    quantized.opset = quantized.opset.max(13);
    quantized.ir_version = quantized.ir_version.max(7);
    quantized.graph.remove_dead();
    quantized
}

/// In a rewritten graph, the value that an integer node computes, before its activation function and before it is
/// quantized.
pub(crate) fn float_result(graph: &Graph, result: &Absorbed) -> String {
    let before = before(&result.output);
    let stays = graph.nodes.iter().any(|n| n.outputs.contains(&before));
    if stays { before } else { raw(&result.output) }
}

/// An activation before it is quantized.
fn raw(value: &str) -> String {
    format!("{value}/float")
}

/// An activation before a clamp that stays.
fn before(value: &str) -> String {
    format!("{value}/before")
}

fn empty_like(graph: &Graph) -> Graph {
    Graph { nodes: vec![], ..graph.clone() }
}

struct Rewrite<'a> {
    source: &'a Graph,
    scope: &'a Scope,
    quants: &'a [Quant],
    bits: WeightBits,
    graph: Graph,
}

/// Name of the dequantized form of an activation: what every reader reads.
fn dequantized(value: &str) -> String {
    format!("{value}/dq")
}

impl Rewrite<'_> {
    fn quant(&self, value: &str) -> Option<Quant> {
        self.scope.group(value).map(|g| self.quants[g])
    }

    /// What a reader of `value` reads now.
    fn reading(&self, value: &str) -> String {
        match self.quant(value) {
            Some(_) => dequantized(value),
            None => value.to_owned(),
        }
    }

    /// `from` → Q → DQ, under the names that belong to the activation `value`.
    ///
    /// A graph output gets a DQ of its own, under the output's name.
    fn quantize(&mut self, value: &str, from: &str) {
        let Some(quant) = self.quant(value) else { return };
        let (scale, zero, q) = (format!("{value}/scale"), format!("{value}/zero_point"), format!("{value}/q"));
        self.graph.initializers.insert(scale.clone(), Tensor::scalar(quant.scale));
        self.graph.initializers.insert(zero.clone(), Tensor { dims: vec![], data: Data::U8(vec![quant.zero]) });
        self.graph.nodes.push(Node::new("QuantizeLinear", &format!("{value}/Q"), &[from, &scale, &zero], &[&q]));
        let readers = [(true, dequantized(value)), (self.source.is_output(value), value.to_owned())];
        for (_, dq) in readers.into_iter().filter(|(wanted, _)| *wanted) {
            let node = Node::new("DequantizeLinear", &format!("{dq}/DQ"), &[&q, &scale, &zero], &[&dq]);
            self.graph.nodes.push(node);
        }
    }

    /// `from` → Q → DQ with the scale of `value`; the dequantized name.
    fn quantize_like(&mut self, value: &str, from: &str) -> String {
        let (scale, zero) = (format!("{value}/scale"), format!("{value}/zero_point"));
        let (q, dq) = (format!("{from}/q"), dequantized(from));
        self.graph.nodes.push(Node::new("QuantizeLinear", &format!("{from}/Q"), &[from, &scale, &zero], &[&q]));
        self.graph.nodes.push(Node::new("DequantizeLinear", &format!("{dq}/DQ"), &[&q, &scale, &zero], &[&dq]));
        dq
    }

    fn float(&mut self, node: &Node) {
        let mut node = node.clone();
        node.inputs.iter_mut().for_each(|v| *v = self.reading(v));
        // A float result that integers read is quantized too. If it is an output of the graph, that stays float.
        let results: Vec<String> = node.outputs.iter().filter(|o| self.quant(o).is_some()).cloned().collect();
        for result in &results {
            if self.source.is_output(result) {
                let before = format!("{result}/float");
                node.outputs.iter_mut().filter(|o| *o == result).for_each(|o| *o = before.clone());
            }
        }
        let outputs = node.outputs.clone();
        self.graph.nodes.push(node);
        for result in &results {
            let from = outputs.iter().find(|o| *o == result || **o == format!("{result}/float"));
            self.quantize(result, &from.cloned().unwrap_or_else(|| result.clone()));
        }
    }

    fn integer(&mut self, node: &Node, result: &Absorbed) {
        let mut node = node.clone();
        let weights_at = matches!(node.op.as_str(), "Conv" | "Gemm" | "MatMul");
        let inputs: Vec<String> = activations(self.source, &node).into_iter().map(str::to_owned).collect();
        if weights_at {
            self.constants(&mut node, &inputs[0]);
        }
        node.inputs.iter_mut().filter(|v| inputs.contains(v)).for_each(|v| *v = dequantized(v));
        // The operator's own result: quantized at once, under the activation's name.
        let raw = raw(&result.output);
        // u8 saturation performs the clamp when the range ends where the clamp does. In a group that shares its scale with
        // other activations (concat) it may not: then the clamp stays, an integer operation of its own.
        let saturates = self.quant(&result.output).is_none_or(|q| {
            q.zero == 0 && (result.high == f32::INFINITY || (result.high / q.scale).round_ties_even() >= 255.0)
        });
        match result.activation.map(|i| &self.source.nodes[i]) {
            Some(activation) if !saturates => {
                let before = before(&result.output);
                node.outputs[0] = before.clone();
                self.graph.nodes.push(node);
                let mut activation = activation.clone();
                activation.inputs[0] = self.quantize_like(&result.output, &before);
                activation.outputs[0] = raw.clone();
                self.graph.nodes.push(activation);
            }
            _ => {
                node.outputs[0] = raw.clone();
                self.graph.nodes.push(node);
            }
        }
        self.quantize(&result.output, &raw);
    }

    /// Weights to i8 per output channel, bias to i32 at scale x·w.
    fn constants(&mut self, node: &mut Node, x: &str) {
        let (Some(x), Some(weights)) = (self.quant(x), self.source.initializers.get(&node.inputs[1])) else { return };
        let Some(values) = weights.as_f32() else { return };
        let Some(index) = WeightIndex::of(self.source, node) else { return };
        let channels = index.outputs;
        let largest = self.bits.largest(values, &index);
        let bias = node.input(2).and_then(|b| self.source.initializers.get(b)).and_then(Tensor::as_f32);
        let bias = match bias {
            Some([one]) => vec![*one; channels],
            Some(bias) if bias.len() == channels => bias.to_vec(),
            _ => vec![0.0; channels],
        };
        let scale: Vec<f32> =
            (0..channels).map(|c| weight_scale(largest[c] / self.bits.limit(), bias[c], x.scale)).collect();
        let quantized = values.iter().enumerate().map(|(at, w)| (w / scale[index.output(at)]).round_ties_even());
        let limit = self.bits.limit();
        let quantized = quantized.map(|q| q.clamp(-limit, limit) as i8).collect();
        let weights = Tensor { dims: weights.dims.clone(), data: Data::I8(quantized) };
        let zeros = Tensor { dims: vec![channels], data: Data::I8(vec![0; channels]) };
        node.inputs[1] = self.constant(&node.inputs[1].clone(), weights, &scale, zeros, index.axis());

        let bias_scale: Vec<f32> = scale.iter().map(|w| x.scale * w).collect();
        let integers = bias.iter().zip(&bias_scale).map(|(b, s)| (*b as f64 / *s as f64).round_ties_even() as i32);
        let integers = Tensor { dims: vec![channels], data: Data::I32(integers.collect()) };
        let zeros = Tensor { dims: vec![channels], data: Data::I32(vec![0; channels]) };
        if let Some(name) = node.input(2).map(str::to_owned) {
            node.inputs[2] = self.constant(&name, integers, &bias_scale, zeros, 0);
        }
    }

    /// A quantized constant and its DQ; returns the dequantized name.
    fn constant(&mut self, name: &str, integers: Tensor, scale: &[f32], zeros: Tensor, axis: i64) -> String {
        let (q, s, z, dq) =
            (format!("{name}/q"), format!("{name}/scale"), format!("{name}/zero_point"), format!("{name}/dq"));
        self.graph.initializers.insert(q.clone(), integers);
        self.graph.initializers.insert(s.clone(), Tensor::f32(&[scale.len()], scale.to_vec()));
        self.graph.initializers.insert(z.clone(), zeros);
        let node = Node::new("DequantizeLinear", &format!("{name}/DQ"), &[&q, &s, &z], &[&dq]);
        self.graph.nodes.push(node.with("axis", Attribute::Int(axis)));
        dq
    }
}

/// The scale that weights alone would have, but not so small that the bias leaves 30 bits: a channel whose weights are nearly zero
/// next to its bias.
fn weight_scale(of_weights: f32, bias: f32, x_scale: f32) -> f32 {
    let for_bias = bias.abs() / ((1u32 << 30) as f32 * x_scale);
    let scale = of_weights.max(for_bias);
    // x_scale · scale must be a normal f32 too.
    if scale > 1e-30 && (scale * x_scale).is_normal() { scale } else { 1e-12 }
}
