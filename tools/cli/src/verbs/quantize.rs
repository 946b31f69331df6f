//! `limbeck quantize`: float student → int8 student (ONNX QDQ).
//!
//! ```text
//! limbeck quantize --student student.onnx --data photos --out student.int8.onnx --sensitivity
//! ```
//!
//! With `--sensitivity`, the cost of each operator that runs in integers alone, the most harmful first. With `--max-drop P`, as few
//! operators as keep the student within P points of its float form stay in float; every candidate is really run. Both
//! measure on samples of `--data` that do not calibrate (`--held-out`). The bound holds on those: samples that the student
//! was trained on are surer than others, so give data that it has not seen, and enough of it (of 1,000 samples, 0.1 points is 1).
//! Where nothing but the float student would keep the bound, nothing is written and the exit code is 3.

use std::path::PathBuf;

use anyhow::{Context, Result};
use limbeck_quantize::{DropOf, Loss, MaxDrop, QuantizeOptions, Quantized, RangeMethod, WeightBits, quantize};
use limbeck_report::{FloatNode, Quantization, QuantizationLoss, Sensitivity};

use crate::console::Console;
use crate::exit::usage;
use crate::inputs::{DataArguments, ModelFile, prepare_out, threads};
use crate::record::{ReportArguments, put_model};

/// How activation ranges are chosen.
#[derive(clap::ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// Least mean squared error.
    Mse,
    /// Smallest to largest value.
    MinMax,
    /// The middle `--percentile` percent of the values.
    Percentile,
    /// Least Kullback-Leibler divergence, as TensorRT does.
    Entropy,
}

/// What `--max-drop` bounds.
#[derive(clap::ValueEnum, Clone, Copy, Debug)]
pub enum Of {
    /// Samples answered as the float student does; needs no labels.
    Agreement,
    /// Samples answered rightly; needs labels.
    Accuracy,
}

/// How to quantize. `pipeline` takes the defaults.
#[derive(clap::Args, Clone, Debug)]
pub struct RecipeArguments {
    /// Samples to calibrate on, taken evenly; labels are not used.
    #[arg(long, default_value_t = 256)]
    pub calibration: usize,
    /// How activation ranges are chosen.
    #[arg(long, value_enum, default_value = "mse")]
    pub method: Method,
    /// Percent of the values that `--method percentile` keeps; half of the rest goes at each end.
    #[arg(long, value_name = "P", default_value_t = RangeMethod::PERCENTILE)]
    pub percentile: f64,
    /// Bits of a weight: 8, or 4 (±7 in the same s8 container; then distill, see `limbeck distill --float`).
    #[arg(long, value_name = "4|8", default_value = "8", value_parser = weight_bits)]
    pub weight_bits: WeightBits,
    /// Equalise weights across layers first (on where biases are corrected; `--no-equalise` turns it off).
    #[arg(long, overrides_with = "no_equalise")]
    pub equalise: bool,
    /// Do not equalise.
    #[arg(long, overrides_with = "equalise", hide = true)]
    pub no_equalise: bool,
    /// Take each layer's mean error out of its bias (on; `--no-bias-correction` turns it off).
    #[arg(long, overrides_with = "no_bias_correction")]
    pub bias_correction: bool,
    /// Leave biases as they are.
    #[arg(long, overrides_with = "bias_correction", hide = true)]
    pub no_bias_correction: bool,
    /// Measure what each operator costs, and print the table.
    #[arg(long)]
    pub sensitivity: bool,
    /// Leave the fewest operators in float that keep the loss at P points or less, on held-out samples.
    #[arg(long, value_name = "P")]
    pub max_drop: Option<f64>,
    /// What `--max-drop` bounds.
    #[arg(long, value_enum, default_value = "agreement", requires = "max_drop")]
    pub drop_of: Of,
    /// Samples that `--sensitivity` and `--max-drop` measure on; they do not calibrate.
    #[arg(long, value_name = "N", default_value_t = 512)]
    pub held_out: usize,
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
    #[command(flatten)]
    pub recipe: RecipeArguments,
    /// The int8 student to write.
    #[arg(long)]
    pub out: PathBuf,
    /// Threads (default: all cores).
    #[arg(long)]
    pub threads: Option<usize>,
    #[command(flatten)]
    pub report: ReportArguments,
}

impl Default for RecipeArguments {
    fn default() -> Self {
        let QuantizeOptions { calibration, held_out, .. } = QuantizeOptions::default();
        RecipeArguments {
            calibration,
            method: Method::Mse,
            percentile: RangeMethod::PERCENTILE,
            weight_bits: WeightBits::Eight,
            equalise: false,
            no_equalise: false,
            bias_correction: false,
            no_bias_correction: false,
            sensitivity: false,
            max_drop: None,
            drop_of: Of::Agreement,
            held_out,
        }
    }
}

impl RecipeArguments {
    /// What the library is asked for.
    fn options(&self, threads: usize) -> Result<QuantizeOptions> {
        let method = match self.method {
            Method::Mse => RangeMethod::Mse,
            Method::MinMax => RangeMethod::MinMax,
            Method::Percentile => RangeMethod::Percentile(self.percentile),
            Method::Entropy => RangeMethod::Entropy,
        };
        if self.method != Method::Percentile && self.percentile != RangeMethod::PERCENTILE {
            return Err(usage("--percentile is for --method percentile; give both"));
        }
        let of = match self.drop_of {
            Of::Agreement => DropOf::Agreement,
            Of::Accuracy => DropOf::Accuracy,
        };
        let default = QuantizeOptions::default();
        let chosen = |on: bool, off: bool, default: bool| if on || off { on } else { default };
        let bias_correction = chosen(self.bias_correction, self.no_bias_correction, default.bias_correction);
        Ok(QuantizeOptions {
            calibration: self.calibration,
            held_out: self.held_out,
            method,
            weight_bits: self.weight_bits,
            // Scaled weights shift more means; without the correction that cost more than it gained.
            equalise: chosen(self.equalise, self.no_equalise, default.equalise && bias_correction),
            bias_correction,
            sensitivity: self.sensitivity,
            max_drop: self.max_drop.map(|points| MaxDrop { points, of }),
            threads,
        })
    }
}

fn weight_bits(text: &str) -> Result<WeightBits, String> {
    match text {
        "4" => Ok(WeightBits::Four),
        "8" => Ok(WeightBits::Eight),
        other => Err(format!("weights have 4 or 8 bits, not {other}")),
    }
}

/// See the module.
pub fn run(arguments: &Arguments, console: &Console) -> Result<()> {
    let options = arguments.recipe.options(threads(arguments.threads))?;
    prepare_out(&arguments.out)?;
    let student = ModelFile::read(&arguments.student, arguments.card.as_deref())?;
    let dataset = arguments.data.open(&student.card, console)?;
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
    if options.sensitivity {
        console.print(sensitivity_table(&quantized))?;
    }
    if let Some(max) = options.max_drop {
        console.print(search_table(&quantized, max))?;
    }
    for node in &quantized.float_nodes {
        console.say(format!("  float: {}: {}", node.node, node.reason));
    }
    if !quantized.exact {
        console.say("  float sums come before integers: other machines are compared by class, not integer by integer");
    }
    let mut outcome = Ok(());
    arguments.report.update(|report| {
        outcome = put_model(report, "int8 student", &arguments.out, Some(student.model.parameters() as u64));
        // What an older int8 student computed is no longer what this one must.
        report.accuracy.retain(|row| row.integers_hash.is_none());
        report.quantization = Some(record(&quantized, &options));
    })?;
    outcome
}

/// One line an operator, the most harmful first.
///
/// ```text
/// one operator in int8, all others in float        SQNR        KL  agrees
/// Conv "/c.0/Conv"                              31.5 dB   1.2e-03  99.22%
/// ```
fn sensitivity_table(quantized: &Quantized) -> String {
    let head = "one operator in int8, all others in float".to_owned();
    let rows = quantized.sensitivity.iter().map(|s| (s.node.clone(), &s.loss));
    let all = quantized.loss.iter().map(|loss| ("the int8 student".to_owned(), loss));
    let (samples, labels) = quantized.loss.as_ref().map_or((0, None), |l| (l.samples, l.right));
    let mut text = loss_table(&head, rows.chain(all));
    text += &format!("on {samples} held-out samples");
    match labels {
        Some(right) => text + &format!("; float top-1 {:.2}%\n", share(right.float, right.of)),
        None => text + ", without labels\n",
    }
}

/// Every candidate on the way to `--max-drop`, and what it means.
fn search_table(quantized: &Quantized, max: MaxDrop) -> String {
    let samples = quantized.loss.as_ref().map_or(0, |l| l.samples);
    let (points, of) = (max.points, max.of);
    let mark = |enough: bool| if enough { "enough" } else { "too much" };
    let rows = quantized.trials.iter().map(|t| (format!("{} ({})", t.step, mark(t.enough)), &t.loss));
    let mut text = loss_table(&format!("at most {points} points of {of} lost"), rows);
    let most = (points * samples as f64 / 100.0 + 1e-9).floor();
    text += &format!("{points} points of {samples} held-out samples are {most:.0} samples");
    match quantized.trials.iter().rev().find(|t| t.enough).map_or(0, |t| t.in_float) {
        0 => text + "; no operator has to stay in float\n",
        1 => text + "; 1 operator stays in float\n",
        n => text + &format!("; {n} operators stay in float\n"),
    }
}

fn loss_table<'a>(head: &str, rows: impl Iterator<Item = (String, &'a Loss)>) -> String {
    let rows: Vec<[String; 5]> = rows.map(|(name, loss)| cells(name, loss)).collect();
    let labelled = rows.iter().any(|row| !row[4].is_empty());
    let width = rows.iter().map(|row| row[0].chars().count()).chain([head.chars().count()]).max().unwrap_or(0);
    let line = |c: [&str; 5]| {
        let text = format!("{:<width$}  {:>9}  {:>8}  {:>8}  {:>7}", c[0], c[1], c[2], c[3], c[4]);
        text.trim_end().to_owned() + "\n"
    };
    let mut text = line([head, "SQNR", "KL", "agrees", if labelled { "top-1" } else { "" }]);
    for row in &rows {
        text += &line(row.each_ref().map(String::as_str));
    }
    text
}

fn cells(name: String, loss: &Loss) -> [String; 5] {
    [
        name,
        loss.sqnr_db.map_or_else(|| "exact".into(), |db| format!("{db:.1} dB")),
        format!("{:.1e}", loss.kl),
        format!("{:.2}%", loss.agreement() * 100.0),
        loss.right.map_or_else(String::new, |r| format!("{:.2}%", share(r.quantized, r.of))),
    ]
}

fn share(of: usize, all: usize) -> f64 {
    of as f64 * 100.0 / all.max(1) as f64
}

/// The report's record.
fn record(quantized: &Quantized, options: &QuantizeOptions) -> Quantization {
    let weights = match options.weight_bits {
        WeightBits::Eight => "i8",
        WeightBits::Four => "4 bits",
    };
    let mut method =
        format!("activations u8 per tensor, range by {}; weights {weights} per output channel", options.method);
    if quantized.equalised > 0 {
        method += &format!("; {} pairs of layers equalised", quantized.equalised);
    }
    if quantized.corrected > 0 {
        method += &format!("; {} biases corrected", quantized.corrected);
    }
    let loss = |loss: &Loss| QuantizationLoss {
        sqnr_db: loss.sqnr_db,
        kl: loss.kl,
        agreement: loss.agreement(),
        top1: loss.right.map(|r| r.quantized as f64 / r.of.max(1) as f64),
    };
    Quantization {
        calibration_samples: quantized.calibration as u64,
        method,
        arithmetic: "f32-rne/1".into(),
        float_nodes: quantized
            .float_nodes
            .iter()
            .map(|n| FloatNode { node: n.node.clone(), reason: n.reason.clone() })
            .collect(),
        held_out_samples: quantized.loss.as_ref().map(|l| l.samples as u64),
        loss: quantized.loss.as_ref().map(loss),
        max_drop: options.max_drop.map(|m| format!("{} points of {}", m.points, m.of)),
        sensitivity: quantized
            .sensitivity
            .iter()
            .map(|s| Sensitivity { node: s.node.clone(), loss: loss(&s.loss) })
            .collect(),
    }
}
