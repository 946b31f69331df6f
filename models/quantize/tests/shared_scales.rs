//! Activations that share a scale keep their values, whatever clamps one of them.

mod common;

use common::Pictures;
use limbeck_engine::onnx::{Attribute, Data, Dim, Graph, Model, Node, Tensor, Value};
use limbeck_quantize::{QuantizeOptions, RangeMethod};

/// concat(relu(conv(x)), conv(x)), then the mean of each channel.
fn relu_beside_linear() -> Model {
    let weights = |seed: usize| {
        let values = (0..2 * 3).map(|i| ((i * 29 + seed * 17) % 13) as f32 / 6.0 - 1.0).collect();
        Tensor::f32(&[2, 3, 1, 1], values)
    };
    let nodes = vec![
        Node::new("Conv", "left", &["x", "w1", "b1"], &["l"]),
        Node::new("Relu", "relu", &["l"], &["r"]),
        Node::new("Conv", "right", &["x", "w2", "b2"], &["s"]),
        Node::new("Concat", "join", &["r", "s"], &["c"]).with("axis", Attribute::Int(1)),
        Node::new("GlobalAveragePool", "pool", &["c"], &["p"]),
        Node::new("Flatten", "flatten", &["p"], &["y"]),
    ];
    let bias = |v: f32| Tensor::f32(&[2], vec![v; 2]);
    let initializers = [("w1", weights(1)), ("w2", weights(2)), ("b1", bias(0.1)), ("b2", bias(-1.5))];
    let sizes = [3, 4, 4].map(Dim::Known);
    let graph = Graph {
        name: "g".into(),
        nodes,
        initializers: initializers.into_iter().map(|(n, t)| (n.to_owned(), t)).collect(),
        inputs: vec![Value::f32("x", std::iter::once(Dim::Symbol("N".into())).chain(sizes).collect())],
        outputs: vec![Value::f32("y", vec![])],
    };
    Model { ir_version: 8, opset: 17, other_opsets: vec![], metadata: Default::default(), graph }
}

#[test]
fn a_relu_branch_does_not_clip_the_branch_it_is_joined_with() {
    let pictures = Pictures::new(4, 16);
    let model = relu_beside_linear();
    let quantized = pictures.quantize(&model, &QuantizeOptions::default()).unwrap();
    assert_eq!(quantized.float_nodes, [], "the clamp that stays is an integer operator too");
    let (float, int8) = (pictures.outputs(&model), pictures.outputs(&quantized.model));
    assert!(float.iter().any(|y| y[2] < -0.5), "the linear branch is negative here: {float:?}");
    for (f, q) in float.iter().flatten().zip(int8.iter().flatten()) {
        assert!((f - q).abs() < 0.05, "float {float:?}, int8 {int8:?}");
    }
}

/// A concat of a concat, of pooled and of plain branches whose ranges are far apart, then what moves data.
fn joined_twice() -> Model {
    let mut model = relu_beside_linear();
    let graph = &mut model.graph;
    graph.nodes.truncate(4);
    let two = || Attribute::Ints(vec![2; 2]);
    let pool = |name: &str, x: &str, y: &str| {
        Node::new("MaxPool", name, &[x], &[y]).with("kernel_shape", two()).with("strides", two())
    };
    graph.nodes.extend([
        pool("pool1", "c", "p1"),
        pool("pool2", "s", "p2"),
        Node::new("Concat", "join2", &["p1", "p2"], &["c2"]).with("axis", Attribute::Int(1)),
        Node::new("Flatten", "flatten", &["c2"], &["f"]),
        Node::new("Gemm", "head", &["f", "w3", "b3"], &["y"]).with("transB", Attribute::Int(1)),
    ]);
    let w3 = (0..4 * 24).map(|i| ((i * 7) % 11) as f32 / 10.0 - 0.5).collect();
    graph.initializers.insert("w3".into(), Tensor::f32(&[4, 24], w3));
    graph.initializers.insert("b3".into(), Tensor::f32(&[4], vec![0.0; 4]));
    model
}

#[test]
fn what_is_joined_or_moved_has_one_scale_through_every_join() {
    let pictures = Pictures::new(4, 16);
    for method in [RangeMethod::MinMax, RangeMethod::Mse, RangeMethod::Percentile(99.9), RangeMethod::Entropy] {
        let options = QuantizeOptions { method, ..QuantizeOptions::default() };
        let quantized = pictures.quantize(&joined_twice(), &options).unwrap();
        assert_eq!(quantized.float_nodes, [], "{method}");
        let of = |value: &str| {
            let constant = |what: &str| quantized.model.graph.initializers[&format!("{value}/{what}")].clone();
            (constant("scale"), constant("zero_point"))
        };
        for value in ["s", "c", "p1", "p2", "c2", "f"] {
            assert_eq!(of(value), of("r"), "{method}: {value}");
        }
        assert_ne!(of("y"), of("r"), "{method}: a layer's result has a scale of its own");
        assert!(matches!(of("r").1.data, Data::U8(_)));
    }
}
