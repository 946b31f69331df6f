//! `manifest.json`: what a bundle says of itself.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::budgets::Budgets;

/// What the bundle says of itself.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// The lowest format that holds what is in it, at most [`FORMAT`].
    pub format: u32,
    /// The student's name, for people.
    pub name: String,
    /// What wrote it: `limbeck 0.1.0`.
    pub tool: String,
    /// SHA-256 of every other member.
    pub members: BTreeMap<String, String>,
    /// SHA-256 of the files this was made from, by role ("teacher", "answers", …).
    pub sources: BTreeMap<String, String>,
    /// What the machine that made the student computed for some of the samples.
    pub probes: Vec<Probe>,
    /// Counts up from one release of a student to the next; 0 where nobody counts.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub version: u64,
    /// What the student must reach on a board.
    #[serde(default, skip_serializing_if = "Budgets::is_empty")]
    pub budgets: Budgets,
    /// What the student was tuned from, where that was done on a board.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub adapted: Option<Adapted>,
}

/// What an adapted student came from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Adapted {
    /// SHA-256 of the bundle that it was before.
    pub parent: String,
    /// SHA-256 of the teacher's answers.
    pub answers: String,
    /// SHA-256 of the images, as the answers name them.
    pub images: String,
    /// How it was trained, for people.
    pub recipe: String,
    /// SHA-256 of that text.
    pub recipe_sha256: String,
    /// Optimiser steps taken.
    pub steps: u64,
}

/// What the host computed for one sample.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Probe {
    /// Index of the sample.
    pub sample: usize,
    /// The class that the student chose.
    pub class: usize,
    /// Integers that went into the digest; 0 for a float student.
    pub integers: u64,
    /// XXH3-128 over those integers, 32 hex digits.
    pub digest: String,
}

fn is_zero(version: &u64) -> bool {
    *version == 0
}
