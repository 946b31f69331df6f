//! The graph once more, with chains as operators and images in N H W C between them.

use std::collections::HashMap;

use limbeck_kernels::float::FloatIsa;
use limbeck_kernels::float::conv_f32::{ConvShapeF32, Order};
use tract_onnx::prelude::*;
use tract_onnx::tract_core::internal::*;
use tract_onnx::tract_core::ops::array::TypedConcat;
use tract_onnx::tract_core::ops::binary::TypedBinOp;
use tract_onnx::tract_core::ops::cnn::{MaxPool, SumPool};
use tract_onnx::tract_core::ops::element_wise::ElementWiseOp;
use tract_onnx::tract_core::ops::konst::Const;
use tract_onnx::tract_core::ops::math::Mul;
use tract_onnx::tract_core::ops::nn::{DataFormat, Reduce, Reducer};
use tract_onnx::tract_core::ops::source::TypedSource;

use super::fuse::{Chain, Keeping, Role, Weights};
use super::operator::FloatConv;
use super::outputs::Outputs;
use super::packed::Packed;
use super::pixels::{ScaleChannels, SumPixels};
use super::wired::{WiredConv, dense};

/// The forms in which a value exists in the new graph; at least one.
#[derive(Clone, Copy, Default)]
struct Forms {
    /// As the old graph has it.
    planar: Option<OutletId>,
    /// N H W C, of a value of rank 4.
    interleaved: Option<OutletId>,
}

struct Rebuild<'a> {
    old: &'a TypedModel,
    new: TypedModel,
    forms: HashMap<OutletId, Forms>,
    outputs: Outputs,
}

/// Builds the new graph.
pub(super) fn rebuild(
    old: &TypedModel,
    roles: &HashMap<usize, Role>,
    isa: FloatIsa,
    keeping: Keeping,
) -> TractResult<TypedModel> {
    let new = TypedModel { symbols: old.symbols.clone(), properties: old.properties.clone(), ..TypedModel::default() };
    let outputs = match keeping {
        Keeping::Held => Outputs::kept(),
        Keeping::Wired => Outputs::fresh(),
    };
    let mut r = Rebuild { old, new, forms: HashMap::new(), outputs };
    for &input in old.input_outlets()? {
        r.source(input)?;
    }
    for id in old.eval_order()? {
        let node = old.node(id);
        match roles.get(&id) {
            Some(Role::Inner) => {}
            Some(Role::Tail(chain)) => r.chain(node, chain, isa)?,
            None if node.op_is::<TypedSource>() => {}
            None if keeping == Keeping::Wired && r.dense(node, isa)? => {}
            None => match r.interleaved(node)? {
                Some(outlet) => r.put(OutletId::new(id, 0), Forms { interleaved: Some(outlet), planar: None }),
                None => r.as_it_was(node)?,
            },
        }
    }
    let mut outputs = vec![];
    for &output in old.output_outlets()? {
        outputs.push(r.planar(output)?);
    }
    for (&old_outlet, &new_outlet) in old.output_outlets()?.iter().zip(&outputs) {
        if let Some(label) = old.outlet_label(old_outlet) {
            r.new.set_outlet_label(new_outlet, label.to_string())?;
        }
    }
    r.new.select_output_outlets(&outputs)?;
    Ok(r.new)
}

impl Rebuild<'_> {
    fn put(&mut self, outlet: OutletId, forms: Forms) {
        self.forms.insert(outlet, forms);
    }

    fn get(&self, outlet: OutletId) -> Forms {
        self.forms.get(&outlet).copied().unwrap_or_default()
    }

    fn name(&self, name: String) -> String {
        self.new.unique_name(name).into_owned()
    }

    fn source(&mut self, outlet: OutletId) -> TractResult<()> {
        let node = self.old.node(outlet.node);
        let planar = self.new.add_source(&node.name, self.old.outlet_fact(outlet)?.clone())?;
        self.put(outlet, Forms { planar: Some(planar), interleaved: None });
        Ok(())
    }

    /// The value as the old graph has it.
    fn planar(&mut self, outlet: OutletId) -> TractResult<OutletId> {
        let forms = self.get(outlet);
        if let Some(planar) = forms.planar {
            return Ok(planar);
        }
        let from = forms.interleaved.context("a value that nothing computes")?;
        let name = self.name(format!("{}.nchw", self.old.node(outlet.node).name));
        let planar = self.new.wire_node(name, AxisOp::Move(3, 1), &[from])?[0];
        self.put(outlet, Forms { planar: Some(planar), ..forms });
        Ok(planar)
    }

    /// The value in N H W C.
    fn turned(&mut self, outlet: OutletId) -> TractResult<OutletId> {
        let forms = self.get(outlet);
        if let Some(interleaved) = forms.interleaved {
            return Ok(interleaved);
        }
        let name = self.name(format!("{}.nhwc", self.old.node(outlet.node).name));
        let from = self.planar(outlet)?;
        let interleaved = self.new.wire_node(name, AxisOp::Move(1, 3), &[from])?[0];
        self.put(outlet, Forms { interleaved: Some(interleaved), ..forms });
        Ok(interleaved)
    }

    fn chain(&mut self, node: &TypedNode, chain: &Chain, isa: FloatIsa) -> TractResult<()> {
        let is_planar = !chain.depthwise && self.get(chain.input).interleaved.is_none();
        let order = if is_planar { Order::Planar } else { Order::Interleaved };
        let mut inputs = vec![if is_planar { self.planar(chain.input)? } else { self.turned(chain.input)? }];
        if let Weights::Wired { weights, bias } = chain.weights {
            inputs.extend([self.planar(weights)?, self.planar(bias)?]);
        }
        if let Some(addend) = chain.addend {
            inputs.push(self.turned(addend)?);
        }
        let (shape, depthwise, bounds) = (ConvShapeF32 { order, ..chain.shape }, chain.depthwise, chain.bounds);
        let op: Box<dyn TypedOp> = match &chain.weights {
            Weights::Held { weights, bias } => {
                let packed = Packed::new(&shape, depthwise, weights, bias);
                Box::new(FloatConv::new(isa, (chain.batch, shape), packed, bounds, &self.outputs))
            }
            Weights::Wired { .. } => Box::new(WiredConv::new(isa, shape, depthwise, bounds, &self.outputs)),
        };
        let name = self.name(node.name.clone());
        let outlet = self.new.wire_node(name, op, &inputs)?[0];
        self.put(OutletId::new(node.id, 0), Forms { interleaved: Some(outlet), planar: None });
        Ok(())
    }

    /// Wires a fully connected layer, if the node is one.
    fn dense(&mut self, node: &TypedNode, isa: FloatIsa) -> TractResult<bool> {
        let Some((op, inputs)) = dense(self.old, node, isa) else { return Ok(false) };
        let inputs = inputs.into_iter().map(|i| self.planar(i)).collect::<TractResult<TVec<_>>>()?;
        let name = self.name(node.name.clone());
        let outlet = self.new.wire_node(name, op, &inputs)?[0];
        self.put(OutletId::new(node.id, 0), Forms { planar: Some(outlet), interleaved: None });
        Ok(true)
    }

    /// The node on N H W C operands, if it is of a kind that allows it and its operands are there.
    fn interleaved(&mut self, node: &TypedNode) -> TractResult<Option<OutletId>> {
        let rank_4 = |fact: &TypedFact| fact.rank() == 4;
        let [output] = &node.outputs[..] else { return Ok(None) };
        let mut ready = false;
        for &input in &node.inputs {
            let is_constant = self.old.outlet_fact(input)?.konst.is_some();
            ready |= self.get(input).interleaved.is_some();
            if !rank_4(self.old.outlet_fact(input)?) || (!is_constant && self.get(input).interleaved.is_none()) {
                return Ok(None);
            }
        }
        if !ready || !rank_4(&output.fact) {
            return Ok(None);
        }
        let name = self.name(node.name.clone());
        if let Some((op, inputs)) = self.on_pixels(node)? {
            let inputs = inputs.into_iter().map(|i| self.turned(i)).collect::<TractResult<TVec<_>>>()?;
            return Ok(Some(self.new.wire_node(name, op, &inputs)?[0]));
        }
        let Some(op) = turned_op(node) else { return Ok(None) };
        let inputs = node.inputs.iter().map(|&i| self.turned(i)).collect::<TractResult<TVec<_>>>()?;
        Ok(Some(self.new.wire_node(name, op, &inputs)?[0]))
    }

    /// One of our own operators on whole images, and its inputs.
    #[expect(clippy::type_complexity, reason = "an operator and what it reads")]
    fn on_pixels(&self, node: &TypedNode) -> TractResult<Option<(Box<dyn TypedOp>, TVec<OutletId>)>> {
        let shape = |outlet: OutletId| -> TractResult<Option<[usize; 4]>> {
            let fact = self.old.outlet_fact(outlet)?;
            let is_f32 = fact.datum_type == f32::datum_type();
            let dims = fact.shape.as_concrete().filter(|_| is_f32);
            Ok(dims.and_then(|d| <[usize; 4]>::try_from(d).ok()).map(|[n, c, h, w]| [n, h, w, c]))
        };
        if let (Some(reduce), &[x]) = (node.op_as::<Reduce>(), &node.inputs[..])
            && reduce.reducer == Reducer::Sum
            && reduce.axes[..] == [2, 3]
            && let Some(shape) = shape(x)?
        {
            return Ok(Some((Box::new(SumPixels { shape, outputs: self.outputs.clone() }), tvec!(x))));
        }
        if let (Some(op), &[a, b]) = (node.op_as::<TypedBinOp>(), &node.inputs[..])
            && op.0.is::<Mul>()
            && let (Some(a_shape), Some(b_shape)) = (shape(a)?, shape(b)?)
        {
            let factors = |[n, _, _, c]: [usize; 4]| [n, 1, 1, c];
            if b_shape == factors(a_shape) && a_shape != b_shape {
                return Ok(Some((
                    Box::new(ScaleChannels { shape: a_shape, outputs: self.outputs.clone() }),
                    tvec!(a, b),
                )));
            }
            if a_shape == factors(b_shape) && a_shape != b_shape {
                return Ok(Some((
                    Box::new(ScaleChannels { shape: b_shape, outputs: self.outputs.clone() }),
                    tvec!(b, a),
                )));
            }
        }
        Ok(None)
    }

    fn as_it_was(&mut self, node: &TypedNode) -> TractResult<()> {
        let inputs = node.inputs.iter().map(|&i| self.planar(i)).collect::<TractResult<TVec<_>>>()?;
        let name = self.name(node.name.clone());
        let outlets = match node.op_as::<Const>() {
            Some(constant) => tvec!(self.new.add_const(name, constant.val().clone())?),
            None => self.new.wire_node(name, node.op.clone(), &inputs)?,
        };
        for (slot, planar) in outlets.into_iter().enumerate() {
            self.put(OutletId::new(node.id, slot), Forms { planar: Some(planar), interleaved: None });
        }
        Ok(())
    }
}

/// The operator that does to N H W C what the node's does to N C H W.
fn turned_op(node: &TypedNode) -> Option<Box<dyn TypedOp>> {
    let axis = |a: usize| [0, 3, 1, 2].get(a).copied();
    if node.op_is::<ElementWiseOp>() || node.op_is::<TypedBinOp>() {
        return Some(node.op.clone());
    }
    if let Some(reduce) = node.op_as::<Reduce>() {
        let mut axes = reduce.axes.iter().map(|&a| axis(a)).collect::<Option<TVec<usize>>>()?;
        axes.sort_unstable();
        return Some(Box::new(Reduce { axes, ..reduce.clone() }));
    }
    if let Some(concat) = node.op_as::<TypedConcat>() {
        return Some(Box::new(TypedConcat { axis: axis(concat.axis)? }));
    }
    if let Some(pool) = node.op_as::<MaxPool>() {
        let mut pool = pool.clone();
        (pool.pool_spec.data_format == DataFormat::NCHW && pool.with_index_outputs.is_none()).then_some(())?;
        pool.pool_spec.data_format = DataFormat::NHWC;
        return Some(Box::new(pool));
    }
    if let Some(pool) = node.op_as::<SumPool>() {
        let mut pool = pool.clone();
        (pool.pool_spec.data_format == DataFormat::NCHW).then_some(())?;
        pool.pool_spec.data_format = DataFormat::NHWC;
        return Some(Box::new(pool));
    }
    None
}
