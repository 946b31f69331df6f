//! Run a teacher over a data set, once, and keep its answers.
//!
//! (sample, view) → the *teacher's* card → one inference on tract → a value for each [`HeadSpec`] → the answers file
//!
//! A [`Lesson`] is all that an answers file will say about itself, known before the first inference; [`Lesson::run`] writes
//! the file. It takes its final name when it is whole; a run that was stopped, or killed, is taken up by the next. A large
//! data set is taught in parts ([`Part`]) by as many processes as there are; the jobs in `jobs/` do so on Slurm and on
//! Kubernetes. [`recheck`] asks a teacher again.

#![forbid(unsafe_code)]

mod asked;
mod eigen;
mod error;
mod heads;
mod lesson;
mod part;
mod pca;
mod recent;
mod recheck;

// What is kept
pub use heads::{HeadSpec, HeadSpecError};
// Asking
pub use error::TeachError;
pub use lesson::{Lesson, Taught, TeachOptions, teach};
pub use part::{Part, PartError};
// Asking again
pub use recheck::{HeadCheck, RecheckOptions, Rechecked, recheck};
