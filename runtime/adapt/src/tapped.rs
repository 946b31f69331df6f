//! The gradient of a loss that lies outside the graph: over any of the model's tensors, and over all samples of a batch together.
//!
//! A step is three passes. Forward, the samples run and say what they say at every output, one after the other. Then the [`Objective`] sees
//! all of the batch and gives the gradient of its loss with respect to every output (a relation between samples has one, too). Backward,
//! each sample runs once more, with those gradients coming in at its outputs. Computing the forward pass twice costs a third of a step; it
//! keeps the memory of a step at one sample a thread, whatever the batch.

use std::sync::{Arc, Mutex};

use limbeck_engine::onnx::{Dim, Model};
use limbeck_engine::{EngineError, FloatIsa, guarded};
use tract_core::internal::*;

use crate::accumulate::Accumulated;
use crate::differentiate::{Towards, differentiate};
use crate::error::AdaptError;
use crate::opened::Opened;
use crate::ops::with_f32;
use crate::parameters::Parameters;
use crate::reduce::{self, Sum};
use crate::step::{BatchGradient, CHUNK, forward, image_shape, tensor, weights};

/// Where the samples of a [`TappedNet`] come from. Called from several threads at once.
pub trait TappedExamples: Sync {
    /// Fill the input of one sample, and the model's further inputs; returns its label, if it has one.
    fn example(&self, index: usize, x: &mut [f32], further: &mut [Vec<f32>]) -> Result<Option<usize>, String>;
}

/// What a model says of a batch.
#[derive(Debug, Clone, Copy)]
pub struct Said<'a> {
    /// The samples, as [`TappedExamples`] was asked for them.
    pub indices: &'a [usize],
    /// Their labels.
    pub labels: &'a [Option<usize>],
    /// For each output its values, sample after sample.
    pub outputs: &'a [Vec<f32>],
    /// The same of the moving average of the weights, where [`Objective::wants_average`].
    pub average: Option<&'a [Vec<f32>]>,
    /// Steps done, steps in all, steps an epoch.
    pub steps: [usize; 3],
}

/// What an objective makes of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Judged {
    /// Of the batch.
    pub loss: f64,
    /// Share of samples on which student and teacher choose the same class.
    pub agreement: f64,
    /// dL/d output, in the shape of [`Said::outputs`].
    pub gradients: Vec<Vec<f32>>,
}

/// A loss over a model's outputs, and what it remembers from batch to batch.
pub trait Objective {
    /// Called once a step, in order; the same calls give the same bits.
    fn judge(&mut self, said: &Said<'_>) -> Result<Judged, String>;

    /// Does it want to know what the moving average of the weights says?
    fn wants_average(&self) -> bool {
        false
    }
}

/// A differentiated model whose loss lies outside.
pub struct TappedNet {
    forward: Arc<TypedSimplePlan>,
    backward: Arc<TypedSimplePlan>,
    accumulated: Accumulated,
    inputs: Vec<Vec<usize>>,
    outputs: Vec<Vec<usize>>,
    workers: Vec<Mutex<Worker>>,
}

struct Worker {
    forward: TypedSimpleState,
    backward: TypedSimpleState,
}

/// Samples' labels and outputs, in order.
#[derive(Default)]
struct Collected {
    labels: Vec<Option<usize>>,
    /// For each output its values.
    outputs: Vec<Vec<f32>>,
}

#[derive(Default)]
struct Gradients(Vec<TValue>);

impl TappedNet {
    /// Prepare an opened model, with what is attached to it, for `threads` threads.
    pub fn of(opened: &Opened, threads: usize) -> Result<TappedNet, AdaptError> {
        TappedNet::on_path(opened, threads, FloatIsa::detect_fast())
    }

    /// The same on a float path of this CPU, or with tract's operators on `None`: for tests and comparisons.
    pub fn on_path(opened: &Opened, threads: usize, path: Option<FloatIsa>) -> Result<TappedNet, AdaptError> {
        let inputs = input_shapes(&opened.model)?;
        guarded("prepared it", || {
            let graph = forward(&opened.model, &opened.parameters, opened.quantized_file(), path);
            Ok(graph.and_then(|graph| TappedNet::prepare(graph, inputs, threads)))
        })?
    }

    fn prepare(graph: TypedModel, inputs: Vec<Vec<usize>>, threads: usize) -> Result<TappedNet, AdaptError> {
        let preparing = || AdaptError::tract("cannot prepare the training graph");
        let trained: Vec<usize> = (inputs.len()..graph.inputs.len()).collect();
        let mut differentiated = differentiate(&graph, &trained, Towards::Outputs)?;
        let outputs = graph.output_outlets().map_err(preparing())?.iter().map(|&outlet| {
            let shape = &graph.outlet_fact(outlet)?.shape;
            Ok(shape.as_concrete().with_context(|| format!("an output of the shape {shape:?}"))?.to_vec())
        });
        let outputs = outputs.collect::<TractResult<Vec<_>>>().map_err(preparing())?;
        let accumulated = Accumulated::new(&mut differentiated).map_err(preparing())?;
        let ready = |m: TypedModel| m.into_optimized().and_then(|m| m.into_runnable()).map_err(preparing());
        let (forward, backward) =
            (ready(weights_last_to_first(graph, inputs.len()).map_err(preparing())?)?, ready(differentiated)?);
        let started = || Ok(Mutex::new(Worker { forward: forward.spawn()?, backward: backward.spawn()? }));
        let workers = (0..threads.max(1)).map(|_| started()).collect::<TractResult<Vec<_>>>().map_err(preparing())?;
        Ok(TappedNet { forward, backward, accumulated, inputs, outputs, workers })
    }

    /// Elements of one input image.
    pub fn input_len(&self) -> usize {
        self.inputs[0].iter().product()
    }

    /// Shapes of the outputs of one sample, with a batch of one; the logits come first.
    pub fn output_shapes(&self) -> &[Vec<usize>] {
        &self.outputs
    }

    /// Nodes of the two optimised graphs.
    pub fn nodes(&self) -> usize {
        self.forward.model().nodes().len() + self.backward.model().nodes().len()
    }

    /// What the model says of samples with these values of its parameters: for each output its values, sample after sample.
    pub fn outputs(
        &self,
        parameters: &Parameters,
        examples: &dyn TappedExamples,
        indices: &[usize],
    ) -> Result<Vec<Vec<f32>>, AdaptError> {
        Ok(self.run_forward(&weights(parameters)?, examples, indices)?.outputs)
    }

    /// Loss and gradients of a batch.
    ///
    /// # Errors
    /// Those of the examples and of the objective.
    pub fn gradient(
        &self,
        parameters: &Parameters,
        average: Option<&Parameters>,
        examples: &dyn TappedExamples,
        indices: &[usize],
        steps: [usize; 3],
        objective: &mut dyn Objective,
    ) -> Result<BatchGradient, AdaptError> {
        let weights = weights(parameters)?;
        let Collected { labels, outputs } = self.run_forward(&weights, examples, indices)?;
        let of_average = average.map(|average| self.outputs(average, examples, indices)).transpose()?;
        let average = of_average.as_deref();
        let said = Said { indices, labels: &labels, outputs: &outputs, average, steps };
        let judged = objective.judge(&said).map_err(AdaptError::Example)?;
        for (i, (gradient, output)) in judged.gradients.iter().zip(&outputs).enumerate() {
            assert_eq!(gradient.len(), output.len(), "the gradient of output {i}");
        }
        assert_eq!(judged.gradients.len(), outputs.len(), "a gradient for each output");
        let chunks: Vec<&[usize]> = indices.chunks(CHUNK).collect();
        let total: Gradients = reduce::in_order(self.workers(chunks.len()), chunks.len(), |worker, chunk| {
            let mut worker = worker.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
            self.chunk_backward(&mut worker, &weights, examples, chunks[chunk], chunk * CHUNK, &judged)
        })?;
        let reading = AdaptError::tract("cannot read the gradients");
        // The objective has divided by the batch already.
        let mut gradients = self.accumulated.read(&total.0, 1.0).map_err(reading)?;
        gradients.reverse();
        let (loss, agreement) = (judged.loss as f32, judged.agreement as f32);
        Ok(BatchGradient { teacher_loss: loss, label_loss: 0.0, agreement, gradients })
    }

    fn workers(&self, chunks: usize) -> Vec<&Mutex<Worker>> {
        self.workers.iter().take(chunks.max(1)).collect()
    }

    fn run_forward(
        &self,
        weights: &[TValue],
        examples: &dyn TappedExamples,
        indices: &[usize],
    ) -> Result<Collected, AdaptError> {
        let chunks: Vec<&[usize]> = indices.chunks(CHUNK).collect();
        reduce::in_order(self.workers(chunks.len()), chunks.len(), |worker, chunk| {
            let mut worker = worker.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
            let mut collected = Collected { labels: vec![], outputs: vec![vec![]; self.outputs.len()] };
            for &index in chunks[chunk] {
                let (label, mut inputs) = self.data(examples, index)?;
                inputs.extend(weights.iter().cloned());
                let failed = AdaptError::tract("failed in a training step");
                let outputs = worker.forward.run(inputs).map_err(failed)?;
                for (all, output) in collected.outputs.iter_mut().zip(&outputs) {
                    let failed = AdaptError::tract("failed in a training step");
                    with_f32(output, |values| all.extend_from_slice(values)).map_err(failed)?;
                }
                collected.labels.push(label);
            }
            Ok(collected)
        })
    }

    fn chunk_backward(
        &self,
        worker: &mut Worker,
        weights: &[TValue],
        examples: &dyn TappedExamples,
        indices: &[usize],
        first: usize,
        judged: &Judged,
    ) -> Result<Gradients, AdaptError> {
        let failed = AdaptError::tract;
        let mut sums = self.accumulated.zeros().map_err(failed("cannot start a sum"))?;
        for (i, &index) in indices.iter().enumerate() {
            let (_, mut inputs) = self.data(examples, index)?;
            for (shape, gradient) in self.outputs.iter().zip(&judged.gradients) {
                let len: usize = shape.iter().product();
                inputs.push(tensor(shape, &gradient[(first + i) * len..][..len])?);
            }
            inputs.extend(weights.iter().cloned());
            inputs.extend(sums.drain(..));
            let mut outputs = worker.backward.run(inputs).map_err(failed("failed in a training step"))?;
            sums = outputs.drain(1..).collect();
        }
        Ok(Gradients(sums))
    }

    fn data(&self, examples: &dyn TappedExamples, index: usize) -> Result<(Option<usize>, TVec<TValue>), AdaptError> {
        let mut x = vec![0.0; self.input_len()];
        let mut further: Vec<Vec<f32>> = self.inputs[1..].iter().map(|s| vec![0.0; s.iter().product()]).collect();
        let label = examples.example(index, &mut x, &mut further).map_err(AdaptError::Example)?;
        let values = std::iter::once(&x).chain(&further);
        let inputs = self.inputs.iter().zip(values).map(|(shape, values)| tensor(shape, values));
        Ok((label, inputs.collect::<Result<_, _>>()?))
    }
}

/// The trained tensors last to first behind the data, as the differentiated graph has them.
fn weights_last_to_first(mut graph: TypedModel, data: usize) -> TractResult<TypedModel> {
    let mut inputs = graph.input_outlets()?.to_vec();
    inputs[data..].reverse();
    graph.set_input_outlets(&inputs)?;
    Ok(graph)
}

/// Shapes of the image and of the further inputs, for one sample.
fn input_shapes(model: &Model) -> Result<Vec<Vec<usize>>, AdaptError> {
    let first = image_shape(model)?;
    let further = model.graph.inputs[1..].iter().map(|input| {
        let known = |d: &Dim| match d {
            Dim::Known(n) => Ok(*n),
            Dim::Symbol(_) => {
                let what = format!("the size of input \"{}\" is not known", input.name);
                Err(AdaptError::Engine(EngineError::Unsuitable(what)))
            }
        };
        input.dims.iter().map(known).collect()
    });
    std::iter::once(Ok(first)).chain(further).collect()
}

impl Sum for Collected {
    fn add(&mut self, mut chunk: Collected) {
        self.labels.append(&mut chunk.labels);
        if self.outputs.is_empty() {
            self.outputs = chunk.outputs;
        } else {
            self.outputs.iter_mut().zip(&mut chunk.outputs).for_each(|(all, more)| all.append(more));
        }
    }
}

impl Sum for Gradients {
    fn add(&mut self, other: Gradients) {
        self.0 = Accumulated::add(std::mem::take(&mut self.0), other.0);
    }
}
