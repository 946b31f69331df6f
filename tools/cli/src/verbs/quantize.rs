//! `limbeck quantize`: float student → int8 student (ONNX QDQ).

use std::path::PathBuf;

use anyhow::{Context, Result};
use limbeck_quantize::{QuantizeOptions, RangeMethod, quantize};
use limbeck_report::{FloatNode, Quantization};

use crate::console::Console;
use crate::inputs::{DataArguments, ModelFile, prepare_out, threads};
use crate::record::{ReportArguments, put_model};

/// How activation ranges are chosen.
#[derive(clap::ValueEnum, Clone, Copy, Debug)]
pub enum Method {
    /// Least mean squared error.
    Mse,
    /// Smallest to largest value.
    MinMax,
}

/// Quantize a float student: i8 weights per channel, u8 activations, standard ONNX QDQ.
#[derive(clap::Args, Clone, Debug)]
pub struct Arguments {
    /// The student (ONNX, float); its card is the .toml beside it.
    #[arg(long)]
    pub student: PathBuf,
    /// Another card.
    #[arg(long)]
    pub card: Option<PathBuf>,
    #[command(flatten)]
    pub data: DataArguments,
    /// Samples to calibrate on, taken evenly; labels are not used.
    #[arg(long, default_value_t = 256)]
    pub calibration: usize,
    /// How activation ranges are chosen.
    #[arg(long, value_enum, default_value = "mse")]
    pub method: Method,
    /// The int8 student to write.
    #[arg(long)]
    pub out: PathBuf,
    /// Threads (default: all cores).
    #[arg(long)]
    pub threads: Option<usize>,
    #[command(flatten)]
    pub report: ReportArguments,
}

/// See the module.
pub fn run(arguments: &Arguments, console: &Console) -> Result<()> {
    prepare_out(&arguments.out)?;
    let student = ModelFile::read(&arguments.student, arguments.card.as_deref())?;
    let dataset = arguments.data.open(&student.card, console)?;
    let method = match arguments.method {
        Method::Mse => RangeMethod::Mse,
        Method::MinMax => RangeMethod::MinMax,
    };
    let options = QuantizeOptions { calibration: arguments.calibration, method, threads: threads(arguments.threads) };
    let stage = console.stage("quantize", "runs");
    let quantized = quantize(&student.model, &student.card, &dataset, &options, &stage)
        .with_context(|| format!("student {}", student.path.display()))?;
    student.write_next_to(&quantized.model, &arguments.out)?;
    stage.done(&format!(
        "{} {} operators in integers, {} in float",
        arguments.out.display(),
        quantized.integer_operators,
        quantized.float_nodes.len()
    ));
    for node in &quantized.float_nodes {
        console.say(format!("  float: {}: {}", node.node, node.reason));
    }
    let mut outcome = Ok(());
    arguments.report.update(|report| {
        outcome = put_model(report, "int8 student", &arguments.out, Some(student.model.parameters() as u64));
        // What an older int8 student computed is no longer what this one must.
        report.accuracy.retain(|row| row.integers_hash.is_none());
        report.quantization = Some(Quantization {
            calibration_samples: quantized.calibration as u64,
            method: format!("activations u8 per tensor, range by {method}; weights i8 per output channel"),
            arithmetic: "f32-rne/1".into(),
            float_nodes: quantized
                .float_nodes
                .iter()
                .map(|n| FloatNode { node: n.node.clone(), reason: n.reason.clone() })
                .collect(),
        });
    })?;
    outcome
}
