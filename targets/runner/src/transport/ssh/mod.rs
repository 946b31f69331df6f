//! A board behind ssh.
//!
//! Asked of the board: a login by key, a POSIX `sh`, and what coreutils or busybox have. Nothing of limbeck's stays there
//! but what is installed, and nothing needs root.
//!
//! ```text
//! client    ssh's options, one connection for all steps        known_hosts   the keys of boards, `trust`, `forget`
//! quote     words for the board's shell                        frame         which lines that come back are ours
//! step      a script with a deadline, run.sh                   session       the lock, and programs under it, session.sh
//! failure   what went wrong, from what ssh or a program said
//! ```
//!
//! Every script runs below `run.sh`: it starts the program in a session of its own, kills all of it at the deadline, and
//! says how it ended in a line with a nonce. Exit codes of ssh are not believed.

mod client;
mod failure;
mod frame;
mod known_hosts;
mod quote;
mod session;
mod step;

use std::ffi::OsStr;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use limbeck_boards::{Board, Transport as Way};

use super::{Copied, Job, Script, Transport, staged_name};
use crate::error::RunnerError;
use crate::lock::Lock;
use crate::preflight::sizes_in_df;
use crate::process::Output;

pub use client::SshClient;
pub use known_hosts::{HostKey, Trusted, forget, trust, trust_only};
pub(crate) use session::{Session, holder};

use client::{Client, here};
use failure::refused;
use step::Step;

/// Slowest link that a copy is waited for, in bytes a second: a bad radio.
const SLOWEST: u64 = 50_000;
/// The board has no `sha256sum`: what was staged has to be hashed here (`put.sh`).
const NO_HASH: i32 = 66;
/// The staged copy has another hash, which was printed (`put.sh`).
const OTHER_HASH: i32 = 65;

/// A board that is reached by ssh.
#[derive(Debug)]
pub struct Ssh {
    client: Client,
    /// What stands before each program on the board; empty for native.
    runner: Vec<String>,
}

impl Ssh {
    /// The way to `board` with this client.
    pub fn new(board: &Board, ssh: SshClient) -> Result<Ssh, RunnerError> {
        let runner = match &board.transport {
            Way::Ssh { runner, .. } => runner.clone(),
            Way::Local | Way::Exec { .. } => Vec::new(),
        };
        Ok(Ssh { client: Client::new(board, ssh)?, runner })
    }

    /// The same with other limits, so that a test need not wait long.
    #[cfg(test)]
    pub(crate) fn for_test(board: &Board, ssh: SshClient, step: Duration, grace: Duration) -> Ssh {
        let mut ssh = Ssh::new(board, ssh).unwrap_or_else(|e| panic!("{e}"));
        ssh.client.limits = client::Limits { step, grace };
        ssh
    }

    /// Store the key that the board shows, if it has none yet; see [`trust`].
    pub fn trust(&self) -> Result<Trusted, RunnerError> {
        known_hosts::trust_with(&self.client)
    }

    fn act(&self, path: &Path, doing: &'static str, script: &str, args: &[&OsStr]) -> Result<String, RunnerError> {
        let what = format!("{doing} on {}", self.client.place());
        let step = Step { what: &what, script, args, deadline: self.client.limits.step };
        self.client.act(path, doing, &step)
    }

    /// How long copying `bytes` may take.
    fn copy_deadline(&self, bytes: u64) -> Duration {
        self.client.limits.step + Duration::from_secs(bytes / SLOWEST)
    }

    /// Give what is staged its name, once its hash was found right here.
    fn commit_hashed_here(&self, file: &Copied<'_>, staged: &Path, bytes: u64) -> Result<(), RunnerError> {
        let mut hasher = limbeck_files::Hasher::default();
        self.read(staged, bytes, &mut |piece| hasher.update(piece))?;
        let found = hasher.finish();
        let names = [staged.as_os_str(), file.to.as_os_str()];
        if found == file.sha256 {
            return self.act(file.to, "rename into place", "mv -f \"$1\" \"$2\" 2>&1", &names).map(drop);
        }
        self.act(staged, "remove", "rm -f \"$1\" 2>&1", &names)?;
        Err(damaged(file, found))
    }

    /// Give on what is in a file on the board, of about this size.
    fn read(&self, file: &Path, bytes: u64, give: &mut dyn FnMut(&[u8])) -> Result<(), RunnerError> {
        let what = format!("copying {} from {}", file.display(), self.client.place());
        let (args, deadline) = ([file.as_os_str()], self.copy_deadline(bytes));
        let ran =
            self.client.run(&Step { what: &what, script: "cat \"$1\"", args: &args, deadline }, Stdio::null(), give)?;
        if ran.status == 0 { Ok(()) } else { Err(refused(file, "read", &ran.log)) }
    }
}

fn damaged(file: &Copied<'_>, found: String) -> RunnerError {
    RunnerError::DamagedCopy { path: file.to.to_owned(), expected: file.sha256.to_owned(), found }
}

impl Transport for Ssh {
    fn workdir(&self, board: &Board) -> Result<PathBuf, RunnerError> {
        let Some(below_home) = board.workdir.strip_prefix("~/") else { return Ok(PathBuf::from(&board.workdir)) };
        let home = self.act(Path::new("~"), "ask for the home folder", "printf '%s\\n' \"$HOME\"", &[])?;
        let home = Path::new(home.trim_end_matches('\n'));
        if home.is_absolute() && home != Path::new("/nonexistent") {
            return Ok(home.join(below_home));
        }
        Err(RunnerError::DeviceRefused {
            folder: board.workdir.clone().into(),
            why: "the user on the board has no home folder".to_owned(),
            fix: "set `workdir` of the board to an absolute path".to_owned(),
        })
    }

    fn make_dir(&self, dir: &Path) -> Result<(), RunnerError> {
        self.act(dir, "create folder", "mkdir -p \"$1\" 2>&1", &[dir.as_os_str()]).map(drop)
    }

    fn put(&self, file: Copied<'_>) -> Result<(), RunnerError> {
        let from = File::open(file.from).map_err(here(file.from, "read"))?;
        let bytes = from.metadata().map_err(here(file.from, "read"))?.len();
        let staged = staged_name(file.to);
        let mode = if file.executable { "755" } else { "644" };
        let args = [staged.as_os_str(), file.to.as_os_str(), OsStr::new(file.sha256), OsStr::new(mode)];
        let what = format!("copying {} to {}", file.from.display(), self.client.place());
        let step =
            Step { what: &what, script: include_str!("put.sh"), args: &args, deadline: self.copy_deadline(bytes) };
        let mut said = Vec::new();
        let ran = self.client.run(&step, Stdio::from(from), &mut |piece| said.extend_from_slice(piece))?;
        let said = String::from_utf8_lossy(&said);
        match ran.status {
            0 => Ok(()),
            OTHER_HASH => Err(damaged(&file, said.trim().to_owned())),
            NO_HASH => self.commit_hashed_here(&file, &staged, bytes),
            _ => Err(refused(file.to, "write", &said)),
        }
    }

    fn get(&self, file: Copied<'_>) -> Result<(), RunnerError> {
        let size = self.act(file.from, "read", "wc -c 2>&1 <\"$1\"", &[file.from.as_os_str()])?;
        let bytes = size.trim().parse().unwrap_or(u64::from(u32::MAX));
        let staged = staged_name(file.to);
        let fetched = (|| {
            let mut copy = File::create(&staged).map_err(here(file.to, "create"))?;
            let mut written = Ok(());
            self.read(file.from, bytes, &mut |piece| {
                if written.is_ok() {
                    written = copy.write_all(piece);
                }
            })?;
            written.and_then(|()| copy.sync_all()).map_err(here(file.to, "write"))?;
            let found = limbeck_files::sha256_file(&staged)?;
            if found != file.sha256 {
                return Err(damaged(&file, found));
            }
            Ok(limbeck_files::move_into_place(&staged, file.to)?)
        })();
        if fetched.is_err() {
            let _ = std::fs::remove_file(&staged);
        }
        fetched
    }

    fn sync_dir(&self, dir: &Path) -> Result<(), RunnerError> {
        self.act(dir, "sync", "sync \"$1\" 2>&1", &[dir.as_os_str()]).map(drop)
    }

    fn switch_link(&self, link: &Path, target: &Path) -> Result<(), RunnerError> {
        // Without -T, `mv` would put the new link into the folder that the old one names.
        let script = "exec 2>&1\nrm -f \"$2\" && ln -s \"$1\" \"$2\" && mv -fT \"$2\" \"$3\" && sync \"$4\"";
        let (staged, dir) = (staged_name(link), link.parent().unwrap_or(link));
        let args = [target.as_os_str(), staged.as_os_str(), link.as_os_str(), dir.as_os_str()];
        self.act(link, "switch", script, &args).map(drop)
    }

    fn read_link(&self, link: &Path) -> Result<Option<PathBuf>, RunnerError> {
        let script = "if [ -L \"$1\" ]; then readlink \"$1\"; fi";
        let target = self.act(link, "read link", script, &[link.as_os_str()])?;
        Ok(target.strip_suffix('\n').filter(|target| !target.is_empty()).map(PathBuf::from))
    }

    fn list(&self, dir: &Path) -> Result<Vec<String>, RunnerError> {
        let names = self.act(dir, "list", "cd \"$1\" 2>&1 && ls -A1", &[dir.as_os_str()])?;
        Ok(names.lines().map(str::to_owned).collect())
    }

    fn remove(&self, dir: &Path) -> Result<(), RunnerError> {
        self.act(dir, "remove", "rm -rf \"$1\" 2>&1", &[dir.as_os_str()]).map(drop)
    }

    fn free_bytes(&self, dir: &Path) -> Result<Option<u64>, RunnerError> {
        let text = self.act(dir, "ask for free space", "df -P -k \"$1\" 2>&1", &[dir.as_os_str()])?;
        Ok(sizes_in_df(text.lines().last().unwrap_or_default()).1)
    }

    fn script(&self, path: &Path, script: Script<'_>) -> Result<String, RunnerError> {
        self.act(path, script.doing, script.text, script.args)
    }

    fn lock(&self, dir: &Path) -> Result<Lock, RunnerError> {
        Ok(Lock::there(Session::open(&self.client, dir)?))
    }

    fn run(&self, job: Job<'_>, on_line: &mut dyn FnMut(&str)) -> Result<Output, RunnerError> {
        job.lock.session()?.run(&job, &self.runner, on_line)
    }
}

impl Drop for Ssh {
    fn drop(&mut self) {
        self.client.disconnect();
    }
}

#[cfg(test)]
mod loopback_tests;

#[cfg(test)]
mod poor_board_tests;
