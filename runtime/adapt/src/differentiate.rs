//! Reverse mode from [`TypedModel`] to [`TypedModel`]: the gradient of a tract model is a tract model.
//!
//! The forward graph is copied; every node that reads a trained tensor, directly or not, is *needed*; the loss is wired to
//! the output, or a gradient is taken in for each output ([`Towards`]); then the needed nodes are walked backwards, each asks its rule
//! ([`crate::rules`]) for the gradients of its inputs, and contributions to one value are summed. What is not needed is never wired, so
//! freezing a tensor prunes the graph by itself.
//!
//! Inputs of the result: the data, teacher logits and label or the outputs' gradients, then the trained tensors. Outputs: the loss parts or
//! the first output, then one gradient per trained tensor, both lists last to first: tract runs the ready node of lowest id next, and ids follow the
//! outputs, so gradients are made, and their activations freed, as early as possible (reference/training.md §4).

use std::collections::{HashMap, HashSet};

use tract_core::internal::*;
use tract_core::ops::source::TypedSource;

use crate::canonical::canonical;
use crate::error::AdaptError;
use crate::loss::Loss;
use crate::ops::{ConvDx, DistillLoss};
use crate::rules;
use crate::way_out::{onnx_name, way_out};

/// What a rule sees of the node it differentiates, and where it wires.
pub(crate) struct Backward<'a> {
    /// The graph being built: forward copy, loss, gradients.
    pub model: &'a mut TypedModel,
    forward: &'a TypedModel,
    /// The node, in the forward graph.
    pub node: &'a TypedNode,
    wires: &'a HashMap<OutletId, OutletId>,
    needed: &'a HashSet<OutletId>,
    counter: &'a mut usize,
}

impl Backward<'_> {
    /// Wire one operator under a fresh name.
    pub fn wire(&mut self, label: &str, op: impl Into<Box<dyn TypedOp>>, inputs: &[OutletId]) -> TractResult<OutletId> {
        *self.counter += 1;
        let name = format!("d{}.{}.{label}", self.counter, self.node.name);
        Ok(self.model.wire_node(name, op, inputs)?[0])
    }

    /// A constant under a fresh name.
    pub fn constant(&mut self, label: &str, value: Tensor) -> TractResult<OutletId> {
        *self.counter += 1;
        self.model.add_const(format!("d{}.{}.{label}", self.counter, self.node.name), value)
    }

    /// Input `slot` of the node, in the graph being built.
    pub fn input(&self, slot: usize) -> OutletId {
        self.wires[&self.node.inputs[slot]]
    }

    /// The node's first output, in the graph being built.
    pub fn output(&self) -> OutletId {
        self.wires[&OutletId::new(self.node.id, 0)]
    }

    /// Does a trained tensor stand behind input `slot`?
    pub fn needs(&self, slot: usize) -> bool {
        self.needed.contains(&self.node.inputs[slot])
    }

    /// The input slots that a trained tensor stands behind.
    pub fn needed_slots(&self) -> TVec<usize> {
        (0..self.node.inputs.len()).filter(|&slot| self.needs(slot)).collect()
    }

    /// The value of input `slot`, if it is a constant.
    pub fn constant_input(&self, slot: usize) -> TractResult<Option<Arc<Tensor>>> {
        Ok(self.forward.outlet_fact(self.node.inputs[slot])?.konst.clone())
    }

    /// Shape of a value in the graph being built.
    pub fn shape(&self, outlet: OutletId) -> TractResult<TVec<usize>> {
        let shape = &self.model.outlet_fact(outlet)?.shape;
        Ok(shape.as_concrete().with_context(|| format!("symbolic shape {shape:?}"))?.into())
    }

    /// Element type of a value in the graph being built.
    pub fn datum_type(&self, outlet: OutletId) -> TractResult<DatumType> {
        Ok(self.model.outlet_fact(outlet)?.datum_type)
    }

    /// Same elements, other shape.
    pub fn reshape(&mut self, value: OutletId, to: &[usize]) -> TractResult<OutletId> {
        let from = self.shape(value)?;
        if &*from == to {
            return Ok(value);
        }
        let dims = |shape: &[usize]| shape.iter().map(|d| d.to_dim()).collect::<TVec<_>>();
        self.wire("reshape", AxisOp::Reshape(0, dims(&from), dims(to)), &[value])
    }

    /// Sum a gradient over the axes along which its value was broadcast.
    pub fn unbroadcast(&mut self, gradient: OutletId, to: &[usize]) -> TractResult<OutletId> {
        use tract_core::ops::nn::{Reduce, Reducer};
        let from = self.shape(gradient)?;
        ensure!(from.len() == to.len(), "gradient of rank {} for a value of rank {}", from.len(), to.len());
        let axes: TVec<usize> = (0..to.len()).filter(|&axis| from[axis] != to[axis]).collect();
        if axes.is_empty() {
            return Ok(gradient);
        }
        self.wire("unbroadcast", Reduce { axes, reducer: Reducer::Sum }, &[gradient])
    }
}

/// Where the gradients begin.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Towards<'a> {
    /// At a loss of the one output, inside the graph.
    Loss(&'a Loss),
    /// At gradients of all outputs that come in from outside, in the order of the outputs.
    Outputs,
}

/// The training graph of `forward` with respect to some of its inputs, those at the places `trained`; the others are its data (x, or the
/// values that cross from a frozen part).
pub(crate) fn differentiate(
    forward: &TypedModel,
    trained: &[usize],
    towards: Towards<'_>,
) -> Result<TypedModel, AdaptError> {
    let building = || AdaptError::tract("cannot build the training graph");
    let forward = &canonical(forward).map_err(building())?;
    let inputs = forward.input_outlets().map_err(building())?.to_vec();
    let outputs = forward.output_outlets().map_err(building())?.to_vec();
    let order = forward.eval_order().map_err(building())?;
    let trained: Vec<OutletId> = trained.iter().map(|&place| inputs[place]).collect();
    let trained_nodes: HashSet<usize> = trained.iter().map(|o| o.node).collect();

    let mut model = TypedModel { symbols: forward.symbols.clone(), ..TypedModel::default() };
    let mut wires: HashMap<OutletId, OutletId> = HashMap::new();
    let needed = crate::split::needed(forward, &trained).map_err(building())?;
    for &input in &inputs {
        let fact = forward.outlet_fact(input).map_err(building())?.without_value();
        let name = forward.node(input.node).name.clone();
        wires.insert(input, model.add_source(name, fact).map_err(building())?);
    }
    for &id in &order {
        let node = forward.node(id);
        if node.op_is::<TypedSource>() {
            continue;
        }
        let from: TVec<OutletId> = node.inputs.iter().map(|i| wires[i]).collect();
        let to = model.wire_node(node.name.clone(), node.op.clone(), &from).map_err(building())?;
        wires.extend(to.into_iter().enumerate().map(|(slot, outlet)| (OutletId::new(id, slot), outlet)));
    }

    let begun = match towards {
        Towards::Loss(loss) => at_loss(&mut model, loss, &outputs, &wires)?,
        Towards::Outputs => at_outputs(&mut model, &outputs, &wires).map_err(building())?,
    };
    let mut gradients = begun.gradients;
    let mut counter = 0;
    for &id in order.iter().rev() {
        let node = forward.node(id);
        if trained_nodes.contains(&id) || !needed.contains(&OutletId::new(id, 0)) {
            continue;
        }
        let Some(&gradient) = gradients.get(&OutletId::new(id, 0)) else { continue };
        let no_gradient = |why: String| AdaptError::NoGradient {
            node: node.name.clone(),
            op: node.op.name().into_owned(),
            why,
            way_out: way_out(forward, id, &trained),
        };
        if node.outputs.len() > 1 {
            return Err(no_gradient("it has several outputs".into()));
        }
        let backward =
            &mut Backward { model: &mut model, forward, node, wires: &wires, needed: &needed, counter: &mut counter };
        let contributions = rules::apply(backward, gradient).map_err(|e| no_gradient(format!("{e:#}")))?;
        for (slot, contribution) in contributions {
            let value = node.inputs[slot];
            let sum = match gradients.get(&value) {
                Some(&so_far) => {
                    counter += 1;
                    add(&mut model, format!("d{counter}.sum"), so_far, contribution).map_err(building())?
                }
                None => contribution,
            };
            gradients.insert(value, sum);
        }
    }

    let data = inputs.iter().filter(|input| !trained.contains(input));
    let mut final_inputs: Vec<OutletId> = data.map(|input| wires[input]).chain(begun.inputs).collect();
    let mut final_outputs = vec![begun.first];
    for &input in trained.iter().rev() {
        let name = onnx_name(forward, input.node);
        let gradient = gradients.get(&input).ok_or_else(|| {
            AdaptError::Unsuitable(format!(
                "the output does not depend on \"{name}\", so it cannot be trained; freeze it"
            ))
        })?;
        final_inputs.push(wires[&input]);
        final_outputs.push(*gradient);
    }
    model.set_input_outlets(&final_inputs).map_err(building())?;
    model.select_output_outlets(&final_outputs).map_err(building())?;
    Ok(model)
}

/// What the backward walk begins with.
struct Begun {
    /// Inputs behind the data.
    inputs: Vec<OutletId>,
    /// The first output.
    first: OutletId,
    /// Of the forward graph's outputs.
    gradients: HashMap<OutletId, OutletId>,
}

fn at_loss(
    model: &mut TypedModel,
    loss: &Loss,
    outputs: &[OutletId],
    wires: &HashMap<OutletId, OutletId>,
) -> Result<Begun, AdaptError> {
    let [y] = outputs[..] else {
        return Err(AdaptError::Unsuitable(format!("the model has {} outputs; training wants one", outputs.len())));
    };
    let mut wire = || -> TractResult<Begun> {
        let logits = model.outlet_fact(wires[&y])?.without_value();
        let teacher = model.add_source("limbeck.teacher", logits)?;
        let label = model.add_source("limbeck.label", i64::scalar_fact())?;
        let loss = model.wire_node("limbeck.loss", DistillLoss(*loss), &[wires[&y], teacher, label])?;
        Ok(Begun { inputs: vec![teacher, label], first: loss[0], gradients: HashMap::from([(y, loss[1])]) })
    };
    wire().map_err(AdaptError::tract("cannot build the training graph"))
}

fn at_outputs(model: &mut TypedModel, outputs: &[OutletId], wires: &HashMap<OutletId, OutletId>) -> TractResult<Begun> {
    let first = wires[outputs.first().context("a model without outputs")?];
    let mut begun = Begun { inputs: vec![], first, gradients: HashMap::new() };
    for (i, y) in outputs.iter().enumerate() {
        let fact = model.outlet_fact(wires[y])?.without_value();
        let gradient = model.add_source(format!("limbeck.d.{i}"), fact)?;
        begun.inputs.push(gradient);
        let sum = match begun.gradients.get(y) {
            Some(&so_far) => add(model, format!("limbeck.d.{i}.sum"), so_far, gradient)?,
            None => gradient,
        };
        begun.gradients.insert(*y, sum);
    }
    Ok(begun)
}

/// The sum of two contributions to one gradient; a convolution's takes the other along.
fn add(model: &mut TypedModel, name: String, so_far: OutletId, more: OutletId) -> TractResult<OutletId> {
    let node = model.node(more.node);
    if let (Some(dx), &[dy, w]) = (node.op_as::<ConvDx>().filter(|dx| !dx.depthwise), &node.inputs[..]) {
        let dx = dx.clone();
        return Ok(model.wire_node(name, dx, &[dy, w, so_far])?[0]);
    }
    Ok(model.wire_node(name, tract_core::ops::math::add(), &[so_far, more])?[0])
}
