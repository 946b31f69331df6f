//! Cold starts: `--cold` starts this program several times and waits for each; every one of them is a `--cold-start`.
//!
//! Under an emulator in front of the program (`qemu-aarch64 agent …`) a program cannot start itself: the kernel does not know its
//! format. Then the one in front has to be started several times, with `--cold-start`, and `ColdStarts::of` puts the lines together.

use std::path::Path;
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context, Result};
use limbeck_bundle::Bundle;
use limbeck_measure::{ColdRecord, ColdStart, ColdStarts, Conditions, Edges, Environment, Validity, raw_now_ns};
use serde::Deserialize;

use super::options::ConditionOptions;
use super::{Inferences, code};
use crate::loaded::Loaded;
use crate::output::{ColdStartFailed, Line, Refused, emit};

/// The line of a process that was started here.
#[derive(Deserialize)]
struct Started {
    kind: String,
    #[serde(flatten)]
    start: ColdStart,
}

/// Start this program `count` times.
pub fn cold(bundle: &Path, count: u32, conditions: &ConditionOptions) -> Result<ExitCode> {
    conditions.settle();
    // Processes that are started from here stay on these cores.
    conditions.pin()?;
    let (root, setting) = (conditions.root(), conditions.setting());
    let start = Conditions::read_from(root);
    let before = Environment::read_from(root).before(start);
    let starts = (0..count).map(|_| started(bundle)).collect::<Result<Vec<_>>>()?;
    let edges = Edges { start, end: Conditions::read_from(root) };
    let cold = ColdStarts::of(starts).context("no cold start was asked for")?;
    let validity = Validity::judge(&setting.limits, &before, &[edges]);
    let code = code(&validity);
    emit(&Line { kind: "cold", record: ColdRecord { cold, validity, setting } })?;
    Ok(code)
}

/// One process.
fn started(bundle: &Path) -> Result<ColdStart> {
    let program = std::env::current_exe().context("where this program is")?;
    let mut command = Command::new(&program);
    command.arg("bench").arg(bundle).arg("--cold-start").stdin(Stdio::null()).stderr(Stdio::inherit());
    let output = command.arg("--started-at").arg(raw_now_ns().to_string()).output();
    let output = output.with_context(|| {
        let way_out = "under an emulator, start it several times with `bench BUNDLE --cold-start` instead";
        format!("{} cannot start itself; {way_out}", program.display())
    })?;
    if !output.status.success() {
        let (status, code) =
            (output.status, output.status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1));
        return Err(ColdStartFailed { status, code }.into());
    }
    let lines = String::from_utf8_lossy(&output.stdout);
    let found = lines.lines().filter_map(|line| serde_json::from_str::<Started>(line).ok());
    let found = found.filter(|line| line.kind == "cold-start").map(|line| line.start).next();
    found.context("a cold start printed no `cold-start` line")
}

/// This process is the cold start.
pub fn cold_start(bundle: &Path, conditions: &ConditionOptions) -> Result<ExitCode> {
    let begin = raw_now_ns();
    let read = Bundle::read(bundle).map_err(|e| Refused(e.to_string()))?;
    let read_at = raw_now_ns();
    let loaded = Loaded::of(read, bundle)?;
    let worker = loaded.student.worker()?;
    let compiled_at = raw_now_ns();
    let mut inferences = Inferences::of(&loaded, worker)?;
    let first = raw_now_ns();
    inferences.run()?;
    let first_end = raw_now_ns();
    std::hint::black_box(limbeck_engine::argmax(&inferences.logits));
    let answered = raw_now_ns();
    let millis = |from: u64, to: u64| to.saturating_sub(from) as f64 / 1e6;
    let record = ColdStart {
        load_ms: millis(begin, read_at),
        compile_ms: millis(read_at, compiled_at),
        first_ms: millis(first, first_end),
        answer_ms: conditions.started_at.map(|started| millis(started, answered)),
    };
    emit(&Line { kind: "cold-start", record })?;
    Ok(ExitCode::SUCCESS)
}
