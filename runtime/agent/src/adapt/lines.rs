//! What `adapt` prints: one JSON object a line, as all of the agent.

use serde::Serialize;

use super::judge::Compared;

/// What will be done.
#[derive(Serialize)]
pub struct Plan {
    pub kind: &'static str,
    /// How the tensors were chosen.
    pub selection: String,
    /// The trained tensors by name, and how many values they hold.
    pub trained: Vec<String>,
    pub trained_values: usize,
    /// Local samples that train, that judge, and the views of each.
    pub samples: usize,
    pub held_out: usize,
    pub views: usize,
    /// Samples of the bundle's replay set that are rehearsed, and that judge; none without a replay set.
    pub rehearsed: usize,
    pub replay: usize,
    pub steps: usize,
    /// What training is expected to need at most, what it may need, and what both count.
    pub predicted_peak_bytes: Option<u64>,
    pub memory_budget_bytes: Option<u64>,
    pub memory_counts: &'static str,
    pub time_budget_s: Option<f64>,
    /// What the frozen part of the student computes: kept, or done anew for every step, and why.
    pub prefix_cache: String,
    /// How it is trained.
    pub recipe: String,
    /// Steps that an earlier run has done, and was killed after; or why its checkpoint is not used.
    pub resumed_steps: usize,
    pub checkpoint: String,
}

/// How far it is.
#[derive(Serialize)]
pub struct Progress {
    pub kind: &'static str,
    pub step: usize,
    pub steps: usize,
    /// Means over the epoch so far.
    pub loss: f64,
    pub agreement: f64,
    pub seconds: f64,
    pub temperature_c: Option<f64>,
}

/// What came out.
#[derive(Serialize)]
pub struct Outcome {
    pub kind: &'static str,
    /// Does the new student replace the old one? And why, or why not.
    pub accepted: bool,
    pub why: String,
    /// Absent where training itself failed.
    pub held_out: Option<Compared>,
    /// Absent without a replay set.
    pub replay: Option<Compared>,
    pub steps: usize,
    pub planned_steps: usize,
    /// What ended training before its last step.
    pub stopped: Option<String>,
    /// All of it, earlier runs included.
    pub seconds: f64,
    pub hottest_c: Option<f64>,
    pub memory: Memory,
    /// Of the bundle that was there, and of the new one.
    pub parent_sha256: String,
    pub bundle_sha256: Option<String>,
    /// Where the new one is: a file, a slot.
    pub out: Option<String>,
    pub slot: Option<u32>,
}

/// Memory, budget against measured.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Memory {
    /// Of the plan.
    pub predicted_peak_bytes: Option<u64>,
    pub budget_bytes: Option<u64>,
    /// Highest resident memory while training, less what was resident before; and what that counts.
    pub training_peak_bytes: Option<u64>,
    /// Highest resident memory of the process.
    pub process_peak_bytes: Option<u64>,
    pub counts: &'static str,
}
