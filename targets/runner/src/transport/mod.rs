//! How files and commands get to a board.
//!
//! Every operation either happens or does not; [`install`](crate::install) puts them together so that the board is
//! whole after each one.

mod local;
mod ssh;

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::time::Duration;

use limbeck_boards::{Board, Transport as Way};

use crate::error::RunnerError;
use crate::lock::Lock;
use crate::process::Output;
use crate::toolchain::{emulator_fix, find_program};

pub use local::Local;
pub use ssh::{HostKey, Ssh, SshClient, Trusted, forget, trust, trust_only};
pub(crate) use ssh::{Session, holder};

/// A file that is to be copied to the board, or from it.
#[derive(Debug, Clone, Copy)]
pub struct Copied<'a> {
    /// The file.
    pub from: &'a Path,
    /// Where the copy shall stand.
    pub to: &'a Path,
    /// What the copy must hash to.
    pub sha256: &'a str,
    /// A program, not data.
    pub executable: bool,
}

/// A program that is to be run on the board.
#[derive(Debug, Clone, Copy)]
pub struct Job<'a> {
    /// What it is, for messages: "agent bench".
    pub what: &'a str,
    /// Program (a path on the board) and arguments.
    pub argv: &'a [OsString],
    /// Folder on the board to run it in.
    pub dir: &'a Path,
    /// Longest it may take.
    pub deadline: Duration,
    /// The lock under which it runs.
    pub lock: &'a Lock,
}

/// A script for the `sh` of a board (POSIX, and what coreutils or busybox have).
#[derive(Debug, Clone, Copy)]
pub struct Script<'a> {
    /// What it does, for messages: "look at the board".
    pub doing: &'static str,
    /// Its text.
    pub text: &'a str,
    /// `$1`, `$2`, …
    pub args: &'a [&'a OsStr],
}

/// The way to a board.
pub trait Transport: Send {
    /// The working folder of `board` as an absolute path on it.
    fn workdir(&self, board: &Board) -> Result<PathBuf, RunnerError> {
        Ok(board.workdir_path()?)
    }
    /// Create a folder and its parents.
    fn make_dir(&self, dir: &Path) -> Result<(), RunnerError>;
    /// Copy a file whole or not at all: stage, sync, check the hash of what is on the board, rename.
    fn put(&self, file: Copied<'_>) -> Result<(), RunnerError>;
    /// Copy a file from the board to here, in the same way: `from` lies there, `to` here.
    fn get(&self, file: Copied<'_>) -> Result<(), RunnerError>;
    /// Make what was done in a folder survive a power cut.
    fn sync_dir(&self, dir: &Path) -> Result<(), RunnerError>;
    /// Make `link` a symbolic link to `target`, replacing an older one in one step, and sync its folder.
    fn switch_link(&self, link: &Path, target: &Path) -> Result<(), RunnerError>;
    /// Where a symbolic link points; `None` when there is no link.
    fn read_link(&self, link: &Path) -> Result<Option<PathBuf>, RunnerError>;
    /// Names in a folder.
    fn list(&self, dir: &Path) -> Result<Vec<String>, RunnerError>;
    /// Remove a folder with all that is in it, a link or a file; it may be absent.
    fn remove(&self, dir: &Path) -> Result<(), RunnerError>;
    /// Bytes free for us in a folder; `None` when the board does not say.
    fn free_bytes(&self, dir: &Path) -> Result<Option<u64>, RunnerError>;
    /// Run a script that looks at `path`, never behind an emulator; what it printed.
    fn script(&self, path: &Path, script: Script<'_>) -> Result<String, RunnerError>;
    /// Keep others off the board.
    fn lock(&self, dir: &Path) -> Result<Lock, RunnerError>;
    /// Run a program to its end, giving on each line of its output as it comes. Nothing it started outlives it.
    fn run(&self, job: Job<'_>, on_line: &mut dyn FnMut(&str)) -> Result<Output, RunnerError>;

    /// Run a program to its end and keep its output.
    fn run_and_collect(&self, job: Job<'_>) -> Result<Output, RunnerError> {
        let mut stdout = String::new();
        let mut output = self.run(job, &mut |line| {
            stdout.push_str(line);
            stdout.push('\n');
        })?;
        output.stdout = stdout;
        Ok(output)
    }
}

/// The transport of a board; an emulator that is missing is named with the command that installs it.
pub fn transport_for(board: &Board) -> Result<Box<dyn Transport>, RunnerError> {
    transport_in(board, std::env::var_os("PATH").as_deref())
}

fn transport_in(board: &Board, path: Option<&OsStr>) -> Result<Box<dyn Transport>, RunnerError> {
    match &board.transport {
        Way::Local => Ok(Box::new(Local::native())),
        Way::Exec { runner } => {
            let program = runner.first().map_or("", String::as_str);
            if find_program(program, path).is_none() {
                let what = format!("emulator `{program}` of board `{}`", board.name);
                return Err(RunnerError::MissingTool { what, fix: emulator_fix(program) });
            }
            Ok(Box::new(Local::emulated(runner.clone())))
        }
        Way::Ssh { .. } => Ok(Box::new(Ssh::new(board, SshClient::of_this_user()?)?)),
    }
}

/// The name under which a copy grows, beside the final one.
fn staged_name(path: &Path) -> PathBuf {
    let name = path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    path.with_file_name(format!(".{name}.limbeck-tmp"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_emulator_is_named_with_the_command_to_get_it() {
        let board = Board::find_in("qemu-aarch64", None).unwrap();
        let error = transport_in(&board, Some(OsStr::new("/nowhere"))).err().unwrap();
        assert_eq!(
            error.to_string(),
            "emulator `qemu-aarch64-static` of board `qemu-aarch64` is missing; get it with: sudo apt-get install -y \
             qemu-user-static"
        );
        assert!(transport_in(&Board::find_in("host", None).unwrap(), None).is_ok());
    }
}
