//! Post-training quantization: a float student and a few samples → standard ONNX QDQ.
//!
//! Weights: i8 per output channel, symmetric, [-127, 127], or [-7, 7] where 4 bits are asked for. Activations: u8 per tensor, ranges from calibration samples.
//! Biases: i32 at scale x·w. Only operators of the default ONNX domain are written, so onnxruntime, OpenVINO and
//! Netron open the file; a `Relu` or `Clip` that the range of u8 performs anyway is left out, as onnxruntime's own
//! quantizer does. Format and arithmetic: reference/quantization.md §4, `f32-rne/1`.
//!
//! | file | what it does |
//! |---|---|
//! | `equalise` | scales between layers, float in and float out |
//! | `scope` | what becomes integer, which activations that needs quantized |
//! | `ranges`, `method` | the range of every activation, from calibration samples |
//! | `correct` | biases, from the same samples |
//! | `weight_bits` | the range of every channel of weights |
//! | `rewrite` | Q and DQ into the graph |
//! | `loss` | what a candidate lost, on held-out samples |
//! | `search` | which operators must stay in float |

#![forbid(unsafe_code)]

mod correct;
mod equalise;
mod job;
mod loss;
mod metadata;
mod method;
mod ranges;
mod rewrite;
mod samples;
mod scope;
mod search;
mod weight_bits;
mod weights;

use std::collections::BTreeSet;

use limbeck_answers::{Card, Preprocess};
use limbeck_data::{DataError, Dataset, Watch};
use limbeck_engine::onnx::Model;
use limbeck_engine::{EngineError, FloatNode, Student, normalise};

use job::Job;
use loss::Reference;
use samples::{Rounds, Samples};

// The float student, made ready
pub use equalise::equalise;
// How ranges are chosen
pub use method::{Quant, RangeMethod};
// How fine weights are
pub use weight_bits::WeightBits;
// What was lost
pub use loss::{Loss, Right};
// What may be lost
pub use search::{DropOf, MaxDrop, Trial};

/// How to quantize.
#[derive(Debug, Clone)]
pub struct QuantizeOptions {
    /// Samples to calibrate on, taken evenly from the data set. Labels are not used.
    pub calibration: usize,
    /// Samples to measure losses on, taken evenly from the others; only where `sensitivity` or `max_drop` asks for them.
    /// Where the data set is too small for both, three in four of its samples calibrate.
    pub held_out: usize,
    /// How an activation's range is chosen.
    pub method: RangeMethod,
    /// Bits of a weight.
    pub weight_bits: WeightBits,
    /// Equalise weights across layers first ([`equalise()`]). On by measurement (`examples/defaults.rs`): with `bias_correction` it
    /// gains 0.1 to 0.2 dB on ResNet-8 and the demo's student, and far more where channels are uneven. Without, it costs
    /// ResNet-8 0.5 to 1 dB.
    pub equalise: bool,
    /// Take every layer's mean error out of its bias. On by measurement: 2 to 3 dB for ResNet-8.
    pub bias_correction: bool,
    /// Measure what each operator costs.
    pub sensitivity: bool,
    /// Leave as few operators in float as keep the loss below this; measures the sensitivity too.
    pub max_drop: Option<MaxDrop>,
    /// Threads. No result depends on it.
    pub threads: usize,
}

impl Default for QuantizeOptions {
    fn default() -> Self {
        QuantizeOptions {
            calibration: 256,
            held_out: 512,
            method: RangeMethod::Mse,
            weight_bits: WeightBits::Eight,
            equalise: true,
            bias_correction: true,
            sensitivity: false,
            max_drop: None,
            threads: std::thread::available_parallelism().map_or(1, usize::from),
        }
    }
}

/// A quantized student.
#[derive(Debug, Clone)]
pub struct Quantized {
    /// The QDQ model.
    pub model: Model,
    /// Operators left in float, and why.
    pub float_nodes: Vec<FloatNode>,
    /// Operators that will run in integers.
    pub integer_operators: usize,
    /// Are the integers the same on every machine ([`Student::integers_are_exact`])?
    pub exact: bool,
    /// Samples that calibrated.
    pub calibration: usize,
    /// Pairs of layers that were equalised.
    pub equalised: usize,
    /// Layers whose bias was corrected.
    pub corrected: usize,
    /// What each operator costs, the most harmful first; where it was asked for.
    pub sensitivity: Vec<Sensitivity>,
    /// The candidates on the way to `max_drop`, in order; empty where none was asked for.
    pub trials: Vec<Trial>,
    /// What the student lost on the held-out samples; where they were asked for.
    pub loss: Option<Loss>,
}

/// What one operator costs: the loss where it alone runs in integers (its inputs, weights and output quantized) and all others
/// in float.
///
/// The other way, all in integers but one, hides what an operator costs behind what the others cost.
#[derive(Debug, Clone, PartialEq)]
pub struct Sensitivity {
    /// Operator and name: `Conv "/layer1/conv1"`.
    pub node: String,
    /// What is lost.
    pub loss: Loss,
}

/// Why there is no quantized student.
#[derive(Debug, thiserror::Error)]
pub enum QuantizeError {
    /// The student.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The calibration samples: one cannot be read, or does not fit the card.
    #[error(transparent)]
    Data(#[from] DataError),
    /// An activation is not finite on a calibration sample.
    #[error("\"{value}\" is not finite on sample {id}; the student or its card is wrong")]
    NotFinite {
        /// The activation.
        value: String,
        /// The sample.
        id: String,
    },
    /// Student and card do not belong together.
    #[error("{0}")]
    Mismatch(String),
    /// An option has no meaning.
    #[error("{0}")]
    Option(String),
    /// Every operator that computes would have to stay in float.
    #[error(
        "no int8 student loses at most {} points of {}: of {operators} operators, all that compute would have to stay in float, \
         which loses nothing and is the float student itself; the least that any candidate lost is {least:.3}; \
         allow more, or train the student further", max.points, max.of
    )]
    NothingInIntegers {
        /// What was allowed.
        max: MaxDrop,
        /// The least that a candidate with integers lost, in points.
        least: f64,
        /// Operators that could run in integers.
        operators: usize,
    },
    /// Ctrl-C.
    #[error("interrupted; nothing was written")]
    Cancelled,
}

/// Quantize `student`, whose inputs `card` describes, on samples of `dataset`.
pub fn quantize(
    student: &Model,
    card: &Card,
    dataset: &dyn Dataset,
    options: &QuantizeOptions,
    watch: &dyn Watch,
) -> Result<Quantized, QuantizeError> {
    check_options(options)?;
    let rounds = Rounds::new(watch);
    let normal = normalise(student)?;
    check_opset(&normal)?;
    let preprocess = Preprocess::new(card);
    check_input(&normal, &preprocess)?;
    let measures = options.sensitivity || options.max_drop.is_some();
    let (calibrating, held_out) =
        samples::split(dataset.len(), options.calibration, if measures { options.held_out } else { 0 });
    if measures && held_out.is_empty() {
        let (n, wanted) = (dataset.len(), options.held_out);
        return Err(QuantizeError::Option(format!(
            "losses are measured on samples that do not calibrate: {wanted} were to be held out of {n}, and none is; \
             hold out at least one, of at least two"
        )));
    }
    let [calibrating, held_out] =
        [calibrating, held_out].map(|indices| Samples { preprocess: &preprocess, dataset, indices });
    let (model, equalised) = if options.equalise { equalise(&normal)? } else { (normal, 0) };
    let job = Job::new(model, &calibrating, options, &rounds)?;

    let mut chosen = Chosen::default();
    if measures {
        chosen = measure(student, &job, &held_out, options, &rounds)?;
    }
    let built = job.build(&job.all_but(&chosen.float))?;
    let mut quantized = built.model;
    let compiled = limbeck_engine::compile(&quantized)?;
    let float_nodes = job.explain(compiled.float_nodes, &chosen.reasons);
    metadata::write(&mut quantized, &job, dataset, options, &float_nodes)?;
    // What is written is what is compiled: the answer comes from the file's own graph.
    let ready = Student::load(&quantized)?;
    Ok(Quantized {
        integer_operators: ready.integer_operators(),
        exact: ready.integers_are_exact(),
        float_nodes,
        model: quantized,
        calibration: calibrating.len(),
        equalised,
        corrected: built.corrected,
        sensitivity: chosen.sensitivity,
        trials: chosen.trials,
        loss: chosen.loss,
    })
}

/// What `quantized` loses against `float` on every sample of `dataset`.
///
/// Both have the input that `card` describes and the same outputs.
pub fn compare(
    float: &Model,
    quantized: &Model,
    card: &Card,
    dataset: &dyn Dataset,
    threads: usize,
    watch: &dyn Watch,
) -> Result<Loss, QuantizeError> {
    let (preprocess, rounds) = (Preprocess::new(card), Rounds::new(watch));
    check_input(float, &preprocess)?;
    check_input(quantized, &preprocess)?;
    let samples = Samples { preprocess: &preprocess, dataset, indices: (0..dataset.len()).collect() };
    Reference::of(float, &samples, threads, &rounds)?.loss(quantized, &rounds)
}

/// What held-out samples said.
#[derive(Default)]
struct Chosen {
    float: BTreeSet<usize>,
    /// For each operator of `float`, why.
    reasons: Vec<(usize, String)>,
    sensitivity: Vec<Sensitivity>,
    trials: Vec<Trial>,
    loss: Option<Loss>,
}

/// The cost of each operator, and the operators that must stay in float.
fn measure(
    student: &Model,
    job: &Job<'_>,
    held_out: &Samples<'_>,
    options: &QuantizeOptions,
    rounds: &Rounds<'_>,
) -> Result<Chosen, QuantizeError> {
    let reference = Reference::of(student, held_out, options.threads, rounds)?;
    if options.max_drop.is_some_and(|m| m.of == DropOf::Accuracy) && !reference.labelled() {
        let why = "no held-out sample has a label, so no accuracy can be lost; bound the loss of agreement instead";
        return Err(QuantizeError::Option(why.into()));
    }
    let mut costs: Vec<(usize, Loss)> = vec![];
    for i in job.operators() {
        costs.push((i, reference.loss(&job.build(&BTreeSet::from([i]))?.model, rounds)?));
    }
    // By divergence, which ranks where too few samples change their class to do so; of equals the earlier first.
    costs.sort_by(|(i, a), (j, b)| b.kl.total_cmp(&a.kl).then(i.cmp(j)));
    let title = |i: usize| job.title(i);
    let mut chosen = Chosen {
        sensitivity: costs.iter().map(|(i, loss)| Sensitivity { node: title(*i), loss: loss.clone() }).collect(),
        ..Chosen::default()
    };
    let Some(max) = options.max_drop else {
        chosen.loss = Some(reference.loss(&job.build(&job.all_but(&chosen.float))?.model, rounds)?);
        return Ok(chosen);
    };
    let by_harm: Vec<usize> = costs.iter().map(|(i, _)| *i).collect();
    let found = search::search(
        &by_harm,
        max,
        title,
        |i| job.computes(i),
        |float| reference.loss(&job.build(&job.all_but(float))?.model, rounds),
    )?;
    let reason = |(i, loss): &(usize, Loss)| {
        let (points, of) = (max.points, max.of);
        let (kl, drop) = (loss.kl, loss.agreement_drop());
        (
            *i,
            format!(
                "at most {points} points of {of} may be lost; alone in int8 it costs KL {kl:.2e}, {drop:.2} points of agreement"
            ),
        )
    };
    chosen.reasons = costs.iter().filter(|(i, _)| found.float.contains(i)).map(reason).collect();
    chosen.float = found.float;
    // The last candidate that was good enough is the one that was kept.
    chosen.loss = found.trials.iter().rev().find(|t| t.enough).map(|t| t.loss.clone());
    chosen.trials = found.trials;
    Ok(chosen)
}

fn check_options(options: &QuantizeOptions) -> Result<(), QuantizeError> {
    match (options.method, options.max_drop) {
        (RangeMethod::Percentile(kept), _) if !(kept > 0.0 && kept <= 100.0) => {
            Err(QuantizeError::Option(format!("a percentile of {kept} keeps nothing; write one above 0, at most 100")))
        }
        (_, Some(MaxDrop { points, .. })) if !(points >= 0.0 && points.is_finite()) => {
            Err(QuantizeError::Option(format!("at most {points} points lost means nothing; write a number from 0")))
        }
        _ => Ok(()),
    }
}

fn check_input(model: &Model, preprocess: &Preprocess) -> Result<(), QuantizeError> {
    let (shape, pixels) = (limbeck_engine::input_shape(model, 1)?, preprocess.len());
    if shape.iter().product::<usize>() == pixels {
        return Ok(());
    }
    let what = format!("the student's input has the shape {shape:?}, but its card describes {pixels} values");
    Err(QuantizeError::Mismatch(format!("{what}; correct the card")))
}

/// QDQ with scales per channel needs opset 13. Most operators are the same before and there; these are not.
fn check_opset(model: &Model) -> Result<(), QuantizeError> {
    let moved = |node: &&limbeck_engine::onnx::Node| match node.op.as_str() {
        "Squeeze" | "Unsqueeze" | "ReduceSum" => node.attributes.contains_key("axes"),
        "Clip" => node.attributes.contains_key("min") || node.attributes.contains_key("max"),
        "Split" => node.attributes.contains_key("split"),
        "Pad" => node.attributes.contains_key("pads"),
        "Slice" => node.attributes.contains_key("starts"),
        "Softmax" | "LogSoftmax" | "Upsample" => true,
        "Resize" | "TopK" => model.opset < 11,
        _ => false,
    };
    match model.graph.nodes.iter().find(moved) {
        Some(node) if model.opset < 13 => Err(QuantizeError::Mismatch(format!(
            "{} is written as in opset {}, and int8 needs opset 13; export the student with opset 13 or later",
            node.title(),
            model.opset
        ))),
        _ => Ok(()),
    }
}
