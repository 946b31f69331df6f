//! The report as it grows: every verb that is given `--report` adds what it found, and the page is rendered anew.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use limbeck_report::{Accuracy, Model, Report, Source, judge};

use crate::inputs::file_name;

/// `--report`, shared by verbs.
#[derive(clap::Args, Clone, Debug, Default)]
pub struct ReportArguments {
    /// Add the result to this report (JSON; the HTML page stands beside it).
    #[arg(long, value_name = "report.json")]
    pub report: Option<PathBuf>,
}

impl ReportArguments {
    /// A report at `path`.
    pub fn at(path: &Path) -> ReportArguments {
        ReportArguments { report: Some(path.to_owned()) }
    }

    /// Change the report, if one is kept.
    pub fn update(&self, change: impl FnOnce(&mut Report)) -> Result<()> {
        match &self.report {
            Some(path) => update(path, change),
            None => Ok(()),
        }
    }
}

/// Read the report at `path` or start one, change it, write JSON and HTML.
pub fn update(path: &Path, change: impl FnOnce(&mut Report)) -> Result<()> {
    let mut report = if path.exists() {
        Report::read_json(path)?
    } else {
        let title = path.parent().and_then(Path::file_name).map(|n| n.to_string_lossy().into_owned());
        Report::new(title.unwrap_or_else(|| "limbeck".into()), now(), env!("CARGO_PKG_VERSION"))
    };
    change(&mut report);
    put_command(&mut report, command_line(std::env::args()));
    let judgement = judge(&report);
    (report.verdict, report.reasons) = (judgement.verdict, judgement.reasons);
    if let Some(folder) = path.parent().filter(|p| !p.as_os_str().is_empty()) {
        limbeck_files::create_dir(folder)?;
    }
    report.write_json(path)?;
    limbeck_report::html::write_html(&report, path.with_extension("html")).context("report page")?;
    Ok(limbeck_report::write_csv(&report, path)?)
}

/// Replace the entry for which `same` holds, or append.
pub fn put<T>(list: &mut Vec<T>, entry: T, same: impl Fn(&T) -> bool) {
    match list.iter_mut().find(|e| same(e)) {
        Some(old) => *old = entry,
        None => list.push(entry),
    }
}

/// Add or replace an accuracy row.
pub fn put_accuracy(report: &mut Report, row: Accuracy) {
    let subject = row.subject.clone();
    put(&mut report.accuracy, row, |a| a.subject == subject);
}

/// Add or replace a model and list its file among the sources.
pub fn put_model(report: &mut Report, role: &str, path: &Path, parameters: Option<u64>) -> Result<()> {
    let bytes = limbeck_files::read(path)?;
    let (name, sha256) = (file_name(path), limbeck_files::sha256_hex(&bytes));
    let model = Model {
        role: role.into(),
        name: name.clone(),
        sha256: sha256.clone(),
        bytes: bytes.len() as u64,
        parameters,
        macs: None,
    };
    put(&mut report.models, model, |m| m.role == role);
    put_source(report, role, name, sha256, Some(bytes.len() as u64));
    Ok(())
}

/// Add or replace an input file.
pub fn put_source(report: &mut Report, role: &str, name: String, sha256: String, bytes: Option<u64>) {
    put(&mut report.sources, Source { role: role.into(), name, sha256, bytes }, |s| s.role == role);
}

/// A command line that a shell reads back as it was: what was run, not what it was meant to be.
fn command_line(arguments: impl Iterator<Item = String>) -> String {
    let quoted = |word: String| {
        let plain = !word.is_empty() && word.chars().all(|c| c.is_alphanumeric() || "-_./:=,+@%".contains(c));
        if plain { word } else { format!("'{}'", word.replace('\'', r"'\''")) }
    };
    let words = arguments.skip(1).map(quoted);
    std::iter::once("limbeck".to_owned()).chain(words).collect::<Vec<_>>().join(" ")
}

/// Remember a command that takes part in reproducing the report.
fn put_command(report: &mut Report, command: String) {
    if !report.commands.contains(&command) {
        report.commands.push(command);
    }
}

/// The time now, RFC 3339 in UTC.
pub fn now() -> String {
    let seconds = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |d| d.as_secs());
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    let (year, month, day) = civil(days as i64);
    format!("{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}Z", rest / 3600, rest / 60 % 60, rest % 60)
}

/// Days since 1970-01-01 → year, month, day (H. Hinnant, "chrono-compatible low-level date algorithms").
fn civil(days: i64) -> (i64, i64, i64) {
    let z = days + 719_468;
    let era = z.div_euclid(146_097);
    let day_of_era = z.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let (day, month) =
        (day_of_year - (153 * shifted + 2) / 5 + 1, if shifted < 10 { shifted + 3 } else { shifted - 9 });
    (year_of_era + era * 400 + (month <= 2) as i64, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn command_lines_are_quoted_where_a_shell_would_split_them() {
        let words = ["/x/limbeck", "teach", "--data", "my images", "--out", "it's"].map(String::from);
        assert_eq!(command_line(words.into_iter()), r"limbeck teach --data 'my images' --out 'it'\''s'");
    }

    #[test]
    fn days_become_dates() {
        assert_eq!(civil(0), (1970, 1, 1));
        assert_eq!(civil(19_782), (2024, 2, 29));
        assert_eq!(civil(20_781), (2026, 11, 24));
    }
}
