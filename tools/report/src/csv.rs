//! A report as tables that a spreadsheet opens: CSV as in RFC 4180, one row a figure or one row a sample.
//!
//! ```text
//! board,subject,metric,value,unit
//! pi4,latency,score,1180.25,us
//! ```
//!
//! Rows come in the order of the report, the same in every run. Numbers are written in full, in the units of the JSON.
//! A cell of text that begins with `=`, `+`, `-` or `@` gets a `'` before it: names come from files, and a spreadsheet
//! would compute them.

use std::path::Path;

use limbeck_files::FileError;

use crate::board::Board;
use crate::latency::Latency;
use crate::printable;
use crate::schema::{Accuracy, Report};

/// Every figure of a report, a row each: `board,subject,metric,value,unit`.
pub fn metrics_csv(report: &Report) -> String {
    let mut rows = Rows::new(["board", "subject", "metric", "value", "unit"]);
    rows.text("", "report", "verdict", report.verdict.word());
    for row in &report.accuracy {
        accuracy(report, row, &mut rows);
    }
    for board in &report.boards {
        latency(board, &mut rows);
        costs(board, &mut rows);
    }
    for model in &report.models {
        rows.number("", &model.role, "file", model.bytes as f64, "bytes");
        rows.some("", &model.role, "parameters", model.parameters, "");
        rows.some("", &model.role, "macs", model.macs, "");
    }
    for size in &report.sizes {
        rows.number("", &size.name, "file", size.bytes as f64, "bytes");
    }
    for budget in &report.budgets {
        let board = budget.board.as_deref().unwrap_or("");
        rows.number(board, "budget", &format!("{}, limit", budget.name), budget.limit, &budget.unit);
        rows.some_float(board, "budget", &format!("{}, measured", budget.name), budget.measured, &budget.unit);
    }
    rows.text
}

/// Every sample of latency that the report holds, a row each: `board,subject,sample,value,unit`.
///
/// Up to the number that is kept they stand in the order in which they were taken; of more, an even pick in order of
/// size ([`crate::thin_samples`]).
pub fn samples_csv(report: &Report) -> String {
    let mut rows = Rows::new(["board", "subject", "sample", "value", "unit"]);
    for board in &report.boards {
        let samples = board.latency.iter().flat_map(|latency| &latency.samples_us);
        for (i, &us) in samples.enumerate() {
            rows.number(&board.board, "latency", &(i + 1).to_string(), us, "us");
        }
        let cold = board.cold.iter().flat_map(|cold| {
            [
                ("cold, load", &cold.load_ms, "ms"),
                ("cold, compile", &cold.compile_ms, "ms"),
                ("cold, first inference", &cold.first_us, "us"),
                ("cold, start to answer", &cold.start_to_answer_ms, "ms"),
            ]
        });
        for (subject, values, unit) in cold {
            for (i, &value) in values.iter().enumerate() {
                rows.number(&board.board, subject, &(i + 1).to_string(), value, unit);
            }
        }
    }
    rows.text
}

/// Write the two tables beside the report's `json`, each whole or not at all: `report.csv` and `raw.csv` for `report.json`, `x.csv` and
/// `x.raw.csv` for any other `x.json`. The folder must exist.
pub fn write_csv(report: &Report, json: impl AsRef<Path>) -> Result<(), FileError> {
    let json = json.as_ref();
    let raw = if json.file_stem().is_some_and(|stem| stem == "report") {
        json.with_file_name("raw.csv")
    } else {
        json.with_extension("raw.csv")
    };
    for (path, text) in [(json.with_extension("csv"), metrics_csv(report)), (raw, samples_csv(report))] {
        limbeck_files::write_atomic(path, |w| w.write_all(text.as_bytes()))?;
    }
    Ok(())
}

fn accuracy(report: &Report, row: &Accuracy, rows: &mut Rows) {
    let board = report.board_of(row).map_or("", |board| &board.board);
    let subject = &row.subject;
    rows.some_float(board, subject, "top-1", row.top1, "share");
    if row.top1.is_some() {
        rows.number(board, subject, "right", row.correct as f64, "samples");
    }
    rows.number(board, subject, "asked", row.n as f64, "samples");
    rows.some_float(board, subject, "agreement with teacher", row.agreement_with_teacher, "share");
    rows.some_float(board, subject, "agreement with host", row.agreement_with_host, "share");
    if let Some(agreement) = &row.agreement {
        rows.some_float(board, subject, "symmetric kl", agreement.symmetric_kl, "nats");
        rows.some_float(board, subject, "largest difference of logits", agreement.max_difference, "");
        rows.some_float(board, subject, "cosine", agreement.cosine, "");
    }
    rows.some_float(board, subject, "difference from host", row.host_difference.map(|d| d.max_abs), "");
    if let Some(hash) = &row.integers_hash {
        rows.text(board, subject, "integers", hash);
    }
}

fn latency(board: &Board, rows: &mut Rows) {
    let id = &board.board;
    if let Some(validity) = &board.validity {
        rows.text(id, "latency", "valid", if validity.valid { "yes" } else { "no" });
    }
    if let Some(latency) = &board.latency {
        for (name, value, unit) in of_latency(latency) {
            rows.some_float(id, "latency", name, value, unit);
        }
        for (i, window) in latency.windows.iter().enumerate() {
            let subject = format!("window {}", i + 1);
            rows.number(id, &subject, "n", window.n as f64, "samples");
            rows.some_float(id, &subject, "start", window.start_s, "s");
            rows.number(id, &subject, "min", window.min_us, "us");
            rows.number(id, &subject, "p50", window.p50_us, "us");
            rows.some_float(id, &subject, "p90", window.p90_us, "us");
            rows.number(id, &subject, "max", window.max_us, "us");
            rows.some_float(id, &subject, "cov", window.cov, "");
            for (when, edge) in [("begin", window.begin), ("end", window.end)] {
                let Some(edge) = edge else { continue };
                rows.some(id, &subject, &format!("frequency at {when}"), edge.frequency_khz, "kHz");
                rows.some_float(id, &subject, &format!("temperature at {when}"), edge.temperature_c, "C");
            }
        }
    }
    for minute in board.sustained.iter().flat_map(|sustained| &sustained.minutes) {
        let subject = format!("minute {}", minute.minute);
        rows.number(id, &subject, "n", minute.n as f64, "samples");
        rows.number(id, &subject, "p50", minute.p50_us, "us");
        rows.some_float(id, &subject, "p90", minute.p90_us, "us");
        rows.some(id, &subject, "frequency", minute.frequency_khz, "kHz");
        rows.some_float(id, &subject, "temperature", minute.temperature_c, "C");
    }
}

fn of_latency(latency: &Latency) -> [(&'static str, Option<f64>, &'static str); 18] {
    let (low, high) = (latency.ci95_us.map(|ci| ci[0]), latency.ci95_us.map(|ci| ci[1]));
    [
        ("score", Some(latency.score_us), "us"),
        ("score, 95 % low", low, "us"),
        ("score, 95 % high", high, "us"),
        ("p50", Some(latency.p50_us), "us"),
        ("p90", latency.p90_us, "us"),
        ("p95", latency.p95_us, "us"),
        ("p99", latency.p99_us, "us"),
        ("min", Some(latency.min_us), "us"),
        ("max", Some(latency.max_us), "us"),
        ("mad", latency.mad_us, "us"),
        ("cov", latency.cov, ""),
        ("outliers", latency.outliers.map(|n| n as f64), "samples"),
        ("n", Some(latency.n as f64), "samples"),
        ("very first", Some(latency.first_us), "us"),
        ("preprocessing", latency.pre_us, "us"),
        ("postprocessing", latency.post_us, "us"),
        ("overhead", latency.overhead_ns, "ns"),
        ("warm-up", Some(latency.warm_up_seconds), "s"),
    ]
}

fn costs(board: &Board, rows: &mut Rows) {
    let id = &board.board;
    rows.some(id, "memory", "peak resident", board.peak_rss(), "bytes");
    rows.some(id, "memory", "arena", board.arena(), "bytes");
    if let Some(memory) = &board.memory {
        let bytes = [
            ("proportional share", memory.pss_bytes),
            ("peak heap", memory.peak_heap_bytes),
            ("plan", memory.plan_bytes),
            ("packed weights", memory.packed_bytes),
            ("text", memory.text_bytes),
            ("data", memory.data_bytes),
            ("bss", memory.bss_bytes),
        ];
        for (name, value) in bytes {
            rows.some(id, "memory", name, value, "bytes");
        }
        rows.some_float(id, "memory", "allocations per inference", memory.allocations_per_inference, "allocations");
        rows.some_float(id, "memory", "allocated per inference", memory.bytes_per_inference, "bytes");
    }
    match &board.energy {
        Some(energy) => {
            rows.number(id, "energy", "per inference", energy.uj_per_inference, "uJ");
            let without_idle = energy.uj_per_inference_without_idle;
            rows.some_float(id, "energy", "per inference, without idle", without_idle, "uJ");
            rows.some_float(id, "energy", "idle power", energy.idle_w, "W");
        }
        None => rows.text(id, "energy", "per inference", "not measured"),
    }
    for node in &board.nodes {
        let subject = format!("node {}", node.name);
        rows.number(id, &subject, "time", node.us, "us");
        rows.number(id, &subject, "share", node.share, "share");
        rows.some(id, &subject, "macs", node.macs, "");
    }
}

/// Rows of one table as they are written.
struct Rows {
    text: String,
}

impl Rows {
    fn new(heads: [&str; 5]) -> Rows {
        let mut rows = Rows { text: String::new() };
        rows.push(heads.map(str::to_owned));
        rows
    }

    fn push(&mut self, cells: [String; 5]) {
        self.text += &cells.join(",");
        self.text += "\r\n";
    }

    fn number(&mut self, board: &str, subject: &str, metric: &str, value: f64, unit: &str) {
        // Rust writes the shortest digits that read back as the same number.
        let value = if value.is_finite() { value.to_string() } else { String::new() };
        self.push([cell(board), cell(subject), cell(metric), value, cell(unit)]);
    }

    fn some_float(&mut self, board: &str, subject: &str, metric: &str, value: Option<f64>, unit: &str) {
        if let Some(value) = value {
            self.number(board, subject, metric, value, unit);
        }
    }

    fn some(&mut self, board: &str, subject: &str, metric: &str, value: Option<u64>, unit: &str) {
        if let Some(value) = value {
            self.push([cell(board), cell(subject), cell(metric), value.to_string(), cell(unit)]);
        }
    }

    fn text(&mut self, board: &str, subject: &str, metric: &str, value: &str) {
        self.push([cell(board), cell(subject), cell(metric), cell(value), String::new()]);
    }
}

/// Text as a cell: never a formula, and in quotes where RFC 4180 asks for them.
fn cell(text: &str) -> String {
    let mut text = printable(text);
    if text.starts_with(['=', '+', '-', '@']) {
        text.insert(0, '\'');
    }
    if text.contains([',', '"']) || text.starts_with(' ') || text.ends_with(' ') {
        text = format!("\"{}\"", text.replace('"', "\"\""));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::Model;

    #[test]
    fn cells_are_quoted_as_rfc_4180_says_and_are_no_formulas() {
        let cases = [
            ("plain", "plain"),
            ("a,b", "\"a,b\""),
            ("say \"x\"", "\"say \"\"x\"\"\""),
            ("=1+1", "'=1+1"),
            ("@x", "'@x"),
            ("-2,3", "\"'-2,3\""),
            ("+x", "'+x"),
            (" lead", "\" lead\""),
            ("two\r\nlines", "two\u{fffd}\u{fffd}lines"),
            ("", ""),
        ];
        for (text, want) in cases {
            assert_eq!(cell(text), want);
        }
    }

    #[test]
    fn a_figure_is_a_row_and_what_was_not_measured_is_none() {
        let mut report = Report::new("t", "c", "v");
        let subject = "int8 on pi, \"4\"".to_owned();
        report.accuracy.push(Accuracy { subject, top1: Some(0.1 + 0.2), n: 10, correct: 3, ..Accuracy::default() });
        report.models.push(Model { role: "=cmd()".into(), bytes: 12, ..Model::default() });
        let latency = Latency { score_us: 1180.25, samples_us: vec![1.5, 2.5], ..Latency::default() };
        report.boards.push(Board { board: "pi".into(), latency: Some(latency), ..Board::default() });
        let text = metrics_csv(&report);
        for row in [
            "board,subject,metric,value,unit\r\n",
            "\r\n,\"int8 on pi, \"\"4\"\"\",top-1,0.30000000000000004,share\r\n",
            "\r\npi,latency,score,1180.25,us\r\n",
            "\r\npi,energy,per inference,not measured,\r\n",
            "\r\n,'=cmd(),file,12,bytes\r\n",
        ] {
            assert!(text.contains(row), "{row}: {text}");
        }
        assert!(!text.contains("p90") && !text.contains("agreement"), "{text}");
        assert!(text.split("\r\n").all(|row| !row.contains(['\r', '\n'])) && text.ends_with("\r\n"));
        assert_eq!(
            samples_csv(&report),
            "board,subject,sample,value,unit\r\npi,latency,1,1.5,us\r\npi,latency,2,2.5,us\r\n"
        );
        assert_eq!(metrics_csv(&report), text, "the order is stable");
    }
}
