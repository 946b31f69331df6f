//! Bytes that are not a model, or a hostile one, give an error that says why: never a panic, never a hang.

use std::path::Path;

use limbeck_engine::onnx::{Attribute, Dim, Graph, Model, Node, Tensor, Value};
use limbeck_engine::{Student, normalise};

fn valid() -> Model {
    let shape = vec![Dim::Symbol("N".into()), Dim::Known(2), Dim::Known(4), Dim::Known(4)];
    let graph = Graph {
        name: "g".into(),
        nodes: vec![
            Node::new("Conv", "conv", &["x", "w", "b"], &["c"]),
            Node::new("GlobalAveragePool", "pool", &["c"], &["y"]),
        ],
        initializers: [
            ("w".to_owned(), Tensor::f32(&[3, 2, 3, 3], vec![0.1; 54])),
            ("b".to_owned(), Tensor::f32(&[3], vec![0.0; 3])),
        ]
        .into(),
        inputs: vec![Value::f32("x", shape)],
        outputs: vec![Value::f32("y", vec![])],
    };
    Model { ir_version: 8, opset: 17, other_opsets: vec![], metadata: Default::default(), graph }
}

fn refusal(model: &Model) -> String {
    let parsed = match Model::parse(&model.emit(), Path::new("bad.onnx")) {
        Ok(parsed) => parsed,
        Err(error) => return error.to_string(),
    };
    match normalise(&parsed).and_then(|m| Student::load(&m)) {
        Ok(_) => String::new(),
        Err(error) => error.to_string(),
    }
}

#[test]
fn the_valid_one_is_accepted() {
    assert_eq!(refusal(&valid()), "");
}

#[test]
fn every_truncation_is_an_error_or_another_model() {
    let bytes = valid().emit();
    for length in 0..bytes.len() {
        if let Ok(model) = Model::parse(&bytes[..length], Path::new("cut.onnx")) {
            let _ = normalise(&model).and_then(|m| Student::load(&m));
        }
    }
}

#[test]
fn refusals_say_what_is_wrong() {
    let change = |f: &dyn Fn(&mut Model)| {
        let mut model = valid();
        f(&mut model);
        refusal(&model)
    };
    let cycle = change(&|m| m.graph.nodes[0].inputs[0] = "y".into());
    assert!(cycle.contains("cycle") && cycle.contains("conv"), "{cycle}");
    let unwritten = change(&|m| m.graph.outputs[0].name = "nothing".into());
    assert!(unwritten.contains("nothing"), "{unwritten}");
    let twice = change(&|m| m.graph.nodes[1].outputs[0] = "c".into());
    assert!(twice.contains("exists already"), "{twice}");
    let wide = change(&|m| m.graph.inputs[0].dims[2] = Dim::Known(1 << 40));
    assert!(wide.contains("the limit is"), "{wide}");
    let kernel = change(&|m| {
        m.graph.initializers.insert("w".into(), Tensor::f32(&[3, 5, 3, 3], vec![0.1; 135]));
    });
    assert!(!kernel.is_empty());
    let unknown = change(&|m| m.graph.nodes[1].op = "NoSuchOperator".into());
    assert!(unknown.contains("NoSuchOperator"), "{unknown}");
}

#[test]
fn a_tensor_of_an_absurd_size_is_refused_before_it_is_made() {
    for elements in [1i64 << 31, 1 << 34] {
        let mut model = valid();
        let value = Attribute::Tensor(Tensor::f32(&[1], vec![1.0]));
        let shape = Tensor::i64(vec![1, 3, elements / 4096, 4096]);
        model.graph.initializers.insert("huge".into(), shape);
        model.graph.nodes.insert(0, Node::new("ConstantOfShape", "fill", &["huge"], &["f"]).with("value", value));
        model.graph.nodes.push(Node::new("Add", "add", &["y", "f"], &["z"]));
        model.graph.outputs[0].name = "z".into();
        assert_ne!(refusal(&model), "", "{elements} elements");
    }
}

#[test]
fn external_data_and_not_quite_files_are_refused() {
    let dir = std::env::temp_dir();
    let error = Model::read(&dir).unwrap_err().to_string();
    assert!(error.contains("is a folder"), "{error}");
    let error = Model::read("/no/such/student.onnx").unwrap_err().to_string();
    assert!(error.contains("/no/such/student.onnx"), "{error}");
    for garbage in [&b""[..], b"not a model", &[0xff; 64]] {
        assert!(Model::parse(garbage, Path::new("garbage.onnx")).is_err());
    }
}

#[test]
fn a_dilation_far_into_the_padding_is_computed_or_refused() {
    // Two taps a row, the first in the padding: of a small one ours computes the output, of an absurd one nobody makes a copy.
    for far in [1 << 10, 1 << 20, 1 << 31, 1 << 40, i64::MAX / 2] {
        let mut model = valid();
        model.graph.initializers.insert("w".to_owned(), Tensor::f32(&[3, 2, 2, 2], vec![0.1; 24]));
        let conv = model.graph.nodes[0].clone();
        model.graph.nodes[0] =
            conv.with("dilations", Attribute::Ints(vec![1, far])).with("pads", Attribute::Ints(vec![0, far, 0, 0]));
        let error = refusal(&model);
        if far == 1 << 10 {
            assert_eq!(error, "");
            let mut y = [0.0; 3];
            Student::load(&model).unwrap().worker().unwrap().run(&[1.0; 32], &mut y).unwrap();
            // Each output sums the second tap of two rows of two channels.
            assert!(y.iter().all(|y| (y - 0.4).abs() < 1e-6), "{y:?}");
        }
    }
}

#[test]
fn a_model_that_plans_more_than_it_may_is_refused_before_it_is_prepared() {
    let model = valid();
    let load = |planned: u64| Student::load_within(&model, limbeck_engine::Isa::PORTABLE, planned).map(|_| ());
    // x, c and y of one sample: (2 + 3) * 4 * 4 + 3 floats, and constants.
    load(1 << 20).unwrap();
    let error = load(300).unwrap_err().to_string();
    assert!(error.contains("300 bytes that a model may plan here"), "{error}");
}
