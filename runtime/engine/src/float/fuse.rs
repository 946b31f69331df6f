//! Which convolutions are ours, and what after them goes into the same operator.
//!
//! ```text
//! Conv → (Mul | Div | Add | Sub) by constants a channel → Add of an image → (Max | Min) by a constant
//! ```
//! Each step but the first may be missing; none may have a second reader, or be an output. Weights that are inputs of the operator
//! ([`Weights::Wired`]) take no constants a channel.

use std::collections::HashMap;

use limbeck_kernels::float::conv_f32::{ConvShapeF32, Order, scratch_len};
use limbeck_kernels::float::depthwise_f32::MOST_TAPS;
use limbeck_kernels::{Image, Window};
use tract_onnx::prelude::*;
use tract_onnx::tract_core::ops::binary::TypedBinOp;
use tract_onnx::tract_core::ops::cnn::{Conv, KernelFormat};
use tract_onnx::tract_core::ops::math::{Add, Div, Max, Min, Mul, Sub};
use tract_onnx::tract_core::ops::nn::DataFormat;

/// Greatest height or width, padding included. A model may claim any; what is above stays tract's.
const MOST_EDGE: usize = 1 << 16;

/// Most values of scratch: a dilation far into a wide padding would copy a band of nothing but zeros.
const MOST_SCRATCH: usize = 1 << 24;

/// A convolution and what is fused to it.
pub(super) struct Chain {
    /// What it reads.
    pub(super) input: OutletId,
    /// An image to add.
    pub(super) addend: Option<OutletId>,
    pub(super) batch: usize,
    /// The order is not decided yet.
    pub(super) shape: ConvShapeF32,
    pub(super) depthwise: bool,
    pub(super) weights: Weights,
    pub(super) bounds: [f32; 2],
}

/// Where the weights of a convolution are.
pub(super) enum Weights {
    /// Constants: O I KH KW, and O.
    Held { weights: Vec<f32>, bias: Vec<f32> },
    /// Values of the graph, of the same shapes; they may change from run to run.
    Wired { weights: OutletId, bias: OutletId },
}

/// Which of the two a graph is to have.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Keeping {
    /// Constants only; other convolutions stay tract's.
    Held,
    /// All as inputs, and one sample a run: what is differentiated.
    Wired,
}

/// What becomes of a node.
pub(super) enum Role {
    /// Computed by a later node of its chain.
    Inner,
    /// The last of its chain, which computes it.
    Tail(Box<Chain>),
}

/// All chains, by node.
pub(super) fn chains(model: &TypedModel, keeping: Keeping) -> TractResult<HashMap<usize, Role>> {
    let mut roles: HashMap<usize, Role> = HashMap::new();
    for id in model.eval_order()? {
        let Some(mut chain) = convolution(model, model.node(id), keeping) else { continue };
        let mut tail = id;
        // A sum of two convolutions belongs to the first.
        while let Some(next) = only_reader(model, tail).filter(|n| !roles.contains_key(n)) {
            if !chain.takes(model, model.node(next), tail) {
                break;
            }
            roles.insert(tail, Role::Inner);
            tail = next;
        }
        roles.insert(tail, Role::Tail(Box::new(chain)));
    }
    Ok(roles)
}

fn only_reader(model: &TypedModel, id: usize) -> Option<usize> {
    let [output] = &model.node(id).outputs[..] else { return None };
    let [reader] = output.successors[..] else { return None };
    (!model.outputs.contains(&OutletId::new(id, 0))).then_some(reader.node)
}

fn constant(model: &TypedModel, outlet: OutletId) -> Option<Vec<f32>> {
    let value = model.outlet_fact(outlet).ok()?.konst.clone()?;
    (value.datum_type() == f32::datum_type()).then_some(())?;
    Some(value.try_as_plain_ram().ok()?.as_slice::<f32>().ok()?.to_vec())
}

fn convolution(model: &TypedModel, node: &TypedNode, keeping: Keeping) -> Option<Chain> {
    let conv = node.op_as::<Conv>()?;
    let [input, weights, bias] = node.inputs[..] else { return None };
    let spec = &conv.pool_spec;
    let plain =
        conv.q_params.is_none() && conv.kernel_fmt == KernelFormat::OIHW && spec.data_format == DataFormat::NCHW;
    let fact = model.outlet_fact(input).ok()?;
    let &[batch, channels, h, w] = fact.shape.as_concrete()? else { return None };
    let depthwise = conv.group == channels && conv.output_channels() == channels && channels >= 8;
    if !plain || fact.datum_type != f32::datum_type() || !(conv.group == 1 || depthwise) || batch == 0 || channels == 0
    {
        return None;
    }
    let pads = spec.computed_padding(&[h, w]);
    let ([pad_h, pad_w], &[kh, kw]) = (&pads[..], &spec.kernel_shape[..]) else { return None };
    let window = Window {
        kernel: [kh, kw],
        stride: [spec.stride(0), spec.stride(1)],
        dilation: [spec.dilation(0), spec.dilation(1)],
        pad: [pad_h.pad_before, pad_w.pad_before, pad_h.pad_after, pad_w.pad_after],
    };
    let edges = [(h, 0), (w, 1)].map(|(size, a)| size.saturating_add(window.pad[a]).saturating_add(window.pad[a + 2]));
    if edges.iter().any(|&edge| edge > MOST_EDGE) {
        return None;
    }
    let x = Image { h, w, c: channels };
    let shape = ConvShapeF32 { x, order: Order::Interleaved, channels: conv.output_channels(), window };
    let [out_h, out_w] = window.output(h, w)?;
    let output = node.outputs.first()?.fact.shape.as_concrete()?;
    let weights = match keeping {
        Keeping::Held => Weights::Held { weights: constant(model, weights)?, bias: constant(model, bias)? },
        Keeping::Wired if batch == 1 => Weights::Wired { weights, bias },
        Keeping::Wired => return None,
    };
    let depth = if depthwise { window.taps() } else { shape.depth() };
    let fits = output == [batch, shape.channels, out_h, out_w]
        && weights.lens(model) == Some([shape.channels * depth, shape.channels])
        && !(depthwise && window.taps() > MOST_TAPS)
        && (depthwise || scratch_len(&ConvShapeF32 { order: Order::Planar, ..shape }) <= MOST_SCRATCH);
    let bounds = [f32::NEG_INFINITY, f32::INFINITY];
    fits.then_some(Chain { input, addend: None, batch, shape, depthwise, weights, bounds })
}

impl Weights {
    /// How many weights and biases.
    fn lens(&self, model: &TypedModel) -> Option<[usize; 2]> {
        let len = |outlet: OutletId, rank: usize| {
            let fact = model.outlet_fact(outlet).ok()?;
            let shape = fact.shape.as_concrete()?;
            let plain = fact.datum_type == f32::datum_type() && shape.len() == rank;
            plain.then(|| shape.iter().product())
        };
        match self {
            Weights::Held { weights, bias } => Some([weights.len(), bias.len()]),
            &Weights::Wired { weights, bias } => Some([len(weights, 4)?, len(bias, 1)?]),
        }
    }
}

impl Chain {
    /// Takes a node that reads `from`, the last of the chain so far, into the chain, if that changes no result.
    fn takes(&mut self, model: &TypedModel, node: &TypedNode, from: usize) -> bool {
        let Some(op) = node.op_as::<TypedBinOp>() else { return false };
        let [a, b] = node.inputs[..] else { return false };
        let (Ok(before), Some(after)) = (model.outlet_fact(OutletId::new(from, 0)), node.outputs.first()) else {
            return false;
        };
        let after = &after.fact;
        if before.shape != after.shape || before.datum_type != after.datum_type {
            return false;
        }
        let (other, is_left) = if a.node == from { (b, true) } else { (a, false) };
        let unbounded = self.bounds == [f32::NEG_INFINITY, f32::INFINITY];
        let Some(values) = constant(model, other) else {
            let image = op.0.is::<Add>() && self.addend.is_none() && unbounded && !self.depthwise && other.node != from;
            let same =
                model.outlet_fact(other).is_ok_and(|f| f.shape == before.shape && f.datum_type == before.datum_type);
            if image && same {
                self.addend = Some(other);
            }
            return image && same;
        };
        if let [bound] = values[..]
            && !bound.is_nan()
        {
            let [low, high] = self.bounds;
            if op.0.is::<Max>() && bound <= high {
                self.bounds = [low.max(bound), high];
                return true;
            }
            if op.0.is::<Min>() && bound >= low {
                self.bounds = [low, high.min(bound)];
                return true;
            }
        }
        let Some(channels) = self.by_channel(model, other, values) else { return false };
        if !unbounded || self.addend.is_some() || channels.iter().any(|v| !v.is_finite()) {
            return false;
        }
        let Weights::Held { weights, bias } = &mut self.weights else { return false };
        match () {
            _ if op.0.is::<Mul>() => scale(weights, bias, &channels),
            _ if op.0.is::<Div>() && is_left && channels.iter().all(|v| v.recip().is_finite()) => {
                scale(weights, bias, &channels.iter().map(|v| v.recip()).collect::<Vec<_>>())
            }
            _ if op.0.is::<Add>() => bias.iter_mut().zip(channels).for_each(|(b, v)| *b += v),
            _ if op.0.is::<Sub>() && is_left => bias.iter_mut().zip(channels).for_each(|(b, v)| *b -= v),
            _ => return false,
        }
        true
    }

    /// A constant as one value a channel, if it is that, or one value for all.
    fn by_channel(&self, model: &TypedModel, outlet: OutletId, values: Vec<f32>) -> Option<Vec<f32>> {
        let channels = self.shape.channels;
        let shape = model.outlet_fact(outlet).ok()?.shape.as_concrete()?;
        match values[..] {
            [value] => Some(vec![value; channels]),
            _ if shape == [1, channels, 1, 1] => Some(values),
            _ => None,
        }
    }
}

fn scale(weights: &mut [f32], bias: &mut [f32], channels: &[f32]) {
    let depth = weights.len() / channels.len();
    for ((w, b), v) in weights.chunks_exact_mut(depth).zip(bias).zip(channels) {
        w.iter_mut().for_each(|w| *w *= v);
        *b *= v;
    }
}
