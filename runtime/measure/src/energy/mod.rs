//! Energy of an inference, from a meter: one on the board ([`Meter`], [`Recorder`]), or the export of one beside it ([`import_csv`]).
//!
//! ```text
//! power ──► joules of each window ──► / inferences of the window ──► median over windows, in microjoules
//!                                └─► - idle power * seconds ────────► the same above idle
//! ```
//!
//! Without a meter energy is not measured. It is never computed from a latency and a figure of a data sheet.

mod csv;
mod hwmon;
mod recorder;
mod trace;

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

pub use csv::{Imported, import_csv};
pub use hwmon::Meter;
pub use recorder::Recorder;
pub use trace::{PowerPoint, PowerTrace, Span};

use crate::latency::Latency;

/// Energy of the windows of a measurement.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Energy {
    /// The meter, and where in the circuit it sits as far as it says.
    pub source: String,
    /// Readings of power a second; `None`: the meter counts energy itself.
    pub sampling_hz: Option<f64>,
    /// Power before the first run, when nothing was computed.
    pub idle_watts: Option<f64>,
    /// Each window.
    pub windows: Vec<WindowEnergy>,
    /// Microjoules of an inference: median over windows, idle power included.
    pub uj_per_inference: f64,
    /// The same without what the board takes when idle; `None`: that is not known.
    pub uj_above_idle: Option<f64>,
}

/// Energy of one window.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct WindowEnergy {
    /// Length.
    pub seconds: f64,
    /// Energy, idle power included.
    pub joules: f64,
    /// Inferences in it.
    pub inferences: u64,
}

impl Energy {
    /// Put windows together; `None` when there is none, or one without an inference.
    fn of(
        source: String,
        sampling_hz: Option<f64>,
        idle_watts: Option<f64>,
        windows: Vec<WindowEnergy>,
    ) -> Option<Energy> {
        if windows.iter().any(|w| w.inferences == 0) {
            return None;
        }
        let median = |uj: &dyn Fn(&WindowEnergy) -> f64| {
            let mut values: Vec<f64> = windows.iter().map(uj).collect();
            values.sort_by(f64::total_cmp);
            let n = values.len();
            Some((values.get(n.checked_sub(1)? / 2)? + values.get(n / 2)?) / 2.0)
        };
        let uj_per_inference = median(&|w| w.joules / w.inferences as f64 * 1e6)?;
        let above = |idle: f64| median(&|w| (w.joules - idle * w.seconds) / w.inferences as f64 * 1e6);
        let uj_above_idle = idle_watts.and_then(above);
        Some(Energy { source, sampling_hz, idle_watts, windows, uj_per_inference, uj_above_idle })
    }
}

/// Inferences of each window of a measurement.
fn inferences(latency: &Latency) -> impl Iterator<Item = u64> + '_ {
    latency.windows.iter().map(|window| window.n)
}

/// Why there is no figure of energy.
#[derive(Debug, thiserror::Error)]
pub enum EnergyError {
    /// No meter of this name.
    #[error("no power meter {wanted:?}; this board has {have}: name one, or measure without --energy")]
    NoMeter {
        /// What was asked for.
        wanted: String,
        /// What there is.
        have: String,
    },
    /// A meter that was there does not answer.
    #[error("power meter {meter}: no reading; check its driver and wiring, or measure without --energy")]
    Silent {
        /// The meter.
        meter: String,
    },
    /// Too few readings to say anything about a window.
    #[error("power meter {meter}: window {window} has {readings} readings, 2 are needed; make the windows longer")]
    TooFew {
        /// The meter.
        meter: String,
        /// Which window, from 1.
        window: usize,
        /// Readings in it.
        readings: usize,
    },
    /// A file that cannot be read.
    #[error("{}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A line of a file that is not what it should be.
    #[error("{}:{line}: {what}", path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// Which line, from 1.
        line: usize,
        /// What is wrong, and what would be right.
        what: String,
    },
    /// A file that fits another measurement.
    #[error("{}: {what}", path.display())]
    OtherMeasurement {
        /// The file.
        path: PathBuf,
        /// What does not fit.
        what: String,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_window_counts_and_idle_power_is_taken_off() {
        let window = |joules| WindowEnergy { seconds: 10.0, joules, inferences: 1000 };
        let windows = vec![window(30.0), window(31.0), window(99.0)];
        let energy = Energy::of("meter".into(), Some(20.0), Some(2.0), windows.clone()).unwrap();
        assert_eq!((energy.uj_per_inference, energy.uj_above_idle), (31_000.0, Some(11_000.0)));
        assert_eq!(Energy::of("meter".into(), None, None, windows).unwrap().uj_above_idle, None);
        assert_eq!(Energy::of("meter".into(), None, None, vec![]), None);
        assert_eq!(Energy::of("m".into(), None, None, vec![WindowEnergy { inferences: 0, ..window(1.0) }]), None);
    }
}
