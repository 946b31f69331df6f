//! The gradient of a mini-batch, on all cores, with the same bits for any number of threads.
//!
//! One sample runs at a time (tract is slower per sample at larger batches, reference/training.md §5). A batch is cut
//! into chunks of [`CHUNK`] samples; each chunk's gradients are summed in sample order by whichever thread takes it, and the
//! chunks are summed in chunk order. The graph itself adds a sample's gradients to the sums ([`Accumulated`]).

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use limbeck_engine::onnx::{Dim, Model, Value};
use limbeck_engine::{FloatIsa, guarded, training_model};
use tract_core::internal::*;
use tract_core::ops::cnn::{Conv, Deconv};
use tract_core::ops::einsum::EinSum;

use crate::accumulate::Accumulated;
use crate::differentiate::differentiate;
use crate::error::AdaptError;
use crate::loss::Loss;
use crate::parameters::Parameters;
use crate::sums::{InOrder, Sums};

/// Samples whose gradients are summed by one thread before they meet the others. Part of the result's definition.
const CHUNK: usize = 8;

/// Where samples come from. Called from several threads at once.
pub trait Examples: Sync {
    /// Fill the input and the teacher's logits of one sample; returns its label, if it has one.
    fn example(&self, index: usize, x: &mut [f32], teacher: &mut [f32]) -> Result<Option<usize>, String>;
}

/// A differentiated model, ready to take steps.
pub struct TrainingNet {
    plan: Arc<TypedSimplePlan>,
    accumulated: Accumulated,
    input_shape: Vec<usize>,
    logits_shape: Vec<usize>,
    nodes: usize,
    workers: Vec<Mutex<TypedSimpleState>>,
}

/// Means over a mini-batch.
#[derive(Debug, Clone, PartialEq)]
pub struct BatchGradient {
    /// β·T²·KL part of the loss.
    pub teacher_loss: f32,
    /// α·cross-entropy part of the loss.
    pub label_loss: f32,
    /// Share of samples on which student and teacher choose the same class.
    pub agreement: f32,
    /// dL/dw for every parameter, in the order of [`Parameters`].
    pub gradients: Vec<Vec<f32>>,
}

impl TrainingNet {
    /// Differentiate a normalised model with respect to `parameters`, for `threads` threads.
    pub fn new(model: &Model, parameters: &Parameters, loss: &Loss, threads: usize) -> Result<TrainingNet, AdaptError> {
        TrainingNet::on_path(model, parameters, loss, threads, FloatIsa::detect_fast())
    }

    /// The same with convolutions of our own on a float path, or on `None` with tract's.
    pub fn on_path(
        model: &Model,
        parameters: &Parameters,
        loss: &Loss,
        threads: usize,
        path: Option<FloatIsa>,
    ) -> Result<TrainingNet, AdaptError> {
        let input_shape = limbeck_engine::input_shape(model, 1)?;
        let mut opened = model.clone();
        // Trained constants become inputs: tract then neither folds nor merges them, whatever their values.
        for (name, dims) in parameters.names().iter().zip(parameters.dims()) {
            opened.graph.initializers.remove(name);
            let dims = dims.iter().map(|&d| Dim::Known(d)).collect();
            opened.graph.inputs.push(Value::f32(name, dims));
        }
        let (plan, accumulated) = guarded("prepared it", || {
            let forward = training_model(&opened, &input_shape, path)?;
            Ok(prepare(&forward, loss))
        })??;
        let failed = AdaptError::tract;
        let facts = plan.model().input_fact(1).map_err(failed("cannot prepare the training graph"))?;
        let logits_shape = facts.shape.as_concrete().map(<[usize]>::to_vec);
        let logits_shape =
            logits_shape.ok_or_else(|| AdaptError::Unsuitable("the shape of the output is not fixed".into()))?;
        let workers = (0..threads.max(1))
            .map(|_| plan.spawn().map(Mutex::new).map_err(failed("cannot start the training graph")))
            .collect::<Result<_, _>>()?;
        let nodes = plan.model().nodes().len();
        Ok(TrainingNet { plan, accumulated, input_shape, logits_shape, nodes, workers })
    }

    /// Elements of one input sample.
    pub fn input_len(&self) -> usize {
        self.input_shape.iter().product()
    }

    /// Number of classes.
    pub fn classes(&self) -> usize {
        self.logits_shape.iter().product()
    }

    /// Nodes of the optimised training graph.
    pub fn nodes(&self) -> usize {
        self.nodes
    }

    /// Mean loss and gradients over the samples `indices`.
    pub fn gradient(
        &self,
        parameters: &Parameters,
        examples: &dyn Examples,
        indices: &[usize],
    ) -> Result<BatchGradient, AdaptError> {
        // Last to first, as the graph's inputs and outputs are.
        let weights = (parameters.values.iter().zip(parameters.dims()).rev())
            .map(|(values, dims)| Ok(Tensor::from_shape(dims, values)?.into_tvalue()))
            .collect::<TractResult<Vec<TValue>>>()
            .map_err(AdaptError::tract("cannot take the parameters"))?;
        let chunks: Vec<&[usize]> = indices.chunks(CHUNK).collect();
        let merged = InOrder::default();
        let next = AtomicUsize::new(0);
        let work = |worker: &Mutex<TypedSimpleState>| {
            let mut state = worker.lock().unwrap_or_else(PoisonError::into_inner);
            loop {
                let chunk = next.fetch_add(1, Ordering::Relaxed);
                if chunk >= chunks.len() {
                    return;
                }
                merged.put(chunk, self.chunk(&mut state, &weights, examples, chunks[chunk]));
            }
        };
        std::thread::scope(|scope| {
            for worker in &self.workers[1..] {
                scope.spawn(|| work(worker));
            }
            work(&self.workers[0]);
        });
        let total = merged.total(chunks.len())?;
        let scale = 1.0 / indices.len().max(1) as f32;
        let reading = AdaptError::tract("cannot read the gradients");
        let mut gradients =
            if chunks.is_empty() { vec![] } else { self.accumulated.read(&total.values).map_err(reading)? };
        gradients.iter_mut().flatten().for_each(|g| *g *= scale);
        gradients.reverse();
        let [teacher_loss, label_loss, agreement] = total.parts.map(|p| p as f32 * scale);
        Ok(BatchGradient { teacher_loss, label_loss, agreement, gradients })
    }

    fn chunk(
        &self,
        state: &mut TypedSimpleState,
        weights: &[TValue],
        examples: &dyn Examples,
        indices: &[usize],
    ) -> Result<Sums, AdaptError> {
        let failed = AdaptError::tract;
        let mut sums = Sums::zeros(&self.accumulated).map_err(failed("cannot start a sum"))?;
        let (mut x, mut teacher) = (vec![0.0; self.input_len()], vec![0.0; self.classes()]);
        for &index in indices {
            let label = examples.example(index, &mut x, &mut teacher).map_err(AdaptError::Example)?;
            let label = label.map_or(-1, |l| l as i64);
            let taking = || failed("cannot take this sample");
            let mut inputs: TVec<TValue> = tvec!(
                Tensor::from_shape(&self.input_shape, &x).map_err(taking())?.into_tvalue(),
                Tensor::from_shape(&self.logits_shape, &teacher).map_err(taking())?.into_tvalue(),
                tensor0(label).into_tvalue(),
            );
            inputs.extend(weights.iter().cloned());
            inputs.extend(sums.values.drain(..));
            let outputs = state.run(inputs).map_err(failed("failed in a training step"))?;
            sums.take(outputs).map_err(failed("failed in a training step"))?;
        }
        Ok(sums)
    }

    /// How many nodes of the optimised graph would build a model on every call. Zero, or steps are slow.
    pub fn unlowered_nodes(&self) -> usize {
        let slow = |n: &&TypedNode| n.op_is::<Conv>() || n.op_is::<EinSum>() || n.op_is::<Deconv>();
        self.plan.model().nodes().iter().filter(slow).count()
    }
}

fn prepare(forward: &TypedModel, loss: &Loss) -> Result<(Arc<TypedSimplePlan>, Accumulated), AdaptError> {
    let preparing = || AdaptError::tract("cannot prepare the training graph");
    let mut graph = differentiate(forward, loss)?;
    let accumulated = Accumulated::new(&mut graph).map_err(preparing())?;
    let plan = graph.into_optimized().and_then(|m| m.into_runnable()).map_err(preparing())?;
    Ok((plan, accumulated))
}
