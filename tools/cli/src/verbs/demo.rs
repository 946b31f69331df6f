//! `limbeck demo`: the whole road on what ships with Limbeck.
//!
//! The student knows clean scenes; the "camera" of the demo blurs, adds noise and tints. A teacher that copes with
//! that answers once, the student is fine-distilled on unlabelled camera images, quantized, and measured on this
//! machine and on an emulated aarch64 board.

use std::path::PathBuf;

use anyhow::Result;
use limbeck_boards::Board;
use limbeck_data::scenes;
use limbeck_zoo::shipped::{STUDENT, TEACHER};

use crate::console::Console;
use crate::verbs::distill::RecipeArguments;
use crate::verbs::pipeline;
use crate::views::ViewArguments;

/// Images that the demo student is fine-distilled on: the camera's, without labels.
const TRAIN: &str = "scenes:seed=21,samples=6000,shift=strong";
/// Images that everything is tested on, of another seed.
const TEST: &str = "scenes:seed=22,samples=1000,shift=strong";

/// Peak learning rate for the demo's small student; at the default of `distill` it is still learning when the demo ends.
const RATE: f32 = 4e-3;

/// The whole road on the built-in scenes, teacher and student, on this machine and an emulated board.
#[derive(clap::Args, Clone, Debug)]
pub struct Arguments {
    /// Where everything is written.
    #[arg(long, default_value = "limbeck-demo")]
    pub out: PathBuf,
    /// Boards, separated by commas; one whose tools are missing is left out, with the command that gets them.
    #[arg(long, value_delimiter = ',', default_value = "host,qemu-aarch64")]
    pub boards: Vec<String>,
    /// Passes over the images.
    #[arg(long, default_value_t = 4)]
    pub epochs: usize,
    /// Cargo profile of the agent (see `deploy`).
    #[arg(long)]
    pub profile: Option<String>,
}

/// See the module.
pub fn run(arguments: &Arguments, console: &Console) -> Result<()> {
    let models = arguments.out.join("models");
    limbeck_files::create_dir(&models)?;
    let labels: Vec<String> = scenes::LABELS.iter().map(|l| l.to_string()).collect();
    let card = limbeck_zoo::scenes_card(&labels);
    for shipped in [TEACHER, STUDENT] {
        let path = models.join(shipped.name);
        limbeck_files::write_atomic(&path, |w| w.write_all(shipped.onnx))?;
        limbeck_files::write_atomic(limbeck_answers::Card::beside(&path), |w| w.write_all(card.to_toml().as_bytes()))?;
    }
    let mut boards = vec![];
    for name in &arguments.boards {
        let missing = limbeck_runner::doctor(&Board::find(name)?).into_iter().find(|f| !f.ok);
        match missing {
            None => boards.push(name.clone()),
            Some(finding) => {
                let fix = finding.fix.unwrap_or_else(|| format!("see `limbeck doctor {name}`"));
                console.print(format!("{name} is left out: {} is missing; get it with: {fix}", finding.what))?;
            }
        }
    }
    let road = pipeline::Arguments {
        teacher: models.join(TEACHER.name),
        student: models.join(STUDENT.name),
        train: TRAIN.into(),
        test: TEST.into(),
        out: arguments.out.clone(),
        boards,
        skip_corrupt: false,
        limit: None,
        views: ViewArguments::default(),
        recipe: RecipeArguments { epochs: arguments.epochs, rate: Some(RATE), ..RecipeArguments::default() },
        profile: arguments.profile.clone(),
    };
    let report = pipeline::road(&road, console)?;
    console.print(limbeck_report::summary(&report))?;
    console.print(format!("report: {}", arguments.out.join("report.html").display()))
}
