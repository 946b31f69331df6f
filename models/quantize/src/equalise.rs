//! Cross-layer equalisation: the same float function with weights that quantize better.
//!
//! Nagel et al., "Data-Free Quantization Through Weight Equalization and Bias Correction" (ICCV 2019), §4.1. Where a layer
//! feeds one other layer through functions with f(s·x) = s·f(x) for s > 0, channel i between them may be scaled:
//!
//! W1[i, :] / s\[i\]   b1\[i\] / s\[i\]   W2[:, i] · s\[i\]   s\[i\] = sqrt(r1\[i\] / r2\[i\])   r1\[i\] = max|W1[i, :]|   r2\[i\] = max|W2[:, i]|
//!
//! after which both ranges are sqrt(r1·r2). Pairs share layers, so all are gone through again until no s is far from 1.
//!
//! Such functions are `Relu`, `LeakyRelu`, the pools, the mean over H and W, and what flattens. `Clip` to 0..6 is not one:
//! its bound would have to be 6 / s\[i\], one a channel, which no ONNX operator and no integer form here has. The paper
//! replaces it by `Relu`, which is another function; a pair with a `Clip` between is left alone instead.

use std::collections::HashMap;

use limbeck_engine::onnx::{Data, Graph, Model, Node};
use limbeck_engine::{EngineError, Fact, infer};

use crate::scope::averages_pixels;
use crate::weights::WeightIndex;

/// All pairs are gone through at most this often. Chains of 17 pairs settled in 20 to 40.
const SWEEPS: usize = 100;

/// No scale further from 1 than this: settled.
const SETTLED: f32 = 1e-3;

/// Two layers with nothing between them that minds a scale per channel.
#[derive(Debug, Clone, Copy)]
struct Pair {
    first: usize,
    second: usize,
    /// Inputs of the second layer that one output of the first becomes: more than 1 after `Flatten`.
    spread: usize,
}

/// The equalised form of a model in normal form ([`limbeck_engine::normalise()`]), and how many pairs of layers were
/// equalised. The function is the same but for the rounding of the weights.
pub fn equalise(model: &Model) -> Result<(Model, usize), EngineError> {
    let facts = infer(model)?;
    let mut model = model.clone();
    let graph = &mut model.graph;
    let pairs: Vec<Pair> = (0..graph.nodes.len()).filter_map(|i| pair_from(graph, &facts, i)).collect();
    for _ in 0..SWEEPS {
        let furthest = pairs.iter().map(|pair| equalise_pair(graph, *pair)).fold(0.0, f32::max);
        if furthest < SETTLED {
            break;
        }
    }
    Ok((model, pairs.len()))
}

/// The pair whose first layer is node `i`.
fn pair_from(graph: &Graph, facts: &HashMap<String, Fact>, i: usize) -> Option<Pair> {
    let first = layer(graph, &graph.nodes[i])?;
    let bias_fits = graph.nodes[i].input(2).is_none_or(|b| {
        let own = graph.initializers.get(b).and_then(|t| t.as_f32());
        own.is_some_and(|values| values.len() == first.outputs)
    });
    if !bias_fits {
        return None;
    }
    let mut value = graph.nodes[i].outputs.first()?;
    loop {
        let (at, reader) = only_reader(graph, value)?;
        if let Some(second) = layer(graph, reader) {
            let spread = second.inputs / first.outputs;
            return (reader.inputs[0] == *value && spread * first.outputs == second.inputs).then_some(Pair {
                first: i,
                second: at,
                spread,
            });
        }
        if !hands_scale_through(graph, reader, facts) {
            return None;
        }
        value = reader.outputs.first()?;
    }
}

/// A layer whose sums are those of its weights alone.
fn layer(graph: &Graph, node: &Node) -> Option<WeightIndex> {
    let plain = node.float("alpha", 1.0) == 1.0 && node.float("beta", 1.0) == 1.0 && node.int("transA", 0) == 0;
    WeightIndex::of(graph, node).filter(|_| plain)
}

fn only_reader<'a>(graph: &'a Graph, value: &str) -> Option<(usize, &'a Node)> {
    let mut reading = graph.nodes.iter().enumerate().filter(|(_, n)| n.inputs.iter().any(|i| i == value));
    match (reading.next(), reading.next()) {
        (Some(only), None) if !graph.is_output(value) => Some(only),
        _ => None,
    }
}

/// f(s·x) = s·f(x) for every s > 0 per channel, channels staying in order?
fn hands_scale_through(graph: &Graph, node: &Node, facts: &HashMap<String, Fact>) -> bool {
    let dims = |value: Option<&str>| value.and_then(|v| facts.get(v)).and_then(Fact::sample_dims);
    match node.op.as_str() {
        _ if !node.domain.is_empty() => false,
        "Relu" | "LeakyRelu" | "MaxPool" | "AveragePool" | "GlobalAveragePool" | "GlobalMaxPool" => true,
        "ReduceMean" => averages_pixels(graph, node),
        "Flatten" | "Reshape" | "Squeeze" => {
            let (x, y) = (dims(node.input(0)), dims(node.outputs.first().map(String::as_str)));
            let (Some(x), Some(y)) = (x, y) else { return false };
            // Channels stay first, and what follows them in memory stays theirs.
            x == y || (y.len() == 1 && y[0] == x.iter().product::<usize>())
        }
        _ => false,
    }
}

/// Equalise one pair; the furthest that a scale was from 1.
fn equalise_pair(graph: &mut Graph, pair: Pair) -> f32 {
    let (first, second) = (&graph.nodes[pair.first], &graph.nodes[pair.second]);
    let (Some(w1), Some(w2)) = (WeightIndex::of(graph, first), WeightIndex::of(graph, second)) else { return 0.0 };
    let names = [&first.inputs[1], &second.inputs[1]].map(Clone::clone);
    let bias = first.input(2).map(str::to_owned);
    let values = |graph: &Graph, name: &str| graph.initializers.get(name).and_then(|t| t.as_f32()).map(<[f32]>::to_vec);
    let (Some(mut a), Some(mut b)) = (values(graph, &names[0]), values(graph, &names[1])) else { return 0.0 };

    let (mut r1, mut r2) = (vec![0f32; w1.outputs], vec![0f32; w1.outputs]);
    a.iter().enumerate().for_each(|(at, w)| r1[w1.output(at)] = r1[w1.output(at)].max(w.abs()));
    b.iter()
        .enumerate()
        .for_each(|(at, w)| r2[w2.input(at) / pair.spread] = r2[w2.input(at) / pair.spread].max(w.abs()));
    let scales: Vec<f32> = r1.iter().zip(&r2).map(|(r1, r2)| scale(*r1, *r2)).collect();

    a.iter_mut().enumerate().for_each(|(at, w)| *w /= scales[w1.output(at)]);
    b.iter_mut().enumerate().for_each(|(at, w)| *w *= scales[w2.input(at) / pair.spread]);
    let scaled_bias = bias.and_then(|name| {
        let old = values(graph, &name)?;
        Some((name, old.iter().zip(&scales).map(|(b, s)| b / s).collect::<Vec<f32>>()))
    });
    let [first, second] = names;
    for (name, new) in [(first, a), (second, b)].into_iter().chain(scaled_bias) {
        if let Some(tensor) = graph.initializers.get_mut(&name) {
            tensor.data = Data::F32(new);
        }
    }
    scales.iter().map(|s| (s - 1.0).abs()).fold(0.0, f32::max)
}

/// sqrt(r1 / r2); 1 where a channel has no weights on one side.
fn scale(r1: f32, r2: f32) -> f32 {
    let scale = (r1 as f64 / r2 as f64).sqrt() as f32;
    if r1.is_normal() && r2.is_normal() && scale.is_normal() { scale } else { 1.0 }
}
