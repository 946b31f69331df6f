//! What `limbeck compare` records.

use serde::{Deserialize, Serialize};

/// One student, one budget, many recipes and seeds.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Comparison {
    /// The student's file name.
    pub student: String,
    /// What was trained on, for people.
    pub data: String,
    /// What was tested on, for people.
    pub test: String,
    /// Passes over the training samples, the same for every recipe.
    pub epochs: u64,
    /// Training samples.
    pub samples: u64,
    /// Test samples with a label.
    pub tested: u64,
    /// Top-1 of the teacher's answers on the test samples, 0..=1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub teacher: Option<f64>,
    /// Top-1 of the student as it was given, 0..=1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub untouched: Option<f64>,
    /// Each recipe's runs, in the order in which they were asked for.
    pub recipes: Vec<ComparedRecipe>,
}

/// A recipe and its runs.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ComparedRecipe {
    /// Its name.
    pub name: String,
    /// What it does, and whose it is.
    pub about: String,
    /// One entry a seed.
    pub runs: Vec<ComparedRun>,
    /// Why a run has no result, by seed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub failed: Vec<FailedRun>,
}

/// One training run.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ComparedRun {
    /// Draws the order of samples and views, and what a loss draws.
    pub seed: u64,
    /// Top-1 of the float student, 0..=1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub float: Option<f64>,
    /// Top-1 of the int8 student, 0..=1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub int8: Option<f64>,
    /// Share of test samples on which the float student chooses the teacher's class.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agreement: Option<f64>,
    /// Wall time of training.
    pub seconds: f64,
}

/// A run without a result.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct FailedRun {
    /// Its seed.
    pub seed: u64,
    /// In words.
    pub why: String,
}
