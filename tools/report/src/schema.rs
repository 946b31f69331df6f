//! What a report says: plain records, written and read as JSON.
//!
//! The JSON is the product, the HTML a view of it: everything on the page comes from these fields. A field that was
//! not measured is absent (`None`), never zero. Times are microseconds (`_us`) or seconds, sizes bytes, rates 0..=1.

use serde::{Deserialize, Serialize};

use crate::adaptation::Adaptation;
use crate::board::Board;
use crate::budget::Budget;
use crate::comparison::Comparison;
use crate::confusion::Confusion;
use crate::run_comparison::RunComparison;

/// The version of the JSON this build writes, and the newest it reads.
pub const SCHEMA_VERSION: u32 = 1;

/// Everything known about one run, from teacher to board.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// [`SCHEMA_VERSION`] of the writer.
    pub schema_version: u32,
    /// One line for the head of the page, "scenes: teacher to int8 on qemu-aarch64".
    pub title: String,
    /// When the run ended, RFC 3339, given by the caller ("2026-03-01T12:00:00Z").
    pub created: String,
    /// Version of the tool that made the run.
    pub tool_version: String,
    /// Whether to believe and accept the numbers.
    pub verdict: Verdict,
    /// Why the verdict is what it is, one sentence each; also what passed, if worth saying.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reasons: Vec<String>,
    /// Teacher, student before, float student after, int8 student: those that took part.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub models: Vec<Model>,
    /// How well each of them does on the test samples, where it ran.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub accuracy: Vec<Accuracy>,
    /// The fine-distillation, if this run did one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub training: Option<Training>,
    /// Recipes side by side, if they were compared.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comparison: Option<Comparison>,
    /// What a board made of its student, if one adapted it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub adaptation: Option<Adaptation>,
    /// The quantization, if this run did one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quantization: Option<Quantization>,
    /// The file that was deployed, if one was made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bundle: Option<Bundle>,
    /// One entry per board that the student ran on, the host included.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub boards: Vec<Board>,
    /// What was promised, and what was measured against it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub budgets: Vec<Budget>,
    /// This run against an earlier one, if it was held against one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub baseline: Option<RunComparison>,
    /// Files worth comparing by size: models, bundle, agent.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sizes: Vec<Size>,
    /// Every input file, by hash.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sources: Vec<Source>,
    /// The exact commands that make these numbers again, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub commands: Vec<String>,
}

/// The one word at the head of the report.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Verdict {
    /// Measured under the protocol, and inside every budget.
    Pass,
    /// Measured under the protocol, and outside a budget or unequal where it must be equal.
    Fail,
    /// The measurement itself cannot be trusted; numbers are shown and marked.
    #[default]
    Invalid,
}

impl Verdict {
    /// "PASS", "FAIL" or "INVALID", as in the JSON.
    pub fn word(self) -> &'static str {
        match self {
            Verdict::Pass => "PASS",
            Verdict::Fail => "FAIL",
            Verdict::Invalid => "INVALID",
        }
    }
}

/// A model file that took part.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Model {
    /// Its part in the run: "teacher", "student before", "student after", "int8 student".
    pub role: String,
    /// File or architecture name.
    pub name: String,
    /// SHA-256 of the file, 64 hex digits.
    pub sha256: String,
    /// Size of the file.
    pub bytes: u64,
    /// Trainable numbers in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parameters: Option<u64>,
    /// Multiply-accumulates per inference of one sample.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub macs: Option<u64>,
}

/// One model in one place, against labels and against its references.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Accuracy {
    /// What ran where: "teacher", "student before", "int8 on host", "int8 on qemu-aarch64", …
    /// A model's role, then " on " and a board's id if it ran on one: the views find size and latency by these words.
    pub subject: String,
    /// Share of samples whose first answer is the label, 0..=1; absent without labels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub top1: Option<f64>,
    /// Samples answered right; 0 where there are no labels.
    #[serde(default)]
    pub correct: u64,
    /// Samples asked.
    pub n: u64,
    /// Share of samples answered as the teacher does, 0..=1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agreement_with_teacher: Option<f64>,
    /// Share of samples answered as the same student does on the host, 0..=1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agreement_with_host: Option<f64>,
    /// How close the answers are to the teacher's, in counts and distances.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agreement: Option<Agreement>,
    /// How far the outputs are from those of the same student on the host, where they are floats.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host_difference: Option<HostDifference>,
    /// What was taken for what.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confusion: Option<Confusion>,
    /// Hash over every integer the student produced; equal hashes, equal integers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub integers_hash: Option<String>,
    /// How the number was made, one sentence.
    #[serde(default)]
    pub how: String,
}

/// Answers beside the teacher's, on the samples that have both.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Agreement {
    /// Samples answered as the teacher does.
    pub same: u64,
    /// Samples asked.
    pub n: u64,
    /// Mean symmetric Kullback-Leibler divergence of the classes, nats: KL(p‖q) + KL(q‖p).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub symmetric_kl: Option<f64>,
    /// Largest difference of two logits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_difference: Option<f64>,
    /// Mean cosine of the two vectors of logits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cosine: Option<f64>,
}

/// Float outputs beside the host's, over all samples.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct HostDifference {
    /// Largest difference of two outputs.
    pub max_abs: f64,
    /// The largest that is taken for the same.
    pub tolerance: f64,
}

/// What the fine-distillation did.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Training {
    /// Passes over the training samples.
    pub epochs: u64,
    /// Optimiser steps.
    pub steps: u64,
    /// Wall-clock seconds.
    pub seconds: f64,
    /// "sgd, momentum 0.9", "adam", …
    pub optimiser: String,
    /// Highest learning rate of the schedule.
    pub learning_rate: f64,
    /// Temperature of the soft targets.
    pub temperature: f64,
    /// Name of the recipe; none where it was soft labels alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub method: Option<String>,
    /// Training samples.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub samples: Option<u64>,
    /// Mean loss of each epoch, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub loss: Vec<f64>,
    /// Agreement with the teacher after each epoch, 0..=1, in order; on `agreement_on`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub agreement: Vec<f64>,
    /// Which samples the agreement is of: "training samples, as they pass", "held-out samples".
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub agreement_on: String,
}

/// What the quantizer did.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Quantization {
    /// Samples that set the ranges.
    pub calibration_samples: u64,
    /// "per-channel symmetric s8 weights, per-tensor u8 activations, MSE ranges", …
    pub method: String,
    /// Arithmetic id of the plan: "f32-rne/1".
    pub arithmetic: String,
    /// Nodes left in float, and why.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub float_nodes: Vec<FloatNode>,
    /// Samples that losses were measured on; none of them calibrated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held_out_samples: Option<u64>,
    /// What the whole int8 student lost on them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub loss: Option<QuantizationLoss>,
    /// What could be lost at most, and made operators stay in float: "0.5 points of agreement".
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_drop: Option<String>,
    /// What each operator costs, the most harmful first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sensitivity: Vec<Sensitivity>,
}

/// What a student lost against its float form, on held-out samples.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct QuantizationLoss {
    /// Signal to quantization noise of the logits, dB; absent where no logit differs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sqnr_db: Option<f64>,
    /// Mean Kullback-Leibler divergence of the classes from the float student's, nats.
    pub kl: f64,
    /// Share of samples answered as the float student does, 0..=1.
    pub agreement: f64,
    /// Share of labelled samples answered rightly, 0..=1; absent without labels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub top1: Option<f64>,
}

/// What one operator costs: it alone in integers, all others in float.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Sensitivity {
    /// Name and operator in the graph.
    pub node: String,
    /// What is lost.
    pub loss: QuantizationLoss,
}

/// A node that the quantizer left in float.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct FloatNode {
    /// Name and operator in the graph.
    pub node: String,
    /// Why it stayed.
    pub reason: String,
}

/// The file that was deployed.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Bundle {
    /// File name.
    pub name: String,
    /// SHA-256 of the file.
    pub sha256: String,
    /// Its size.
    pub bytes: u64,
    /// Its monotonic version: a board refuses one that is lower than what it runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<u64>,
    /// Who signed it, by key id; absent if nobody did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signer: Option<String>,
    /// Compiler that built the tool which made it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub toolchain: Option<String>,
    /// Kernels compiled into the agent that goes with it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub kernels: Vec<String>,
    /// Revision of the sources that it was made from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub git_revision: Option<String>,
    /// What is in it: student, plan, answers, probe vectors, …
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub contents: Vec<KeyValue>,
}

/// One line of a card.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyValue {
    /// Left column.
    pub key: String,
    /// Right column.
    pub value: String,
}

impl KeyValue {
    /// `key` and `value` as given.
    pub fn new(key: impl Into<String>, value: impl Into<String>) -> KeyValue {
        KeyValue { key: key.into(), value: value.into() }
    }
}

/// A file and its size.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Size {
    /// What it is: "teacher.onnx", "agent (aarch64, static)".
    pub name: String,
    /// How large.
    pub bytes: u64,
    /// An aside: "stripped", "float weights", or nothing.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub note: String,
}

/// An input file, by hash.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Source {
    /// What it is to the run: "teacher", "teacher card", "answers", "test data".
    pub role: String,
    /// File or folder name.
    pub name: String,
    /// SHA-256 of the contents.
    pub sha256: String,
    /// Size, where it is one file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
}

impl Report {
    /// An empty report: verdict INVALID ("nothing was measured") until the caller fills it in.
    pub fn new(title: impl Into<String>, created: impl Into<String>, tool_version: impl Into<String>) -> Report {
        Report {
            schema_version: SCHEMA_VERSION,
            title: title.into(),
            created: created.into(),
            tool_version: tool_version.into(),
            ..Report::default()
        }
    }
}
