//! A model opened for training: which tensors move, and how what they have become goes back into a file.

use limbeck_engine::normalise;
use limbeck_engine::onnx::{Model, Tensor};

use crate::attach::{Attachment, Detach};
use crate::error::AdaptError;
use crate::parameters::Parameters;
use crate::quantized::{QuantizedFile, QuantizedOptions};
use crate::selection::Selection;

/// A model in the form that is differentiated, with its trained tensors.
#[derive(Debug, Clone)]
pub struct Opened {
    /// What is differentiated. Holds the trained tensors' first values as constants.
    pub model: Model,
    /// The trained tensors.
    pub parameters: Parameters,
    /// By what the input is divided before it enters [`Opened::model`]: a power of two.
    pub input_scale: f32,
    origin: Origin,
    attached: Option<Detach>,
}

/// How the values go back.
#[derive(Debug, Clone)]
enum Origin {
    /// Into the model itself; the weights of these layers are multiplied by the input's scale.
    Float { first_layers: Vec<String> },
    /// As integers into a QDQ file.
    Quantized(Box<QuantizedFile>),
}

impl Opened {
    /// Open a float model: batch norm is folded, then every selected weight and bias is trained.
    ///
    /// `input_rms` is the root mean square of the inputs to come. Some models take 0..255; trained with that, the first layer's gradients
    /// are hundreds of times those of the others, so its input is divided, and its weights multiplied, by a power of two near it.
    pub fn float(model: &Model, selection: &Selection, input_rms: f32) -> Result<Opened, AdaptError> {
        let mut model = normalise(model)?;
        let first_layers = first_layers(&model);
        let input_scale = match first_layers.is_empty() {
            false if input_rms.is_normal() => input_rms.log2().round().exp2(),
            _ => 1.0,
        };
        multiply(&mut model, &first_layers, input_scale);
        let parameters = Parameters::of(&model)?.select(selection)?;
        Ok(Opened { model, parameters, input_scale, origin: Origin::Float { first_layers }, attached: None })
    }

    /// Open a quantized model (QDQ) so that training sees what its int8 plan computes: see the module `quantized`.
    ///
    /// `float` is the student that it was quantized from, if that is at hand: its weights and biases are the masters wherever they
    /// are rounded to the file's integers; elsewhere, and without it, the integers themselves are. An int8 student whose layers were
    /// equalised was quantized from the equalised one.
    ///
    /// # Errors
    /// A model in which nothing is quantized or nothing can be trained; a layer that cannot be opened, by its node.
    pub fn quantized(
        qdq: &Model,
        float: Option<&Model>,
        options: &QuantizedOptions,
        selection: &Selection,
    ) -> Result<Opened, AdaptError> {
        let (model, parameters, file) = QuantizedFile::open(qdq, float, options)?;
        if parameters.names().is_empty() {
            return Err(AdaptError::Unsuitable("the model has no weights to train".into()));
        }
        let parameters = parameters.select(selection)?;
        Ok(Opened { model, parameters, input_scale: 1.0, origin: Origin::Quantized(Box::new(file)), attached: None })
    }

    /// Is this a quantized model (QDQ)?
    pub fn is_quantized(model: &Model) -> bool {
        model.graph.nodes.iter().any(|n| n.op == "QuantizeLinear")
    }

    /// Open whatever the model is: a quantized one as [`Opened::quantized`], its weights from the file itself, else as
    /// [`Opened::float`].
    pub fn of(model: &Model, selection: &Selection, input_rms: f32) -> Result<Opened, AdaptError> {
        if Opened::is_quantized(model) {
            Opened::quantized(model, None, &QuantizedOptions::default(), selection)
        } else {
            Opened::float(model, selection, input_rms)
        }
    }

    /// Train it with nodes beside it. [`Opened::close`] takes them away again.
    ///
    /// # Errors
    /// A name that the model has already; a second attachment; taps in a quantized model, whose inner tensors are integers.
    pub fn attach(mut self, attachment: &Attachment) -> Result<Opened, AdaptError> {
        if self.attached.is_some() {
            return Err(AdaptError::Unsuitable("the model has an attachment already".into()));
        }
        if self.quantized_file().is_some() && *attachment != Attachment::default() {
            let what = "a quantized student has no float maps to tap; distil the float student and quantize it then, \
                        or use losses over logits";
            return Err(AdaptError::Unsuitable(what.into()));
        }
        self.attached = Some(attachment.put_into(&mut self.model.graph)?);
        self.parameters.extend(&attachment.trained);
        Ok(self)
    }

    /// What a quantized model was opened from.
    pub(crate) fn quantized_file(&self) -> Option<&QuantizedFile> {
        match &self.origin {
            Origin::Float { .. } => None,
            Origin::Quantized(file) => Some(file),
        }
    }

    /// The model that computes with `values`, which stand in the order of [`Opened::parameters`]: inputs, outputs and node names as
    /// they were.
    pub fn close(&self, values: &[Vec<f32>]) -> Result<Model, AdaptError> {
        let first_layers = match &self.origin {
            Origin::Float { first_layers } => first_layers,
            Origin::Quantized(file) => {
                return file.close(|name| match self.parameters.names().iter().position(|n| n == name) {
                    Some(i) => values.get(i).map(Vec::as_slice),
                    None => self.model.graph.initializers.get(name).and_then(Tensor::as_f32),
                });
            }
        };
        let mut model = self.model.clone();
        self.parameters.store_values(values, &mut model);
        if let Some(attached) = &self.attached {
            attached.take_from(&mut model.graph);
        }
        multiply(&mut model, first_layers, 1.0 / self.input_scale);
        Ok(model)
    }
}

/// The weights that meet the graph's input, if a convolution or `Gemm` is all that reads it; else none. Dividing the input
/// and multiplying these by the same power of two changes nothing.
fn first_layers(model: &Model) -> Vec<String> {
    let Some(input) = model.graph.inputs.first().map(|i| i.name.clone()) else { return vec![] };
    let readers: Vec<_> = model.graph.nodes.iter().filter(|n| n.inputs.contains(&input)).collect();
    let weights: Vec<String> = readers
        .iter()
        .filter(|n| matches!(n.op.as_str(), "Conv" | "Gemm") && n.input(0) == Some(&input))
        .filter_map(|n| n.input(1).filter(|w| model.graph.initializers.contains_key(*w)))
        .map(str::to_owned)
        .collect();
    if weights.len() == readers.len() { weights } else { vec![] }
}

/// Multiply constants by a power of two, which rounds nothing.
fn multiply(model: &mut Model, names: &[String], by: f32) {
    for name in names {
        if let Some(tensor) = model.graph.initializers.get_mut(name)
            && let Some(values) = tensor.as_f32()
        {
            *tensor = Tensor::f32(&tensor.dims, values.iter().map(|w| w * by).collect());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use limbeck_engine::onnx::{Attribute, Dim, Graph, Node, Value};

    /// image (1, 3, 4, 4) → convolution, ReLU.
    fn net() -> Model {
        let conv = Node::new("Conv", "stem", &["image", "stem.weight", "stem.bias"], &["c"])
            .with("pads", Attribute::Ints(vec![1; 4]));
        let graph = Graph {
            name: "net".into(),
            nodes: vec![conv, Node::new("Relu", "relu", &["c"], &["y"])],
            initializers: [
                ("stem.weight".to_owned(), Tensor::f32(&[2, 3, 3, 3], (0..54).map(|i| i as f32 / 7.0).collect())),
                ("stem.bias".to_owned(), Tensor::f32(&[2], vec![0.25, -1.0 / 3.0])),
            ]
            .into_iter()
            .collect(),
            inputs: vec![Value::f32("image", [1, 3, 4, 4].map(Dim::Known).to_vec())],
            outputs: vec![Value::f32("y", vec![])],
        };
        Model { ir_version: 8, opset: 17, other_opsets: vec![], metadata: Default::default(), graph }
    }

    #[test]
    fn what_is_opened_and_closed_is_what_it_was() {
        let model = normalise(&net()).unwrap();
        for (rms, scale) in [(150.0, 128.0), (0.9, 1.0), (0.0, 1.0), (f32::NAN, 1.0)] {
            let opened = Opened::float(&model, &Selection::All, rms).unwrap();
            assert_eq!(opened.input_scale, scale);
            assert_eq!(opened.close(&opened.parameters.values).unwrap(), model, "powers of two round nothing");
        }
    }

    #[test]
    fn first_layers_are_left_alone_where_something_else_reads_the_input() {
        let mut model = net();
        assert_eq!(first_layers(&model), ["stem.weight"]);
        model.graph.nodes.push(Node::new("Relu", "other", &["image"], &["other"]));
        assert!(first_layers(&model).is_empty());
    }
}
