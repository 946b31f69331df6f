//! What a board made of its student, as a record.

use serde::{Deserialize, Serialize};

/// A student that was tuned on a board against shipped teacher answers.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Adaptation {
    /// Board id: "host", "qemu-aarch64", …
    pub board: String,
    /// The new student replaced the old one.
    pub accepted: bool,
    /// Why, or why not.
    pub why: String,
    /// On local samples that were not trained on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held_out: Option<BeforeAfter>,
    /// On samples of the data that the student was distilled on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replay: Option<BeforeAfter>,
    /// How it was trained.
    pub recipe: String,
    /// Local samples that were trained on.
    pub samples: u64,
    /// Tensors trained, and values in them.
    pub tensors: u64,
    /// Values in them.
    pub values: u64,
    /// Optimiser steps done.
    pub steps: u64,
    /// Optimiser steps planned.
    pub planned_steps: u64,
    /// What ended training before its last step.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stopped: Option<String>,
    /// Time, budget against measured, in seconds.
    pub seconds: f64,
    /// Longest that was allowed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_budget_s: Option<f64>,
    /// Peak memory of training that was predicted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub predicted_peak_bytes: Option<u64>,
    /// The most that was allowed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_budget_bytes: Option<u64>,
    /// Peak memory of training that was measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub training_peak_bytes: Option<u64>,
    /// Peak memory of the whole process.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub process_peak_bytes: Option<u64>,
    /// What the memory figures count.
    pub memory_counts: String,
    /// SHA-256 of the bundle before.
    pub parent_sha256: String,
    /// SHA-256 of the adapted bundle, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bundle_sha256: Option<String>,
}

/// The old and the new student on the same samples.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct BeforeAfter {
    /// Pictures shown: samples times views.
    pub shown: u64,
    /// The old student.
    pub before: Score,
    /// The new one.
    pub after: Score,
}

/// A student on some samples, in means.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Score {
    /// Distillation loss.
    pub loss: f64,
    /// Share answered as the teacher does, 0..=1.
    pub agreement: f64,
    /// Share of labelled samples answered rightly, 0..=1; absent without labels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub top1: Option<f64>,
}
