//! `limbeck teach`: teacher + data → answers.

use std::path::PathBuf;

use anyhow::{Context, Result};
use limbeck_answers::{Answers, HeadKind, View};
use limbeck_teacher::{TeachOptions, teach};

use crate::console::Console;
use crate::inputs::{DataArguments, ModelFile, prepare_out, threads};
use crate::record::{ReportArguments, put_model, put_source};

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
    /// Views of every image: `identity`, `flip`.
    #[arg(long, value_delimiter = ',', default_value = "identity")]
    pub views: Vec<String>,
    /// Store logits as f32, bit for bit (default: f16).
    #[arg(long)]
    pub dense_f32: bool,
    /// The answers file to write.
    #[arg(long)]
    pub out: PathBuf,
    /// Threads (default: all cores).
    #[arg(long)]
    pub threads: Option<usize>,
    #[command(flatten)]
    pub report: ReportArguments,
}

/// See the module.
pub fn run(arguments: &Arguments, console: &Console) -> Result<()> {
    let teacher = ModelFile::read(&arguments.teacher, arguments.card.as_deref())?;
    let dataset = arguments.data.open(&teacher.card, console)?;
    let views = arguments
        .views
        .iter()
        .map(|name| View::named(name).ok_or_else(|| crate::exit::usage(format!("--views {name}: identity or flip"))))
        .collect::<Result<Vec<_>>>()?;
    let head = if arguments.dense_f32 { HeadKind::DenseF32 } else { HeadKind::DenseF16 };
    let options = TeachOptions { views, head, threads: threads(arguments.threads) };
    prepare_out(&arguments.out)?;
    let stage = console.stage("teach", "answers");
    let taught = teach(&teacher.path, &teacher.card, &dataset, &arguments.out, &options, &stage)
        .context("no answers were written")?;
    let accuracy = match taught.labelled {
        0 => "no labels".to_owned(),
        n => format!("teacher top-1 {:.2}% on this data", taught.correct as f64 / n as f64 * 100.0),
    };
    stage.done(&format!("{} ({accuracy})", arguments.out.display()));
    let answers = Answers::open(&arguments.out)?;
    let (sha256, bytes) = (answers.sha256().to_owned(), Some(answers.bytes()));
    let (parameters, mut outcome) = (teacher.model.parameters() as u64, Ok(()));
    arguments.report.update(|report| {
        outcome = put_model(report, "teacher", &teacher.path, Some(parameters));
        put_source(report, "answers", crate::inputs::file_name(&arguments.out), sha256, bytes);
    })?;
    outcome
}
