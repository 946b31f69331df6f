//! The time of one inference, as a record: warm, cold, and minute by minute.

use serde::{Deserialize, Serialize};

/// The latency of one inference under a named protocol.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Latency {
    /// "single-stream v1".
    pub protocol: String,
    /// Short windows: fit for a look, not for a claim.
    pub quick: bool,
    /// CPUs it was pinned to: "0-3", "big"; absent if it was not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpus: Option<String>,
    /// Threads that computed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub threads: Option<u64>,
    /// Runs before the first window.
    pub warm_up_runs: u64,
    /// Seconds before the first window.
    pub warm_up_seconds: f64,
    /// The very first inference.
    pub first_us: f64,
    /// Median of the windows' medians: the number to quote.
    pub score_us: f64,
    /// 95 % interval of the score, by bootstrap of the windows: low, high.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ci95_us: Option<[f64; 2]>,
    /// Median of all samples.
    pub p50_us: f64,
    /// 90th percentile, where `n` supports it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub p90_us: Option<f64>,
    /// 95th percentile, where `n` supports it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub p95_us: Option<f64>,
    /// 99th percentile, where `n` supports it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub p99_us: Option<f64>,
    /// Fastest sample.
    pub min_us: f64,
    /// Slowest sample.
    pub max_us: f64,
    /// Median distance of a sample from the median.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mad_us: Option<f64>,
    /// Standard deviation of all samples over their mean.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cov: Option<f64>,
    /// Samples that lie far from the others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outliers: Option<u64>,
    /// Samples taken in all windows.
    pub n: u64,
    /// What the measurement itself adds to each sample: the median of an empty inference, nanoseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub overhead_ns: Option<f64>,
    /// Preprocessing of one sample; not in the score.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pre_us: Option<f64>,
    /// From outputs to an answer; not in the score.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub post_us: Option<f64>,
    /// The samples, or an even pick of them ([`crate::thin_samples`]) if `n` is larger; then the page says so.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub samples_us: Vec<f64>,
    /// The windows, in order of time.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub windows: Vec<Window>,
    /// Noise, drift, anything the reader should know.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

/// One measuring window.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Window {
    /// Samples in it.
    pub n: u64,
    /// When it began, seconds after the first window did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_s: Option<f64>,
    /// Fastest.
    pub min_us: f64,
    /// Median.
    pub p50_us: f64,
    /// 90th percentile, where `n` supports it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub p90_us: Option<f64>,
    /// Slowest.
    pub max_us: f64,
    /// Standard deviation over mean.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cov: Option<f64>,
    /// The board right before it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub begin: Option<Edge>,
    /// The board right after it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end: Option<Edge>,
}

/// What a board says of itself at the edge of a window; what it does not say is absent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Edge {
    /// Frequency of the core, or the lowest of those measured on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub frequency_khz: Option<u64>,
    /// Hottest sensor.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub temperature_c: Option<f64>,
    /// The board holds itself back, for heat or for lack of power.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub throttled: Option<bool>,
}

/// From nothing to the first answer, one value a fresh process, in the order in which they ran.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Cold {
    /// Reading and checking the bundle.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub load_ms: Vec<f64>,
    /// From graph to what runs: plan, packing, tract's optimiser.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub compile_ms: Vec<f64>,
    /// The first inference.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub first_us: Vec<f64>,
    /// From the start of the process to the first answer.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub start_to_answer_ms: Vec<f64>,
}

/// Latency under load for minutes.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Sustained {
    /// The minutes, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub minutes: Vec<Minute>,
    /// Median of the last minute over that of the first; absent with fewer than two.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_over_first: Option<f64>,
}

/// One minute under load.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Minute {
    /// 1 is the first.
    pub minute: u64,
    /// Samples in it.
    pub n: u64,
    /// Median.
    pub p50_us: f64,
    /// 90th percentile, where `n` supports it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub p90_us: Option<f64>,
    /// Frequency at its end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub frequency_khz: Option<u64>,
    /// Hottest sensor at its end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub temperature_c: Option<f64>,
    /// The board held itself back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub throttled: Option<bool>,
}
