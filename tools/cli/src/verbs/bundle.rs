//! `limbeck bundle`: student + card + test samples → one deployable file.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::{Context, Result};
use limbeck_answers::{Answers, View};
use limbeck_bundle::{Budgets, Bundle, BundledSample, Probe, Replay, ReplaySample, Samples};
use limbeck_data::Dataset;
use limbeck_engine::{Student, argmax};
use limbeck_report::KeyValue;

use crate::console::Console;
use crate::inputs::{DataArguments, ModelFile, file_name, prepare_out};
use crate::record::ReportArguments;
use crate::verbs::sign::signed;

/// Samples whose integers the host computes for the board to repeat.
const PROBES: usize = 8;

/// Samples of a replay set, where nothing else is said.
pub const REPLAYED: u32 = 64;

/// Put student, card and test samples into one file that a board needs nothing else for.
#[derive(clap::Args, Clone, Debug)]
pub struct Arguments {
    /// The student (ONNX, float or int8); its card is the .toml beside it.
    #[arg(long)]
    pub student: PathBuf,
    /// Another card.
    #[arg(long)]
    pub card: Option<PathBuf>,
    #[command(flatten)]
    pub data: DataArguments,
    /// The teacher's answers over the same data, for agreement on the board.
    #[arg(long)]
    pub answers: Option<PathBuf>,
    /// Data that the student was distilled on: some of it goes along, so that adapting on the board forgets none of it.
    #[arg(long, value_name = "FOLDER|scenes", requires = "replay_answers")]
    pub replay: Option<String>,
    /// The teacher's answers over that data.
    #[arg(long, value_name = "FILE", requires = "replay")]
    pub replay_answers: Option<PathBuf>,
    /// Use the first N of its images only, as the answers do.
    #[arg(long, value_name = "N", requires = "replay")]
    pub replay_limit: Option<usize>,
    /// How many of its samples go along, spread evenly over it.
    #[arg(long, value_name = "N", default_value_t = REPLAYED, value_parser = clap::value_parser!(u32).range(1..))]
    pub replay_count: u32,
    /// Counts up from one release to the next: a board takes nothing older than it had.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub version: u64,
    /// What the student must reach on a board (TOML: min_top1, max_latency_us, [boards.<name>], ...).
    #[arg(long, value_name = "FILE.toml")]
    pub budgets: Option<PathBuf>,
    /// Sign it with this secret key (`limbeck key new`).
    #[arg(long, value_name = "FILE.key")]
    pub sign: Option<PathBuf>,
    /// The bundle to write.
    #[arg(long)]
    pub out: PathBuf,
    #[command(flatten)]
    pub report: ReportArguments,
}

/// See the module.
pub fn run(arguments: &Arguments, console: &Console) -> Result<()> {
    prepare_out(&arguments.out)?;
    let budgets = arguments.budgets.as_deref().map(Budgets::read).transpose()?.unwrap_or_default();
    let student = ModelFile::read(&arguments.student, arguments.card.as_deref())?;
    let dataset = arguments.data.open(&student.card, console)?;
    let answers = arguments.answers.as_deref().map(|path| student.answers(path, &dataset)).transpose()?;
    let mut samples = Samples::default();
    for i in 0..dataset.len() {
        let sample = dataset.sample(i)?;
        let teacher = match &answers {
            Some(answers) => {
                let mut logits = vec![0.0; answers.classes()];
                answers.logits_into(i as u64, View::Identity, &mut logits)?;
                u16::try_from(argmax(&logits)).ok()
            }
            None => None,
        };
        samples.push(BundledSample { image: sample.image, label: sample.label, teacher });
    }
    let engine = Student::load(&student.model).with_context(|| format!("student {}", student.path.display()))?;
    let probes = probes(&student, &engine, &samples)?;
    let mut sources = BTreeMap::from([
        ("student".to_owned(), limbeck_files::sha256_file(&student.path)?),
        ("data".to_owned(), dataset.sha256()?),
    ]);
    if let Some(answers) = &answers {
        sources.insert("answers".into(), answers.sha256().into());
        sources.insert("teacher".into(), answers.manifest().teacher.sha256.clone());
    }
    let onnx = limbeck_files::read(&student.path)?;
    let mut bundle = Bundle::new(&file_name(&student.path), onnx, student.card.clone(), samples);
    bundle.manifest.probes = probes;
    bundle.manifest.sources = sources;
    bundle = bundle.with_promises(arguments.version, budgets);
    if let Some(plan) = engine.whole_plan() {
        bundle = bundle.with_plan(plan.to_vec());
    }
    if let (Some(data), Some(answers)) = (&arguments.replay, &arguments.replay_answers) {
        let (data, limit, skip_corrupt) = (data.clone(), arguments.replay_limit, arguments.data.skip_corrupt);
        let dataset = DataArguments { data, limit, skip_corrupt }.open(&student.card, console)?;
        let answers = student.answers(answers, &dataset)?;
        bundle.manifest.sources.insert("replay answers".into(), answers.sha256().into());
        bundle.manifest.sources.insert("replay data".into(), dataset.sha256()?);
        bundle = bundle.with_replay(replay(&dataset, &answers, arguments.replay_count as usize)?);
    }
    console.check()?;
    if let Some(key) = &arguments.sign {
        bundle = signed(bundle, key)?;
    }
    bundle.write(&arguments.out)?;
    let bytes = limbeck_files::read(&arguments.out)?;
    let (samples, probes) = (bundle.samples.len(), bundle.manifest.probes.len());
    let replayed = bundle.replay.as_ref().map_or(0, |r| r.samples().len());
    console.say(format!(
        "bundle     {} ({} bytes: {samples} samples, {probes} probes, {replayed} replay samples)",
        arguments.out.display(),
        bytes.len()
    ));
    arguments.report.update(|report| {
        report.bundle = Some(limbeck_report::Bundle {
            name: file_name(&arguments.out),
            sha256: limbeck_files::sha256_hex(&bytes),
            bytes: bytes.len() as u64,
            contents: vec![
                KeyValue::new("student", format!("{}, {} bytes", bundle.manifest.name, bundle.student.len())),
                KeyValue::new("samples", samples.to_string()),
                KeyValue::new("probes", probes.to_string()),
                KeyValue::new("replay samples", replayed.to_string()),
                KeyValue::new("plan", bundle.plan.as_ref().map_or("none".into(), |p| format!("{} bytes", p.len()))),
                KeyValue::new("version", bundle.manifest.version.to_string()),
                KeyValue::new("signature", if bundle.signature().is_some() { "minisign" } else { "none" }),
            ],
            ..limbeck_report::Bundle::default()
        });
    })
}

/// `count` samples evenly over a data set, with the teacher's answers.
fn replay(dataset: &dyn Dataset, answers: &Answers, count: usize) -> Result<Replay> {
    let mut replay = Replay::new(answers.classes());
    let count = count.min(dataset.len());
    // Views are for training; what is remembered is the picture as it is.
    for i in (0..count).map(|i| i * dataset.len() / count) {
        let sample = dataset.sample(i)?;
        let mut teacher = vec![0.0; answers.classes()];
        answers.logits_into(i as u64, View::Identity, &mut teacher)?;
        replay.push(ReplaySample { image: sample.image, label: sample.label, teacher });
    }
    Ok(replay)
}

/// What this machine computes for the first samples.
fn probes(student: &ModelFile, engine: &Student, samples: &Samples) -> Result<Vec<Probe>> {
    let preprocess = student.preprocess(engine)?;
    let mut worker = engine.worker()?;
    let (mut x, mut logits) = (vec![0.0; preprocess.len()], vec![0.0; engine.output_len()]);
    let mut probes = vec![];
    for (sample, bundled) in samples.iter().enumerate().take(PROBES) {
        preprocess.run(&bundled.image, View::Identity, &mut x).with_context(|| format!("sample {sample}"))?;
        let integers = worker.run_hashed(&x, &mut logits)?;
        let digest = format!("{:032x}", integers.digest);
        probes.push(Probe { sample, class: argmax(&logits), integers: integers.count, digest });
    }
    Ok(probes)
}
