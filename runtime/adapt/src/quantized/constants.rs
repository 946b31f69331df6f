//! Constants of a file by name, whether they are initializers or `Constant` nodes.

use limbeck_engine::onnx::{Attribute, Data, Graph, Tensor};

/// The constant `name`.
pub(crate) fn constant<'a>(graph: &'a Graph, name: &str) -> Option<&'a Tensor> {
    graph.initializers.get(name).or_else(|| {
        let node = graph.nodes.iter().find(|n| n.op == "Constant" && n.outputs.first().is_some_and(|o| o == name))?;
        match node.attributes.get("value") {
            Some(Attribute::Tensor(tensor)) => Some(tensor),
            _ => None,
        }
    })
}

/// Give the constant `name` other elements of the same type and shape. False where there is none.
pub(crate) fn set_constant(graph: &mut Graph, name: &str, data: Data) -> bool {
    if let Some(tensor) = graph.initializers.get_mut(name) {
        tensor.data = data;
        return true;
    }
    let mut nodes = graph.nodes.iter_mut();
    let node = nodes.find(|n| n.op == "Constant" && n.outputs.first().is_some_and(|o| o == name));
    match node.and_then(|n| n.attributes.get_mut("value")) {
        Some(Attribute::Tensor(tensor)) => {
            tensor.data = data;
            true
        }
        _ => false,
    }
}

/// The elements of a constant f32.
pub(crate) fn floats<'a>(graph: &'a Graph, name: &str) -> Option<&'a [f32]> {
    constant(graph, name)?.as_f32()
}
