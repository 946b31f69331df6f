//! Everything a verb says while it works: stage lines and progress bars on stderr, results on stdout, Ctrl-C.

use std::io::{IsTerminal, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use anyhow::Result;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use limbeck_data::Watch;

static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// The terminal.
pub struct Console {
    quiet: bool,
    bars: bool,
}

impl Console {
    /// Set up logging and Ctrl-C.
    pub fn start(quiet: bool, verbose: u8) -> Console {
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
        Console { quiet, bars: !quiet && std::io::stderr().is_terminal() }
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

    /// A result: stdout.
    pub fn print(&self, text: impl AsRef<str>) -> Result<()> {
        let mut out = std::io::stdout().lock();
        out.write_all(text.as_ref().as_bytes())?;
        if !text.as_ref().ends_with('\n') {
            out.write_all(b"\n")?;
        }
        Ok(out.flush()?)
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
