//! Scratch of an operator, used again in its next run.

use std::sync::{Arc, Mutex};

/// Scratch not in use; one a concurrent run. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Scratch(Arc<Mutex<Vec<Vec<f32>>>>);

impl Scratch {
    /// Lends at least `len` values of any content to `f`.
    pub fn lent<T>(&self, len: usize, f: impl FnOnce(&mut [f32]) -> T) -> T {
        if len == 0 {
            return f(&mut []);
        }
        let spare = self.0.lock().ok().and_then(|mut spare| spare.pop());
        let mut scratch = spare.unwrap_or_default();
        if scratch.len() < len {
            scratch = vec![0.0; len];
        }
        let result = f(&mut scratch);
        if let Ok(mut spare) = self.0.lock() {
            spare.push(scratch);
        }
        result
    }
}
