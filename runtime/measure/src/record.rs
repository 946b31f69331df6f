//! What a program that measures says: the records that board and host exchange, one a pass.
//!
//! | pass | record | process |
//! |---|---|---|
//! | latency | [`BenchRecord`] | one; the windows |
//! | cold starts | [`crate::ColdStarts`] | one a start |
//! | memory | [`crate::MemoryRecord`] | one of its own: it counts and times nothing |
//! | sustained | [`crate::Minute`] as it goes, then [`SustainedRecord`] | one |

use serde::{Deserialize, Serialize};

use crate::energy::Energy;
use crate::environment::Environment;
use crate::latency::Latency;
use crate::sustained::Sustained;
use crate::validity::{Limits, Validity};

/// How a measuring process ran.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Setting {
    /// Threads that computed.
    pub threads: u32,
    /// Cores that were asked for, such as "big"; `None`: any. What it came to is the environment's `affinity`.
    #[serde(default)]
    pub cpus: Option<String>,
    /// What the machine had to be like.
    pub limits: Limits,
    /// A folder that stood in for the machine's /proc and /sys: a test, and no statement about this machine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sysroot: Option<String>,
}

/// Work around an inference, medians in microseconds. It is not in the score.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Processing {
    /// From decoded pixels to the model's input, as the card says.
    pub preprocess_us: f64,
    /// From logits to a class.
    pub argmax_us: f64,
    /// Times that each was run.
    pub runs: u32,
}

/// The latency pass.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BenchRecord {
    /// First run, warm-up, windows, score.
    pub latency: Latency,
    /// `valid`, `invalid`, `unknown`: whether the score counts.
    #[serde(flatten)]
    pub validity: Validity,
    /// How it was run.
    #[serde(flatten)]
    pub setting: Setting,
    /// Reading, checking and preparing the student.
    pub load_ms: f64,
    /// Work around an inference.
    pub processing: Processing,
    /// `None`: not measured.
    pub energy: Option<Energy>,
    /// Activations of the plan, where one plan is the whole student.
    pub arena_bytes: Option<u64>,
    /// Highest resident memory of this process (VmHWM); the memory pass tells more.
    pub peak_rss_bytes: Option<u64>,
    /// The machine before the first run.
    pub environment: Environment,
}

/// The end of a sustained pass.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SustainedRecord {
    /// All stretches together.
    #[serde(flatten)]
    pub sustained: Sustained,
    /// `valid`, `invalid`, `unknown`: whether it counts. A window of its text is a minute here.
    #[serde(flatten)]
    pub validity: Validity,
    /// How it was run.
    #[serde(flatten)]
    pub setting: Setting,
    /// The machine before the first run.
    pub environment: Environment,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Before, Protocol, measure};

    #[test]
    fn a_record_survives_json_with_its_verdict_at_the_top() {
        let now = std::cell::Cell::new(0u64);
        let mut run = || -> Result<(), ()> {
            now.set(now.get() + 1_000_000);
            Ok(())
        };
        let latency = measure(&mut || now.get(), &mut run, &Protocol::quick(0.1)).unwrap();
        let limits = Limits::default();
        let before = Before { load_average: Some(3.0), ..Before::default() };
        let record = BenchRecord {
            validity: Validity::judge(&limits, &before, &latency.edges),
            latency,
            setting: Setting { threads: 1, cpus: Some("big".into()), limits, sysroot: None },
            load_ms: 1.5,
            processing: Processing { preprocess_us: 3.0, argmax_us: 0.1, runs: 100 },
            energy: None,
            arena_bytes: None,
            peak_rss_bytes: Some(1),
            environment: Environment::default(),
        };
        let value = serde_json::to_value(&record).unwrap();
        assert_eq!((&value["valid"], &value["threads"], &value["cpus"]), (&false.into(), &1.into(), &"big".into()));
        assert_eq!(value["invalid"][0]["load"]["load_average"], 3.0);
        assert_eq!(serde_json::from_value::<BenchRecord>(value).unwrap(), record);
    }
}
