//! Nodes beside a model while it is trained: what makes a student's value comparable to a teacher's.
//!
//! A connector (a 1×1 convolution behind a tap, say) is a part of the trained graph like any other and gets its gradients by the same rules;
//! it is gone from the model that results.

use limbeck_engine::onnx::{Graph, Node, Tensor, Value};

use crate::error::AdaptError;

/// What stands beside a model while it is trained.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Attachment {
    /// Behind the model's own nodes, in topological order.
    pub nodes: Vec<Node>,
    /// Constants that are trained, besides the model's, by name.
    pub trained: Vec<(String, Tensor)>,
    /// Constants that are not, by name.
    pub fixed: Vec<(String, Tensor)>,
    /// Inputs besides the image, with a batch of one and all sizes known: a teacher's values that connectors read.
    pub inputs: Vec<Value>,
    /// Outputs behind the model's first: its own tensors and those of `nodes`.
    pub outputs: Vec<String>,
}

/// What the graph was before.
#[derive(Debug, Clone)]
pub(crate) struct Detach {
    nodes: usize,
    inputs: usize,
    outputs: Vec<Value>,
    constants: Vec<String>,
}

impl Attachment {
    /// Put it into a graph. Only the first output stays; it is followed by those of the attachment.
    pub(crate) fn put_into(&self, graph: &mut Graph) -> Result<Detach, AdaptError> {
        let constants = || self.trained.iter().chain(&self.fixed);
        let values = self.nodes.iter().flat_map(|n| &n.outputs).chain(self.inputs.iter().map(|i| &i.name));
        for name in values.chain(constants().map(|(name, _)| name)) {
            let taken = graph.nodes.iter().flat_map(|n| &n.outputs).any(|o| o == name)
                || graph.initializers.contains_key(name)
                || graph.inputs.iter().any(|i| i.name == *name);
            if taken {
                return Err(AdaptError::Unsuitable(format!("the model has a tensor \"{name}\" already; rename it")));
            }
        }
        let detach = Detach {
            nodes: graph.nodes.len(),
            inputs: graph.inputs.len(),
            outputs: graph.outputs.clone(),
            constants: constants().map(|(name, _)| name.clone()).collect(),
        };
        graph.nodes.extend(self.nodes.iter().cloned());
        graph.initializers.extend(constants().cloned());
        graph.inputs.extend(self.inputs.iter().cloned());
        graph.outputs.truncate(1);
        graph.outputs.extend(self.outputs.iter().map(|name| Value::f32(name, vec![])));
        Ok(detach)
    }
}

impl Detach {
    /// Take it out again.
    pub fn take_from(&self, graph: &mut Graph) {
        graph.nodes.truncate(self.nodes);
        graph.inputs.truncate(self.inputs);
        graph.outputs.clone_from(&self.outputs);
        for name in &self.constants {
            graph.initializers.remove(name);
        }
    }
}
