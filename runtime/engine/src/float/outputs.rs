//! Large outputs, used again.
//!
//! A new tensor must be filled before safe code may write to it, and where it does not fit the second cache the filling takes as long as
//! what follows. So the operators of one net keep a hand on their large outputs and take back those that nobody else holds.

use std::sync::{Arc, Mutex};

use tract_onnx::prelude::*;
use tract_onnx::tract_core::internal::*;

/// Values from which on a tensor is kept. Below, filling costs less than the search.
const LARGE: usize = 32 << 10;

/// The outputs of one net that are kept. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct Outputs(Arc<Mutex<Vec<Arc<Tensor>>>>);

impl Outputs {
    /// Lets `f` write a tensor of the shape, all of whose values it must write: what they are before is not said.
    pub fn written(&self, shape: &[usize], f: impl FnOnce(&mut [f32]) -> TractResult<()>) -> TractResult<TValue> {
        let large = shape.iter().product::<usize>() >= LARGE;
        let mut tensor = match self.free(shape).filter(|_| large) {
            Some(tensor) => tensor,
            None => Arc::new(Tensor::zero::<f32>(shape)?),
        };
        let unshared = Arc::get_mut(&mut tensor).context("a tensor in use")?;
        f(unshared.try_as_plain_ram_mut()?.as_slice_mut::<f32>()?)?;
        if large && let Ok(mut kept) = self.0.lock() {
            kept.push(tensor.clone());
        }
        Ok(tensor.into_tvalue())
    }

    /// A tensor of the shape that nobody else holds, no longer kept.
    fn free(&self, shape: &[usize]) -> Option<Arc<Tensor>> {
        let mut kept = self.0.lock().ok()?;
        let at = kept.iter().position(|t| t.shape() == shape && Arc::strong_count(t) == 1)?;
        Some(kept.swap_remove(at))
    }
}
