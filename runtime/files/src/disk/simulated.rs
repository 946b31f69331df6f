//! A disk in memory that can lose power.
//!
//! Contents are durable once the file is synced, names once their folder is. Between those, a crash may keep anything: the
//! four kinds of [`Crash`] are the corners. Nothing here orders data before names, as some file systems kindly do.

use std::collections::BTreeMap;
use std::io::{Error, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard};

use super::Disk;
use crate::{FileError, at, folder_of};

/// What a power cut keeps of what was not synced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Crash {
    /// Nothing.
    NothingUnsynced,
    /// New names, but files are empty.
    NamesOnly,
    /// New names, and the first half of the data.
    HalfOfTheData,
    /// All of it.
    Everything,
}

impl Crash {
    /// All four.
    pub const ALL: [Crash; 4] = [Crash::NothingUnsynced, Crash::NamesOnly, Crash::HalfOfTheData, Crash::Everything];
}

/// The disk. Starts empty, with the folder `/`.
#[derive(Debug, Default)]
pub struct SimulatedDisk(Mutex<State>);

#[derive(Debug, Clone, Default)]
struct State {
    files: Vec<Contents>,
    names: BTreeMap<PathBuf, Entry>,
    durable_names: BTreeMap<PathBuf, Entry>,
    operations: usize,
    cut_at: Option<usize>,
}

#[derive(Debug, Clone, Default)]
struct Contents {
    now: Vec<u8>,
    durable: Option<Vec<u8>>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Entry {
    Folder,
    File(usize),
    Link(PathBuf),
}

impl SimulatedDisk {
    /// The power goes off in the `operation`-th change from now on, counted from 0; a write gets half-way.
    pub fn cut_at(&self, operation: usize) {
        let mut state = self.state();
        state.cut_at = Some(state.operations + operation);
    }

    /// Changes so far.
    pub fn operations(&self) -> usize {
        self.state().operations
    }

    /// The disk as it may come up after a crash now.
    pub fn after(&self, crash: Crash) -> SimulatedDisk {
        let state = self.state();
        let keeps_names = crash != Crash::NothingUnsynced;
        let names = if keeps_names { state.names.clone() } else { state.durable_names.clone() };
        let kept = |contents: &Contents| -> Vec<u8> {
            let durable = || contents.durable.clone().unwrap_or_default();
            match crash {
                _ if contents.durable.as_ref() == Some(&contents.now) => contents.now.clone(),
                Crash::NothingUnsynced => durable(),
                Crash::NamesOnly => vec![],
                Crash::HalfOfTheData => contents.now[..contents.now.len() / 2].to_vec(),
                Crash::Everything => contents.now.clone(),
            }
        };
        let files = state.files.iter().map(|c| Contents { now: kept(c), durable: Some(kept(c)) }).collect();
        let durable_names = names.clone();
        SimulatedDisk(Mutex::new(State { files, names, durable_names, operations: 0, cut_at: None }))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// One change; after the cut every one fails.
    fn change(
        &self,
        path: &Path,
        doing: &'static str,
        change: impl FnOnce(&mut State) -> Result<(), Error>,
    ) -> Result<(), FileError> {
        let mut state = self.state();
        let (operation, cut) = (state.operations, state.cut_at.unwrap_or(usize::MAX));
        state.operations += 1;
        if operation >= cut {
            return Err(at(path, doing)(Error::new(ErrorKind::BrokenPipe, "the power is off")));
        }
        change(&mut state).map_err(at(path, doing))
    }
}

impl State {
    fn in_folder(&self, path: &Path) -> Result<(), Error> {
        let folder = folder_of(path);
        let exists = folder == Path::new("/") || self.names.get(folder) == Some(&Entry::Folder);
        if exists { Ok(()) } else { Err(Error::new(ErrorKind::NotFound, "no such folder")) }
    }

    fn put(&mut self, path: &Path, bytes: &[u8]) -> Result<(), Error> {
        self.in_folder(path)?;
        let file = match self.names.get(path) {
            Some(Entry::File(file)) => *file,
            Some(_) => return Err(Error::new(ErrorKind::AlreadyExists, "is not a file")),
            None => {
                self.files.push(Contents::default());
                self.names.insert(path.to_owned(), Entry::File(self.files.len() - 1));
                self.files.len() - 1
            }
        };
        self.files[file].now = bytes.to_vec();
        Ok(())
    }
}

impl Disk for SimulatedDisk {
    fn read(&self, path: &Path) -> Result<Option<Vec<u8>>, FileError> {
        let state = self.state();
        match state.names.get(path) {
            Some(Entry::File(file)) => Ok(Some(state.files[*file].now.clone())),
            Some(_) => Err(at(path, "read")(Error::new(ErrorKind::InvalidInput, "is not a regular file"))),
            None => Ok(None),
        }
    }

    fn write(&self, path: &Path, bytes: &[u8]) -> Result<(), FileError> {
        {
            let mut state = self.state();
            if state.cut_at == Some(state.operations) {
                // The power goes off in the middle of it.
                let _ = state.put(path, &bytes[..bytes.len() / 2]);
            }
        }
        self.change(path, "write", |state| state.put(path, bytes))
    }

    fn sync(&self, path: &Path) -> Result<(), FileError> {
        self.change(path, "sync", |state| match state.names.get(path) {
            Some(Entry::File(file)) => {
                let contents = &mut state.files[*file];
                contents.durable = Some(contents.now.clone());
                Ok(())
            }
            _ => Err(ErrorKind::NotFound.into()),
        })
    }

    fn rename(&self, from: &Path, to: &Path) -> Result<(), FileError> {
        self.change(to, "rename into place", |state| {
            state.in_folder(to)?;
            let entry = state.names.remove(from).ok_or(ErrorKind::NotFound)?;
            state.names.insert(to.to_owned(), entry);
            Ok(())
        })
    }

    fn sync_dir(&self, dir: &Path) -> Result<(), FileError> {
        self.change(dir, "sync", |state| {
            let inside = |path: &Path| path != dir && folder_of(path) == dir;
            state.durable_names.retain(|path, _| !inside(path));
            let synced: Vec<_> = state.names.iter().filter(|(path, _)| inside(path)).collect();
            let synced: Vec<_> = synced.into_iter().map(|(path, entry)| (path.clone(), entry.clone())).collect();
            state.durable_names.extend(synced);
            Ok(())
        })
    }

    fn remove(&self, path: &Path) -> Result<(), FileError> {
        self.change(path, "remove", |state| {
            state.names.remove(path);
            Ok(())
        })
    }

    fn symlink(&self, link: &Path, target: &Path) -> Result<(), FileError> {
        self.change(link, "link", |state| {
            state.in_folder(link)?;
            if state.names.contains_key(link) {
                return Err(ErrorKind::AlreadyExists.into());
            }
            state.names.insert(link.to_owned(), Entry::Link(target.to_owned()));
            Ok(())
        })
    }

    fn read_link(&self, link: &Path) -> Result<Option<PathBuf>, FileError> {
        match self.state().names.get(link) {
            Some(Entry::Link(target)) => Ok(Some(target.clone())),
            Some(_) => Err(at(link, "read link")(ErrorKind::InvalidInput.into())),
            None => Ok(None),
        }
    }

    /// Durable at once: a folder that is lost again is not what is tested here.
    fn make_dir(&self, dir: &Path) -> Result<(), FileError> {
        self.change(dir, "create folder", |state| {
            for folder in dir.ancestors().filter(|a| a.parent().is_some()) {
                state.names.insert(folder.to_owned(), Entry::Folder);
                state.durable_names.insert(folder.to_owned(), Entry::Folder);
            }
            Ok(())
        })
    }

    fn list(&self, dir: &Path) -> Result<Vec<String>, FileError> {
        let state = self.state();
        let inside = state.names.keys().filter(|path| path.as_path() != dir && folder_of(path) == dir);
        Ok(inside.filter_map(|path| Some(path.file_name()?.to_string_lossy().into_owned())).collect())
    }

    fn remove_dir(&self, dir: &Path) -> Result<(), FileError> {
        self.change(dir, "remove", |state| {
            state.names.retain(|path, _| !path.starts_with(dir));
            Ok(())
        })
    }
}
