//! What of a QDQ graph is integer arithmetic: the pattern `DequantizeLinear → operator → QuantizeLinear`.
//!
//! [`QdqGraph::integer_node`] says for one node which integer operation it is, or why it stays in float. Nothing here knows of
//! regions or plans' bytes; `compile` puts the answers together.

mod operators;
mod origin;

use std::collections::HashMap;

use limbeck_plan::{ConvGeometry, PoolGeometry, Shape};

use crate::facts::Fact;
use crate::functions;
use crate::onnx::{Data, Graph, Model, Node, Tensor};

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

impl Kind {
    /// Does it only move integers? Then its operands have the output's scale and zero point, or are brought to them first.
    pub fn moves_data(&self) -> bool {
        matches!(self, Kind::Concat | Kind::MaxPool(_) | Kind::Pad { .. } | Kind::Resize { .. } | Kind::Alias)
    }
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
    /// The second operand may be one value a channel.
    Mul,
    AveragePool(PoolGeometry),
    MaxPool(PoolGeometry),
    Concat,
    Pad {
        pad: [u32; 4],
        value: i8,
    },
    Resize {
        rows: Vec<u16>,
        columns: Vec<u16>,
    },
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
    opset: i64,
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
    pub fn new(model: &'a Model, facts: &'a HashMap<String, Fact>) -> Self {
        let graph = &model.graph;
        QdqGraph { graph, producers: graph.producers(), consumers: graph.consumers(), facts, opset: model.opset }
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
            None => self.default_zero(node)?,
            Some(name) => match self.graph.initializers.get(name).map(|t| &t.data) {
                Some(Data::U8(z)) if z.len() == 1 => (z[0] ^ 0x80) as i8,
                Some(Data::I8(z)) if z.len() == 1 => z[0],
                _ => return Err(format!("the zero point of {} is not one constant u8 or i8", node.title())),
            },
        };
        Ok(Quant { scale, zero })
    }

    /// The zero point 0 as stored, by the element type that the `QuantizeLinear` of a value without zero point names.
    fn default_zero(&self, node: &Node) -> Result<i8, Reason> {
        let q = match node.op.as_str() {
            "QuantizeLinear" => node,
            _ => self.producer(node.input(0).unwrap_or_default()).unwrap_or(node),
        };
        let of_q = q.input(2).and_then(|z| self.graph.initializers.get(z)).map(|z| z.data_type() as i64);
        match of_q.unwrap_or(q.int("output_dtype", 0)) {
            0 | 2 => Ok(-128), // u8, also where nothing is said (ONNX default)
            3 => Ok(0),        // i8
            other => Err(format!("{} has element type {other}, not u8 or i8", q.title())),
        }
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
            "Mul" => (self.factors(node, &node.outputs[0])?, Kind::Mul),
            "Pad" => {
                let inputs = one(self)?;
                let (_, output) = self.quantized_output(&node.outputs[0])?;
                let kind = self.pad(node, x, output.quant)?;
                (inputs, kind)
            }
            "Resize" => (one(self)?, self.resize(node, x)?),
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
            op if functions::NAMES.contains(&op) => {
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

    /// A constant by its name: an initializer, or what tract could compute without the input.
    fn constant(&self, value: &str) -> Option<&'a Tensor> {
        self.graph.initializers.get(value).or_else(|| self.facts.get(value)?.value.as_ref())
    }

    /// A `QuantizeLinear` as an integer node of its own: the place where a float value enters, or where a quantized one changes
    /// its scale.
    pub fn quantize(&self, i: usize) -> Result<IntegerNode, Reason> {
        let node = &self.graph.nodes[i];
        let quant = self.per_tensor(node)?;
        let x = node.input(0).unwrap_or_default().to_owned();
        if self.graph.initializers.contains_key(&x) {
            return Err("it quantizes a constant".into());
        }
        let output = Activation { name: node.outputs[0].clone(), quant };
        if let Ok(activation) = self.activation(&x) {
            if self.is_flattened_image(&activation) {
                return Err("it changes the scale of a flattened image, whose order in memory is another".into());
            }
            let table = functions::change_of_scale(activation.quant, quant);
            return Ok(IntegerNode { covers: vec![i], inputs: vec![activation], output, kind: Kind::Table(table) });
        }
        Ok(IntegerNode { covers: vec![i], inputs: vec![], output, kind: Kind::Quantize(x) })
    }
}

fn all_zero(tensor: &Tensor) -> bool {
    match &tensor.data {
        Data::I8(v) => v.iter().all(|&z| z == 0),
        Data::U8(v) => v.iter().all(|&z| z == 0),
        Data::I32(v) => v.iter().all(|&z| z == 0),
        _ => false,
    }
}
