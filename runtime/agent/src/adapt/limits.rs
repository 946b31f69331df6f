//! When to stop: a signal, a time limit, a temperature limit.
//!
//! A signal means "leave now, go on later": the checkpoint is kept. A limit means "enough": what there is gets judged.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use limbeck_measure::Environment;

static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// From now on Ctrl-C and SIGTERM ask the training to leave after the step it is in. A second one ends the program.
pub fn catch_signals() {
    let handler = ctrlc::set_handler(|| {
        if INTERRUPTED.swap(true, Ordering::Relaxed) {
            std::process::exit(130);
        }
    });
    if let Err(error) = handler {
        log::warn!("signals will not be handled, a kill loses what follows the last checkpoint: {error}");
    }
}

/// Has a signal come?
pub fn interrupted() -> bool {
    INTERRUPTED.load(Ordering::Relaxed)
}

/// How often the temperature is read.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Time and temperature.
pub struct Limits {
    start: Instant,
    /// Time that was used before the program was interrupted and started again.
    used_before: Duration,
    time: Option<Duration>,
    max_temperature_c: f64,
    root: PathBuf,
    looked: Option<Instant>,
    hottest_c: Option<f64>,
}

/// Why training stopped before its last step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Stop {
    /// There is just enough time left to judge what there is.
    Time {
        /// The limit.
        limit: Duration,
    },
    /// Too hot.
    Temperature {
        /// What it is.
        celsius: f64,
        /// What it may be.
        limit: f64,
    },
}

impl std::fmt::Display for Stop {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Stop::Time { limit } => write!(f, "the time limit of {:.1} s", limit.as_secs_f64()),
            Stop::Temperature { celsius, limit } => write!(f, "{celsius:.1} °C, above the limit of {limit:.1} °C"),
        }
    }
}

impl Limits {
    /// Time runs from `start`. `root` is where the file systems that tell the temperature are found.
    pub fn new(start: Instant, time: Option<Duration>, max_temperature_c: f64, root: PathBuf) -> Limits {
        Limits { start, used_before: Duration::ZERO, time, max_temperature_c, root, looked: None, hottest_c: None }
    }

    /// An earlier run of the same work took this long.
    pub fn add_time(&mut self, before: Duration) {
        self.used_before += before;
    }

    /// Time used, earlier runs included.
    pub fn used(&self) -> Duration {
        self.used_before + self.start.elapsed()
    }

    /// The hottest that was seen; `None` where the machine does not tell.
    pub fn hottest_c(&self) -> Option<f64> {
        self.hottest_c
    }

    /// Is there a reason to stop now, with work of `reserve` still to do afterwards?
    pub fn reached(&mut self, reserve: Duration) -> Option<Stop> {
        if let Some(limit) = self.time
            && self.used() + reserve >= limit
        {
            return Some(Stop::Time { limit });
        }
        if self.looked.is_none_or(|at| at.elapsed() >= LOOK_EVERY) {
            self.looked = Some(Instant::now());
            let celsius = Environment::read_from(&self.root).temperature_c?;
            self.hottest_c = Some(self.hottest_c.map_or(celsius, |hottest| hottest.max(celsius)));
            if celsius > self.max_temperature_c {
                return Some(Stop::Temperature { celsius, limit: self.max_temperature_c });
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(time: Option<Duration>, celsius: &str) -> (Limits, tempfile::TempDir) {
        let root = tempfile::tempdir().unwrap();
        let zone = root.path().join("sys/class/thermal/thermal_zone0");
        std::fs::create_dir_all(&zone).unwrap();
        std::fs::write(zone.join("temp"), celsius).unwrap();
        (Limits::new(Instant::now(), time, 80.0, root.path().to_owned()), root)
    }

    #[test]
    fn heat_stops_and_an_unknown_temperature_does_not() {
        let (mut hot, _root) = limits(None, "80500\n");
        assert_eq!(hot.reached(Duration::ZERO), Some(Stop::Temperature { celsius: 80.5, limit: 80.0 }));
        assert_eq!(hot.hottest_c(), Some(80.5));
        assert_eq!(limits(None, "80000\n").0.reached(Duration::ZERO), None);
        assert_eq!(limits(None, "?\n").0.reached(Duration::ZERO), None);
    }

    #[test]
    fn the_reserve_and_earlier_runs_count_towards_the_limit() {
        let hour = Duration::from_secs(3600);
        let (mut limits, _root) = limits(Some(hour), "20000");
        assert_eq!(limits.reached(Duration::from_secs(60)), None);
        assert_eq!(limits.reached(hour), Some(Stop::Time { limit: hour }));
        limits.add_time(hour);
        assert_eq!(limits.reached(Duration::ZERO), Some(Stop::Time { limit: hour }));
    }
}
