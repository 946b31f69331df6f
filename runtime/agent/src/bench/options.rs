//! What `bench` is asked: which pass, for how long, under which conditions.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use limbeck_measure::{Clock, Conditions, Cores, Environment, Limits, Protocol, Setting, parse_duration, pin};

/// How often is looked whether the machine has settled.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Options of `bench`.
#[derive(clap::Args)]
pub struct Options {
    #[command(flatten)]
    pub pass: Pass,
    #[command(flatten)]
    length: Length,
    #[command(flatten)]
    pub conditions: ConditionOptions,
    #[command(flatten)]
    pub energy: EnergyOptions,
}

/// Which pass; the latency of windows if none is named.
#[derive(clap::Args)]
#[group(multiple = false)]
pub struct Pass {
    /// Cold starts instead: start this program so many times (5) and take the median of loading, compiling, first inference, and
    /// of the time from before the start to the first answer.
    #[arg(long, value_name = "N", num_args = 0..=1, require_equals = true, default_missing_value = "5",
          value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub cold: Option<u32>,
    /// One cold start, of this process: for whoever starts it several times himself (see --started-at).
    #[arg(long)]
    pub cold_start: bool,
    /// Memory instead: resident memory, arena, plan, packed weights, allocations per inference, heap.
    #[arg(long)]
    pub memory: bool,
    /// Half an hour instead of windows: run for so long (30m, 1.5h), and print a line a minute.
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    pub sustained: Option<Duration>,
}

/// How long the windows are.
#[derive(clap::Args)]
struct Length {
    /// The full protocol: 5 windows of 10 s (default: quick, 3 windows of 2 s, marked as quick).
    #[arg(long, conflicts_with_all = ["windows", "seconds", "min_runs"])]
    full: bool,
    /// Windows.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=16))]
    windows: Option<u32>,
    /// Seconds a window.
    #[arg(long)]
    seconds: Option<f64>,
    /// Fewest runs a window.
    #[arg(long)]
    min_runs: Option<u64>,
}

/// What the machine has to be like, and where this runs on it.
#[derive(clap::Args)]
pub struct ConditionOptions {
    /// Hottest that the machine may be at an edge of a window.
    #[arg(long, value_name = "CELSIUS", default_value_t = Limits::default().max_temperature_c)]
    max_temp_c: f64,
    /// Highest load average before the start.
    #[arg(long, value_name = "LOAD", default_value_t = Limits::default().max_load_average)]
    max_load: f64,
    /// Accept any frequency governor and frequency limit. A frequency that moves is INVALID all the same.
    #[arg(long)]
    allow_governor: bool,
    /// Wait at most so long (2m) until load average and temperature are within their limits.
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    settle: Option<Duration>,
    /// Cores to run on: 0-3,6, or big, or little.
    #[arg(long, value_name = "CORES")]
    cpus: Option<Cores>,
    /// For tests of this program: read /proc and /sys of the machine below this folder. The record says so.
    #[arg(long, value_name = "DIR")]
    sysroot: Option<PathBuf>,
    /// When this process was started, in nanoseconds of CLOCK_MONOTONIC_RAW.
    #[arg(long, value_name = "NS")]
    pub started_at: Option<u64>,
}

/// What measures energy.
#[derive(clap::Args)]
pub struct EnergyOptions {
    /// The power meter in /sys/class/hwmon: auto, or a chip (ina226), or chip and channel (ina3221:2). Without it energy is not
    /// measured.
    #[arg(long, value_name = "METER")]
    pub energy: Option<String>,
    /// How long idle power is measured before.
    #[arg(long, value_name = "DURATION", value_parser = parse_duration, default_value = "5s", requires = "energy")]
    pub idle: Duration,
    /// For a meter beside the board: a file, such as a pin's `value`, that reads 1 during windows and 0 outside.
    #[arg(long, value_name = "FILE")]
    pub mark: Option<PathBuf>,
}

impl Options {
    /// The windows asked for.
    pub fn protocol(&self) -> Result<Protocol> {
        let Length { full, windows, seconds, min_runs } = self.length;
        if full {
            return Ok(Protocol::full());
        }
        let seconds = seconds.unwrap_or(2.0);
        ensure!(seconds.is_finite() && (0.0..=3600.0).contains(&seconds), "--seconds {seconds}: 0 to 3600");
        let quick = Protocol::quick(seconds);
        Ok(Protocol {
            windows: windows.unwrap_or(quick.windows),
            min_per_window: min_runs.unwrap_or(quick.min_per_window),
            ..quick
        })
    }
}

impl ConditionOptions {
    /// Where the machine's /proc and /sys are.
    pub fn root(&self) -> &Path {
        self.sysroot.as_deref().unwrap_or(Path::new("/"))
    }

    /// What the machine has to be like.
    fn limits(&self) -> Limits {
        Limits {
            max_temperature_c: self.max_temp_c,
            max_load_average: self.max_load,
            clock: if self.allow_governor { Clock::Any } else { Clock::Performance },
        }
    }

    /// What the record says of how this was run.
    pub fn setting(&self) -> Setting {
        Setting {
            threads: 1,
            cpus: self.cpus.as_ref().map(ToString::to_string),
            limits: self.limits(),
            sysroot: self.sysroot.as_ref().map(|root| root.display().to_string()),
        }
    }

    /// Wait for the machine, if that was asked for.
    pub fn settle(&self) {
        let (Some(longest), limits, start) = (self.settle, self.limits(), Instant::now()) else { return };
        let is_busy = || Environment::read_from(self.root()).load_average > Some(limits.max_load_average);
        let is_hot = || Conditions::read_from(self.root()).temperature_c > Some(limits.max_temperature_c);
        while (is_busy() || is_hot()) && start.elapsed() < longest {
            std::thread::sleep(LOOK_EVERY.min(longest));
        }
    }

    /// Go to the cores that were asked for, and stay there.
    pub fn pin(&self) -> Result<()> {
        match &self.cpus {
            Some(cores) => Ok(pin(&cores.numbers(self.root())?)?),
            None => Ok(()),
        }
    }
}
