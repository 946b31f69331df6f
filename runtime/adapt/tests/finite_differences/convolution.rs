//! Convolutions, transposed convolutions, pooling.

use limbeck_engine::onnx::{Attribute, Node};

use crate::builder::{Builder, Window, ints, node};
use crate::check::check;

fn window(stride: i64, dilation: i64, pads: [i64; 4], group: i64) -> Window {
    Window { stride: [stride; 2], dilation: [dilation; 2], pads, group }
}

#[test]
fn convolutions_of_every_geometry() {
    // (name, kernel, window, output size); input 4 × 9 × 8
    type Case = (&'static str, [usize; 4], Window, [usize; 2]);
    let cases: [Case; 13] = [
        ("3x3 same", [5, 4, 3, 3], window(1, 1, [1; 4], 1), [9, 8]),
        ("3x3 valid", [5, 4, 3, 3], window(1, 1, [0; 4], 1), [7, 6]),
        ("3x3 stride 2", [5, 4, 3, 3], window(2, 1, [1; 4], 1), [5, 4]),
        ("3x3 stride 2, padded after only", [5, 4, 3, 3], window(2, 1, [0, 0, 1, 1], 1), [4, 4]),
        ("3x3 dilated", [5, 4, 3, 3], window(1, 2, [2; 4], 1), [9, 8]),
        ("5x3 one-sided", [3, 4, 5, 3], window(1, 1, [3, 0, 1, 2], 1), [9, 8]),
        ("1x1", [6, 4, 1, 1], window(1, 1, [0; 4], 1), [9, 8]),
        ("1x1 stride 2", [6, 4, 1, 1], window(2, 1, [0; 4], 1), [5, 4]),
        ("grouped", [6, 2, 3, 3], window(1, 1, [1; 4], 2), [9, 8]),
        ("grouped stride 2", [6, 2, 3, 3], window(2, 1, [1; 4], 2), [5, 4]),
        ("depthwise", [4, 1, 3, 3], window(1, 1, [1; 4], 4), [9, 8]),
        ("depthwise 5x5 stride 2", [4, 1, 5, 5], window(2, 1, [2; 4], 4), [5, 4]),
        ("depthwise times two", [8, 1, 3, 3], window(1, 1, [1; 4], 4), [9, 8]),
    ];
    for (name, kernel, window, [h, w]) in cases {
        // A 1×1 convolution first, so that the gradient of the tested one's input is tested too.
        let mut b = Builder::new(&[2, 9, 8]);
        b.conv([4, 2, 1, 1], Window::POINT).conv(kernel, window);
        check(name, b.finish(kernel[0] * h * w));
    }
}

#[test]
fn a_wide_depthwise_convolution() {
    // At 16 channels and more tract may choose another layout.
    let mut b = Builder::new(&[3, 8, 8]);
    let depthwise = Window { group: 32, ..Window::SAME };
    b.conv([32, 3, 1, 1], Window::POINT).conv([32, 1, 3, 3], depthwise).conv([4, 32, 1, 1], Window::POINT);
    check("wide depthwise", b.finish(4 * 64));
}

#[test]
fn transposed_convolutions_of_every_geometry() {
    // (name, kernel I O/G h w, window, output padding, output size); input 4 × 4 × 5
    type Case = (&'static str, [usize; 4], Window, [i64; 2], [usize; 2]);
    let cases: [Case; 11] = [
        ("2x2 stride 2", [4, 3, 2, 2], window(2, 1, [0; 4], 1), [0; 2], [8, 10]),
        ("3x3 stride 1", [4, 3, 3, 3], window(1, 1, [0; 4], 1), [0; 2], [6, 7]),
        ("3x3 stride 1 padded", [4, 3, 3, 3], window(1, 1, [1; 4], 1), [0; 2], [4, 5]),
        ("3x3 stride 2 padded", [4, 3, 3, 3], window(2, 1, [1; 4], 1), [0; 2], [7, 9]),
        ("3x3 stride 2, output padded", [4, 3, 3, 3], window(2, 1, [1; 4], 1), [1; 2], [8, 10]),
        ("2x2 stride 3, gaps", [4, 3, 2, 2], window(3, 1, [0; 4], 1), [0; 2], [11, 14]),
        ("1x1 stride 2, output padded", [4, 3, 1, 1], window(2, 1, [0; 4], 1), [1; 2], [8, 10]),
        ("3x3 dilated, a margin no tap reaches", [4, 3, 3, 3], window(1, 2, [0; 4], 1), [1; 2], [9, 10]),
        ("dilated, one-sided", [4, 3, 3, 2], window(2, 2, [1, 0, 0, 1], 1), [0; 2], [10, 10]),
        ("grouped", [4, 3, 3, 3], window(2, 1, [1; 4], 2), [1; 2], [8, 10]),
        ("depthwise", [4, 1, 3, 3], window(2, 1, [1; 4], 4), [1; 2], [8, 10]),
    ];
    for (name, kernel, window, output_padding, [h, w]) in cases {
        let mut b = Builder::new(&[2, 4, 5]);
        b.conv([4, 2, 1, 1], Window::POINT);
        let outputs = kernel[1] * window.group as usize;
        let (weight, bias) = (b.weight(&kernel), b.weight(&[outputs]));
        b.op(window.on(node("ConvTranspose")).with("output_padding", ints(&output_padding)), &[&weight, &bias]);
        check(&format!("transposed {name}"), b.finish(outputs * h * w));
    }
}

#[test]
fn pooling() {
    let window = |op: &str, kernel: i64, stride: i64, pad: i64| {
        node(op)
            .with("kernel_shape", ints(&[kernel; 2]))
            .with("strides", ints(&[stride; 2]))
            .with("pads", ints(&[pad; 4]))
    };
    let counted = Attribute::Int(1);
    let ceil = Attribute::Int(1);
    let cases: [(&str, Node, usize); 10] = [
        ("MaxPool 2x2", window("MaxPool", 2, 2, 0), 3 * 3),
        ("MaxPool 3x3 padded", window("MaxPool", 3, 2, 1), 3 * 3),
        ("MaxPool 3x3 overlapping", window("MaxPool", 3, 1, 0), 4 * 4),
        ("AveragePool 2x2", window("AveragePool", 2, 2, 0), 3 * 3),
        ("AveragePool padded, not counted", window("AveragePool", 3, 2, 1), 3 * 3),
        ("AveragePool padded, counted", window("AveragePool", 3, 2, 1).with("count_include_pad", counted), 3 * 3),
        ("MaxPool, rounded up", window("MaxPool", 3, 2, 0).with("ceil_mode", ceil.clone()), 3 * 3),
        ("AveragePool, rounded up", window("AveragePool", 3, 2, 0).with("ceil_mode", ceil), 3 * 3),
        ("GlobalAveragePool", node("GlobalAveragePool"), 1),
        ("GlobalMaxPool", node("GlobalMaxPool"), 1),
    ];
    for (name, node, pixels) in cases {
        let mut b = Builder::new(&[2, 6, 6]);
        b.conv3(2, 4).op(node, &[]);
        check(name, b.finish(4 * pixels));
    }
}
