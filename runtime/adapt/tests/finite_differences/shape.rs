//! Operators that move, drop, repeat, resample or reduce elements.

use limbeck_engine::onnx::{Attribute, Node, Tensor};

use crate::builder::{Builder, ints, node};
use crate::check::check;

/// (name, operator, what else it reads, outputs).
type Case = (&'static str, Node, Vec<Tensor>, usize);

/// Each after a 3 × 3 convolution from 2 to 4 channels, on 5 × 6 pixels.
fn check_all(cases: Vec<Case>) {
    for (name, node, others, outputs) in cases {
        let mut b = Builder::new(&[2, 5, 6]);
        b.conv3(2, 4);
        let names: Vec<String> = (0..others.len()).map(|i| format!("other{i}")).collect();
        for (name, tensor) in names.iter().zip(others) {
            b.graph.initializers.insert(name.clone(), tensor);
        }
        // An empty tensor stands for an input that is left out.
        let inputs: Vec<&str> =
            names.iter().map(|n| if b.graph.initializers[n].is_empty() { "" } else { n.as_str() }).collect();
        b.op(node, &inputs);
        check(name, b.finish(outputs));
    }
}

fn i64s(values: &[i64]) -> Tensor {
    Tensor::i64(values.to_vec())
}

fn text(value: &str) -> Attribute {
    Attribute::Bytes(value.as_bytes().to_vec())
}

#[test]
fn moves() {
    check_all(vec![
        ("Transpose", node("Transpose").with("perm", ints(&[0, 2, 3, 1])), vec![], 120),
        ("Reshape", node("Reshape"), vec![i64s(&[0, 2, 10, 6])], 120),
        ("DepthToSpace", node("DepthToSpace").with("blocksize", Attribute::Int(2)), vec![], 120),
        ("SpaceToDepth", node("SpaceToDepth").with("blocksize", Attribute::Int(1)), vec![], 120),
        ("Slice", node("Slice"), vec![i64s(&[1, 2]), i64s(&[3, 6]), i64s(&[1, 3])], 2 * 5 * 4),
        ("Slice by 2", node("Slice"), vec![i64s(&[0]), i64s(&[6]), i64s(&[3]), i64s(&[2])], 4 * 5 * 3),
        ("Gather", node("Gather").with("axis", Attribute::Int(2)), vec![i64s(&[4, 0, 0, -1, 2])], 4 * 5 * 6),
        ("Expand", node("Expand"), vec![i64s(&[1, 4, 5, 6])], 120),
        ("Tile", node("Tile"), vec![i64s(&[1, 1, 2, 3])], 4 * 10 * 18),
        ("Cast", node("Cast").with("to", Attribute::Int(1)), vec![], 120),
    ]);
}

#[test]
fn margins() {
    let pads = i64s(&[0, 0, 1, 2, 0, 0, 3, 1]);
    let value = || Tensor::scalar(0.25);
    check_all(vec![
        ("Pad by a constant", node("Pad"), vec![pads.clone(), value()], 4 * 9 * 9),
        ("Pad by the edge", node("Pad").with("mode", text("edge")), vec![pads.clone()], 4 * 9 * 9),
        ("Pad by reflection", node("Pad").with("mode", text("reflect")), vec![pads], 4 * 9 * 9),
    ]);
}

#[test]
fn interpolation() {
    let resize = |mode: &str, coordinates: &str| {
        node("Resize").with("mode", text(mode)).with("coordinate_transformation_mode", text(coordinates))
    };
    let none = || Tensor::f32(&[0], vec![]);
    let scales = |h: f32, w: f32| vec![none(), Tensor::f32(&[4], vec![1.0, 1.0, h, w])];
    let floor = || text("floor");
    check_all(vec![
        ("nearest by 2", resize("nearest", "asymmetric").with("nearest_mode", floor()), scales(2.0, 2.0), 4 * 10 * 12),
        ("nearest by 3 and 1", resize("nearest", "asymmetric").with("nearest_mode", floor()), scales(3.0, 1.0), 360),
        ("nearest by 1.6", resize("nearest", "asymmetric").with("nearest_mode", floor()), scales(1.6, 1.5), 4 * 8 * 9),
        ("nearest, half pixels, by 2", resize("nearest", "half_pixel"), scales(2.0, 2.0), 4 * 10 * 12),
        ("bilinear by 2", resize("linear", "half_pixel"), scales(2.0, 2.0), 4 * 10 * 12),
        ("bilinear as PyTorch", resize("linear", "pytorch_half_pixel"), scales(2.0, 2.0), 4 * 10 * 12),
        ("bilinear, corners aligned", resize("linear", "align_corners"), scales(2.0, 1.5), 4 * 10 * 9),
        ("bilinear down", resize("linear", "half_pixel"), scales(0.6, 0.5), 4 * 3 * 3),
        ("bicubic by 2", resize("cubic", "half_pixel"), scales(2.0, 2.0), 4 * 10 * 12),
        ("bilinear to a size", resize("linear", "half_pixel"), vec![none(), none(), i64s(&[1, 4, 7, 11])], 4 * 7 * 11),
    ]);
}

#[test]
fn reductions() {
    let axes = || vec![i64s(&[2, 3])];
    let reduce = |op: &str| node(op);
    let ops = ["ReduceSum", "ReduceMean", "ReduceSumSquare", "ReduceL2", "ReduceL1", "ReduceLogSumExp", "ReduceMax"];
    check_all(ops.map(|op| (op, reduce(op), axes(), 4)).into());
    check_all(vec![
        ("ReduceMin by channel", reduce("ReduceMin"), vec![i64s(&[1])], 30),
        ("ReduceMean, axes dropped", reduce("ReduceMean").with("keepdims", Attribute::Int(0)), axes(), 4),
    ]);
}

#[test]
fn joins_and_splits() {
    let mut b = Builder::new(&[2, 5, 6]);
    b.conv3(2, 4);
    let left = b.last.clone();
    b.conv3(4, 2).op(node("Concat").with("axis", Attribute::Int(1)), &[&left]);
    check("Concat", b.finish(6 * 30));

    // Both halves go on, one through a function; a third output is not used.
    let mut b = Builder::new(&[2, 5, 6]);
    b.conv3(2, 6);
    let parts = b.integers(&[2, 3, 1]);
    b.op(node("Split").with("axis", Attribute::Int(1)), &[&parts]);
    let split = b.graph.nodes.last_mut().unwrap();
    split.outputs = ["a", "b", "c"].map(String::from).into();
    b.reading(node("Sigmoid"), &["b"]).op(node("Concat").with("axis", Attribute::Int(1)), &["a"]);
    check("Split", b.finish(5 * 30));
}
