//! `limbeck adapt`: bundle + local images + the teacher's answers → a better bundle, made on the board.
//!
//! ```text
//! $ limbeck adapt student.limbeck --board qemu-aarch64 --images local --answers local.answers --memory 24MiB --time 10m
//! ```
//!
//! The bundle is installed, images and answers are copied to the board, and the agent there trains the student and judges it on
//! samples that it held out. Only a better student becomes the board's current install; `limbeck-agent` in `runtime/agent/src/adapt`
//! does all of it, and would without this machine. Ended by Ctrl-C, a kill or a time-out, the same command goes on from the last
//! checkpoint on the board.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use limbeck_answers::{Answers, Card, Expected};
use limbeck_boards::Board;
use limbeck_bundle::Bundle;
use limbeck_data::{Dataset, FolderOptions, ImageFolder, Watch};
use limbeck_report::{Adaptation, BeforeAfter};
use limbeck_runner::{Installed, RunnerError};
use serde::Deserialize;

use crate::console::{Console, Stage};
use crate::inputs::prepare_out;
use crate::record::ReportArguments;
use crate::verbs::deploy::{OnBoard, deploy};

/// Tune a student on the board against shipped teacher answers; the board keeps the better of old and new.
#[derive(clap::Args, Clone, Debug)]
pub struct Arguments {
    /// The bundle, which is installed first.
    #[arg(required_unless_present = "installed", conflicts_with = "installed")]
    pub bundle: Option<PathBuf>,
    /// Adapt what is current on the board.
    #[arg(long)]
    pub installed: bool,
    #[command(flatten)]
    pub on: OnBoard,
    /// Folder of images that the board sees (`<class>/*.jpg|png`, or unlabelled).
    #[arg(long)]
    pub images: PathBuf,
    /// The teacher's answers over those images (`limbeck teach --data IMAGES`).
    #[arg(long)]
    pub answers: PathBuf,
    /// Where to put the accepted bundle here.
    #[arg(long)]
    pub out: Option<PathBuf>,
    #[command(flatten)]
    pub recipe: Passed,
    #[command(flatten)]
    pub report: ReportArguments,
}

/// Options that the agent reads; its own defaults stand where nothing is said.
#[derive(clap::Args, Clone, Debug, Default)]
pub struct Passed {
    /// Tensors to train: all, last:N, biases, name:PATTERN,…
    #[arg(long)]
    pub select: Option<String>,
    /// Most memory that training may take on the board, such as 24MiB.
    #[arg(long)]
    pub memory: Option<String>,
    /// Longest the board may take, such as 60s or 10m.
    #[arg(long)]
    pub time: Option<String>,
    /// Passes over the images.
    #[arg(long)]
    pub epochs: Option<String>,
    /// Samples a step.
    #[arg(long)]
    pub batch: Option<String>,
    /// Peak learning rate; a cosine brings it to zero.
    #[arg(long)]
    pub rate: Option<String>,
    /// Update rule: adam, sgd.
    #[arg(long)]
    pub optimiser: Option<String>,
    /// Temperature of the softened distributions.
    #[arg(long)]
    pub temperature: Option<String>,
    /// Weight of the cross-entropy with the folder's labels.
    #[arg(long)]
    pub label_weight: Option<String>,
    /// Weight decay.
    #[arg(long)]
    pub weight_decay: Option<String>,
    /// Largest L2 norm of a step's gradients.
    #[arg(long)]
    pub clip: Option<String>,
    /// Share of the images that only judge.
    #[arg(long)]
    pub hold_out: Option<String>,
    /// How much the loss on the bundle's replay set may rise, as a share of what it was.
    #[arg(long)]
    pub margin: Option<String>,
    /// Do not train on any of the replay set.
    #[arg(long)]
    pub no_rehearsal: bool,
    /// Draws the split, and the order of samples and views.
    #[arg(long)]
    pub seed: Option<String>,
    /// Threads on the board.
    #[arg(long)]
    pub threads: Option<String>,
    /// Stop above this temperature, in °C.
    #[arg(long)]
    pub max_temperature: Option<String>,
    /// Steps from one checkpoint to the next.
    #[arg(long)]
    pub checkpoint_every: Option<String>,
}

impl Passed {
    fn words(&self) -> Vec<String> {
        let valued = [
            ("--select", &self.select),
            ("--memory", &self.memory),
            ("--time", &self.time),
            ("--epochs", &self.epochs),
            ("--batch", &self.batch),
            ("--rate", &self.rate),
            ("--optimiser", &self.optimiser),
            ("--temperature", &self.temperature),
            ("--label-weight", &self.label_weight),
            ("--weight-decay", &self.weight_decay),
            ("--clip", &self.clip),
            ("--hold-out", &self.hold_out),
            ("--margin", &self.margin),
            ("--seed", &self.seed),
            ("--threads", &self.threads),
            ("--max-temperature", &self.max_temperature),
            ("--checkpoint-every", &self.checkpoint_every),
        ];
        let given = valued.into_iter().filter_map(|(name, value)| Some(format!("{name}={}", value.as_ref()?)));
        given.chain(self.no_rehearsal.then(|| "--no-rehearsal".into())).collect()
    }
}

/// The agent's lines, `runtime/agent/src/adapt/lines.rs`.
#[derive(Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
enum Line {
    Plan(Plan),
    Progress { step: usize, steps: usize, loss: f32, agreement: f32 },
    Adapt(Outcome),
}

#[derive(Deserialize)]
struct Plan {
    selection: String,
    trained: Vec<String>,
    trained_values: u64,
    samples: u64,
    held_out: usize,
    views: usize,
    rehearsed: usize,
    replay: usize,
    steps: usize,
    predicted_peak_bytes: Option<u64>,
    memory_budget_bytes: Option<u64>,
    time_budget_s: Option<f64>,
    recipe: String,
    checkpoint: String,
}

#[derive(Deserialize)]
struct Outcome {
    accepted: bool,
    why: String,
    held_out: Option<BeforeAfter>,
    replay: Option<BeforeAfter>,
    steps: u64,
    planned_steps: u64,
    stopped: Option<String>,
    seconds: f64,
    memory: Memory,
    parent_sha256: String,
    bundle_sha256: Option<String>,
    slot: Option<u32>,
}

#[derive(Deserialize)]
struct Memory {
    training_peak_bytes: Option<u64>,
    process_peak_bytes: Option<u64>,
    counts: String,
}

/// Longest that the board may take where no time limit is given.
const NO_LIMIT: Duration = Duration::from_secs(7 * 24 * 3600);

/// See the module.
pub fn run(arguments: &Arguments, console: &Console) -> Result<()> {
    if let Some(out) = &arguments.out {
        prepare_out(out)?;
    }
    let (name, installed) = match &arguments.bundle {
        Some(bundle) => {
            // What does not fit together is refused before anything is built or copied.
            let bundle_card = Bundle::read(bundle)?.card;
            files(arguments, Some(&bundle_card))?;
            let deployed = deploy(bundle, &arguments.on, console)?;
            (deployed.board.name, deployed.installed)
        }
        None => {
            let board = Board::find(&arguments.on.board)?;
            let installed = Installed::open(&board).with_context(|| format!("board {}", board.name))?;
            (board.name, installed)
        }
    };
    console.check()?;
    let (key, files) = files(arguments, None)?;
    let folder = Path::new("adapt").join(key);
    console.say(format!("adapt      {name}: copying {} files", files.len()));
    let there = installed.send(&folder, &files).with_context(|| format!("board {name}"))?;

    let stage = console.stage("adapt", "steps");
    let (lines, ended) = on_board(arguments, &installed, &there, console, &stage)?;
    let (plan, outcome) = match (lines, ended) {
        // Rolled back: the agent has said all there is to say.
        ((Some(plan), Some(outcome)), Ok(()) | Err(RunnerError::Agent { code: 10, .. })) => (plan, outcome),
        (_, Err(error)) => return Err(anyhow::Error::from(error).context(format!("board {name}"))),
        (_, Ok(())) => anyhow::bail!("board {name}: the agent did not say what came out"),
    };
    stage.done(&format!("{name}: {}", plan.recipe));
    // Done, one way or the other: what was copied and the checkpoints have served.
    if let Err(e) = installed.remove(&folder) {
        log::warn!("{e}; the copied images stay on the board");
    }
    console.print(text(&name, plan.predicted_peak_bytes, &outcome))?;
    if let (Some(out), Some(slot), Some(sha256)) = (&arguments.out, outcome.slot, &outcome.bundle_sha256) {
        installed.fetch_bundle(slot, out, sha256).with_context(|| format!("board {name}"))?;
        console.say(format!("fetched    {}", out.display()));
    }
    let (accepted, why) = (outcome.accepted, outcome.why.clone());
    let record = record(&name, plan, outcome);
    arguments.report.update(|report| report.adaptation = Some(record))?;
    if accepted {
        return Ok(());
    }
    Err(crate::exit::rolled_back(format!("board {name}: rolled back, the old student stays: {why}")))
}

/// The images and answers as files to send, and the name of the folder for them: that of their contents. With a card, also whether
/// they belong together.
fn files(arguments: &Arguments, card: Option<&Card>) -> Result<(String, Vec<(PathBuf, PathBuf)>)> {
    let options = FolderOptions { labels: card.map(|c| c.labels.clone()), ..FolderOptions::default() };
    let images = ImageFolder::open(&arguments.images, &options)?;
    let answers = Answers::open(&arguments.answers)?;
    let (dataset_sha256, labels) = (Some(images.sha256()?), card.map(|c| c.labels.clone()));
    answers.check(&Expected { dataset_sha256, labels, ..Expected::default() })?;
    let mut files: Vec<(PathBuf, PathBuf)> =
        (0..images.len()).map(|i| (images.file(i).to_owned(), Path::new("images").join(images.id(i)))).collect();
    files.push((arguments.answers.clone(), "answers".into()));
    Ok((answers.sha256()[..16].to_owned(), files))
}

type Said = (Option<Plan>, Option<Outcome>);

/// Run the agent's `adapt`, with live progress. What it said, and how it ended.
fn on_board(
    arguments: &Arguments,
    installed: &Installed,
    there: &Path,
    console: &Console,
    stage: &Stage,
) -> Result<(Said, Result<(), RunnerError>)> {
    let at = |name: &str| there.join(name).display().to_string();
    let workdir = installed.workdir().display().to_string();
    let mut words = ["adapt", "--images", &at("images"), "--answers", &at("answers"), "--work", &at("work")]
        .map(str::to_owned)
        .to_vec();
    words.extend(["--install".to_owned(), workdir]);
    words.extend(arguments.recipe.words());
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let mut said: Said = (None, None);
    let mut bad = None;
    // Its own time limit is the agent's to keep; this one is for an agent that hangs.
    let run = installed.agent(&words, NO_LIMIT, &mut |line| match serde_json::from_str(line) {
        Ok(Line::Plan(plan)) => {
            stage.progress(0, plan.steps);
            console.say(format!("plan       {}", about(&plan)));
            said.0 = Some(plan);
        }
        Ok(Line::Progress { step, steps, loss, agreement }) => {
            stage.progress(step, steps);
            stage.note(&format!("loss {loss:.4} agree {:.1}%", agreement * 100.0));
        }
        Ok(Line::Adapt(outcome)) => said.1 = Some(outcome),
        // The header has no kind.
        Err(e) if line.contains("\"kind\"") => bad = Some(format!("{e}: {line}")),
        Err(_) => {}
    });
    if let Some(bad) = bad {
        anyhow::bail!("a line of the agent is not understood: {bad}");
    }
    Ok((said, run.map(|_| ())))
}

fn mib(bytes: Option<u64>) -> String {
    bytes.map_or("unknown".into(), |bytes| format!("{:.1} MiB", bytes as f64 / 1048576.0))
}

fn about(plan: &Plan) -> String {
    let (tensors, values) = (plan.trained.len(), plan.trained_values);
    let checkpoint =
        if plan.checkpoint == "none" { String::new() } else { format!(", checkpoint {}", plan.checkpoint) };
    format!(
        "{} ({tensors} tensors, {values} values), {} samples, {} held out, {} views, {} rehearsed, {} replayed, {} of memory predicted{checkpoint}",
        plan.selection,
        plan.samples,
        plan.held_out,
        plan.views,
        plan.rehearsed,
        plan.replay,
        mib(plan.predicted_peak_bytes)
    )
}

fn text(board: &str, predicted: Option<u64>, outcome: &Outcome) -> String {
    let verdict = if outcome.accepted { "accepted" } else { "rolled back" };
    let percent = |v: Option<f64>| v.map_or("-".into(), |v| format!("{:.2}%", v * 100.0));
    let mut text = format!("{board}: {verdict}: {}\n", outcome.why);
    for (name, set) in [("held out", &outcome.held_out), ("replay", &outcome.replay)] {
        let Some(BeforeAfter { shown, before, after }) = set else { continue };
        text += &format!(
            "  {name:9} {shown} shown: loss {:.4} → {:.4}, agrees {} → {}, top-1 {} → {}\n",
            before.loss,
            after.loss,
            percent(Some(before.agreement)),
            percent(Some(after.agreement)),
            percent(before.top1),
            percent(after.top1),
        );
    }
    text += &format!(
        "  {} of {} steps in {:.1} s{}, training memory {} of {} predicted, process {}",
        outcome.steps,
        outcome.planned_steps,
        outcome.seconds,
        outcome.stopped.as_ref().map_or(String::new(), |s| format!(" (stopped by {s})")),
        mib(outcome.memory.training_peak_bytes),
        mib(predicted),
        mib(outcome.memory.process_peak_bytes),
    );
    text
}

fn record(board: &str, plan: Plan, outcome: Outcome) -> Adaptation {
    Adaptation {
        board: board.to_owned(),
        accepted: outcome.accepted,
        why: outcome.why,
        held_out: outcome.held_out,
        replay: outcome.replay,
        recipe: plan.recipe,
        samples: plan.samples,
        tensors: plan.trained.len() as u64,
        values: plan.trained_values,
        steps: outcome.steps,
        planned_steps: outcome.planned_steps,
        stopped: outcome.stopped,
        seconds: outcome.seconds,
        time_budget_s: plan.time_budget_s,
        predicted_peak_bytes: plan.predicted_peak_bytes,
        memory_budget_bytes: plan.memory_budget_bytes,
        training_peak_bytes: outcome.memory.training_peak_bytes,
        process_peak_bytes: outcome.memory.process_peak_bytes,
        memory_counts: outcome.memory.counts,
        parent_sha256: outcome.parent_sha256,
        bundle_sha256: outcome.bundle_sha256,
    }
}
