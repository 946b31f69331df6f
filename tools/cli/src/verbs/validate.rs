//! `limbeck validate`: accuracy of a bundle on a board, compared with this machine.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};
use limbeck_answers::Image;
use limbeck_bundle::Bundle;
use limbeck_data::{DataError, Dataset, Sample};
use limbeck_report::{Accuracy, Agreement, Confusion, HostDifference};
use limbeck_runner::RunnerError;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::json;

use crate::budgets::{budgets_of, kept, put_budgets};
use crate::console::Console;
use crate::exit::failed;
use crate::inputs::{ModelFile, threads};
use crate::record::{ReportArguments, put_accuracy};
use crate::verbs::deploy::{Deployed, OnBoard, deploy, put_board};
use crate::verbs::evaluate::{Evaluation, evaluate};

/// Run a bundle's samples on a board: top-1, agreement with teacher and host, one hash over every integer.
#[derive(clap::Args, Clone, Debug)]
pub struct Arguments {
    /// The bundle; it is installed first.
    pub bundle: PathBuf,
    #[command(flatten)]
    pub on: OnBoard,
    /// Threads on the board (default: its cores).
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
    outputs: Vec<Vec<f32>>,
    seconds: f64,
}

/// The row of an int8 student on this machine, as `pipeline` calls it.
const HERE: &str = "int8 in limbeck";

/// How far float outputs of two machines may be apart, as a share of the largest (or of 1): sums of a few thousand products in
/// another order, each rounded to 2^-24.
const FLOAT_TOLERANCE: f64 = 1e-4;

/// See the module.
pub fn run(arguments: &Arguments, console: &Console) -> Result<()> {
    let deployed = deploy(&arguments.bundle, &arguments.on, console)?;
    validate(&deployed, arguments, console)
}

/// Validate what is deployed.
pub fn validate(deployed: &Deployed, arguments: &Arguments, console: &Console) -> Result<()> {
    let name = &deployed.board.name;
    let cores = deployed.installed.preflight().and_then(|preflight| preflight.facts.cpus);
    let wanted = threads(arguments.threads.or(cores.and_then(|n| usize::try_from(n).ok()))).to_string();
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
    let comparison = Comparison { on_board: &on_board, host: &host, bundle: &bundle };
    let row = comparison.row(name);
    let text = comparison.text(name, &row);
    arguments.report.update(|report| {
        put_board(report, deployed);
        // What the board is held against, unless `evaluate` said it already.
        let here = host.row(HERE, "limbeck on this machine, the same samples");
        if here.integers_hash.is_some() && host.exact && report.accuracy.iter().all(|row| row.subject != HERE) {
            put_accuracy(report, here);
        }
        put_accuracy(report, row.clone());
        put_budgets(report, &bundle.manifest.budgets, name);
    })?;
    let record = json!({ "board": name, "accuracy": row, "integers": on_board.integers, "seconds": on_board.seconds });
    let printed = console.result("validate", &record, || text);
    // A mismatch is an error even when nobody reads the line that says so.
    comparison.judge(name, &row)?;
    kept(&budgets_of(&bundle.manifest.budgets, name, &row), name)?;
    printed
}

/// What a student did on a board, beside what it did here.
struct Comparison<'a> {
    on_board: &'a Validation,
    host: &'a Evaluation,
    bundle: &'a Bundle,
}

impl Comparison<'_> {
    /// The report's row.
    fn row(&self, board: &str) -> Accuracy {
        let Comparison { on_board, host, bundle } = *self;
        let same = host.classes.iter().zip(&on_board.classes).filter(|(a, b)| a == b).count();
        let share = |part: usize, all: usize| (all > 0).then(|| part as f64 / all as f64);
        let mut confusion = Confusion::new(bundle.card.labels.clone());
        for (sample, &class) in bundle.samples.iter().zip(&on_board.classes) {
            if let Some(label) = sample.label {
                confusion.add(label.into(), class);
            }
        }
        let kind = if on_board.integers > 0 { "int8" } else { "float" };
        let (same_as_teacher, answered) = (on_board.agreeing as u64, on_board.answered as u64);
        Accuracy {
            subject: format!("{kind} on {board}"),
            top1: share(on_board.correct, on_board.labelled),
            correct: on_board.correct as u64,
            n: on_board.labelled as u64,
            agreement_with_teacher: share(on_board.agreeing, on_board.answered),
            agreement_with_host: share(same, on_board.n),
            agreement: (answered > 0).then(|| Agreement { same: same_as_teacher, n: answered, ..Agreement::default() }),
            host_difference: self.difference(),
            confusion: (on_board.labelled > 0).then_some(confusion),
            // A hash stands for a promise; without one there is nothing to compare.
            integers_hash: (on_board.integers > 0 && host.exact).then(|| on_board.digest.clone()),
            how: format!("limbeck-agent validate on the board, {} samples in {:.1} s", on_board.n, on_board.seconds),
        }
    }

    /// How far float outputs are apart; none where integers are compared, or nothing.
    fn difference(&self) -> Option<HostDifference> {
        let pairs = || self.host.outputs.iter().flatten().zip(self.on_board.outputs.iter().flatten());
        let largest = pairs().map(|(here, _)| f64::from(here.abs())).fold(0.0, f64::max);
        // NaN must not vanish in `max`: what is no number is infinitely far from one.
        let apart = |(a, b): (&f32, &f32)| if a == b { 0.0 } else { f64::from((a - b).abs()) };
        let known = |d: f64| if d.is_nan() { f64::INFINITY } else { d };
        let max_abs = pairs().map(|pair| known(apart(pair))).reduce(f64::max)?;
        Some(HostDifference { max_abs, tolerance: FLOAT_TOLERANCE * largest.max(1.0) })
    }

    fn integers_are_equal(&self) -> bool {
        let (count, digest) = self.host.integers.clone().unwrap_or_default();
        count == self.on_board.integers && (count == 0 || digest == self.on_board.digest)
    }

    fn text(&self, board: &str, row: &Accuracy) -> String {
        let percent = |v: Option<f64>| v.map_or("-".into(), |v| format!("{:.2}%", v * 100.0));
        let Validation { correct, labelled, integers, digest, .. } = self.on_board;
        let how = match row.host_difference {
            Some(HostDifference { max_abs, .. }) if *integers == 0 => format!("(float: at most {max_abs:.1e} apart)"),
            _ if !self.host.exact => "(not this machine's: float sums come before integers in this student)".into(),
            _ if self.integers_are_equal() => "= this machine's".into(),
            _ => "DIFFER from this machine's".into(),
        };
        format!(
            "{board}: top-1 {} ({correct} of {labelled}), agrees with teacher {}, with this machine {}, {integers} integers {digest} {how}",
            percent(row.top1),
            percent(row.agreement_with_teacher),
            percent(row.agreement_with_host),
        )
    }

    /// The same integers, or floats that are close enough.
    fn judge(&self, board: &str, row: &Accuracy) -> Result<()> {
        if self.host.exact && !self.integers_are_equal() {
            let host = self.host.integers.as_ref().map_or("none", |(_, digest)| digest);
            let digest = &self.on_board.digest;
            return Err(failed(format!(
                "{board} computed other integers than this machine ({digest} against {host}); please report this"
            )));
        }
        match row.host_difference {
            Some(HostDifference { max_abs, tolerance }) if max_abs > tolerance => Err(failed(format!(
                "{board}: outputs differ from this machine's by {max_abs:.2e}, and {tolerance:.2e} is allowed; please report this"
            ))),
            _ => Ok(()),
        }
    }
}

/// Run a verb of the agent and read its result line.
pub fn agent_result<T: DeserializeOwned>(deployed: &Deployed, verb: &[impl AsRef<str>], kind: &str) -> Result<T> {
    agent_lines(deployed, verb, kind, deployed.installed.timeout(), &mut |_| ())
}

/// The same, with a deadline of its own; `other` sees the lines of other kinds as they come.
pub fn agent_lines<T: DeserializeOwned>(
    deployed: &Deployed,
    verb: &[impl AsRef<str>],
    kind: &str,
    deadline: Duration,
    other: &mut dyn FnMut(&str),
) -> Result<T> {
    #[derive(Deserialize)]
    struct Kind {
        #[serde(default)]
        kind: String,
    }
    let name = &deployed.board.name;
    let mut found: Option<String> = None;
    let keep = &mut |line: &str| match serde_json::from_str::<Kind>(line) {
        Ok(k) if k.kind == kind => found = Some(line.to_owned()),
        _ => other(line),
    };
    let verb: Vec<&str> = verb.iter().map(AsRef::as_ref).collect();
    let run = deployed.installed.agent(&verb, deadline, keep);
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
