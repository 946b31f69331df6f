//! Taps: inner tensors by what they are, so that one recipe fits many models.
//!
//! | name | tensor | shape of a sample |
//! |---|---|---|
//! | `logits` | the first output, before a closing `Softmax` | (K) |
//! | `pooled` | what the last linear layer reads | (D) |
//! | `stage:1`, `stage:2`, ... | the last map of each resolution, the finest first | (C, H, W) |
//! | `stage:2:pre` | the same before its activation | (C, H, W) |
//! | `last` | the last map | (C, H, W) |
//! | any other | the ONNX tensor of that name | as it is |

use std::collections::HashMap;

use crate::error::EngineError;
use crate::facts::{Fact, infer};
use crate::onnx::{Model, Node};

/// An inner tensor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tap {
    /// As it was asked for.
    pub name: String,
    /// The ONNX tensor.
    pub tensor: String,
    /// Shape of one sample's value.
    pub dims: Vec<usize>,
}

/// The taps of one model.
#[derive(Debug, Clone)]
pub struct Taps<'a> {
    model: &'a Model,
    facts: HashMap<String, Fact>,
}

/// What ends a map that is worth looking at; shape arithmetic and borders do not.
const MAPS: [&str; 14] = [
    "Conv",
    "ConvTranspose",
    "BatchNormalization",
    "Add",
    "Concat",
    "Mul",
    "Relu",
    "Clip",
    "LeakyRelu",
    "PRelu",
    "HardSwish",
    "Sigmoid",
    "Gelu",
    "MaxPool",
];

/// Operators after which `:pre` finds what they read.
const ACTIVATIONS: [&str; 6] = ["Relu", "Clip", "LeakyRelu", "PRelu", "HardSwish", "Gelu"];

impl<'a> Taps<'a> {
    /// Looks at a float model, as it will be run.
    pub fn of(model: &'a Model) -> Result<Taps<'a>, EngineError> {
        Ok(Taps { facts: infer(model)?, model })
    }

    /// The tap of this name.
    ///
    /// # Errors
    /// A name that this model has no tensor for; the message lists those that it has.
    pub fn resolve(&self, name: &str) -> Result<Tap, EngineError> {
        let (kind, pre) = match name.strip_suffix(":pre") {
            Some(kind) => (kind, true),
            None => (name, false),
        };
        let found = match kind {
            "logits" => self.logits(),
            "pooled" => self.pooled(),
            "last" => self.stages().pop(),
            _ => match kind.strip_prefix("stage:") {
                Some(number) => {
                    let number = number.parse::<usize>().ok().filter(|n| *n > 0);
                    number.and_then(|n| self.stages().into_iter().nth(n - 1))
                }
                None => self.maker(kind).map(|_| kind.to_owned()),
            },
        };
        let found = match found {
            Some(tensor) if pre => self.before_activation(&tensor),
            found => found,
        };
        let tap = found.and_then(|tensor| Some(Tap { name: name.into(), dims: self.dims(&tensor)?, tensor }));
        tap.ok_or_else(|| {
            let known = self.all().iter().map(|t| format!("{} {:?}", t.name, t.dims)).collect::<Vec<_>>();
            let what = "is no tap of this model, or its shape depends on the input";
            EngineError::Unsuitable(format!("`{name}` {what}; it has {}, and every ONNX tensor", known.join(", ")))
        })
    }

    /// All taps that have a name of their own.
    pub fn all(&self) -> Vec<Tap> {
        let stages = (1..=self.stages().len()).map(|n| format!("stage:{n}"));
        let names = stages.chain(["pooled".to_owned(), "logits".to_owned()]);
        names.filter_map(|name| self.resolve_known(&name)).collect()
    }

    fn resolve_known(&self, name: &str) -> Option<Tap> {
        let tensor = match name {
            "logits" => self.logits(),
            "pooled" => self.pooled(),
            _ => self.stages().into_iter().nth(name.strip_prefix("stage:")?.parse::<usize>().ok()? - 1),
        }?;
        Some(Tap { name: name.into(), dims: self.dims(&tensor)?, tensor })
    }

    /// Shape of a sample's value: all sizes but the first, which is the batch.
    fn dims(&self, tensor: &str) -> Option<Vec<usize>> {
        self.facts.get(tensor)?.sample_dims().filter(|dims| !dims.is_empty())
    }

    fn maker(&self, tensor: &str) -> Option<&'a Node> {
        self.model.graph.nodes.iter().find(|n| n.outputs.iter().any(|o| o == tensor))
    }

    fn logits(&self) -> Option<String> {
        let mut tensor = self.model.graph.outputs.first()?.name.clone();
        if let Some(softmax) = self.maker(&tensor).filter(|n| n.op == "Softmax" || n.op == "LogSoftmax") {
            tensor = softmax.input(0)?.to_owned();
        }
        Some(tensor)
    }

    /// Back from the logits to the last layer with weights, and what it reads.
    fn pooled(&self) -> Option<String> {
        let mut tensor = self.logits()?;
        loop {
            let node = self.maker(&tensor)?;
            let input = node.inputs.iter().find(|i| !self.model.graph.initializers.contains_key(*i))?.clone();
            if matches!(node.op.as_str(), "Gemm" | "MatMul" | "Conv") {
                // A convolution over one pixel is a linear layer, over more it is not.
                let one_pixel = self.dims(&input)?.iter().skip(1).all(|&n| n == 1);
                return one_pixel.then_some(input);
            }
            tensor = input;
        }
    }

    /// The last map of each resolution, the finest first.
    fn stages(&self) -> Vec<String> {
        let mut stages: Vec<([usize; 2], String)> = vec![];
        for node in self.model.graph.nodes.iter().filter(|n| MAPS.contains(&n.op.as_str())) {
            let Some(output) = node.outputs.first() else { continue };
            let Some([_, h, w]) = self.dims(output).and_then(|d| <[usize; 3]>::try_from(d).ok()) else { continue };
            if h * w == 1 {
                continue;
            }
            match stages.iter_mut().find(|(size, _)| *size == [h, w]) {
                Some((_, tensor)) => *tensor = output.clone(),
                None => stages.push(([h, w], output.clone())),
            }
        }
        // A map that a later part makes larger again (a decoder) stands where its size does.
        stages.sort_by_key(|(size, _)| std::cmp::Reverse(size[0] * size[1]));
        stages.into_iter().map(|(_, tensor)| tensor).collect()
    }

    fn before_activation(&self, tensor: &str) -> Option<String> {
        let node = self.maker(tensor)?;
        let active = ACTIVATIONS.contains(&node.op.as_str());
        Some(if active { node.input(0)?.to_owned() } else { tensor.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::onnx::{Attribute, Dim, Graph, Tensor, Value};

    /// image (N, 3, 8, 8) → conv, ReLU → conv with stride 2, ReLU → mean → Gemm → Softmax.
    fn net() -> Model {
        let conv = |name: &str, from: &str, to: &str, stride: i64| {
            Node::new("Conv", name, &[from, &format!("{name}.w")], &[to])
                .with("pads", Attribute::Ints(vec![1; 4]))
                .with("strides", Attribute::Ints(vec![stride; 2]))
        };
        let nodes = vec![
            conv("a", "image", "a.y", 1),
            Node::new("Relu", "a.relu", &["a.y"], &["a.z"]),
            conv("b", "a.z", "b.y", 2),
            Node::new("Relu", "b.relu", &["b.y"], &["b.z"]),
            Node::new("GlobalAveragePool", "mean", &["b.z"], &["mean.y"]),
            Node::new("Flatten", "flat", &["mean.y"], &["flat.y"]),
            Node::new("Gemm", "fc", &["flat.y", "fc.w"], &["z"]),
            Node::new("Softmax", "softmax", &["z"], &["p"]).with("axis", Attribute::Int(1)),
        ];
        let zeros = |dims: &[usize]| Tensor::f32(dims, vec![0.0; dims.iter().product()]);
        let weights = [("a.w", zeros(&[4, 3, 3, 3])), ("b.w", zeros(&[6, 4, 3, 3])), ("fc.w", zeros(&[6, 5]))];
        let image = [Dim::Symbol("N".into()), Dim::Known(3), Dim::Known(8), Dim::Known(8)];
        let graph = Graph {
            name: "net".into(),
            nodes,
            initializers: weights.map(|(name, t)| (name.to_owned(), t)).into_iter().collect(),
            inputs: vec![Value::f32("image", image.to_vec())],
            outputs: vec![Value::f32("p", vec![])],
        };
        Model { ir_version: 8, opset: 17, other_opsets: vec![], metadata: Default::default(), graph }
    }

    #[test]
    fn a_tap_is_found_by_what_it_is() {
        let model = net();
        let taps = Taps::of(&model).unwrap();
        let cases: [(&str, &str, &[usize]); 8] = [
            ("logits", "z", &[5]),
            ("pooled", "flat.y", &[6]),
            ("stage:1", "a.z", &[4, 8, 8]),
            ("stage:1:pre", "a.y", &[4, 8, 8]),
            ("stage:2", "b.z", &[6, 4, 4]),
            ("last", "b.z", &[6, 4, 4]),
            ("last:pre", "b.y", &[6, 4, 4]),
            ("mean.y", "mean.y", &[6, 1, 1]),
        ];
        for (name, tensor, dims) in cases {
            let tap = taps.resolve(name).unwrap();
            assert_eq!((tap.tensor.as_str(), &tap.dims[..]), (tensor, dims), "{name}");
        }
    }

    #[test]
    fn a_tap_that_is_not_there_is_an_error_that_lists_those_that_are() {
        let model = net();
        let taps = Taps::of(&model).unwrap();
        for name in ["stage:3", "stage:0", "stage:x", "no.such", "fc.w"] {
            let error = taps.resolve(name).unwrap_err().to_string();
            assert!(error.contains(name) && error.contains("stage:2 [6, 4, 4]"), "{error}");
        }
    }
}
