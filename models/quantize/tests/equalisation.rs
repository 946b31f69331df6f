//! Equalisation is the same function in float and a better one in int8.

mod common;

use common::{Pictures, scale, shift};
use limbeck_engine::normalise;
use limbeck_engine::onnx::{Model, Node, Tensor};
use limbeck_quantize::{QuantizeOptions, equalise};
use limbeck_zoo::{Plan, Stage, build};

/// A separable net: pairs through `Relu` into a depthwise and a full convolution, and through the average into `Gemm`.
fn separable() -> Model {
    let stages = vec![Stage::Separable { channels: 8, stride: 1 }, Stage::Separable { channels: 8, stride: 2 }];
    let mut model = build(&Plan { classes: 4, stem: 6, stages }, 8, 7);
    for bias in ["stem.bias", "stage1.depthwise.bias", "stage1.pointwise.bias", "stage2.depthwise.bias"] {
        shift(&mut model, bias, |c| (c as f32 * 0.7).sin() * 0.1);
    }
    model
}

/// The same function with channels between layers scaled by 1 to 1/256: what training without weight decay may leave.
fn uneven() -> Model {
    let mut model = separable();
    let factor = |c: usize| (1 << (c % 5 * 2)) as f32;
    scale(&mut model, "stem.weight", |at| 1.0 / factor(at / 27));
    scale(&mut model, "stem.bias", |c| 1.0 / factor(c));
    scale(&mut model, "stage1.depthwise.weight", |at| factor(at / 9));
    scale(&mut model, "stage2.depthwise.weight", |at| 1.0 / factor(at / 9));
    scale(&mut model, "stage2.depthwise.bias", |c| 1.0 / factor(c));
    scale(&mut model, "stage2.pointwise.weight", |at| factor(at % 8));
    model
}

/// The largest difference between two models' outputs, relative to the largest output.
fn furthest(pictures: &Pictures, a: &Model, b: &Model) -> f32 {
    let (a, b) = (pictures.outputs(a), pictures.outputs(b));
    let largest = a.iter().flatten().fold(0f32, |m, v| m.max(v.abs()));
    a.iter().flatten().zip(b.iter().flatten()).fold(0f32, |m, (a, b)| m.max((a - b).abs())) / largest
}

/// f32 rounding of as many sums as these nets have layers.
const ROUNDING: f32 = 1e-5;

#[test]
fn the_float_function_is_unchanged() {
    let pictures = Pictures::new(8, 12);
    for (name, model, pairs) in [("even", separable(), 5), ("uneven", uneven(), 5)] {
        let (equal, found) = equalise(&normalise(&model).unwrap()).unwrap();
        assert_eq!(found, pairs, "{name}");
        assert_ne!(equal.graph.initializers, normalise(&model).unwrap().graph.initializers, "{name}: nothing was done");
        let off = furthest(&pictures, &model, &equal);
        assert!(off < ROUNDING, "{name}: {off}");
    }
}

#[test]
fn both_sides_of_a_pair_end_with_the_same_range() {
    let (equal, _) = equalise(&normalise(&uneven()).unwrap()).unwrap();
    let largest = |name: &str, channel: &dyn Fn(usize) -> usize, channels: usize| {
        let mut range = vec![0f32; channels];
        let values = equal.graph.initializers[name].as_f32().unwrap();
        values.iter().enumerate().for_each(|(at, w)| range[channel(at)] = range[channel(at)].max(w.abs()));
        range
    };
    let rows = largest("stem.weight", &|at| at / 27, 6);
    let columns = largest("stage1.depthwise.weight", &|at| at / 9, 6);
    for (r, c) in rows.iter().zip(&columns) {
        assert!((r / c - 1.0).abs() < 0.01, "{rows:?} {columns:?}");
    }
}

#[test]
fn uneven_channels_quantize_as_well_as_even_ones() {
    let pictures = Pictures::new(8, 32);
    let model = uneven();
    let noise = |equalise| {
        let options = QuantizeOptions { equalise, ..QuantizeOptions::default() };
        let quantized = pictures.quantize(&model, &options).unwrap();
        assert_eq!(quantized.equalised, if equalise { 5 } else { 0 });
        pictures.differences(&model, &quantized.model).0
    };
    let (without, with) = (noise(false), noise(true));
    assert!(with * 4.0 < without, "squared error {without:.3e} without, {with:.3e} with");
}

#[test]
fn a_clip_or_a_second_reader_or_an_output_between_two_layers_ends_the_pair() {
    let pairs = |model: &Model| equalise(&normalise(model).unwrap()).unwrap();
    let mut clipped = separable();
    let relu = clipped.graph.nodes.iter().position(|n| n.name == "stem.relu").unwrap();
    clipped.graph.nodes[relu] = Node::new("Clip", "stem.relu6", &["stem.out", "zero", "six"], &["stem.relu.out"]);
    clipped.graph.initializers.insert("zero".into(), Tensor::scalar(0.0));
    clipped.graph.initializers.insert("six".into(), Tensor::scalar(6.0));
    let (equal, found) = pairs(&clipped);
    assert_eq!(found, 4);
    assert_eq!(equal.graph.initializers["stem.weight"], clipped.graph.initializers["stem.weight"]);

    let mut read_twice = separable();
    let at = read_twice.graph.nodes.iter().position(|n| n.name == "stage1.depthwise").unwrap();
    read_twice.graph.nodes.insert(at, Node::new("Sigmoid", "tap", &["stem.relu.out"], &["tap"]));
    read_twice.graph.outputs.push(limbeck_engine::onnx::Value::f32("tap", vec![]));
    assert_eq!(pairs(&read_twice).1, 4);

    let mut output = separable();
    output.graph.outputs.push(limbeck_engine::onnx::Value::f32("stem.out", vec![]));
    assert_eq!(pairs(&output).1, 4);
}

#[test]
fn a_channel_without_weights_stays_as_it_is() {
    let pictures = Pictures::new(8, 4);
    let mut model = separable();
    scale(&mut model, "stem.weight", |at| if at / 27 == 2 { 0.0 } else { 1.0 });
    scale(&mut model, "stage2.pointwise.weight", |at| if at % 8 == 1 { 0.0 } else { 1.0 });
    let (equal, _) = equalise(&normalise(&model).unwrap()).unwrap();
    let finite = |t: &Tensor| t.as_f32().is_none_or(|v| v.iter().all(|v| v.is_finite()));
    assert!(equal.graph.initializers.values().all(finite));
    assert!(furthest(&pictures, &model, &equal) < ROUNDING);
}
