//! Whom a board believes: two small files in its working folder, read before anything is copied and written before the switch.
//!
//! ```text
//! <workdir>/trusted.pub    the key whose bundles it takes
//! <workdir>/version        the highest version that it was given
//! ```
//!
//! What they mean is decided by whoever installs (a runner opens no bundle); the agent asks the same question on the board.

use std::ffi::OsStr;
use std::path::Path;

use crate::error::RunnerError;
use crate::transport::{Script, Transport};

/// File of the key.
pub(crate) const KEY: &str = "trusted.pub";
/// File of the version.
pub(crate) const VERSION: &str = "version";

/// Longer files are none of ours.
const LIMIT: &str = "4096";

/// What a board remembers, as text.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Remembered {
    /// The key.
    pub key: Option<String>,
    /// The version.
    pub version: Option<String>,
}

/// Whether a board may have a bundle, and what it shall remember of it.
pub struct Admission<'a> {
    /// Asked with what the board remembers; the words are why it must not.
    pub admit: &'a dyn Fn(&Remembered) -> Result<(), String>,
    /// The key it shall trust from now on, where it trusts none yet.
    pub key: Option<&'a str>,
    /// The bundle's version; `None`: it has none.
    pub version: Option<u64>,
    /// The version counts although the board had a higher one.
    pub downgrade: bool,
}

impl Admission<'_> {
    /// No key, no version: for programs that have no bundle of ours.
    pub fn of_anything() -> Admission<'static> {
        Admission { admit: &|_| Ok(()), key: None, version: None, downgrade: false }
    }

    /// May the board have it?
    pub(crate) fn ask(&self, transport: &dyn Transport, workdir: &Path) -> Result<Remembered, RunnerError> {
        let remembered = read(transport, workdir)?;
        match (self.admit)(&remembered) {
            Ok(()) => Ok(remembered),
            Err(why) => Err(RunnerError::Untrusted { folder: workdir.to_owned(), why }),
        }
    }

    /// A downgrade that was asked for is made known to the board, which would refuse it otherwise.
    pub(crate) fn allow_downgrade(&self, transport: &dyn Transport, workdir: &Path) -> Result<(), RunnerError> {
        match self.version {
            Some(version) if self.downgrade => {
                log::warn!("{}: downgraded to version {version} by request", workdir.display());
                write(transport, workdir, VERSION, &version.to_string())
            }
            _ => Ok(()),
        }
    }

    /// The downgrade came to nothing: the board remembers what it did before.
    pub(crate) fn undo_downgrade(
        &self,
        transport: &dyn Transport,
        workdir: &Path,
        old: &Remembered,
    ) -> Result<(), RunnerError> {
        match &old.version {
            Some(version) if self.downgrade => write(transport, workdir, VERSION, version.trim()),
            _ => Ok(()),
        }
    }

    /// The bundle has proved itself: the board remembers it.
    pub(crate) fn keep(&self, transport: &dyn Transport, workdir: &Path, old: &Remembered) -> Result<(), RunnerError> {
        if let (Some(key), None) = (self.key, &old.key) {
            write(transport, workdir, KEY, key)?;
        }
        match self.version {
            Some(version) if old.version.as_deref().map(str::trim) != Some(&version.to_string()) => {
                write(transport, workdir, VERSION, &version.to_string())
            }
            _ => Ok(()),
        }
    }
}

fn read(transport: &dyn Transport, workdir: &Path) -> Result<Remembered, RunnerError> {
    let names = transport.list(workdir)?;
    let of = |name: &str| -> Result<Option<String>, RunnerError> {
        if !names.iter().any(|there| there == name) {
            return Ok(None);
        }
        let path = workdir.join(name);
        let text = "head -c \"$2\" -- \"$1\"";
        let args = [path.as_os_str(), OsStr::new(LIMIT)];
        transport.script(&path, Script { doing: "read what the board trusts", text, args: &args }).map(Some)
    };
    Ok(Remembered { key: of(KEY)?, version: of(VERSION)? })
}

/// One line, whole or not at all.
fn write(transport: &dyn Transport, workdir: &Path, name: &str, line: &str) -> Result<(), RunnerError> {
    let path = workdir.join(name);
    let staged = workdir.join(format!(".{name}.limbeck-tmp"));
    let text =
        "printf '%s\\n' \"$3\" | dd of=\"$1\" conv=fsync && mv -f -- \"$1\" \"$2\" || { rm -f -- \"$1\"; exit 1; }";
    let args = [staged.as_os_str(), path.as_os_str(), OsStr::new(line)];
    transport.script(&path, Script { doing: "write what the board trusts", text, args: &args })?;
    transport.sync_dir(workdir)
}
