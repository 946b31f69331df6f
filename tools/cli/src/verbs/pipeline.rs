//! `limbeck pipeline`: the whole road on your teacher, student and images.

use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::Result;
use limbeck_answers::View;
use limbeck_boards::Board;
use limbeck_report::Report;

use crate::console::Console;
use crate::inputs::{DataArguments, file_name};
use crate::record::ReportArguments;
use crate::verbs::{bench, bundle, deploy, distill, evaluate, quantize, teach, validate};
use crate::views::ViewArguments;

/// From a teacher to a measured int8 student on boards: teach, distill, quantize, bundle, deploy, validate, bench, report.
#[derive(clap::Args, Clone, Debug)]
pub struct Arguments {
    /// The teacher (ONNX); its card is the .toml beside it.
    #[arg(long)]
    pub teacher: PathBuf,
    /// The student (ONNX, float); its card is the .toml beside it.
    #[arg(long)]
    pub student: PathBuf,
    /// Images to train on; labels are not needed.
    #[arg(long, value_name = "FOLDER|scenes")]
    pub train: String,
    /// Images to test on.
    #[arg(long, value_name = "FOLDER|scenes")]
    pub test: String,
    /// Where everything is written.
    #[arg(long, default_value = "limbeck-out")]
    pub out: PathBuf,
    /// Boards, separated by commas.
    #[arg(long, value_delimiter = ',', default_value = "host")]
    pub boards: Vec<String>,
    /// Leave corrupt images out instead of stopping at the first.
    #[arg(long)]
    pub skip_corrupt: bool,
    /// Train on the first N images only.
    #[arg(long, value_name = "N")]
    pub limit: Option<usize>,
    #[command(flatten)]
    pub views: ViewArguments,
    #[command(flatten)]
    pub recipe: distill::RecipeArguments,
    /// Cargo profile of the agent (see `deploy`).
    #[arg(long)]
    pub profile: Option<String>,
}

/// See the module.
pub fn run(arguments: &Arguments, console: &Console) -> Result<()> {
    let boards = arguments.boards.iter().map(|b| Board::find(b)).collect::<Result<Vec<_>, _>>()?;
    for board in &boards {
        if let Some(missing) = limbeck_runner::doctor(board).into_iter().find(|f| !f.ok) {
            let fix = missing.fix.unwrap_or_default();
            return Err(crate::exit::usage(format!("board {}: {} is missing; {fix}", board.name, missing.what)));
        }
    }
    let report = road(arguments, console)?;
    console.print(limbeck_report::summary(&report))?;
    console.print(format!("report: {}", arguments.out.join("report.html").display()))
}

/// All stages in order. Every file is written to the out folder, under a fixed name; an old report there is replaced.
pub fn road(arguments: &Arguments, console: &Console) -> Result<Report> {
    let start = Instant::now();
    let (views, _) = arguments.views.read()?;
    let out = |name: &str| arguments.out.join(name);
    limbeck_files::create_dir(&arguments.out)?;
    let report_path = out("report.json");
    if report_path.exists() {
        std::fs::rename(&report_path, out("report.previous.json")).map_err(anyhow::Error::from)?;
    }
    let report = ReportArguments::at(&report_path);
    let data =
        |data: &str, limit| DataArguments { limit, skip_corrupt: arguments.skip_corrupt, ..DataArguments::of(data) };
    let (train, test) = (data(&arguments.train, arguments.limit), data(&arguments.test, None));

    let teach_with = |data: &DataArguments, views: &ViewArguments, out: PathBuf| teach::Arguments {
        teacher: arguments.teacher.clone(),
        card: None,
        data: data.clone(),
        views: views.clone(),
        heads: vec!["logits".into()],
        dense_f32: false,
        shard: None,
        work: arguments.out.clone(),
        restart: false,
        out,
        threads: None,
        report: report.clone(),
    };
    let identity = ViewArguments::default();
    teach::run(&teach_with(&test, &identity, out("test.answers")), console)?;
    teach::run(&teach_with(&train, &arguments.views, out("train.answers")), console)?;

    let evaluate_as = |model: &Path, role: &str, answers: bool| evaluate::Arguments {
        model: model.to_owned(),
        card: None,
        data: test.clone(),
        answers: answers.then(|| out("test.answers")),
        role: role.into(),
        threads: None,
        report: report.clone(),
    };
    evaluate::run(&evaluate_as(&arguments.teacher, "teacher", false), console)?;
    evaluate::run(&evaluate_as(&arguments.student, "student before", true), console)?;
    let float = out("student.onnx");
    distill::run(
        &distill::Arguments {
            student: arguments.student.clone(),
            float: None,
            learn_scales: false,
            card: None,
            answers: vec![out("train.answers").into()],
            method: None,
            assistant: vec![],
            exchange: None,
            node: None,
            peers: vec![],
            patience: 0,
            data: train.clone(),
            out: float.clone(),
            select: limbeck_adapt::Selection::All,
            frozen_cache: None,
            recipe: arguments.recipe.clone(),
            threads: None,
            report: report.clone(),
        },
        console,
    )?;
    evaluate::run(&evaluate_as(&float, "student after", true), console)?;
    let int8 = out("student.int8.onnx");
    quantize::run(
        &quantize::Arguments {
            student: float,
            card: None,
            data: train,
            recipe: quantize::RecipeArguments::default(),
            out: int8.clone(),
            threads: None,
            report: report.clone(),
        },
        console,
    )?;
    evaluate::run(&evaluate_as(&int8, "int8 in limbeck", true), console)?;
    let bundle_path = out("student.limbeck");
    // A replay set holds what the teacher said of the pictures as they are.
    let replays = views.contains(&View::Identity);
    bundle::run(
        &bundle::Arguments {
            student: int8,
            card: None,
            data: test,
            answers: Some(out("test.answers")),
            replay: replays.then(|| arguments.train.clone()),
            replay_answers: replays.then(|| out("train.answers")),
            replay_limit: arguments.limit,
            replay_count: bundle::REPLAYED,
            version: 0,
            budgets: None,
            sign: None,
            out: bundle_path.clone(),
            report: report.clone(),
        },
        console,
    )?;
    for board in &arguments.boards {
        let source = deploy_source();
        let profile = arguments.profile.clone();
        let on = deploy::OnBoard { board: board.clone(), profile, source, trust: None, force_downgrade: false };
        let deployed = deploy::deploy(&bundle_path, &on, console)?;
        let validate_arguments =
            validate::Arguments { bundle: bundle_path.clone(), on, threads: None, report: report.clone() };
        validate::validate(&deployed, &validate_arguments, console)?;
        bench::look(&deployed, &report, console)?;
    }
    report.update(|r| {
        r.title = format!("{} from {}", file_name(&arguments.student), file_name(&arguments.teacher));
    })?;
    console.say(format!("all done in {:.0} s", start.elapsed().as_secs_f64()));
    Ok(Report::read_json(&report_path)?)
}

/// Where this binary's own source was when it was built.
fn deploy_source() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
}
