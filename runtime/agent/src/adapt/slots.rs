//! The adapted bundle becomes an install: a new slot beside the one it came from, made current by one switch of a link.
//!
//! ```text
//! <workdir>/slots/<n>/{agent,bundle}        the parent, untouched; `previous` afterwards
//! <workdir>/slots/<n+1>/{agent,bundle}      the same agent (one file, two names) and the adapted bundle
//! ```
//!
//! Steps, in the order of `limbeck deploy`: fill the new slot, sync it, check what lies there, `previous` ← what was current,
//! `current` ← the new slot, remove older slots. Cut anywhere, `current` names a whole slot, the old one or the new one.

use std::path::{Path, PathBuf};

use anyhow::Result;
use limbeck_files::FileError;
use limbeck_files::disk::{Disk, RealDisk};

/// A disk on which a file can get a second name.
pub trait SlotDisk: Disk {
    /// Give the file `from` the further name `to`, with all that makes it a program.
    fn share(&self, from: &Path, to: &Path) -> Result<(), FileError>;
}

impl SlotDisk for RealDisk {
    fn share(&self, from: &Path, to: &Path) -> Result<(), FileError> {
        if std::fs::hard_link(from, to).is_ok() {
            return Ok(());
        }
        // A file system without hard links: a copy, which keeps the mode.
        let failed = |source| FileError { path: to.to_owned(), doing: "copy", source };
        std::fs::copy(from, to).map_err(failed)?;
        self.sync(to)
    }
}

/// The installs below one folder.
pub struct Slots<'a, D: SlotDisk> {
    disk: &'a D,
    workdir: PathBuf,
}

/// Why a bundle cannot become a slot.
#[derive(Debug, thiserror::Error)]
pub enum SlotError {
    /// The file system.
    #[error(transparent)]
    File(#[from] FileError),
    /// What was adapted is not what is current.
    #[error("{}: not the current install's bundle ({}); deploy it first, or write to a file with --out", bundle.display(), current.display())]
    NotCurrent {
        /// The bundle.
        bundle: PathBuf,
        /// Where the current one lies.
        current: PathBuf,
    },
    /// Nothing is installed.
    #[error("{}: nothing is installed; deploy a bundle first, or write to a file with --out", workdir.display())]
    NotInstalled {
        /// Folder of the installs.
        workdir: PathBuf,
    },
    /// What was written is not what is there.
    #[error("slot {number} does not pass its check ({why}); the old one stays current")]
    Unfit {
        /// The new slot.
        number: u32,
        /// What failed.
        why: String,
    },
}

impl<'a, D: SlotDisk> Slots<'a, D> {
    /// Below `workdir`, as `limbeck deploy` lays it out.
    pub fn new(disk: &'a D, workdir: &Path) -> Slots<'a, D> {
        Slots { disk, workdir: workdir.to_owned() }
    }

    /// Number of the current slot.
    pub fn current(&self) -> Result<u32, SlotError> {
        let none = || SlotError::NotInstalled { workdir: self.workdir.clone() };
        self.linked("current")?.ok_or_else(none)
    }

    /// The bundle of a slot.
    pub fn bundle(&self, number: u32) -> PathBuf {
        self.slot(number).join("bundle")
    }

    /// Install `bundle` with the current agent and make it current, if `fits` is content with the file that lies there.
    /// The new slot's number.
    pub fn add(&self, bundle: &[u8], fits: impl FnOnce(&Path) -> Result<(), String>) -> Result<u32, SlotError> {
        let current = self.current()?;
        let previous = self.linked("previous")?;
        self.remove_others(&[Some(current), previous])?;
        let number = self.next_number()?;
        let slot = self.slot(number);
        if let Err(error) = self.fill(number, current, bundle, fits) {
            // Nothing points to it; the next install removes what this one cannot.
            if let Err(e) = self.disk.remove_dir(&slot) {
                log::debug!("after a failed install: {e}");
            }
            return Err(error);
        }
        // `previous` first: were it second, a cut in between would leave nothing pointing to what was current.
        self.disk.switch_link(&self.workdir.join("previous"), &relative(current))?;
        self.disk.switch_link(&self.workdir.join("current"), &relative(number))?;
        if let Err(e) = self.remove_others(&[Some(number), Some(current)]) {
            log::warn!("{e}; older slots stay");
        }
        Ok(number)
    }

    fn fill(
        &self,
        number: u32,
        current: u32,
        bundle: &[u8],
        fits: impl FnOnce(&Path) -> Result<(), String>,
    ) -> Result<(), SlotError> {
        let slot = self.slot(number);
        self.disk.make_dir(&slot)?;
        self.disk.share(&self.slot(current).join("agent"), &slot.join("agent"))?;
        self.disk.replace(&slot.join("bundle"), bundle)?;
        self.disk.sync_dir(&slot)?;
        self.disk.sync_dir(&self.workdir.join("slots"))?;
        fits(&slot.join("bundle")).map_err(|why| SlotError::Unfit { number, why })
    }

    fn slot(&self, number: u32) -> PathBuf {
        self.workdir.join(relative(number))
    }

    /// The slot that a link names; a link to anything else names none of ours.
    fn linked(&self, name: &str) -> Result<Option<u32>, SlotError> {
        let target = self.disk.read_link(&self.workdir.join(name))?;
        Ok(target.and_then(|t| t.strip_prefix("slots").ok()?.to_str()?.parse().ok()))
    }

    fn numbers(&self) -> Result<Vec<u32>, SlotError> {
        let names = self.disk.list(&self.workdir.join("slots"))?;
        Ok(names.iter().filter_map(|name| name.parse().ok()).collect())
    }

    fn next_number(&self) -> Result<u32, SlotError> {
        let used = self.numbers()?;
        let after = used.iter().max().map_or(Some(1), |max| max.checked_add(1));
        Ok(after.unwrap_or_else(|| (1..).find(|n| !used.contains(n)).unwrap_or(0)))
    }

    fn remove_others(&self, keep: &[Option<u32>]) -> Result<(), SlotError> {
        for number in self.numbers()?.into_iter().filter(|n| !keep.contains(&Some(*n))) {
            self.disk.remove_dir(&self.slot(number))?;
        }
        Ok(())
    }
}

fn relative(number: u32) -> PathBuf {
    Path::new("slots").join(number.to_string())
}

#[cfg(test)]
mod tests {
    use limbeck_files::disk::{Crash, SimulatedDisk};

    use super::*;

    impl SlotDisk for SimulatedDisk {
        fn share(&self, from: &Path, to: &Path) -> Result<(), FileError> {
            let bytes = self.read(from)?.unwrap_or_default();
            self.write(to, &bytes)?;
            self.sync(to)
        }
    }

    const WORKDIR: &str = "/work";

    /// Slots 3 (previous) and 4 (current), and a leftover 9.
    fn installed() -> SimulatedDisk {
        let disk = SimulatedDisk::default();
        let path = |name: &str| Path::new(WORKDIR).join(name);
        for (number, bundle) in [(3, "older"), (4, "old"), (9, "torn")] {
            let slot = path(&format!("slots/{number}"));
            disk.make_dir(&slot).unwrap();
            disk.replace(&slot.join("agent"), b"agent").unwrap();
            disk.replace(&slot.join("bundle"), bundle.as_bytes()).unwrap();
        }
        disk.switch_link(&path("previous"), Path::new("slots/3")).unwrap();
        disk.switch_link(&path("current"), Path::new("slots/4")).unwrap();
        disk
    }

    /// Bundle and agent of what a link names.
    fn linked(disk: &SimulatedDisk, name: &str) -> Option<(Vec<u8>, Vec<u8>)> {
        let slots = Slots::new(disk, Path::new(WORKDIR));
        let number = slots.linked(name).unwrap()?;
        let read = |file: &str| disk.read(&slots.slot(number).join(file)).unwrap();
        Some((read("bundle")?, read("agent")?))
    }

    fn bytes_of(bundle: &str) -> Option<(Vec<u8>, Vec<u8>)> {
        Some((bundle.into(), b"agent".to_vec()))
    }

    #[test]
    fn the_new_slot_is_current_and_the_old_one_previous() {
        let disk = installed();
        let number = Slots::new(&disk, Path::new(WORKDIR)).add(b"new", |_| Ok(())).unwrap();
        assert_eq!(number, 5, "the leftover is gone before numbers are counted");
        assert_eq!((linked(&disk, "current"), linked(&disk, "previous")), (bytes_of("new"), bytes_of("old")));
        assert_eq!(disk.list(&Path::new(WORKDIR).join("slots")).unwrap(), ["4", "5"]);
    }

    #[test]
    fn what_does_not_pass_its_check_changes_nothing() {
        let disk = installed();
        let slots = Slots::new(&disk, Path::new(WORKDIR));
        let error = slots.add(b"new", |_| Err("probe 3 differs".into())).unwrap_err().to_string();
        assert!(error.contains("slot 5") && error.contains("probe 3 differs"), "{error}");
        assert_eq!((linked(&disk, "current"), linked(&disk, "previous")), (bytes_of("old"), bytes_of("older")));
        assert_eq!(disk.list(&Path::new(WORKDIR).join("slots")).unwrap(), ["3", "4"]);
    }

    #[test]
    fn cut_at_any_write_the_current_slot_is_the_old_or_the_new_one_whole() {
        let mut seen = std::collections::BTreeSet::new();
        for operation in 0.. {
            let disk = installed();
            let before = disk.operations();
            disk.cut_at(operation);
            let slots = Slots::new(&disk, Path::new(WORKDIR));
            let fits = |path: &Path| match disk.read(path) {
                Ok(Some(bytes)) if bytes == b"new" => Ok(()),
                other => Err(format!("{other:?}")),
            };
            let done = slots.add(b"new", fits).is_ok();
            for crash in Crash::ALL {
                let after = disk.after(crash);
                let current = linked(&after, "current");
                assert!(
                    current == bytes_of("old") || current == bytes_of("new"),
                    "cut at {operation}, {crash:?}: {current:?}"
                );
                assert!(!done || current == bytes_of("new"), "it said that it was done ({operation}, {crash:?})");
                // The way back leads to a whole slot too.
                let previous = linked(&after, "previous");
                assert!(previous == bytes_of("older") || previous == bytes_of("old"), "{operation}, {crash:?}");
                // And the next attempt finishes, whatever was left.
                Slots::new(&after, Path::new(WORKDIR)).add(b"new", |_| Ok(())).unwrap();
                assert_eq!(linked(&after, "current"), bytes_of("new"), "{operation}, {crash:?}");
                seen.insert(current);
            }
            // Nothing was left to cut.
            if disk.operations() - before <= operation {
                break;
            }
        }
        assert_eq!(seen.len(), 2, "both outcomes occur");
    }

    #[test]
    fn nothing_installed_is_said() {
        let disk = SimulatedDisk::default();
        let error = Slots::new(&disk, Path::new(WORKDIR)).add(b"new", |_| Ok(())).unwrap_err();
        assert!(matches!(error, SlotError::NotInstalled { .. }), "{error}");
    }
}
