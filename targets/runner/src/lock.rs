//! One limbeck at a time on a board.
//!
//! The lock is the kernel's (`flock`), so it ends with its owner however that dies; nothing stale has to be guessed
//! from a number in a file. The running agent gets the locked file as its standard input and so holds the lock too:
//! when limbeck is killed and its agent runs on, the next limbeck finds the board locked by an orphan, kills the
//! orphan's group (its number is in the file, and checked), and goes on.

use std::fs::{File, Metadata, OpenOptions, TryLockError};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use limbeck_files::FileError;
use rustix::process::Pid;

use crate::error::RunnerError;
use crate::process::kill_group;
use crate::transport::Session;

/// The board is ours until this is dropped.
#[derive(Debug)]
pub struct Lock(Held);

#[derive(Debug)]
enum Held {
    /// A locked file on this machine.
    Here(LockedFile),
    /// A locked file on the board, held by a shell there.
    There(Box<Session>),
}

impl Lock {
    /// Lock the working folder `dir` on this machine, which must exist.
    pub fn acquire(dir: &Path) -> Result<Lock, RunnerError> {
        Ok(Lock(Held::Here(LockedFile::acquire(dir)?)))
    }

    /// A lock that a shell on the board holds.
    pub(crate) fn there(session: Session) -> Lock {
        Lock(Held::There(Box::new(session)))
    }

    /// The locked file on this machine.
    pub(crate) fn file(&self) -> Result<&LockedFile, RunnerError> {
        match &self.0 {
            Held::Here(file) => Ok(file),
            Held::There(session) => Err(foreign(session.lock())),
        }
    }

    /// The shell on the board.
    pub(crate) fn session(&self) -> Result<&Session, RunnerError> {
        match &self.0 {
            Held::Here(file) => Err(foreign(&file.path)),
            Held::There(session) => Ok(session),
        }
    }
}

/// A lock was given to another transport than the one that made it.
fn foreign(lock: &Path) -> RunnerError {
    RunnerError::Busy { lock: lock.to_owned(), holder: "another transport of this process".to_owned() }
}

/// A file that the kernel locks for us.
#[derive(Debug)]
pub(crate) struct LockedFile {
    file: File,
    path: PathBuf,
}

impl LockedFile {
    fn acquire(dir: &Path) -> Result<LockedFile, RunnerError> {
        let path = dir.join("lock");
        let io = |source| FileError { path: path.clone(), doing: "lock", source };
        let open = || OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path);
        let mut file = open().map_err(io)?;
        for attempt in 0.. {
            match file.try_lock() {
                Ok(()) if is_at(&file, &path) => break,
                // Who held it removed it (`clean`): what we hold keeps nobody off.
                Ok(()) => {
                    file = open().map_err(io)?;
                    continue;
                }
                Err(TryLockError::WouldBlock) => {}
                Err(TryLockError::Error(e)) => return Err(io(e).into()),
            }
            let holder = Holder::read(&path);
            match holder.orphan(&path) {
                // The kernel needs a moment to take a killed group down.
                Some(group) if attempt < 100 => {
                    kill_group(group);
                    std::thread::sleep(Duration::from_millis(20));
                }
                _ if attempt < 5 => std::thread::sleep(Duration::from_millis(20)),
                _ => return Err(RunnerError::Busy { lock: path, holder: holder.to_string() }),
            }
        }
        let lock = LockedFile { file, path };
        lock.write(None)?;
        Ok(lock)
    }

    /// Note the process group of the agent, for whoever finds it orphaned.
    pub(crate) fn note_agent(&self, group: u32) {
        if let Err(e) = self.write(Some(group)) {
            log::warn!("{e}; an agent orphaned by a crash will have to be stopped by hand");
        }
    }

    /// The locked file, for the standard input of the agent.
    pub(crate) fn share(&self) -> Result<File, RunnerError> {
        let io = |source| FileError { path: self.path.clone(), doing: "share the lock", source };
        Ok(self.file.try_clone().map_err(io)?)
    }

    fn write(&self, agent: Option<u32>) -> Result<(), FileError> {
        let pid = std::process::id();
        let started = started(pid).unwrap_or(0);
        let agent = agent.map(|group| format!("agent {group}\n")).unwrap_or_default();
        let text = format!("limbeck {pid} {started}\n{agent}");
        // In place: a lock is tied to this very file, a renamed one would be another.
        let result = self.file.set_len(0).and_then(|()| self.file.write_all_at(text.as_bytes(), 0));
        result.map_err(|source| FileError { path: self.path.clone(), doing: "write", source })
    }
}

/// Does `path` still name this open file?
fn is_at(file: &File, path: &Path) -> bool {
    let same = |a: &Metadata, b: &Metadata| a.dev() == b.dev() && a.ino() == b.ino();
    matches!((file.metadata(), std::fs::metadata(path)), (Ok(open), Ok(named)) if same(&open, &named))
}

impl Drop for LockedFile {
    fn drop(&mut self) {
        // Explicit, because a program that another thread is just starting may hold a copy for an instant.
        let _ = self.file.unlock();
    }
}

/// What the lock file says about who holds it.
#[derive(Debug, Default, PartialEq)]
struct Holder {
    pid: Option<u32>,
    started: u64,
    agent: Option<u32>,
}

impl Holder {
    fn read(path: &Path) -> Holder {
        let text = std::fs::read_to_string(path).unwrap_or_default();
        let mut holder = Holder::default();
        for line in text.lines() {
            let mut words = line.split(' ');
            match (words.next(), words.next().and_then(|w| w.parse().ok())) {
                (Some("limbeck"), pid) => {
                    holder.pid = pid;
                    holder.started = words.next().and_then(|w| w.parse().ok()).unwrap_or(0);
                }
                (Some("agent"), group) => holder.agent = group,
                _ => {}
            }
        }
        holder
    }

    /// The agent's group, when the limbeck that started it is gone and it really is the one that holds the lock.
    fn orphan(&self, lock: &Path) -> Option<Pid> {
        let owner_lives = started(self.pid?).is_some_and(|now| self.started == 0 || now == self.started);
        let group = self.agent?;
        let input = std::fs::read_link(format!("/proc/{group}/fd/0")).ok()?;
        let is_ours = input == std::fs::canonicalize(lock).ok()?;
        if owner_lives || !is_ours {
            return None;
        }
        Pid::from_raw(i32::try_from(group).ok()?)
    }
}

impl std::fmt::Display for Holder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.pid {
            Some(pid) => write!(f, "process {pid}"),
            None => f.write_str("another process"),
        }
    }
}

/// Start time of a process in clock ticks since boot (field 22 of its `stat`): with the number it names a process for
/// good. `None`: there is none.
fn started(pid: u32) -> Option<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name, field 2, is in parentheses and may hold anything; field 3 follows the last one.
    stat.rsplit_once(')')?.1.split_ascii_whitespace().nth(22 - 3)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::CommandExt;
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn two_do_not_share_a_board_and_the_holder_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let first = Lock::acquire(dir.path()).unwrap();
        let error = Lock::acquire(dir.path()).unwrap_err();
        assert!(matches!(error, RunnerError::Busy { .. }));
        assert!(error.to_string().contains(&format!("process {}", std::process::id())), "{error}");
        drop(first);
        Lock::acquire(dir.path()).unwrap();
    }

    #[test]
    fn a_lock_file_left_behind_locks_nothing() {
        let dir = tempfile::tempdir().unwrap();
        for text in ["limbeck 999999999 1\nagent 999999999\n", "", "nonsense\n\u{0}"] {
            std::fs::write(dir.path().join("lock"), text).unwrap();
            Lock::acquire(dir.path()).unwrap();
        }
    }

    #[test]
    fn a_lock_file_that_was_removed_keeps_nobody_off_for_ever() {
        let dir = tempfile::tempdir().unwrap();
        let cleaned = Lock::acquire(dir.path()).unwrap();
        let waiting = std::thread::spawn({
            let dir = dir.path().to_owned();
            move || Lock::acquire(&dir).map(drop)
        });
        std::thread::sleep(Duration::from_millis(30));
        std::fs::remove_file(dir.path().join("lock")).unwrap();
        drop(cleaned);
        waiting.join().unwrap().unwrap();
        assert!(dir.path().join("lock").exists(), "the waiting one locked a file without a name");
    }

    #[test]
    fn an_orphaned_agent_is_killed_and_the_board_is_free() {
        let dir = tempfile::tempdir().unwrap();
        let lock = LockedFile::acquire(dir.path()).unwrap();
        let stdin = Stdio::from(lock.share().unwrap());
        let mut agent = Command::new("sleep").arg("300").stdin(stdin).process_group(0).spawn().unwrap();
        lock.note_agent(agent.id());
        // The death of limbeck: its descriptor is closed without unlocking, and its process is gone.
        let text = std::fs::read_to_string(dir.path().join("lock")).unwrap();
        let dead = text.replace(&format!("limbeck {}", std::process::id()), "limbeck 999999999");
        std::fs::write(dir.path().join("lock"), dead).unwrap();
        forget_without_unlock(lock);
        Lock::acquire(dir.path()).unwrap();
        assert!(!agent.wait().unwrap().success());
    }

    #[test]
    fn the_agent_of_a_living_limbeck_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let lock = LockedFile::acquire(dir.path()).unwrap();
        let stdin = Stdio::from(lock.share().unwrap());
        let mut agent = Command::new("sleep").arg("300").stdin(stdin).process_group(0).spawn().unwrap();
        lock.note_agent(agent.id());
        assert!(matches!(Lock::acquire(dir.path()), Err(RunnerError::Busy { .. })));
        assert!(agent.try_wait().unwrap().is_none(), "the agent was killed");
        agent.kill().unwrap();
        agent.wait().unwrap();
    }

    /// Close this process's copy as the kernel does on SIGKILL: without `unlock`, which would free it for all copies.
    fn forget_without_unlock(mut lock: LockedFile) {
        // Replace the descriptor by another file's, so that `drop` unlocks that one.
        lock.file = File::open("/dev/null").unwrap();
    }
}
