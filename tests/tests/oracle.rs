//! Our integers against onnxruntime's, on models that our quantizer wrote.
//!
//! `tests/golden` holds each model with what onnxruntime computed from it (`make.py` there says how it was run). No
//! Python is needed here. Outputs are equal bit for bit.
//!
//! Sums are the one place where that is not a law: onnxruntime's QLinearAdd works in f32 and in an order that depends on
//! the CPU, ours in integers, so a sum that falls on a half may be one step away. In the recorded files, and in 300
//! samples a model (115,200 sums in `add`), none is; files recorded elsewhere may need `add` and `residual_net` with
//! another seed.

use std::path::{Path, PathBuf};

use limbeck_engine::Student;
use limbeck_engine::onnx::Model;
use serde::Deserialize;

/// `<name>.json`.
#[derive(Deserialize)]
struct Golden {
    pixels: Vec<Vec<u8>>,
    integers: Vec<Vec<i32>>,
    scale: f32,
    operators: Vec<String>,
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("golden")
}

/// The model `name` gives onnxruntime's output.
fn agrees(name: &str) {
    let path = folder().join(format!("{name}.onnx"));
    let json = std::fs::read_to_string(path.with_extension("json")).expect("the golden file");
    let golden: Golden = serde_json::from_str(&json).expect("what make.py writes");
    let float = ["Conv", "Gemm", "MatMul", "Add", "GlobalAveragePool", "AveragePool", "Concat", "Mul"];
    assert!(golden.operators.iter().all(|op| !float.contains(&op.as_str())), "onnxruntime ran {:?}", golden.operators);

    let student = Student::load(&Model::read(&path).expect("a model")).expect("a student");
    assert_eq!(student.float_nodes(), [], "{name}");
    let mut worker = student.worker().unwrap();
    let mut logits = vec![0.0; student.output_len()];
    assert!(!golden.pixels.is_empty() && golden.pixels.len() == golden.integers.len(), "{name}");
    for (sample, (pixels, integers)) in golden.pixels.iter().zip(&golden.integers).enumerate() {
        let x: Vec<f32> = pixels.iter().map(|&p| p as f32 / 64.0 - 2.0).collect();
        worker.run(&x, &mut logits).unwrap();
        assert_eq!(logits.len(), integers.len(), "{name}");
        for (at, (&ours, &theirs)) in logits.iter().zip(integers).enumerate() {
            let theirs = theirs as f32 * golden.scale;
            assert_eq!(ours.to_bits(), theirs.to_bits(), "{name}: sample {sample}, value {at}: {ours}, not {theirs}");
        }
    }
}

macro_rules! golden {
    ($($name:ident)*) => {
        $(#[test] fn $name() { agrees(stringify!($name)); })*
        const NAMES: &[&str] = &[$(stringify!($name)),*];
    };
}

golden! {
    conv3x3
    conv3x3_stride2_relu
    conv1x1_stride2
    conv5x5_wide
    depthwise
    depthwise_stride2_relu6
    add
    average_pool
    global_average_pool
    max_pool
    flatten_gemm
    concat
    concat_unequal
    max_pool_unequal
    pad_unequal
    resize_unequal
    constant_nodes
    signed_net
    signed_symmetric
    signed_gate
    no_zero_points
    mul
    squeeze_excite
    gate_first
    silu
    pad
    resize_twice
    resize_uneven
    elu
    softplus
    gelu
    separable_net
    residual_net
}

#[test]
fn every_golden_model_is_compared() {
    let entries = std::fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().path());
    let is_model = |path: &PathBuf| path.extension().is_some_and(|e| e == "onnx");
    let mut found: Vec<String> =
        entries.filter(is_model).map(|path| path.file_stem().unwrap().to_string_lossy().into_owned()).collect();
    let mut named: Vec<&str> = NAMES.to_vec();
    found.sort();
    named.sort_unstable();
    assert_eq!(found, named);
}
