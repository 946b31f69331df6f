//! A QDQ model taken apart for training: what is float as a graph, each integer region as the spec of its plan.
//!
//! The spec is the one that [`crate::compile`] turns into a plan, so whoever trains it has the same scales, the same fused clamps,
//! the same changes of scale.

use limbeck_plan::{OpSpec, PlanSpec};

use crate::compile::{Analysis, BuiltRegion, analyse};
use crate::error::EngineError;
use crate::functions;
use crate::onnx::Model;
use crate::qdq::Quant;

/// A quantized model, its integer regions apart.
#[derive(Debug, Clone)]
pub struct IntegerModel {
    /// The graph with each region as one node, whose name is [`IntegerRegion::name`] and which reads and writes floats.
    pub rest: Model,
    /// In execution order.
    pub regions: Vec<IntegerRegion>,
}

/// One integer region.
#[derive(Debug, Clone)]
pub struct IntegerRegion {
    /// Name of its node in [`IntegerModel::rest`].
    pub name: String,
    /// Tensors and ops.
    pub spec: PlanSpec,
    /// One for each op.
    pub origins: Vec<Origin>,
    /// Shape of one sample of each output, as the ONNX graph has it.
    pub output_dims: Vec<Vec<usize>>,
}

/// What a spec's op does not say.
#[derive(Debug, Clone)]
pub enum Origin {
    /// A convolution or matrix product.
    Layer(Layer),
    /// A table: dy/dx for each of its 256 entries, in steps of y a step of x; 0 where y is saturated.
    Function(Box<[f32; 256]>),
    /// Nothing: the spec says all.
    Fixed,
}

/// A convolution or matrix product of the graph, with the names of its constants there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layer {
    /// Name of the node.
    pub node: String,
    /// The i8 weights.
    pub weights: String,
    /// Their scales, one or one an output channel.
    pub scale: String,
    /// The i32 bias.
    pub bias: Option<String>,
    /// Its scales.
    pub bias_scale: Option<String>,
    /// The weights are I × O, not O × I.
    pub transposed: bool,
}

impl IntegerModel {
    /// Take `model` apart.
    ///
    /// # Errors
    /// Those of [`crate::compile`]; a model in which nothing is integer.
    pub fn of(model: &Model) -> Result<IntegerModel, EngineError> {
        analyse(model, |found| {
            if found.regions.is_empty() {
                return Err(EngineError::Unsuitable("nothing in the model is quantized; quantize it first".into()));
            }
            let regions = found.regions.iter().map(|(_, region)| take_apart(found, region)).collect();
            Ok(IntegerModel { rest: found.rest(), regions })
        })
    }
}

fn take_apart(found: &Analysis<'_>, region: &BuiltRegion) -> IntegerRegion {
    let quant = |id: usize| {
        let tensor = &region.spec.tensors[id];
        Quant { scale: tensor.scale, zero: tensor.zero }
    };
    let origin = |(op, source): (&OpSpec, &Option<usize>)| {
        let node = source.map(|i| &found.view.graph.nodes[i]);
        match op {
            OpSpec::Conv { .. } | OpSpec::Dense { .. } => {
                node.and_then(|n| found.view.layer(n)).map_or(Origin::Fixed, Origin::Layer)
            }
            OpSpec::Table { x, y, .. } => {
                let (x, y) = (quant(*x), quant(*y));
                let own = node.and_then(|n| found.view.slopes(n, x, y));
                Origin::Function(own.unwrap_or_else(|| functions::slopes(|v| v, x, y)))
            }
            _ => Origin::Fixed,
        }
    };
    let mut flat = region.node.ints("shapes").unwrap_or_default().iter().map(|&d| d as usize);
    let mut output_dims = vec![];
    while let Some(rank) = flat.next() {
        output_dims.push(flat.by_ref().take(rank).collect());
    }
    IntegerRegion {
        name: region.node.name.clone(),
        spec: region.spec.clone(),
        origins: region.spec.ops.iter().zip(&region.sources).map(origin).collect(),
        output_dims,
    }
}
