//! What can go wrong between a model and its results.

use std::cell::Cell;

use crate::onnx::OnnxError;

/// Why a model cannot be used, or a run failed. Messages name the node or value; callers add the file.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// The file.
    #[error(transparent)]
    Onnx(#[from] OnnxError),
    /// tract cannot take the model, or failed on it.
    #[error("tract {doing}: {why}")]
    Tract {
        /// "cannot read the graph", "cannot prepare it", "failed while running it".
        doing: &'static str,
        /// tract's own words, outermost context first.
        why: String,
    },
    /// tract panicked: the model asks for something absurd.
    #[error("tract gave up on this model while it {doing} ({why}); the model is damaged or hostile")]
    Panicked {
        /// What was being done.
        doing: &'static str,
        /// The panic message.
        why: String,
    },
    /// The model is well-formed, but not what this operation needs.
    #[error("{0}")]
    Unsuitable(String),
    /// Running it would take more memory than it may.
    #[error("{what} need more than the {limit} bytes that a model may plan here; use a smaller model")]
    TooLarge {
        /// What asks for it.
        what: String,
        /// The limit.
        limit: u64,
    },
    /// The int8 graph breaks the rules of the plan.
    #[error("int8 plan: {0}")]
    Plan(String),
}

impl EngineError {
    /// A tract error with everything it says.
    pub(crate) fn tract(doing: &'static str) -> impl FnOnce(tract_core::prelude::TractError) -> EngineError {
        move |e| EngineError::Tract { doing, why: format!("{e:#}") }
    }
}

thread_local! {
    static GUARDS: Cell<usize> = const { Cell::new(0) };
}

/// Run `f`, and turn a panic inside tract into an error.
///
/// tract asserts on some malformed models and panics where an allocation fails. Nothing of ours is left half-changed:
/// `f` builds a new value or works on a state that the caller drops.
pub fn guarded<T>(doing: &'static str, f: impl FnOnce() -> Result<T, EngineError>) -> Result<T, EngineError> {
    GUARDS.set(GUARDS.get() + 1);
    let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(f));
    GUARDS.set(GUARDS.get() - 1);
    result.unwrap_or_else(|panic| {
        let why = panic
            .downcast_ref::<String>()
            .cloned()
            .or_else(|| panic.downcast_ref::<&str>().map(|s| s.to_string()))
            .unwrap_or_else(|| "no message".into());
        Err(EngineError::Panicked { doing, why })
    })
}

/// Is this thread inside [`guarded`]? Then the model is to blame for a panic: for the hook of a program that cannot unwind.
pub fn is_guarded() -> bool {
    GUARDS.get() > 0
}
