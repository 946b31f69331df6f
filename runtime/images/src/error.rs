//! What can go wrong with data.

use std::path::PathBuf;

use limbeck_answers::{PreprocessError, View};
use limbeck_files::FileError;

/// Why data cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum DataError {
    /// A file or folder cannot be read.
    #[error(transparent)]
    File(#[from] FileError),
    /// There is no such folder.
    #[error("{}: no such image folder; give one with <class>/*.jpg or *.png inside", path.display())]
    Missing {
        /// As it was named.
        path: PathBuf,
    },
    /// A folder without images.
    #[error(
        "{}: no images here or in the folders directly inside ({ignored} other entries); \
         give the folder that holds <class>/*.jpg or *.png, or one with images only", path.display()
    )]
    Empty {
        /// The folder.
        path: PathBuf,
        /// Files and folders that are no images.
        ignored: usize,
    },
    /// Images both beside and inside class folders.
    #[error(
        "{}: holds images ({image}) and class folders ({folder}) side by side; \
         move the images into class folders, or the folders elsewhere", path.display()
    )]
    Mixed {
        /// The folder.
        path: PathBuf,
        /// One of the images.
        image: String,
        /// One of the folders.
        folder: String,
    },
    /// A class folder that the card does not name.
    #[error(
        "{}: the folder `{folder}` is not one of the {} labels of the card ({}); rename it, or correct the card",
        path.display(), labels.len(), few(labels)
    )]
    UnknownClass {
        /// The folder that was opened.
        path: PathBuf,
        /// The folder inside it.
        folder: String,
        /// The card's labels.
        labels: Vec<String>,
    },
    /// More classes than a label can count.
    #[error("{}: {classes} class folders; at most {} are supported", path.display(), u16::MAX)]
    TooManyClasses {
        /// The folder.
        path: PathBuf,
        /// Class folders in it.
        classes: usize,
    },
    /// A file that does not decode.
    #[error("{}: corrupt image: {why}; replace or remove it, or skip corrupt images", path.display())]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// What the decoder said.
        why: String,
    },
    /// Past the last sample.
    #[error("{name}: there is no sample {index}; it has {len}")]
    NoSample {
        /// The data set.
        name: String,
        /// Asked for.
        index: usize,
        /// There are.
        len: usize,
    },
    /// An image that cannot become an input.
    #[error("sample {id}: {why}")]
    Input {
        /// The sample's file or number.
        id: String,
        /// What does not fit.
        why: PreprocessError,
    },
    /// A drawn view, and nothing to draw it from.
    #[error(
        "the view {view} must be drawn from a recipe, and there is none; teach with --augment, or without drawn views"
    )]
    NoRecipe {
        /// The view.
        view: View,
    },
    /// A setting that makes no sense.
    #[error("{what}: {why}")]
    Setting {
        /// Which setting.
        what: &'static str,
        /// What is wrong, and what would be right.
        why: String,
    },
}

/// The first labels, for a message.
fn few(labels: &[String]) -> String {
    match labels {
        [first @ .., _] if first.len() >= 12 => format!("{}, …", first[..12].join(", ")),
        all => all.join(", "),
    }
}
