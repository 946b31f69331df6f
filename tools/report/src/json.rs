//! A report as a JSON file.
//!
//! Unknown fields are ignored, so a page can still be made of a report with later additions; a newer
//! `schema_version` means that a known field changed its meaning, and is refused.

use std::path::{Path, PathBuf};

use limbeck_files::FileError;
use serde_json::Value;

use crate::schema::{Report, SCHEMA_VERSION};

/// Why a report file was not written or not read.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// The file system said no.
    #[error(transparent)]
    File(#[from] FileError),
    /// Not JSON, or not the JSON of a report.
    #[error("{}: not a Limbeck report: {source}; name a report.json", path.display())]
    NotAReport {
        /// The file.
        path: PathBuf,
        /// What was wrong and where (line, column).
        source: serde_json::Error,
    },
    /// Written by a newer Limbeck, whose fields may mean something else.
    #[error("{}: schema_version {found}, and this build reads up to {known}; use the Limbeck that wrote it, or a newer one", path.display())]
    TooNew {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: u64,
        /// Ours.
        known: u32,
    },
    /// A number that JSON cannot hold and a report may not contain.
    #[error("{}: {field} is not a finite number; leave out what was not measured", path.display())]
    NotFinite {
        /// The file that was to be written.
        path: PathBuf,
        /// Where in the report.
        field: String,
    },
}

/// The one field that is read before all others.
#[derive(serde::Deserialize)]
struct VersionOnly {
    schema_version: u64,
}

impl Report {
    /// Write the report as indented JSON, whole or not at all. The folder must exist.
    pub fn write_json(&self, path: impl AsRef<Path>) -> Result<(), ReportError> {
        let path = path.as_ref();
        let not_a_report = |source| ReportError::NotAReport { path: path.to_owned(), source };
        if let Some(field) = first_not_finite(self).map_err(not_a_report)? {
            return Err(ReportError::NotFinite { path: path.to_owned(), field });
        }
        limbeck_files::write_atomic(path, |w| {
            serde_json::to_writer_pretty(&mut *w, self)?;
            w.write_all(b"\n")
        })?;
        Ok(())
    }

    /// Read a report that this build, or an older one, wrote.
    pub fn read_json(path: impl AsRef<Path>) -> Result<Report, ReportError> {
        let path = path.as_ref();
        let text = limbeck_files::read_to_string(path)?;
        let not_a_report = |source| ReportError::NotAReport { path: path.to_owned(), source };
        let version: VersionOnly = serde_json::from_str(&text).map_err(not_a_report)?;
        if version.schema_version > u64::from(SCHEMA_VERSION) {
            return Err(ReportError::TooNew {
                path: path.to_owned(),
                found: version.schema_version,
                known: SCHEMA_VERSION,
            });
        }
        serde_json::from_str(&text).map_err(not_a_report)
    }
}

/// The first field that holds a NaN or an infinity, which serde_json silently writes as `null`: absent fields are left
/// out, so nothing else is one.
fn first_not_finite(report: &Report) -> Result<Option<String>, serde_json::Error> {
    Ok(null_in(&serde_json::to_value(report)?))
}

/// The way to the first `null`: "boards \"host\": latency: p90_us".
fn null_in(value: &Value) -> Option<String> {
    let join = |step: String, rest: String| if rest.is_empty() { step } else { format!("{step}: {rest}") };
    match value {
        Value::Null => Some(String::new()),
        Value::Array(items) => items.iter().enumerate().find_map(|(i, item)| {
            Some(join(named(item).unwrap_or_else(|| format!("entry {}", i + 1)), null_in(item)?))
        }),
        Value::Object(fields) => fields.iter().find_map(|(name, field)| Some(join(name.clone(), null_in(field)?))),
        Value::Bool(_) | Value::Number(_) | Value::String(_) => None,
    }
}

/// What an entry of a list calls itself.
fn named(item: &Value) -> Option<String> {
    let name = ["board", "subject", "node", "name", "place"].into_iter().find_map(|key| item.get(key)?.as_str());
    name.map(|name| format!("{name:?}")).or_else(|| Some(format!("seed {}", item.get("seed")?)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::board::Board;
    use crate::comparison::{ComparedRecipe, ComparedRun, Comparison, FailedRun};
    use crate::latency::{Latency, Window};
    use crate::schema::{Accuracy, KeyValue, Quantization, QuantizationLoss, Sensitivity, Training, Verdict};

    fn in_temp(name: &str) -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(name);
        (dir, path)
    }

    #[test]
    fn what_was_written_is_read_back() {
        let (_dir, path) = in_temp("report.json");
        let mut report = Report::new("t \u{1F4C8} \"quoted\"", "2026-03-01T12:00:00Z", "0.1.0");
        report.verdict = Verdict::Pass;
        report.accuracy.push(Accuracy {
            subject: "int8 on host".into(),
            top1: Some(0.1 + 0.2),
            n: 10,
            ..Accuracy::default()
        });
        report.training = Some(Training { loss: vec![1.5, 0.25], ..Training::default() });
        report.boards.push(Board {
            board: "host".into(),
            environment: vec![KeyValue::new("governor", "unknown")],
            latency: Some(Latency {
                samples_us: vec![1.0, 2.0],
                windows: vec![Window { n: 2, min_us: 1.0, p50_us: 1.5, max_us: 2.0, ..Window::default() }],
                ..Latency::default()
            }),
            ..Board::default()
        });
        report.write_json(&path).unwrap();
        assert_eq!(Report::read_json(&path).unwrap(), report);
    }

    #[test]
    fn what_was_not_measured_is_not_written() {
        let (_dir, path) = in_temp("report.json");
        Report::new("t", "c", "v").write_json(&path).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(!text.contains("null") && !text.contains("training") && !text.contains("boards"), "{text}");
        assert!(text.contains("\"verdict\": \"INVALID\""), "{text}");
        assert_eq!(Report::read_json(&path).unwrap(), Report::new("t", "c", "v"));
    }

    #[test]
    fn a_newer_schema_is_refused_by_name_even_if_its_fields_changed() {
        let (_dir, path) = in_temp("later.json");
        std::fs::write(&path, r#"{"schema_version": 7, "title": {"now": "an object"}}"#).unwrap();
        let error = Report::read_json(&path).unwrap_err();
        assert!(matches!(error, ReportError::TooNew { found: 7, .. }));
        let text = error.to_string();
        assert!(text.contains("later.json") && text.contains('7') && text.contains("use the Limbeck"), "{text}");
    }

    #[test]
    fn an_unknown_field_is_not_an_error() {
        let (_dir, path) = in_temp("report.json");
        let json =
            r#"{"schema_version":1,"title":"t","created":"c","tool_version":"v","verdict":"FAIL","mood":"good"}"#;
        std::fs::write(&path, json).unwrap();
        assert_eq!(Report::read_json(&path).unwrap().verdict, Verdict::Fail);
    }

    #[test]
    fn a_comparison_is_read_back_and_a_report_from_before_it_has_none() {
        let (_dir, path) = in_temp("report.json");
        let run = ComparedRun { seed: 7, float: Some(0.1 + 0.2), seconds: 61.5, ..ComparedRun::default() };
        let failed = vec![FailedRun { seed: 8, why: "loss is not finite in step 3".into() }];
        let recipe = ComparedRecipe { name: "kd".into(), about: "soft labels".into(), runs: vec![run], failed };
        let mut report = Report::new("t", "c", "v");
        report.comparison = Some(Comparison {
            student: "resnet8.onnx".into(),
            untouched: Some(0.764),
            recipes: vec![recipe, ComparedRecipe::default()],
            ..Comparison::default()
        });
        report.write_json(&path).unwrap();
        assert_eq!(Report::read_json(&path).unwrap(), report);
        assert!(!std::fs::read_to_string(&path).unwrap().contains("null"));

        let before = r#"{"schema_version":1,"title":"t","created":"c","tool_version":"v","verdict":"PASS","training":
            {"epochs":1,"steps":2,"seconds":3.0,"optimiser":"sgd","learning_rate":0.1,"temperature":4.0}}"#;
        std::fs::write(&path, before).unwrap();
        let report = Report::read_json(&path).unwrap();
        assert!(report.comparison.is_none() && report.training.is_some_and(|t| t.method.is_none()));
    }

    #[test]
    fn what_is_not_a_report_is_refused_with_the_place() {
        let (_dir, path) = in_temp("student.onnx");
        for bytes in [&b"\x08\x07\x12"[..], b"", b"{\"schema_version\":1", b"[]", b"\xff\xfe"] {
            std::fs::write(&path, bytes).unwrap();
            let error = Report::read_json(&path).unwrap_err().to_string();
            assert!(error.contains("student.onnx"), "{error}");
        }
        assert!(Report::read_json(path.with_file_name("absent")).unwrap_err().to_string().contains("absent"));
    }

    #[test]
    fn a_nan_is_named_and_nothing_is_written() {
        let (_dir, path) = in_temp("report.json");
        let mut report = Report::new("t", "c", "v");
        report.training = Some(Training { loss: vec![1.0, f64::NAN], ..Training::default() });
        let error = report.write_json(&path).unwrap_err().to_string();
        assert!(error.contains("training: loss: entry 2 is not"), "{error}");
        assert!(!path.exists());

        let mut report = Report::new("t", "c", "v");
        let loss = QuantizationLoss { sqnr_db: Some(f64::INFINITY), ..QuantizationLoss::default() };
        let sensitivity = vec![Sensitivity { node: "Conv \"a\"".into(), loss }];
        report.quantization = Some(Quantization { sensitivity, ..Quantization::default() });
        let error = report.write_json(&path).unwrap_err().to_string();
        assert!(error.contains("sqnr_db") && error.contains("Conv"), "{error}");

        let mut report = Report::new("t", "c", "v");
        let run = ComparedRun { seed: 7, int8: Some(f64::NAN), ..ComparedRun::default() };
        let recipe = ComparedRecipe { name: "dist".into(), runs: vec![run], ..ComparedRecipe::default() };
        report.comparison = Some(Comparison { recipes: vec![recipe], ..Comparison::default() });
        let error = report.write_json(&path).unwrap_err().to_string();
        assert!(error.contains("\"dist\": runs: seed 7: int8"), "{error}");
    }
}
