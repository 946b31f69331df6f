//! The distillation losses of the literature, each a small file with its formula, its conventions and its source.
//!
//! A loss sees a [`Batch`] of what the student says at its taps, what the teacher said ([`Teacher`]), labels where there are any, and gives
//! the mean loss of the batch and its gradient with respect to every value of the student, both in f64. It knows nothing of graphs, files
//! or devices: whoever trains runs the student, calls [`Loss::evaluate`], and sends the gradient back through the student.
//!
//! A [`Method`] is a loss as a recipe names it: `kind = "dkd"` and its options, strictly read. To add one: a file with the formula, a
//! variant of [`Method`], a golden case of somebody else's implementation beside its script in `tests/golden`, a case of the suite that
//! compares every gradient with finite differences in `tests/finite_differences.rs`.

#![forbid(unsafe_code)]

mod batch;
mod connector;
mod error;
mod given;
mod history;
mod logits;
mod maps;
mod method;
mod options;

// What a loss sees
pub use batch::{Batch, TopKBatch};
pub use given::{Given, Progress, Teacher};
// What it says
pub use error::LossError;
pub use given::{Evaluated, Loss};
// The losses
pub use method::{Method, Needs};
// Their options over feature maps, and what a recipe needs to begin
pub use maps::ab::Ab;
pub use maps::at::{At, AtForm, AtTeacher};
pub use maps::fitnets::Fitnets;
pub use maps::fsp::{Fsp, FspForm};
pub use maps::ft::{Ft, FtNorm};
pub use maps::ickd::{Ickd, IckdReduction};
pub use maps::matched::Resize;
pub use maps::nst::Nst;
pub use maps::ofd::{Ofd, batch_norm_margins};
pub use maps::review_kd::ReviewKd;
pub use maps::vid::Vid;
// What stands between a tap and a loss
pub use connector::{Between, Connector, ConnectorError, ConnectorShape, Initial, Parameter, initial_conv1x1};
