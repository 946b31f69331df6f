//! A folder as a store.

use std::io;
use std::path::{Path, PathBuf};

use limbeck_files::FileError;

use crate::{Entry, StoreError};

#[derive(Debug)]
pub(crate) struct Folder {
    root: PathBuf,
}

impl Folder {
    pub(crate) fn new(root: PathBuf) -> Folder {
        Folder { root }
    }

    pub(crate) fn list(&self) -> Result<Vec<Entry>, StoreError> {
        let mut entries = vec![];
        let mut folders = vec![(self.root.clone(), String::new())];
        while let Some((folder, prefix)) = folders.pop() {
            let at = |source: io::Error| FileError { path: folder.clone(), doing: "list", source };
            for entry in std::fs::read_dir(&folder).map_err(at)? {
                let entry = entry.map_err(at)?;
                let Ok(name) = entry.file_name().into_string() else { continue };
                let meta = std::fs::metadata(entry.path()).map_err(at)?;
                let key = format!("{prefix}{name}");
                match meta.is_dir() {
                    true => folders.push((entry.path(), format!("{key}/"))),
                    false => entries.push(Entry { key, bytes: meta.len() }),
                }
            }
        }
        Ok(entries)
    }

    pub(crate) fn size(&self, key: &str) -> Result<Option<u64>, StoreError> {
        let path = self.root.join(key);
        match std::fs::metadata(&path) {
            Ok(meta) => Ok(Some(meta.len())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(FileError { path, doing: "look at", source }.into()),
        }
    }

    pub(crate) fn get(&self, key: &str) -> Result<Vec<u8>, StoreError> {
        Ok(limbeck_files::read(self.root.join(key))?)
    }

    pub(crate) fn download(&self, key: &str, to: &Path) -> Result<(), StoreError> {
        copy(&self.root.join(key), to)
    }

    pub(crate) fn upload(&self, from: &Path, key: &str) -> Result<(), StoreError> {
        let to = self.root.join(key);
        if let Some(folder) = to.parent() {
            limbeck_files::create_dir(folder)?;
        }
        copy(from, &to)
    }
}

fn copy(from: &Path, to: &Path) -> Result<(), StoreError> {
    let mut file =
        std::fs::File::open(from).map_err(|source| FileError { path: from.to_owned(), doing: "read", source })?;
    Ok(limbeck_files::write_atomic(to, |w| io::copy(&mut file, w).map(|_| ()))?)
}
