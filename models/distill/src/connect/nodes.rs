//! The nodes of connectors, one function a kind; shapes and first weights are those of `limbeck_losses`.

use limbeck_adapt::Attachment;
use limbeck_engine::Tap;
use limbeck_engine::onnx::{Attribute, Tensor};
use limbeck_losses::{Between, Connector, ConnectorShape};

use super::{ConnectError, further_input, node};
use crate::recipe::Key;

/// What is being built.
pub(super) struct Nodes {
    /// The student's own output.
    pub own: String,
    attachment: Attachment,
    seed: u64,
}

impl Nodes {
    pub fn new(own: String, seed: u64) -> Nodes {
        Nodes { own, attachment: Attachment::default(), seed }
    }

    pub fn into_attachment(self) -> Attachment {
        self.attachment
    }

    /// The number of the graph's output that is this tensor.
    pub fn output(&mut self, tensor: &str) -> usize {
        let outputs = &mut self.attachment.outputs;
        let place = outputs.iter().position(|o| o == tensor).unwrap_or_else(|| {
            outputs.push(tensor.to_owned());
            outputs.len() - 1
        });
        // The student's own output is the first.
        place + 1
    }

    /// The input that is fed with a key's value.
    pub fn input(&mut self, inputs: &mut Vec<Key>, key: &Key, length: usize) -> String {
        let place = inputs.iter().position(|known| known == key).unwrap_or_else(|| {
            let name = format!("limbeck.teacher.{}", inputs.len());
            self.attachment.inputs.push(further_input(&name, length));
            inputs.push(key.clone());
            inputs.len() - 1
        });
        format!("limbeck.teacher.{place}")
    }

    /// Adds a node, returns what it makes.
    pub fn add(&mut self, op: &str, inputs: &[&str], name: &str, attributes: &[(&str, Attribute)]) -> String {
        let mut added = node(op, inputs, name);
        for (key, value) in attributes {
            added = added.with(key, value.clone());
        }
        self.attachment.nodes.push(added);
        name.to_owned()
    }

    /// Adds a connector's parameters, which are named behind its place.
    pub fn parameters(&mut self, place: &str, shape: &ConnectorShape) {
        for (parameter, values) in shape.parameters.iter().zip(shape.initial(self.seed, place)) {
            // ρ has a batch axis: it is an output as it stands.
            let mut dims = parameter.dims.clone();
            if parameter.name == "rho" {
                dims.insert(0, 1);
            }
            let values = values.into_iter().map(|v| v as f32).collect();
            self.attachment.trained.push((format!("{place}.{}", parameter.name), Tensor::f32(&dims, values)));
        }
    }

    /// A constant that is not trained.
    pub fn constant(&mut self, name: &str, tensor: Tensor) -> String {
        self.attachment.fixed.push((name.to_owned(), tensor));
        name.to_owned()
    }

    /// A linear layer on a vector.
    pub fn linear(&mut self, place: &str, tap: &Tap, length: usize) -> Result<String, ConnectError> {
        let between = Between { student: [tap.dims[0], 1, 1], teacher: [length, 1, 1], middle: None };
        let [(name, _)] = &self.connector(place, tap, Connector::Linear, between)?[..] else {
            return Err(ConnectError::Key(format!("{place}: a linear layer has one output")));
        };
        Ok(name.clone())
    }

    /// The nodes of a connector on `tap`; what its loss reads, and the shapes.
    pub fn connector(
        &mut self,
        place: &str,
        tap: &Tap,
        connector: Connector,
        between: Between,
    ) -> Result<Vec<(String, Vec<usize>)>, ConnectError> {
        let shape = connector.shape(between)?;
        self.parameters(place, &shape);
        let named = |part: &str| format!("{place}.{part}");
        let x = tap.tensor.as_str();
        let names = match connector {
            Connector::None | Connector::Abf => vec![tap.tensor.clone()],
            Connector::Conv1x1 => {
                vec![self.add("Conv", &[x, &named("weight"), &named("bias")], &named("y"), &[])]
            }
            Connector::Linear => {
                let flat =
                    if tap.dims.len() > 1 { self.add("Flatten", &[x], &named("flat"), &[]) } else { x.to_owned() };
                let transposed = [("transB", Attribute::Int(1))];
                vec![self.add("Gemm", &[&flat, &named("weight"), &named("bias")], &named("y"), &transposed)]
            }
            Connector::Resize => vec![self.resize(x, &named("y"), between.student, between.teacher, "linear")],
            Connector::Pool => {
                let [_, h, w] = between.student;
                let [_, h_t, w_t] = between.teacher;
                let window = Attribute::Ints(vec![(h / h_t) as i64, (w / w_t) as i64]);
                let window = [("kernel_shape", window.clone()), ("strides", window)];
                vec![self.add("AveragePool", &[x], &named("y"), &window)]
            }
            Connector::Vid => {
                let first = self.add("Conv", &[x, &named("first")], &named("first.y"), &[]);
                let first = self.add("Relu", &[&first], &named("first.z"), &[]);
                let second = self.add("Conv", &[&first, &named("second")], &named("second.y"), &[]);
                let second = self.add("Relu", &[&second], &named("second.z"), &[]);
                let mean = self.add("Conv", &[&second, &named("third")], &named("mean"), &[]);
                vec![mean, self.add("Identity", &[&named("rho")], &named("variance"), &[])]
            }
        };
        Ok(names.into_iter().zip(shape.outputs).collect())
    }

    /// Another height and width.
    pub fn resize(&mut self, x: &str, name: &str, from: [usize; 3], to: [usize; 3], mode: &str) -> String {
        let scales = vec![1.0, 1.0, to[1] as f32 / from[1] as f32, to[2] as f32 / from[2] as f32];
        let scales = self.constant(&format!("{name}.scales"), Tensor::f32(&[4], scales));
        let text = |text: &str| Attribute::Bytes(text.as_bytes().to_vec());
        let coordinates = if mode == "nearest" { "asymmetric" } else { "half_pixel" };
        let mut attributes = vec![("mode", text(mode)), ("coordinate_transformation_mode", text(coordinates))];
        if mode == "nearest" {
            attributes.push(("nearest_mode", text("floor")));
        }
        self.add("Resize", &[x, "", &scales], name, &attributes)
    }
}
