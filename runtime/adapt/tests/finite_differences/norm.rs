//! Softmax and normalisations.

use limbeck_engine::onnx::Attribute;

use crate::builder::{Builder, node};
use crate::check::check;

fn axis(axis: i64) -> Attribute {
    Attribute::Int(axis)
}

#[test]
fn softmax_over_any_axis() {
    for op in ["Softmax", "LogSoftmax"] {
        for at in [1, 2, -1] {
            let mut b = Builder::new(&[2, 5, 4]);
            b.conv3(2, 4).op(node(op).with("axis", axis(at)), &[]);
            check(&format!("{op} over axis {at}"), b.finish(80));
        }
    }
}

#[test]
fn layer_norm_trains_scale_and_shift() {
    for (at, dims) in [(-1, &[6][..]), (-2, &[5, 6])] {
        let mut b = Builder::new(&[2, 5, 6]);
        b.conv3(2, 4);
        let (scale, shift) = (b.weight(dims), b.weight(dims));
        b.op(node("LayerNormalization").with("axis", axis(at)), &[&scale, &shift]);
        check(&format!("LayerNormalization from axis {at}"), b.finish(120));
    }
    // Scales of one and shifts of zero must not vanish.
    let mut b = Builder::new(&[2, 5, 6]);
    b.conv3(2, 4);
    let (scale, shift) = (b.constant(&[6], &[1.0; 6]), b.constant(&[6], &[0.0; 6]));
    b.op(node("LayerNormalization").with("axis", axis(-1)), &[&scale, &shift]).unary("Tanh");
    check("LayerNormalization at its start", b.finish(120));
}

#[test]
fn other_normalisations() {
    let mut b = Builder::new(&[2, 5, 6]);
    b.conv3(2, 4);
    let (scale, shift) = (b.weight(&[4]), b.weight(&[4]));
    b.op(node("InstanceNormalization"), &[&scale, &shift]);
    check("InstanceNormalization", b.finish(120));

    let mut b = Builder::new(&[2, 5, 6]);
    b.opset = 23;
    b.conv3(2, 4);
    let scale = b.weight(&[6]);
    b.op(node("RMSNormalization").with("axis", axis(-1)), &[&scale]);
    check("RMSNormalization", b.finish(120));

    // x / ‖x‖₂ by channel, spelt out.
    let mut b = Builder::new(&[2, 5, 6]);
    b.conv3(2, 4);
    let (x, axes) = (b.last.clone(), b.integers(&[1]));
    b.op(node("ReduceL2"), &[&axes]);
    let norm = b.last.clone();
    b.reading(node("Div"), &[&x, &norm]);
    check("L2 norm", b.finish(120));
}
