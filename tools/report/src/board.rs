//! What happened on one board, as a record.

use serde::{Deserialize, Serialize};

use crate::latency::{Cold, Latency, Sustained};
use crate::schema::KeyValue;

/// What happened on one board.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Board {
    /// Board id: "host", "qemu-aarch64", …
    pub board: String,
    /// Its full name.
    pub title: String,
    /// The board is an emulator: counts and integers are facts, milliseconds are not.
    #[serde(default)]
    pub emulated: bool,
    /// What was looked at before anything was copied there.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub preflight: Vec<Preflight>,
    /// What was read before the measurement: kernel, CPU part, governor, frequency, temperature, load. Unreadable is
    /// "unknown".
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub environment: Vec<KeyValue>,
    /// The program that ran there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<Agent>,
    /// Whether the circumstances allow to believe the numbers; absent where nobody looked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub validity: Option<Validity>,
    /// Latency of one inference.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latency: Option<Latency>,
    /// From nothing to the first answer, in fresh processes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cold: Option<Cold>,
    /// Latency minute by minute, under load for long.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sustained: Option<Sustained>,
    /// Memory, from a pass of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<Memory>,
    /// Energy of one inference; absent is "not measured".
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub energy: Option<Energy>,
    /// The operators that take longest, the slowest first; twenty at most.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub nodes: Vec<Node>,
    /// Most memory the agent ever held resident.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peak_rss_bytes: Option<u64>,
    /// Arena the int8 plan asks for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub arena_bytes: Option<u64>,
}

/// One thing that was looked at before anything was copied to a board.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Preflight {
    /// "architecture", "free space", "noexec", …
    pub name: String,
    /// What to make of it.
    pub state: PreflightState,
    /// What was found, and the way out where it is not good.
    pub text: String,
}

/// What to make of one finding of the preflight.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PreflightState {
    /// As it should be.
    Ok,
    /// Works, and the reader should know.
    Warning,
    /// Nothing was copied because of it.
    Refused,
    /// Could not be read.
    #[default]
    Unknown,
}

impl PreflightState {
    /// "ok", "warning", "refused" or "unknown", as in the JSON.
    pub fn word(self) -> &'static str {
        match self {
            PreflightState::Ok => "ok",
            PreflightState::Warning => "warning",
            PreflightState::Refused => "refused",
            PreflightState::Unknown => "unknown",
        }
    }
}

/// The program on the board.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Agent {
    /// SHA-256 of the executable.
    pub sha256: String,
    /// Its size.
    pub bytes: u64,
    /// Compiler, linker, target triple and kernel set that made it.
    pub toolchain: String,
    /// Kernels compiled in: "tract dotprod", "limbeck neon", …
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub kernels: Vec<String>,
}

/// Whether the circumstances of a measurement allow to believe it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Validity {
    /// No reason against it was seen.
    pub valid: bool,
    /// Why not: throttling, a moving frequency, heat, the wrong governor, load; each with its advice.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reasons: Vec<String>,
    /// What could not be read, and so was not judged.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unknown: Vec<String>,
}

/// Memory of the agent on a board, from a process that measures nothing else.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Memory {
    /// Most that was ever resident (VmHWM).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peak_rss_bytes: Option<u64>,
    /// Proportional share of what was resident at the end (Pss of smaps_rollup).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pss_bytes: Option<u64>,
    /// Most that was ever allocated on the heap.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peak_heap_bytes: Option<u64>,
    /// Arena of the int8 plan.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub arena_bytes: Option<u64>,
    /// The plan as it lies in flash.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan_bytes: Option<u64>,
    /// Weights in the order that this CPU reads.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub packed_bytes: Option<u64>,
    /// Allocations of one inference after warm-up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allocations_per_inference: Option<f64>,
    /// Bytes that one inference allocates after warm-up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes_per_inference: Option<f64>,
    /// Code and constants of the executable.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text_bytes: Option<u64>,
    /// Initialised data of the executable.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data_bytes: Option<u64>,
    /// Zeroed data of the executable.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bss_bytes: Option<u64>,
}

/// Energy of one inference, as a meter read it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Energy {
    /// Which meter, and how often it was read.
    pub source: String,
    /// Median over the windows of all energy divided by inferences, µJ.
    pub uj_per_inference: f64,
    /// The same less what the board draws when idle, µJ.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uj_per_inference_without_idle: Option<f64>,
    /// Power when idle, watts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idle_w: Option<f64>,
    /// µJ per inference of each window.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub windows: Vec<f64>,
}

/// One operator of the student, in one inference on a board.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Node {
    /// Its name in the graph.
    pub name: String,
    /// What it computes: "Conv", "Gemm", …
    pub op: String,
    /// Its median time, µs.
    pub us: f64,
    /// Its share of the time of all operators, 0..=1.
    pub share: f64,
    /// Multiply-accumulates.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub macs: Option<u64>,
}

impl Board {
    /// Most memory the agent ever held resident: by the pass of its own if there was one.
    pub fn peak_rss(&self) -> Option<u64> {
        self.memory.as_ref().and_then(|memory| memory.peak_rss_bytes).or(self.peak_rss_bytes)
    }

    /// Arena the int8 plan asks for.
    pub fn arena(&self) -> Option<u64> {
        self.memory.as_ref().and_then(|memory| memory.arena_bytes).or(self.arena_bytes)
    }

    /// The numbers were measured in circumstances that forbid to believe them.
    pub fn is_invalid(&self) -> bool {
        self.validity.as_ref().is_some_and(|validity| !validity.valid)
    }
}
