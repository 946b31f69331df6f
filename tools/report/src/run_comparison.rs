//! One run against an earlier one, as a record.

use serde::{Deserialize, Serialize};

use crate::budget::FigureKind;

/// Every figure that two runs both have, and what to make of the difference.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct RunComparison {
    /// The earlier run.
    pub before: RunName,
    /// The run that is judged.
    pub after: RunName,
    /// The int8 student computed the same integers in both; absent where one of them has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub integers: Option<bool>,
    /// The figures: those that moved first, the worst of them at the head.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub figures: Vec<ComparedFigure>,
    /// What is not alike in the two runs, so that figures were not compared, or only as far as said.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unlike: Vec<String>,
    /// 0 same or better, 3 accuracy worse, 4 latency, memory, size or energy worse, 5 one of the runs is INVALID.
    pub exit_code: u8,
    /// Why, one sentence each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reasons: Vec<String>,
}

/// Which run it was.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunName {
    /// Its title.
    pub title: String,
    /// When it ended, RFC 3339.
    pub created: String,
    /// Version of the tool that made it.
    pub tool_version: String,
}

/// One figure of both runs.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ComparedFigure {
    /// Where: a board's id, or a file's name.
    pub place: String,
    /// What: "score", "p90", "top-1", "peak resident", …
    pub name: String,
    /// Which way is better, and the exit code if it got worse.
    pub kind: FigureKind,
    /// "share" (0..=1), "us", "ms", "bytes", "uJ".
    pub unit: String,
    /// In the earlier run.
    pub before: f64,
    /// In the run that is judged.
    pub after: f64,
    /// The change that noise and the floor leave unproved, in `unit`; absent where nothing tells.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub threshold: Option<f64>,
    /// What to make of it.
    pub movement: Movement,
    /// Where from: the noise, the floor, the test.
    pub why: String,
}

/// What became of a figure.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Movement {
    /// Worse by more than floor and noise.
    Worse,
    /// Better by more than floor and noise.
    Better,
    /// Within the floor.
    Same,
    /// Beyond the floor and within the noise, or nothing tells how large the noise is, or a run cannot be trusted.
    #[default]
    CannotTell,
}

impl Movement {
    /// "worse", "better", "same" or "cannot tell".
    pub fn word(self) -> &'static str {
        match self {
            Movement::Worse => "worse",
            Movement::Better => "better",
            Movement::Same => "same",
            Movement::CannotTell => "cannot tell",
        }
    }
}

impl RunComparison {
    /// "WORSE", "INVALID", or "NOT WORSE": better or the same.
    pub fn word(&self) -> &'static str {
        match self.exit_code {
            0 => "NOT WORSE",
            5 => "INVALID",
            _ => "WORSE",
        }
    }
}
