//! Two writers apart: an install folder is changed by one program at a time, and a working folder used by one.
//!
//! The lock is the kernel's (`flock`), as that of `limbeck` on a board is, and on the same file. An agent that `limbeck`
//! started has the locked file as its standard input: it holds the lock already, and takes part in it.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::Write;
use std::path::{Path, PathBuf};

use limbeck_files::FileError;
use rustix::fs::{FlockOperation, flock, fstat};

/// Why a folder cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Someone else works in it.
    #[error("{}: in use by {holder}; wait for it or stop it", path.display())]
    Busy {
        /// The lock file.
        path: PathBuf,
        /// Who, as the file says.
        holder: String,
    },
    /// The file.
    #[error(transparent)]
    File(#[from] FileError),
}

/// The folder is ours until this is dropped.
#[derive(Debug)]
pub struct Lock {
    /// `None` where whoever started this program holds it and shares it.
    _file: Option<File>,
}

impl Lock {
    /// Lock the folder `dir`, which must exist.
    pub fn acquire(dir: &Path) -> Result<Lock, LockError> {
        let path = dir.join("lock");
        let io = |source| FileError { path: path.clone(), doing: "lock", source };
        let mut file =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path).map_err(io)?;
        if is_standard_input(&file) {
            // The same open file: this succeeds for whoever shares the lock, and takes it if nobody has it.
            let shared = flock(std::io::stdin(), FlockOperation::NonBlockingLockExclusive);
            return match shared {
                Ok(()) => Ok(Lock { _file: None }),
                Err(_) => Err(LockError::Busy { holder: holder(&path), path }),
            };
        }
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(LockError::Busy { holder: holder(&path), path }),
            Err(TryLockError::Error(e)) => return Err(io(e).into()),
        }
        // In place: the lock is tied to this very file. The number is for people.
        let text = format!("limbeck {} 0\n", std::process::id());
        file.set_len(0).and_then(|()| file.write_all(text.as_bytes())).map_err(io)?;
        Ok(Lock { _file: Some(file) })
    }
}

fn is_standard_input(file: &File) -> bool {
    let (Ok(ours), Ok(input)) = (fstat(file), fstat(std::io::stdin())) else { return false };
    (ours.st_dev, ours.st_ino) == (input.st_dev, input.st_ino)
}

fn holder(path: &Path) -> String {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let pid = text.split_whitespace().nth(1).and_then(|pid| pid.parse::<u32>().ok());
    pid.map_or("another process".into(), |pid| format!("process {pid}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_do_not_share_a_folder_and_the_holder_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let first = Lock::acquire(dir.path()).unwrap();
        let error = Lock::acquire(dir.path()).unwrap_err().to_string();
        assert!(error.contains(&format!("process {}", std::process::id())), "{error}");
        drop(first);
        Lock::acquire(dir.path()).unwrap();
    }

    #[test]
    fn a_lock_file_left_behind_locks_nothing() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("lock"), "limbeck 999999999 0\n").unwrap();
        Lock::acquire(dir.path()).unwrap();
    }
}
