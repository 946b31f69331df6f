//! Functions of one value, of two, and choices.

use limbeck_engine::onnx::{Attribute, Node};

use crate::builder::{Builder, Window, node};
use crate::check::check;

fn features() -> Builder {
    let mut b = Builder::new(&[2, 5, 5]);
    b.conv3(2, 4);
    b
}

#[test]
fn functions_of_one_value() {
    // What comes before makes the values positive, where the function wants that.
    let cases: [&[&str]; 30] = [
        &["Relu"],
        &["Sigmoid"],
        &["Tanh"],
        &["HardSwish"],
        &["LeakyRelu"],
        &["HardSigmoid"],
        &["Abs"],
        &["Exp"],
        &["Exp", "Sqrt"],
        &["Exp", "Reciprocal"],
        &["Exp", "Sqrt", "Reciprocal"],
        &["Sigmoid", "Log"],
        &["Neg"],
        &["Erf"],
        &["Softplus"],
        &["Elu"],
        &["Selu"],
        &["Celu"],
        &["Mish"],
        &["Gelu"],
        &["Softsign"],
        &["Sin"],
        &["Cos"],
        &["Sinh"],
        &["Cosh"],
        &["Asinh"],
        &["Atan"],
        &["Identity", "Tanh"],
        &["ThresholdedRelu"],
        &["Shrink"],
    ];
    for ops in cases {
        let mut b = features();
        for op in ops {
            let alpha = if *op == "ThresholdedRelu" { 0.1 } else { 0.7 };
            let n = match *op {
                "Elu" | "Celu" | "ThresholdedRelu" => node(op).with("alpha", Attribute::Float(alpha)),
                "Shrink" => node(op).with("lambd", Attribute::Float(0.1)),
                _ => node(op),
            };
            b.op(n, &[]);
        }
        check(&ops.join(", "), b.finish(100));
    }
    let mut b = features();
    b.op(node("Gelu").with("approximate", Attribute::Bytes(b"tanh".to_vec())), &[]);
    check("Gelu by tanh", b.finish(100));
}

#[test]
fn functions_that_exporters_spell_out() {
    // x · sigmoid(x), as PyTorch exports SiLU.
    let mut b = features();
    let x = b.last.clone();
    b.unary("Sigmoid").op(node("Mul"), &[&x]);
    check("SiLU", b.finish(100));

    // ½ · x · (1 + erf(x / √2)), as PyTorch exports GELU before opset 20.
    let mut b = features();
    let x = b.last.clone();
    let (root, one, half) = (b.constant(&[], &[2f32.sqrt()]), b.constant(&[], &[1.0]), b.constant(&[], &[0.5]));
    b.op(node("Div"), &[&root]).unary("Erf").op(node("Add"), &[&one]).op(node("Mul"), &[&x]).op(node("Mul"), &[&half]);
    check("GELU by erf", b.finish(100));

    // ½ · x · (1 + tanh(√(2/π) · (x + 0.044715 · x³)))
    let mut b = features();
    let x = b.last.clone();
    let three = b.constant(&[], &[3.0]);
    let (c, k) = (b.constant(&[], &[0.044715]), b.constant(&[], &[0.797_884_6]));
    let (one, half) = (b.constant(&[], &[1.0]), b.constant(&[], &[0.5]));
    b.op(node("Pow"), &[&three]).op(node("Mul"), &[&c]).op(node("Add"), &[&x]).op(node("Mul"), &[&k]);
    b.unary("Tanh").op(node("Add"), &[&one]);
    let t = b.last.clone();
    b.reading(node("Mul"), &[&x, &half]).op(node("Mul"), &[&t]);
    check("GELU by tanh", b.finish(100));

    // x · min(max(x + 3, 0), 6) / 6
    let mut b = features();
    let x = b.last.clone();
    let (three, low, high) = (b.constant(&[], &[3.0]), b.constant(&[], &[0.0]), b.constant(&[], &[6.0]));
    let six = b.constant(&[], &[6.0]);
    b.op(node("Add"), &[&three]).op(node("Clip"), &[&low, &high]).op(node("Mul"), &[&x]).op(node("Div"), &[&six]);
    check("hard swish", b.finish(100));
}

#[test]
fn clamps() {
    let mut b = features();
    let (low, high) = (b.constant(&[], &[0.0]), b.constant(&[], &[0.6]));
    b.op(node("Clip"), &[&low, &high]);
    check("Clip", b.finish(100));

    // A bound for each channel.
    for op in ["Max", "Min"] {
        let mut b = features();
        let bound = b.constant(&[4, 1, 1], &[-0.3, 0.0, 0.2, 0.4]);
        b.op(node(op), &[&bound]);
        check(&format!("{op} by channel"), b.finish(100));
    }
}

#[test]
fn powers() {
    for (exponent, positive) in [(2.0, false), (3.0, false), (0.5, true), (1.7, true), (-1.0, true)] {
        let mut b = features();
        if positive {
            b.unary("Exp");
        }
        let exponent = b.constant(&[], &[exponent]);
        b.op(node("Pow"), &[&exponent]);
        check(&format!("Pow {exponent}"), b.finish(100));
    }
    // Base and exponent both computed.
    let mut b = features();
    let x = b.last.clone();
    b.conv([4, 4, 1, 1], Window::POINT).unary("Exp").op(node("Pow"), &[&x]);
    check("Pow of two values", b.finish(100));
}

#[test]
fn two_values_broadcast_to_each_other() {
    // The second operand: as large, by channel, by row, one number; computed from x as well.
    let shapes: [(&str, [usize; 4]); 4] =
        [("all", [4, 4, 1, 1]), ("by channel", [4, 4, 5, 5]), ("by pixel", [1, 4, 1, 1]), ("one", [1, 4, 5, 5])];
    for op in ["Add", "Sub", "Mul", "Div", "Max", "Min"] {
        for (name, kernel) in shapes {
            for swapped in [false, true] {
                let mut b = features();
                let x = b.last.clone();
                b.conv(kernel, Window::POINT);
                if op == "Div" {
                    b.unary("Sigmoid"); // away from 0
                }
                let other = b.last.clone();
                if op == "Div" && swapped {
                    b.reading(node("Exp"), &[&x]);
                    let x = b.last.clone();
                    b.reading(node(op), &[&other, &x]);
                } else if swapped {
                    b.reading(node(op), &[&other, &x]);
                } else {
                    b.reading(node(op), &[&x, &other]);
                }
                check(&format!("{op}, {name}, swapped: {swapped}"), b.finish(100));
            }
        }
    }
}

#[test]
fn trained_scales_and_shifts() {
    for op in ["Add", "Mul"] {
        for dims in [&[4, 1, 1][..], &[1, 4, 5, 5], &[5]] {
            let mut b = features();
            let w = b.weight(dims);
            b.op(node(op), &[&w]);
            check(&format!("{op} of a trained {dims:?}"), b.finish(100));
        }
    }
}

#[test]
fn parametric_relu_trains_its_slope() {
    for dims in [&[4, 1, 1][..], &[1]] {
        let mut b = features();
        let slope = b.weight(dims);
        b.op(node("PRelu"), &[&slope]);
        let model = b.finish(100);
        check(&format!("PRelu with slopes {dims:?}"), model);
    }
}

#[test]
fn a_choice_by_a_constant() {
    let mut b = features();
    let x = b.last.clone();
    b.conv([4, 4, 1, 1], Window::POINT);
    let y = b.last.clone();
    let (threshold, ramp) = (b.constant(&[], &[2.5]), b.constant(&[1, 1, 1, 5], &[0.0, 1.0, 2.0, 3.0, 4.0]));
    let test = Node::new("Less", "", &[], &[]);
    b.reading(test, &[&ramp, &threshold]);
    let condition = b.last.clone();
    b.reading(node("Where"), &[&condition, &x, &y]);
    check("Where", b.finish(100));
}
