//! A training graph whose gradients are added to sums, so that those of many samples meet without a tensor each.
//!
//! Behind its inputs the graph gets sums, and gives them back, more by one sample, in the place of the gradients. Fed by move, a sum is
//! written where it lies. Gradients of our own convolutions are summed as they come, packed, weights and biases in one sum, and read from
//! it when all samples are in.

use std::collections::HashMap;

use tract_core::internal::*;

use crate::ops::{Accumulate, ConvDw, DenseDw, UnpackDw, with_f32};

/// What a graph's gradients became.
#[derive(Debug, Clone)]
pub(crate) struct Accumulated {
    /// Shape of each sum, in the order of the added inputs and of the outputs after the loss.
    shapes: Vec<TVec<usize>>,
    /// For each gradient the sum that holds it, and how it is read, unless it is the whole.
    readers: Vec<(usize, Option<UnpackDw>)>,
}

impl Accumulated {
    /// Changes a training graph (outputs: loss, then gradients).
    pub fn new(model: &mut TypedModel) -> TractResult<Accumulated> {
        let outputs = model.output_outlets()?.to_vec();
        let mut inputs = model.input_outlets()?.to_vec();
        let mut all = Accumulated { shapes: vec![], readers: vec![] };
        let mut sums: HashMap<OutletId, usize> = HashMap::new();
        let mut summed = vec![outputs[0]];
        for &gradient in &outputs[1..] {
            let unpack = model.node(gradient.node).op_as::<UnpackDw>().cloned();
            let value = if unpack.is_some() { model.node(gradient.node).inputs[0] } else { gradient };
            if let Some(&sum) = sums.get(&value) {
                all.readers.push((sum, unpack));
                continue;
            }
            let number = all.shapes.len();
            let fact = model.outlet_fact(value)?.without_value();
            let shape = fact.shape.as_concrete().context("a gradient of unknown shape")?.into();
            let source = model.add_source(format!("limbeck.sum.{number}"), fact)?;
            let node = model.node(value.node);
            let adds = (node.op_is::<ConvDw>() || node.op_is::<DenseDw>()) && node.inputs.len() == 2;
            let name = format!("limbeck.summed.{number}");
            let sum = if adds {
                let (op, inputs) = (node.op.clone(), [node.inputs[0], node.inputs[1], source]);
                model.wire_node(name, op, &inputs)?[0]
            } else {
                model.wire_node(name, Accumulate, &[value, source])?[0]
            };
            sums.insert(value, number);
            all.shapes.push(shape);
            all.readers.push((number, unpack));
            inputs.push(source);
            summed.push(sum);
        }
        model.set_input_outlets(&inputs)?;
        model.select_output_outlets(&summed)?;
        Ok(all)
    }

    /// Sums of no samples.
    pub fn zeros(&self) -> TractResult<Vec<TValue>> {
        let zero = |shape: &TVec<usize>| Tensor::from_shape(shape, &vec![0f32; shape.iter().product()]);
        self.shapes.iter().map(|shape| Ok(zero(shape)?.into_tvalue())).collect()
    }

    /// Sums of more samples added to others of the same graph; either may be of none, and empty.
    pub fn add(mut sums: Vec<TValue>, more: Vec<TValue>) -> Vec<TValue> {
        if sums.is_empty() {
            return more;
        }
        for (sum, more) in sums.iter_mut().zip(&more) {
            let mut tensor = std::mem::replace(sum, more.clone()).into_tensor();
            let added = tensor.try_as_plain_ram_mut().and_then(|mut view| {
                let to = view.as_slice_mut::<f32>()?;
                with_f32(more, |more| to.iter_mut().zip(more).for_each(|(s, m)| *s += m))
            });
            assert!(added.is_ok(), "sums are tensors of f32 in this process's memory");
            *sum = tensor.into_tvalue();
        }
        sums
    }

    /// The gradients in sums, times `scale`, in the order in which the graph had them; zeros where there were no samples.
    pub fn read(&self, sums: &[TValue], scale: f32) -> TractResult<Vec<Vec<f32>>> {
        let zeros = if sums.is_empty() { self.zeros()? } else { vec![] };
        let sums = if sums.is_empty() { &zeros } else { sums };
        let read = |(sum, unpack): &(usize, Option<UnpackDw>)| {
            with_f32(&sums[*sum], |sum| match unpack {
                Some(unpack) => unpack.read(sum, scale),
                None => sum.iter().map(|g| g * scale).collect(),
            })
        };
        self.readers.iter().map(read).collect()
    }
}
