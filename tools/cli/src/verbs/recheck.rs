//! `limbeck answers recheck`: answers + teacher + data → are they this teacher's?
//!
//! ```text
//! $ limbeck answers recheck --answers train.answers --teacher teacher.onnx --data train --n 256
//! logits dense_f16: max |Δz| 0.00391 (20% of what is allowed), another first choice in 0 of 256
//! train.answers: 256 of its answers were asked for again: they are this teacher's
//! ```

use std::path::PathBuf;

use anyhow::Result;
use limbeck_answers::Answers;
use limbeck_teacher::{HeadCheck, RecheckOptions, recheck};

use crate::console::Console;
use crate::inputs::{DataArguments, ModelFile, threads};

/// Ask the teacher again about some of the answers in a file, and compare; exit code 3 when they differ by more than storage and CPUs
/// explain.
#[derive(clap::Args, Clone, Debug)]
pub struct Arguments {
    /// The answers file.
    #[arg(long)]
    pub answers: PathBuf,
    /// The teacher that they are said to be of (ONNX); its card is the .toml beside it.
    #[arg(long)]
    pub teacher: PathBuf,
    /// Another card.
    #[arg(long)]
    pub card: Option<PathBuf>,
    #[command(flatten)]
    pub data: DataArguments,
    /// How many answers are asked for again.
    #[arg(long, default_value_t = 256)]
    pub n: usize,
    /// Chooses which.
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
    /// Threads (default: all cores).
    #[arg(long)]
    pub threads: Option<usize>,
}

/// See the module.
pub fn run(arguments: &Arguments, console: &Console) -> Result<()> {
    let answers = Answers::open(&arguments.answers)?;
    let teacher = ModelFile::read(&arguments.teacher, arguments.card.as_deref())?;
    let is_part = answers.manifest().shard.is_some();
    let dataset = arguments.data.open_each(&teacher.card, is_part, console)?;
    let stage = console.stage("recheck", "answers");
    let options = RecheckOptions { answers: arguments.n, seed: arguments.seed, threads: threads(arguments.threads) };
    let again = recheck(&answers, &teacher.path, &teacher.card, &*dataset, &options, &stage)?;
    stage.done("asked again");
    for head in &again.heads {
        console.print(line(head, again.answers))?;
    }
    let file = arguments.answers.display();
    let what = format!("{file}: {} of its answers were asked for again", again.answers);
    match again.passes() {
        true => console.print(format!("{what}: they are this teacher's")),
        false => {
            let bad: Vec<&str> = again.heads.iter().filter(|h| !h.passes()).map(|h| h.key.as_str()).collect();
            let bad = bad.join(", ");
            Err(crate::exit::failed(format!(
                "{what}, and differ in {bad}: FAIL; teach again, and look for what changed"
            )))
        }
    }
}

fn line(head: &HeadCheck, answers: usize) -> String {
    let HeadCheck { key, kind, max_difference, of_allowed, .. } = head;
    let mut line =
        format!("{key} {kind}: max |Δz| {max_difference:.3e} ({:.0}% of what is allowed)", of_allowed * 100.0);
    if let Some(other) = head.other_choice {
        line += &format!(", another first choice in {other} of {answers}");
    }
    if let Some(share) = head.index_difference {
        line += &format!(", {:.4}% of the places differ", share * 100.0);
    }
    line
}
