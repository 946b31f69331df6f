//! Everything a verb says while it works: stage lines and progress bars on stderr, results on stdout, Ctrl-C.
//!
//! With `--format json` stdout is JSON lines and nothing else: first `{"schema_version":1}`, then one object a result, whose `kind`
//! says what it is; `{"kind":"text","text":…}` where a verb has only words, and a last `{"kind":"error",…}` when it fails.

use std::io::{IsTerminal, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use anyhow::Result;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use limbeck_data::Watch;
use serde::Serialize;
use serde_json::json;

static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// Version of the JSON lines.
const SCHEMA_VERSION: u32 = 1;

/// How results are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum Format {
    /// For people.
    #[default]
    Human,
    /// JSON lines, for programs.
    Json,
}

/// The terminal.
pub struct Console {
    format: Format,
    quiet: bool,
    bars: bool,
}

impl Console {
    /// Set up logging and Ctrl-C.
    pub fn start(format: Format, quiet: bool, verbose: u8) -> Console {
        let level = ["warn", "info", "debug"][verbose.min(2) as usize];
        // tract logs much at info; Limbeck's own crates are what -v is about.
        let filter = format!("warn,limbeck={level}");
        env_logger::Builder::from_env(env_logger::Env::default().default_filter_or(filter)).init();
        let handler = ctrlc::set_handler(|| {
            if INTERRUPTED.swap(true, Ordering::Relaxed) {
                std::process::exit(130);
            }
            limbeck_runner::interrupt();
            eprintln!("\nlimbeck: stopping (Ctrl-C again: at once)");
        });
        if let Err(error) = handler {
            log::warn!("Ctrl-C will not be handled: {error}");
        }
        Console { format, quiet, bars: !quiet && std::io::stderr().is_terminal() }
    }

    /// Has the user pressed Ctrl-C?
    pub fn interrupted(&self) -> bool {
        INTERRUPTED.load(Ordering::Relaxed)
    }

    /// Fails once the user has pressed Ctrl-C.
    pub fn check(&self) -> Result<()> {
        if self.interrupted() { Err(crate::exit::interrupted("interrupted")) } else { Ok(()) }
    }

    /// One line about what happens next.
    pub fn say(&self, line: impl AsRef<str>) {
        if !self.quiet {
            eprintln!("{}", line.as_ref());
        }
    }

    /// Begin the output; nothing for people.
    pub fn begin(&self) -> Result<()> {
        match self.format {
            Format::Human => Ok(()),
            Format::Json => write_line(
                &json!({ "schema_version": SCHEMA_VERSION, "limbeck": env!("CARGO_PKG_VERSION") }).to_string(),
            ),
        }
    }

    /// A result in words: stdout.
    pub fn print(&self, text: impl AsRef<str>) -> Result<()> {
        match self.format {
            Format::Human => write_line(text.as_ref()),
            Format::Json => write_line(&json!({ "kind": "text", "text": text.as_ref() }).to_string()),
        }
    }

    /// A result as `words` for people and as a record, an object, for programs: stdout.
    pub fn result(&self, kind: &str, record: &impl Serialize, words: impl FnOnce() -> String) -> Result<()> {
        if self.format == Format::Human {
            return write_line(&words());
        }
        let mut line = serde_json::Map::from_iter([("kind".to_owned(), json!(kind))]);
        match serde_json::to_value(record)? {
            serde_json::Value::Object(fields) => line.extend(fields),
            other => drop(line.insert("value".to_owned(), other)),
        }
        write_line(&serde_json::Value::Object(line).to_string())
    }

    /// The last line of a verb that failed; people read it on stderr.
    pub fn failed(&self, message: &str, exit_code: u8) {
        if self.format == Format::Json {
            // The error itself is being reported; a closed stdout adds nothing to it.
            let _ = write_line(&json!({ "kind": "error", "exit_code": exit_code, "message": message }).to_string());
        }
    }

    /// A progress bar over `unit`s, such as "images".
    pub fn stage(&self, name: &str, unit: &str) -> Stage {
        let bar = ProgressBar::hidden();
        if self.bars {
            bar.set_draw_target(ProgressDrawTarget::stderr_with_hz(8));
        }
        let template = format!(
            "{{prefix:10}} {{wide_bar:.cyan/dim}} {{pos}}/{{len}} {{per_sec:.dim}} {unit} {{msg}} {{eta}} left"
        );
        if let Ok(style) = ProgressStyle::with_template(&template) {
            bar.set_style(style.with_key(
                "per_sec",
                |state: &indicatif::ProgressState, w: &mut dyn std::fmt::Write| {
                    // A failed write to the bar's own buffer has no one to tell.
                    let _ = write!(w, "{:.0}/s", state.per_sec());
                },
            ));
        }
        bar.set_prefix(name.to_owned());
        Stage { bar, name: name.into(), unit: unit.into(), start: Instant::now(), say: !self.quiet }
    }
}

fn write_line(text: &str) -> Result<()> {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes())?;
    if !text.ends_with('\n') {
        out.write_all(b"\n")?;
    }
    Ok(out.flush()?)
}

/// A running stage. Its last line, with time and rate, is written when it is dropped after [`Stage::done`].
pub struct Stage {
    bar: ProgressBar,
    name: String,
    unit: String,
    start: Instant,
    say: bool,
}

impl Stage {
    /// Finished: clear the bar, say how it went. Returns the seconds it took.
    pub fn done(self, result: &str) -> f64 {
        let seconds = self.start.elapsed().as_secs_f64();
        let count = self.bar.position();
        self.bar.finish_and_clear();
        if self.say {
            let rate = count as f64 / seconds.max(1e-9);
            let Stage { name, unit, .. } = &self;
            eprintln!("{name:10} {result} ({count} {unit} in {seconds:.1} s, {rate:.0}/s)");
        }
        seconds
    }
}

impl Watch for Stage {
    fn progress(&self, done: usize, total: usize) {
        self.bar.set_length(total as u64);
        self.bar.set_position(done as u64);
    }

    fn note(&self, text: &str) {
        self.bar.set_message(text.to_owned());
    }

    fn cancelled(&self) -> bool {
        INTERRUPTED.load(Ordering::Relaxed)
    }
}
