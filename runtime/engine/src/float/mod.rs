//! Float convolutions of our own in tract's graph: NHWC, with bias, residual sum, ReLU and clip in one operator.
//!
//! tract keeps N C H W, packs the input of every pointwise convolution anew, and walks depthwise ones a zone at a time. Here
//! each convolution that the kernels know is replaced, and what lies between two of them (functions of one value, sums, products,
//! means over the image, pools, concatenations) is turned to N H W C too, so that an image changes its layout where it enters and
//! leaves such a chain only. The first convolution reads N C H W as it is.
//!
//! Applied on a CPU with a fast path, right after import: tract's own simplifications would first turn pointwise convolutions into
//! matrix products. What runs holds its weights packed; in what `limbeck-adapt` differentiates they are inputs ([`WiredConv`]).

mod fuse;
mod layout;
mod operator;
mod outputs;
mod packed;
mod pixels;
mod scratch;
mod wired;

pub use outputs::Outputs;
pub use packed::{Kept, taps_first};
pub use pixels::{ScaleChannels, SumPixels};
pub use scratch::Scratch;
pub use wired::{WiredConv, WiredDense};

use limbeck_kernels::float::FloatIsa;
use tract_onnx::prelude::*;
use tract_onnx::tract_core::optim::Optimizer;

/// What one of our operators does in a run.
pub(crate) struct Work {
    /// As in [`crate::steps::Step`].
    pub(crate) class: String,
    /// A float path.
    pub(crate) path: &'static str,
    pub(crate) macs: u64,
    pub(crate) packed_bytes: u64,
}

/// Of a node that is ours.
pub(crate) fn work(node: &TypedNode) -> Option<Work> {
    node.op_as::<operator::FloatConv>().map(|conv| conv.work())
}

/// The same function, with our operators where they are faster.
pub(crate) fn with_own_convolutions(model: TypedModel) -> TractResult<TypedModel> {
    match FloatIsa::detect_fast() {
        Some(isa) => with_own(model, isa, fuse::Keeping::Held),
        None => Ok(model),
    }
}

/// The same function of the same inputs, weights among them, with our operators on one path.
pub(crate) fn with_wired_convolutions(model: TypedModel, isa: FloatIsa) -> TractResult<TypedModel> {
    with_own(model, isa, fuse::Keeping::Wired)
}

fn with_own(mut model: TypedModel, isa: FloatIsa, keeping: fuse::Keeping) -> TractResult<TypedModel> {
    // Shapes and constants that the importer left as arithmetic.
    Optimizer::prop_consts().optimize(&mut model)?;
    let chains = fuse::chains(&model, keeping)?;
    if chains.is_empty() {
        return Ok(model);
    }
    layout::rebuild(&model, &chains, isa, keeping)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::onnx::{Attribute, Dim, Graph, Model, Node, Tensor, Value};

    /// x (1, 3, 8, 8) → convolution, ReLU → depthwise, ReLU6 → pointwise plus the first → mean.
    fn net() -> Model {
        let dims = [1, 3, 8, 8].map(Dim::Known).to_vec();
        let pads = || Attribute::Ints(vec![1; 4]);
        let nodes = vec![
            Node::new("Conv", "first", &["x", "w1", "b"], &["c1"]).with("pads", pads()),
            Node::new("Relu", "relu", &["c1"], &["r1"]),
            Node::new("Conv", "depthwise", &["r1", "w2", "b"], &["c2"])
                .with("pads", pads())
                .with("group", Attribute::Int(8)),
            Node::new("Clip", "clip", &["c2", "zero", "six"], &["r2"]),
            Node::new("Conv", "pointwise", &["r2", "w3", "b"], &["c3"]),
            Node::new("Add", "add", &["c3", "r1"], &["sum"]),
            Node::new("GlobalAveragePool", "mean", &["sum"], &["y"]),
        ];
        let constants = [
            ("w1", Tensor::f32(&[8, 3, 3, 3], vec![0.1; 216])),
            ("w2", Tensor::f32(&[8, 1, 3, 3], vec![0.1; 72])),
            ("w3", Tensor::f32(&[8, 8, 1, 1], vec![0.1; 64])),
            ("b", Tensor::f32(&[8], vec![0.5; 8])),
            ("zero", Tensor::scalar(0.0)),
            ("six", Tensor::scalar(6.0)),
        ];
        let graph = Graph {
            name: "test".into(),
            nodes,
            initializers: constants.into_iter().map(|(name, t)| (name.to_owned(), t)).collect(),
            inputs: vec![Value::f32("x", dims)],
            outputs: vec![Value::f32("y", vec![])],
        };
        Model { ir_version: 8, opset: 17, other_opsets: vec![], metadata: Default::default(), graph }
    }

    fn operators(model: &TypedModel) -> Vec<String> {
        let order = model.eval_order().unwrap();
        let names = order.iter().map(|&id| model.node(id).op.name().to_string());
        names.filter(|name| name != "Const" && name != "Source").collect()
    }

    #[test]
    fn an_image_changes_its_layout_only_where_it_leaves_the_chain() {
        if FloatIsa::detect_fast().is_none() {
            return;
        }
        let imported = crate::imported_model(&net(), &[1, 3, 8, 8]).unwrap();
        let ours = operators(&with_own_convolutions(imported).unwrap());
        let [chain @ .., division, layout] = &ours[..] else { panic!("{ours:?}") };
        let expected = ["LimbeckConvF32", "LimbeckDepthwiseF32", "LimbeckConvF32", "LimbeckSumPixelsF32"];
        assert_eq!(chain, expected, "{ours:?}");
        assert_eq!((division.as_str(), layout.starts_with("Move")), ("Div", true), "{ours:?}");
    }

    #[test]
    fn what_training_differentiates_has_its_weights_as_inputs() {
        let ours = operators(&crate::training_model(&net(), &[1, 3, 8, 8], Some(FloatIsa::PORTABLE)).unwrap());
        let expected =
            ["LimbeckWiredConvF32", "LimbeckWiredDepthwiseF32", "LimbeckWiredConvF32", "LimbeckSumPixelsF32"];
        assert_eq!(ours[..4], expected, "{ours:?}");
        let tract = operators(&crate::training_model(&net(), &[1, 3, 8, 8], None).unwrap());
        assert!(tract.iter().all(|name| !name.starts_with("Limbeck")), "{tract:?}");
    }
}
