//! Fine-distillation: the gradient of a tract model is a tract model.
//!
//! [`Parameters`] are the trained tensors of a normalised ONNX model; [`TrainingNet`] is the model differentiated with
//! respect to them, and gives the mean [`Loss`] and gradients of a mini-batch; [`Optimiser`] moves the parameters.
//! `adapt` never reads a file: samples come through [`Examples`], models as [`limbeck_engine::onnx::Model`].

#![forbid(unsafe_code)]

mod accumulate;
mod differentiate;
mod error;
mod loss;
mod ops;
mod optimiser;
mod parameters;
mod rules;
mod step;
mod sums;

pub use error::AdaptError;
pub use loss::Loss;
pub use optimiser::{Optimiser, Rule, clip, cosine};
pub use parameters::Parameters;
pub use step::{BatchGradient, Examples, TrainingNet};
