//! Which nodes become integer arithmetic, and which activations that needs quantized.
//!
//! A node is in scope when the plan has an integer form for it and its weights are constants. Its input and output
//! activations are quantized; what lies between it and an activation function that u8 saturation performs
//! is not. Operators that only move data (max pooling, flatten, concat, pad, nearest resize) share one scale among inputs and
//! output.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use limbeck_engine::onnx::{Data, Graph, Model, Node};
use limbeck_engine::{EngineError, Fact, infer};

/// What to quantize.
pub(crate) struct Scope {
    /// Nodes that run in integers, by index, with the last node of what they absorb.
    pub integer: BTreeMap<usize, Absorbed>,
    /// Every activation to quantize, to its group: activations of one group share scale and zero point.
    pub groups: HashMap<String, usize>,
    /// Number of groups.
    pub group_count: usize,
    /// The activations of `groups` but the graph's input: what calibration must watch, in a fixed order.
    pub tapped: Vec<String>,
}

/// An integer node's result, past the activation function it absorbs.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Absorbed {
    /// The activation that is quantized.
    pub output: String,
    /// The absorbed `Relu` or `Clip` node.
    pub activation: Option<usize>,
    /// Range that the absorbed activation clamps to.
    pub low: f32,
    /// Upper end.
    pub high: f32,
}

impl Scope {
    pub fn of(model: &Model) -> Result<Scope, EngineError> {
        let graph = &model.graph;
        let facts = infer(model)?;
        let mut integer = BTreeMap::new();
        for (i, node) in graph.nodes.iter().enumerate() {
            if is_integer_operator(graph, node, &facts) {
                integer.insert(i, absorb(graph, node));
            }
        }
        // An activation function on its own is a table; one that is absorbed is not.
        let absorbed: Vec<usize> = integer.values().filter_map(|a| a.activation).collect();
        integer.retain(|i, _| !absorbed.contains(i));
        let mut union = Union::default();
        for (&i, result) in &integer {
            let node = &graph.nodes[i];
            let output = union.index(&result.output);
            for input in activations(graph, node) {
                let input = union.index(input);
                if shares_scale(node) {
                    union.join(input, output);
                }
            }
        }
        let (groups, group_count) = union.groups();
        let input = graph.inputs.first().map(|i| i.name.as_str());
        let mut tapped: Vec<String> = groups.keys().filter(|v| Some(v.as_str()) != input).cloned().collect();
        tapped.sort();
        Ok(Scope { integer, groups, group_count, tapped })
    }

    /// The same with only these nodes in integers: the other activations are not quantized. Groups, and so scales, stay.
    pub fn keeping(&self, graph: &Graph, keep: &BTreeSet<usize>) -> Scope {
        let integer: BTreeMap<usize, Absorbed> =
            self.integer.iter().filter(|(i, _)| keep.contains(i)).map(|(i, a)| (*i, a.clone())).collect();
        let mut quantized = HashSet::new();
        for (&i, result) in &integer {
            quantized.insert(result.output.as_str());
            quantized.extend(activations(graph, &graph.nodes[i]));
        }
        let named = |name: &&String| quantized.contains(name.as_str());
        let groups = self.groups.iter().filter(|(name, _)| named(name)).map(|(name, g)| (name.clone(), *g)).collect();
        let tapped = self.tapped.iter().filter(named).cloned().collect();
        Scope { groups, group_count: self.group_count, tapped, integer }
    }

    /// The group of an activation, if it is quantized.
    pub fn group(&self, value: &str) -> Option<usize> {
        self.groups.get(value).copied()
    }
}

/// The inputs of an integer node that are activations.
pub(crate) fn activations<'a>(graph: &'a Graph, node: &'a Node) -> Vec<&'a str> {
    let count = match node.op.as_str() {
        "Add" | "Mul" => 2,
        "Concat" => node.inputs.len(),
        _ => 1,
    };
    node.inputs[..count.min(node.inputs.len())]
        .iter()
        .map(String::as_str)
        .filter(|v| !graph.initializers.contains_key(*v))
        .collect()
}

/// Does this node only move data, so that input and output have one scale?
pub(crate) fn shares_scale(node: &Node) -> bool {
    let op = node.op.as_str();
    matches!(op, "MaxPool" | "Concat" | "Pad" | "Resize" | "Flatten" | "Reshape" | "Squeeze" | "Unsqueeze")
}

/// Does the plan have an integer form for this float node?
fn is_integer_operator(graph: &Graph, node: &Node, facts: &HashMap<String, Fact>) -> bool {
    let dims = |value: Option<&str>| value.and_then(|v| facts.get(v)).and_then(Fact::sample_dims);
    let (x, y) = (dims(node.input(0)), dims(node.outputs.first().map(String::as_str)));
    let fits = |d: &Option<Vec<usize>>| d.as_ref().is_some_and(|d| d.len() == 1 || d.len() == 3);
    if !node.domain.is_empty() || !fits(&x) || !fits(&y) {
        return false;
    }
    let constant = |slot: usize| {
        let tensor = node.input(slot).and_then(|v| graph.initializers.get(v));
        tensor.is_some_and(|t| matches!(t.data, Data::F32(_)))
    };
    let input_moves = node.input(0).is_some_and(|v| !graph.initializers.contains_key(v));
    // One value, or one a channel: what ONNX lets `Gemm` broadcast beyond that stays float.
    let channels = y.as_ref().and_then(|d| d.first()).copied().unwrap_or(0);
    let bias_fits = || match node.input(2).map(|b| graph.initializers.get(b)) {
        None => true,
        Some(tensor) => tensor.is_some_and(|t| constant(2) && (t.len() == 1 || t.len() == channels)),
    };
    let explicit_padding = node.text("auto_pad").is_none_or(|a| a == "NOTSET");
    input_moves
        && match node.op.as_str() {
            "Conv" => constant(1) && bias_fits() && explicit_padding,
            "Gemm" => {
                let plain = node.float("alpha", 1.0) == 1.0 && node.float("beta", 1.0) == 1.0;
                constant(1) && bias_fits() && plain && node.int("transA", 0) == 0
            }
            "MatMul" => constant(1) && x.is_some_and(|d| d.len() == 1),
            "Add" => x == dims(node.input(1)) && node.inputs.iter().all(|v| !graph.initializers.contains_key(v)),
            "Mul" => {
                // One shape, or one factor with one value a channel.
                let b = dims(node.input(1));
                let gate = |d: &Option<Vec<usize>>| {
                    d.as_ref().zip(y.as_ref()).is_some_and(|(d, y)| y.len() == 3 && d[..] == [y[0], 1, 1])
                };
                let fits = (x == y && (b == y || gate(&b))) || (b == y && gate(&x));
                fits && node.inputs.iter().all(|v| !graph.initializers.contains_key(v))
            }
            "Pad" => pads_an_image(graph, node),
            "Resize" => {
                let text = |name: &str| node.text(name).unwrap_or_default();
                let nearest = node.text("mode").is_none_or(|m| m == "nearest");
                let plain = !node.attributes.contains_key("axes")
                    && text("coordinate_transformation_mode") != "tf_crop_and_resize"
                    && node.text("keep_aspect_ratio_policy").is_none_or(|p| p == "stretch");
                // One channel for one channel: a resize of other axes than height and width is another.
                let channels = |d: &Option<Vec<usize>>| d.as_ref().filter(|d| d.len() == 3).map(|d| d[0]);
                nearest && plain && channels(&x).is_some() && channels(&x) == channels(&y)
            }
            "Concat" => node.int("axis", 0) == 1,
            "GlobalAveragePool" => true,
            "ReduceMean" => averages_pixels(graph, node),
            "AveragePool" | "MaxPool" => {
                let ones = |name: &str| node.ints(name).is_none_or(|d| d.iter().all(|&d| d == 1));
                let one_output = node.outputs.get(1).is_none_or(String::is_empty);
                explicit_padding && node.int("ceil_mode", 0) == 0 && ones("dilations") && one_output
            }
            "Flatten" => node.int("axis", 1) == 1,
            "Reshape" | "Squeeze" | "Unsqueeze" => {
                let (Some(x), Some(y)) = (x, y) else { return false };
                x == y || (y.len() == 1 && y[0] == x.iter().product::<usize>())
            }
            "Relu" | "Clip" | "Sigmoid" | "HardSigmoid" | "HardSwish" | "Tanh" | "LeakyRelu" | "Elu" | "Gelu"
            | "Softplus" | "Mish" => x == y,
            _ => false,
        }
}

/// A `Pad` of height and width, by constant amounts and with a constant?
fn pads_an_image(graph: &Graph, node: &Node) -> bool {
    let constant = |slot: usize| node.input(slot).map(|v| graph.initializers.get(v));
    let amounts = match constant(1) {
        None => node.ints("pads"),
        Some(tensor) => tensor.and_then(|t| t.as_i64()),
    };
    // Amounts without a name for their axes are those of N, C, H, W, before and after.
    let image =
        amounts.is_some_and(|a| a.len() == 8 && [0, 1, 4, 5].iter().all(|&i| a[i] == 0) && a.iter().all(|&a| a >= 0));
    let value =
        constant(2).is_none_or(|t| t.and_then(|t| t.as_f32()).is_some_and(|v| v.len() == 1 && v[0].is_finite()));
    node.text("mode").is_none_or(|m| m == "constant") && image && value && node.input(3).is_none()
}

/// Is this `ReduceMean` the mean over H and W?
pub(crate) fn averages_pixels(graph: &Graph, node: &Node) -> bool {
    let axes = node.ints("axes").or_else(|| graph.initializers.get(node.input(1)?)?.as_i64());
    let mut axes = axes.map(<[i64]>::to_vec).unwrap_or_default();
    axes.iter_mut().for_each(|a| *a = a.rem_euclid(4));
    axes.sort_unstable();
    axes == [2, 3]
}

/// The result of an integer node past a `Relu` or `Clip` that is its only reader.
fn absorb(graph: &Graph, node: &Node) -> Absorbed {
    let own = node.outputs.first().cloned().unwrap_or_default();
    let plain = Absorbed { output: own.clone(), activation: None, low: f32::NEG_INFINITY, high: f32::INFINITY };
    if !matches!(node.op.as_str(), "Conv" | "Gemm" | "MatMul" | "Add" | "Mul" | "AveragePool") || graph.is_output(&own)
    {
        return plain;
    }
    let mut readers = graph.nodes.iter().enumerate().filter(|(_, n)| n.inputs.contains(&own));
    let (Some((i, reader)), None) = (readers.next(), readers.next()) else { return plain };
    let bound = |slot: usize, name: &str, default: f32| match reader.input(slot) {
        None => Some(reader.float(name, default)),
        Some(value) => match graph.initializers.get(value)?.as_f32()? {
            [bound] => Some(*bound),
            _ => None,
        },
    };
    let range = match reader.op.as_str() {
        "Relu" => Some((0.0, f32::INFINITY)),
        "Clip" => bound(1, "min", f32::NEG_INFINITY).zip(bound(2, "max", f32::INFINITY)),
        _ => None,
    };
    // Saturation performs a clamp whose lower end is the end of the range, which always holds zero.
    match range {
        Some((low, high)) if low == 0.0 && high > 0.0 => {
            Absorbed { output: reader.outputs[0].clone(), activation: Some(i), low, high }
        }
        _ => plain,
    }
}

/// Disjoint sets of named activations.
#[derive(Default)]
struct Union {
    names: HashMap<String, usize>,
    parent: Vec<usize>,
}

impl Union {
    fn index(&mut self, name: &str) -> usize {
        let next = self.parent.len();
        let index = *self.names.entry(name.to_owned()).or_insert(next);
        if index == next {
            self.parent.push(next);
        }
        index
    }

    fn root(&self, mut i: usize) -> usize {
        while self.parent[i] != i {
            i = self.parent[i];
        }
        i
    }

    fn join(&mut self, a: usize, b: usize) {
        let (a, b) = (self.root(a), self.root(b));
        self.parent[a] = b;
    }

    /// Name → group number, and how many groups.
    fn groups(&self) -> (HashMap<String, usize>, usize) {
        let mut number: BTreeMap<usize, usize> = BTreeMap::new();
        for i in 0..self.parent.len() {
            let next = number.len();
            number.entry(self.root(i)).or_insert(next);
        }
        let groups = self.names.iter().map(|(name, &i)| (name.clone(), number[&self.root(i)])).collect();
        (groups, number.len())
    }
}
