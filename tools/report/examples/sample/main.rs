//! Write a made-up report, to look at the page: `cargo run -p limbeck-report --example sample -- FOLDER`.
//!
//! Every number in it is invented; names and shapes are those of a real run.

// By its path, so that `boards` lies beside it here and for the tests.
#[path = "report.rs"]
mod report;

use std::path::PathBuf;
use std::process::ExitCode;

use limbeck_report::{html, summary, write_csv};

fn main() -> ExitCode {
    let Some(folder) = std::env::args_os().nth(1).map(PathBuf::from) else {
        eprintln!("usage: sample FOLDER");
        return ExitCode::from(2);
    };
    let report = report::sample();
    let written = report
        .write_json(folder.join("report.json"))
        .map_err(|e| e.to_string())
        .and_then(|()| html::write_html(&report, folder.join("report.html")).map_err(|e| e.to_string()))
        .and_then(|()| write_csv(&report, folder.join("report.json")).map_err(|e| e.to_string()));
    print!("{}", summary(&report));
    match written {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("{e}");
            ExitCode::FAILURE
        }
    }
}
