//! Look at a board before anything is copied there: can it take and run the agent, and is it the board that was meant?
//!
//! ```text
//! preflight.sh (on the board) ─► Facts ─► Checks: ok, warning, refused, each with what was found and the way out
//! ```
//!
//! Facts are what the board says; what it does not say is unknown, and refuses nothing. A refusal is exit code 8.

mod facts;
mod judge;

use std::ffi::OsStr;
use std::fmt;
use std::path::{Path, PathBuf};

use limbeck_boards::{Board, Transport as Way};
use serde::Serialize;

use crate::error::RunnerError;
use crate::transport::{Script, Transport, transport_for};

pub use facts::Facts;
pub(crate) use facts::sizes_in_df;

/// What a check comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// As it should be, or unknown where that does no harm.
    Ok,
    /// It runs, and something about it may mislead.
    Warning,
    /// The board cannot take or run the agent.
    Refused,
}

/// One thing about a board that was looked at.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Check {
    /// The thing: "architecture", "space", …
    pub what: &'static str,
    /// What it comes to.
    pub verdict: Verdict,
    /// What was found.
    pub found: String,
    /// The way out; `None` where nothing is wrong.
    pub fix: Option<String>,
}

/// What a board is and whether it will do. Printed a line a check; the record of a measurement keeps all of it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Preflight {
    /// The board's name.
    pub board: String,
    /// Its working folder.
    pub workdir: PathBuf,
    /// What it says about itself.
    pub facts: Facts,
    /// What that means.
    pub checks: Vec<Check>,
}

/// Look at `board`, for an install of `need_bytes` where that is known.
pub fn preflight(board: &Board, need_bytes: Option<u64>) -> Result<Preflight, RunnerError> {
    let transport = transport_for(board)?;
    let workdir = transport.workdir(board)?;
    preflight_over(&*transport, board, &workdir, need_bytes)
}

pub(crate) fn preflight_over(
    transport: &dyn Transport,
    board: &Board,
    workdir: &Path,
    need_bytes: Option<u64>,
) -> Result<Preflight, RunnerError> {
    let runner = match &board.transport {
        Way::Exec { runner } | Way::Ssh { runner, .. } => runner.first().map(String::as_str),
        Way::Local => None,
    };
    let args: [&OsStr; 2] = [workdir.as_os_str(), OsStr::new(runner.unwrap_or_default())];
    let script = Script { doing: "look at the board", text: include_str!("preflight.sh"), args: &args };
    let mut facts = Facts::parse(&transport.script(workdir, script)?);
    if let Some(runner) = runner {
        facts.machine = emulated_machine(runner);
    }
    let checks = judge::judge(&judge::Asked { board, runner, need_bytes }, &facts);
    Ok(Preflight { board: board.name.clone(), workdir: workdir.to_owned(), facts, checks })
}

/// The machine that an emulator shows, from its name: `qemu-aarch64-static`.
fn emulated_machine(runner: &str) -> Option<String> {
    let name = Path::new(runner).file_name()?.to_str()?.strip_prefix("qemu-")?;
    Some(name.strip_suffix("-static").unwrap_or(name).to_owned())
}

impl Preflight {
    /// An error when the board cannot take or run the agent.
    pub fn accept(&self) -> Result<(), RunnerError> {
        let refused: Vec<&Check> = self.checks.iter().filter(|check| check.verdict == Verdict::Refused).collect();
        if refused.is_empty() {
            return Ok(());
        }
        let join = |texts: Vec<String>| texts.join("; ");
        Err(RunnerError::DeviceRefused {
            folder: self.workdir.clone(),
            why: join(refused.iter().map(|check| format!("{}: {}", check.what, check.found)).collect()),
            fix: join(refused.iter().filter_map(|check| check.fix.clone()).collect()),
        })
    }
}

impl fmt::Display for Preflight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for check in &self.checks {
            let verdict = match check.verdict {
                Verdict::Ok => "ok",
                Verdict::Warning => "warning",
                Verdict::Refused => "refused",
            };
            write!(f, "{verdict:8} {:13} {}", check.what, check.found)?;
            match &check.fix {
                Some(fix) => writeln!(f, "; {fix}")?,
                None => writeln!(f)?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transport::Local;

    #[test]
    fn this_machine_is_what_it_says_and_nothing_stays_behind() {
        let board = Board::find_in("host", None).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let workdir = dir.path().join("work");
        let seen = preflight_over(&Local::native(), &board, &workdir, Some(1 << 20)).unwrap();
        seen.accept().unwrap();
        let facts = &seen.facts;
        assert!(facts.machine.is_some() && facts.free_bytes > Some(0) && facts.memory_bytes > Some(0), "{facts:?}");
        assert!(facts.clock_ahead_s.unwrap().abs() < 60 && facts.starts == Some(0) && facts.switches, "{facts:?}");
        assert_eq!(std::fs::read_dir(&workdir).unwrap().count(), 0);
        assert!(seen.to_string().lines().count() >= 12, "{seen}");

        let greedy = preflight_over(&Local::native(), &board, &workdir, Some(u64::MAX / 2)).unwrap();
        let error = greedy.accept().unwrap_err();
        assert_eq!((error.exit_code(), error.to_string().contains("make room")), (8, true), "{error}");
    }

    #[test]
    fn an_emulator_decides_what_the_machine_is() {
        let dir = tempfile::tempdir().unwrap();
        let architecture = |arch: &str| {
            let board = Board { arch: arch.to_owned(), ..Board::find_in("qemu-aarch64", None).unwrap() };
            let seen = preflight_over(&Local::native(), &board, dir.path(), None).unwrap();
            seen.checks.into_iter().find(|check| check.what == "architecture").unwrap()
        };
        assert_eq!(architecture("aarch64").verdict, Verdict::Ok);
        let refused = architecture("riscv64gc");
        assert_eq!(refused.verdict, Verdict::Refused);
        assert!(refused.found.starts_with("aarch64 behind qemu-aarch64-static does not run"), "{refused:?}");
        assert_eq!(emulated_machine("/opt/my-emulator"), None);
    }
}
