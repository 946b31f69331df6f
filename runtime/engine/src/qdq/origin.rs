//! Where in the graph an integer operation's numbers come from, for whoever changes them: names of constants, and the slope of
//! a function that the plan has as a table only.

use super::{QdqGraph, Quant};
use crate::functions;
use crate::integer_model::Layer;
use crate::onnx::Node;

impl QdqGraph<'_> {
    /// The constants of a convolution or matrix product that has an integer form.
    pub fn layer(&self, node: &Node) -> Option<Layer> {
        let constant = |slot: usize| {
            let dq = self.producer(node.input(slot)?).filter(|n| n.op == "DequantizeLinear")?;
            Some((dq.input(0)?.to_owned(), dq.input(1)?.to_owned()))
        };
        let (weights, scale) = constant(1)?;
        let (bias, bias_scale) = constant(2).unzip();
        let transposed = node.op == "MatMul" || (node.op == "Gemm" && node.int("transB", 0) == 0);
        Some(Layer { node: node.name.clone(), weights, scale, bias, bias_scale, transposed })
    }

    /// dy/dx of a node that is a table in the plan, for each stored integer: see [`functions::slopes`].
    pub fn slopes(&self, node: &Node, x: Quant, y: Quant) -> Option<Box<[f32; 256]>> {
        if let "Relu" | "Clip" = node.op.as_str() {
            let (low, high) = self.clip_range(node).ok()?;
            return Some(functions::slopes(|v| v.max(low as f64).min(high as f64), x, y));
        }
        match functions::function(node) {
            Some(function) => Some(functions::slopes(function, x, y)),
            // A `QuantizeLinear` of an integer: the same number at another scale.
            None => Some(functions::slopes(|v| v, x, y)),
        }
    }
}
