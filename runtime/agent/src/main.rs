//! `limbeck-agent`: the one program on the board.
//!
//! ```text
//! limbeck-agent probe    [BUNDLE]              starts; with a bundle: the board computes what the host computed
//! limbeck-agent run       BUNDLE [--sample N]  logits and class of one sample
//! limbeck-agent validate  BUNDLE [--threads N] all samples: top-1, agreement, the digest of every integer
//! limbeck-agent bench     BUNDLE [--full | --windows N --seconds S --min-runs N] [--energy METER] [--cpus CORES] [limits]
//! limbeck-agent bench     BUNDLE (--cold | --memory | --sustained 30m)     the other passes
//! limbeck-agent adapt     BUNDLE --images DIR --answers FILE --work DIR (--out FILE | --install WORKDIR) [limits] [recipe]
//! ```
//!
//! stdout is JSON lines and nothing else: first `{"schema_version":1,…}`, then one object a result. Logs go to stderr
//! (`RUST_LOG`). Exit codes: 0 done, 1 failed, 2 usage, 3 a probe differs, 4 the memory budget is too small, 5 the measurement is INVALID, 6 in use by another,
//! 8 no space, 9 the bundle, its model, images or answers are refused, 10 rolled back, 130 interrupted.

#![forbid(unsafe_code)]

mod adapt;
mod bench;
mod heap;
mod output;
mod probe;
mod validate;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::{Parser, Subcommand};
use limbeck_answers::{Preprocess, View};
use limbeck_bundle::Bundle;
use limbeck_engine::{EngineError, Student, onnx::Model};

use output::{Refused, emit};

#[derive(Parser)]
#[command(name = "limbeck-agent", version, about = "Runs, checks and measures a Limbeck bundle on this board")]
struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Say that this program runs here; with a bundle, check that the board computes what the host computed.
    Probe {
        /// The bundle.
        bundle: Option<PathBuf>,
    },
    /// Run one of the bundle's samples.
    Run {
        /// The bundle.
        bundle: PathBuf,
        /// Which sample.
        #[arg(long, default_value_t = 0)]
        sample: usize,
    },
    /// Run all samples: top-1, agreement with the teacher, the digest of every integer.
    Validate {
        /// The bundle.
        bundle: PathBuf,
        /// Threads; the results are the same for any number.
        #[arg(long, default_value_t = 1)]
        threads: usize,
    },
    /// Measure the latency of one inference, protocol single-stream v1.
    Bench {
        /// The bundle.
        bundle: PathBuf,
        #[command(flatten)]
        options: Box<bench::Options>,
    },
    /// Tune the student on local images against the teacher's answers, and keep the better of old and new.
    Adapt(Box<adapt::Options>),
}

fn main() -> ExitCode {
    env_logger::Builder::from_env(env_logger::Env::default().default_filter_or("warn")).init();
    let arguments = Arguments::parse();
    match start(arguments.verb) {
        Ok(code) => code,
        Err(error) => {
            if output::is_broken_pipe(&error) {
                return ExitCode::SUCCESS;
            }
            eprintln!("limbeck-agent: {error:#}");
            ExitCode::from(output::code(&error))
        }
    }
}

fn start(verb: Verb) -> Result<ExitCode> {
    emit(&output::Header::of_this_program())?;
    match verb {
        Verb::Probe { bundle: None } => Ok(ExitCode::SUCCESS),
        Verb::Probe { bundle: Some(bundle) } => probe::probe(&Loaded::read(&bundle)?),
        Verb::Run { bundle, sample } => run(&Loaded::read(&bundle)?, sample),
        Verb::Validate { bundle, threads } => validate::validate(&Loaded::read(&bundle)?, threads),
        Verb::Bench { bundle, options } => bench::bench(&bundle, &options),
        Verb::Adapt(options) => adapt::adapt(&options),
    }
}

fn run(loaded: &Loaded, sample: usize) -> Result<ExitCode> {
    let mut logits = vec![0.0; loaded.student.output_len()];
    let x = loaded.input(sample)?;
    loaded.student.worker()?.run(&x, &mut logits)?;
    let class = limbeck_engine::argmax(&logits);
    let label = loaded.bundle.card.labels.get(class).cloned();
    emit(&output::Inference { kind: "run", sample, class, label, logits })?;
    Ok(ExitCode::SUCCESS)
}

/// A bundle with its student parsed.
struct Opened<'a> {
    path: &'a Path,
    bundle: Bundle,
    model: Model,
}

impl<'a> Opened<'a> {
    fn read(path: &'a Path) -> Result<Opened<'a>> {
        let bundle = Bundle::read(path).map_err(|e| Refused(e.to_string()))?;
        let model = Model::parse(&bundle.student, Path::new("student.onnx")).map_err(|e| refused(path, e.into()))?;
        Ok(Opened { path, bundle, model })
    }

    /// Prepare the student.
    fn compile(self) -> Result<Loaded> {
        let Opened { path, bundle, model } = self;
        let student = Student::load(&model).map_err(|e| refused(path, e))?;
        let preprocess = Preprocess::new(&bundle.card);
        if preprocess.len() != student.input_len() {
            let (card, model) = (preprocess.len(), student.input_len());
            let what = format!("{}: the card describes {card} values, the student takes {model}", path.display());
            return Err(Refused(what).into());
        }
        Ok(Loaded { bundle, student, preprocess })
    }
}

fn refused(path: &Path, error: EngineError) -> Refused {
    Refused(format!("{}: student: {error}", path.display()))
}

/// A bundle with its student ready to run.
struct Loaded {
    bundle: Bundle,
    student: Student,
    preprocess: Preprocess,
}

impl Loaded {
    fn read(path: &Path) -> Result<Loaded> {
        Opened::read(path)?.compile()
    }

    /// One sample, preprocessed.
    fn input(&self, sample: usize) -> Result<Vec<f32>> {
        let mut x = vec![0.0; self.preprocess.len()];
        let count = self.bundle.samples.len();
        let bundled = self.bundle.samples.get(sample).with_context(|| format!("no sample {sample} of {count}"))?;
        let run = self.preprocess.run(&bundled.image, View::Identity, &mut x);
        run.with_context(|| format!("sample {sample}"))?;
        Ok(x)
    }
}
