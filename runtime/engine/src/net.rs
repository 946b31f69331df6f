//! A float network on tract, with convolutions of our own where they are faster (`float`).
//!
//! x (B, C, H, W) or whatever the model declares, f32, row-major → one f32 tensor per output.

use std::sync::Arc;

use limbeck_plan::PackedPlanBuf;
use tract_onnx::prelude::*;
use tract_onnx::tract_core::plan::eval;

use crate::error::{EngineError, guarded};
use crate::observe::timed_node;
use crate::onnx::{Dim, Model, Value};
use crate::plan_op::PlanOp;
use crate::steps::is_step;

/// No model may plan more than this many bytes of activations where nothing is known of the machine.
pub const PLANNED_BYTES: u64 = 8 << 30;

/// A model prepared to run at one batch size. Cheap to share; each thread runs its own [`Worker`].
#[derive(Clone)]
pub struct Net {
    plan: Arc<TypedRunnableModel>,
    input_shape: Vec<usize>,
    output_shapes: Vec<Vec<usize>>,
}

/// One thread's state. Kernel scratch lives here, so keep it across runs.
pub struct Worker {
    state: TypedSimpleState,
    input_shape: Vec<usize>,
}

/// The shape of the model's one input at a batch size.
///
/// Only the first dimension may be symbolic.
pub fn input_shape(model: &Model, batch: usize) -> Result<Vec<usize>, EngineError> {
    let [input] = &model.graph.inputs[..] else {
        let names: Vec<_> = model.graph.inputs.iter().map(|i| i.name.as_str()).collect();
        return Err(EngineError::Unsuitable(format!(
            "the model has {} inputs ({}); Limbeck runs models with one image input",
            names.len(),
            names.join(", ")
        )));
    };
    concrete(input, batch)
}

fn concrete(value: &Value, batch: usize) -> Result<Vec<usize>, EngineError> {
    if value.data_type != crate::onnx::F32 {
        return Err(EngineError::Unsuitable(format!(
            "input \"{}\" is not f32 (ONNX element type {}); export the model with float inputs",
            value.name, value.data_type
        )));
    }
    let size = |(i, d): (usize, &Dim)| match d {
        Dim::Symbol(_) if i == 0 => Ok(batch),
        Dim::Known(n) if i > 0 || *n == batch => Ok(*n),
        Dim::Known(n) => Err(EngineError::Unsuitable(format!(
            "input \"{}\" has the fixed batch {n}, wanted {batch}; export it with a dynamic batch",
            value.name
        ))),
        Dim::Symbol(s) => Err(EngineError::Unsuitable(format!(
            "dimension {i} of input \"{}\" is the symbol \"{s}\"; export the model with a fixed image size",
            value.name
        ))),
    };
    value.dims.iter().enumerate().map(size).collect()
}

impl Net {
    /// Prepare a model for `batch` samples a run.
    pub fn load(model: &Model, batch: usize) -> Result<Net, EngineError> {
        Net::load_with_taps(model, batch, &[])
    }

    /// The same, if all tensors of a run together take at most `planned_bytes`; they are counted before any is allocated.
    pub(crate) fn load_within(model: &Model, batch: usize, planned_bytes: u64) -> Result<Net, EngineError> {
        Net::prepare(model, batch, &[], planned_bytes)
    }

    /// The same, with more values to hand out after the model's own outputs.
    pub fn load_with_taps(model: &Model, batch: usize, taps: &[String]) -> Result<Net, EngineError> {
        Net::prepare(model, batch, taps, PLANNED_BYTES)
    }

    fn prepare(model: &Model, batch: usize, taps: &[String], planned_bytes: u64) -> Result<Net, EngineError> {
        let input_shape = input_shape(model, batch)?;
        guarded("prepared it", || {
            let mut model = model.clone();
            model.graph.outputs.extend(taps.iter().map(|t| Value::f32(t, vec![])));
            let imported = crate::imported_model(&model, &input_shape)?;
            check_size(&imported, planned_bytes)?;
            let plan = crate::float::with_own_convolutions(imported)
                .and_then(|m| m.into_optimized())
                .and_then(|m| m.into_runnable())
                .map_err(EngineError::tract("cannot prepare the model"))?;
            let output_shapes = output_shapes(&plan)?;
            Ok(Net { plan, input_shape, output_shapes })
        })
    }

    /// Shape of the input.
    pub fn input_shape(&self) -> &[usize] {
        &self.input_shape
    }

    /// Shapes of the outputs, then of the taps.
    pub fn output_shapes(&self) -> &[Vec<usize>] {
        &self.output_shapes
    }

    /// The graph as tract runs it.
    pub(crate) fn runnable(&self) -> &TypedRunnableModel {
        &self.plan
    }

    /// The int8 plans in it, in execution order.
    pub(crate) fn plans(&self) -> Vec<&PackedPlanBuf> {
        let nodes = self.plan.order_without_consts().iter().map(|&id| self.plan.model().node(id));
        nodes.filter_map(|node| node.op_as::<PlanOp>()).map(PlanOp::buf).collect()
    }

    /// A state for one thread.
    pub fn worker(&self) -> Result<Worker, EngineError> {
        let state = self.plan.spawn().map_err(EngineError::tract("cannot start the model"))?;
        Ok(Worker { state, input_shape: self.input_shape.clone() })
    }
}

impl Worker {
    /// Run once. `take(i, values)` is called for every output, in order.
    ///
    /// `x` has as many elements as the input shape; the run fails otherwise.
    pub fn run(&mut self, x: &[f32], take: impl FnMut(usize, &[f32])) -> Result<(), EngineError> {
        self.run_with(x, take, |state, inputs| state.run(inputs))
    }

    /// The same, each node under the stopwatch of [`crate::observe`].
    pub(crate) fn run_timed(&mut self, x: &[f32], take: impl FnMut(usize, &[f32])) -> Result<(), EngineError> {
        self.run_with(x, take, |state, inputs| {
            state.run_plan_with_eval(inputs, |context, op_state, node, inputs| match is_step(node) {
                true => timed_node(|| eval(context, op_state, node, inputs)),
                false => eval(context, op_state, node, inputs),
            })
        })
    }

    fn run_with(
        &mut self,
        x: &[f32],
        mut take: impl FnMut(usize, &[f32]),
        run: impl FnOnce(&mut TypedSimpleState, TVec<TValue>) -> TractResult<TVec<TValue>>,
    ) -> Result<(), EngineError> {
        let failed = EngineError::tract;
        let input = Tensor::from_shape(&self.input_shape, x).map_err(failed("cannot take this input"))?;
        let state = &mut self.state;
        let outputs = guarded("ran it", || {
            run(state, tvec!(input.into_tvalue())).map_err(failed("failed while running the model"))
        })?;
        for (i, output) in outputs.iter().enumerate() {
            let view = output.try_as_plain_ram().and_then(|v| v.as_slice::<f32>().map(<[f32]>::to_vec));
            take(i, &view.map_err(failed("gave an output that is not f32"))?);
        }
        Ok(())
    }
}

fn output_shapes(plan: &TypedRunnableModel) -> Result<Vec<Vec<usize>>, EngineError> {
    let failed = EngineError::tract;
    let model = plan.model();
    let outlets = model.output_outlets().map_err(failed("cannot prepare the model"))?;
    outlets
        .iter()
        .map(|&o| {
            let fact = model.outlet_fact(o).map_err(failed("cannot prepare the model"))?;
            if fact.datum_type != f32::datum_type() {
                return Err(EngineError::Unsuitable(format!(
                    "an output is {:?}, not f32; Limbeck compares float outputs",
                    fact.datum_type
                )));
            }
            fact.shape.as_concrete().map(<[usize]>::to_vec).ok_or_else(|| {
                EngineError::Unsuitable(format!("an output has the shape {:?}, not known before the run", fact.shape))
            })
        })
        .collect()
}

fn check_size(model: &TypedModel, limit: u64) -> Result<(), EngineError> {
    let mut total = 0u64;
    for node in model.nodes() {
        for output in &node.outputs {
            // Not `to_usize`: on a 32-bit board it cuts a large volume off. A size that is not known here is one of a run.
            let volume = output.fact.shape.volume().to_i64().map_or(0, |v| u64::try_from(v).unwrap_or(u64::MAX));
            total = total.saturating_add(volume.saturating_mul(output.fact.datum_type.size_of() as u64));
            if total > limit {
                let what = format!("node \"{}\" and the tensors before it", node.name);
                return Err(EngineError::TooLarge { what, limit });
            }
        }
    }
    Ok(())
}
