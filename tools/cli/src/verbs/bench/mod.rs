//! `limbeck bench`: latency, cold start, memory and energy of a bundle on a board; of an ONNX model, here ([`here`]).
//!
//! Passes, each a process of its own on the board: windows (protocol single-stream v1), cold starts, memory, operators; with
//! `--sustained` a line a minute in place of the windows. Circumstances that forbid to believe a number (throttling, heat, a moving
//! clock, other load) make it INVALID: it is shown, marked, and the exit code is 5.

mod entry;
pub mod here;
mod options;
mod words;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};
use limbeck_bundle::Bundle;
use limbeck_measure::energy::import_csv;
use limbeck_measure::{
    BenchRecord, ColdRecord, ColdStart, ColdStarts, MemoryRecord, Minute, SustainedRecord, Validity, parse_duration,
};
use limbeck_report::{Board, FigureKind, Node};
use serde::{Deserialize, Serialize};

use crate::budgets::{costs_of, kept, put_budgets};
use crate::console::Console;
use crate::exit::{judged, usage};
use crate::record::ReportArguments;
use crate::verbs::deploy::{Deployed, OnBoard, deploy, put_board};
use crate::verbs::validate::{agent_lines, agent_result};
use options::Circumstances;
pub use options::Passes;

/// Latency of one inference (protocol single-stream v1), cold starts, memory, energy.
///
/// A bundle is installed on a board and measured there. An ONNX file is measured here, in this process, on one thread; the last
/// word on stdout is then the score in milliseconds.
#[derive(clap::Args, Clone, Debug)]
pub struct Arguments {
    /// The bundle, which is installed first; or a model (*.onnx).
    #[arg(value_name = "BUNDLE|MODEL.onnx")]
    pub bundle: PathBuf,
    #[command(flatten)]
    pub on: OnBoard,
    #[command(flatten)]
    pub passes: Passes,
    #[command(flatten)]
    pub circumstances: Circumstances,
    #[command(flatten)]
    pub report: ReportArguments,
}

/// Exit code of a measurement that does not count.
const INVALID: u8 = 5;

/// What was measured on a board, and whether it counts.
pub struct Measured {
    /// As the report has it.
    pub board: Board,
    /// Why not; empty where it does.
    pub invalid: Vec<String>,
}

/// The agent's line about operators.
#[derive(Serialize, Deserialize)]
struct Operators {
    nodes: Vec<Node>,
}

/// See the module.
pub fn run(arguments: &Arguments, console: &Console) -> Result<()> {
    if arguments.bundle.extension().is_some_and(|e| e.eq_ignore_ascii_case("onnx")) {
        return here::bench(arguments, console);
    }
    let budgets = Bundle::read(&arguments.bundle)?.manifest.budgets;
    let deployed = deploy(&arguments.bundle, &arguments.on, console)?;
    let measured = measure(&deployed, &arguments.passes, &arguments.circumstances, console)?;
    let board = &measured.board;
    arguments.report.update(|report| {
        put(report, &deployed, board);
        put_budgets(report, &budgets, &board.board);
    })?;
    let mut costs = costs_of(&budgets, board);
    // A time in bad circumstances, or of an emulator, neither keeps a budget nor breaks it.
    costs.retain(|b| {
        let is_timed = matches!(b.kind, FigureKind::Latency | FigureKind::Energy);
        !is_timed || (!board.emulated && measured.invalid.is_empty())
    });
    kept(&costs, &board.board)?;
    let code = if measured.invalid.is_empty() { 0 } else { INVALID };
    judged(code, format!("{}: INVALID: {}", board.board, measured.invalid.join("; ")))
}

/// A first look at what is deployed, for `pipeline` and `demo`: quick, on a machine that does other things too, which is noted and
/// not judged. Heat, throttling and a moving clock still are, in the report.
pub fn look(deployed: &Deployed, report: &ReportArguments, console: &Console) -> Result<()> {
    let measured = measure(deployed, &Passes::default(), &Circumstances::any(), console)?;
    report.update(|report| put(report, deployed, &measured.board))
}

fn put(report: &mut limbeck_report::Report, deployed: &Deployed, board: &Board) {
    put_board(report, deployed);
    if let Some(entry) = report.boards.iter_mut().find(|b| b.board == board.board) {
        entry::take(entry, board);
    }
}

/// Measure what is deployed, pass by pass. Cold starts come first: windows load the machine, and its load is looked at.
fn measure(deployed: &Deployed, passes: &Passes, circumstances: &Circumstances, console: &Console) -> Result<Measured> {
    let board = &deployed.board;
    let emulated = board.is_emulated();
    let conditions = circumstances.arguments(board, emulated);
    let name = &board.name;
    let pass = |what: &[&str]| -> Vec<String> {
        ["bench"].iter().chain(what).map(|word| word.to_string()).chain(conditions.iter().cloned()).collect()
    };
    let deadline = deployed.installed.timeout() + circumstances.longest_wait()?;
    let mut measured = Measured { board: entry::of(name, emulated), invalid: vec![] };
    let mut judge = |validity: &Validity, entry: &mut Board| {
        for reason in &validity.invalid {
            console.say(format!("  INVALID: {reason}"));
            measured.invalid.push(reason.to_string());
        }
        entry::put_validity(entry, validity);
    };
    let entry = &mut measured.board;

    if !passes.latency_only {
        let cold = cold_starts(deployed, passes.cold_starts, emulated, deadline, &pass)?;
        if let Some(validity) = &cold.validity {
            judge(validity, entry);
        }
        entry.cold = Some(entry::cold(&cold.starts));
        console.result("cold", &cold.starts, || words::cold(name, &cold.starts))?;
    }
    let mut energy_failed = None;
    if let Some(length) = &passes.sustained {
        console.say(format!("bench      {name}: sustained, {length}"));
        let mut minutes = vec![];
        let deadline = deadline + parse_duration(length).map_err(usage)?;
        let words = pass(&["--sustained", length]);
        let record: SustainedRecord = agent_lines(deployed, &words, "sustained", deadline, &mut |line| {
            if let Ok(minute) = serde_json::from_str::<Minute>(line) {
                console.say(words::minute(&minute));
                minutes.push(minute);
            }
        })?;
        judge(&record.validity, entry);
        entry.environment = entry::environment(&record.environment);
        entry.sustained = Some(entry::sustained(&record, &minutes));
        console.result("sustained", &record, || words::sustained(name, &record))?;
    } else {
        console.say(format!("bench      {name}: {}", passes.in_words()));
        let words = pass(&circumstances.with_energy(&passes.length()));
        let mut record: BenchRecord = agent_lines(deployed, &words, "bench", deadline, &mut |_| ())?;
        if let Some(csv) = &circumstances.energy_csv {
            match import_csv(csv).and_then(|imported| imported.energy(&record.latency, None)) {
                Ok(energy) => record.energy = Some(energy),
                // What was measured is said first.
                Err(error) => energy_failed = Some(error),
            }
        }
        judge(&record.validity, entry);
        entry::put_bench(entry, &record);
        console.result("bench", &record, || words::bench(name, &record, emulated))?;
        for warning in &record.latency.warnings {
            console.say(format!("  {warning}"));
        }
    }
    if !passes.latency_only {
        let memory: MemoryRecord = agent_result(deployed, &pass(&["--memory"]), "memory")?;
        entry.memory = Some(entry::memory(&memory));
        console.result("memory", &memory, || words::memory(name, &memory))?;
        let operators: Operators = agent_result(deployed, &["profile".to_owned()], "profile")?;
        console.result("operators", &operators, || words::operators(name, &operators.nodes))?;
        entry.nodes = operators.nodes;
    }
    match energy_failed {
        Some(error) => Err(error.into()),
        None => Ok(measured),
    }
}

/// Cold starts, and whether they count; nobody says so of an emulator's.
struct Cold {
    starts: ColdStarts,
    validity: Option<Validity>,
}

/// Starts in fresh processes, one after the other.
fn cold_starts(
    deployed: &Deployed,
    starts: u32,
    emulated: bool,
    deadline: Duration,
    pass: &dyn Fn(&[&str]) -> Vec<String>,
) -> Result<Cold> {
    if !emulated {
        let words = pass(&[&format!("--cold={starts}")]);
        let record: ColdRecord = agent_lines(deployed, &words, "cold", deadline, &mut |_| ())?;
        return Ok(Cold { starts: record.cold, validity: Some(record.validity) });
    }
    // Behind an emulator a program cannot start itself, so each start comes from here.
    let one = |_| agent_result::<ColdStart>(deployed, &pass(&["--cold-start"]), "cold-start");
    let starts = (0..starts).map(one).collect::<Result<Vec<_>>>()?;
    Ok(Cold { starts: ColdStarts::of(starts).context("no cold start")?, validity: None })
}
