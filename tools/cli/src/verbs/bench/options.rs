//! What to measure, and in which circumstances it counts: options of `limbeck bench`, handed on to the agent.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;
use limbeck_boards::Board;
use limbeck_measure::{Limits, parse_duration};

use crate::exit::usage;

/// What to measure.
#[derive(clap::Args, Clone, Debug)]
pub struct Passes {
    /// The full protocol: 5 windows of 10 s (default: 3 windows of 2 s, marked quick).
    #[arg(long)]
    pub full: bool,
    /// In place of windows: run for so long (30m, 1.5h) and say how fast, how hot and at which clock, minute by minute.
    #[arg(long, value_name = "DURATION", value_parser = duration, conflicts_with_all = ["full", "energy", "energy_csv", "mark"])]
    pub sustained: Option<String>,
    /// Windows alone: no cold starts, no memory pass, no operators.
    #[arg(long)]
    pub latency_only: bool,
    /// Cold starts, each a process of its own.
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub cold_starts: u32,
}

/// In which circumstances it counts, and what else is read meanwhile.
#[derive(clap::Args, Clone, Debug)]
pub struct Circumstances {
    /// Hottest that the board may be [default: the board's own limit, or 80].
    #[arg(long, value_name = "CELSIUS")]
    max_temp_c: Option<f64>,
    /// Highest load average before the start.
    #[arg(long, value_name = "LOAD", default_value_t = Limits::default().max_load_average)]
    max_load: f64,
    /// Accept any frequency governor and frequency limit. A frequency that moves is INVALID all the same.
    #[arg(long)]
    allow_governor: bool,
    /// Wait at most so long (2m) until load and temperature are within their limits.
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    settle: Option<String>,
    /// Cores to run on: 0-3,6, or big, or little [default: the board's own choice].
    #[arg(long, value_name = "CORES")]
    cpus: Option<String>,
    /// The board's power meter: auto, or a chip (ina226), or chip and channel (ina3221:2). Without a meter energy is not measured.
    #[arg(long, value_name = "METER")]
    energy: Option<String>,
    /// Energy from the export of a meter beside the board: columns time, watts (or volts, amperes) and window.
    #[arg(long, value_name = "FILE.csv", conflicts_with = "energy")]
    pub energy_csv: Option<PathBuf>,
    /// For a meter beside the board: a file on it, such as a pin's `value`, that reads 1 during windows and 0 outside.
    #[arg(long, value_name = "FILE")]
    mark: Option<String>,
    /// For tests: the agent reads /proc and /sys below this folder, and says so in its record.
    #[arg(long, value_name = "DIR", hide = true)]
    sysroot: Option<String>,
}

/// A duration that the agent will understand, as it was written.
fn duration(text: &str) -> std::result::Result<String, String> {
    parse_duration(text).map(|_| text.to_owned())
}

impl Default for Passes {
    fn default() -> Passes {
        Passes { full: false, sustained: None, latency_only: false, cold_starts: 5 }
    }
}

impl Passes {
    /// The agent's options for the windows.
    pub fn length(&self) -> Vec<&'static str> {
        if self.full { vec!["--full"] } else { vec![] }
    }

    /// "quick, 3 windows of 2 s"
    pub fn in_words(&self) -> &'static str {
        if self.full { "5 windows of 10 s" } else { "quick, 3 windows of 2 s" }
    }
}

impl Circumstances {
    /// Whatever the machine does besides.
    pub fn any() -> Circumstances {
        Circumstances {
            max_temp_c: None,
            max_load: f64::MAX,
            allow_governor: true,
            settle: None,
            cpus: None,
            energy: None,
            energy_csv: None,
            mark: None,
            sysroot: None,
        }
    }

    /// The agent's options. What is said here comes before what the board says; the host of an emulator is not judged, because its
    /// times are no board's anyway.
    pub fn arguments(&self, board: &Board, emulated: bool) -> Vec<String> {
        let mut words = vec![];
        let mut option = |name: &str, value: String| words.extend([format!("--{name}"), value]);
        let max_temp_c = self.max_temp_c.or(board.max_temp_c);
        match emulated {
            true => option("max-temp-c", f64::MAX.to_string()),
            false => max_temp_c.into_iter().for_each(|celsius| option("max-temp-c", celsius.to_string())),
        }
        option("max-load", if emulated { f64::MAX } else { self.max_load }.to_string());
        for (name, value) in
            [("settle", &self.settle), ("cpus", &self.cpus.clone().or(board.cpus.clone())), ("sysroot", &self.sysroot)]
        {
            value.iter().for_each(|value| option(name, value.clone()));
        }
        let any_governor = board.governor.as_ref().is_some_and(|g| g != "performance");
        if emulated || self.allow_governor || any_governor {
            words.push("--allow-governor".into());
        }
        words
    }

    /// Longest that a pass may wait for the machine to settle.
    pub fn longest_wait(&self) -> Result<Duration> {
        self.settle.as_deref().map_or(Ok(Duration::ZERO), |text| parse_duration(text).map_err(usage))
    }

    /// Is nothing asked for but what every measurement has?
    pub fn is_usual(&self) -> bool {
        let options = [&self.settle, &self.cpus, &self.energy, &self.mark, &self.sysroot];
        options.iter().all(|option| option.is_none()) && self.energy_csv.is_none()
    }

    /// Hottest that this machine may be.
    pub fn max_temp_c(&self) -> Option<f64> {
        self.max_temp_c
    }

    /// Options of the windows, with those of the meter.
    pub fn with_energy<'a>(&'a self, length: &[&'a str]) -> Vec<&'a str> {
        let mut words = length.to_vec();
        for (name, value) in [("--energy", &self.energy), ("--mark", &self.mark)] {
            words.extend(value.iter().flat_map(|value| [name, value.as_str()]));
        }
        words
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_board_wants_is_asked_for_unless_the_user_says_otherwise() {
        let board = Board::find_in("host", None).map(|b| Board {
            max_temp_c: Some(70.0),
            cpus: Some("2-3".into()),
            governor: Some("ondemand".into()),
            ..b
        });
        let board = board.unwrap();
        let usual = Circumstances { max_load: 0.5, allow_governor: false, ..Circumstances::any() };
        let words = usual.arguments(&board, false).join(" ");
        assert_eq!(words, "--max-temp-c 70 --max-load 0.5 --cpus 2-3 --allow-governor");
        let own = Circumstances { max_temp_c: Some(60.0), cpus: Some("big".into()), ..usual.clone() };
        let words = own.arguments(&Board { governor: None, ..board.clone() }, false).join(" ");
        assert_eq!(words, "--max-temp-c 60 --max-load 0.5 --cpus big");
        assert!(usual.arguments(&board, true).contains(&"--allow-governor".to_owned()));
    }
}
