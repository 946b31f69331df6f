//! How files and commands get to a board.
//!
//! Every operation either happens or does not; [`install`](crate::install) puts them together so that the board is
//! whole after each one. A transport to come (ssh) implements the same eleven.

use std::ffi::{OsStr, OsString};
use std::fs::{File, OpenOptions, Permissions};
use std::io::ErrorKind;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use limbeck_boards::{Board, Transport as Way};
use limbeck_files::FileError;

use crate::error::RunnerError;
use crate::lock::Lock;
use crate::process::{self, Output, RunError};
use crate::toolchain::{emulator_fix, find_program};

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

/// The way to a board.
pub trait Transport: Send {
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
    /// Remove a folder with all that is in it.
    fn remove_dir(&self, dir: &Path) -> Result<(), RunnerError>;
    /// Bytes free for us in a folder; `None` when the board does not say.
    fn free_bytes(&self, dir: &Path) -> Result<Option<u64>, RunnerError>;
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
        Way::Ssh { .. } => {
            let host = board.ssh_host()?.unwrap_or_default();
            let what = format!("a way over ssh to `{host}`");
            Err(RunnerError::MissingTool { what, fix: "a version of limbeck that has it".to_owned() })
        }
    }
}

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
        let names = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok());
        Ok(names.collect())
    }

    fn remove_dir(&self, dir: &Path) -> Result<(), RunnerError> {
        std::fs::remove_dir_all(dir).map_err(|e| refused_or(dir, "remove", e))
    }

    fn free_bytes(&self, dir: &Path) -> Result<Option<u64>, RunnerError> {
        Ok(rustix::fs::statvfs(dir).ok().map(|fs| fs.f_bavail.saturating_mul(fs.f_frsize)))
    }

    fn lock(&self, dir: &Path) -> Result<Lock, RunnerError> {
        Lock::acquire(dir)
    }

    fn run(&self, job: Job<'_>, on_line: &mut dyn FnMut(&str)) -> Result<Output, RunnerError> {
        let argv: Vec<&OsStr> =
            self.runner.iter().map(OsStr::new).chain(job.argv.iter().map(OsString::as_os_str)).collect();
        let (program, args) = argv.split_first().ok_or_else(|| not_started(&job, "no program was given"))?;
        let mut command = Command::new(program);
        command.args(args).current_dir(job.dir).stdin(Stdio::from(job.lock.share()?));
        let started = |group| job.lock.note_agent(group);
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

fn staged_name(path: &Path) -> PathBuf {
    let name = path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    path.with_file_name(format!(".{name}.limbeck-tmp"))
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
