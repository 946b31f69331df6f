//! What can go wrong in training.

use limbeck_engine::EngineError;

/// Why a model cannot be trained, or training stopped.
#[derive(Debug, thiserror::Error)]
pub enum AdaptError {
    /// Loading or running the model.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// An operator on the way from the loss to a trained tensor has no gradient here.
    #[error("no gradient for {op} (node \"{node}\"): {why}; {way_out}")]
    NoGradient {
        /// Node name.
        node: String,
        /// Operator as tract has it.
        op: String,
        /// What exactly is missing.
        why: String,
        /// Which tensors to freeze, and which can still be trained.
        way_out: String,
    },
    /// tract failed while the training graph was built or run.
    #[error("tract {doing}: {why}")]
    Tract {
        /// "cannot build the training graph", …
        doing: &'static str,
        /// tract's words.
        why: String,
    },
    /// Nothing to train, several outputs, …
    #[error("{0}")]
    Unsuitable(String),
    /// The loss or a gradient is not finite.
    #[error("training diverged: {what} at step {step}; lower the learning rate or clip harder")]
    Diverged {
        /// What is not finite.
        what: &'static str,
        /// Steps done before.
        step: usize,
    },
    /// Nothing can be trained within the budget.
    #[error(
        "training needs {needed} bytes for {what} alone and the budget is {limit}; allow more, or use a smaller student"
    )]
    Budget {
        /// The smallest that could be trained.
        what: String,
        /// What it takes.
        needed: u64,
        /// What there is.
        limit: u64,
    },
    /// A file of ours.
    #[error(transparent)]
    File(#[from] limbeck_files::FileError),
    /// A sample could not be read.
    #[error("{0}")]
    Example(String),
}

impl AdaptError {
    pub(crate) fn tract(doing: &'static str) -> impl FnOnce(tract_core::prelude::TractError) -> AdaptError {
        move |e| AdaptError::Tract { doing, why: format!("{e:#}") }
    }
}
