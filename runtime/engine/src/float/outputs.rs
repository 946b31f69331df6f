//! Large outputs, used again.
//!
//! A new tensor must be filled before safe code may write to it, and where it does not fit the second cache the filling takes as long as
//! what follows. So the operators of one net keep a hand on their large outputs and take back those that nobody else holds.

use std::sync::{Arc, Mutex};

use tract_onnx::prelude::*;
use tract_onnx::tract_core::internal::*;

use super::scratch::Scratch;

/// Values from which on a tensor is kept. Below, filling costs less than the search.
const LARGE: usize = 32 << 10;

/// Where the operators of one net put their results, and what they need on the way. Clones share it.
#[derive(Clone, Debug)]
pub struct Outputs {
    keeping: Keeping,
    workspace: Scratch,
}

#[derive(Clone, Debug)]
enum Keeping {
    /// Large ones are kept.
    Large(Arc<Mutex<Vec<Arc<Tensor>>>>),
    /// None: a training step has nearly all of them at the same time, and must not hold one more of every shape. What is written is
    /// scratch, and copied: filling a new tensor is a loop of tract's, copying is the C library's.
    None(Scratch),
}

impl Outputs {
    /// Of which large ones are kept.
    pub(super) fn kept() -> Outputs {
        Outputs { keeping: Keeping::Large(Arc::default()), workspace: Scratch::default() }
    }

    /// Of which none are kept.
    pub(super) fn fresh() -> Outputs {
        Outputs { keeping: Keeping::None(Scratch::default()), workspace: Scratch::default() }
    }

    /// Scratch for the operators, one after the other.
    pub fn workspace(&self) -> &Scratch {
        &self.workspace
    }

    /// Lets `f` write a tensor of the shape, all of whose values it must write: what they are before is not said.
    pub fn written(&self, shape: &[usize], f: impl FnOnce(&mut [f32]) -> TractResult<()>) -> TractResult<TValue> {
        let len = shape.iter().product::<usize>();
        let kept = match &self.keeping {
            Keeping::Large(kept) => kept,
            Keeping::None(scratch) => {
                return scratch.lent(len, |y| {
                    f(&mut y[..len])?;
                    Ok(Tensor::from_shape(shape, &y[..len])?.into_tvalue())
                });
            }
        };
        let mut tensor = match free(kept, shape).filter(|_| len >= LARGE) {
            Some(tensor) => tensor,
            None => Arc::new(Tensor::zero::<f32>(shape)?),
        };
        let unshared = Arc::get_mut(&mut tensor).context("a tensor in use")?;
        f(unshared.try_as_plain_ram_mut()?.as_slice_mut::<f32>()?)?;
        if len >= LARGE
            && let Ok(mut kept) = kept.lock()
        {
            kept.push(tensor.clone());
        }
        Ok(tensor.into_tvalue())
    }
}

/// A tensor of the shape that nobody else holds, no longer kept.
fn free(kept: &Mutex<Vec<Arc<Tensor>>>, shape: &[usize]) -> Option<Arc<Tensor>> {
    let mut kept = kept.lock().ok()?;
    let at = kept.iter().position(|t| t.shape() == shape && Arc::strong_count(t) == 1)?;
    Some(kept.swap_remove(at))
}
