//! `limbeck teach`: teacher + data → answers.
//!
//! ```text
//! $ limbeck teach --teacher teacher.onnx --data s3://bucket/train --head logits --head feat:stage:3 \
//!       --views identity,flip --shard auto --out s3://bucket/answers/train.answers
//! ```
//!
//! One inference a (sample, view) gives all heads. A run that was stopped or killed goes on when the same command is given
//! again; what is there already is not made twice. `--shard i/n` teaches a part, to be put together with `limbeck answers merge`.

use std::path::{Path, PathBuf};

use anyhow::Result;
use limbeck_answers::{Answers, AnswersWriter};
use limbeck_store::{Store, is_url};
use limbeck_teacher::{HeadSpec, Lesson, Part, TeachOptions};

use crate::console::Console;
use crate::exit::usage;
use crate::inputs::{DataArguments, ModelFile, prepare_out, threads};
use crate::record::{ReportArguments, put_model, put_source};
use crate::views::ViewArguments;

/// Run a teacher once over a data set and keep its answers in a checked file.
#[derive(clap::Args, Clone, Debug)]
pub struct Arguments {
    /// The teacher (ONNX); its card is the .toml beside it.
    #[arg(long)]
    pub teacher: PathBuf,
    /// Another card.
    #[arg(long)]
    pub card: Option<PathBuf>,
    #[command(flatten)]
    pub data: DataArguments,
    #[command(flatten)]
    pub views: ViewArguments,
    /// What to keep of every answer; repeat for more. `logits[:dense|f32|i8|topk=K]`, `pooled[:f16|i8|f32]`,
    /// `feat:TAP[:i8|f16|f32]`, `attention:TAP[:f16|f32]`, `sign:TAP`; TAP is `stage:2`, `stage:2:pre`, `last`, or an ONNX
    /// tensor. A wrong one lists the teacher's taps.
    #[arg(long = "head", value_name = "HEAD", default_value = "logits")]
    pub heads: Vec<String>,
    /// The same as --head logits:f32.
    #[arg(long, conflicts_with = "heads")]
    pub dense_f32: bool,
    /// Part i (from 0) of n of the samples; `auto`: as the Slurm array (SLURM_ARRAY_TASK_ID) or the Kubernetes indexed job
    /// (JOB_COMPLETION_INDEX, and LIMBECK_SHARDS for n) says that this process is in.
    #[arg(long, value_name = "I/N|auto")]
    pub shard: Option<String>,
    /// The answers file to write; also in an object store (s3://, gs://, az://). A part's name gets `.shard-i-of-n`.
    #[arg(long)]
    pub out: PathBuf,
    /// Where the file grows until it is whole, when --out is in a store.
    #[arg(long, value_name = "FOLDER", default_value = ".")]
    pub work: PathBuf,
    /// Forget what an earlier run left.
    #[arg(long)]
    pub restart: bool,
    /// Threads (default: all cores).
    #[arg(long)]
    pub threads: Option<usize>,
    #[command(flatten)]
    pub report: ReportArguments,
}

/// See the module.
pub fn run(arguments: &Arguments, console: &Console) -> Result<()> {
    let (views, augment) = arguments.views.read()?;
    let (heads, part) = (heads(arguments)?, part(arguments)?);
    let target = Target::of(arguments, part)?;
    let teacher = ModelFile::read(&arguments.teacher, arguments.card.as_deref())?;
    let dataset = arguments.data.open_each(&teacher.card, part.is_some(), console)?;
    let options = TeachOptions { views, augment, heads, part, threads: threads(arguments.threads) };
    prepare_out(&target.local)?;
    if arguments.restart {
        AnswersWriter::restart(&target.local)?;
    }
    let stage = console.stage("read", "images");
    let lesson = Lesson::prepare(&teacher.path, &teacher.card, &*dataset, &options, &stage)?;
    stage.done(dataset.name());
    let stage = console.stage("teach", "answers");
    let made = if !arguments.restart && target.has(&lesson)? {
        stage.done(&format!("{} is there already, whole and of this teacher and data", target.named));
        false
    } else {
        let taught = lesson.run(&target.local, &stage)?;
        let accuracy = match taught.labelled {
            0 => "no labels".to_owned(),
            n => format!("teacher top-1 {:.2}% on this data", taught.correct as f64 / n as f64 * 100.0),
        };
        let earlier = match taught.earlier {
            0 => String::new(),
            n => format!(", {n} from an earlier run"),
        };
        stage.done(&format!("{} ({accuracy}, {:.0} images/s{earlier})", target.named, taught.rate()));
        true
    };
    let answers = Answers::open(&target.local)?;
    let (sha256, bytes) = (answers.sha256().to_owned(), Some(answers.bytes()));
    drop(answers);
    target.finish(made)?;
    let (parameters, mut outcome) = (teacher.model.parameters() as u64, Ok(()));
    arguments.report.update(|report| {
        outcome = put_model(report, "teacher", &teacher.path, Some(parameters));
        put_source(report, "answers", crate::inputs::file_name(&arguments.out), sha256, bytes);
    })?;
    outcome
}

fn heads(arguments: &Arguments) -> Result<Vec<HeadSpec>> {
    if arguments.dense_f32 {
        return Ok(vec![HeadSpec::logits_f32()]);
    }
    let head = |text: &String| text.parse::<HeadSpec>().map_err(|e| usage(format!("--head {e}")));
    arguments.heads.iter().map(head).collect()
}

fn part(arguments: &Arguments) -> Result<Option<Part>> {
    let part = match arguments.shard.as_deref() {
        None => return Ok(None),
        Some("auto") => Part::of_scheduler(|name| std::env::var(name).ok()),
        Some(text) => text.parse(),
    };
    part.map(Some).map_err(|e| usage(format!("--shard {e}")))
}

/// Where the answers go: a file, or an object that is a file first.
struct Target {
    /// For messages.
    named: String,
    /// The file of this machine.
    local: PathBuf,
    /// Store and key of the object.
    object: Option<(Store, String)>,
}

impl Target {
    fn of(arguments: &Arguments, part: Option<Part>) -> Result<Target> {
        let out = arguments.out.display().to_string();
        let named = format!("{out}{}", part.map(Part::suffix).unwrap_or_default());
        if !is_url(&out) {
            return Ok(Target { local: PathBuf::from(&named), named, object: None });
        }
        let Some((store, key)) = named.rsplit_once('/').filter(|(store, key)| !store.ends_with('/') && !key.is_empty())
        else {
            return Err(usage(format!("--out {out}: name the object, as s3://bucket/prefix/train.answers")));
        };
        let object = Some((Store::open(store)?, key.to_owned()));
        Ok(Target { local: arguments.work.join(key), named, object })
    }

    /// It is there already, as this lesson would make it.
    fn has(&self, lesson: &Lesson<'_>) -> Result<bool> {
        if let Some((store, key)) = &self.object
            && !self.local.exists()
            && store.size(key)?.is_some()
        {
            store.download(key, &self.local)?;
            let is_done = lesson.is_done(&self.local);
            if !is_done {
                remove(&self.local)?;
            }
            return Ok(is_done);
        }
        Ok(self.local.exists() && lesson.is_done(&self.local))
    }

    /// Bring it to the store; what was made here is not needed here then.
    fn finish(&self, made: bool) -> Result<()> {
        let Some((store, key)) = &self.object else { return Ok(()) };
        let bytes = std::fs::metadata(&self.local).map_err(anyhow::Error::from)?.len();
        if made || store.size(key)? != Some(bytes) {
            store.upload(&self.local, key)?;
        }
        remove(&self.local)
    }
}

fn remove(path: &Path) -> Result<()> {
    let removed = std::fs::remove_file(path);
    Ok(removed.map_err(|source| limbeck_files::FileError { path: path.to_owned(), doing: "remove", source })?)
}
