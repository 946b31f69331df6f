//! A small net and its inputs.

use limbeck_engine::onnx::{Attribute, Dim, Graph, Model, Node, Tensor, Value};

/// Values from -1 to 1 that depend on `seed` and the place.
pub fn noise(seed: usize, len: usize) -> Vec<f32> {
    (0..len).map(|i| ((i * 7919 + seed * 104_729 + 13) % 2003) as f32 / 1001.0 - 1.0).collect()
}

/// image (1, 2, 6, 6) → two convolutions with a residual round the second → 3 logits.
pub fn net() -> Model {
    let pads = || Attribute::Ints(vec![1; 4]);
    let nodes = vec![
        Node::new("Conv", "a", &["image", "a.weight", "a.bias"], &["a.out"]).with("pads", pads()),
        Node::new("Relu", "a.relu", &["a.out"], &["a.y"]),
        Node::new("Conv", "b", &["a.y", "b.weight", "b.bias"], &["b.out"]).with("pads", pads()),
        Node::new("Relu", "b.relu", &["b.out"], &["b.y"]),
        Node::new("Conv", "c", &["b.y", "c.weight", "c.bias"], &["c.out"]).with("pads", pads()),
        Node::new("Add", "sum", &["a.y", "c.out"], &["s"]),
        Node::new("GlobalAveragePool", "mean", &["s"], &["m"]),
        Node::new("Flatten", "flat", &["m"], &["f"]),
        Node::new("Gemm", "fc", &["f", "fc.weight", "fc.bias"], &["logits"]).with("transB", Attribute::Int(1)),
    ];
    let tensor = |seed, dims: &[usize]| Tensor::f32(dims, noise(seed, dims.iter().product()));
    let conv = |name: &str, seed, input| {
        [(format!("{name}.weight"), tensor(seed, &[4, input, 3, 3])), (format!("{name}.bias"), tensor(seed + 1, &[4]))]
    };
    let fc = [("fc.weight".to_owned(), tensor(8, &[3, 4])), ("fc.bias".to_owned(), tensor(9, &[3]))];
    let constants = conv("a", 1, 2).into_iter().chain(conv("b", 3, 4)).chain(conv("c", 5, 4)).chain(fc);
    let graph = Graph {
        name: "net".into(),
        nodes,
        initializers: constants.collect(),
        inputs: vec![Value::f32("image", [1, 2, 6, 6].map(Dim::Known).to_vec())],
        outputs: vec![Value::f32("logits", [1, 3].map(Dim::Known).to_vec())],
    };
    Model { ir_version: 8, opset: 17, other_opsets: vec![], metadata: Default::default(), graph }
}
