//! Training a quantized model: what training sees is what the int8 plan computes.
//!
//! The file is standard QDQ. Opening it rewrites each integer region into operators of [`crate::ops::integer`], which give the
//! plan's integers; trained are float *masters* of the weights and biases, and if wanted the scales of the weights (LSQ). Closing
//! rounds the masters into the file and leaves all else as it was. Activation scales are the file's, and stay.
//!
//! | file | what it does |
//! |---|---|
//! | `layer` | integers of a layer ↔ masters |
//! | `region` | a region as operators |
//! | `constants` | constants of the file by name |
//! | `simulation` | the forward graph alone, with every integer |

mod constants;
mod layer;
mod region;
mod simulation;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use limbeck_engine::onnx::{Data, Model, Tensor};
use limbeck_engine::{IntegerModel, Origin, PLAN_OP, imported_model, normalise};
use limbeck_plan::OpSpec;
use tract_core::internal::*;
use tract_core::ops::source::TypedSource;

use crate::error::AdaptError;
use crate::parameters::Parameters;
use layer::{Site, TrainedLayer};
use region::{LayerWires, Tap, TrainedRegion};

pub use simulation::{Simulated, Simulation};

/// How to open a quantized model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct QuantizedOptions {
    /// Train the scales of the weights too.
    pub learned_scales: bool,
    /// 8 or 4; `None` is what the file says of itself (`limbeck.weight_bits`), else 8. A layer with integers beyond ±7 has 8.
    pub weight_bits: Option<u8>,
}

/// The file, and what training needs to come back to it.
#[derive(Debug, Clone)]
pub(crate) struct QuantizedFile {
    file: Model,
    layers: Vec<TrainedLayer>,
    regions: HashMap<String, Arc<TrainedRegion>>,
}

impl QuantizedFile {
    /// The model that is differentiated, all that can be trained of it, and the way back.
    pub fn open(
        qdq: &Model,
        float: Option<&Model>,
        options: &QuantizedOptions,
    ) -> Result<(Model, Parameters, QuantizedFile), AdaptError> {
        if options.weight_bits.is_some_and(|bits| bits != 4 && bits != 8) {
            return Err(AdaptError::Unsuitable("weights have 4 or 8 bits".into()));
        }
        let IntegerModel { rest: mut model, regions } = IntegerModel::of(qdq)?;
        let float = float.map(normalise).transpose()?;
        let image = qdq.graph.inputs.first().map(|i| i.name.clone()).unwrap_or_default();
        let place: HashMap<&str, usize> =
            (qdq.graph.nodes.iter().enumerate()).map(|(i, n)| (n.name.as_str(), i)).collect();
        let mut file = QuantizedFile { file: qdq.clone(), layers: vec![], regions: HashMap::new() };
        let mut found = Found { place, tensors: vec![] };
        let (mut own, mut of) = (0, 0);
        for region in regions {
            let node = model.graph.nodes.iter_mut().find(|n| n.name == region.name);
            let Some(node) = node else { continue };
            let mut trained = TrainedRegion { layers: vec![], slopes: vec![], region: region.clone() };
            for (op, origin) in region.spec.ops.iter().zip(&region.origins) {
                trained.slopes.push(match origin {
                    Origin::Function(slopes) => Some(slopes.clone()),
                    _ => None,
                });
                let (Origin::Layer(layer), OpSpec::Conv { x, scale, .. } | OpSpec::Dense { x, scale, .. }) =
                    (origin, op)
                else {
                    trained.layers.push(None);
                    continue;
                };
                let entry = region.spec.inputs.iter().position(|input| input == x);
                let site = Site {
                    layer,
                    x_scale: region.spec.tensors[*x].scale,
                    channels: scale.len(),
                    first: entry.is_some_and(|slot| node.inputs[slot] == image),
                };
                let (layer, masters) = TrainedLayer::open(qdq, float.as_ref(), &site, options)?;
                (own, of) = (own + masters.own, of + masters.of);
                let mut slot = |name: &str, value: Tensor| {
                    found.add(&layer.layer.node, name, value);
                    node.inputs.iter().position(|i| i == name).unwrap_or_else(|| {
                        node.inputs.push(name.to_owned());
                        node.inputs.len() - 1
                    })
                };
                let zeros = vec![0.0; layer.quant.scale.base.len()];
                let line = |values: Vec<f32>| Tensor::f32(&[values.len()], values);
                trained.layers.push(Some(LayerWires {
                    quant: layer.quant.clone(),
                    offset: layer.offset.clone(),
                    weights: slot(&layer.weights, masters.weights),
                    bias: layer.bias.as_ref().zip(masters.bias).map(|(name, bias)| slot(name, line(bias))),
                    theta: layer.theta.as_ref().map(|name| slot(name, line(zeros))),
                }));
                file.layers.push(layer);
            }
            file.regions.insert(region.name.clone(), Arc::new(trained));
        }
        if float.is_some() {
            log::info!("{own} of {of} masters are the float student's own, the others are the file's integers");
        }
        file.check_names(&model)?;
        found.add_float_tensors(&model);
        for (_, name, tensor) in &found.tensors {
            model.graph.initializers.insert(name.clone(), tensor.clone());
        }
        let parameters = Parameters::listed(found.in_graph_order());
        Ok((model, parameters, file))
    }

    /// Every trained tensor has one layer, and a name that no value has.
    fn check_names(&self, model: &Model) -> Result<(), AdaptError> {
        let mut taken: HashSet<&str> = model.graph.nodes.iter().flat_map(|n| &n.outputs).map(String::as_str).collect();
        let mut scales: HashSet<&str> = HashSet::new();
        for TrainedLayer { layer, weights, bias, theta, .. } in &self.layers {
            let node = &layer.node;
            for name in [Some(weights), bias.as_ref()].into_iter().flatten() {
                if !taken.insert(name) {
                    return Err(AdaptError::Unsuitable(format!(
                        "layer \"{node}\": \"{name}\" is another layer's too, or another value's name; give each layer constants of its own"
                    )));
                }
            }
            let of_layer = [Some(&layer.scale), layer.bias_scale.as_ref()];
            if theta.is_some() && of_layer.into_iter().flatten().any(|name| !scales.insert(name)) {
                return Err(AdaptError::Unsuitable(format!(
                    "layer \"{node}\" shares the scales of its weights with another; train it without learned scales"
                )));
            }
        }
        Ok(())
    }

    /// The file with the integers of trained values; `value` gives a trained tensor by name, trained or not.
    pub fn close<'v>(&self, value: impl Fn(&str) -> Option<&'v [f32]>) -> Result<Model, AdaptError> {
        let mut model = self.file.clone();
        for layer in &self.layers {
            layer.close(&mut model.graph, &value)?;
        }
        let float_names: Vec<String> = model.graph.initializers.keys().cloned().collect();
        let integers: Vec<&str> = self.layers.iter().map(|l| l.layer.scale.as_str()).collect();
        for name in float_names.iter().filter(|name| !integers.contains(&name.as_str())) {
            let is_layer = self.layers.iter().any(|l| &l.weights == name || l.bias.as_ref() == Some(name));
            if let (false, Some(values), Some(tensor)) = (is_layer, value(name), model.graph.initializers.get_mut(name))
                && matches!(&tensor.data, Data::F32(old) if old.len() == values.len())
            {
                tensor.data = Data::F32(values.to_vec());
            }
        }
        Ok(model)
    }

    /// The typed graph of an opened model whose trained tensors are inputs, regions as operators, and every integer tensor.
    pub fn expanded(&self, model: &Model, input_shape: &[usize]) -> Result<(TypedModel, Vec<Tap>), AdaptError> {
        let imported = imported_model(model, input_shape)?;
        self.expand(&imported).map_err(AdaptError::tract("cannot open the integer regions"))
    }

    /// The same, ready to be differentiated.
    pub fn forward(&self, model: &Model, input_shape: &[usize]) -> Result<TypedModel, AdaptError> {
        let (model, _) = self.expanded(model, input_shape)?;
        model.into_decluttered().map_err(AdaptError::tract("cannot open the integer regions"))
    }

    fn expand(&self, imported: &TypedModel) -> TractResult<(TypedModel, Vec<Tap>)> {
        let mut model = TypedModel { symbols: imported.symbols.clone(), ..TypedModel::default() };
        let mut wires: HashMap<OutletId, OutletId> = HashMap::new();
        let mut taps = vec![];
        for &input in imported.input_outlets()? {
            let fact = imported.outlet_fact(input)?.without_value();
            wires.insert(input, model.add_source(imported.node(input.node).name.clone(), fact)?);
        }
        for id in imported.eval_order()? {
            let node = imported.node(id);
            if node.op_is::<TypedSource>() {
                continue;
            }
            let inputs: TVec<OutletId> = node.inputs.iter().map(|i| wires[i]).collect();
            let outputs = match self.regions.get(&node.name).filter(|_| node.op.name() == PLAN_OP) {
                Some(region) => {
                    let (outputs, of_region) = region.wire(&node.name, &mut model, &inputs)?;
                    taps.extend(of_region);
                    outputs
                }
                None => model.wire_node(node.name.clone(), node.op.clone(), &inputs)?,
            };
            wires.extend(outputs.into_iter().enumerate().map(|(slot, to)| (OutletId::new(id, slot), to)));
        }
        let ends = |outlets: &[OutletId]| outlets.iter().map(|o| wires[o]).collect::<Vec<_>>();
        model.set_input_outlets(&ends(imported.input_outlets()?))?;
        model.select_output_outlets(&ends(imported.output_outlets()?))?;
        Ok((model, taps))
    }
}

/// Trained tensors and the nodes that read them.
struct Found<'a> {
    /// Position of each node of the file.
    place: HashMap<&'a str, usize>,
    /// Position of the reader, name, first value.
    tensors: Vec<(usize, String, Tensor)>,
}

impl Found<'_> {
    fn add(&mut self, node: &str, name: &str, value: Tensor) {
        if !self.tensors.iter().any(|(_, known, _)| known == name) {
            let place = self.place.get(node).copied().unwrap_or(usize::MAX);
            self.tensors.push((place, name.to_owned(), value));
        }
    }

    /// Weights and biases of the layers that stay in float.
    fn add_float_tensors(&mut self, rest: &Model) {
        let Ok(float) = Parameters::of(rest) else { return };
        for ((name, dims), values) in float.names().iter().zip(float.dims()).zip(&float.values) {
            let reader = rest.graph.nodes.iter().find(|n| n.inputs.contains(name));
            self.add(reader.map_or("", |n| &n.name), name, Tensor::f32(dims, values.clone()));
        }
    }

    fn in_graph_order(mut self) -> Vec<(String, Tensor)> {
        // Stable: weights, bias, scales of one layer stay in that order.
        self.tensors.sort_by_key(|(place, _, _)| *place);
        self.tensors.into_iter().map(|(_, name, tensor)| (name, tensor)).collect()
    }
}
