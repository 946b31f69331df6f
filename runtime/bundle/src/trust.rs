//! What a board remembers of whom it believes: a key, and the highest version it was given.
//!
//! ```text
//! <workdir>/trusted.pub    the one key whose bundles it takes; missing: anybody's
//! <workdir>/version        the version it had last; missing: none
//! ```
//!
//! The same rules are asked here before anything is copied, and on the board before a new slot becomes current (a board does not
//! believe its host). An update system that keeps what it has not verified can be led astray (CVE-2025-2888), so: verify, then keep.

use std::fmt;
use std::path::{Path, PathBuf};

use limbeck_files::FileError;

use crate::signature::{KeyError, PublicKey};
use crate::{Bundle, BundleError};

/// File of the key in a board's working folder.
pub const TRUSTED_KEY: &str = "trusted.pub";
/// File of the version beside it.
pub const VERSION_FILE: &str = "version";

/// A version is a number.
const VERSION_LIMIT: u64 = 64;

/// What a board asks of a bundle.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Trust {
    /// The key that must have signed it.
    pub key: Option<PublicKey>,
    /// It may not be older than this.
    pub version: Option<u64>,
}

/// Why a whole bundle is not for this board.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Untrusted {
    /// The board asks for a signature and there is none.
    Unsigned,
    /// Signed with another key, or changed since.
    WrongKey {
        /// The key the board has.
        key: String,
        /// What its check says.
        why: String,
    },
    /// The board has a newer one.
    Older {
        /// This bundle's version.
        offered: u64,
        /// The board's.
        installed: u64,
    },
}

/// Why nobody knows what a board asks for.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    /// A file.
    #[error(transparent)]
    File(#[from] FileError),
    /// The key.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The version.
    #[error("{}: `{text}` is no version number; put the number of the newest bundle there", path.display())]
    NotAVersion {
        /// The file.
        path: PathBuf,
        /// What stands in it.
        text: String,
    },
}

impl Trust {
    /// What a working folder on this machine says.
    pub fn read(workdir: &Path) -> Result<Trust, TrustError> {
        // Only what is not there is not asked for: a key that cannot be read must not open the board to everybody.
        let there = |name: &str| -> Result<Option<PathBuf>, FileError> {
            let path = workdir.join(name);
            match path.symlink_metadata() {
                Ok(_) => Ok(Some(path)),
                Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
                Err(source) => Err(FileError { path, doing: "read", source }),
            }
        };
        let key = there(TRUSTED_KEY)?.map(|path| PublicKey::read(&path)).transpose()?;
        let version = there(VERSION_FILE)?.map(|path| {
            let text = limbeck_files::read_at_most(&path, VERSION_LIMIT)?;
            parse_version(&String::from_utf8_lossy(&text), &path)
        });
        Ok(Trust { key, version: version.transpose()? })
    }

    /// What two files say whose text came from elsewhere; `workdir` is for errors.
    pub fn parse(key: Option<&str>, version: Option<&str>, workdir: &Path) -> Result<Trust, TrustError> {
        let key = key.map(|text| {
            let path = workdir.join(TRUSTED_KEY);
            PublicKey::parse(text).map_err(|why| KeyError::NotAKey { path, why })
        });
        let version = version.map(|text| parse_version(text, &workdir.join(VERSION_FILE)));
        Ok(Trust { key: key.transpose()?, version: version.transpose()? })
    }

    /// May the board take this bundle? `path` is the file that errors name.
    pub fn admit(&self, bundle: &Bundle, path: &Path) -> Result<(), BundleError> {
        let untrusted = |why| Err(BundleError::Untrusted { path: path.to_owned(), why });
        if let Some(key) = &self.key {
            match bundle.signature().filter(|s| s.is_of(&bundle.manifest)).map(|s| key.verify(s)) {
                None => return untrusted(Untrusted::Unsigned),
                Some(Err(why)) => return untrusted(Untrusted::WrongKey { key: key.text().to_owned(), why }),
                Some(Ok(())) => {}
            }
        }
        match (self.version, bundle.manifest.version) {
            (Some(installed), offered) if offered < installed => untrusted(Untrusted::Older { offered, installed }),
            _ => Ok(()),
        }
    }
}

fn parse_version(text: &str, path: &Path) -> Result<u64, TrustError> {
    let text = text.trim();
    text.parse().map_err(|_| TrustError::NotAVersion { path: path.to_owned(), text: text.chars().take(40).collect() })
}

impl fmt::Display for Untrusted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Untrusted::Unsigned => {
                f.write_str("nobody signed it, and the board takes signed bundles only; `limbeck sign` it")
            }
            Untrusted::WrongKey { key, why } => {
                write!(f, "not signed by the key that the board trusts, {key} ({why}); sign it with that key")
            }
            Untrusted::Older { offered, installed } => write!(
                f,
                "version {offered}, and the board had version {installed}; bundle it with a higher --version, or \
                 --force-downgrade"
            ),
        }
    }
}
