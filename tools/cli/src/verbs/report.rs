//! `limbeck report`: the page and the summary of a report.json.

use std::path::PathBuf;

use anyhow::Result;
use limbeck_report::Report;

use crate::console::Console;

/// Render report.json as one offline HTML page beside it, and print its summary.
#[derive(clap::Args, Clone, Debug)]
pub struct Arguments {
    /// The report.
    pub report: PathBuf,
}

/// See the module.
pub fn run(arguments: &Arguments, console: &Console) -> Result<()> {
    let report = Report::read_json(&arguments.report)?;
    let page = arguments.report.with_extension("html");
    limbeck_report::html::write_html(&report, &page)?;
    console.print(limbeck_report::summary(&report))?;
    console.print(format!("report: {}", page.display()))
}
