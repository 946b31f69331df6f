//! Which constants of a model are trained, and their values while they are.

use limbeck_engine::onnx::{Data, Dim, Model, Tensor, Value};

use crate::error::AdaptError;

/// The trained tensors of a model: its float weights and biases, by their ONNX names, in graph order.
#[derive(Debug, Clone, PartialEq)]
pub struct Parameters {
    names: Vec<String>,
    dims: Vec<Vec<usize>>,
    /// One flat tensor each, row-major.
    pub values: Vec<Vec<f32>>,
}

impl Parameters {
    /// All weights and biases of convolutions and matrix products, scales and shifts of normalisations, and slopes of a
    /// normalised model.
    pub fn of(model: &Model) -> Result<Parameters, AdaptError> {
        let mut parameters = Parameters { names: vec![], dims: vec![], values: vec![] };
        for node in &model.graph.nodes {
            let slots = match node.op.as_str() {
                "Conv" | "ConvTranspose" | "Gemm" => &[1, 2][..],
                "LayerNormalization" | "RMSNormalization" | "InstanceNormalization" | "GroupNormalization" => &[1, 2],
                "PRelu" => &[1],
                "MatMul" | "Einsum" | "Add" | "Mul" => &[0, 1],
                _ => &[],
            };
            for name in slots.iter().filter_map(|&slot| node.input(slot)) {
                let Some(Tensor { dims, data: Data::F32(values) }) = model.graph.initializers.get(name) else {
                    continue;
                };
                // Scalars of Add and Mul are the constants of a formula, not weights.
                let formula = values.len() == 1 && matches!(node.op.as_str(), "Add" | "Mul" | "MatMul");
                if !formula && !parameters.names.iter().any(|n| n == name) {
                    parameters.names.push(name.to_owned());
                    parameters.dims.push(dims.clone());
                    parameters.values.push(values.clone());
                }
            }
        }
        if parameters.names.is_empty() {
            return Err(AdaptError::Unsuitable("the model has no float weights to train".into()));
        }
        Ok(parameters)
    }

    /// The same tensors with other values.
    pub(crate) fn with_values(&self, values: &[Vec<f32>]) -> Parameters {
        Parameters { names: self.names.clone(), dims: self.dims.clone(), values: values.to_vec() }
    }

    /// Those that `mask` says, in the same order.
    pub(crate) fn masked(&self, mask: &[bool]) -> Parameters {
        fn kept<T: Clone>(all: &[T], mask: &[bool]) -> Vec<T> {
            all.iter().zip(mask).filter(|(_, kept)| **kept).map(|(value, _)| value.clone()).collect()
        }
        Parameters { names: kept(&self.names, mask), dims: kept(&self.dims, mask), values: kept(&self.values, mask) }
    }

    /// These tensors; those that are not f32 are left out.
    pub(crate) fn listed(tensors: Vec<(String, Tensor)>) -> Parameters {
        let mut parameters = Parameters { names: vec![], dims: vec![], values: vec![] };
        for (name, Tensor { dims, data }) in tensors {
            if let Data::F32(values) = data {
                parameters.names.push(name);
                parameters.dims.push(dims);
                parameters.values.push(values);
            }
        }
        parameters
    }

    /// More of them, behind the others; those that are not f32 are left out.
    pub(crate) fn extend(&mut self, tensors: &[(String, Tensor)]) {
        let more = Parameters::listed(tensors.to_vec());
        self.names.extend(more.names);
        self.dims.extend(more.dims);
        self.values.extend(more.values);
    }

    /// The model with these tensors as inputs after its own: tract then neither folds nor merges them, whatever their values.
    pub(crate) fn as_inputs(&self, model: &Model) -> Model {
        let mut opened = model.clone();
        for (name, dims) in self.names.iter().zip(&self.dims) {
            opened.graph.initializers.remove(name);
            let dims = dims.iter().map(|&d| Dim::Known(d)).collect();
            opened.graph.inputs.push(Value::f32(name, dims));
        }
        opened
    }

    /// Names, in order.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// Shapes, in order.
    pub fn dims(&self) -> &[Vec<usize>] {
        &self.dims
    }

    /// Number of trained values.
    pub fn count(&self) -> usize {
        self.values.iter().map(Vec::len).sum()
    }

    /// Weight decay is for matrices and kernels; biases, scales and slopes are left alone, also as (C, 1, 1).
    pub fn decays(&self) -> Vec<bool> {
        self.dims.iter().map(|d| d.iter().filter(|&&n| n > 1).count() > 1).collect()
    }

    /// Put the values back into the model they came from.
    pub fn store(&self, model: &mut Model) {
        self.store_values(&self.values, model);
    }

    /// Put other values of the same shapes into it.
    pub fn store_values(&self, values: &[Vec<f32>], model: &mut Model) {
        for ((name, dims), values) in self.names.iter().zip(&self.dims).zip(values) {
            model.graph.initializers.insert(name.clone(), Tensor::f32(dims, values.clone()));
        }
    }
}
