//! An integer region as one tract operator: f32 N C H W in and out, the int8 plan inside.

use std::sync::{Arc, Mutex};

use limbeck_plan::{Isa, PackedPlan, PackedPlanBuf};
use tract_onnx::pb::NodeProto;
use tract_onnx::prelude::*;
use tract_onnx::tract_core::internal::*;
use tract_onnx::tract_hir::internal::*;

/// Operator type of a region in the rewritten graph. It never reaches a file.
pub const PLAN_OP: &str = "LimbeckPlan";

/// Attribute that names the path its plan is packed for; without it, the one that this process uses.
pub(crate) const PATH: &str = "path";

pub(crate) fn register(onnx: &mut tract_onnx::Onnx) {
    onnx.op_register.insert(PLAN_OP, |_context, node: &NodeProto| {
        let attribute = |name: &str| node.attribute.iter().find(|a| a.name == name);
        let plan = attribute("plan").ok_or_else(|| format_err!("a plan node without its plan"))?;
        let mut flat = attribute("shapes").map_or(&[][..], |a| &a.ints[..]).iter().map(|&d| d as usize);
        let mut shapes: Vec<TVec<usize>> = vec![];
        while let Some(rank) = flat.next() {
            shapes.push(flat.by_ref().take(rank).collect());
        }
        let isa = match attribute(PATH).and_then(|a| std::str::from_utf8(&a.s).ok()) {
            Some(name) => Isa::named(name).ok_or_else(|| format_err!("this CPU has no path {name}"))?,
            None => crate::path::path().map_err(|e| format_err!("{e}"))?,
        };
        Ok((expand(ImportPlan(PlanOp::new(plan.s.clone(), shapes, isa)?)), vec![]))
    });
}

/// The operator as the importer sees it.
#[derive(Debug, Clone)]
struct ImportPlan(PlanOp);

impl Expansion for ImportPlan {
    fn name(&self) -> StaticName {
        PLAN_OP.into()
    }

    fn nboutputs(&self) -> TractResult<usize> {
        Ok(self.0.shapes.len())
    }

    fn rules<'r, 'p: 'r, 's: 'r>(
        &'s self,
        s: &mut Solver<'r>,
        inputs: &'p [TensorProxy],
        outputs: &'p [TensorProxy],
    ) -> InferenceResult {
        for (shape, output) in self.0.shapes.iter().zip(outputs) {
            s.equals(&output.datum_type, f32::datum_type())?;
            s.equals(&output.rank, shape.len() as i64 + 1)?;
            s.equals(&output.shape[0], &inputs[0].shape[0])?;
            for (axis, &size) in shape.iter().enumerate() {
                s.equals(&output.shape[axis + 1], size.to_dim())?;
            }
        }
        Ok(())
    }

    fn wire(&self, prefix: &str, model: &mut TypedModel, inputs: &[OutletId]) -> TractResult<TVec<OutletId>> {
        model.wire_node(prefix, self.0.clone(), inputs)
    }
}

/// The operator in the typed graph.
#[derive(Debug, Clone)]
pub(crate) struct PlanOp {
    plan: Arc<PackedPlanBuf>,
    /// Shape of one sample of each output, as the ONNX graph has it.
    shapes: Vec<TVec<usize>>,
    /// Arenas not in use; one a concurrent run.
    arenas: Arc<Mutex<Vec<Vec<i8>>>>,
}

impl PlanOp {
    fn new(bytes: Vec<u8>, shapes: Vec<TVec<usize>>, isa: Isa) -> TractResult<PlanOp> {
        let plan = crate::student::packed(bytes, isa).map_err(|e| format_err!("{e}"))?;
        let lengths = plan.plan().plan().outputs().map(|t| t.shape.elements());
        ensure!(lengths.eq(shapes.iter().map(|s| s.iter().product::<usize>())), "the plan's outputs have other sizes");
        Ok(PlanOp { plan: Arc::new(plan), shapes, arenas: Arc::default() })
    }
}

impl PlanOp {
    pub(crate) fn packed(&self) -> PackedPlan<'_> {
        self.plan.plan()
    }

    pub(crate) fn buf(&self) -> &PackedPlanBuf {
        &self.plan
    }
}

impl PartialEq for PlanOp {
    fn eq(&self, other: &PlanOp) -> bool {
        self.plan.as_bytes() == other.plan.as_bytes()
    }
}
impl Eq for PlanOp {}

impl Op for PlanOp {
    fn name(&self) -> StaticName {
        PLAN_OP.into()
    }
    op_as_typed_op!();
}

impl EvalOp for PlanOp {
    op_out_of_plan!();

    fn eval(&self, _context: &EvalContext, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        let plan = self.plan.plan();
        let batch = inputs.first().map_or(1, |i| i.shape()[0]);
        ensure!(batch == 1, "an int8 plan runs one sample at a time, not {batch}");
        let mut arena =
            self.arenas.lock().ok().and_then(|mut a| a.pop()).unwrap_or_else(|| vec![0; plan.arena_bytes()]);
        let views = inputs.iter().map(|i| i.try_as_plain_ram()).collect::<TractResult<Vec<_>>>()?;
        let xs = views.iter().map(|v| v.as_slice::<f32>()).collect::<TractResult<Vec<_>>>()?;
        let mut ys: Vec<Vec<f32>> = plan.plan().outputs().map(|t| vec![0.0; t.shape.elements()]).collect();
        let mut slots: Vec<&mut [f32]> = ys.iter_mut().map(Vec::as_mut_slice).collect();
        crate::observe::observed(|observe| plan.run(&xs, &mut slots, &mut arena, observe))
            .map_err(|e| format_err!("{e}"))?;
        if let Ok(mut arenas) = self.arenas.lock() {
            arenas.push(arena);
        }
        let outputs = self.shapes.iter().zip(ys).map(|(shape, y)| {
            let dims: TVec<usize> = std::iter::once(1).chain(shape.iter().copied()).collect();
            Ok(Tensor::from_shape(&dims, &y)?.into_tvalue())
        });
        outputs.collect()
    }
}

impl TypedOp for PlanOp {
    as_op!();

    fn output_facts(&self, inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        let batch = inputs.first().map_or(1.to_dim(), |i| i.shape[0].clone());
        let fact = |shape: &TVec<usize>| {
            let dims: TVec<TDim> = std::iter::once(batch.clone()).chain(shape.iter().map(|d| d.to_dim())).collect();
            f32::fact(&dims)
        };
        Ok(self.shapes.iter().map(fact).collect())
    }
}
