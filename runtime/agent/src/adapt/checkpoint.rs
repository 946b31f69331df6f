//! The checkpoints in a working folder, and the time that was used up to them.
//!
//! A session knows its own checkpoints by what decides its bits, and refuses others; the store keeps two, so that one being written never
//! costs the one before.

use std::path::{Path, PathBuf};
use std::time::Duration;

use limbeck_adapt::CheckpointStore;
use limbeck_files::FileError;
use limbeck_files::disk::Disk;

/// See the module.
pub struct Checkpoints<'a> {
    store: CheckpointStore<'a>,
    disk: &'a dyn Disk,
    used: PathBuf,
    /// Scratch of the session.
    pub cuts: PathBuf,
}

impl<'a> Checkpoints<'a> {
    /// In the folder `dir`, which exists.
    pub fn new(disk: &'a dyn Disk, dir: &Path) -> Checkpoints<'a> {
        Checkpoints { store: CheckpointStore::new(disk, dir), disk, used: dir.join("seconds"), cuts: dir.join("cuts") }
    }

    /// Write one, after `used` of the time.
    pub fn save(&self, used: Duration, session: &[u8]) -> Result<(), FileError> {
        self.disk.replace(&self.used, format!("{:.3}", used.as_secs_f64()).as_bytes())?;
        self.store.save(session)
    }

    /// The newest whole one, and the time used up to it.
    pub fn load(&self) -> Result<Option<(Vec<u8>, Duration)>, FileError> {
        let Some(session) = self.store.load()? else { return Ok(None) };
        let seconds = self.disk.read(&self.used)?.and_then(|text| String::from_utf8(text).ok()?.parse().ok());
        Ok(Some((session, seconds.and_then(|s| Duration::try_from_secs_f64(s).ok()).unwrap_or_default())))
    }

    /// The work is done. What cannot be removed is refused by other work, and only said.
    pub fn clear(&self) {
        let scratch = || [&self.used, &self.cuts].into_iter().try_for_each(|path| self.disk.remove(path));
        if let Err(e) = self.store.clear().and_then(|()| scratch()) {
            log::warn!("{e}; the checkpoint of finished work stays");
        }
    }
}
