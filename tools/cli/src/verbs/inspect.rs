//! `limbeck inspect`: what of a model runs in integers, and why the rest does not.

use std::path::PathBuf;

use anyhow::{Context, Result};
use limbeck_engine::{Student, onnx::Model};

use crate::console::Console;

/// What of a model runs in integers, and why the rest does not.
#[derive(clap::Args, Clone, Debug)]
pub struct Arguments {
    /// The model (ONNX).
    pub model: PathBuf,
}

/// See the module.
pub fn run(arguments: &Arguments, console: &Console) -> Result<()> {
    let model = Model::read(&arguments.model)?;
    let student = Student::load(&model).with_context(|| format!("model {}", arguments.model.display()))?;
    let mut text = format!(
        "{}: opset {}, {} nodes, {} float parameters\n",
        arguments.model.display(),
        model.opset,
        model.graph.nodes.len(),
        model.parameters()
    );
    for value in &model.graph.inputs {
        text += &format!("input  {} {:?}\n", value.name, value.dims);
    }
    for value in &model.graph.outputs {
        text += &format!("output {} {:?}\n", value.name, value.dims);
    }
    if student.integer_operators() == 0 {
        text += "a float model: `limbeck quantize` makes an int8 one\n";
    } else {
        text += &format!("{} operators run in integers", student.integer_operators());
        if let Some(bytes) = student.arena_bytes() {
            text += &format!(", one plan is the whole model, arena {bytes} bytes");
        }
        text += &format!("\n{} operators run in float\n", student.float_nodes().len());
        for node in student.float_nodes() {
            text += &format!("  {}: {}\n", node.node, node.reason);
        }
    }
    console.print(text)
}
