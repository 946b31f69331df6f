//! Which element of a weight tensor belongs to which input and output channel.
//!
//! `Conv`: O × (I / groups) × kh × kw. `Gemm`: I × O, or O × I with `transB`. `MatMul`: I × O.

use limbeck_engine::onnx::{Graph, Node};

/// The constant weights of a layer, as an index.
#[derive(Debug, Clone, Copy)]
pub(crate) struct WeightIndex {
    /// Output channels.
    pub outputs: usize,
    /// Input channels, all groups together.
    pub inputs: usize,
    /// Elements.
    pub len: usize,
    groups: usize,
    /// One row per output channel, or one column.
    by_row: bool,
    /// Elements behind one another that share both channels.
    kernel: usize,
}

impl WeightIndex {
    /// `None` where `node` is no layer with constant float weights of the shape above.
    pub fn of(graph: &Graph, node: &Node) -> Option<WeightIndex> {
        if !node.domain.is_empty() {
            return None;
        }
        let weights = graph.initializers.get(node.input(1)?)?;
        let len = weights.as_f32()?.len();
        let index = match (node.op.as_str(), &weights.dims[..]) {
            ("Conv", &[outputs, per_group, ref kernel @ ..]) => {
                let groups = usize::try_from(node.int("group", 1)).ok().filter(|g| *g > 0)?;
                let kernel = kernel.iter().product();
                WeightIndex { outputs, inputs: per_group * groups, len, groups, by_row: true, kernel }
            }
            ("Gemm" | "MatMul", &[rows, columns]) => {
                let by_row = node.op == "Gemm" && node.int("transB", 0) == 1;
                let (outputs, inputs) = if by_row { (rows, columns) } else { (columns, rows) };
                WeightIndex { outputs, inputs, len, groups: 1, by_row, kernel: 1 }
            }
            _ => return None,
        };
        (len > 0 && index.outputs.is_multiple_of(index.groups)).then_some(index)
    }

    /// Axis of the output channels.
    pub fn axis(&self) -> i64 {
        !self.by_row as i64
    }

    /// Output channel of element `at`.
    pub fn output(&self, at: usize) -> usize {
        if self.by_row { at / (self.len / self.outputs) } else { at % self.outputs }
    }

    /// Input channel of element `at`.
    pub fn input(&self, at: usize) -> usize {
        if !self.by_row {
            return at / self.outputs;
        }
        let per_group = self.inputs / self.groups;
        let group = self.output(at) / (self.outputs / self.groups);
        group * per_group + at / self.kernel % per_group
    }
}

#[cfg(test)]
mod tests {
    use limbeck_engine::onnx::{Attribute, Tensor};

    use super::*;

    fn index(node: Node, dims: &[usize]) -> WeightIndex {
        let len = dims.iter().product();
        let initializers = [("w".to_owned(), Tensor::f32(dims, vec![0.0; len]))].into();
        WeightIndex::of(&Graph { initializers, ..Graph::default() }, &node).unwrap()
    }

    #[test]
    fn elements_know_their_channels() {
        let node = |op| Node::new(op, "n", &["x", "w"], &["y"]);
        let conv = index(node("Conv"), &[2, 3, 1, 2]);
        assert_eq!((conv.output(7), conv.input(7)), (1, 0));
        assert_eq!((conv.output(11), conv.input(11)), (1, 2));
        let depthwise = index(node("Conv").with("group", Attribute::Int(3)), &[6, 1, 2, 2]);
        assert_eq!((depthwise.inputs, depthwise.output(20), depthwise.input(20)), (3, 5, 2));
        assert_eq!((depthwise.output(4), depthwise.input(4)), (1, 0));
        let grouped = index(node("Conv").with("group", Attribute::Int(2)), &[4, 3, 1, 1]);
        assert_eq!((grouped.output(7), grouped.input(7)), (2, 4));
        let gemm = index(node("Gemm"), &[3, 2]);
        assert_eq!((gemm.outputs, gemm.output(3), gemm.input(3), gemm.axis()), (2, 1, 1, 1));
        let transposed = index(node("Gemm").with("transB", Attribute::Int(1)), &[2, 3]);
        assert_eq!((transposed.outputs, transposed.output(4), transposed.input(4), transposed.axis()), (2, 1, 1, 0));
    }
}
