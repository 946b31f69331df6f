//! Why a file is not a bundle this build can use, or one that a board must not take.

use std::path::PathBuf;

use limbeck_answers::CardError;
use limbeck_files::FileError;

use crate::FORMAT;
use crate::trust::Untrusted;

/// Why a file is not a bundle this build can use.
#[derive(Debug, thiserror::Error)]
pub enum BundleError {
    /// The file.
    #[error(transparent)]
    File(#[from] FileError),
    /// Not an archive, or not one of ours.
    #[error("{}: not a bundle ({why}); make it with `limbeck bundle`", path.display())]
    NotABundle {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// Written by a newer version.
    #[error("{}: bundle format {found}, this build reads up to {FORMAT}; update the agent", path.display())]
    TooNew {
        /// The file.
        path: PathBuf,
        /// Its format.
        found: u32,
    },
    /// A member's hash is not what the manifest says.
    #[error("{}: `{member}` is damaged (its sha-256 is not the one that was written); copy the bundle again", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// The member.
        member: String,
    },
    /// The card in it.
    #[error(transparent)]
    Card(#[from] CardError),
    /// Whole, but not for this board: exit code 7.
    #[error("{}: {why}", path.display())]
    Untrusted {
        /// The file.
        path: PathBuf,
        /// What the board asks for.
        why: Untrusted,
    },
}
