//! A file system as a value, so that what must survive a power cut can be tested against one that loses everything unsynced.
//!
//! [`RealDisk`] is the system's; [`SimulatedDisk`] stops at any operation and then shows what may be left. Code that promises to
//! leave old or new, whole, takes a [`Disk`] and is run against both.

mod simulated;

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};

pub use simulated::{Crash, SimulatedDisk};

use crate::{FileError, at, folder_of};

/// What the steps of an atomic change are made of. Each step happens or fails; only the two `sync`s make anything durable.
pub trait Disk: Send + Sync {
    /// Whole contents of a file; `None` when there is none.
    fn read(&self, path: &Path) -> Result<Option<Vec<u8>>, FileError>;
    /// Create or replace a file. Not durable until [`Disk::sync`]; its name not until [`Disk::sync_dir`].
    fn write(&self, path: &Path, bytes: &[u8]) -> Result<(), FileError>;
    /// Make a file's contents durable.
    fn sync(&self, path: &Path) -> Result<(), FileError>;
    /// Give a file or link another name in the same folder, replacing what has it, in one step.
    fn rename(&self, from: &Path, to: &Path) -> Result<(), FileError>;
    /// Make the names in a folder durable.
    fn sync_dir(&self, dir: &Path) -> Result<(), FileError>;
    /// Remove a file or link; nothing when there is none.
    fn remove(&self, path: &Path) -> Result<(), FileError>;
    /// Create a symbolic link where nothing stands.
    fn symlink(&self, link: &Path, target: &Path) -> Result<(), FileError>;
    /// Where a symbolic link points; `None` when there is no link.
    fn read_link(&self, link: &Path) -> Result<Option<PathBuf>, FileError>;
    /// Create a folder and its parents.
    fn make_dir(&self, dir: &Path) -> Result<(), FileError>;
    /// Names in a folder, sorted; none when there is no folder.
    fn list(&self, dir: &Path) -> Result<Vec<String>, FileError>;
    /// Remove a folder with all that is in it; nothing when there is none.
    fn remove_dir(&self, dir: &Path) -> Result<(), FileError>;

    /// Replace a file whole or not at all: temporary name, sync, rename, sync the folder.
    fn replace(&self, path: &Path, bytes: &[u8]) -> Result<(), FileError> {
        let temporary = temporary_of(path);
        let staged = self.write(&temporary, bytes).and_then(|()| self.sync(&temporary));
        if let Err(error) = staged.and_then(|()| self.rename(&temporary, path)) {
            // What is left of it is overwritten by the next attempt.
            let _ = self.remove(&temporary);
            return Err(error);
        }
        self.sync_dir(folder_of(path))
    }

    /// Let a symbolic link point elsewhere, in one step, and make that durable.
    fn switch_link(&self, link: &Path, target: &Path) -> Result<(), FileError> {
        let temporary = temporary_of(link);
        self.remove(&temporary)?;
        self.symlink(&temporary, target)?;
        self.rename(&temporary, link)?;
        self.sync_dir(folder_of(link))
    }
}

/// The name under which what becomes `path` is written: one a file, so that leftovers never pile up.
fn temporary_of(path: &Path) -> PathBuf {
    let name = path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    path.with_file_name(format!(".{name}.limbeck-tmp"))
}

/// The system's file system.
#[derive(Debug, Clone, Copy, Default)]
pub struct RealDisk;

impl Disk for RealDisk {
    fn read(&self, path: &Path) -> Result<Option<Vec<u8>>, FileError> {
        match crate::read(path) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(e) if e.source.kind() == ErrorKind::NotFound => Ok(None),
            Err(e) => Err(e),
        }
    }

    fn write(&self, path: &Path, bytes: &[u8]) -> Result<(), FileError> {
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true);
        options.open(path).and_then(|mut file| file.write_all(bytes)).map_err(at(path, "write"))
    }

    fn sync(&self, path: &Path) -> Result<(), FileError> {
        File::open(path).and_then(|file| file.sync_all()).map_err(at(path, "sync"))
    }

    fn rename(&self, from: &Path, to: &Path) -> Result<(), FileError> {
        std::fs::rename(from, to).map_err(at(to, "rename into place"))
    }

    fn sync_dir(&self, dir: &Path) -> Result<(), FileError> {
        File::open(dir).and_then(|file| file.sync_all()).map_err(at(dir, "sync"))
    }

    fn remove(&self, path: &Path) -> Result<(), FileError> {
        absent_is_fine(std::fs::remove_file(path)).map_err(at(path, "remove"))
    }

    fn symlink(&self, link: &Path, target: &Path) -> Result<(), FileError> {
        #[cfg(unix)]
        let made = std::os::unix::fs::symlink(target, link);
        #[cfg(not(unix))]
        let made = Err(io::Error::new(ErrorKind::Unsupported, format!("no symbolic links ({})", target.display())));
        made.map_err(at(link, "link"))
    }

    fn read_link(&self, link: &Path) -> Result<Option<PathBuf>, FileError> {
        match std::fs::read_link(link) {
            Ok(target) => Ok(Some(target)),
            Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
            Err(e) => Err(at(link, "read link")(e)),
        }
    }

    fn make_dir(&self, dir: &Path) -> Result<(), FileError> {
        crate::create_dir(dir)
    }

    fn list(&self, dir: &Path) -> Result<Vec<String>, FileError> {
        let entries = match std::fs::read_dir(dir) {
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(vec![]),
            entries => entries.map_err(at(dir, "list"))?,
        };
        let names = entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()));
        let mut names = names.collect::<io::Result<Vec<_>>>().map_err(at(dir, "list"))?;
        names.sort();
        Ok(names)
    }

    fn remove_dir(&self, dir: &Path) -> Result<(), FileError> {
        absent_is_fine(std::fs::remove_dir_all(dir)).map_err(at(dir, "remove"))
    }
}

fn absent_is_fine(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(()),
        result => result,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What both disks must do alike.
    fn behaves(disk: &dyn Disk, dir: &Path) {
        let (file, link) = (dir.join("file"), dir.join("link"));
        disk.make_dir(dir).unwrap();
        assert_eq!(disk.read(&file).unwrap(), None);
        disk.replace(&file, b"one").unwrap();
        disk.replace(&file, b"two").unwrap();
        assert_eq!(disk.read(&file).unwrap().unwrap(), b"two");
        assert_eq!(disk.read_link(&link).unwrap(), None);
        disk.switch_link(&link, Path::new("a")).unwrap();
        disk.switch_link(&link, Path::new("b")).unwrap();
        assert_eq!(disk.read_link(&link).unwrap().unwrap(), Path::new("b"));
        assert_eq!(disk.list(dir).unwrap(), ["file", "link"]);
        disk.remove(&file).unwrap();
        disk.remove(&file).unwrap();
        assert_eq!(disk.list(dir).unwrap(), ["link"]);
        disk.remove_dir(dir).unwrap();
        disk.remove_dir(dir).unwrap();
        assert_eq!(disk.list(dir).unwrap(), [""; 0]);
        assert!(disk.write(&file, b"no folder").is_err());
    }

    #[test]
    fn the_simulated_disk_does_what_the_real_one_does() {
        let dir = tempfile::tempdir().unwrap();
        behaves(&RealDisk, &dir.path().join("folder"));
        behaves(&SimulatedDisk::default(), Path::new("/folder"));
    }

    #[test]
    fn a_replaced_file_is_old_or_new_wherever_the_power_is_cut() {
        let (dir, file) = (Path::new("/d"), Path::new("/d/file"));
        let mut outcomes = std::collections::BTreeSet::new();
        for operation in 0.. {
            let disk = SimulatedDisk::default();
            disk.make_dir(dir).unwrap();
            disk.replace(file, b"old").unwrap();
            disk.cut_at(operation);
            let done = disk.replace(file, b"the new one").is_ok();
            for crash in Crash::ALL {
                let left = disk.after(crash).read(file).unwrap().unwrap();
                assert!(left == b"old" || left == b"the new one", "cut at {operation}, {crash:?}: {left:?}");
                assert!(!done || left == b"the new one", "it said that it was done");
                outcomes.insert(left);
            }
            if done {
                break;
            }
        }
        assert_eq!(outcomes.len(), 2);
    }

    #[test]
    fn the_simulated_disk_catches_a_rename_without_a_sync() {
        let disk = SimulatedDisk::default();
        disk.make_dir(Path::new("/d")).unwrap();
        disk.replace(Path::new("/d/file"), b"old").unwrap();
        disk.write(Path::new("/d/tmp"), b"new").unwrap();
        disk.rename(Path::new("/d/tmp"), Path::new("/d/file")).unwrap();
        let left = |crash| disk.after(crash).read(Path::new("/d/file")).unwrap().unwrap();
        assert_eq!(left(Crash::NothingUnsynced), b"old");
        assert_eq!(left(Crash::NamesOnly), b"");
        assert_eq!(left(Crash::HalfOfTheData), b"n");
        assert_eq!(left(Crash::Everything), b"new");
    }
}
