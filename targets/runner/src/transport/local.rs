//! This machine as the board.

use std::ffi::{OsStr, OsString};
use std::fs::{File, OpenOptions, Permissions};
use std::io::ErrorKind;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use limbeck_files::FileError;

use super::{Copied, Job, Script, Transport, staged_name};
use crate::error::{RunnerError, ending, tail_after};
use crate::lock::Lock;
use crate::process::{self, Output, RunError};
use crate::toolchain::emulator_fix;

/// Longest that a script which only looks may take.
const SCRIPT_DEADLINE: Duration = Duration::from_secs(30);

/// This machine as the board, natively or behind an emulator.
#[derive(Debug, Clone)]
pub struct Local {
    /// What stands before each command; empty for native.
    runner: Vec<String>,
}

impl Local {
    /// Programs run as they are.
    pub fn native() -> Local {
        Local { runner: Vec::new() }
    }

    /// Programs run behind an emulator: its program and arguments.
    pub fn emulated(runner: Vec<String>) -> Local {
        Local { runner }
    }
}

impl Transport for Local {
    fn make_dir(&self, dir: &Path) -> Result<(), RunnerError> {
        std::fs::create_dir_all(dir).map_err(|e| refused_or(dir, "create folder", e))
    }

    fn put(&self, file: Copied<'_>) -> Result<(), RunnerError> {
        // Not `limbeck_files::Staged`: the copy must be hashed where it lies before it takes its name.
        let staged = staged_name(file.to);
        let result = stage(&file, &staged)
            .and_then(|()| std::fs::rename(&staged, file.to).map_err(|e| refused_or(file.to, "rename into place", e)));
        if result.is_err() {
            let _ = std::fs::remove_file(&staged);
        }
        result
    }

    fn get(&self, file: Copied<'_>) -> Result<(), RunnerError> {
        // The board's files are this machine's.
        self.put(file)
    }

    fn sync_dir(&self, dir: &Path) -> Result<(), RunnerError> {
        File::open(dir).and_then(|f| f.sync_all()).map_err(|e| refused_or(dir, "sync", e))
    }

    fn switch_link(&self, link: &Path, target: &Path) -> Result<(), RunnerError> {
        let staged = staged_name(link);
        // Left over from a kill; a link cannot be made over an old one.
        let _ = std::fs::remove_file(&staged);
        symlink(target, &staged).map_err(|e| refused_or(link, "make a symbolic link", e))?;
        std::fs::rename(&staged, link).map_err(|e| refused_or(link, "switch", e))?;
        link.parent().map_or(Ok(()), |dir| self.sync_dir(dir))
    }

    fn read_link(&self, link: &Path) -> Result<Option<PathBuf>, RunnerError> {
        match std::fs::read_link(link) {
            Ok(target) => Ok(Some(target)),
            Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
            Err(e) => Err(refused_or(link, "read link", e)),
        }
    }

    fn list(&self, dir: &Path) -> Result<Vec<String>, RunnerError> {
        let entries = std::fs::read_dir(dir).map_err(|e| refused_or(dir, "list", e))?;
        let entries = entries.collect::<Result<Vec<_>, _>>().map_err(|e| refused_or(dir, "list", e))?;
        Ok(entries.into_iter().filter_map(|entry| entry.file_name().into_string().ok()).collect())
    }

    fn remove(&self, dir: &Path) -> Result<(), RunnerError> {
        match std::fs::remove_dir_all(dir).or_else(|e| match e.kind() {
            ErrorKind::NotADirectory => std::fs::remove_file(dir),
            _ => Err(e),
        }) {
            Err(e) if e.kind() != ErrorKind::NotFound => Err(refused_or(dir, "remove", e)),
            _ => Ok(()),
        }
    }

    fn free_bytes(&self, dir: &Path) -> Result<Option<u64>, RunnerError> {
        Ok(rustix::fs::statvfs(dir).ok().map(|fs| fs.f_bavail.saturating_mul(fs.f_frsize)))
    }

    fn script(&self, path: &Path, script: Script<'_>) -> Result<String, RunnerError> {
        let (mut command, mut said) = (Command::new("/bin/sh"), String::new());
        command.args(["-c", script.text, "limbeck"]).args(script.args).env("LC_ALL", "C").stdin(Stdio::null());
        let mut keep = |line: &str| said += &format!("{line}\n");
        let failed = |why| FileError { path: path.to_owned(), doing: script.doing, source: std::io::Error::other(why) };
        match process::run(&mut command, SCRIPT_DEADLINE, |_| {}, &mut keep) {
            Ok(output) if output.status == 0 => Ok(said),
            Ok(output) => Err(failed(format!("{}{}", ending(output.status), tail_after(&output.stderr_tail))).into()),
            Err(RunError::Interrupted) => Err(RunnerError::Interrupted),
            Err(RunError::Spawn(e)) => Err(failed(format!("/bin/sh: {e}")).into()),
            Err(RunError::Timeout) => {
                Err(RunnerError::Timeout { what: script.doing.to_owned(), after_s: SCRIPT_DEADLINE.as_secs_f64() })
            }
        }
    }

    fn lock(&self, dir: &Path) -> Result<Lock, RunnerError> {
        Lock::acquire(dir)
    }

    fn run(&self, job: Job<'_>, on_line: &mut dyn FnMut(&str)) -> Result<Output, RunnerError> {
        let argv: Vec<&OsStr> =
            self.runner.iter().map(OsStr::new).chain(job.argv.iter().map(OsString::as_os_str)).collect();
        let (program, args) = argv.split_first().ok_or_else(|| not_started(&job, "no program was given"))?;
        let (mut command, lock) = (Command::new(program), job.lock.file()?);
        command.args(args).current_dir(job.dir).stdin(Stdio::from(lock.share()?));
        let started = |group| lock.note_agent(group);
        process::run(&mut command, job.deadline, started, on_line).map_err(|e| match e {
            RunError::Timeout => {
                RunnerError::Timeout { what: job.what.to_owned(), after_s: job.deadline.as_secs_f64() }
            }
            RunError::Interrupted => RunnerError::Interrupted,
            RunError::Spawn(e) => match self.runner.first() {
                Some(emulator) if e.kind() == ErrorKind::NotFound => {
                    RunnerError::MissingTool { what: format!("emulator `{emulator}`"), fix: emulator_fix(emulator) }
                }
                _ => not_started(&job, &spawn_failure(&e)),
            },
        })
    }
}

fn not_started(job: &Job<'_>, why: &str) -> RunnerError {
    RunnerError::DeviceRefused {
        folder: job.dir.to_owned(),
        why: format!("{} does not start: {why}", job.what),
        fix: "set LIMBECK_HOME, or `workdir` of the board, to a folder from which programs may run".to_owned(),
    }
}

/// What the system means when it does not start a program that is there.
fn spawn_failure(e: &std::io::Error) -> String {
    match e.kind() {
        ErrorKind::PermissionDenied => format!("the file system is mounted noexec, or the file is no program ({e})"),
        ErrorKind::NotFound => format!("the program or its dynamic loader is missing ({e})"),
        // ENOEXEC has no kind of its own.
        _ if e.raw_os_error() == Some(8) => format!("it is for another architecture ({e})"),
        _ => e.to_string(),
    }
}

/// Copy to the staged name, sync, and compare with what can be read back.
fn stage(file: &Copied<'_>, staged: &Path) -> Result<(), RunnerError> {
    let mut from =
        File::open(file.from).map_err(|source| FileError { path: file.from.to_owned(), doing: "read", source })?;
    let mode = if file.executable { 0o755 } else { 0o644 };
    let written = (|| {
        let mut to = OpenOptions::new().write(true).create(true).truncate(true).open(staged)?;
        std::io::copy(&mut from, &mut to)?;
        to.set_permissions(Permissions::from_mode(mode))?;
        to.sync_all()
    })();
    written.map_err(|e| refused_or(file.to, "write", e))?;
    let found = limbeck_files::sha256_file(staged)?;
    if found == file.sha256 {
        return Ok(());
    }
    Err(RunnerError::DamagedCopy { path: file.to.to_owned(), expected: file.sha256.to_owned(), found })
}

/// An I/O error on the board: refused by the device when a user can do something about the folder.
fn refused_or(path: &Path, doing: &'static str, e: std::io::Error) -> RunnerError {
    let why = match e.kind() {
        ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem | ErrorKind::NotADirectory => "is not writable",
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => "is full",
        ErrorKind::Unsupported => "cannot hold symbolic links",
        // EPERM comes as PermissionDenied; a file system without links gives it too.
        _ => return FileError { path: path.to_owned(), doing, source: e }.into(),
    };
    RunnerError::DeviceRefused {
        folder: path.to_owned(),
        why: format!("cannot {doing}, it {why} ({e})"),
        fix: "make room or set LIMBECK_HOME, or `workdir` of the board, to another folder".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_damaged_copy_never_takes_its_name() {
        let dir = tempfile::tempdir().unwrap();
        let (from, to) = (dir.path().join("from"), dir.path().join("to"));
        std::fs::write(&from, "new").unwrap();
        std::fs::write(&to, "old").unwrap();
        let sha256 = limbeck_files::sha256_hex(b"newer");
        let error =
            Local::native().put(Copied { from: &from, to: &to, sha256: &sha256, executable: false }).unwrap_err();
        assert!(matches!(error, RunnerError::DamagedCopy { .. }), "{error}");
        assert_eq!(std::fs::read(&to).unwrap(), b"old");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 2, "nothing staged is left");
    }

    #[test]
    fn an_emulator_stands_before_the_command() {
        let dir = tempfile::tempdir().unwrap();
        let lock = Lock::acquire(dir.path()).unwrap();
        let local = Local::emulated(vec!["/bin/echo".into(), "-cpu x".into()]);
        let argv = ["/slot/agent".into(), "probe".into()];
        let job = Job { what: "x", argv: &argv, dir: dir.path(), deadline: Duration::from_secs(10), lock: &lock };
        assert_eq!(local.run_and_collect(job).unwrap().stdout, "-cpu x /slot/agent probe\n");
        let missing = Local::emulated(vec!["qemu-none-static".into()]).run_and_collect(job).unwrap_err();
        assert!(missing.to_string().contains("apt-get install -y qemu-user-static"), "{missing}");
    }
}
