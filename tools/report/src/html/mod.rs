//! The report as one HTML page: no fetch, no script, styles and charts inside.
//!
//! It opens from a mail attachment in ten years. A `Content-Security-Policy` of `default-src 'none'` makes the browser
//! keep that promise even if a name in the report tries to break it; all text goes through `text::T`.
//!
//! | file | section |
//! |---|---|
//! | `head` | title, verdict and why, cards with the main numbers |
//! | `budgets` | what was promised against what was measured |
//! | `baseline` | this run against an earlier one, movers first |
//! | `accuracy` | bars with confidence whiskers, tables |
//! | `confusion` | what was taken for what |
//! | `training` | loss and agreement curves |
//! | `comparison` | recipes side by side: a dot a seed, table |
//! | `adaptation` | the student before and after a board tuned it |
//! | `quantization` | what the quantizer did, what each operator costs |
//! | `pareto` | accuracy against size and latency, the front marked |
//! | `overview` | all boards in one table |
//! | `boards` | per board, with the parts below; environment, preflight, agent |
//! | `latency` | latency curve, windows, figures |
//! | `series` | latency, temperature and frequency over time |
//! | `costs` | cold starts, memory, energy |
//! | `nodes` | the slowest operators |
//! | `files` | sizes, bundle, sources |
//! | `how` | how each number was made, the commands |
//!
//! Charts are SVG in percent of the page's width with text in pixels, so they stay readable on a phone: see `plot`.

mod accuracy;
mod adaptation;
mod axis;
mod baseline;
mod boards;
mod budgets;
mod comparison;
mod confusion;
mod costs;
mod files;
mod head;
mod how;
mod latency;
mod nodes;
mod overview;
mod pareto;
mod plot;
mod quantization;
mod series;
mod text;
mod training;

use std::path::Path;

use limbeck_files::FileError;

use crate::schema::Report;
use text::T;

/// The whole page.
pub fn render(report: &Report) -> String {
    let sections = [
        head::section(report),
        budgets::section(report),
        baseline::section(report),
        accuracy::section(report),
        training::section(report),
        comparison::section(report),
        quantization::section(report),
        adaptation::section(report),
        pareto::section(report),
        overview::section(report),
        boards::sections(report),
        files::sections(report),
        how::section(report),
    ];
    format!(
        r#"<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<meta name="color-scheme" content="light dark">
<meta name="generator" content="limbeck {version}">
<title>{verdict}{title}</title>
<style>
{style}</style>
</head>
<body>
{sections}
</body>
</html>
"#,
        version = T(&report.tool_version),
        verdict = if report.has_verdict() { format!("{} · ", report.verdict.word()) } else { String::new() },
        title = T(&report.title),
        style = include_str!("style.css"),
        sections = sections.concat(),
    )
}

/// Write the page, whole or not at all. The folder must exist.
pub fn write_html(report: &Report, path: impl AsRef<Path>) -> Result<(), FileError> {
    limbeck_files::write_atomic(path, |w| w.write_all(render(report).as_bytes()))
}
