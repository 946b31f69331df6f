//! Random geometries of the operators that have one. The generator's seed is fixed, so every run tries the same cases.

use limbeck_engine::onnx::Attribute;
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use crate::builder::{Builder, Window, ints, node};
use crate::check::try_check;

/// Geometries that are tried, not counting those that are none.
const CASES: u32 = 24;
const NO_CASE: &str = "the window does not fit";

fn for_all<S: Strategy>(strategy: S, test: impl Fn(S::Value) -> Result<(), String>) {
    let config = Config { cases: CASES, failure_persistence: None, max_shrink_iters: 40, ..Config::default() };
    let mut runner = TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &[7; 32]));
    let judged =
        |error: String| if error == NO_CASE { TestCaseError::reject(error) } else { TestCaseError::fail(error) };
    let outcome = runner.run(&strategy, |value| test(value).map_err(judged));
    outcome.unwrap_or_else(|e| panic!("{e}"));
}

/// Height and width of the tested operator's input.
fn size() -> impl Strategy<Value = [usize; 2]> {
    [5usize..9, 5usize..9]
}

fn window() -> impl Strategy<Value = ([usize; 2], Window)> {
    let group = prop_oneof![Just(1), Just(2), Just(4)];
    ([1usize..4, 1usize..4], [1i64..4, 1i64..4], [1i64..3, 1i64..3], [0i64..3, 0i64..3, 0i64..3, 0i64..3], group)
        .prop_map(|(kernel, stride, dilation, pads, group)| (kernel, Window { stride, dilation, pads, group }))
}

/// Length of the axis that a window over `len` gives, if the window fits and every padding is smaller than it.
fn convolved(len: usize, axis: usize, kernel: usize, w: &Window) -> Option<usize> {
    let extent = (kernel - 1) * w.dilation[axis] as usize + 1;
    let padded = len + (w.pads[axis] + w.pads[axis + 2]) as usize;
    let fits = extent <= padded && (w.pads[axis].max(w.pads[axis + 2]) as usize) < extent.max(2);
    fits.then(|| (padded - extent) / w.stride[axis] as usize + 1)
}

#[test]
fn convolutions() {
    for_all((size(), window(), 1usize..3), |([h, w], (kernel, window), per_group)| {
        let (Some(oh), Some(ow)) = (convolved(h, 0, kernel[0], &window), convolved(w, 1, kernel[1], &window)) else {
            return Err(NO_CASE.into());
        };
        let (group, inputs) = (window.group as usize, 4);
        let outputs = group * per_group;
        let mut b = Builder::new(&[2, h, w]);
        b.conv([inputs, 2, 1, 1], Window::POINT).conv([outputs, inputs / group, kernel[0], kernel[1]], window);
        try_check(b.finish(outputs * oh * ow))
    });
}

#[test]
fn transposed_convolutions() {
    for_all((size(), window(), 1usize..3, [0i64..2, 0i64..2]), |([h, w], (kernel, window), per_group, extra)| {
        let (h, w) = (h - 3, w - 3);
        let mut output = [0; 2];
        for (axis, len) in [h, w].into_iter().enumerate() {
            let extra = if extra[axis] < window.stride[axis] { extra[axis] } else { 0 };
            let extent = (kernel[axis] as i64 - 1) * window.dilation[axis] + 1;
            output[axis] =
                (len as i64 - 1) * window.stride[axis] + extent + extra - window.pads[axis] - window.pads[axis + 2];
            if output[axis] < 1 || window.pads[axis].max(window.pads[axis + 2]) >= extent {
                return Err(NO_CASE.into());
            }
        }
        let extra = [0, 1].map(|axis| if extra[axis] < window.stride[axis] { extra[axis] } else { 0 });
        let (group, inputs) = (window.group as usize, 4);
        let outputs = group * per_group;
        let mut b = Builder::new(&[2, h, w]);
        b.conv([inputs, 2, 1, 1], Window::POINT);
        let (weight, bias) = (b.weight(&[inputs, per_group, kernel[0], kernel[1]]), b.weight(&[outputs]));
        b.op(window.on(node("ConvTranspose")).with("output_padding", ints(&extra)), &[&weight, &bias]);
        try_check(b.finish(outputs * (output[0] * output[1]) as usize))
    });
}

#[test]
fn pools() {
    for_all((size(), window(), any::<bool>(), any::<bool>()), |([h, w], (kernel, window), is_max, counted)| {
        let window = Window { dilation: [1; 2], ..window };
        let (Some(oh), Some(ow)) = (convolved(h, 0, kernel[0], &window), convolved(w, 1, kernel[1], &window)) else {
            return Err(NO_CASE.into());
        };
        if (0..4).any(|i| window.pads[i] >= kernel[i % 2] as i64) {
            return Err(NO_CASE.into());
        }
        let mut b = Builder::new(&[2, h, w]);
        b.conv([3, 2, 1, 1], Window::POINT);
        let op = if is_max { "MaxPool" } else { "AveragePool" };
        let mut pool = node(op)
            .with("kernel_shape", ints(&kernel.map(|k| k as i64)))
            .with("strides", ints(&window.stride))
            .with("pads", ints(&window.pads));
        if !is_max {
            pool = pool.with("count_include_pad", Attribute::Int(counted.into()));
        }
        b.op(pool, &[]);
        try_check(b.finish(3 * oh * ow))
    });
}

#[test]
fn broadcasting_on_either_side() {
    // Each axis of each operand is whole or 1; both operands are computed from x.
    let whole = || proptest::array::uniform3(any::<bool>());
    let ops = prop_oneof![Just("Add"), Just("Sub"), Just("Mul"), Just("Div"), Just("Max"), Just("Min")];
    for_all((ops, whole(), whole()), |(op, left, right)| {
        let full = [4usize, 3, 5];
        let mut b = Builder::new(&[4, 3, 5]);
        let mut operands = vec![];
        for keep in [left, right] {
            b.last = "x".into();
            b.conv([4, 4, 1, 1], Window::POINT);
            let reduced: Vec<i64> = (0..3).filter(|&axis| !keep[axis]).map(|axis| axis as i64 + 1).collect();
            if !reduced.is_empty() {
                let axes = b.integers(&reduced);
                b.op(node("ReduceMean"), &[&axes]);
            }
            if op == "Div" {
                b.unary("Sigmoid");
            }
            operands.push(b.last.clone());
        }
        b.reading(node(op), &[&operands[0], &operands[1]]);
        let outputs = (0..3).map(|axis| if left[axis] || right[axis] { full[axis] } else { 1 }).product();
        try_check(b.finish(outputs))
    });
}

#[test]
fn margins_and_interpolation() {
    let modes = prop_oneof![Just("constant"), Just("edge"), Just("reflect")];
    let pads = proptest::array::uniform4(0i64..4);
    let to = [2usize..12, 2usize..12];
    for_all((size(), modes, pads, to), |([h, w], mode, pads, to)| {
        let mut b = Builder::new(&[2, h, w]);
        b.conv([3, 2, 1, 1], Window::POINT);
        let amounts = b.integers(&[0, 0, pads[0], pads[1], 0, 0, pads[2], pads[3]]);
        b.op(node("Pad").with("mode", Attribute::Bytes(mode.as_bytes().to_vec())), &[&amounts]);
        let sizes = b.integers(&[1, 3, to[0] as i64, to[1] as i64]);
        let linear = Attribute::Bytes(b"linear".to_vec());
        b.op(node("Resize").with("mode", linear), &["", "", &sizes]);
        try_check(b.finish(3 * to[0] * to[1]))
    });
}
