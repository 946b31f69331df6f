//! The report of a run: its schema, and one offline HTML page of it.
//!
//! ```
//! use limbeck_report::{Accuracy, Report, Verdict, html, summary};
//!
//! let mut report = Report::new("scenes, host only", "2026-03-01T12:00:00Z", "0.1.0");
//! report.verdict = Verdict::Pass;
//! report.accuracy.push(Accuracy {
//!     subject: "int8 on host".into(),
//!     top1: Some(0.815),
//!     correct: 1630,
//!     n: 2000,
//!     ..Accuracy::default()
//! });
//! assert!(summary(&report).contains("81.5 %"));
//! assert!(html::render(&report).contains("int8 on host"));
//! ```
//!
//! The JSON ([`Report::write_json`]) is the product; the page ([`html`]) and the terminal table ([`summary()`]) are
//! views of it. They add only what follows from the record: intervals from counts ([`wilson95`]), ratios of sizes,
//! whether hashes are equal.

#![forbid(unsafe_code)]

mod adaptation;
mod board;
mod budget;
mod compare_runs;
mod comparison;
mod comparison_table;
mod confusion;
mod csv;
mod json;
mod judge;
mod latency;
mod lookup;
mod numbers;
mod run_comparison;
mod run_comparison_table;
mod schema;
mod spread;
mod summary;
mod table;

pub mod html;

// The record.
pub use adaptation::{Adaptation, BeforeAfter, Score};
pub use board::{Agent, Board, Energy, Memory, Node, Preflight, PreflightState, Validity};
pub use budget::{Budget, FigureKind};
pub use comparison::{ComparedRecipe, ComparedRun, Comparison, FailedRun};
pub use confusion::Confusion;
pub use latency::{Cold, Edge, Latency, Minute, Sustained, Window};
pub use run_comparison::{ComparedFigure, Movement, RunComparison, RunName};
pub use schema::{
    Accuracy, Agreement, Bundle, FloatNode, HostDifference, KeyValue, Model, Quantization, QuantizationLoss, Report,
    SCHEMA_VERSION, Sensitivity, Size, Source, Training, Verdict,
};
// Its verdict, and what became of it since an earlier run.
pub use compare_runs::{Thresholds, compare_runs};
pub use judge::{Judgement, judge};
// Its file.
pub use csv::{metrics_csv, samples_csv, write_csv};
pub use json::ReportError;
// Its views, and what helps to fill it in.
pub use comparison_table::comparison_table;
pub use numbers::{Interval, thin_samples, wilson95};
pub use run_comparison_table::run_comparison_table;
pub use spread::{Difference, Finding, Spread};
pub use summary::summary;

/// Names come from files and boards: control characters and text-direction overrides become U+FFFD.
fn printable(text: &str) -> String {
    let hostile = |c: char| c.is_control() || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    text.chars().map(|c| if hostile(c) { '\u{fffd}' } else { c }).collect()
}
