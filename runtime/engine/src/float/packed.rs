//! Weights in the order in which the kernels read them, and the kernels that do.

use std::sync::{Arc, Mutex, Weak};

use limbeck_kernels::float::FloatIsa;
use limbeck_kernels::float::conv_f32::{self, ConvF32, ConvShapeF32};
use limbeck_kernels::float::depthwise_f32::{self, DepthwiseF32};
use tract_onnx::prelude::*;

/// Packed weights of a convolution.
#[derive(Debug, PartialEq)]
pub(super) enum Packed {
    /// As `conv_f32` packs them.
    Dense(Vec<f32>),
    /// KH KW C, and biases.
    Depthwise { w: Vec<f32>, bias: Vec<f32> },
}

impl Packed {
    /// From weights (O, I, KH, KW), or (C, 1, KH, KW) where depthwise, and biases.
    pub(super) fn new(shape: &ConvShapeF32, depthwise: bool, weights: &[f32], bias: &[f32]) -> Packed {
        if depthwise {
            return Packed::Depthwise { w: taps_first(weights, shape.channels), bias: bias.to_vec() };
        }
        let mut packed = vec![0.0; conv_f32::packed_len(shape)];
        conv_f32::pack(shape, weights, bias, &mut packed);
        Packed::Dense(packed)
    }

    pub(super) fn scratch_len(&self, shape: &ConvShapeF32) -> usize {
        match self {
            Packed::Dense(_) => conv_f32::scratch_len(shape),
            Packed::Depthwise { .. } => 0,
        }
    }

    /// One sample.
    #[expect(clippy::too_many_arguments, reason = "what a convolution reads and writes")]
    pub(super) fn run(
        &self,
        isa: FloatIsa,
        shape: &ConvShapeF32,
        x: &[f32],
        addend: Option<&[f32]>,
        bounds: [f32; 2],
        y: &mut [f32],
        scratch: &mut [f32],
    ) {
        match self {
            Packed::Dense(packed) => {
                conv_f32::run(isa, &ConvF32 { shape: *shape, x, packed, addend, bounds }, y, scratch)
            }
            Packed::Depthwise { w, bias } => {
                let d = DepthwiseF32 { shape: shape.x, window: shape.window, x, w, bias, bounds };
                depthwise_f32::run(isa, &d, y)
            }
        }
    }
}

/// Depthwise weights (C, 1, KH, KW) as (KH, KW, C).
pub fn taps_first(weights: &[f32], channels: usize) -> Vec<f32> {
    let taps = weights.len() / channels.max(1);
    let mut turned = vec![0.0; weights.len()];
    for (tap, turned) in turned.chunks_exact_mut(channels.max(1)).enumerate() {
        turned.iter_mut().zip(weights[tap..].iter().step_by(taps)).for_each(|(to, &w)| *to = w);
    }
    turned
}

/// Something made of tensors, kept until other tensors come.
///
/// Training feeds the same weights to all samples of a step: they are packed once a step, by whichever thread comes first. Whether two
/// tensors are one is told by where they lie; a weak reference keeps that place from being given to another, and keeps no values.
/// Clones share what is kept.
#[derive(Debug)]
pub struct Kept<T>(Arc<Mutex<Option<Made<T>>>>);

/// What was made, and of what.
type Made<T> = (Vec<Weak<Tensor>>, Arc<T>);

impl<T> Kept<T> {
    /// What `make` makes of the tensors: now, or when they last came.
    pub fn made_of(&self, tensors: &[&TValue], make: impl FnOnce() -> TractResult<T>) -> TractResult<Arc<T>> {
        let arcs: Vec<&Arc<Tensor>> = tensors.iter().filter_map(|t| t.as_arc_tensor()).collect();
        let Ok(mut kept) = self.0.lock() else { return Ok(Arc::new(make()?)) };
        if let Some((of, made)) = &*kept
            && arcs.len() == tensors.len()
            && of.len() == arcs.len()
            && of.iter().zip(&arcs).all(|(weak, arc)| std::ptr::eq(weak.as_ptr(), Arc::as_ptr(arc)))
        {
            return Ok(made.clone());
        }
        // The old one goes before the new one comes: both together would be the peak.
        *kept = None;
        let made = Arc::new(make()?);
        *kept = Some((arcs.into_iter().map(Arc::downgrade).collect(), made.clone()));
        Ok(made)
    }
}

impl<T> Default for Kept<T> {
    fn default() -> Kept<T> {
        Kept(Arc::default())
    }
}

impl<T> Clone for Kept<T> {
    fn clone(&self) -> Kept<T> {
        Kept(self.0.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_made_again_only_of_other_tensors() {
        let kept = Kept::default();
        let mut made = 0;
        let mut ask = |value: &TValue| {
            *kept
                .made_of(&[value], || {
                    made += 1;
                    Ok(made)
                })
                .unwrap()
        };
        let first = tensor1(&[1.0f32]).into_tvalue();
        assert_eq!((ask(&first), ask(&first.clone())), (1, 1));
        drop(first);
        // Equal values elsewhere, however soon the memory is free.
        for n in 2..10 {
            assert_eq!(ask(&tensor1(&[1.0f32]).into_tvalue()), n);
        }
    }

    #[test]
    fn depthwise_weights_change_their_order() {
        assert_eq!(taps_first(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0], 2), [1.0, 4.0, 2.0, 5.0, 3.0, 6.0]);
    }
}
