//! Blocks of the networks that students are: what a single operator does not show.

use limbeck_engine::onnx::Attribute;

use crate::builder::{Builder, Window, ints, node};
use crate::check::check;

#[test]
fn residuals_gates_and_joins() {
    let mut b = Builder::new(&[4, 5, 5]);
    b.conv3(4, 4).unary("Relu");
    let skip = b.last.clone();
    b.conv3(4, 4).op(node("Add"), &[&skip]).unary("Relu");
    check("residual", b.finish(100));

    let mut b = Builder::new(&[4, 5, 5]);
    b.conv3(4, 4);
    let features = b.last.clone();
    b.unary("GlobalAveragePool").conv([4, 4, 1, 1], Window::POINT).unary("Sigmoid");
    b.op(node("Mul"), &[&features]);
    check("squeeze and excite", b.finish(100));

    let mut b = Builder::new(&[4, 5, 5]);
    b.conv3(4, 4);
    let left = b.last.clone();
    b.conv3(4, 4).op(node("Sub"), &[&left]);
    check("sub", b.finish(100));
}

#[test]
fn a_mobile_net_v3_block() {
    let mut b = Builder::new(&[3, 8, 8]);
    b.conv([4, 3, 3, 3], Window { stride: [2; 2], ..Window::SAME }).unary("HardSwish");
    let skip = b.last.clone();
    b.conv([8, 4, 1, 1], Window::POINT).unary("HardSwish");
    b.conv([8, 1, 5, 5], Window { pads: [2; 4], group: 8, ..Window::POINT }).unary("HardSwish");
    let features = b.last.clone();
    b.unary("GlobalAveragePool").conv([4, 8, 1, 1], Window::POINT).unary("Relu");
    b.conv([8, 4, 1, 1], Window::POINT).unary("HardSigmoid").op(node("Mul"), &[&features]);
    b.conv([4, 8, 1, 1], Window::POINT).op(node("Add"), &[&skip]);
    check("MobileNetV3 block", b.finish(4 * 16));
}

/// Down by max pooling, up again, joined with what was before.
fn u_net(up: impl FnOnce(&mut Builder)) -> limbeck_engine::onnx::Model {
    let mut b = Builder::new(&[2, 8, 8]);
    b.conv3(2, 4).unary("Relu");
    let skip = b.last.clone();
    b.op(node("MaxPool").with("kernel_shape", ints(&[2, 2])).with("strides", ints(&[2, 2])), &[]);
    b.conv3(4, 8).unary("Relu");
    up(&mut b);
    b.op(node("Concat").with("axis", Attribute::Int(1)), &[&skip]).conv3(8, 3).unary("Sigmoid");
    b.finish(3 * 64)
}

#[test]
fn u_nets() {
    let transposed = u_net(|b| {
        let (w, bias) = (b.weight(&[8, 4, 2, 2]), b.weight(&[4]));
        b.op(node("ConvTranspose").with("strides", ints(&[2, 2])), &[&w, &bias]);
    });
    check("U-Net, transposed convolution", transposed);
    for (mode, coordinates) in [("nearest", "asymmetric"), ("linear", "half_pixel")] {
        let resized = u_net(|b| {
            let scales = b.constant(&[4], &[1.0, 1.0, 2.0, 2.0]);
            let bytes = |s: &str| Attribute::Bytes(s.as_bytes().to_vec());
            let resize = node("Resize")
                .with("mode", bytes(mode))
                .with("nearest_mode", bytes("floor"))
                .with("coordinate_transformation_mode", bytes(coordinates));
            b.op(resize, &["", &scales]).conv([4, 8, 1, 1], Window::POINT);
        });
        check(&format!("U-Net, {mode}"), resized);
    }
}

#[test]
fn a_detection_head_on_two_scales() {
    // As in SSD and FCOS: class scores and boxes of each scale, reshaped to rows, all rows one after the other.
    let mut b = Builder::new(&[3, 8, 8]);
    b.conv3(3, 4).unary("Relu");
    let fine = b.last.clone();
    b.conv([6, 4, 3, 3], Window { stride: [2; 2], ..Window::SAME }).unary("Relu");
    let coarse = b.last.clone();
    let mut rows = vec![];
    for (features, channels) in [(fine, 4), (coarse, 6)] {
        for (outputs, is_box) in [(3, false), (4, true)] {
            let (w, bias) = (b.weight(&[outputs, channels, 3, 3]), b.weight(&[outputs]));
            b.reading(Window::SAME.on(node("Conv")), &[&features, &w, &bias]);
            if is_box {
                b.unary("Exp");
            }
            let shape = b.integers(&[0, -1, outputs as i64]);
            b.op(node("Transpose").with("perm", ints(&[0, 2, 3, 1])), &[]).op(node("Reshape"), &[&shape]);
            rows.push(b.last.clone());
        }
    }
    let classes = node("Concat").with("axis", Attribute::Int(1));
    b.reading(classes.clone(), &[&rows[0], &rows[2]]);
    let scores = b.last.clone();
    b.reading(classes, &[&rows[1], &rows[3]]).op(node("Concat").with("axis", Attribute::Int(2)), &[&scores]);
    check("detection head", b.finish(80 * 7));
}

#[test]
fn attention() {
    // (T, D) tokens of a 1 × 1 convolution; q, k, v by matrix products; softmax(q·kᵀ / √d)·v; heads by reshape.
    let (heads, d, tokens) = (2, 4, 9);
    let mut b = Builder::new(&[3, 3, 3]);
    b.conv([8, 3, 1, 1], Window::POINT);
    let flat = b.integers(&[0, 8, 9]);
    b.op(node("Reshape"), &[&flat]).op(node("Transpose").with("perm", ints(&[0, 2, 1])), &[]);
    let position = b.weight(&[1, tokens, 8]);
    b.op(node("Add"), &[&position]);
    let (scale, shift) = (b.weight(&[8]), b.weight(&[8]));
    b.op(node("LayerNormalization").with("axis", Attribute::Int(-1)), &[&scale, &shift]);
    let x = b.last.clone();
    let mut qkv = vec![];
    for perm in [[0, 2, 1, 3], [0, 2, 3, 1], [0, 2, 1, 3]] {
        let (w, bias) = (b.weight(&[8, 8]), b.weight(&[8]));
        let split = b.integers(&[0, tokens as i64, heads, d]);
        b.reading(node("MatMul"), &[&x, &w]).op(node("Add"), &[&bias]).op(node("Reshape"), &[&split]);
        b.op(node("Transpose").with("perm", ints(&perm)), &[]);
        qkv.push(b.last.clone());
    }
    let root = b.constant(&[], &[(d as f32).sqrt()]);
    b.reading(node("MatMul"), &[&qkv[0], &qkv[1]]).op(node("Div"), &[&root]);
    b.op(node("Softmax").with("axis", Attribute::Int(-1)), &[]).op(node("MatMul"), &[&qkv[2]]);
    let merged = b.integers(&[0, tokens as i64, heads * d]);
    b.op(node("Transpose").with("perm", ints(&[0, 2, 1, 3])), &[]).op(node("Reshape"), &[&merged]);
    b.op(node("Add"), &[&x]).unary("Gelu");
    check("attention", b.finish(tokens * 8));
}

#[test]
fn products_by_einsum() {
    // (equation, shape of the second operand, outputs); x is (1, 4, 5, 6). Axes that only one operand has are summed.
    let cases: [(&str, &[usize], usize); 5] = [
        ("nchw,dc->ndhw", &[3, 4], 3 * 30),
        ("nchw,dc->nd", &[3, 4], 3),
        ("nchw,hwk->nck", &[5, 6, 2], 8),
        ("nchw,ckd->nd", &[4, 3, 2], 2),
        ("nchw,c->nchw", &[4], 120),
    ];
    for (equation, dims, outputs) in cases {
        let mut b = Builder::new(&[2, 5, 6]);
        b.conv3(2, 4);
        let w = b.weight(dims);
        b.op(node("Einsum").with("equation", Attribute::Bytes(equation.as_bytes().to_vec())), &[&w]);
        check(equation, b.finish(outputs));
    }
    // Both operands computed.
    let mut b = Builder::new(&[2, 5, 6]);
    b.conv3(2, 4);
    let x = b.last.clone();
    b.conv3(4, 3);
    let y = b.last.clone();
    b.reading(node("Einsum").with("equation", Attribute::Bytes(b"nchw,ndhv->ndc".to_vec())), &[&x, &y]);
    check("Einsum of two values", b.finish(12));
}

#[test]
fn batch_norm_that_cannot_be_folded() {
    // Behind a transposed convolution, and before an activation: a scale and a shift that are not trained.
    let mut b = Builder::new(&[2, 4, 4]);
    let (w, bias) = (b.weight(&[2, 4, 2, 2]), b.weight(&[4]));
    b.op(node("ConvTranspose").with("strides", ints(&[2, 2])), &[&w, &bias]);
    let (scale, shift) = (b.constant(&[4], &[0.5, 2.0, -1.0, 1.5]), b.constant(&[4], &[0.1, -0.2, 0.3, 0.0]));
    let (mean, variance) = (b.constant(&[4], &[0.1, 0.2, -0.1, 0.0]), b.constant(&[4], &[1.0, 0.5, 2.0, 0.3]));
    b.op(node("BatchNormalization"), &[&scale, &shift, &mean, &variance]).unary("Relu");
    check("BatchNormalization", b.finish(4 * 64));
}

#[test]
fn operators_of_several_inputs() {
    for op in ["Sum", "Mean", "Max", "Min"] {
        let mut b = Builder::new(&[2, 5, 6]);
        let values: Vec<String> = (0..3)
            .map(|_| {
                b.last = "x".into();
                b.conv3(2, 4);
                b.last.clone()
            })
            .collect();
        b.reading(node(op), &[&values[0], &values[1], &values[2]]);
        check(&format!("{op} of three"), b.finish(120));
    }
}
