//! `limbeck inspect`: what of a model runs in integers and how, and why the rest does not.

use std::path::PathBuf;

use anyhow::Result;
use limbeck_engine::{Isa, Student};

use crate::console::Console;
use crate::verbs::bench::here::Loaded;

/// What of a model runs in integers, on which path and in how much memory, and why the rest does not.
#[derive(clap::Args, Clone, Debug)]
pub struct Arguments {
    /// The model (ONNX).
    pub model: PathBuf,
}

/// See the module.
pub fn run(arguments: &Arguments, console: &Console) -> Result<()> {
    let loaded = Loaded::read(&arguments.model)?;
    let Loaded { student, model, .. } = &loaded;
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
    text += &format!("{}\n", loaded.facts());
    if student.integer_operators() == 0 {
        text += "a float model: `limbeck quantize` makes an int8 one\n";
    } else {
        text += &format!("{} operators run in integers", student.integer_operators());
        if let Some(bytes) = student.arena_bytes() {
            text += &format!(", one plan is the whole model, arena {bytes} bytes");
        }
        text += "\n";
        text += &integers(student);
        text += &format!("{} operators run in float\n", student.float_nodes().len());
        for node in student.float_nodes() {
            text += &format!("  {}: {}\n", node.node, node.reason);
        }
    }
    console.print(text)
}

/// A line an operator, then a line a path of this CPU.
fn integers(student: &Student) -> String {
    let steps: Vec<_> = student.steps().into_iter().filter(|s| s.integer).collect();
    let width = steps.iter().map(|s| s.class.chars().count()).max().unwrap_or(0);
    let mut text = String::new();
    for step in &steps {
        let packed = match step.packed_bytes {
            0 => "nothing packed".into(),
            bytes => format!("{bytes} bytes packed"),
        };
        let macs = if step.macs > 0 { format!("  {:.3} MMAC", step.macs as f64 / 1e6) } else { String::new() };
        text += &format!("  {:width$}  {:8}  {packed:20}  {}{macs}\n", step.class, step.path, step.name);
    }
    for isa in Isa::available() {
        let memory = student.memory_on(isa);
        let used = if isa == student.isa() { ", used here" } else { "" };
        text += &format!("path {}: packed weights {} bytes, arena {}{used}\n", isa.name(), memory.packed, memory.arena);
    }
    text
}
