//! How a long stage tells what it is doing, and learns that it should stop.

/// Implemented by whoever started the stage: a progress bar, a log, nothing.
pub trait Watch: Sync {
    /// `done` of `total` units are finished. Called often, from any thread.
    fn progress(&self, done: usize, total: usize);

    /// A line about the state, such as the loss so far.
    fn note(&self, _text: &str) {}

    /// True once the user wants to stop. The stage then ends without leaving anything half-done.
    fn cancelled(&self) -> bool {
        false
    }
}

/// Watches nothing.
pub struct Unwatched;

impl Watch for Unwatched {
    fn progress(&self, _done: usize, _total: usize) {}
}
