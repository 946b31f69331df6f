//! A meter on the board, while windows are measured.
//!
//! A chip that counts energy is read at the edges of the windows. One that knows only power is read by a thread of its own, at
//! [`SAMPLING_HZ`] from the start of the recorder to its end; pin the measuring thread to one core so that the two do not share it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use super::{Energy, EnergyError, Meter, PowerPoint, PowerTrace, Span, WindowEnergy, inferences};
use crate::conditions::Edge;
use crate::host::raw_now_ns;
use crate::latency::Latency;
use crate::protocol::MAX_WINDOWS;

/// Readings a second: an INA226 averages over about 140 ms as its driver sets it up, so more would tell nothing new.
const SAMPLING_HZ: f64 = 20.0;

/// Records power from idle to the last window.
pub struct Recorder {
    meter: Meter,
    idle_watts: f64,
    /// Time, and what a counting chip had counted, at every edge so far.
    edges: Vec<(f64, Option<f64>)>,
    sampler: Option<Sampler>,
}

/// The reading thread.
struct Sampler {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<PowerTrace>,
}

impl Recorder {
    /// Measure the idle power for as long as `idle` says, then go on recording. Nothing else should run meanwhile.
    pub fn start(meter: Meter, idle: Duration) -> Result<Recorder, EnergyError> {
        let silent = || EnergyError::Silent { meter: meter.name() };
        let edges = Vec::with_capacity(2 * MAX_WINDOWS);
        if let Some(before) = meter.joules() {
            let start = now();
            std::thread::sleep(idle);
            let idle_watts = (meter.joules().ok_or_else(silent)? - before) / (now() - start);
            return Ok(Recorder { meter, idle_watts, edges, sampler: None });
        }
        let reading = meter.watts().ok_or_else(silent)?;
        let start = Sampler::start(meter.clone());
        std::thread::sleep(idle);
        let trace = start.stop();
        let span = trace.points().first().zip(trace.points().last());
        let span = span.map(|(first, last)| Span { start: first.seconds, end: last.seconds });
        let mean = span.filter(|span| span.seconds() > 0.0).and_then(|span| Some(trace.joules(span)? / span.seconds()));
        let sampler = Some(Sampler::start(meter.clone()));
        Ok(Recorder { meter, idle_watts: mean.unwrap_or(reading), edges, sampler })
    }

    /// A window begins or ends. Call it at both edges of every window, closest to the window of all that is done there.
    pub fn mark(&mut self, _edge: Edge) {
        self.edges.push((now(), self.meter.joules()));
    }

    /// Energy of the windows that `latency` tells of.
    pub fn finish(self, latency: &Latency) -> Result<Energy, EnergyError> {
        let silent = || EnergyError::Silent { meter: self.meter.name() };
        let trace = self.sampler.map(Sampler::stop);
        let mut windows = Vec::new();
        for (i, (edges, inferences)) in self.edges.chunks_exact(2).zip(inferences(latency)).enumerate() {
            let ((start, counted), (end, counted_then)) = (edges[0], edges[1]);
            let span = Span { start, end };
            let joules = match &trace {
                None => counted.zip(counted_then).map(|(a, b)| b - a).ok_or_else(silent)?,
                Some(trace) => sampled(trace, span).map_err(|readings| {
                    let meter = self.meter.name();
                    EnergyError::TooFew { meter, window: i + 1, readings }
                })?,
            };
            windows.push(WindowEnergy { seconds: span.seconds(), joules, inferences });
        }
        let sampling_hz = trace.is_some().then_some(SAMPLING_HZ);
        Energy::of(self.meter.name(), sampling_hz, Some(self.idle_watts), windows).ok_or_else(silent)
    }
}

/// Energy of a span from readings; how many there are, where they are too few.
fn sampled(trace: &PowerTrace, span: Span) -> Result<f64, usize> {
    let readings = trace.readings(span);
    trace.joules(span).filter(|_| readings >= 2).ok_or(readings)
}

impl Sampler {
    fn start(meter: Meter) -> Sampler {
        let stop = Arc::new(AtomicBool::new(false));
        let told = stop.clone();
        let thread = std::thread::spawn(move || {
            let mut trace = PowerTrace::default();
            // Read once more after being told to stop: the last window must lie between two readings.
            loop {
                // Whoever started this may be gone after an error, without having stopped it.
                let is_last = told.load(Ordering::Acquire) || Arc::strong_count(&told) == 1;
                if let Some(watts) = meter.watts() {
                    trace.push(PowerPoint { seconds: now(), watts });
                }
                if is_last {
                    return trace;
                }
                std::thread::park_timeout(Duration::from_secs_f64(1.0 / SAMPLING_HZ));
            }
        });
        Sampler { stop, thread }
    }

    fn stop(self) -> PowerTrace {
        self.stop.store(true, Ordering::Release);
        self.thread.thread().unpark();
        // A reader that died has no readings, and the caller says which window lacks them.
        self.thread.join().unwrap_or_default()
    }
}

fn now() -> f64 {
    raw_now_ns() as f64 / 1e9
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake::Fake;
    use crate::{Conditions, Instruments, Protocol, measure_watched, monotonic_clock};

    /// Windows of a model that sleeps, under a fake meter.
    fn record(files: &[(&str, &str)], seconds: f64, at_end: impl Fn(&Fake)) -> Result<Energy, EnergyError> {
        let fake = Fake::with(files);
        let mut recorder = Recorder::start(Meter::named("auto", fake.root())?, Duration::from_millis(150))?;
        let conditions = |edge| {
            if matches!(edge, Edge::End(_)) {
                at_end(&fake);
            }
            recorder.mark(edge);
            Conditions::default()
        };
        let mut instruments = Instruments { clock: monotonic_clock(), conditions };
        let mut run = || -> Result<(), ()> {
            std::thread::sleep(Duration::from_millis(5));
            Ok(())
        };
        let latency = measure_watched(&mut instruments, &mut run, &Protocol::quick(seconds)).unwrap();
        recorder.finish(&latency)
    }

    const POWER: [(&str, &str); 2] =
        [("sys/class/hwmon/hwmon0/name", "ina219\n"), ("sys/class/hwmon/hwmon0/power1_input", "2000000\n")];

    #[test]
    fn constant_power_gives_power_times_time() {
        let energy = record(&POWER, 0.4, |_| {}).unwrap();
        assert_eq!((energy.windows.len(), energy.sampling_hz), (3, Some(SAMPLING_HZ)));
        assert!((energy.idle_watts.unwrap() - 2.0).abs() < 1e-9, "{energy:?}");
        for window in &energy.windows {
            assert!((window.joules / window.seconds - 2.0).abs() < 1e-6 && window.seconds >= 0.4, "{window:?}");
        }
        assert!(energy.uj_per_inference > 5000.0 && energy.uj_above_idle.unwrap().abs() < 1.0, "{energy:?}");
    }

    #[test]
    fn a_window_between_two_readings_is_no_figure() {
        let mut trace = PowerTrace::default();
        (0..5).for_each(|t| assert!(trace.push(PowerPoint { seconds: t as f64, watts: 2.0 })));
        let of = |start, end| sampled(&trace, Span { start, end });
        assert_eq!((of(0.5, 2.5), of(0.5, 1.5), of(1.2, 1.8)), (Ok(4.0), Err(1), Err(0)));
        assert_eq!(of(2.5, 4.5), Err(2), "the last reading came before the end");
    }

    #[test]
    fn a_chip_that_counts_is_read_at_the_edges() {
        let files = [
            ("sys/class/hwmon/hwmon0/name", "ina228\n"),
            ("sys/class/hwmon/hwmon0/energy1_input", "1000000\n"),
            ("sys/class/hwmon/hwmon0/power1_input", "0\n"),
        ];
        let counted = std::cell::Cell::new(1_000_000u64);
        let energy = record(&files, 0.05, |fake| {
            counted.set(counted.get() + 3_000_000);
            fake.write("sys/class/hwmon/hwmon0/energy1_input", &counted.get().to_string());
        })
        .unwrap();
        assert_eq!(energy.windows.iter().map(|w| w.joules).collect::<Vec<_>>(), [3.0, 3.0, 3.0]);
        assert_eq!((energy.idle_watts, energy.sampling_hz), (Some(0.0), None));
    }

    #[test]
    fn a_meter_without_an_answer_is_an_error() {
        let silent = record(&[POWER[0], ("sys/class/hwmon/hwmon0/power1_input", "?\n")], 0.1, |_| {}).unwrap_err();
        assert!(silent.to_string().contains("ina219:1: no reading"), "{silent}");
    }
}
