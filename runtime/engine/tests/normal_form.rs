//! Normalising a model keeps its function and leaves only what later stages know.

use limbeck_engine::onnx::{Attribute, Dim, Graph, Model, Node, Tensor, Value};
use limbeck_engine::{Net, normalise};

/// Folding batch norm rounds each weight once more; logits of these nets are below 10.
const TOLERANCE: f32 = 1e-4;

fn ramp(n: usize, scale: f32) -> Vec<f32> {
    (0..n).map(|i| ((i * 37 % 101) as f32 / 50.0 - 1.0) * scale).collect()
}

fn model(nodes: Vec<Node>, constants: Vec<(&str, Tensor)>, output: &str) -> Model {
    let dims = [Dim::Symbol("N".into()), Dim::Known(3), Dim::Known(9), Dim::Known(8)];
    let graph = Graph {
        name: "test".into(),
        nodes,
        initializers: constants.into_iter().map(|(name, t)| (name.to_owned(), t)).collect(),
        inputs: vec![Value::f32("x", dims.to_vec())],
        outputs: vec![Value::f32(output, vec![])],
    };
    Model { ir_version: 8, opset: 17, other_opsets: vec![], metadata: Default::default(), graph }
}

fn outputs(model: &Model) -> Vec<f32> {
    let mut y = vec![];
    let net = Net::load(model, 1).unwrap();
    net.worker().unwrap().run(&ramp(3 * 9 * 8, 1.0), |_, v| y = v.to_vec()).unwrap();
    y
}

fn check(model: Model, expected_ops: &[&str]) -> Model {
    let normal = normalise(&model).unwrap();
    let ops: Vec<&str> = normal.graph.nodes.iter().map(|n| n.op.as_str()).collect();
    assert_eq!(ops, expected_ops);
    let (before, after) = (outputs(&model), outputs(&normal));
    assert_eq!(before.len(), after.len());
    let worst = before.iter().zip(&after).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(worst < TOLERANCE, "outputs moved by {worst}");
    // What is written is what was normalised.
    assert_eq!(Model::parse(&normal.emit(), "again.onnx".as_ref()).unwrap(), normal);
    normal
}

fn weights(o: usize, i: usize, k: usize) -> Tensor {
    Tensor::f32(&[o, i, k, k], ramp(o * i * k * k, 0.3))
}

fn batch_norm(c: usize) -> Vec<(&'static str, Tensor)> {
    let of = |scale: f32, offset: f32| Tensor::f32(&[c], ramp(c, scale).iter().map(|v| v + offset).collect());
    vec![("gamma", of(0.5, 1.0)), ("beta", of(0.3, 0.1)), ("mean", of(0.2, 0.0)), ("var", of(0.4, 0.9))]
}

#[test]
fn batch_norm_goes_into_the_convolution_before_it() {
    let conv = Node::new("Conv", "conv", &["x", "w"], &["c"]).with("pads", Attribute::Ints(vec![1; 4]));
    let norm = Node::new("BatchNormalization", "norm", &["c", "gamma", "beta", "mean", "var"], &["y"]);
    let mut constants = batch_norm(4);
    constants.push(("w", weights(4, 3, 3)));
    let normal = check(model(vec![conv, norm], constants, "y"), &["Conv"]);
    assert_eq!(normal.graph.nodes[0].inputs.len(), 3, "the folded convolution has a bias");
    assert_eq!(normal.graph.nodes[0].outputs, ["y"], "the output keeps its name");
}

#[test]
fn batch_norm_goes_into_a_depthwise_convolution_too() {
    let conv = Node::new("Conv", "conv", &["x", "w", "b"], &["c"]).with("group", Attribute::Int(3));
    let norm = Node::new("BatchNormalization", "norm", &["c", "gamma", "beta", "mean", "var"], &["y"]);
    let mut constants = batch_norm(3);
    constants.extend([("w", weights(3, 1, 3)), ("b", Tensor::f32(&[3], ramp(3, 0.5)))]);
    check(model(vec![conv, norm], constants, "y"), &["Conv"]);
}

#[test]
fn batch_norm_stays_where_its_input_is_read_twice() {
    let conv = Node::new("Conv", "conv", &["x", "w"], &["c"]).with("pads", Attribute::Ints(vec![1; 4]));
    let norm = Node::new("BatchNormalization", "norm", &["c", "gamma", "beta", "mean", "var"], &["n"]);
    let sum = Node::new("Add", "sum", &["c", "n"], &["y"]);
    let mut constants = batch_norm(3);
    constants.push(("w", weights(3, 3, 3)));
    check(model(vec![conv, norm, sum], constants, "y"), &["Conv", "BatchNormalization", "Add"]);
}

#[test]
fn zero_padding_and_shape_arithmetic_go_into_the_convolution() {
    // As TensorFlow exports "same" padding: sizes computed from the shape of x.
    let nodes = vec![
        Node::new("Shape", "shape", &["x"], &["s"]),
        Node::new("Gather", "height", &["s", "two"], &["h"]),
        Node::new("Sub", "one", &["h", "eight"], &["a"]),
        Node::new("Concat", "pads", &["zeros", "a", "none", "zeros", "a", "none"], &["p"])
            .with("axis", Attribute::Int(0)),
        Node::new("Pad", "pad", &["x", "p"], &["padded"]),
        Node::new("Conv", "conv", &["padded", "w", "b"], &["y"]).with("strides", Attribute::Ints(vec![2, 2])),
    ];
    let constants = vec![
        ("two", Tensor::i64(vec![2])),
        ("eight", Tensor::i64(vec![8])),
        ("zeros", Tensor::i64(vec![0, 0])),
        ("none", Tensor::i64(vec![0])),
        ("w", weights(4, 3, 3)),
        ("b", Tensor::f32(&[4], ramp(4, 0.5))),
    ];
    let normal = check(model(nodes, constants, "y"), &["Conv"]);
    assert_eq!(normal.graph.nodes[0].ints("pads"), Some(&[1, 0, 1, 0][..]));
}

#[test]
fn auto_pad_becomes_explicit() {
    for mode in ["SAME_UPPER", "SAME_LOWER", "VALID"] {
        let conv = Node::new("Conv", "conv", &["x", "w", "b"], &["y"])
            .with("strides", Attribute::Ints(vec![2, 2]))
            .with("auto_pad", Attribute::Bytes(mode.into()));
        let constants = vec![("w", weights(4, 3, 3)), ("b", Tensor::f32(&[4], ramp(4, 0.5)))];
        let normal = check(model(vec![conv], constants, "y"), &["Conv"]);
        assert_eq!(normal.graph.nodes[0].text("auto_pad"), None, "{mode}");
    }
}

#[test]
fn a_constant_with_two_readers_becomes_two() {
    let pads = || Attribute::Ints(vec![1; 4]);
    let nodes = vec![
        Node::new("Conv", "one", &["x", "w", "b"], &["c"]).with("pads", pads()),
        Node::new("Identity", "same", &["c"], &["d"]),
        Node::new("Conv", "two", &["d", "w", "b"], &["y"]).with("pads", pads()),
    ];
    let constants = vec![("w", weights(3, 3, 3)), ("b", Tensor::f32(&[3], ramp(3, 0.5)))];
    let normal = check(model(nodes, constants, "y"), &["Conv", "Conv"]);
    assert_eq!(normal.graph.initializers.len(), 4);
}
