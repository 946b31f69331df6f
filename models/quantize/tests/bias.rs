//! Bias correction takes the mean error out of every output.

mod common;

use common::{Pictures, shift};
use limbeck_engine::onnx::{Data, Model};
use limbeck_quantize::{QuantizeOptions, Quantized};
use limbeck_zoo::{Plan, Stage, build};

fn residual() -> Model {
    let stages = vec![Stage::Residual { channels: 8, stride: 2 }, Stage::Separable { channels: 12, stride: 2 }];
    let mut model = build(&Plan { classes: 4, stem: 6, stages }, 8, 3);
    shift(&mut model, "stage1.a.bias", |c| c as f32 * 0.05 - 0.1);
    model
}

fn quantized(pictures: &Pictures, bias_correction: bool, threads: usize) -> Quantized {
    let options = QuantizeOptions { bias_correction, threads, ..QuantizeOptions::default() };
    pictures.quantize(&residual(), &options).unwrap()
}

#[test]
fn the_mean_of_every_output_is_that_of_the_float_student() {
    let pictures = Pictures::new(8, 48);
    let means = |correct| pictures.differences(&residual(), &quantized(&pictures, correct, 2).model).1;
    let (without, with) = (means(false), means(true));
    let sum = |means: &[f64]| means.iter().map(|m| m.abs()).sum::<f64>();
    assert!(sum(&with) * 3.0 < sum(&without), "without {without:?}, with {with:?}");
}

#[test]
fn only_biases_and_what_follows_from_them_change() {
    let pictures = Pictures::new(8, 16);
    let (without, with) = (quantized(&pictures, false, 2), quantized(&pictures, true, 2));
    assert_eq!((without.corrected, with.corrected), (0, 7));
    let mut biases = 0;
    for (name, tensor) in &with.model.graph.initializers {
        match &tensor.data {
            Data::I32(_) if name.ends_with("bias/q") => {
                biases += usize::from(*tensor != without.model.graph.initializers[name])
            }
            _ => assert_eq!(*tensor, without.model.graph.initializers[name], "{name}"),
        }
    }
    assert!(biases > 3, "{biases} biases moved");
}

#[test]
fn the_number_of_threads_changes_nothing() {
    let pictures = Pictures::new(8, 23);
    let bytes = |threads| quantized(&pictures, true, threads).model.emit();
    let one = bytes(1);
    assert!([2, 3, 8].into_iter().all(|threads| bytes(threads) == one));
}
