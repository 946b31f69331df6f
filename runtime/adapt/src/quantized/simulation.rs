//! The forward half of a quantized training graph, with every integer on the way: what training sees, to be compared with what
//! the int8 plan computes.

use std::sync::Arc;

use limbeck_engine::guarded;
use limbeck_engine::onnx::Model;
use tract_core::internal::*;

use super::{QuantizedFile, QuantizedOptions};
use crate::error::AdaptError;
use crate::opened::Opened;
use crate::ops::with_f32;
use crate::parameters::Parameters;

/// A quantized model as training sees it, ready to run sample by sample.
pub struct Simulation {
    plan: Arc<TypedSimplePlan>,
    state: TypedSimpleState,
    input_shape: Vec<usize>,
    dims: Vec<Vec<usize>>,
    /// Name and zero point of each integer tensor, in the order of the outputs after the first.
    taps: Vec<(String, i8)>,
}

/// One run.
#[derive(Debug, Clone, PartialEq)]
pub struct Simulated {
    /// The model's first output.
    pub logits: Vec<f32>,
    /// Name and stored integers, H W C, of every integer tensor: as [`limbeck_engine::StudentWorker::run_recorded`] gives them.
    pub integers: Vec<(String, Vec<i8>)>,
}

impl Simulation {
    /// Of a model that [`Opened::quantized`] opened.
    pub fn new(opened: &Opened) -> Result<Simulation, AdaptError> {
        let file = opened.quantized_file().ok_or_else(|| {
            AdaptError::Unsuitable("the model was opened in float, and has no integers to simulate".into())
        })?;
        Simulation::prepare(file, &opened.model, &opened.parameters)
    }

    /// Of a quantized file as it is, whether or not anything in it can be trained; runs with no values.
    pub fn of_file(qdq: &Model) -> Result<Simulation, AdaptError> {
        let (model, parameters, file) = QuantizedFile::open(qdq, None, &QuantizedOptions::default())?;
        Simulation::prepare(&file, &model, &parameters.masked(&vec![false; parameters.names().len()]))
    }

    fn prepare(file: &QuantizedFile, opened: &Model, parameters: &Parameters) -> Result<Simulation, AdaptError> {
        let input_shape = limbeck_engine::input_shape(opened, 1)?;
        let failed = AdaptError::tract;
        let (mut model, taps) = file.expanded(&parameters.as_inputs(opened), &input_shape)?;
        let mut outputs = model.output_outlets().map_err(failed("cannot simulate the model"))?[..1].to_vec();
        outputs.extend(taps.iter().map(|t| t.outlet));
        let plan = guarded("prepared it", || {
            let prepare = || {
                model.select_output_outlets(&outputs)?;
                model.into_decluttered()?.into_optimized()?.into_runnable()
            };
            Ok(prepare())
        })?
        .map_err(failed("cannot simulate the model"))?;
        let state = plan.spawn().map_err(failed("cannot simulate the model"))?;
        let taps = taps.into_iter().map(|t| (t.name, t.zero)).collect();
        Ok(Simulation { plan, state, input_shape, dims: parameters.dims().to_vec(), taps })
    }

    /// Elements of the first output.
    pub fn output_len(&self) -> usize {
        let fact = self.plan.model().output_fact(0).ok();
        fact.and_then(|f| f.shape.as_concrete().map(|s| s.iter().product())).unwrap_or(0)
    }

    /// One sample with trained `values`, in the order of [`Opened::parameters`].
    pub fn run(&mut self, values: &[Vec<f32>], x: &[f32]) -> Result<Simulated, AdaptError> {
        self.simulate(values, x).map_err(AdaptError::tract("failed while simulating the model"))
    }

    fn simulate(&mut self, values: &[Vec<f32>], x: &[f32]) -> TractResult<Simulated> {
        let mut inputs: TVec<TValue> = tvec!(Tensor::from_shape(&self.input_shape, x)?.into_tvalue());
        for (dims, values) in self.dims.iter().zip(values) {
            inputs.push(Tensor::from_shape(dims, values)?.into_tvalue());
        }
        let outputs = self.state.run(inputs)?;
        let logits = with_f32(&outputs[0], <[f32]>::to_vec)?;
        let mut integers = vec![];
        for ((name, zero), output) in self.taps.iter().zip(&outputs[1..]) {
            integers.push((name.clone(), with_f32(output, |n| hwc(n, output.shape(), *zero))?));
        }
        Ok(Simulated { logits, integers })
    }
}

/// Counted values (1, C, H, W) as stored integers (H, W, C).
fn hwc(n: &[f32], shape: &[usize], zero: i8) -> Vec<i8> {
    let (channels, pixels) = (shape[1], shape[2] * shape[3]);
    let at = |i: usize| n[i % channels * pixels + i / channels];
    (0..n.len()).map(|i| (at(i) as i32 + zero as i32) as i8).collect()
}
