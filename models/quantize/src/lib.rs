//! Post-training quantization: a float student and a few samples → standard ONNX QDQ.
//!
//! Weights: i8 per output channel, symmetric, [-127, 127]. Activations: u8 per tensor, ranges from calibration samples.
//! Biases: i32 at scale x·w. Only operators of the default ONNX domain are written, so onnxruntime, OpenVINO and
//! Netron open the file; a `Relu` or `Clip` that the range of u8 performs anyway is left out, as onnxruntime's own
//! quantizer does. Format and arithmetic: reference/quantization.md §4, `f32-rne/1`.
//!
//! [`ranges`] finds what each activation spans, [`rewrite`] puts Q and DQ into the graph.

#![forbid(unsafe_code)]

pub mod ranges;
mod rewrite;
mod scope;

use limbeck_answers::{Card, Preprocess, View};
use limbeck_data::{DataError, Dataset, Watch};
use limbeck_engine::onnx::Model;
use limbeck_engine::{EngineError, FloatNode, Net, compile, normalise};

pub use ranges::RangeMethod;

/// How to quantize.
#[derive(Debug, Clone)]
pub struct QuantizeOptions {
    /// Samples to calibrate on, taken evenly from the data set. Labels are not used.
    pub calibration: usize,
    /// How an activation's range is chosen.
    pub method: RangeMethod,
    /// Threads.
    pub threads: usize,
}

impl Default for QuantizeOptions {
    fn default() -> Self {
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        QuantizeOptions { calibration: 256, method: RangeMethod::Mse, threads }
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
    /// Samples that were used.
    pub calibration: usize,
}

/// Why there is no quantized student.
#[derive(Debug, thiserror::Error)]
pub enum QuantizeError {
    /// The student.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The calibration samples.
    #[error(transparent)]
    Data(#[from] DataError),
    /// A calibration sample does not fit the card.
    #[error("sample {id}: {why}")]
    Sample {
        /// The sample.
        id: String,
        /// What does not fit.
        why: String,
    },
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
    let model = normalise(student)?;
    check_opset(&model)?;
    let scope = scope::Scope::of(&model)?;
    let calibration = options.calibration.clamp(1, dataset.len().max(1));
    let samples = Calibration { preprocess: Preprocess::new(card), dataset, count: calibration };
    let net = Net::load_with_taps(&model, 1, &scope.tapped)?;
    let pixels = samples.preprocess.len();
    if net.input_shape().iter().product::<usize>() != pixels {
        let shape = net.input_shape();
        let what = format!("the student's input has the shape {shape:?}, but its card describes {pixels} values");
        return Err(QuantizeError::Mismatch(format!("{what}; correct the card")));
    }
    let quants = ranges::calibrate(&net, &model, &scope, &samples, options, watch)?;
    let mut quantized = rewrite::rewrite(&model, &scope, &quants);
    quantized.metadata.insert("limbeck.format".into(), "1".into());
    quantized.metadata.insert("limbeck.arithmetic".into(), "f32-rne/1".into());
    quantized.metadata.insert("limbeck.calibration".into(), format!("{calibration} samples, {}", options.method));
    // What is written is what is compiled: the answer comes from the file's own graph.
    let compiled = compile(&quantized)?;
    Ok(Quantized {
        integer_operators: compiled.regions.iter().map(|r| r.operators).sum(),
        float_nodes: compiled.float_nodes,
        model: quantized,
        calibration,
    })
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

/// Every k-th sample of a data set, preprocessed.
struct Calibration<'a> {
    preprocess: Preprocess,
    dataset: &'a dyn Dataset,
    count: usize,
}

impl Calibration<'_> {
    /// The `i`-th calibration sample, and what to call it.
    fn fill(&self, i: usize, x: &mut [f32]) -> Result<String, QuantizeError> {
        let index = i * self.dataset.len() / self.count;
        let sample = self.dataset.sample(index)?;
        let id = self.dataset.id(index);
        match self.preprocess.run(&sample.image, View::Identity, x) {
            Ok(()) => Ok(id),
            Err(e) => Err(QuantizeError::Sample { id, why: e.to_string() }),
        }
    }
}
