//! The record of a latency measurement, and the reasons to trust it less.

use core::fmt;

use serde::{Deserialize, Serialize};

use crate::bootstrap::{Interval, interval_of_median};
use crate::conditions::Edges;
use crate::protocol::{MAX_WINDOWS, Protocol, Rule};
use crate::samples::Samples;
use crate::summary::{Summary, micros};
use crate::warm_up::WarmUpRecord;

/// Points of [`Latency::distribution_us`]: one a percent, both ends included.
pub const DISTRIBUTION_POINTS: usize = 101;

/// A window whose coefficient of variation is above this is called noisy (trtexec warns at the same value).
const NOISY_COV: f64 = 0.025;

/// A drift of the window medians, first to last, above this is called out.
const DRIFT: f64 = 0.025;

/// An empty model that takes more than this part of the score is called out.
const OVERHEAD: f64 = 0.01;

/// The record of a latency measurement. Times in microseconds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Latency {
    /// By which rules.
    pub rule: Rule,
    /// How long.
    pub protocol: Protocol,
    /// How the warm-up went; its runs are in no window.
    pub warm_up: WarmUpRecord,
    /// Median time of an empty model under the same driver: it is in every sample, in nanoseconds.
    pub overhead_ns: f64,
    /// The very first run of this process.
    pub first_us: f64,
    /// One summary a window.
    pub windows: heapless::Vec<Summary, MAX_WINDOWS>,
    /// The headline: median over windows of the window's median.
    pub score_us: f64,
    /// How sure the score is: the middle 95 % of a bootstrap of the windows; `None` for fewer than three.
    pub score_ci95_us: Option<Interval>,
    /// The machine at both edges of each window.
    pub edges: heapless::Vec<Edges, MAX_WINDOWS>,
    /// All windows pooled.
    pub all: Summary,
    /// Order statistics of all windows pooled, 0 %, 1 % … 100 %: for drawing the distribution, not for quoting a tail.
    pub distribution_us: heapless::Vec<f64, DISTRIBUTION_POINTS>,
    /// Reasons to trust the numbers less.
    pub warnings: heapless::Vec<Warning, { MAX_WINDOWS + 4 }>,
}

/// A reason to trust a measurement less; its text says what to do.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Warning {
    /// The warm-up ended at its cap.
    NotWarm {
        /// Runs until then.
        runs: u64,
    },
    /// A window's durations scatter.
    Noisy {
        /// Which window, from 1.
        window: u32,
        /// Its coefficient of variation.
        cov: f64,
    },
    /// The window medians go up or down.
    Drift {
        /// Change from the first to the last window on the fitted line, as a fraction of the score.
        fraction: f64,
    },
    /// The model is so fast that reading the clock is part of the figure.
    Overhead {
        /// What the driver adds, as a fraction of the score.
        fraction: f64,
    },
    /// Too few runs in all for a p90.
    NoP90 {
        /// Runs in all.
        n: u64,
    },
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Warning::NotWarm { runs } => {
                write!(f, "not stable after {runs} warm-up runs; stop other programs and measure again")
            }
            Warning::Noisy { window, cov } => {
                let percent = cov * 100.0;
                write!(f, "window {window} scatters by {percent:.1} %; stop other programs, fix the clock frequency")
            }
            Warning::Drift { fraction } => {
                let (percent, way) = (fraction.abs() * 100.0, if *fraction > 0.0 { "slower" } else { "faster" });
                write!(f, "runs get {way}, {percent:.1} % from first to last window; check heat and clock frequency")
            }
            Warning::Overhead { fraction } => {
                let percent = fraction * 100.0;
                write!(
                    f,
                    "reading the clock is {percent:.1} % of the score; compare only with figures taken the same way"
                )
            }
            Warning::NoP90 { n } => write!(f, "{n} runs are too few for a p90 (64 needed); measure longer"),
        }
    }
}

/// What the driver saw, before anything is said about it.
pub(crate) struct Measured {
    pub protocol: Protocol,
    pub overhead_ns: f64,
    pub first_ns: u64,
    pub warm_up: WarmUpRecord,
    pub windows: heapless::Vec<Summary, MAX_WINDOWS>,
    pub edges: heapless::Vec<Edges, MAX_WINDOWS>,
}

impl Measured {
    /// Say what may be said. `all` holds the samples of all windows; sorted after.
    pub fn record<const N: usize>(self, all: &mut Samples<N>) -> Latency {
        let Measured { protocol, overhead_ns, first_ns, warm_up, windows, edges } = self;
        // A window has at least one run (`Protocol::within_limits`), so there is always something to summarise.
        let all_summary = Summary::of(all).expect("a window without a run");
        let medians_us: heapless::Vec<f64, MAX_WINDOWS> = windows.iter().map(|w| w.p50_us).collect();
        let score_us = median_of_medians(&medians_us);
        let mut warnings = heapless::Vec::new();
        let mut warn = |warning| {
            let _ = warnings.push(warning);
        };
        if !warm_up.stable {
            warn(Warning::NotWarm { runs: warm_up.runs });
        }
        for (window, summary) in (1..).zip(&windows) {
            if summary.cov > NOISY_COV {
                warn(Warning::Noisy { window, cov: summary.cov });
            }
        }
        let fraction = drift(&medians_us, score_us);
        if fraction.abs() > DRIFT {
            warn(Warning::Drift { fraction });
        }
        if overhead_ns > OVERHEAD * score_us * 1e3 {
            warn(Warning::Overhead { fraction: overhead_ns / (score_us * 1e3) });
        }
        if all_summary.p90_us.is_none() {
            warn(Warning::NoP90 { n: all_summary.n });
        }
        let sorted = all.kept();
        let distribution_us = (0..DISTRIBUTION_POINTS)
            .map(|i| micros(sorted[(sorted.len() - 1) * i / (DISTRIBUTION_POINTS - 1)]))
            .collect();
        Latency {
            rule: Rule::SingleStreamV1,
            protocol,
            warm_up,
            overhead_ns,
            first_us: micros(first_ns),
            windows,
            score_us,
            score_ci95_us: interval_of_median(&medians_us),
            edges,
            all: all_summary,
            distribution_us,
            warnings,
        }
    }
}

fn median_of_medians(medians_us: &[f64]) -> f64 {
    let mut sorted = heapless::Vec::<f64, MAX_WINDOWS>::new();
    let _ = sorted.extend_from_slice(medians_us);
    sorted.sort_unstable_by(f64::total_cmp);
    let n = sorted.len();
    sorted.get(n.saturating_sub(1) / 2).zip(sorted.get(n / 2)).map_or(0.0, |(low, high)| (low + high) / 2.0)
}

/// Change over all windows on the least-squares line through their medians, relative to `score_us`; 0 for fewer than
/// three windows.
fn drift(medians_us: &[f64], score_us: f64) -> f64 {
    let n = medians_us.len() as f64;
    if medians_us.len() < 3 || score_us == 0.0 {
        return 0.0;
    }
    let middle = (n - 1.0) / 2.0;
    let centred = || medians_us.iter().enumerate().map(|(i, y)| (i as f64 - middle, y));
    let slope = centred().map(|(x, y)| x * y).sum::<f64>() / centred().map(|(x, _)| x * x).sum::<f64>();
    slope * (n - 1.0) / score_us
}
