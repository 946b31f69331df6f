//! The part of a graph that no trained tensor stands behind, and the rest.
//!
//! What a sample makes of the frozen part is the same in every epoch. The *cut* is every value that crosses from it into the rest: several
//! where a residual crosses.

use std::collections::{HashMap, HashSet};

use tract_core::internal::*;
use tract_core::ops::source::TypedSource;

/// A graph in two.
pub(crate) struct Split {
    /// x → the cut.
    pub prefix: TypedModel,
    /// The cut, then the trained tensors → y.
    pub suffix: TypedModel,
    /// Shapes of the cut's values.
    pub cut: Vec<Vec<usize>>,
}

/// Values that one of the `trained` inputs stands behind.
pub(crate) fn needed(forward: &TypedModel, trained: &[OutletId]) -> TractResult<HashSet<OutletId>> {
    let mut needed: HashSet<OutletId> = trained.iter().copied().collect();
    for id in forward.eval_order()? {
        let node = forward.node(id);
        if node.inputs.iter().any(|i| needed.contains(i)) {
            needed.extend((0..node.outputs.len()).map(|slot| OutletId::new(id, slot)));
        }
    }
    Ok(needed)
}

/// Split `forward`, whose inputs are x and then the trained tensors. `None` when nothing is computed before the cut.
pub(crate) fn split(forward: &TypedModel) -> TractResult<Option<Split>> {
    let inputs = forward.input_outlets()?.to_vec();
    let needed = needed(forward, &inputs[1..])?;
    let mut cut: Vec<OutletId> = vec![];
    for id in forward.eval_order()? {
        let node = forward.node(id);
        for &input in &node.inputs {
            let reads = node.outputs.iter().enumerate().any(|(slot, _)| needed.contains(&OutletId::new(id, slot)));
            let frozen = !needed.contains(&input) && forward.outlet_fact(input)?.konst.is_none();
            if reads && frozen && !cut.contains(&input) {
                cut.push(input);
            }
        }
    }
    // A graph whose trained tensors are all that it reads has no data; one that reads x itself has no prefix.
    if cut.is_empty() || cut == [inputs[0]] {
        return Ok(None);
    }
    let shapes = cut
        .iter()
        .map(|&outlet| {
            let fact = forward.outlet_fact(outlet)?;
            ensure!(fact.datum_type == f32::datum_type(), "a cut of {:?}", fact.datum_type);
            let shape = fact.shape.as_concrete().with_context(|| format!("symbolic shape {:?}", fact.shape))?;
            Ok(shape.to_vec())
        })
        .collect::<TractResult<Vec<_>>>()?;
    let prefix = between(forward, &inputs[..1], &cut)?;
    let suffix = between(forward, &[&cut[..], &inputs[1..]].concat(), forward.output_outlets()?)?;
    Ok(Some(Split { prefix, suffix, cut: shapes }))
}

/// The part of a graph that computes `to` from `from`.
fn between(graph: &TypedModel, from: &[OutletId], to: &[OutletId]) -> TractResult<TypedModel> {
    let mut part = TypedModel { symbols: graph.symbols.clone(), ..TypedModel::default() };
    let mut wires: HashMap<OutletId, OutletId> = HashMap::new();
    for &outlet in from {
        let (fact, node) = (graph.outlet_fact(outlet)?.without_value(), graph.node(outlet.node));
        let name =
            if node.op_is::<TypedSource>() { node.name.clone() } else { format!("{}.{}", node.name, outlet.slot) };
        wires.insert(outlet, part.add_source(name, fact)?);
    }
    let mut wanted: HashSet<usize> = HashSet::new();
    let mut open: Vec<OutletId> = to.to_vec();
    while let Some(outlet) = open.pop() {
        if !wires.contains_key(&outlet) && wanted.insert(outlet.node) {
            open.extend(&graph.node(outlet.node).inputs);
        }
    }
    for id in graph.eval_order()?.into_iter().filter(|id| wanted.contains(id)) {
        let node = graph.node(id);
        let inputs = node.inputs.iter().map(|i| wires.get(i).copied().context("a value from outside the part"));
        let outlets = part.wire_node(node.name.clone(), node.op.clone(), &inputs.collect::<TractResult<TVec<_>>>()?)?;
        for (slot, outlet) in outlets.into_iter().enumerate() {
            wires.entry(OutletId::new(id, slot)).or_insert(outlet);
        }
    }
    let outputs = to.iter().map(|o| wires.get(o).copied().context("an output that nothing computes"));
    part.select_output_outlets(&outputs.collect::<TractResult<Vec<_>>>()?)?;
    Ok(part)
}
