//! `single-stream v1`: the driver and its record.

use core::fmt;

use serde::{Deserialize, Serialize};

use crate::conditions::{Conditions, Edge, Edges};
use crate::latency::{Latency, Measured};
use crate::samples::Samples;
use crate::summary::{Summary, median};
use crate::warm_up::WarmUp;

/// Most windows a measurement can have.
pub const MAX_WINDOWS: usize = 16;

/// Runs of the empty model that measure the driver itself.
const EMPTY_RUNS: usize = 101;

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

/// What is read beside the model.
pub struct Instruments<C, W> {
    /// Nanoseconds; never goes backwards, and moves while the model runs: a window ends by its time. Read right before and right after
    /// every run.
    pub clock: C,
    /// The machine, at both edges of every window, outside the time that counts: it may read files, print, or wait.
    pub conditions: W,
}

/// Measure `run` by `protocol`: the empty model, first run, warm-up, windows. Nothing is known of the machine.
///
/// `clock` is that of [`Instruments`]. The first error of `run` ends the measurement.
pub fn measure_into<const N: usize, E>(
    clock: &mut impl FnMut() -> u64,
    run: &mut impl FnMut() -> Result<(), E>,
    protocol: &Protocol,
    buffers: &mut Buffers<N>,
) -> Result<Latency, E> {
    let mut instruments = Instruments { clock, conditions: |_| Conditions::default() };
    measure_watched_into(&mut instruments, run, protocol, buffers)
}

/// The same, with the machine watched at the edges of every window.
pub fn measure_watched_into<const N: usize, E>(
    instruments: &mut Instruments<impl FnMut() -> u64, impl FnMut(Edge) -> Conditions>,
    run: &mut impl FnMut() -> Result<(), E>,
    protocol: &Protocol,
    buffers: &mut Buffers<N>,
) -> Result<Latency, E> {
    let protocol = protocol.within_limits();
    let Instruments { clock, conditions } = instruments;
    let overhead_ns = overhead_ns(clock);
    let first_ns = timed(clock, run)?;
    let mut warm_up = if protocol.quick { WarmUp::quick() } else { WarmUp::full() };
    let mut warm = warm_up.push(first_ns);
    while !warm {
        warm = warm_up.push(timed(clock, run)?);
    }

    buffers.all.clear();
    let (mut windows, mut edges) = (heapless::Vec::new(), heapless::Vec::new());
    for i in 0..protocol.windows {
        let start = conditions(Edge::Start(i));
        measure_window(clock, run, &protocol, buffers)?;
        let end = conditions(Edge::End(i));
        if let Some(summary) = Summary::of(&mut buffers.window) {
            let _ = windows.push(summary);
            let _ = edges.push(Edges { start, end });
        }
    }
    let measured = Measured { protocol, overhead_ns, first_ns, warm_up: warm_up.record(), windows, edges };
    Ok(measured.record(&mut buffers.all))
}

/// Median time of a model that does nothing, run as every model is run: what reading the clock adds to each sample. It is in every
/// sample, and is not subtracted.
fn overhead_ns(clock: &mut impl FnMut() -> u64) -> f64 {
    let mut samples = Samples::<EMPTY_RUNS>::new();
    for _ in 0..EMPTY_RUNS {
        let Ok(ns) = timed(clock, &mut || Ok::<(), core::convert::Infallible>(()));
        samples.push(ns);
    }
    median(samples.sorted()).unwrap_or(0.0)
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

/// The duration of one run.
pub(crate) fn timed<E>(clock: &mut impl FnMut() -> u64, run: &mut impl FnMut() -> Result<(), E>) -> Result<u64, E> {
    let before = clock();
    run()?;
    Ok(clock().saturating_sub(before))
}

#[cfg(test)]
mod tests {
    use core::cell::Cell;

    use super::*;
    use crate::latency::{DISTRIBUTION_POINTS, Warning};

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
