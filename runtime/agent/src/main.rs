//! `limbeck-agent`: the one program on the board.
//!
//! ```text
//! limbeck-agent probe    [BUNDLE] [--admit W]  starts; with a bundle: the board may take it, and computes what the host computed
//! limbeck-agent run       BUNDLE [--sample N]  logits and class of one sample
//! limbeck-agent validate  BUNDLE [--threads N] all samples: top-1, agreement, the digest of every integer
//! limbeck-agent bench     BUNDLE [--full | --windows N --seconds S --min-runs N] [--energy METER] [--cpus CORES] [limits]
//! limbeck-agent bench     BUNDLE (--cold[=N] | --memory | --sustained 30m)     the other passes
//! limbeck-agent profile   BUNDLE [--runs N]    the steps of an inference that take longest
//! limbeck-agent adapt     BUNDLE --images DIR --answers FILE --work DIR (--out FILE | --install WORKDIR) [limits] [recipe]
//! ```
//!
//! `LIMBECK_LOAD_SECONDS`: longest that loading a student may take (60). `LIMBECK_ISA`: a kernel path.
//!
//! stdout is JSON lines and nothing else: first `{"schema_version":1,…}`, then one object a result. Logs go to stderr
//! (`RUST_LOG`). Exit codes: 0 done, 1 failed, 2 usage, 3 a probe differs, 4 the memory budget is too small, 5 the
//! measurement is INVALID, 6 in use by another, 7 the bundle is not signed by whom this board trusts, or older, 8 no space,
//! 9 the bundle, its model, images or answers are refused, 10 rolled back, 130 interrupted.

#![forbid(unsafe_code)]

mod adapt;
mod bench;
mod guard;
mod heap;
mod loaded;
mod output;
mod probe;
mod profile;
mod validate;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

use loaded::Loaded;
use output::emit;

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
        /// The working folder whose trusted key and version decide whether this board may take the bundle.
        #[arg(long, value_name = "WORKDIR", requires = "bundle")]
        admit: Option<PathBuf>,
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
    /// Time the steps of an inference.
    Profile {
        /// The bundle.
        bundle: PathBuf,
        /// Inferences to time; medians over them.
        #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u16).range(1..))]
        runs: u16,
    },
    /// Tune the student on local images against the teacher's answers, and keep the better of old and new.
    Adapt(Box<adapt::Options>),
}

fn main() -> ExitCode {
    env_logger::Builder::from_env(env_logger::Env::default().default_filter_or("warn")).init();
    guard::end_on_panic();
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
        Verb::Probe { bundle: None, .. } => Ok(ExitCode::SUCCESS),
        Verb::Probe { bundle: Some(bundle), admit } => probe::probe(&bundle, admit.as_deref()),
        Verb::Run { bundle, sample } => run(&Loaded::read(&bundle)?, sample),
        Verb::Validate { bundle, threads } => validate::validate(&Loaded::read(&bundle)?, threads),
        Verb::Bench { bundle, options } => bench::bench(&bundle, &options),
        Verb::Profile { bundle, runs } => profile::profile(&Loaded::read(&bundle)?, runs.into()),
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
