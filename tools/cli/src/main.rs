//! `limbeck`: from a teacher to a measured int8 student on a board.
//!
//! A verb is a stage, a module of [`verbs`], and one file written. `pipeline` runs them all on your model, `demo` on ours.
//! Results go to stdout, progress and logs to stderr. Exit codes are in [`exit`].

#![forbid(unsafe_code)]

mod budgets;
mod console;
mod exit;
mod inputs;
mod record;
mod verbs;
mod views;

use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};

use console::{Console, Format};

#[derive(Parser)]
#[command(
    name = "limbeck",
    version,
    about = "Fine-distil, quantize, deploy and measure small ONNX students on ARM boards",
    after_help = exit::HELP
)]
struct Arguments {
    /// How results are printed on stdout.
    #[arg(long, global = true, value_enum, default_value_t, value_name = "FORMAT")]
    format: Format,
    /// No progress on stderr.
    #[arg(short, long, global = true)]
    quiet: bool,
    /// Log more on stderr (-v info, -vv debug).
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    verbose: u8,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// The whole road on the built-in scenes, teacher and student.
    Demo(verbs::demo::Arguments),
    /// The whole road on your teacher, student and images.
    Pipeline(verbs::pipeline::Arguments),
    /// Run a teacher over a data set and keep its answers.
    Teach(verbs::teach::Arguments),
    /// Look into answers files, check them, put shards together, ask again, export.
    Answers(verbs::answers::Arguments),
    /// Fine-tune a float student against the answers.
    Distill(verbs::distill::Arguments),
    /// One student by many distillation recipes: a table.
    Compare(Box<verbs::compare::Arguments>),
    /// The distillation recipes that are shipped.
    Recipes(verbs::recipes::Arguments),
    /// Quantize a float student to int8 (ONNX QDQ).
    Quantize(verbs::quantize::Arguments),
    /// Accuracy of any model, float or int8, on this machine.
    Evaluate(verbs::evaluate::Arguments),
    /// Put student, card and test samples into one deployable file.
    Bundle(verbs::bundle::Arguments),
    /// Build the agent for a board and install it there with a bundle.
    Deploy(verbs::deploy::Arguments),
    /// Sign a bundle, with a key that boards trust.
    Sign(verbs::sign::Arguments),
    /// Check a bundle: whole, and signed by whom.
    Verify(verbs::verify::Arguments),
    /// Make a key pair to sign with.
    Key(verbs::key::Arguments),
    /// Accuracy of a bundle on a board, compared with this machine.
    Validate(verbs::validate::Arguments),
    /// Latency, cold start, memory and energy of a bundle on a board; latency of a model here.
    Bench(verbs::bench::Arguments),
    /// Tune a student on a board against shipped teacher answers.
    Adapt(Box<verbs::adapt::Arguments>),
    /// Go back to the install before the current one.
    Rollback(verbs::rollback::Arguments),
    /// Render report.json as HTML and print its summary.
    Report(verbs::report::Arguments),
    /// Hold a run against an earlier one: what moved, and whether it is more than noise.
    CompareRuns(verbs::compare_runs::Arguments),
    /// What of a model runs in integers, and why the rest does not.
    Inspect(verbs::inspect::Arguments),
    /// Where the time of an inference goes, step by step, on this machine.
    Profile(verbs::profile::Arguments),
    /// What is missing to build for a board, and the command that fixes it.
    Doctor(verbs::doctor::Arguments),
    /// The boards that Limbeck knows.
    Board(verbs::board::Arguments),
    /// Completions for a shell.
    Completions(verbs::completions::Arguments),
    /// Manual pages of limbeck and its verbs.
    Man(verbs::man::Arguments),
    /// Train the two models that the demo ships, from nothing.
    Zoo(verbs::zoo::Arguments),
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let console = Console::start(arguments.format, arguments.quiet, arguments.verbose);
    match run(arguments.verb, &console) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => exit::report(&error, &console),
    }
}

fn run(verb: Verb, console: &Console) -> anyhow::Result<()> {
    // A path that this CPU has not is the caller's mistake, and no model's.
    limbeck_engine::path().map_err(|error| exit::usage(error.to_string()))?;
    // These two are for a shell, whatever the format.
    match &verb {
        Verb::Completions(a) => return verbs::completions::run(a, &mut Arguments::command()),
        Verb::Man(a) => return verbs::man::run(a, Arguments::command(), console),
        _ => console.begin()?,
    }
    match verb {
        Verb::Demo(a) => verbs::demo::run(&a, console),
        Verb::Pipeline(a) => verbs::pipeline::run(&a, console),
        Verb::Teach(a) => verbs::teach::run(&a, console),
        Verb::Answers(a) => verbs::answers::run(&a, console),
        Verb::Distill(a) => verbs::distill::run(&a, console),
        Verb::Compare(a) => verbs::compare::run(&a, console),
        Verb::Recipes(a) => verbs::recipes::run(&a, console),
        Verb::Quantize(a) => verbs::quantize::run(&a, console),
        Verb::Evaluate(a) => verbs::evaluate::run(&a, console),
        Verb::Bundle(a) => verbs::bundle::run(&a, console),
        Verb::Deploy(a) => verbs::deploy::run(&a, console),
        Verb::Validate(a) => verbs::validate::run(&a, console),
        Verb::Bench(a) => verbs::bench::run(&a, console),
        Verb::Adapt(a) => verbs::adapt::run(&a, console),
        Verb::Rollback(a) => verbs::rollback::run(&a, console),
        Verb::Report(a) => verbs::report::run(&a, console),
        Verb::Inspect(a) => verbs::inspect::run(&a, console),
        Verb::Profile(a) => verbs::profile::run(&a, console),
        Verb::Doctor(a) => verbs::doctor::run(&a, console),
        Verb::Board(a) => verbs::board::run(&a, console),
        Verb::Zoo(a) => verbs::zoo::run(&a, console),
        Verb::Sign(a) => verbs::sign::run(&a, console),
        Verb::Verify(a) => verbs::verify::run(&a, console),
        Verb::Key(a) => verbs::key::run(&a, console),
        Verb::CompareRuns(a) => verbs::compare_runs::run(&a, console),
        Verb::Completions(_) | Verb::Man(_) => Ok(()),
    }
}
