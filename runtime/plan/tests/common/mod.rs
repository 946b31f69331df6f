//! What the tests of this crate share: a net that uses every op, and an interpreter that follows the text of `f32-rne/1`.
#![allow(dead_code, reason = "each test file uses a part")]

pub mod text;

use limbeck_kernels::suite::Rng;
use limbeck_plan::{ConvGeometry, OpSpec, PlanSpec, PoolGeometry, Shape, TensorId, TensorSpec};

/// Builds a spec tensor by tensor, with random weights.
pub struct Net {
    pub spec: PlanSpec,
    pub rng: Rng,
}

impl Net {
    pub fn new(seed: u64) -> Net {
        Net { spec: PlanSpec::default(), rng: Rng::new(seed) }
    }

    pub fn tensor(&mut self, [h, w, c]: [u32; 3], scale: f32, zero: i8) -> TensorId {
        let name = format!("t{}", self.spec.tensors.len());
        self.spec.tensors.push(TensorSpec { name, shape: Shape { h, w, c }, scale, zero });
        self.spec.tensors.len() - 1
    }

    pub fn name(&self) -> String {
        format!("op{}", self.spec.ops.len())
    }

    fn weights(&mut self, o: usize, depth: usize) -> (Vec<i8>, Vec<i32>, Vec<f32>) {
        let weights = (0..o * depth).map(|_| self.rng.i8()).collect();
        let bias = (0..o).map(|_| self.rng.next() as i32 >> 20).collect();
        let scale = (0..o).map(|_| 1e-3 + self.rng.below(1000) as f32 * 1e-6).collect();
        (weights, bias, scale)
    }

    /// A convolution into a new tensor of `c` channels.
    pub fn conv(&mut self, x: TensorId, c: u32, geometry: ConvGeometry) -> TensorId {
        let from = self.spec.tensors[x].shape;
        let out = |axis: usize, size: u32| {
            let reach = (geometry.kernel[axis] - 1) * geometry.dilation[axis] + 1;
            (size + geometry.pad[axis] + geometry.pad[axis + 2] - reach) / geometry.stride[axis] + 1
        };
        let shape = [out(0, from.h), out(1, from.w), c];
        let depth = geometry.kernel[0] * geometry.kernel[1] * from.c / geometry.groups;
        let (weights, bias, scale) = self.weights(c as usize, depth as usize);
        let zero = self.rng.i8();
        let spread = self.spec.tensors[x].scale * (depth as f32).sqrt();
        let y = self.tensor(shape, spread * 0.08, zero);
        self.spec.ops.push(OpSpec::Conv { name: self.name(), x, y, weights, bias, scale, geometry });
        y
    }

    pub fn dense(&mut self, x: TensorId, c: u32) -> TensorId {
        let depth = self.spec.tensors[x].shape.elements();
        let (weights, bias, scale) = self.weights(c as usize, depth);
        let y = self.tensor([1, 1, c], self.spec.tensors[x].scale * (depth as f32).sqrt() * 0.08, 3);
        self.spec.ops.push(OpSpec::Dense { name: self.name(), x, y, weights, bias, scale });
        y
    }

    pub fn add(&mut self, a: TensorId, b: TensorId) -> TensorId {
        let TensorSpec { shape: Shape { h, w, c }, scale, .. } = self.spec.tensors[a].clone();
        let y = self.tensor([h, w, c], scale * 1.3, 11);
        self.spec.ops.push(OpSpec::Add { name: self.name(), a, b, y });
        y
    }

    pub fn average_pool(&mut self, x: TensorId, size: [u32; 2], window: PoolGeometry) -> TensorId {
        let TensorSpec { shape, scale, .. } = self.spec.tensors[x].clone();
        let y = self.tensor([size[0], size[1], shape.c], scale * 0.7, -20);
        self.spec.ops.push(OpSpec::AveragePool { name: self.name(), x, y, window });
        y
    }

    pub fn max_pool(&mut self, x: TensorId, size: [u32; 2], window: PoolGeometry) -> TensorId {
        let TensorSpec { shape, scale, zero, .. } = self.spec.tensors[x].clone();
        let y = self.tensor([size[0], size[1], shape.c], scale, zero);
        self.spec.ops.push(OpSpec::MaxPool { name: self.name(), x, y, window });
        y
    }

    pub fn concat(&mut self, xs: Vec<TensorId>) -> TensorId {
        let TensorSpec { shape, scale, zero, .. } = self.spec.tensors[xs[0]].clone();
        let c = xs.iter().map(|&x| self.spec.tensors[x].shape.c).sum();
        let y = self.tensor([shape.h, shape.w, c], scale, zero);
        self.spec.ops.push(OpSpec::Concat { name: self.name(), xs, y });
        y
    }

    pub fn mul(&mut self, a: TensorId, b: TensorId) -> TensorId {
        let TensorSpec { shape: Shape { h, w, c }, scale, .. } = self.spec.tensors[a].clone();
        let y = self.tensor([h, w, c], scale * self.spec.tensors[b].scale * 60.0, -13);
        self.spec.ops.push(OpSpec::Mul { name: self.name(), a, b, y });
        y
    }

    pub fn pad(&mut self, x: TensorId, pad: [u32; 4], value: i8) -> TensorId {
        let TensorSpec { shape, scale, zero, .. } = self.spec.tensors[x].clone();
        let y = self.tensor([shape.h + pad[0] + pad[2], shape.w + pad[1] + pad[3], shape.c], scale, zero);
        self.spec.ops.push(OpSpec::Pad { name: self.name(), x, y, pad, value });
        y
    }

    pub fn resize(&mut self, x: TensorId, rows: Vec<u16>, columns: Vec<u16>) -> TensorId {
        let TensorSpec { shape, scale, zero, .. } = self.spec.tensors[x].clone();
        let y = self.tensor([rows.len() as u32, columns.len() as u32, shape.c], scale, zero);
        self.spec.ops.push(OpSpec::Resize { name: self.name(), x, y, rows, columns });
        y
    }

    pub fn table(&mut self, x: TensorId) -> TensorId {
        let shape = self.spec.tensors[x].shape;
        let y = self.tensor([shape.h, shape.w, shape.c], 0.05, 0);
        let table = std::array::from_fn(|_| self.rng.i8());
        self.spec.ops.push(OpSpec::Table { name: self.name(), x, y, table });
        y
    }
}

pub fn square(kernel: u32, stride: u32, pad: u32, groups: u32) -> ConvGeometry {
    ConvGeometry { kernel: [kernel; 2], stride: [stride; 2], dilation: [1; 2], pad: [pad; 4], groups }
}

/// A net of every op: strided, padded, dilated, grouped and depthwise convolutions, an addition of unequal scales, an addition
/// of a tensor to itself, both pools, a table, a concatenation, a global pool, a gate, a product of two tensors and of one by
/// itself, a padding, a resize, a dense layer, two outputs.
pub fn every_op() -> PlanSpec {
    let mut net = Net::new(42);
    let x = net.tensor([9, 7, 3], 0.02, -7);
    let stem = net.conv(x, 16, ConvGeometry { pad: [0, 1, 1, 0], ..square(3, 2, 0, 1) });
    let dw = net.conv(stem, 16, square(3, 1, 1, 16));
    let point = net.conv(dw, 16, square(1, 1, 0, 1));
    let sum = net.add(stem, point);
    let grouped = net.conv(sum, 8, ConvGeometry { dilation: [2, 1], ..square(3, 1, 2, 2) });
    let rows = net.spec.tensors[grouped].shape.h;
    let pooled = PoolGeometry { kernel: [3, 2], stride: [1, 2], pad: [1, 1, 1, 1], count_include_pad: false };
    let max = net.max_pool(grouped, [rows, 3], pooled);
    let twice = net.add(max, max);
    let average =
        net.average_pool(twice, [rows, 2], PoolGeometry { stride: [1, 2], count_include_pad: true, ..pooled });
    let real = net.average_pool(twice, [rows, 2], PoolGeometry { stride: [1, 2], ..pooled });
    let act = net.table(real);
    // Concatenation keeps one scale: both sides come from tables or share it by hand.
    net.spec.tensors[average].scale = net.spec.tensors[act].scale;
    net.spec.tensors[average].zero = net.spec.tensors[act].zero;
    let both = net.concat(vec![average, act, average]);
    let whole = PoolGeometry { kernel: [rows, 2], stride: [1, 1], pad: [0; 4], count_include_pad: false };
    let global = net.average_pool(both, [1, 1], whole);
    let gated = net.mul(both, global);
    let product = net.mul(gated, both);
    let squared = net.mul(product, product);
    let padded = net.pad(squared, [1, 0, 2, 1], 77);
    let rows = padded_rows(&net, padded);
    let resized = net.resize(padded, rows, vec![2, 0, 0, 1]);
    let logits = net.dense(global, 10);
    let flat = net.dense(resized, 5);
    net.spec.inputs = vec![x];
    net.spec.outputs = vec![logits, flat];
    net.spec
}

/// Every row of a tensor twice, the last one first.
fn padded_rows(net: &Net, x: TensorId) -> Vec<u16> {
    (0..net.spec.tensors[x].shape.h as u16).rev().flat_map(|row| [row, row]).collect()
}

/// Floats that reach both rails of the input tensor.
pub fn random_input(spec: &PlanSpec, seed: u64) -> Vec<f32> {
    let TensorSpec { shape, scale, .. } = &spec.tensors[spec.inputs[0]];
    let mut rng = Rng::new(seed);
    (0..shape.elements()).map(|_| (rng.below(1000) as f32 - 500.0) * 0.3 * scale).collect()
}
