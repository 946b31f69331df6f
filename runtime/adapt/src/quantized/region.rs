//! An integer region of a plan as operators that can be differentiated.
//!
//! Inside a region an activation is (1, C, H, W) in integers from its zero point. A convolution is tract's own in f32, without bias:
//! its sums are integers, exact in any order while every partial sum is below 2^24. A layer whose weights could pass that is cut
//! along its input channels into parts that cannot, whatever the weights become; `Requantize` adds the parts in 64 bits.

use limbeck_engine::IntegerRegion;
use limbeck_kernels::add::AddScales;
use limbeck_kernels::arithmetic::multiplier;
use limbeck_kernels::average_pool::Count;
use limbeck_kernels::{Pool, Window};
use limbeck_plan::{ConvGeometry, OpSpec, PoolGeometry, TensorId, TensorSpec};
use tract_core::internal::*;
use tract_core::ops::array::{Pad, PadMode, Slice, TypedConcat};
use tract_core::ops::cnn::{Conv, KernelFormat, MaxPool, PaddingSpec, PoolSpec};
use tract_core::ops::einsum::EinSum;
use tract_core::ops::nn::DataFormat;

use crate::ops::integer::{
    AddIntegers, AverageIntegers, Dequantize, Form, Forward, MulIntegers, Quantize, Requantize, ResizeNearest,
    TableLookup, WeightQuant,
};

/// Sums of this size and more are not exact in f32.
const EXACT: u64 = 1 << 24;

/// A region with its layers' trained tensors.
#[derive(Debug)]
pub(crate) struct TrainedRegion {
    pub region: IntegerRegion,
    /// For each op, what is trained of it.
    pub layers: Vec<Option<LayerWires>>,
    /// dy/dx of each op that is a table.
    pub slopes: Vec<Option<Box<[f32; 256]>>>,
}

/// A layer's trained tensors among the inputs of its region's node.
#[derive(Debug, Clone)]
pub(crate) struct LayerWires {
    pub quant: WeightQuant,
    /// What the file's bias is beyond its master.
    pub offset: Vec<i32>,
    /// Which input of the node the weights are.
    pub weights: usize,
    pub bias: Option<usize>,
    /// θ, where scales are learned.
    pub theta: Option<usize>,
}

/// An integer tensor of a region, in the graph.
pub(crate) struct Tap {
    pub name: String,
    pub zero: i8,
    pub outlet: OutletId,
}

/// How often activations may be added up exactly: parts of a layer have at most so many weights an output.
pub(crate) fn exact_terms(x_zero: i8, low: f32, high: f32) -> usize {
    let furthest = (127 - x_zero as i64).max(128 + x_zero as i64) as u64;
    let weight = high.max(-low) as u64;
    ((EXACT - 1) / (furthest * weight).max(1)) as usize
}

impl TrainedRegion {
    /// Wire the region: `inputs` are those of its node, floats first, then trained tensors. Returns its float outputs and its
    /// integer tensors.
    pub fn wire(
        &self,
        prefix: &str,
        model: &mut TypedModel,
        inputs: &[OutletId],
    ) -> TractResult<(TVec<OutletId>, Vec<Tap>)> {
        let spec = &self.region.spec;
        let mut wiring =
            Wiring { of: self, model, prefix, inputs, at: vec![None; spec.tensors.len()], count: 0, taps: vec![] };
        for (&id, &x) in spec.inputs.iter().zip(inputs) {
            let tensor = &spec.tensors[id];
            let x = wiring.reshape(x, &shape(tensor))?;
            let n = wiring.form(Quantize { scale: tensor.scale, zero: tensor.zero }, &[x])?;
            wiring.made(id, n);
        }
        for (i, op) in spec.ops.iter().enumerate() {
            let n = wiring.op(i, op).with_context(|| format!("{} \"{}\"", op_name(op), op.name()))?;
            wiring.made(op.output(), n);
        }
        let mut outputs = tvec!();
        for (&id, dims) in spec.outputs.iter().zip(&self.region.output_dims) {
            let n = wiring.tensor(id)?;
            let y = wiring.form(Dequantize { scale: spec.tensors[id].scale }, &[n])?;
            let dims: Vec<usize> = std::iter::once(1).chain(dims.iter().copied()).collect();
            outputs.push(wiring.reshape(y, &dims)?);
        }
        Ok((outputs, wiring.taps))
    }
}

fn op_name(op: &OpSpec) -> &'static str {
    match op {
        OpSpec::Conv { .. } => "convolution",
        OpSpec::Dense { .. } => "matrix product",
        _ => "operator",
    }
}

fn shape(tensor: &TensorSpec) -> [usize; 4] {
    let s = tensor.shape;
    [1, s.c as usize, s.h as usize, s.w as usize]
}

struct Wiring<'a> {
    of: &'a TrainedRegion,
    model: &'a mut TypedModel,
    prefix: &'a str,
    inputs: &'a [OutletId],
    at: Vec<Option<OutletId>>,
    count: usize,
    taps: Vec<Tap>,
}

impl Wiring<'_> {
    fn wire(&mut self, op: impl Into<Box<dyn TypedOp>>, inputs: &[OutletId]) -> TractResult<OutletId> {
        self.count += 1;
        Ok(self.model.wire_node(format!("{}.{}", self.prefix, self.count), op, inputs)?[0])
    }

    fn form(&mut self, form: impl Form, inputs: &[OutletId]) -> TractResult<OutletId> {
        self.wire(Forward(Arc::new(form)), inputs)
    }

    fn reshape(&mut self, value: OutletId, to: &[usize]) -> TractResult<OutletId> {
        let from: TVec<TDim> = self.model.outlet_fact(value)?.shape.iter().cloned().collect();
        let to: TVec<TDim> = to.iter().map(|d| d.to_dim()).collect();
        if from == to { Ok(value) } else { self.wire(AxisOp::Reshape(0, from, to), &[value]) }
    }

    fn made(&mut self, id: TensorId, outlet: OutletId) {
        let tensor = &self.of.region.spec.tensors[id];
        self.at[id] = Some(outlet);
        self.taps.push(Tap { name: tensor.name.clone(), zero: tensor.zero, outlet });
    }

    fn tensor(&self, id: TensorId) -> TractResult<OutletId> {
        self.at[id].with_context(|| format!("\"{}\" is read before it is written", self.spec(id).name))
    }

    fn spec(&self, id: TensorId) -> &TensorSpec {
        &self.of.region.spec.tensors[id]
    }

    fn op(&mut self, i: usize, op: &OpSpec) -> TractResult<OutletId> {
        let operands = op.operands().into_iter().map(|id| self.tensor(id)).collect::<TractResult<Vec<_>>>()?;
        let y = self.spec(op.output()).clone();
        let scale_and_zero = |id: TensorId| (self.spec(id).scale, self.spec(id).zero);
        match op {
            OpSpec::Conv { x, geometry, .. } => self.conv(i, *x, operands[0], geometry, &y),
            OpSpec::Dense { x, .. } => self.dense(i, *x, operands[0], &y),
            OpSpec::Add { a, b, .. } => {
                let ((sa, za), (sb, zb)) = (scale_and_zero(*a), scale_and_zero(*b));
                let scales = AddScales::new(sa, sb, y.scale).context("its scales are too far apart to add")?;
                let ratios = [sa / y.scale, sb / y.scale];
                self.form(AddIntegers { zeros: [za, zb], y_zero: y.zero, scales, ratios }, &operands)
            }
            OpSpec::Mul { a, b, .. } => {
                let ((sa, za), (sb, zb)) = (scale_and_zero(*a), scale_and_zero(*b));
                let scale = multiplier(sa, sb, y.scale);
                self.form(MulIntegers { zeros: [za, zb], y_zero: y.zero, scale }, &operands)
            }
            OpSpec::AveragePool { x, window, .. } => {
                let (x_scale, x_zero) = scale_and_zero(*x);
                let form = AverageIntegers {
                    pool: pool(window),
                    count: if window.count_include_pad { Count::Kernel } else { Count::Real },
                    output: [y.shape.h as usize, y.shape.w as usize],
                    x_zero,
                    y_zero: y.zero,
                    ratio: x_scale / y.scale,
                };
                self.form(form, &operands)
            }
            OpSpec::MaxPool { window, .. } => {
                let Pool { kernel, stride, pad } = pool(window);
                let channels = y.shape.c as usize;
                let window = Window { kernel, stride, dilation: [1, 1], pad };
                let pool_spec = pool_spec(&window, channels, channels);
                self.wire(MaxPool { pool_spec, with_index_outputs: None }, &operands)
            }
            OpSpec::Concat { .. } => self.wire(TypedConcat { axis: 1 }, &operands),
            OpSpec::Pad { pad: [top, left, bottom, right], value, .. } => {
                let pads = [(0, 0), (0, 0), (*top, *bottom), (*left, *right)];
                let pads = pads.iter().map(|&(before, after)| (before as usize, after as usize)).collect();
                let value = (*value as i32 - y.zero as i32) as f32;
                self.wire(Pad { pads, mode: PadMode::Constant(Arc::new(tensor0(value))) }, &operands)
            }
            OpSpec::Resize { rows, columns, .. } => {
                self.form(ResizeNearest { rows: rows.clone(), columns: columns.clone() }, &operands)
            }
            OpSpec::Table { x, table, .. } => {
                let slopes = self.of.slopes[i].clone().context("the slope of its function is not known")?;
                let x_zero = self.spec(*x).zero;
                self.form(TableLookup { table: *table, slopes, x_zero, y_zero: y.zero }, &operands)
            }
        }
    }

    /// The layer of op `i`: its wires, and its weights as integers.
    fn layer(&mut self, i: usize) -> TractResult<(LayerWires, OutletId)> {
        let layer = self.of.layers[i].clone().context("its constants are not found in the file")?;
        let mut inputs = tvec!(self.inputs[layer.weights]);
        inputs.extend(layer.theta.map(|slot| self.inputs[slot]));
        let integers = self.form(layer.quant.clone(), &inputs)?;
        Ok((layer, integers))
    }

    fn requantize(
        &mut self,
        layer: LayerWires,
        parts: Vec<OutletId>,
        x: TensorId,
        y: &TensorSpec,
    ) -> TractResult<OutletId> {
        let form = Requantize {
            parts: parts.len(),
            bias: layer.bias.is_some(),
            scale: layer.quant.scale,
            offset: layer.offset,
            x_scale: self.spec(x).scale,
            y_scale: y.scale,
            y_zero: y.zero,
        };
        let mut operands = parts;
        operands.extend([layer.bias, layer.theta].into_iter().flatten().map(|slot| self.inputs[slot]));
        self.form(form, &operands)
    }

    fn slice(&mut self, value: OutletId, axis: usize, range: &std::ops::Range<usize>) -> TractResult<OutletId> {
        let whole = self.model.outlet_fact(value)?.shape[axis].to_usize()? == range.len();
        if whole { Ok(value) } else { self.wire(Slice::new(axis, range.start, range.end), &[value]) }
    }

    fn conv(&mut self, i: usize, x: TensorId, n: OutletId, g: &ConvGeometry, y: &TensorSpec) -> TractResult<OutletId> {
        let (layer, weights) = self.layer(i)?;
        let window = Window {
            kernel: g.kernel.map(|k| k as usize),
            stride: g.stride.map(|s| s as usize),
            dilation: g.dilation.map(|d| d as usize),
            pad: g.pad.map(|p| p as usize),
        };
        let (groups, inputs) = (g.groups as usize, self.spec(x).shape.c as usize);
        let of_group = inputs / groups.max(1);
        let at_most = exact_terms(self.spec(x).zero, layer.quant.low, layer.quant.high) / window.taps();
        ensure!(
            at_most >= of_group || (groups == 1 && at_most > 0),
            "its kernel of {} taps in {groups} groups has sums that f32 does not hold; leave it in float",
            window.taps()
        );
        let no_bias = self.model.add_const(format!("{}.{i}.no_bias", self.prefix), tensor0(0f32))?;
        let mut parts = vec![];
        for range in ranges(of_group, at_most) {
            // Only an ungrouped kernel is ever cut.
            let channels = if groups == 1 { range.len() } else { inputs };
            let (n, weights) = match groups {
                1 => (self.slice(n, 1, &range)?, self.slice(weights, 1, &range)?),
                _ => (n, weights),
            };
            let pool_spec = pool_spec(&window, channels, y.shape.c as usize);
            let conv = Conv { pool_spec, kernel_fmt: KernelFormat::OIHW, group: groups, q_params: None };
            parts.push(self.wire(conv, &[n, weights, no_bias])?);
        }
        self.requantize(layer, parts, x, y)
    }

    fn dense(&mut self, i: usize, x: TensorId, n: OutletId, y: &TensorSpec) -> TractResult<OutletId> {
        let (layer, weights) = self.layer(i)?;
        let inputs = shape(self.spec(x)).iter().product();
        let flat = self.reshape(n, &[1, inputs])?;
        let at_most = exact_terms(self.spec(x).zero, layer.quant.low, layer.quant.high);
        let (axes, axis) = if layer.quant.transposed { ("nk,ko->no", 0) } else { ("nk,ok->no", 1) };
        let mut parts = vec![];
        for range in ranges(inputs, at_most) {
            let (n, weights) = (self.slice(flat, 1, &range)?, self.slice(weights, axis, &range)?);
            let product = self.wire(EinSum::new(axes.parse()?, f32::datum_type()), &[n, weights])?;
            parts.push(self.reshape(product, &shape(y))?);
        }
        self.requantize(layer, parts, x, y)
    }
}

/// 0..len in ranges of nearly equal length, none above `at_most`.
fn ranges(len: usize, at_most: usize) -> impl Iterator<Item = std::ops::Range<usize>> {
    let parts = len.div_ceil(at_most.max(1)).max(1);
    (0..parts).map(move |i| i * len / parts..(i + 1) * len / parts)
}

fn pool(window: &PoolGeometry) -> Pool {
    Pool {
        kernel: window.kernel.map(|k| k as usize),
        stride: window.stride.map(|s| s as usize),
        pad: window.pad.map(|p| p as usize),
    }
}

fn pool_spec(window: &Window, input_channels: usize, output_channels: usize) -> PoolSpec {
    let [top, left, bottom, right] = window.pad;
    PoolSpec {
        data_format: DataFormat::NCHW,
        kernel_shape: window.kernel.into_iter().collect(),
        padding: PaddingSpec::Explicit(tvec!(top, left), tvec!(bottom, right)),
        dilations: Some(window.dilation.into_iter().collect()),
        strides: Some(window.stride.into_iter().collect()),
        input_channels,
        output_channels,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_no_longer_than_what_adds_up_exactly() {
        // 255 · 127 · 518 = 16,775,430 < 2^24 = 16,777,216.
        assert_eq!(exact_terms(-128, -127.0, 127.0), 518);
        assert_eq!(exact_terms(0, -127.0, 127.0), 1032);
        assert_eq!(exact_terms(-128, -7.0, 7.0), 9399);
        assert_eq!(exact_terms(-128, -128.0, 127.0), 514);
        let cut: Vec<_> = ranges(64, 57).collect();
        assert_eq!(cut, [0..32, 32..64]);
        assert_eq!(ranges(10, 3).collect::<Vec<_>>(), [0..2, 2..5, 5..7, 7..10]);
        assert_eq!(ranges(5, 5).count(), 1);
    }
}
