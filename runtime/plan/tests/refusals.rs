//! What `emit` refuses, and that it says where.
#![cfg(feature = "emit")]

mod common;

use common::{Net, every_op, square};
use limbeck_plan::{EmitError, OpSpec, PlanSpec, Shape, emit};

/// Input 4x4x8, conv 3x3 to 8, add of both.
fn small() -> PlanSpec {
    let mut net = Net::new(1);
    let x = net.tensor([4, 4, 8], 0.1, 5);
    let y = net.conv(x, 8, square(3, 1, 1, 1));
    let sum = net.add(x, y);
    net.spec.inputs = vec![x];
    net.spec.outputs = vec![sum];
    net.spec
}

fn check(change: impl FnOnce(&mut PlanSpec), want: &str) {
    let mut spec = small();
    change(&mut spec);
    let error = emit(&spec).map(|_| ()).unwrap_err();
    assert!(error.to_string().starts_with(want), "{error}");
}

fn conv(spec: &mut PlanSpec) -> (&mut Vec<i8>, &mut Vec<i32>, &mut Vec<f32>, &mut limbeck_plan::ConvGeometry) {
    let OpSpec::Conv { weights, bias, scale, geometry, .. } = &mut spec.ops[0] else { panic!("op 0 is the conv") };
    (weights, bias, scale, geometry)
}

#[test]
fn the_unchanged_specs_are_accepted() {
    assert!(emit(&small()).is_ok());
    assert!(emit(&every_op()).is_ok());
}

#[test]
fn tensors_and_order() {
    check(|s| s.tensors[1].shape.w = 0, "tensor \"t1\": its shape is empty");
    check(
        |s| s.tensors[1].shape = Shape { h: u32::MAX, w: u32::MAX, c: u32::MAX },
        "tensor \"t1\": its shape is empty",
    );
    check(|s| s.tensors[0].scale = 0.0, "tensor \"t0\": its scale");
    check(|s| s.tensors[0].scale = f32::INFINITY, "tensor \"t0\": its scale");
    check(|s| s.tensors[0].scale = 1e-40, "tensor \"t0\": its scale");
    check(|s| s.inputs.clear(), "a plan without inputs");
    check(|s| s.outputs.clear(), "a plan without outputs");
    check(|s| s.outputs[0] = 9, "op \"outputs\" names tensor 9 of 3");
    check(|s| s.inputs.push(0), "op \"inputs\" writes tensor \"t0\"");
    check(|s| s.ops.swap(0, 1), "op \"op1\" needs tensor \"t1\", which nothing has written");
    check(|s| s.ops.truncate(1), "op \"end of the plan\" needs tensor \"t2\"");
    check(|s| s.ops.push(s.ops[0].clone()), "op \"op0\" writes tensor \"t1\", which is written already");
}

#[test]
fn shapes_and_geometry() {
    check(|s| s.tensors[1].shape.c = 9, "op \"op0\", tensor \"t1\": 576 weights where 648 are needed");
    check(|s| s.tensors[1].shape.h = 5, "op \"op0\": tensor \"t1\" is 5x4x8 (h w c), the op makes it 4x4x8 (h w c)");
    check(|s| s.tensors[2].shape.h = 5, "op \"op1\": tensor \"t0\" is 4x4x8");
    check(|s| conv(s).3.groups = 3, "op \"op0\", tensor \"t1\": its groups do not divide");
    check(|s| conv(s).3.groups = 0, "op \"op0\", tensor \"t1\": its groups do not divide");
    check(|s| conv(s).3.stride = [0, 1], "op \"op0\", tensor \"t1\": its window does not fit");
    check(|s| conv(s).3.kernel = [7, 7], "op \"op0\", tensor \"t1\": its window does not fit");
    check(|s| conv(s).3.pad = [70_000, 1, 1, 1], "op \"op0\", tensor \"t1\": its geometry has a number above 65,535");
    check(|s| conv(s).1.truncate(7), "op \"op0\", tensor \"t1\": 7 bias where 8 are needed");
    check(|s| conv(s).2.truncate(7), "op \"op0\", tensor \"t1\": 7 scales where 8 are needed");
}

#[test]
fn arithmetic_out_of_range() {
    check(|s| conv(s).1[3] = i32::MAX, "op \"op0\", tensor \"t1\", channel 3: the accumulator may reach");
    check(|s| conv(s).1[3] = i32::MIN, "op \"op0\", tensor \"t1\", channel 3: the accumulator may reach");
    check(|s| conv(s).2[2] = 0.0, "op \"op0\", tensor \"t1\", channel 2: multiplier 0e0");
    check(|s| conv(s).2[2] = -0.1, "op \"op0\", tensor \"t1\", channel 2: multiplier -");
    check(|s| conv(s).2[2] = f32::NAN, "op \"op0\", tensor \"t1\", channel 2: multiplier NaN");
    check(|s| conv(s).2[2] = 1e-39, "op \"op0\", tensor \"t1\", channel 2: multiplier");
    check(|s| s.tensors[2].scale = 1e6, "op \"op1\", tensor \"t2\": its scales are too far apart to add");
    check(|s| s.tensors[2].scale = 1e-9, "op \"op1\", tensor \"t2\": its scales are too far apart to add");
}

#[test]
fn data_movement_keeps_its_scale() {
    let mut spec = every_op();
    let (concat, y) = spec
        .ops
        .iter()
        .find_map(|op| match op {
            OpSpec::Concat { name, y, .. } => Some((name.clone(), *y)),
            _ => None,
        })
        .unwrap();
    spec.tensors[y].zero += 1;
    let EmitError::Op { op, fault, .. } = emit(&spec).unwrap_err() else { panic!("another error") };
    assert_eq!(op, concat);
    assert!(fault.contains("one scale"));
}

/// Input 4x4x8, then one op of the new tensor `y`.
fn one(shape: [u32; 3], op: impl FnOnce(String, usize, usize) -> OpSpec) -> PlanSpec {
    let mut net = Net::new(2);
    let x = net.tensor([4, 4, 8], 0.1, 5);
    let y = net.tensor(shape, 0.1, 5);
    let op = op(net.name(), x, y);
    net.spec.ops.push(op);
    net.spec.inputs = vec![x];
    net.spec.outputs = vec![y];
    net.spec
}

#[test]
fn products_pads_and_resizes() {
    let refused = |spec: PlanSpec, want: &str| {
        let error = emit(&spec).map(|_| ()).unwrap_err();
        assert!(error.to_string().contains(want), "{error}");
    };
    let mul = |shape| one(shape, |name, x, y| OpSpec::Mul { name, a: x, b: x, y });
    assert!(emit(&mul([4, 4, 8])).is_ok());
    refused(mul([1, 1, 8]), "is 4x4x8 (h w c), the op makes it 1x1x8");
    let mut far = mul([4, 4, 8]);
    far.tensors[0].scale = 1e-25;
    refused(far, "its scales are too far apart to multiply");

    let pad = |shape, pad| one(shape, |name, x, y| OpSpec::Pad { name, x, y, pad, value: 0 });
    assert!(emit(&pad([7, 6, 8], [1, 0, 2, 2])).is_ok());
    refused(pad([7, 6, 8], [1, 0, 2, 1]), "is 7x6x8 (h w c), the op makes it 7x5x8");
    refused(pad([7, 6, 8], [70_000, 0, 0, 0]), "a number above 65,535");
    let mut other = pad([4, 4, 8], [0; 4]);
    other.tensors[0].zero += 1;
    refused(other, "one scale");

    let resize = |shape, rows: &[u16], columns: &[u16]| {
        one(shape, |name, x, y| OpSpec::Resize { name, x, y, rows: rows.into(), columns: columns.into() })
    };
    assert!(emit(&resize([2, 3, 8], &[3, 0], &[0, 0, 3])).is_ok());
    refused(resize([2, 3, 8], &[4, 0], &[0, 0, 3]), "reads a row or column that it has not");
    refused(resize([2, 3, 8], &[3, 0], &[0, 0, 4]), "reads a row or column that it has not");
    refused(resize([2, 3, 8], &[3], &[0, 0, 3]), "is 2x3x8 (h w c), the op makes it 1x3x8");
    refused(resize([2, 3, 9], &[3, 0], &[0, 0, 3]), "is 2x3x9 (h w c), the op makes it 2x3x8");
}
