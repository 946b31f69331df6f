//! Sums over samples, and their meeting in the order of the chunks.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use tract_core::internal::*;

use crate::accumulate::Accumulated;
use crate::error::AdaptError;
use crate::ops::with_f32;

/// Loss parts and gradients, summed.
#[derive(Default)]
pub(crate) struct Sums {
    /// As `DistillLoss` gives them.
    pub parts: [f64; 3],
    /// In the order of [`Accumulated`]. Fed to the graph by move, so that it adds in place.
    pub values: Vec<TValue>,
}

impl Sums {
    /// Of no samples.
    pub fn zeros(accumulated: &Accumulated) -> TractResult<Sums> {
        Ok(Sums { parts: [0.0; 3], values: accumulated.zeros()? })
    }

    /// Takes what one run put out: the loss parts, then the sums with one sample more.
    pub fn take(&mut self, mut outputs: TVec<TValue>) -> TractResult<()> {
        with_f32(&outputs[0], |parts| self.parts.iter_mut().zip(parts).for_each(|(s, &p)| *s += p as f64))?;
        self.values = outputs.drain(1..).collect();
        Ok(())
    }

    fn add(&mut self, other: Sums) -> TractResult<()> {
        self.parts.iter_mut().zip(other.parts).for_each(|(s, p)| *s += p);
        for (sum, other) in self.values.iter_mut().zip(other.values) {
            let mut tensor = std::mem::replace(sum, other.clone()).into_tensor();
            with_f32(&other, |other| -> TractResult<()> {
                let mut view = tensor.try_as_plain_ram_mut()?;
                view.as_slice_mut::<f32>()?.iter_mut().zip(other).for_each(|(s, o)| *s += o);
                Ok(())
            })??;
            *sum = tensor.into_tvalue();
        }
        Ok(())
    }
}

/// The chunks of a batch, added in chunk order as soon as those before are in: a thread ahead of the others waits with its sums only.
#[derive(Default)]
pub(crate) struct InOrder(Mutex<State>);

#[derive(Default)]
struct State {
    next: usize,
    waiting: BTreeMap<usize, Result<Sums, AdaptError>>,
    total: Option<Result<Sums, AdaptError>>,
}

impl InOrder {
    /// Hands in a chunk.
    pub fn put(&self, chunk: usize, sums: Result<Sums, AdaptError>) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.waiting.insert(chunk, sums);
        loop {
            let next = state.next;
            let Some(sums) = state.waiting.remove(&next) else { return };
            state.next += 1;
            state.total = Some(match (state.total.take(), sums) {
                (None, sums) => sums,
                (Some(Ok(mut total)), Ok(sums)) => match total.add(sums) {
                    Ok(()) => Ok(total),
                    Err(e) => Err(AdaptError::tract("cannot add gradients")(e)),
                },
                // The first error in chunk order is the one that is reported.
                (Some(Err(e)), _) | (Some(Ok(_)), Err(e)) => Err(e),
            });
        }
    }

    /// The sum of `chunks` chunks.
    pub fn total(self, chunks: usize) -> Result<Sums, AdaptError> {
        let state = self.0.into_inner().unwrap_or_else(PoisonError::into_inner);
        if state.next < chunks && !matches!(state.total, Some(Err(_))) {
            return Err(AdaptError::Unsuitable("a training thread died".into()));
        }
        state.total.unwrap_or_else(|| Ok(Sums::default()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sums(value: f32) -> Result<Sums, AdaptError> {
        Ok(Sums { parts: [value as f64, 0.0, 0.0], values: vec![tensor1(&[value]).into_tvalue()] })
    }

    #[test]
    fn chunks_meet_in_their_order_whatever_the_order_they_come_in() {
        // 1 + 2^-24 is 1 in f32: (2^-24 + 2^-24) + 1 is not (2^-24 + 1) + 2^-24.
        let small = 2f32.powi(-24);
        let of = |order: [usize; 3]| {
            let merged = InOrder::default();
            order.into_iter().for_each(|chunk| merged.put(chunk, sums([small, small, 1.0][chunk])));
            let total = merged.total(3).unwrap();
            with_f32(&total.values[0], |v| v[0]).unwrap()
        };
        assert_eq!(of([0, 1, 2]), 1.0 + 2.0 * small);
        assert_eq!(of([2, 1, 0]), of([0, 1, 2]));
        assert_eq!(of([1, 2, 0]), of([0, 1, 2]));
    }

    #[test]
    fn the_first_error_in_chunk_order_is_reported_and_a_missing_chunk_is_noticed() {
        let merged = InOrder::default();
        merged.put(2, Err(AdaptError::Example("third".into())));
        merged.put(1, Err(AdaptError::Example("second".into())));
        merged.put(0, sums(1.0));
        assert_eq!(merged.total(3).err().unwrap().to_string(), "second");
        let merged = InOrder::default();
        merged.put(1, sums(1.0));
        assert!(merged.total(2).err().unwrap().to_string().contains("died"));
    }
}
