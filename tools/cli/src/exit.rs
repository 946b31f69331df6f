//! Errors become exit codes here, and nowhere else.

use std::fmt;
use std::io::ErrorKind;
use std::process::ExitCode;

use limbeck_adapt::AdaptError;
use limbeck_answers::{AnswersError, MergeError};
use limbeck_bundle::{BudgetsError, BundleError, TrustError};
use limbeck_distill::{DistillError, RecipeError};
use limbeck_engine::EngineError;
use limbeck_engine::onnx::OnnxError;
use limbeck_quantize::QuantizeError;
use limbeck_runner::RunnerError;
use limbeck_teacher::TeachError;

use crate::console::Console;

/// Printed below `--help`.
pub const HELP: &str = "Exit codes:
  0  done                              6  board unreachable, busy, or out of time
  1  internal error                    7  host key or signature refused
  2  usage: a file, folder or option   8  no space, or the board refused the install
  3  accuracy or exactness failed      9  model, card, answers, bundle, report refused
  4  latency or memory gate failed    10  rolled back
  5  measurement invalid             130  interrupted (Ctrl-C)";

/// An error whose exit code is known where it is made.
#[derive(Debug)]
pub struct Coded {
    code: u8,
    message: String,
}

impl fmt::Display for Coded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Coded {}

/// The user asked for something that cannot be: exit 2.
pub fn usage(message: impl Into<String>) -> anyhow::Error {
    Coded { code: 2, message: message.into() }.into()
}

/// What was measured is not what was promised: exit 3.
pub fn failed(message: impl Into<String>) -> anyhow::Error {
    Coded { code: 3, message: message.into() }.into()
}

/// A model or card cannot be used: exit 9.
pub fn rejected(message: impl Into<String>) -> anyhow::Error {
    Coded { code: 9, message: message.into() }.into()
}

/// A board keeps its old student: exit 10.
pub fn rolled_back(message: impl Into<String>) -> anyhow::Error {
    Coded { code: 10, message: message.into() }.into()
}

/// Ctrl-C: exit 130.
pub fn interrupted(message: impl Into<String>) -> anyhow::Error {
    Coded { code: 130, message: message.into() }.into()
}

/// What a judge of numbers decided: `code` of the table, 0 is no error.
pub fn judged(code: u8, message: impl Into<String>) -> anyhow::Result<()> {
    if code == 0 { Ok(()) } else { Err(Coded { code, message: message.into() }.into()) }
}

/// Print an error and give its exit code. A closed stdout (`| head`) is no error.
pub fn report(error: &anyhow::Error, console: &Console) -> ExitCode {
    // Files fail as `FileError`; a bare I/O error comes from stdout.
    if error.downcast_ref::<std::io::Error>().is_some_and(|e| e.kind() == ErrorKind::BrokenPipe) {
        return ExitCode::SUCCESS;
    }
    let (message, code) = (message(error), code(error));
    console.failed(&message, code);
    eprintln!("limbeck: {message}");
    ExitCode::from(code)
}

/// All causes, outermost first, each said once: most of our errors repeat what their source says.
fn message(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for cause in error.chain().map(ToString::to_string) {
        if text.is_empty() {
            text = cause;
        } else if !text.contains(&cause) {
            text = format!("{text}: {cause}");
        }
    }
    text
}

fn code(error: &anyhow::Error) -> u8 {
    for cause in error.chain() {
        if let Some(coded) = cause.downcast_ref::<Coded>() {
            return coded.code;
        }
        match cause.downcast_ref() {
            Some(QuantizeError::NothingInIntegers { .. }) => return 3,
            Some(QuantizeError::Option(_)) => return 2,
            _ => {}
        }
        if cause.is::<RecipeError>() || cause.is::<BudgetsError>() {
            return 2;
        }
        if cause.is::<TrustError>() || matches!(cause.downcast_ref(), Some(BundleError::Untrusted { .. })) {
            return 7;
        }
        if let Some(runner) = cause.downcast_ref::<RunnerError>() {
            return u8::try_from(runner.exit_code()).unwrap_or(1);
        }
        let cancelled = matches!(cause.downcast_ref(), Some(TeachError::Cancelled { .. } | TeachError::NotBegun))
            || matches!(cause.downcast_ref(), Some(DistillError::Cancelled { .. }))
            || matches!(cause.downcast_ref(), Some(QuantizeError::Cancelled));
        if cancelled {
            return 130;
        }
        // A `FileError` in a transparent variant (`OnnxError::File`, …) is not in the chain itself, its source is.
        if let Some(io) = cause.downcast_ref::<std::io::Error>() {
            let is_full = matches!(io.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded);
            return if is_full { 8 } else { 2 };
        }
    }
    let refused = |e: &(dyn std::error::Error + 'static)| {
        e.is::<OnnxError>()
            || e.is::<EngineError>()
            || e.is::<AdaptError>()
            || e.is::<BundleError>()
            || e.is::<AnswersError>()
            || e.is::<MergeError>()
            || e.is::<limbeck_answers::CardError>()
            || e.is::<TeachError>()
            || e.is::<DistillError>()
            || e.is::<QuantizeError>()
            || e.is::<limbeck_report::ReportError>()
    };
    let named_wrongly = |e: &(dyn std::error::Error + 'static)| {
        e.is::<limbeck_data::DataError>()
            || e.is::<limbeck_boards::BoardError>()
            || e.is::<limbeck_store::StoreError>()
            || e.is::<limbeck_bundle::KeyError>()
            || e.is::<limbeck_measure::energy::EnergyError>()
            || matches!(e.downcast_ref(), Some(TeachError::EmptyPart { .. }))
    };
    if error.chain().any(named_wrongly) {
        2
    } else if error.chain().any(refused) {
        9
    } else {
        1
    }
}
