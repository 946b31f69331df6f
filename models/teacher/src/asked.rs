//! A teacher made ready to be asked: one inference gives the values of all heads.
//!
//! attention (H, W): a_hw = mean_c F_chw², sums over c in order, in f64

use std::path::Path;

use limbeck_answers::{Head, Pca, Preprocess};
use limbeck_engine::onnx::Model;
use limbeck_engine::{EngineError, Net, Taps, Worker};

use crate::error::TeachError;
use crate::heads::{HeadSpec, What};
use crate::pca::Projection;

/// The least probability whose logarithm is a logit.
const LEAST: f32 = 1e-12;

/// A model and the values that are wanted of it.
pub(crate) struct Asked {
    net: Net,
    heads: Vec<Head>,
    values: Vec<Value>,
}

/// Where a head's value comes from.
struct Value {
    /// Which of the net's outputs.
    output: usize,
    how: How,
}

enum How {
    AsItIs,
    /// Logarithms of probabilities are logits: softmax gives the same distribution back.
    Logarithm,
    /// Of this many channels.
    Attention(usize),
    /// Its principal channels.
    Projected(Projection),
}

impl Asked {
    /// Find the tensors of `specs` in the model and load it with them. `pcas` has a projection for each, where it wants one.
    pub(crate) fn new(
        model: &Model,
        path: &Path,
        specs: &[HeadSpec],
        pcas: &[Option<Pca>],
    ) -> Result<Asked, TeachError> {
        let failed = |source| TeachError::Engine { path: path.to_owned(), source };
        let outputs: Vec<String> = model.graph.outputs.iter().map(|o| o.name.clone()).collect();
        let (mut heads, mut values, mut tapped): (Vec<Head>, Vec<Value>, Vec<String>) = (vec![], vec![], vec![]);
        for (spec, pca) in specs.iter().zip(pcas) {
            let (tensor, dims) = find(model, spec).map_err(failed)?;
            let output = match outputs.iter().chain(&tapped).position(|name| *name == tensor) {
                Some(output) => output,
                None => {
                    tapped.push(tensor.clone());
                    outputs.len() + tapped.len() - 1
                }
            };
            let all = dims.iter().product::<usize>();
            let (dims, how) = match (spec.what, &dims[..]) {
                (What::Logits, _) => {
                    (vec![all], if ends_in_softmax(model, &tensor) { How::Logarithm } else { How::AsItIs })
                }
                (What::Pooled, _) => (vec![all], How::AsItIs),
                (What::Sign, _) => (dims, How::AsItIs),
                (What::Feature, &[c, h, w]) => match pca {
                    None => (dims, How::AsItIs),
                    Some(pca) if pca.channels() == c => (vec![pca.kept(), h, w], How::Projected(Projection::of(pca))),
                    Some(pca) => {
                        let (key, name, from) = (spec.key(), path.display(), pca.channels());
                        let what = format!("{name}: {key}: has {c} channels, its principal ones were made of {from}");
                        return Err(TeachError::Mismatch(what));
                    }
                },
                (What::Attention, &[c, h, w]) => (vec![h, w], How::Attention(c)),
                (What::Feature | What::Attention, _) => {
                    let (key, name) = (spec.key(), path.display());
                    let what = format!("{name}: {key}: `{tensor}` has the shape {dims:?}, but a map is (C, H, W)");
                    return Err(TeachError::Mismatch(format!("{what}; name another tap, or keep it with `sign:`")));
                }
            };
            let (key, kind) = (spec.key(), spec.kind(all));
            let dims = dims.into_iter().map(|d| u32::try_from(d).unwrap_or(u32::MAX)).collect();
            heads.push(Head { key, tensor, dims, kind, pca: pca.clone() });
            values.push(Value { output, how });
        }
        let net = Net::load_with_taps(model, 1, &tapped).map_err(failed)?;
        Ok(Asked { net, heads, values })
    }

    /// The heads, as the manifest names them.
    pub(crate) fn heads(&self) -> &[Head] {
        &self.heads
    }

    /// Values that one sample's input has, as the model says.
    pub(crate) fn input_shape(&self) -> &[usize] {
        self.net.input_shape()
    }

    /// How many classes its first output has.
    pub(crate) fn classes(&self) -> usize {
        self.net.output_shapes().first().map_or(0, |s| s.iter().product())
    }

    /// What one thread needs to ask.
    pub(crate) fn asker(&self, preprocess: &Preprocess) -> Result<Asker<'_>, EngineError> {
        let values = self.heads.iter().map(|h| vec![0.0; h.len()]).collect();
        Ok(Asker { asked: self, worker: self.net.worker()?, input: vec![0.0; preprocess.len()], values })
    }
}

/// One thread that asks.
pub(crate) struct Asker<'a> {
    asked: &'a Asked,
    worker: Worker,
    /// What it is asked about; to be filled before [`Asker::ask`].
    pub(crate) input: Vec<f32>,
    /// One value a head, after [`Asker::ask`].
    pub(crate) values: Vec<Vec<f32>>,
}

impl Asker<'_> {
    /// Run the teacher on `input`.
    pub(crate) fn ask(&mut self) -> Result<(), EngineError> {
        let Asker { asked, worker, input, values } = self;
        worker.run(input, |output, y| {
            for (value, v) in asked.values.iter().zip(values.iter_mut()).filter(|(value, _)| value.output == output) {
                match &value.how {
                    How::AsItIs => v.copy_from_slice(y),
                    How::Logarithm => v.iter_mut().zip(y).for_each(|(v, p)| *v = p.max(LEAST).ln()),
                    How::Attention(channels) => attention(y, *channels, v),
                    How::Projected(projection) => projection.apply(y, v),
                }
            }
        })
    }
}

/// mean_c F²: (C, H·W) → (H·W).
fn attention(map: &[f32], channels: usize, out: &mut [f32]) {
    let pixels = out.len();
    for (i, a) in out.iter_mut().enumerate() {
        let squares = map[i..].iter().step_by(pixels).map(|f| f64::from(*f) * f64::from(*f)).sum::<f64>();
        *a = (squares / channels as f64) as f32;
    }
}

/// The tensor of a head and the shape of a sample's value of it.
fn find(model: &Model, spec: &HeadSpec) -> Result<(String, Vec<usize>), EngineError> {
    match Taps::of(model).and_then(|taps| taps.resolve(&spec.tap)) {
        Ok(tap) => Ok((tap.tensor, tap.dims)),
        // Every model has logits, also one whose inner shapes are not known, as an int8 one.
        Err(error) if spec.what == What::Logits => {
            let output = model.graph.outputs.first().ok_or(error)?;
            let net = Net::load(model, 1)?;
            let shape = net.output_shapes().first().map(|s| s[1.min(s.len())..].to_vec());
            Ok((output.name.clone(), shape.unwrap_or_default()))
        }
        Err(error) => Err(error),
    }
}

/// Is this tensor probabilities? Looks back past operators that only change its shape.
fn ends_in_softmax(model: &Model, tensor: &str) -> bool {
    let mut value = Some(tensor);
    while let Some(node) = value.and_then(|v| model.graph.nodes.iter().find(|n| n.outputs.iter().any(|o| o == v))) {
        match node.op.as_str() {
            "Softmax" => return true,
            "Identity" | "Flatten" | "Reshape" | "Squeeze" => value = node.input(0),
            _ => return false,
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attention_is_the_mean_of_squares_over_channels() {
        // Two channels of (1, 3).
        let map = [1.0, -2.0, 0.0, 3.0, 4.0, 0.5];
        let mut out = [0.0; 3];
        attention(&map, 2, &mut out);
        assert_eq!(out, [5.0, 10.0, 0.125]);
    }
}
