//! Fine-distillation: the gradient of a tract model is a tract model.
//!
//! [`Opened`] is a model with its trained tensors ([`Parameters`], chosen by a [`Selection`]); [`TrainingNet`] is it differentiated with
//! respect to them, and gives the mean [`Loss`] and gradients of a mini-batch; [`Optimiser`] moves the parameters; a [`Session`] puts
//! these together into a run by a [`Recipe`] that can stop and resume anywhere ([`CheckpointStore`]).
//! Samples come through [`Examples`], models as [`limbeck_engine::onnx::Model`].

#![forbid(unsafe_code)]

mod accumulate;
mod attach;
mod canonical;
mod checkpoint;
mod cuts;
mod differentiate;
mod error;
mod estimate;
mod loss;
mod memory;
mod opened;
mod ops;
mod optimiser;
mod parameters;
mod plan;
mod profile;
mod quantized;
mod recipe;
mod reduce;
mod rules;
mod run;
mod selection;
mod session;
mod split;
mod step;
mod tapped;
mod tapped_session;
mod visits;
mod way_out;

// What is trained
pub use opened::Opened;
pub use parameters::Parameters;
pub use plan::{Planned, Score, plan};
pub use quantized::{QuantizedOptions, Simulated, Simulation};
pub use selection::Selection;
// How
pub use loss::Loss;
pub use optimiser::{Optimiser, OptimiserState, Rule, clip, cosine};
pub use recipe::Recipe;
pub use visits::{Visits, held_out};
// A step, a run
pub use cuts::CutFormat;
pub use error::AdaptError;
pub use estimate::MemoryEstimate;
pub use profile::KindTime;
pub use session::{Epoch, Session, StepReport};
pub use step::{BatchGradient, CutChoice, CutOptions, Examples, Shape, TrainingNet};
// The same with a loss outside the graph
pub use attach::Attachment;
pub use tapped::{Judged, Objective, Said, TappedExamples, TappedNet};
pub use tapped_session::TappedSession;
// What survives
pub use checkpoint::CheckpointStore;
