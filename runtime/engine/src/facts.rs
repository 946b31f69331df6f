//! Shapes and constant values of every tensor of a graph, as tract infers them.
//!
//! Exporters leave arithmetic on shapes in the graph (`Shape → Gather → Mul → Pad` for TensorFlow's "same" padding).
//! tract already knows how to evaluate it; this asks tract and keeps the answer by value name. The batch stays
//! symbolic, so nothing that depends on it is taken for a constant.

use std::collections::HashMap;

use tract_onnx::prelude::*;
use tract_onnx::tract_core::internal::DimLike;
use tract_onnx::tract_hir::infer::Factoid;

use crate::error::{EngineError, guarded};
use crate::onnx::{Data, Model, Tensor as OnnxTensor};

/// What is known of a value.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Fact {
    /// Sizes, `None` where unknown or symbolic; `None` altogether when not even the rank is known.
    pub dims: Option<Vec<Option<usize>>>,
    /// The value itself, where it does not depend on the input. Float and integer tensors only.
    pub value: Option<OnnxTensor>,
}

impl Fact {
    /// All sizes but the first (the batch), if known.
    pub fn sample_dims(&self) -> Option<Vec<usize>> {
        self.dims.as_ref()?.get(1..)?.iter().copied().collect()
    }
}

/// Facts by value name.
pub fn infer(model: &Model) -> Result<HashMap<String, Fact>, EngineError> {
    guarded("read the graph", || {
        let failed = EngineError::tract;
        let proto = crate::onnx::emit::proto(model);
        let parsed = crate::framework().parse(&proto, None).map_err(failed("cannot read the graph"))?;
        let mut inference = parsed.model;
        inference.analyse(true).map_err(failed("cannot infer the shapes"))?;
        let mut facts = HashMap::new();
        for (name, outlet) in parsed.outlets_by_name {
            let fact = inference.outlet_fact(outlet).map_err(failed("cannot infer the shapes"))?;
            let dims = fact.shape.concretize_dims();
            let value = fact.value.concretize().and_then(|t| constant(&t));
            facts.insert(name, Fact { dims, value });
        }
        Ok(facts)
    })
}

trait ConcretizeDims {
    fn concretize_dims(&self) -> Option<Vec<Option<usize>>>;
}

impl ConcretizeDims for tract_onnx::tract_hir::infer::ShapeFactoid {
    fn concretize_dims(&self) -> Option<Vec<Option<usize>>> {
        if self.is_open() {
            return None;
        }
        Some(self.dims().map(|d| d.concretize().and_then(|d| d.to_usize().ok())).collect())
    }
}

fn constant(tensor: &Tensor) -> Option<OnnxTensor> {
    let dims = tensor.shape().to_vec();
    let data = if tensor.datum_type() == f32::datum_type() {
        Data::F32(tensor.try_as_plain_ram().ok()?.as_slice::<f32>().ok()?.to_vec())
    } else if tensor.datum_type() == i32::datum_type() {
        Data::I32(tensor.try_as_plain_ram().ok()?.as_slice::<i32>().ok()?.to_vec())
    } else if [i64::datum_type(), TDim::datum_type()].contains(&tensor.datum_type()) {
        // A symbol (the batch) has no i64 form: such a value is not a constant.
        let cast = tensor.cast_to::<i64>().ok()?;
        Data::I64(cast.try_as_plain_ram().ok()?.as_slice::<i64>().ok()?.to_vec())
    } else {
        return None;
    };
    Some(OnnxTensor { dims, data })
}
