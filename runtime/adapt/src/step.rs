//! The gradient of a mini-batch, on all cores, with the same bits for any number of threads.
//!
//! One sample runs at a time (tract is slower per sample at larger batches, reference/training.md §5). A batch is cut
//! into chunks of [`CHUNK`] samples; each chunk's gradients are summed in sample order by whichever thread takes it, and the
//! chunks are summed in chunk order. The graph itself adds a sample's gradients to the sums ([`Accumulated`]).
//!
//! When only some tensors are trained, what no trained tensor stands behind is a graph of its own: the prefix. It runs once a sample where
//! its results are kept ([`crate::CutOptions`]), else before each step.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use limbeck_engine::onnx::Model;
use limbeck_engine::{FloatIsa, guarded, training_model};
use tract_core::internal::*;
use tract_core::ops::cnn::{Conv, Deconv};
use tract_core::ops::einsum::EinSum;

use crate::accumulate::Accumulated;
use crate::cuts::{CutFormat, Cuts};
use crate::differentiate::{Towards, differentiate};
use crate::error::AdaptError;
use crate::estimate::Size;
use crate::loss::Loss;
use crate::memory;
use crate::opened::Opened;
use crate::ops::with_f32;
use crate::parameters::Parameters;
use crate::profile::{KindTime, Times};
use crate::quantized::QuantizedFile;
use crate::reduce::{self, Sum};
use crate::split::split;

/// Samples whose gradients are summed by one thread before they meet the others. Part of the result's definition.
pub(crate) const CHUNK: usize = 8;

/// Where samples come from. Called from several threads at once.
pub trait Examples: Sync {
    /// Fill the input and the teacher's logits of one sample; returns its label, if it has one.
    fn example(&self, index: usize, x: &mut [f32], teacher: &mut [f32]) -> Result<Option<usize>, String>;

    /// The same where the input is not looked at, because what the frozen part made of it is kept; `x` may be left as it is.
    fn answer(&self, index: usize, x: &mut [f32], teacher: &mut [f32]) -> Result<Option<usize>, String> {
        self.example(index, x, teacher)
    }
}

/// Keep what the frozen part of a model makes of each sample in a file.
#[derive(Debug, Clone)]
pub struct CutOptions {
    /// The file.
    pub path: PathBuf,
    /// SHA-256 over all that decides its contents besides the model: data, views, preprocessing.
    pub identity: [u8; 32],
    /// Number of different indices that [`Examples`] is asked for.
    pub records: u64,
    /// How values are kept.
    pub format: CutFormat,
    /// Largest size of the file, in bytes.
    pub limit: u64,
}

/// Whether what the frozen part makes is kept, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CutChoice {
    /// Is it kept?
    pub kept: bool,
    /// Bytes of the file, once it is full.
    pub bytes: u64,
    /// In words.
    pub why: String,
}

/// The frozen part is worth a file if a record has no more bytes than the input, or else if it is more than this share of a step.
const PREFIX_SHARE: f64 = 0.3;

/// What is computed in a step, apart from the values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shape {
    /// Nodes of the optimised training graph.
    pub nodes: usize,
    /// Nodes of the frozen part, optimised.
    pub prefix_nodes: usize,
    /// Lengths of the values that cross from the frozen part; empty where nothing is frozen.
    pub cut: Vec<usize>,
    /// Multiply-accumulates of the frozen part, forward.
    pub prefix_macs: u64,
    /// Multiply-accumulates of the rest, forward.
    pub suffix_macs: u64,
    /// Bytes of activations, gradients and packed weights at the fullest moment of a step, a thread; predicted from the graph.
    pub step_bytes: u64,
}

impl Shape {
    /// Does it pay to keep the cut, where each sample is shown `epochs` times? Reading a record costs what its bytes cost; running the frozen
    /// part costs its share of a step, whose backward pass is taken for twice its forward pass (reference/training.md §1).
    pub fn cut_choice(&self, options: &CutOptions, input_len: usize, epochs: usize) -> CutChoice {
        let record = options.format.record_bytes(&self.cut);
        let bytes = record.saturating_mul(options.records);
        let share = self.prefix_macs as f64 / (self.prefix_macs + 3 * self.suffix_macs).max(1) as f64;
        let of_a_step = format!("the frozen part is {:.0} % of a step", share * 100.0);
        let (kept, why) = if self.cut.is_empty() {
            (false, "no part of the model is frozen from its input on".into())
        } else if epochs < 2 {
            (false, "each sample is shown once".into())
        } else if bytes > options.limit {
            (false, format!("it would take {bytes} bytes and may take {}", options.limit))
        } else if record <= 4 * input_len as u64 {
            (true, format!("{of_a_step}, and {record} bytes a sample are read instead of {}", 4 * input_len))
        } else {
            (share > PREFIX_SHARE, format!("{of_a_step}; {record} bytes a sample"))
        };
        CutChoice { kept, bytes, why }
    }

    pub(crate) fn size(&self) -> Size {
        Size { nodes: (self.nodes + self.prefix_nodes) as u64, step_bytes: self.step_bytes }
    }
}

/// A differentiated model, ready to take steps.
pub struct TrainingNet {
    plan: Arc<TypedSimplePlan>,
    accumulated: Accumulated,
    path: Option<FloatIsa>,
    input_shape: Vec<usize>,
    logits_shape: Vec<usize>,
    cut_shapes: Vec<Vec<usize>>,
    shape: Shape,
    workers: Vec<Mutex<Worker>>,
    cuts: Option<Cuts>,
}

struct Worker {
    prefix: Option<TypedSimpleState>,
    step: TypedSimpleState,
    /// While a step is profiled.
    times: Option<Times>,
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

#[derive(Default)]
struct Sums {
    parts: [f64; 3],
    /// In the order of [`Accumulated`]. Fed to the graph by move, so that it adds in place.
    gradients: Vec<TValue>,
}

impl TrainingNet {
    /// Differentiate a normalised model with respect to `parameters`, for `threads` threads. The frozen part, if there is one, runs anew
    /// for each sample.
    pub fn new(model: &Model, parameters: &Parameters, loss: &Loss, threads: usize) -> Result<TrainingNet, AdaptError> {
        TrainingNet::on_path(model, parameters, loss, threads, FloatIsa::detect_fast())
    }

    /// The same with convolutions of our own on a float path of this CPU, or with tract's on `None`: for tests and comparisons.
    /// [`TrainingNet::new`] takes the fastest path, and tract where there is none.
    pub fn on_path(
        model: &Model,
        parameters: &Parameters,
        loss: &Loss,
        threads: usize,
        path: Option<FloatIsa>,
    ) -> Result<TrainingNet, AdaptError> {
        TrainingNet::prepare(model, parameters, None, loss, threads, path)
    }

    /// The same of an opened model, float or quantized.
    pub fn of(opened: &Opened, loss: &Loss, threads: usize) -> Result<TrainingNet, AdaptError> {
        let path = FloatIsa::detect_fast();
        TrainingNet::prepare(&opened.model, &opened.parameters, opened.quantized_file(), loss, threads, path)
    }

    /// The same of a model, and of the file that it was opened from if that is quantized.
    pub(crate) fn prepare(
        model: &Model,
        parameters: &Parameters,
        quantized: Option<&QuantizedFile>,
        loss: &Loss,
        threads: usize,
        path: Option<FloatIsa>,
    ) -> Result<TrainingNet, AdaptError> {
        let input_shape = limbeck_engine::input_shape(model, 1)?;
        let failed = AdaptError::tract;
        let prepared = guarded("prepared it", || {
            Ok(forward(model, parameters, quantized, path).and_then(|forward| Prepared::new(forward, loss)))
        })??;
        let Prepared { prefix, plan, accumulated, cut: cut_shapes, shape } = prepared;
        let data_inputs = cut_shapes.len().max(1);
        let facts = plan.model().input_fact(data_inputs).map_err(failed("cannot prepare the training graph"))?;
        let logits_shape = facts.shape.as_concrete().map(<[usize]>::to_vec);
        let logits_shape =
            logits_shape.ok_or_else(|| AdaptError::Unsuitable("the shape of the output is not fixed".into()))?;
        let started = || -> TractResult<Worker> {
            Ok(Worker { prefix: prefix.as_ref().map(|p| p.spawn()).transpose()?, step: plan.spawn()?, times: None })
        };
        let workers = (0..threads.max(1)).map(|_| Ok(Mutex::new(started()?)));
        let workers = workers.collect::<TractResult<_>>().map_err(failed("cannot start the training graph"))?;
        Ok(TrainingNet { plan, accumulated, path, input_shape, logits_shape, cut_shapes, shape, workers, cuts: None })
    }

    /// Run the frozen part, if there is one, once an index from now on. `model` and `parameters` are those that this was made of.
    pub fn keep_cuts(
        &mut self,
        model: &Model,
        parameters: &Parameters,
        options: &CutOptions,
    ) -> Result<(), AdaptError> {
        if !self.cut_shapes.is_empty() {
            let identity = prefix_identity(model, parameters, options, self.path);
            let lens = &self.shape.cut;
            self.cuts = Some(Cuts::open(&options.path, &identity, options.records, lens, options.format)?);
        }
        Ok(())
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
        self.shape.nodes
    }

    /// What a step consists of.
    pub fn shape(&self) -> &Shape {
        &self.shape
    }

    /// How often the frozen part's results were found, and how often they were computed.
    pub fn cut_counts(&self) -> (usize, usize) {
        self.cuts.as_ref().map_or((0, 0), Cuts::counts)
    }

    /// Mean loss and gradients over the samples `indices`.
    pub fn gradient(
        &self,
        parameters: &Parameters,
        examples: &dyn Examples,
        indices: &[usize],
    ) -> Result<BatchGradient, AdaptError> {
        let weights = weights(parameters)?;
        let chunks: Vec<&[usize]> = indices.chunks(CHUNK).collect();
        let workers = self.workers.iter().take(chunks.len().max(1)).collect();
        let total: Sums = reduce::in_order(workers, chunks.len(), |worker: &mut &Mutex<Worker>, chunk| {
            let mut worker = worker.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
            self.chunk(&mut worker, &weights, examples, chunks[chunk])
        })?;
        let scale = 1.0 / indices.len().max(1) as f32;
        let reading = AdaptError::tract("cannot read the gradients");
        let mut gradients = self.accumulated.read(&total.gradients, scale).map_err(reading)?;
        gradients.reverse();
        let [teacher_loss, label_loss, agreement] = total.parts.map(|p| p as f32 * scale);
        Ok(BatchGradient { teacher_loss, label_loss, agreement, gradients })
    }

    fn chunk(
        &self,
        worker: &mut Worker,
        weights: &[TValue],
        examples: &dyn Examples,
        indices: &[usize],
    ) -> Result<Sums, AdaptError> {
        let failed = AdaptError::tract;
        let zeros = self.accumulated.zeros().map_err(failed("cannot start a sum"))?;
        let mut sums = Sums { parts: [0.0; 3], gradients: zeros };
        let (mut x, mut teacher) = (vec![0.0; self.input_len()], vec![0.0; self.classes()]);
        for &index in indices {
            let (label, mut inputs) = self.data(worker, examples, index, &mut x, &mut teacher)?;
            let label = label.map_or(-1, |l| l as i64);
            inputs.push(tensor(&self.logits_shape, &teacher)?);
            inputs.push(tensor0(label).into_tvalue());
            inputs.extend(weights.iter().cloned());
            inputs.extend(sums.gradients.drain(..));
            let outputs = match &mut worker.times {
                Some(times) => times.run(&mut worker.step, inputs),
                None => worker.step.run(inputs),
            };
            let outputs = outputs.map_err(failed("failed in a training step"))?;
            sums.take(outputs).map_err(failed("failed in a training step"))?;
        }
        Ok(sums)
    }

    /// Where the time of a step over the samples `indices` goes, in one thread, without what the frozen part takes.
    pub fn profile(
        &self,
        parameters: &Parameters,
        examples: &dyn Examples,
        indices: &[usize],
    ) -> Result<Vec<KindTime>, AdaptError> {
        let weights = weights(parameters)?;
        let mut worker = self.workers[0].lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        worker.times = Some(Times::default());
        let result = self.chunk(&mut worker, &weights, examples, indices);
        let times = worker.times.take().unwrap_or_default();
        result.map(|_| times.into_kinds())
    }

    /// What the step graph reads of sample `index`, besides its answer: the input, or the cut.
    fn data(
        &self,
        worker: &mut Worker,
        examples: &dyn Examples,
        index: usize,
        x: &mut [f32],
        teacher: &mut [f32],
    ) -> Result<(Option<usize>, TVec<TValue>), AdaptError> {
        let cut = |values: Vec<Vec<f32>>| -> Result<TVec<TValue>, AdaptError> {
            self.cut_shapes.iter().zip(values).map(|(shape, values)| tensor(shape, &values)).collect()
        };
        if let Some(kept) = self.cuts.as_ref().and_then(|cuts| cuts.get(index as u64)) {
            let label = examples.answer(index, x, teacher).map_err(AdaptError::Example)?;
            return Ok((label, cut(kept)?));
        }
        let label = examples.example(index, x, teacher).map_err(AdaptError::Example)?;
        let input = tvec!(tensor(&self.input_shape, x)?);
        let Some(prefix) = &mut worker.prefix else { return Ok((label, input)) };
        let outputs = prefix.run(input).map_err(AdaptError::tract("failed in the frozen part"))?;
        let Some(cuts) = &self.cuts else { return Ok((label, outputs)) };
        let values = outputs.iter().map(|o| with_f32(o, <[f32]>::to_vec)).collect::<TractResult<Vec<_>>>();
        let values = values.map_err(AdaptError::tract("failed in the frozen part"))?;
        Ok((label, cut(cuts.put(index as u64, &values))?))
    }

    /// How many nodes of the optimised graph would build a model on every call. Zero, or steps are slow.
    pub fn unlowered_nodes(&self) -> usize {
        let slow = |n: &&TypedNode| n.op_is::<Conv>() || n.op_is::<EinSum>() || n.op_is::<Deconv>();
        self.plan.model().nodes().iter().filter(slow).count()
    }
}

/// The model with its parameters as inputs after x: tract then neither folds nor merges them, whatever their values.
pub(crate) fn forward(
    model: &Model,
    parameters: &Parameters,
    quantized: Option<&QuantizedFile>,
    path: Option<FloatIsa>,
) -> Result<TypedModel, AdaptError> {
    let (opened, input_shape) = (parameters.as_inputs(model), image_shape(model)?);
    match quantized {
        Some(file) => file.forward(&opened, &input_shape),
        None => Ok(training_model(&opened, &input_shape, path)?),
    }
}

/// Shape of one image. Only the first input is one: what is attached to a model may have further ones.
pub(crate) fn image_shape(model: &Model) -> Result<Vec<usize>, AdaptError> {
    let mut alone = model.clone();
    alone.graph.inputs.truncate(1);
    Ok(limbeck_engine::input_shape(&alone, 1)?)
}

/// Last to first, as the graph's inputs and outputs are.
pub(crate) fn weights(parameters: &Parameters) -> Result<Vec<TValue>, AdaptError> {
    (parameters.values.iter().zip(parameters.dims()).rev())
        .map(|(values, dims)| Ok(Tensor::from_shape(dims, values)?.into_tvalue()))
        .collect::<TractResult<Vec<TValue>>>()
        .map_err(AdaptError::tract("cannot take the parameters"))
}

pub(crate) fn tensor(shape: &[usize], values: &[f32]) -> Result<TValue, AdaptError> {
    let tensor = Tensor::from_shape(shape, values).map_err(AdaptError::tract("cannot take this sample"))?;
    Ok(tensor.into_tvalue())
}

/// What decides the frozen part's results: the model without the values of what is trained, and what the caller says.
/// The path decides the last bits, and how images lie.
fn prefix_identity(model: &Model, parameters: &Parameters, options: &CutOptions, path: Option<FloatIsa>) -> [u8; 32] {
    use sha2::{Digest, Sha256};
    let mut frozen = model.clone();
    for name in parameters.names() {
        frozen.graph.initializers.remove(name);
    }
    let mut hasher = Sha256::new();
    hasher.update(frozen.emit());
    hasher.update(parameters.names().join("\n"));
    hasher.update(options.identity);
    hasher.update(path.map_or("tract", FloatIsa::name));
    hasher.finalize().into()
}

/// The graphs, optimised.
struct Prepared {
    prefix: Option<Arc<TypedSimplePlan>>,
    plan: Arc<TypedSimplePlan>,
    accumulated: Accumulated,
    cut: Vec<Vec<usize>>,
    shape: Shape,
}

impl Prepared {
    fn new(forward: TypedModel, loss: &Loss) -> Result<Prepared, AdaptError> {
        let preparing = || AdaptError::tract("cannot prepare the training graph");
        let parts = split(&forward).map_err(preparing())?;
        let (prefix, suffix, cut) = match parts {
            Some(parts) => (Some(parts.prefix), parts.suffix, parts.cut),
            None => (None, forward, vec![]),
        };
        let macs = |m: Option<&TypedModel>| m.map_or(Ok(0), memory::macs).map_err(preparing());
        let (prefix_macs, suffix_macs) = (macs(prefix.as_ref())?, macs(Some(&suffix))?);
        let inputs = suffix.input_outlets().map_err(preparing())?.len();
        let trained: Vec<usize> = (cut.len().max(1)..inputs).collect();
        let mut graph = differentiate(&suffix, &trained, Towards::Loss(loss))?;
        let accumulated = Accumulated::new(&mut graph).map_err(preparing())?;
        let plan = graph.into_optimized().and_then(|m| m.into_runnable()).map_err(preparing())?;
        let prefix = prefix.map(|p| p.into_optimized().and_then(|m| m.into_runnable()));
        let prefix = prefix.transpose().map_err(preparing())?;
        let peak = |plan: &Arc<TypedSimplePlan>| memory::peak_bytes(plan).map_err(preparing());
        let step_bytes = peak(&plan)?.max(prefix.as_ref().map_or(Ok(0), peak)?);
        let shape = Shape {
            nodes: plan.model().nodes().len(),
            prefix_nodes: prefix.as_ref().map_or(0, |p| p.model().nodes().len()),
            cut: cut.iter().map(|shape| shape.iter().product()).collect(),
            prefix_macs,
            suffix_macs,
            step_bytes,
        };
        Ok(Prepared { prefix, plan, accumulated, cut, shape })
    }
}

impl Sums {
    /// Takes what one run put out: the loss parts, then the sums with one sample more.
    fn take(&mut self, mut outputs: TVec<TValue>) -> TractResult<()> {
        with_f32(&outputs[0], |parts| self.parts.iter_mut().zip(parts).for_each(|(s, &p)| *s += p as f64))?;
        self.gradients = outputs.drain(1..).collect();
        Ok(())
    }
}

impl Sum for Sums {
    fn add(&mut self, other: Sums) {
        self.parts.iter_mut().zip(other.parts).for_each(|(s, p)| *s += p);
        self.gradients = Accumulated::add(std::mem::take(&mut self.gradients), other.gradients);
    }
}
