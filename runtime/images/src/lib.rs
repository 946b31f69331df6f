//! Images and sets of them: decoding, folders, and what a data set is.
//!
//! Everything that can be trained on or measured with is a [`Dataset`]: samples by index, in an order that never
//! changes, with a hash that the answers file keeps. Pixels, order and hash are the same on every architecture, so that a
//! board can check that the answers it was sent are of the pictures it has.

#![forbid(unsafe_code)]

pub mod decode;
mod error;
pub mod files;
pub mod folder;
pub mod memory;
pub mod parallel;
pub mod views;
mod watch;

use limbeck_answers::Image;

// The hash of a sample
pub use limbeck_files::merkle;
// What went wrong
pub use error::DataError;
// Where samples come from
pub use files::{Files, Listing};
pub use folder::{FolderOptions, ImageFolder, OnCorrupt, SizeExample, Skipped};
pub use memory::MemoryDataset;
// What is shown of them
pub use views::{Labels, Mixed, Viewed};
// What a long stage tells
pub use watch::{Unwatched, Watch};

/// Samples by index, in an order that never changes.
pub trait Dataset: Send + Sync {
    /// For people.
    fn name(&self) -> &str;

    /// Class names; `label`, `class` and `mask` index them. Empty when nothing is labeled.
    fn labels(&self) -> &[String];

    /// How many samples.
    fn len(&self) -> usize;

    /// No samples at all; readers refuse to open such a set.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What to call sample `i` in a message: a file name, a scene's number.
    fn id(&self, i: usize) -> String;

    /// Decode or draw sample `i`.
    fn sample(&self, i: usize) -> Result<Sample, DataError>;

    /// The hash of everything that sample `i` is made from ([`limbeck_files::merkle::leaf`]): of its file's bytes, or of the
    /// settings that draw it. It does not depend on other samples, so that each machine hashes its own part of a set.
    fn leaf(&self, i: usize) -> Result<[u8; 32], DataError>;

    /// The hash of the whole set: [`limbeck_files::merkle_root`] over the leaves in order, 64 hex digits.
    fn sha256(&self) -> Result<String, DataError> {
        let leaves = parallel::try_map(self.len(), &|_| (), |i| self.leaf(i))?;
        Ok(limbeck_files::hex(&limbeck_files::merkle_root(leaves)))
    }
}

/// One image and what is known about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sample {
    /// The pixels.
    pub image: Image,
    /// The class of the whole image.
    pub label: Option<u16>,
    /// Boxes.
    pub objects: Vec<Object>,
    /// (H, W): 0 is background, else class + 1.
    pub mask: Option<Vec<u8>>,
}

/// A box round an object: columns `x0..x1`, rows `y0..y1`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Object {
    /// Index into the labels.
    pub class: u16,
    /// First column.
    pub x0: u16,
    /// First row.
    pub y0: u16,
    /// One past the last column.
    pub x1: u16,
    /// One past the last row.
    pub y1: u16,
}

impl Object {
    /// Columns.
    pub fn width(&self) -> u16 {
        self.x1 - self.x0
    }

    /// Rows.
    pub fn height(&self) -> u16 {
        self.y1 - self.y0
    }
}
