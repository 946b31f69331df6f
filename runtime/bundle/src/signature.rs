//! Signatures as minisign makes them: ed25519 over BLAKE2b of the manifest, and over the comment that goes with it.
//!
//! `tar xf student.limbeck && minisign -Vm manifest.json -x manifest.minisig -p limbeck.pub` checks one without Limbeck.
//! Format: <https://jedisct1.github.io/minisign/>.

use std::fmt;
use std::path::{Path, PathBuf};

use limbeck_files::FileError;

use crate::manifest::Manifest;

/// A key file is two short lines.
const KEY_LIMIT: u64 = 4096;

/// Someone's signature of a manifest. That it is good is a matter of the key: [`PublicKey::verify`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signature {
    minisig: String,
    signed: Vec<u8>,
}

/// The half of a key pair that checks.
#[derive(Clone)]
pub struct PublicKey {
    key: minisign_verify::PublicKey,
    text: String,
}

/// Why a file is no public key.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The file.
    #[error(transparent)]
    File(#[from] FileError),
    /// Something else.
    #[error("{}: not a minisign public key ({why}); `limbeck key new` makes a pair", path.display())]
    NotAKey {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
}

impl Signature {
    pub(crate) fn new(minisig: String, signed: Vec<u8>) -> Signature {
        Signature { minisig, signed }
    }

    /// The signature file's text.
    pub fn minisig(&self) -> &str {
        &self.minisig
    }

    /// The bytes it is of.
    pub fn signed(&self) -> &[u8] {
        &self.signed
    }

    /// Is it of this manifest?
    pub(crate) fn is_of(&self, manifest: &Manifest) -> bool {
        serde_json::from_slice::<Manifest>(&self.signed).is_ok_and(|signed| signed == *manifest)
    }
}

impl PublicKey {
    /// A minisign key file: a comment and a line of base64, or that line alone.
    pub fn read(path: &Path) -> Result<PublicKey, KeyError> {
        let bytes = limbeck_files::read_at_most(path, KEY_LIMIT)?;
        PublicKey::parse(&String::from_utf8_lossy(&bytes))
            .map_err(|why| KeyError::NotAKey { path: path.to_owned(), why })
    }

    /// The same from text.
    pub fn parse(text: &str) -> Result<PublicKey, String> {
        let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
        let line = lines.find(|line| !line.starts_with("untrusted comment:")).unwrap_or_default();
        match minisign_verify::PublicKey::from_base64(line) {
            Ok(key) if lines.next().is_none() => Ok(PublicKey { key, text: line.to_owned() }),
            Ok(_) => Err("more than one key".into()),
            Err(e) => Err(e.to_string()),
        }
    }

    /// The key as one line, for people and for files.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Did the owner of this key sign? The words are why not.
    pub fn verify(&self, signature: &Signature) -> Result<(), String> {
        let parsed = minisign_verify::Signature::decode(&signature.minisig).map_err(|e| e.to_string())?;
        let legacy_too = false;
        self.key.verify(&signature.signed, &parsed, legacy_too).map_err(|e| e.to_string())
    }
}

impl PartialEq for PublicKey {
    fn eq(&self, other: &PublicKey) -> bool {
        self.text == other.text
    }
}

impl Eq for PublicKey {}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({})", self.text)
    }
}
