//! What of a QDQ graph is integer arithmetic: the pattern `DequantizeLinear → operator → QuantizeLinear`.
//!
//! [`QdqGraph::integer_node`] says for one node which integer operation it is, or why it stays in float. Nothing here knows of
//! regions or plans' bytes; `compile` puts the answers together.

use std::collections::HashMap;

use limbeck_plan::{ConvGeometry, PoolGeometry, Shape};

use crate::facts::Fact;
use crate::onnx::{Data, Graph, Node, Tensor};

/// How an activation is stored: real = (q - zero) * scale, q in i8 (a u8 zero point less 128).
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Quant {
    pub scale: f32,
    pub zero: i8,
}

/// An integer activation: the output of a `QuantizeLinear`.
#[derive(Debug, Clone)]
pub(crate) struct Activation {
    /// Name of the quantized value.
    pub name: String,
    pub quant: Quant,
}

/// One node's integer form. Activations are named by their `QuantizeLinear` output.
#[derive(Debug, Clone)]
pub(crate) struct IntegerNode {
    /// Nodes of the graph that this stands for: the operator, an absorbed activation, its `QuantizeLinear`.
    pub covers: Vec<usize>,
    pub inputs: Vec<Activation>,
    pub output: Activation,
    pub kind: Kind,
}

#[derive(Debug, Clone)]
pub(crate) enum Kind {
    /// A float value enters: the `QuantizeLinear` itself; the field is the float value's name.
    Quantize(String),
    Conv {
        weights: Vec<i8>,
        bias: Vec<i32>,
        scale: Vec<f32>,
        geometry: ConvGeometry,
    },
    /// Weights are O × I with I in the order of ONNX (C H W); `compile` permutes.
    Dense {
        weights: Vec<i8>,
        bias: Vec<i32>,
        scale: Vec<f32>,
    },
    Add,
    AveragePool(PoolGeometry),
    MaxPool(PoolGeometry),
    Concat,
    Table(Box<[i8; 256]>),
    /// Same integers under another shape.
    Alias,
}

/// A graph with the look-ups that the pattern needs.
pub(crate) struct QdqGraph<'a> {
    pub graph: &'a Graph,
    producers: HashMap<&'a str, usize>,
    consumers: HashMap<&'a str, Vec<usize>>,
    facts: &'a HashMap<String, Fact>,
}

/// Constant weights: their shape, their integers, one scale per output channel.
struct Weights<'a> {
    dims: &'a [usize],
    data: &'a [i8],
    scale: Vec<f32>,
}

/// Why a node is not integer arithmetic.
type Reason = String;

impl<'a> QdqGraph<'a> {
    pub fn new(graph: &'a Graph, facts: &'a HashMap<String, Fact>) -> Self {
        QdqGraph { graph, producers: graph.producers(), consumers: graph.consumers(), facts }
    }

    /// The node that writes `value`.
    pub fn producer(&self, value: &str) -> Option<&'a Node> {
        self.producers.get(value).map(|&i| &self.graph.nodes[i])
    }

    /// Does nothing that this node computes depend on the input?
    pub fn is_constant(&self, node: &Node) -> bool {
        let known = |v: &String| v.is_empty() || self.facts.get(v).is_some_and(|f| f.value.is_some());
        node.outputs.iter().all(known)
    }

    /// Sizes of one sample of a value: all axes but the batch.
    pub fn sample_dims(&self, value: &str) -> Result<Vec<usize>, Reason> {
        let dims = self.facts.get(value).and_then(Fact::sample_dims);
        dims.ok_or_else(|| format!("the shape of \"{value}\" is not known before the run"))
    }

    /// H, W, C of a value. (N, C) is H = W = 1.
    pub fn shape(&self, value: &str) -> Result<Shape, Reason> {
        let dims = self.sample_dims(value)?;
        let size = |d: usize| u32::try_from(d).map_err(|_| format!("\"{value}\" is too large"));
        match dims[..] {
            [c, h, w] => Ok(Shape { h: size(h)?, w: size(w)?, c: size(c)? }),
            [c] => Ok(Shape { h: 1, w: 1, c: size(c)? }),
            _ => Err(format!("\"{value}\" has rank {}; the plan takes N×C×H×W and N×C", dims.len() + 1)),
        }
    }

    /// `value` as a dequantized activation.
    fn activation(&self, value: &str) -> Result<Activation, Reason> {
        let dq = self.producer(value).filter(|n| n.op == "DequantizeLinear");
        let dq = dq.ok_or_else(|| format!("its input \"{value}\" is not quantized"))?;
        let quantized = dq.input(0).unwrap_or_default();
        let q = self.producer(quantized).filter(|q| q.op == "QuantizeLinear");
        let q = q.ok_or_else(|| format!("its input \"{value}\" is a constant"))?;
        let quant = self.per_tensor(dq)?;
        if self.per_tensor(q)? != quant {
            return Err(format!("its input \"{value}\" is dequantized at another scale than it was quantized at"));
        }
        if q.input(0).is_some_and(|x| self.graph.initializers.contains_key(x)) {
            return Err(format!("its input \"{value}\" is a quantized constant"));
        }
        Ok(Activation { name: quantized.into(), quant })
    }

    /// Scale and zero point of a Q or DQ node with one scale for the whole tensor.
    fn per_tensor(&self, node: &Node) -> Result<Quant, Reason> {
        let scale = node.input(1).and_then(|s| self.graph.initializers.get(s)).and_then(Tensor::as_f32);
        let Some(&[scale]) = scale else {
            return Err(format!("{} has no single constant scale", node.title()));
        };
        if !(scale.is_normal() && scale > 0.0) {
            return Err(format!("{} has the scale {scale}", node.title()));
        }
        let zero = match node.input(2) {
            None => -128, // u8 with zero point 0 (ONNX default)
            Some(name) => match self.graph.initializers.get(name).map(|t| &t.data) {
                Some(Data::U8(z)) if z.len() == 1 => (z[0] ^ 0x80) as i8,
                Some(Data::I8(z)) if z.len() == 1 => z[0],
                _ => return Err(format!("the zero point of {} is not one constant u8 or i8", node.title())),
            },
        };
        Ok(Quant { scale, zero })
    }

    /// `value` as a dequantized constant: its integers and one scale per channel of `axis`.
    fn weights(&self, value: &str, axis: usize) -> Result<Weights<'a>, Reason> {
        let dq = self.producer(value).filter(|n| n.op == "DequantizeLinear");
        let dq = dq.ok_or_else(|| format!("its weights \"{value}\" are not quantized"))?;
        let tensor = dq.input(0).and_then(|w| self.graph.initializers.get(w));
        let tensor = tensor.ok_or_else(|| format!("its weights \"{value}\" are not constant"))?;
        let Data::I8(data) = &tensor.data else {
            return Err(format!("its weights \"{value}\" are not i8"));
        };
        if dq.input(2).and_then(|z| self.graph.initializers.get(z)).is_some_and(|z| !all_zero(z)) {
            return Err(format!("its weights \"{value}\" have a zero point other than 0"));
        }
        let channels = tensor.dims.get(axis).copied().unwrap_or(0);
        let scale = dq.input(1).and_then(|s| self.graph.initializers.get(s)).and_then(Tensor::as_f32);
        let scale = match scale {
            Some([one]) => vec![*one; channels],
            Some(many) if many.len() == channels && dq.int("axis", 1) == axis as i64 => many.to_vec(),
            _ => return Err(format!("its weights \"{value}\" are not scaled per output channel")),
        };
        Ok(Weights { dims: &tensor.dims, data, scale })
    }

    /// The i32 bias, which must be at the scale of input × weights; zeros when the node has none.
    fn bias(&self, node: &Node, weight_scale: &[f32]) -> Result<Vec<i32>, Reason> {
        /// Exporters round the product of the two scales in their own order.
        const RELATIVE: f32 = 1e-5;
        let channels = weight_scale.len();
        let Some(value) = node.input(2) else { return Ok(vec![0; channels]) };
        let dq = self.producer(value).filter(|n| n.op == "DequantizeLinear");
        let tensor = dq.and_then(|n| n.input(0)).and_then(|b| self.graph.initializers.get(b));
        let x = self.activation(node.input(0).unwrap_or_default())?.quant.scale;
        let scale = dq.and_then(|n| n.input(1)).and_then(|s| self.graph.initializers.get(s)).and_then(Tensor::as_f32);
        let scale = scale.unwrap_or_default();
        let fits = |c: usize| {
            let own = if scale.len() == 1 { scale.first() } else { scale.get(c) };
            own.is_some_and(|own| (own / (x * weight_scale[c]) - 1.0).abs() < RELATIVE)
        };
        let zero = dq.and_then(|n| n.input(2)).and_then(|z| self.graph.initializers.get(z)).is_none_or(all_zero);
        if !zero || !(0..channels).all(fits) {
            return Err(format!("its bias \"{value}\" is not at the scale of input × weights"));
        }
        match tensor.map(|t| &t.data) {
            Some(Data::I32(bias)) if bias.len() == channels => Ok(bias.clone()),
            _ => Err(format!("its bias \"{value}\" is not a constant i32 with one value a channel")),
        }
    }

    /// Where `value` is quantized, after an activation that the saturation of the integers already performs.
    fn quantized_output(&self, value: &str) -> Result<(Vec<usize>, Activation), Reason> {
        if self.graph.is_output(value) {
            return Err(format!("its result \"{value}\" is an output of the model and not quantized"));
        }
        let readers = self.consumers.get(value).map_or(&[][..], Vec::as_slice);
        let &[reader] = readers else {
            return Err(format!("its result \"{value}\" has {} readers and no single quantization", readers.len()));
        };
        let node = &self.graph.nodes[reader];
        match node.op.as_str() {
            "QuantizeLinear" => {
                let quant = self.per_tensor(node)?;
                Ok((vec![reader], Activation { name: node.outputs[0].clone(), quant }))
            }
            "Relu" | "Clip" => {
                let (mut covers, activation) = self.quantized_output(&node.outputs[0])?;
                if !self.saturation_does(node, activation.quant)? {
                    return Err(format!("{} after it is not what the range of its output does", node.title()));
                }
                covers.insert(0, reader);
                Ok((covers, activation))
            }
            _ => Err(format!("its result goes to {} without being quantized", node.title())),
        }
    }

    /// Does clamping to the i8 range already perform this `Relu` or `Clip`?
    fn saturation_does(&self, node: &Node, quant: Quant) -> Result<bool, Reason> {
        let (low, high) = self.clip_range(node)?;
        let lowest = (-128 - quant.zero as i32) as f32 * quant.scale;
        let low_is_free = lowest >= low;
        // Above `high` the clamp gives RNE(high / scale); saturation gives the highest integer.
        let steps_up = (127 - quant.zero as i32) as f32;
        let high_is_free = high == f32::INFINITY || (high / quant.scale).round_ties_even() >= steps_up;
        Ok(low_is_free && high_is_free)
    }

    fn clip_range(&self, node: &Node) -> Result<(f32, f32), Reason> {
        if node.op == "Relu" {
            return Ok((0.0, f32::INFINITY));
        }
        let bound = |slot: usize, attribute: &str, default: f32| match node.input(slot) {
            None => Ok(node.float(attribute, default)),
            Some(name) => match self.graph.initializers.get(name).and_then(Tensor::as_f32) {
                Some(&[v]) => Ok(v),
                _ => Err(format!("the bounds of {} are not constant", node.title())),
            },
        };
        Ok((bound(1, "min", f32::NEG_INFINITY)?, bound(2, "max", f32::INFINITY)?))
    }

    /// The integer form of node `i`, or the reason why it stays float. Called for operators, not for Q and DQ nodes.
    pub fn integer_node(&self, i: usize) -> Result<IntegerNode, Reason> {
        let node = &self.graph.nodes[i];
        if !node.domain.is_empty() && node.domain != "ai.onnx" {
            return Err(format!("the operator set \"{}\" is not ONNX's own", node.domain));
        }
        let x = node.input(0).unwrap_or_default();
        let one = |this: &Self| -> Result<Vec<Activation>, Reason> { Ok(vec![this.activation(x)?]) };
        let (inputs, kind) = match node.op.as_str() {
            "Conv" => (one(self)?, self.conv(node)?),
            "Gemm" | "MatMul" => (one(self)?, self.dense(node)?),
            "Add" => {
                let inputs = vec![self.activation(x)?, self.activation(node.input(1).unwrap_or_default())?];
                if self.shape(&inputs[0].name)? != self.shape(&inputs[1].name)? {
                    return Err("it broadcasts one operand".into());
                }
                (inputs, Kind::Add)
            }
            "Concat" => {
                if node.int("axis", 0) != 1 {
                    return Err("it does not join channels".into());
                }
                (node.inputs.iter().map(|v| self.activation(v)).collect::<Result<_, _>>()?, Kind::Concat)
            }
            "GlobalAveragePool" | "ReduceMean" => (one(self)?, Kind::AveragePool(self.global_pool(node, x)?)),
            "AveragePool" => (one(self)?, Kind::AveragePool(self.pool(node)?)),
            "MaxPool" => (one(self)?, Kind::MaxPool(self.pool(node)?)),
            "Flatten" | "Reshape" | "Squeeze" | "Unsqueeze" => (one(self)?, Kind::Alias),
            "Relu" | "Clip" | "Sigmoid" | "HardSigmoid" | "HardSwish" | "Tanh" | "LeakyRelu" => {
                let inputs = one(self)?;
                let (_, output) = self.quantized_output(&node.outputs[0])?;
                let table = self.table(node, inputs[0].quant, output.quant)?;
                (inputs, Kind::Table(table))
            }
            op => return Err(format!("{op} has no integer form here")),
        };
        let (mut covers, output) = self.quantized_output(&node.outputs[0])?;
        if !matches!(kind, Kind::Dense { .. } | Kind::Alias) && inputs.iter().any(|a| self.is_flattened_image(a)) {
            return Err("it reads a flattened image, whose order in memory is another".into());
        }
        let moves_data = matches!(kind, Kind::Concat | Kind::MaxPool(_) | Kind::Alias);
        if moves_data && inputs.iter().any(|input| input.quant != output.quant) {
            return Err("its input and output differ in scale or zero point".into());
        }
        if let Kind::Alias = kind {
            self.check_alias(&inputs[0].name, &output.name)?;
        }
        covers.insert(0, i);
        Ok(IntegerNode { covers, inputs, output, kind })
    }

    /// Does this activation hold H × W × C integers under a flat shape? Only a matrix can be reordered to read those.
    fn is_flattened_image(&self, activation: &Activation) -> bool {
        let reshape = self.producer(&activation.name).and_then(|q| self.producer(q.input(0)?));
        reshape.is_some_and(|node| {
            let before = self.shape(node.input(0).unwrap_or_default());
            matches!(node.op.as_str(), "Flatten" | "Reshape" | "Squeeze")
                && before.is_ok_and(|s| s.h * s.w > 1 && self.shape(&activation.name) != Ok(s))
        })
    }

    /// A reshape keeps its integers in place when it only flattens, or only adds or drops axes of size 1.
    fn check_alias(&self, from: &str, to: &str) -> Result<(), Reason> {
        let (from, to) = (self.shape(from)?, self.shape(to)?);
        let flat = to.h == 1 && to.w == 1 && to.c == from.h * from.w * from.c;
        if flat || from == to { Ok(()) } else { Err("it rearranges axes".into()) }
    }

    fn conv(&self, node: &Node) -> Result<Kind, Reason> {
        let Weights { dims, data: weights, scale } = self.weights(node.input(1).unwrap_or_default(), 0)?;
        let &[_, i, kh, kw] = dims else { return Err(format!("its kernel has rank {}", dims.len())) };
        if node.text("auto_pad").is_some_and(|a| a != "NOTSET") {
            return Err("it pads by auto_pad; normalise the model first".into());
        }
        let geometry = ConvGeometry {
            kernel: [to_u32(kh as i64)?, to_u32(kw as i64)?],
            stride: pair(node.ints("strides"), 1)?,
            dilation: pair(node.ints("dilations"), 1)?,
            pad: pads(node)?,
            groups: to_u32(node.int("group", 1))?,
        };
        // O I kh kw -> O kh kw I
        let mut hwio = Vec::with_capacity(weights.len());
        for w_o in weights.chunks_exact((i * kh * kw).max(1)) {
            for tap in 0..kh * kw {
                hwio.extend((0..i).map(|c| w_o[c * kh * kw + tap]));
            }
        }
        let bias = self.bias(node, &scale)?;
        Ok(Kind::Conv { weights: hwio, bias, scale, geometry })
    }

    fn dense(&self, node: &Node) -> Result<Kind, Reason> {
        let plain = node.float("alpha", 1.0) == 1.0 && node.float("beta", 1.0) == 1.0 && node.int("transA", 0) == 0;
        if !plain {
            return Err("it has alpha, beta or transA".into());
        }
        let rows_are_outputs = node.op == "Gemm" && node.int("transB", 0) == 1;
        let axis = if rows_are_outputs { 0 } else { 1 };
        let Weights { dims, data, scale } = self.weights(node.input(1).unwrap_or_default(), axis)?;
        let &[rows, columns] = dims else { return Err(format!("its weights have rank {}", dims.len())) };
        let (outputs, weights) = if rows_are_outputs {
            (rows, data.to_vec())
        } else {
            (columns, (0..columns).flat_map(|o| (0..rows).map(move |i| data[i * columns + o])).collect())
        };
        if scale.len() != outputs {
            return Err("its weights are not scaled per output".into());
        }
        let bias = self.bias(node, &scale)?;
        Ok(Kind::Dense { weights, bias, scale })
    }

    fn global_pool(&self, node: &Node, x: &str) -> Result<PoolGeometry, Reason> {
        if node.op == "ReduceMean" {
            let axes = node.ints("axes").or_else(|| self.graph.initializers.get(node.input(1)?)?.as_i64());
            let mut axes = axes.map(<[i64]>::to_vec).unwrap_or_default();
            axes.iter_mut().for_each(|a| *a = if *a < 0 { *a + 4 } else { *a });
            axes.sort_unstable();
            if axes != [2, 3] {
                return Err("it reduces other axes than height and width".into());
            }
        }
        let quantized = self.activation(x)?.name;
        let shape = self.shape(&quantized)?;
        Ok(PoolGeometry { kernel: [shape.h, shape.w], stride: [1, 1], pad: [0; 4], count_include_pad: false })
    }

    fn pool(&self, node: &Node) -> Result<PoolGeometry, Reason> {
        let plain = node.int("ceil_mode", 0) == 0
            && node.text("auto_pad").is_none_or(|a| a == "NOTSET")
            && node.ints("dilations").is_none_or(|d| d.iter().all(|&d| d == 1))
            && node.outputs.get(1).is_none_or(String::is_empty);
        if !plain {
            return Err("it uses ceil_mode, auto_pad, dilations or index output".into());
        }
        let kernel = node.ints("kernel_shape").ok_or("it has no kernel_shape")?;
        Ok(PoolGeometry {
            kernel: pair(Some(kernel), 1)?,
            stride: pair(node.ints("strides"), 1)?,
            pad: pads(node)?,
            count_include_pad: node.int("count_include_pad", 0) == 1,
        })
    }

    /// y = f(x) for every stored integer. Each machine computes the table for itself, so nothing here may depend on its
    /// maths library: [`exp`] is our own.
    fn table(&self, node: &Node, x: Quant, y: Quant) -> Result<Box<[i8; 256]>, Reason> {
        let function: Box<dyn Fn(f64) -> f64> = match node.op.as_str() {
            "Relu" | "Clip" => {
                let (low, high) = self.clip_range(node)?;
                Box::new(move |v| v.max(low as f64).min(high as f64))
            }
            "Sigmoid" => Box::new(|v| 1.0 / (1.0 + exp(-v))),
            "Tanh" => Box::new(|v| 1.0 - 2.0 / (exp(2.0 * v) + 1.0)),
            "HardSigmoid" => {
                let (alpha, beta) = (node.float("alpha", 0.2) as f64, node.float("beta", 0.5) as f64);
                Box::new(move |v| (alpha * v + beta).clamp(0.0, 1.0))
            }
            "HardSwish" => Box::new(|v| v * (v / 6.0 + 0.5).clamp(0.0, 1.0)),
            _ => {
                let alpha = node.float("alpha", 0.01) as f64;
                Box::new(move |v| if v < 0.0 { alpha * v } else { v })
            }
        };
        let mut table = Box::new([0i8; 256]);
        for (index, entry) in table.iter_mut().enumerate() {
            let real = (index as i32 - 128 - x.zero as i32) as f32 * x.scale;
            let result = function(real as f64) as f32 / y.scale;
            let (low, high) = ((-128 - y.zero as i32) as f32, (127 - y.zero as i32) as f32);
            *entry = (result.clamp(low, high).round_ties_even() as i32 + y.zero as i32) as i8;
        }
        Ok(table)
    }

    /// A `QuantizeLinear` as an integer node of its own: the place where a float value enters.
    pub fn quantize(&self, i: usize) -> Result<IntegerNode, Reason> {
        let node = &self.graph.nodes[i];
        let quant = self.per_tensor(node)?;
        let x = node.input(0).unwrap_or_default().to_owned();
        if self.graph.initializers.contains_key(&x) {
            return Err("it quantizes a constant".into());
        }
        let output = Activation { name: node.outputs[0].clone(), quant };
        Ok(IntegerNode { covers: vec![i], inputs: vec![], output, kind: Kind::Quantize(x) })
    }
}

/// eˣ from IEEE additions and multiplications only, hence the same bits on every machine. Relative error below 1e-14 for
/// |x| ≤ 700; beyond, the ends.
///
/// x = k·ln 2 + r with |r| ≤ ½·ln 2, eˣ = 2ᵏ·eʳ, eʳ by its Taylor series to r¹⁴.
fn exp(x: f64) -> f64 {
    if x > 700.0 {
        return f64::INFINITY;
    }
    if x < -700.0 {
        return 0.0;
    }
    let k = (x / std::f64::consts::LN_2).round_ties_even();
    let r = x - k * std::f64::consts::LN_2;
    let series = (1..=14).rev().fold(1.0, |sum, n| 1.0 + sum * r / n as f64);
    series * f64::from_bits(((k as i64 + 1023) as u64) << 52)
}

fn all_zero(tensor: &Tensor) -> bool {
    match &tensor.data {
        Data::I8(v) => v.iter().all(|&z| z == 0),
        Data::U8(v) => v.iter().all(|&z| z == 0),
        Data::I32(v) => v.iter().all(|&z| z == 0),
        _ => false,
    }
}

fn to_u32(v: i64) -> Result<u32, Reason> {
    u32::try_from(v).map_err(|_| format!("a size of {v}"))
}

fn pair(ints: Option<&[i64]>, default: u32) -> Result<[u32; 2], Reason> {
    match ints {
        None => Ok([default; 2]),
        Some(&[a, b]) => Ok([to_u32(a)?, to_u32(b)?]),
        Some(other) => Err(format!("it works on {} axes, not 2", other.len())),
    }
}

/// ONNX order is all begins, then all ends: top, left, bottom, right.
fn pads(node: &Node) -> Result<[u32; 4], Reason> {
    match node.ints("pads") {
        None => Ok([0; 4]),
        Some(&[t, l, b, r]) => Ok([to_u32(t)?, to_u32(l)?, to_u32(b)?, to_u32(r)?]),
        Some(other) => Err(format!("it has {} pads, not 4", other.len())),
    }
}

#[cfg(test)]
mod tests {
    use super::exp;

    #[test]
    fn exp_is_that_of_the_library_to_the_last_digits() {
        for i in -7000..=7000 {
            let x = i as f64 / 10.0;
            assert!((exp(x) / x.exp() - 1.0).abs() < 1e-13, "exp({x}) = {} against {}", exp(x), x.exp());
        }
        assert_eq!((exp(0.0), exp(1e4), exp(-1e4)), (1.0, f64::INFINITY, 0.0));
    }
}
