//! `limbeck validate`: accuracy of a bundle on a board, compared with this machine.

use std::path::PathBuf;

use anyhow::{Context, Result};
use limbeck_answers::Image;
use limbeck_bundle::Bundle;
use limbeck_data::{DataError, Dataset, Sample};
use limbeck_report::Accuracy;
use limbeck_runner::RunnerError;
use serde::Deserialize;

use crate::console::Console;
use crate::inputs::{ModelFile, threads};
use crate::record::{ReportArguments, put_accuracy};
use crate::verbs::deploy::{Deployed, OnBoard, deploy, put_board};
use crate::verbs::evaluate::evaluate;

/// Run a bundle's samples on a board: top-1, agreement with teacher and host, one hash over every integer.
#[derive(clap::Args, Clone, Debug)]
pub struct Arguments {
    /// The bundle; it is installed first.
    pub bundle: PathBuf,
    #[command(flatten)]
    pub on: OnBoard,
    /// Threads on the board (default: as many as this machine has for local and emulated boards).
    #[arg(long)]
    pub threads: Option<usize>,
    #[command(flatten)]
    pub report: ReportArguments,
}

/// The agent's line, `runtime/agent/src/output.rs`.
#[derive(Deserialize)]
struct Validation {
    n: usize,
    labelled: usize,
    correct: usize,
    answered: usize,
    agreeing: usize,
    integers: u64,
    digest: String,
    classes: Vec<usize>,
    seconds: f64,
}

/// See the module.
pub fn run(arguments: &Arguments, console: &Console) -> Result<()> {
    let deployed = deploy(&arguments.bundle, &arguments.on, console)?;
    validate(&deployed, arguments, console)
}

/// Validate what is deployed.
pub fn validate(deployed: &Deployed, arguments: &Arguments, console: &Console) -> Result<()> {
    let name = &deployed.board.name;
    let wanted = threads(arguments.threads).to_string();
    let stage = console.stage("validate", "images");
    let on_board: Validation = agent_result(deployed, &["validate", "--threads", &wanted], "validate")?;
    limbeck_data::Watch::progress(&stage, on_board.n, on_board.n);
    stage.done(name);
    // The same samples here, from the same file.
    let bundle = Bundle::read(&arguments.bundle)?;
    let model = ModelFile {
        path: arguments.bundle.clone(),
        model: limbeck_engine::onnx::Model::parse(&bundle.student, &arguments.bundle)?,
        card: bundle.card.clone(),
    };
    let stage = console.stage("validate", "images");
    let host = evaluate(&model, &Bundled(&bundle), None, threads(None), &stage)?;
    stage.done("this machine, for comparison");
    let same = host.classes.iter().zip(&on_board.classes).filter(|(a, b)| a == b).count();
    let share = |part: usize, all: usize| (all > 0).then(|| part as f64 / all as f64);
    let top1 = share(on_board.correct, on_board.labelled);
    let agreement = share(on_board.agreeing, on_board.answered);
    let percent = |v: Option<f64>| v.map_or("-".into(), |v| format!("{:.2}%", v * 100.0));
    let (host_count, host_digest) = host.integers.clone().unwrap_or_default();
    let equal = host_count == on_board.integers && (host_count == 0 || host_digest == on_board.digest);
    let printed = console.print(format!(
        "{name}: top-1 {} ({} of {}), agrees with teacher {}, with this machine {}, {} integers {} {}",
        percent(top1),
        on_board.correct,
        on_board.labelled,
        percent(agreement),
        percent(share(same, on_board.n)),
        on_board.integers,
        on_board.digest,
        match equal {
            true if host_count == 0 => "(float: not compared bit by bit)",
            false if !host.exact => "(not this machine's: float sums come before integers in this student)",
            true => "= this machine's",
            false => "DIFFER from this machine's",
        }
    ));
    let kind = if on_board.integers > 0 { "int8" } else { "float" };
    let row = Accuracy {
        subject: format!("{kind} on {name}"),
        top1,
        correct: on_board.correct as u64,
        n: on_board.labelled as u64,
        agreement_with_teacher: agreement,
        agreement_with_host: share(same, on_board.n),
        // A hash stands for a promise; without one there is nothing to compare.
        integers_hash: (on_board.integers > 0 && host.exact).then(|| on_board.digest.clone()),
        how: format!("limbeck-agent validate on the board, {} samples in {:.1} s", on_board.n, on_board.seconds),
    };
    arguments.report.update(|report| {
        put_board(report, deployed);
        put_accuracy(report, row);
    })?;
    // A mismatch is an error even when nobody reads the line that says so.
    if equal || !host.exact {
        printed
    } else {
        Err(crate::exit::failed(format!(
            "{name} computed other integers than this machine ({} against {host_digest}); please report this",
            on_board.digest
        )))
    }
}

/// Run a verb of the agent and read its result line.
pub fn agent_result<T: serde::de::DeserializeOwned>(deployed: &Deployed, verb: &[&str], kind: &str) -> Result<T> {
    #[derive(Deserialize)]
    struct Kind {
        #[serde(default)]
        kind: String,
    }
    let name = &deployed.board.name;
    let mut found: Option<String> = None;
    let keep = &mut |line: &str| {
        if serde_json::from_str::<Kind>(line).is_ok_and(|k| k.kind == kind) {
            found = Some(line.to_owned());
        }
    };
    let run = deployed.installed.agent(verb, deployed.installed.timeout(), keep);
    // A measurement that does not count was made all the same, and its line says why.
    let is_invalid = matches!(run, Err(RunnerError::Agent { code: 5, .. }));
    if !is_invalid || found.is_none() {
        run.with_context(|| format!("board {name}: agent {}", verb.join(" ")))?;
    }
    let line = found.with_context(|| format!("board {name}: the agent printed no `{kind}` line"))?;
    serde_json::from_str(&line).with_context(|| format!("board {name}: the agent's `{kind}` line"))
}

/// A bundle's samples as a data set.
struct Bundled<'a>(&'a Bundle);

impl Dataset for Bundled<'_> {
    fn name(&self) -> &str {
        "the bundle's samples"
    }
    fn labels(&self) -> &[String] {
        &self.0.card.labels
    }
    fn len(&self) -> usize {
        self.0.samples.len()
    }
    fn id(&self, i: usize) -> String {
        i.to_string()
    }
    fn sample(&self, i: usize) -> Result<Sample, DataError> {
        let found =
            self.0.samples.get(i).ok_or(DataError::NoSample { name: self.name().into(), len: self.len(), index: i })?;
        let image: Image = found.image.clone();
        Ok(Sample { image, label: found.label, objects: vec![], mask: None })
    }
    fn leaf(&self, i: usize) -> Result<[u8; 32], DataError> {
        Ok(limbeck_files::merkle::leaf(&self.sample(i)?.image.rgb))
    }
}
