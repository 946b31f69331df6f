//! QDQ graphs that other tools write: which of their forms become integers, and what those integers are.

use limbeck_engine::Student;
use limbeck_engine::onnx::{Attribute, Data, Dim, Graph, Model, Node, Tensor, Value};

/// A graph from `x` (N, `dims`) to `y`, with u8 quantization parameters `s<n>` = n and zero point 0.
fn model(dims: &[usize], nodes: Vec<Node>) -> Model {
    let scale = |n: usize| (format!("s{n}"), Tensor::scalar(n as f32));
    let zero = ("z".to_owned(), Tensor { dims: vec![], data: Data::U8(vec![0]) });
    let sizes = std::iter::once(Dim::Symbol("N".into())).chain(dims.iter().map(|&d| Dim::Known(d)));
    let graph = Graph {
        name: "by-hand".into(),
        nodes,
        initializers: (1..=4).map(scale).chain([zero]).collect(),
        inputs: vec![Value::f32("x", sizes.collect())],
        outputs: vec![Value::f32("y", vec![])],
    };
    Model { ir_version: 8, opset: 17, other_opsets: vec![], metadata: Default::default(), graph }
}

/// `from` quantized and dequantized at scale `s`, as `to`.
fn qdq(from: &str, to: &str, s: usize) -> [Node; 2] {
    let (q, scale) = (format!("{to}.q"), format!("s{s}"));
    [
        Node::new("QuantizeLinear", &format!("{to}.Q"), &[from, &scale, "z"], &[&q]),
        Node::new("DequantizeLinear", &format!("{to}.DQ"), &[&q, &scale, "z"], &[to]),
    ]
}

fn run(student: &Student, x: &[f32]) -> Vec<f32> {
    let mut y = vec![0.0; student.output_len()];
    student.worker().unwrap().run(x, &mut y).unwrap();
    y
}

#[test]
fn a_second_quantization_is_a_change_of_scale() {
    let nodes = [qdq("x", "a", 1), qdq("a", "y", 2)].concat();
    let student = Student::load(&model(&[1, 2, 3], nodes)).unwrap();
    assert_eq!(student.float_nodes(), []);
    // Halves to even: 1 / 2 to 0, 3 / 2 to 2, 5 / 2 to 2.
    assert_eq!(run(&student, &[0.0, 1.0, 3.0, 5.0, 7.2, 255.0]), [0.0, 0.0, 4.0, 4.0, 8.0, 256.0]);
}

#[test]
fn a_flatten_between_scales_keeps_the_order_of_its_values() {
    let flatten = Node::new("Flatten", "flatten", &["a"], &["b"]);
    let nodes = [&qdq("x", "a", 1)[..], &[flatten], &qdq("b", "y", 3)].concat();
    let student = Student::load(&model(&[2, 1, 2], nodes)).unwrap();
    assert_eq!(student.float_nodes(), []);
    assert_eq!(run(&student, &[3.0, 6.0, 9.0, 12.0]), [3.0, 6.0, 9.0, 12.0]);
}

#[test]
fn an_operand_moved_at_two_scales_is_brought_to_each() {
    let concat = |a: &str, b: &str, y: &str| Node::new("Concat", y, &[a, b], &[y]).with("axis", Attribute::Int(1));
    let nodes = [
        &qdq("x", "a", 1)[..],
        &[concat("a", "a", "twos")],
        &qdq("twos", "twos.dq", 2),
        &[concat("a", "twos.dq", "all")],
        &qdq("all", "y", 4),
    ];
    let student = Student::load(&model(&[1, 1, 1], nodes.concat())).unwrap();
    assert_eq!(student.float_nodes(), []);
    // 10 as it is, to 8 (10 / 4 = 2.5); through scale 2 it stays 10 and goes the same way.
    assert_eq!(run(&student, &[10.0]), [8.0, 8.0, 8.0]);
    assert_eq!(run(&student, &[7.0]), [8.0, 8.0, 8.0]);
    assert_eq!(run(&student, &[5.0]), [4.0, 4.0, 4.0]);
}

#[test]
fn a_product_that_broadcasts_channels_stays_float_and_says_why() {
    let reduce = Node::new("ReduceMax", "max", &["a"], &["m"]).with("axes", Attribute::Ints(vec![1]));
    let mul = Node::new("Mul", "attend", &["a", "m.dq"], &["p"]);
    let nodes = [&qdq("x", "a", 1)[..], &[reduce], &qdq("m", "m.dq", 1), &[mul], &qdq("p", "y", 2)];
    let student = Student::load(&model(&[2, 1, 2], nodes.concat())).unwrap();
    let reasons: Vec<String> = student.float_nodes().iter().map(|n| format!("{}: {}", n.node, n.reason)).collect();
    assert!(reasons.iter().any(|r| r == "Mul \"attend\": it broadcasts other axes than H and W"), "{reasons:?}");
    assert_eq!(run(&student, &[1.0, 2.0, 3.0, 4.0]), [4.0, 8.0, 8.0, 16.0]);
}

#[test]
fn a_pad_value_is_quantized_like_everything_else() {
    let pad = Node::new("Pad", "pad", &["a", "pads", "value"], &["p"]);
    let nodes = [&qdq("x", "a", 1)[..], &[pad], &qdq("p", "y", 2)];
    let mut padded = model(&[1, 1, 1], nodes.concat());
    padded.graph.initializers.insert("pads".into(), Tensor::i64(vec![0, 0, 0, 1, 0, 0, 0, 2]));
    padded.graph.initializers.insert("value".into(), Tensor::scalar(5.0));
    let student = Student::load(&padded).unwrap();
    assert_eq!(student.float_nodes(), []);
    assert_eq!(run(&student, &[8.0]), [4.0, 8.0, 4.0, 4.0]);
}
