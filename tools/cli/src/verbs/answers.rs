//! `limbeck answers`: an answers file → what is in it, whether it is whole; shards → one file; a file → NumPy arrays.
//!
//! ```text
//! $ limbeck answers info a.answers
//! a.answers: 2624 bytes, format 2, sha256 1011429ec75ab5ba35111422b1f5ad8c50729ca7c824032ea5130c2d9594e73f
//! tool       limbeck 0.1.0
//! teacher    scenes-teacher.onnx (opset 17, tract 0.23.9, f32) sha256 406b00d5…
//! card       10 labels, sha256 57e501c0…
//! data       scenes seed 1 32x32, 20 samples, sha256 eb4c858a…
//! views      2: identity, flip
//! head       logits           dense_f16      10           20 bytes an answer, 400 bytes a view; tensor logits
//! a view     400 bytes, 20 an answer
//! probe      16 answers of `logits` as f32
//! ```

use std::path::PathBuf;
use std::time::Instant;

use anyhow::Result;
use limbeck_answers::format::VERSION;
use limbeck_answers::{Answers, export, merge};

use crate::console::Console;
use crate::inputs::prepare_out;
use crate::verbs::recheck;

/// Look into files of teacher answers, check them, put shards together.
#[derive(clap::Args, Clone, Debug)]
pub struct Arguments {
    #[command(subcommand)]
    what: What,
}

#[derive(clap::Subcommand, Clone, Debug)]
enum What {
    /// Teacher, data, views and heads, and what they take.
    Info {
        /// The answers file.
        file: PathBuf,
    },
    /// Read every byte: checksums, hash, and every record.
    Verify {
        /// Answers files.
        #[arg(required = true)]
        files: Vec<PathBuf>,
    },
    /// Put shards together; the same bytes as from one run.
    Merge {
        /// The shards, in any order.
        #[arg(required = true)]
        shards: Vec<PathBuf>,
        /// The answers file to write.
        #[arg(long)]
        out: PathBuf,
    },
    /// Ask the teacher again about some of the answers, and compare.
    Recheck(recheck::Arguments),
    /// Write every head as an array of NumPy.
    Export {
        /// The answers file.
        file: PathBuf,
        /// The `.npz` file to write.
        #[arg(long)]
        out: PathBuf,
    },
}

/// See the module.
pub fn run(arguments: &Arguments, console: &Console) -> Result<()> {
    match &arguments.what {
        What::Info { file } => console.print(info(&Answers::open(file)?))?,
        What::Verify { files } => {
            for file in files {
                let (begun, answers) = (Instant::now(), Answers::open(file)?);
                answers.verify()?;
                let rate = answers.bytes() as f64 / 1e6 / begun.elapsed().as_secs_f64().max(1e-9);
                console.print(format!("{}: whole, {} bytes ({rate:.0} MB/s)", file.display(), answers.bytes()))?;
            }
        }
        What::Merge { shards, out } => {
            prepare_out(out)?;
            let sha256 = merge(shards, out)?;
            console.say(format!("{}: {} shards, sha256 {sha256}", out.display(), shards.len()));
        }
        What::Recheck(arguments) => recheck::run(arguments, console)?,
        What::Export { file, out } => {
            prepare_out(out)?;
            let answers = Answers::open(file)?;
            export(&answers, out)?;
            console.say(format!("{}: numpy.load(\"{}\")", out.display(), out.display()));
        }
    }
    Ok(())
}

/// A few lines about a file.
fn info(answers: &Answers) -> String {
    let m = answers.manifest();
    let (teacher, dataset, views) = (&m.teacher, &m.dataset, answers.views());
    let mut lines = vec![
        format!(
            "{}: {} bytes, format {VERSION}, sha256 {}",
            answers.path().display(),
            answers.bytes(),
            answers.sha256()
        ),
        format!("tool       {}", m.tool),
        format!(
            "teacher    {} (opset {}, {}, {}) sha256 {}",
            teacher.name, teacher.opset, teacher.runtime, teacher.precision, teacher.sha256
        ),
        format!("card       {} labels, sha256 {}", m.card.labels.len(), m.card_sha256),
        format!("data       {}, {} samples, sha256 {}", dataset.name, dataset.samples, dataset.sha256),
    ];
    if m.shard.is_some() {
        let range = m.range();
        lines.push(format!("shard      samples {}..{} of {}", range.start, range.end, dataset.samples));
    }
    let names: Vec<String> = views.iter().map(ToString::to_string).collect();
    lines.push(format!("views      {}: {}", views.len(), names.join(", ")));
    let mut a_view = 0;
    for head in answers.heads() {
        let dims: Vec<String> = head.dims.iter().map(ToString::to_string).collect();
        let bytes = head.stride() * answers.samples();
        a_view += bytes;
        lines.push(format!(
            "head       {:<16} {:<14} {:<12} {} bytes an answer, {} bytes a view; tensor {}",
            head.key,
            head.kind.to_string(),
            dims.join("×"),
            head.stride(),
            bytes,
            head.tensor
        ));
    }
    lines.push(format!("a view     {a_view} bytes, {} an answer", a_view / answers.samples().max(1)));
    if let Some(probe) = &m.probe {
        lines.push(format!("probe      {} answers of `{}` as f32", probe.samples.len(), probe.head));
    }
    lines.join("\n")
}
