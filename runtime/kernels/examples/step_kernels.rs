//! The kernels of one training step of a network, one sample, between marker system calls: what is counted under an emulator.
//!
//! ```text
//! cargo build --release -p limbeck-kernels --features std --target aarch64-unknown-linux-musl --example step_kernels
//! rustc -O --edition 2024 --crate-type cdylib -o libplugin.so tests/instructions/plugin.rs
//! qemu-aarch64 -cpu cortex-a53 -plugin ./libplugin.so,out=counts.csv step_kernels resnet8|dscnn|mobilenetv2 neon|portable
//! ```
//! The rows of counts.csv: forward, dX, dW with db, packing and unpacking (once a step, however many samples). The first layer has no dX.
//! Element-wise work (gates, sums, pools) is left out; it is a few instructions an activation.

use limbeck_kernels::float::FloatIsa;
use limbeck_kernels::float::conv_dw_f32::{self, ConvDwF32};
use limbeck_kernels::float::conv_dx_f32::{self, ConvDxF32};
use limbeck_kernels::float::conv_f32::{self, ConvF32, ConvShapeF32, Order};
use limbeck_kernels::float::depthwise_dw_f32::{self, DepthwiseDwF32};
use limbeck_kernels::float::depthwise_dx_f32::{self, DepthwiseDxF32};
use limbeck_kernels::float::depthwise_f32::{self, DepthwiseF32};
use limbeck_kernels::float::matrix_f32;
use limbeck_kernels::{Image, Window};

/// A layer and its arrays, filled once.
struct Layer {
    shape: ConvShapeF32,
    depthwise: bool,
    x: Vec<f32>,
    y: Vec<f32>,
    w: Vec<f32>,
    b: Vec<f32>,
    packed: Vec<f32>,
    packed_dx: Vec<f32>,
    sums: Vec<f32>,
    scratch: Vec<f32>,
}

const UNBOUNDED: [f32; 2] = [f32::NEG_INFINITY, f32::INFINITY];

impl Layer {
    fn new(shape: ConvShapeF32, depthwise: bool) -> Layer {
        let depth = if depthwise { shape.window.taps() } else { shape.depth() };
        let ramp = |len: usize| (0..len).map(|i| (i % 251) as f32 / 125.0 - 1.0).collect::<Vec<f32>>();
        let [packed, packed_dx, scratch] = match depthwise {
            true => [depth * shape.channels, 0, depthwise_dw_f32::scratch_len(shape.x, shape.window)],
            false => [
                conv_f32::packed_len(&shape),
                conv_dx_f32::packed_len(&shape),
                conv_f32::scratch_len(&shape)
                    .max(conv_dx_f32::scratch_len(&shape))
                    .max(conv_dw_f32::scratch_len(&shape)),
            ],
        };
        let sums = if depthwise { (1 + depth) * shape.channels } else { packed };
        Layer {
            x: ramp(shape.x.len()),
            y: ramp(shape.y().len()),
            w: ramp(shape.channels * depth),
            b: ramp(shape.channels),
            packed: vec![0.0; packed],
            packed_dx: vec![0.0; packed_dx],
            sums: vec![0.0; sums],
            scratch: vec![0.0; scratch],
            shape,
            depthwise,
        }
    }

    fn pack(&mut self) {
        if self.depthwise {
            let (channels, taps) = (self.shape.channels, self.shape.window.taps());
            for (n, to) in self.packed.iter_mut().enumerate() {
                *to = self.w[n % channels * taps + n / channels];
            }
        } else {
            conv_f32::pack(&self.shape, &self.w, &self.b, &mut self.packed);
            conv_dx_f32::pack(&self.shape, &self.w, &mut self.packed_dx);
        }
    }

    fn unpack(&mut self) {
        if !self.depthwise {
            conv_dw_f32::unpack_weights(&self.shape, &self.sums, &mut self.w);
        }
    }

    fn forward(&mut self, isa: FloatIsa) {
        let Layer { shape, x, y, b, packed, scratch, .. } = self;
        if self.depthwise {
            let d = DepthwiseF32 { shape: shape.x, window: shape.window, x, w: packed, bias: b, bounds: UNBOUNDED };
            return depthwise_f32::run(isa, &d, y);
        }
        conv_f32::run(isa, &ConvF32 { shape: *shape, x, packed, addend: None, bounds: UNBOUNDED }, y, scratch);
    }

    fn dx(&mut self, isa: FloatIsa) {
        let Layer { shape, x, y, packed, packed_dx, scratch, .. } = self;
        if self.depthwise {
            let d = DepthwiseDxF32 { shape: shape.x, window: shape.window, dy: y, w: packed };
            return depthwise_dx_f32::run(isa, &d, x);
        }
        conv_dx_f32::run(isa, &ConvDxF32 { shape: *shape, dy: y, packed: packed_dx, addend: None }, x, scratch);
    }

    fn dw(&mut self, isa: FloatIsa) {
        let Layer { shape, x, y, sums, scratch, .. } = self;
        if self.depthwise {
            let d = DepthwiseDwF32 { shape: shape.x, window: shape.window, x, dy: y };
            return depthwise_dw_f32::run(isa, &d, sums, scratch);
        }
        conv_dw_f32::run(isa, &ConvDwF32 { shape: *shape, x, dy: y }, sums, scratch);
    }
}

/// Layers one after the other, and the sides of the fully connected one at their end.
struct Network {
    layers: Vec<Layer>,
    dense: [usize; 2],
}

struct Builder {
    x: Image,
    layers: Vec<Layer>,
}

impl Builder {
    fn conv(&mut self, channels: usize, kernel: [usize; 2], stride: usize, pad: [usize; 4]) {
        let window = Window { kernel, stride: [stride; 2], dilation: [1; 2], pad };
        let order = if self.layers.is_empty() { Order::Planar } else { Order::Interleaved };
        let shape = ConvShapeF32 { x: self.x, order, channels, window };
        self.x = shape.y();
        self.layers.push(Layer::new(shape, false));
    }

    fn depthwise(&mut self, stride: usize) {
        let window = Window { kernel: [3; 2], stride: [stride; 2], dilation: [1; 2], pad: [1; 4] };
        let shape = ConvShapeF32 { x: self.x, order: Order::Interleaved, channels: self.x.c, window };
        self.x = shape.y();
        self.layers.push(Layer::new(shape, true));
    }
}

/// The networks of MLPerf Tiny, and MobileNetV2 0.35 at 96 x 96 (Sandler et al., CVPR 2018, table 2; channels as torchvision rounds them).
fn network(name: &str) -> Option<Network> {
    match name {
        "resnet8" => {
            let mut b = Builder { x: Image { h: 32, w: 32, c: 3 }, layers: vec![] };
            b.conv(16, [3; 2], 1, [1; 4]);
            for (channels, stride) in [(16, 1), (32, 2), (64, 2)] {
                let before = b.x;
                b.conv(channels, [3; 2], stride, [1; 4]);
                b.conv(channels, [3; 2], 1, [1; 4]);
                if stride == 2 {
                    let after = std::mem::replace(&mut b.x, before);
                    b.conv(channels, [1; 2], 2, [0; 4]);
                    b.x = after;
                }
            }
            Some(Network { layers: b.layers, dense: [10, 64] })
        }
        "dscnn" => {
            let mut b = Builder { x: Image { h: 49, w: 10, c: 1 }, layers: vec![] };
            b.conv(64, [10, 4], 2, [4, 1, 4, 1]);
            for _ in 0..4 {
                b.depthwise(1);
                b.conv(64, [1; 2], 1, [0; 4]);
            }
            Some(Network { layers: b.layers, dense: [12, 64] })
        }
        "mobilenetv2" => {
            let mut b = Builder { x: Image { h: 96, w: 96, c: 3 }, layers: vec![] };
            b.conv(16, [3; 2], 2, [1; 4]);
            b.depthwise(1);
            b.conv(8, [1; 2], 1, [0; 4]);
            for (channels, blocks, stride) in [(8, 2, 2), (16, 3, 2), (24, 4, 2), (32, 3, 1), (56, 3, 2), (112, 1, 1)] {
                for block in 0..blocks {
                    b.conv(6 * b.x.c, [1; 2], 1, [0; 4]);
                    b.depthwise(if block == 0 { stride } else { 1 });
                    b.conv(channels, [1; 2], 1, [0; 4]);
                }
            }
            b.conv(1280, [1; 2], 1, [0; 4]);
            Some(Network { layers: b.layers, dense: [1000, 1280] })
        }
        _ => None,
    }
}

fn mark() {
    #[cfg(unix)]
    let _ = std::os::unix::process::parent_id();
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let of = |n: usize| arguments.get(n).map(String::as_str).unwrap_or_default();
    let (network, isa) = (network(of(0)), FloatIsa::available().find(|isa| isa.name() == of(1)));
    let (Some(Network { mut layers, dense: [o, i] }), Some(isa)) = (network, isa) else {
        eprintln!("usage: step_kernels resnet8|dscnn|mobilenetv2 PATH, a path of this CPU");
        std::process::exit(2);
    };
    let (w, mut dw, mut x, mut y) = (vec![0.5; o * i], vec![0.0; o * i], vec![0.25; i], vec![0.125; o]);
    layers.iter_mut().for_each(Layer::pack);
    mark();
    layers.iter_mut().for_each(|l| l.forward(isa));
    matrix_f32::times(isa, &w, &x, &mut y);
    mark();
    matrix_f32::transposed(isa, &w, &y, &mut x);
    layers.iter_mut().skip(1).for_each(|l| l.dx(isa));
    mark();
    matrix_f32::outer(&y, &x, &mut dw);
    layers.iter_mut().for_each(|l| l.dw(isa));
    mark();
    layers.iter_mut().for_each(|l| {
        l.pack();
        l.unpack();
    });
    mark();
    // Who reads the results, so that no compiler leaves them out.
    let sum: f32 = layers.iter().flat_map(|l| l.sums.iter().chain(&l.x).chain(&l.y)).chain(&dw).sum();
    let macs: usize = layers.iter().map(|l| l.shape.y().len() * if l.depthwise { 9 } else { l.shape.depth() }).sum();
    println!("{} forward MACs, checksum {sum}", macs + o * i);
}
