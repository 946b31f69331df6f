//! ONNX in, tract inside.
//!
//! [`onnx`] is the model as data; [`normalise()`] brings it to the form that every later stage starts from; [`Net`] runs
//! a float model on tract; [`compile()`] finds the integer regions of a quantized model and turns each into one plan;
//! [`Student`] runs whatever a bundle holds, float or int8; [`Student::profile`] says where the time goes. What runs has float
//! convolutions of our own in tract's graph (`float`); what is differentiated ([`training_model`]) has them with their weights as inputs.
//!
//! tract is pinned and named here and in `limbeck-adapt` only.

#![forbid(unsafe_code)]

pub mod onnx;

mod compile;
mod error;
mod facts;
mod float;
mod functions;
mod integer_model;
mod moves;
mod net;
mod normalise;
mod observe;
mod path;
mod peak;
mod plan_op;
mod profile;
mod qdq;
mod steps;
mod student;
mod taps;

pub use compile::{Compiled, FloatNode, Region, compile};
pub use error::{EngineError, guarded, is_guarded};
pub use facts::{Fact, infer};
pub use functions::exp;
pub use integer_model::{IntegerModel, IntegerRegion, Layer, Origin};
pub use limbeck_kernels::float::FloatIsa;
// For `limbeck-adapt`, which differentiates them.
pub use float::{Kept, Outputs, ScaleChannels, Scratch, SumPixels, WiredConv, WiredDense, taps_first};
pub use limbeck_plan::Isa;
pub use net::{Net, PLANNED_BYTES, Worker, input_shape};
pub use normalise::normalise;
pub use observe::{Integers, Span, combined_digest};
pub use path::{ISA_VARIABLE, path, paths};
pub use peak::Peak;
pub use plan_op::PLAN_OP;
pub use profile::Profile;
pub use steps::Step;
pub use student::{Memory, Student, StudentWorker};
pub use taps::{Tap, Taps};

use tract_onnx::prelude::*;

/// What runs float models here, for files that depend on its arithmetic: `tract` and the pinned version.
pub const RUNTIME: &str = "tract 0.23.9";

/// tract's ONNX importer with our one operator added.
fn framework() -> tract_onnx::Onnx {
    let mut onnx = onnx();
    plan_op::register(&mut onnx);
    onnx
}

/// A model as tract's typed graph, decluttered, at a concrete input shape, with tract's operators only.
///
/// Further inputs (parameters that training turned into inputs) must be declared with concrete shapes.
pub fn typed_model(model: &onnx::Model, input_shape: &[usize]) -> Result<TypedModel, EngineError> {
    imported_model(model, input_shape)?.into_decluttered().map_err(EngineError::tract(CANNOT_TAKE))
}

/// The graph that `limbeck-adapt` differentiates: [`typed_model`], or on a float path the same function with convolutions of our own,
/// N H W C, whose weights are inputs of the operator ([`WiredConv`]).
pub fn training_model(
    model: &onnx::Model,
    input_shape: &[usize],
    path: Option<FloatIsa>,
) -> Result<TypedModel, EngineError> {
    let Some(isa) = path else { return typed_model(model, input_shape) };
    float::with_wired_convolutions(imported_model(model, input_shape)?, isa)
        .and_then(|m| m.into_decluttered())
        .map_err(EngineError::tract(CANNOT_TAKE))
}

const CANNOT_TAKE: &str = "cannot take the graph (an operator it does not know, or shapes that do not fit)";

/// The typed graph before tract changes it: one operator, or a few, for a node; an integer region is one named [`PLAN_OP`].
pub fn imported_model(model: &onnx::Model, input_shape: &[usize]) -> Result<TypedModel, EngineError> {
    let failed = EngineError::tract;
    let proto = onnx::emit::proto(&with_unmistakable_constants(model));
    let mut inference = framework().model_for_proto_model(&proto).map_err(failed("cannot read the graph"))?;
    inference.set_input_fact(0, f32::fact(input_shape).into()).map_err(failed("cannot take this input shape"))?;
    inference.into_typed().map_err(failed(CANNOT_TAKE))
}

/// tract makes node names such as `conv.bias` from a node `conv`, and refuses a name twice. Constants and parameters get
/// names that no node can have; nodes keep theirs, because errors quote them.
fn with_unmistakable_constants(model: &onnx::Model) -> onnx::Model {
    let renamed = |name: &str| format!("constant:{name}");
    let mut model = model.clone();
    let graph = &mut model.graph;
    let parameters = graph.inputs.iter().skip(1).map(|i| i.name.clone());
    let mut names: std::collections::HashSet<String> = graph.initializers.keys().cloned().chain(parameters).collect();
    names.retain(|name| !graph.is_output(name));
    for input in graph.nodes.iter_mut().flat_map(|n| &mut n.inputs).filter(|i| names.contains(*i)) {
        *input = renamed(input);
    }
    for input in graph.inputs.iter_mut().skip(1).filter(|i| names.contains(&i.name)) {
        input.name = renamed(&input.name);
    }
    let initializers = std::mem::take(&mut graph.initializers);
    let rename = |(name, t): (String, _)| (if names.contains(&name) { renamed(&name) } else { name }, t);
    graph.initializers = initializers.into_iter().map(rename).collect();
    model
}

/// Index of the largest value, the first on ties; 0 for an empty slice.
pub fn argmax(values: &[f32]) -> usize {
    let mut best = 0;
    for (i, v) in values.iter().enumerate() {
        if *v > values[best] {
            best = i;
        }
    }
    best
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_runtime_is_the_pinned_one() {
        let pinned = include_str!("../../../Cargo.toml").lines().find_map(|line| line.strip_prefix("tract-core = \"="));
        assert_eq!(pinned.map(|p| format!("tract {}", p.trim_matches('"'))).as_deref(), Some(super::RUNTIME));
    }
}
