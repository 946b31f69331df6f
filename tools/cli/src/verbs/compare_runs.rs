//! `limbeck compare-runs`: one run held against an earlier one.

use std::path::PathBuf;

use anyhow::Result;
use limbeck_report::{Report, Thresholds, compare_runs, run_comparison_table};

use crate::console::Console;
use crate::exit::judged;

/// Hold a run against an earlier one: what moved, movers first, and whether it is more than noise.
///
/// Exit code 0: same or better; 3: accuracy or integers worse; 4: latency, memory or size worse; 5: one of the runs is invalid.
#[derive(clap::Args, Clone, Debug)]
pub struct Arguments {
    /// The earlier run's report.json.
    pub before: PathBuf,
    /// The later run's report.json.
    pub after: PathBuf,
    /// Least change of a time that counts, as a share.
    #[arg(long, value_name = "SHARE", default_value_t = Thresholds::default().time)]
    pub time: f64,
    /// Least change of accuracy or agreement that counts, as a difference of shares.
    #[arg(long, value_name = "SHARE", default_value_t = Thresholds::default().accuracy)]
    pub accuracy: f64,
    /// Put the comparison into the later report, and make its page anew.
    #[arg(long)]
    pub keep: bool,
}

/// See the module.
pub fn run(arguments: &Arguments, console: &Console) -> Result<()> {
    let (before, after) = (Report::read_json(&arguments.before)?, Report::read_json(&arguments.after)?);
    let thresholds = Thresholds { time: arguments.time, accuracy: arguments.accuracy, ..Thresholds::default() };
    let comparison = compare_runs(&before, &after, &thresholds);
    if arguments.keep {
        crate::record::update(&arguments.after, |report| report.baseline = Some(comparison.clone()))?;
    }
    console.result("compare-runs", &comparison, || run_comparison_table(&comparison))?;
    judged(comparison.exit_code, comparison.reasons.join("; "))
}
