//! `single-stream v1`: the driver and its record.

use core::fmt;

use serde::{Deserialize, Serialize};

use crate::samples::Samples;
use crate::summary::{Summary, median, micros};
use crate::warm_up::{WarmUp, WarmUpRecord};

/// Most windows a measurement can have.
pub const MAX_WINDOWS: usize = 16;

/// Points of [`Latency::distribution_us`]: one a percent, both ends included.
pub const DISTRIBUTION_POINTS: usize = 101;

/// A window whose coefficient of variation is above this is called noisy (trtexec warns at the same value).
const NOISY_COV: f64 = 0.025;

/// A drift of the window medians, first to last, above this is called out.
const DRIFT: f64 = 0.025;

/// How long to measure.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Protocol {
    /// Windows, 1 to [`MAX_WINDOWS`].
    pub windows: u32,
    /// Least length of a window.
    pub window_seconds: f64,
    /// Least number of runs in a window.
    pub min_per_window: u64,
    /// A quick look: shorter warm-up, and every report of it says "quick".
    pub quick: bool,
}

impl Protocol {
    /// Five windows of at least 10 s and 10 runs.
    pub fn full() -> Protocol {
        Protocol { windows: 5, window_seconds: 10.0, min_per_window: 10, quick: false }
    }

    /// Three windows of at least `window_seconds` (2 s is usual) and 10 runs, marked quick.
    pub fn quick(window_seconds: f64) -> Protocol {
        Protocol { windows: 3, window_seconds, min_per_window: 10, quick: true }
    }

    /// The same with every field inside its range: what is really run, and so what the record says.
    fn within_limits(&self) -> Protocol {
        let seconds = self.window_seconds;
        Protocol {
            windows: self.windows.clamp(1, MAX_WINDOWS as u32),
            window_seconds: if seconds.is_finite() { seconds.max(0.0) } else { 0.0 },
            min_per_window: self.min_per_window.max(1),
            quick: self.quick,
        }
    }
}

/// Name of the rules a record was made by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Rule {
    /// One input at a time, back to back.
    #[serde(rename = "single-stream v1")]
    SingleStreamV1,
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Rule::SingleStreamV1 => f.write_str("single-stream v1"),
        }
    }
}

/// The record of a latency measurement. Times in microseconds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Latency {
    /// By which rules.
    pub rule: Rule,
    /// How long.
    pub protocol: Protocol,
    /// How the warm-up went; its runs are in no window.
    pub warm_up: WarmUpRecord,
    /// The very first run of this process.
    pub first_us: f64,
    /// One summary a window.
    pub windows: heapless::Vec<Summary, MAX_WINDOWS>,
    /// The headline: median over windows of the window's median.
    pub score_us: f64,
    /// All windows pooled.
    pub all: Summary,
    /// Order statistics of all windows pooled, 0 %, 1 % … 100 %: for drawing the distribution, not for quoting a tail.
    pub distribution_us: heapless::Vec<f64, DISTRIBUTION_POINTS>,
    /// Reasons to trust the numbers less.
    pub warnings: heapless::Vec<Warning, { MAX_WINDOWS + 3 }>,
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
            Warning::NoP90 { n } => write!(f, "{n} runs are too few for a p90 (64 needed); measure longer"),
        }
    }
}

/// Sample buffers that the caller lends: `2 * 8 * N` bytes and a little more.
#[derive(Debug, Clone, Default)]
pub struct Buffers<const N: usize> {
    window: Samples<N>,
    all: Samples<N>,
}

impl<const N: usize> Buffers<N> {
    /// Empty buffers.
    pub const fn new() -> Self {
        Buffers { window: Samples::new(), all: Samples::new() }
    }

    /// Samples of all windows pooled; after a measurement sorted, shortest first.
    pub fn all(&self) -> &Samples<N> {
        &self.all
    }
}

/// Measure `run` by `protocol`: first run, warm-up, windows.
///
/// `clock` gives nanoseconds, never goes backwards, and must move while `run` runs: a window ends by its time.
/// The first error of `run` ends the measurement.
pub fn measure_into<const N: usize, E>(
    clock: &mut impl FnMut() -> u64,
    run: &mut impl FnMut() -> Result<(), E>,
    protocol: &Protocol,
    buffers: &mut Buffers<N>,
) -> Result<Latency, E> {
    let protocol = protocol.within_limits();
    let first_ns = timed(clock, run)?;
    let mut warm_up = if protocol.quick { WarmUp::quick() } else { WarmUp::full() };
    let mut warm = warm_up.push(first_ns);
    while !warm {
        warm = warm_up.push(timed(clock, run)?);
    }

    buffers.all.clear();
    let mut windows = heapless::Vec::new();
    for _ in 0..protocol.windows {
        measure_window(clock, run, &protocol, buffers)?;
        if let Some(summary) = Summary::of(&mut buffers.window) {
            let _ = windows.push(summary);
        }
    }
    Ok(latency(protocol, first_ns, warm_up.record(), windows, &mut buffers.all))
}

/// One window into both buffers. Between the two clock reads of a run there is the run and nothing else.
fn measure_window<const N: usize, E>(
    clock: &mut impl FnMut() -> u64,
    run: &mut impl FnMut() -> Result<(), E>,
    protocol: &Protocol,
    buffers: &mut Buffers<N>,
) -> Result<(), E> {
    buffers.window.clear();
    let length_ns = (protocol.window_seconds * 1e9) as u64;
    let start = clock();
    loop {
        let before = clock();
        run()?;
        let after = clock();
        let ns = after.saturating_sub(before);
        buffers.window.push(ns);
        buffers.all.push(ns);
        if after.saturating_sub(start) >= length_ns && buffers.window.n() >= protocol.min_per_window {
            return Ok(());
        }
    }
}

fn timed<E>(clock: &mut impl FnMut() -> u64, run: &mut impl FnMut() -> Result<(), E>) -> Result<u64, E> {
    let before = clock();
    run()?;
    Ok(clock().saturating_sub(before))
}

fn latency<const N: usize>(
    protocol: Protocol,
    first_ns: u64,
    warm_up: WarmUpRecord,
    windows: heapless::Vec<Summary, MAX_WINDOWS>,
    all: &mut Samples<N>,
) -> Latency {
    // A window has at least one run (`within_limits`), so there is always something to summarise.
    let all_summary = Summary::of(all).expect("a window without a run");
    let score_us = median_of_medians(&windows);
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
    let fraction = drift(&windows, score_us);
    if fraction.abs() > DRIFT {
        warn(Warning::Drift { fraction });
    }
    if all_summary.p90_us.is_none() {
        warn(Warning::NoP90 { n: all_summary.n });
    }
    let sorted = all.kept();
    let distribution_us =
        (0..DISTRIBUTION_POINTS).map(|i| micros(sorted[(sorted.len() - 1) * i / (DISTRIBUTION_POINTS - 1)])).collect();
    Latency {
        rule: Rule::SingleStreamV1,
        protocol,
        warm_up,
        first_us: micros(first_ns),
        windows,
        score_us,
        all: all_summary,
        distribution_us,
        warnings,
    }
}

fn median_of_medians(windows: &[Summary]) -> f64 {
    let mut medians: heapless::Vec<u64, MAX_WINDOWS> = windows.iter().map(|w| (w.p50_us * 1e3) as u64).collect();
    medians.sort_unstable();
    median(&medians).unwrap_or(0.0) / 1e3
}

/// Change over all windows on the least-squares line through their medians, relative to `score_us`; 0 for fewer than
/// three windows.
fn drift(windows: &[Summary], score_us: f64) -> f64 {
    let n = windows.len() as f64;
    if windows.len() < 3 || score_us == 0.0 {
        return 0.0;
    }
    let middle = (n - 1.0) / 2.0;
    let centred = || windows.iter().enumerate().map(|(i, w)| (i as f64 - middle, w.p50_us));
    let slope = centred().map(|(x, y)| x * y).sum::<f64>() / centred().map(|(x, _)| x * x).sum::<f64>();
    slope * (n - 1.0) / score_us
}

#[cfg(test)]
mod tests {
    use core::cell::Cell;

    use super::*;

    /// Measure a pretend model whose run `i` takes `ns(i)`.
    fn pretend(protocol: &Protocol, ns: impl Fn(u64) -> u64) -> Latency {
        let (now, i) = (Cell::new(5u64), Cell::new(0));
        let mut run = || -> Result<(), ()> {
            now.set(now.get() + ns(i.get()));
            i.set(i.get() + 1);
            Ok(())
        };
        measure_into(&mut || now.get(), &mut run, protocol, &mut Buffers::<512>::new()).unwrap()
    }

    const MS: u64 = 1_000_000;

    #[test]
    fn a_steady_model_gives_its_time_and_no_warning() {
        let latency = pretend(&Protocol::full(), |i| if i == 0 { 80 * MS } else { 10 * MS });
        assert_eq!((latency.first_us, latency.score_us), (80_000.0, 10_000.0));
        assert_eq!(latency.windows.len(), 5);
        assert!(latency.windows.iter().all(|w| w.n == 1000), "{:?}", latency.windows);
        assert_eq!((latency.all.n, latency.all.p99_us), (5000, None), "p99 rests on the samples kept, not on n");
        assert!(latency.warm_up.stable && latency.warnings.is_empty(), "{:?}", latency.warnings);
        assert_eq!(latency.distribution_us.len(), DISTRIBUTION_POINTS);
    }

    #[test]
    fn the_score_is_the_median_of_window_medians() {
        // Windows of 10 slow runs each (2 s a run, 0 s asked): medians 2, 2, 9 s after 1 warm-up run (cap 2 s).
        let protocol = Protocol { window_seconds: 0.0, ..Protocol::quick(0.0) };
        let latency = pretend(&protocol, |i| if i > 20 { 9000 * MS } else { 2000 * MS });
        assert_eq!(latency.warm_up.runs, 1);
        assert_eq!(latency.score_us, 2e6);
        assert_eq!(latency.all.n, 30);
        assert!(latency.warnings.iter().any(|w| matches!(w, Warning::Drift { fraction } if *fraction > 3.0)));
        assert!(latency.warnings.iter().any(|w| matches!(w, Warning::NoP90 { n: 30 })));
        assert!(latency.warnings.iter().any(|w| matches!(w, Warning::NotWarm { .. })));
    }

    #[test]
    fn a_scattering_window_is_named() {
        let latency = pretend(&Protocol::quick(1.0), |i| if i % 5 == 0 { 3 * MS } else { MS });
        let noisy = latency.warnings.iter().filter(|w| matches!(w, Warning::Noisy { .. })).count();
        assert_eq!(noisy, 3, "{:?}", latency.warnings);
        assert!(latency.warnings[0].to_string().contains("window 1"), "{}", latency.warnings[0]);
    }

    #[test]
    fn an_error_of_the_model_ends_the_measurement() {
        let now = Cell::new(0u64);
        let mut run = || {
            now.set(now.get() + MS);
            if now.get() > 700 * MS { Err("arena too small") } else { Ok(()) }
        };
        let result = measure_into(&mut || now.get(), &mut run, &Protocol::quick(1.0), &mut Buffers::<16>::new());
        assert_eq!(result.unwrap_err(), "arena too small");
    }

    #[test]
    fn a_protocol_out_of_range_is_run_and_recorded_inside_it() {
        let odd = Protocol { windows: 900, window_seconds: f64::NAN, min_per_window: 0, quick: true };
        let latency = pretend(&odd, |_| 50 * MS);
        assert_eq!(latency.protocol.windows as usize, MAX_WINDOWS);
        assert_eq!((latency.windows.len(), latency.all.n), (MAX_WINDOWS, MAX_WINDOWS as u64));
    }

    #[test]
    fn the_record_survives_json() {
        let latency = pretend(&Protocol::quick(0.5), |i| (1 + i % 3) * MS);
        let text = serde_json::to_string(&latency).unwrap();
        assert!(text.contains(r#""rule":"single-stream v1""#), "{text}");
        assert_eq!(serde_json::from_str::<Latency>(&text).unwrap(), latency);
    }
}
