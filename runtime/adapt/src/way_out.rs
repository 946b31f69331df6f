//! What to do when an operator has no gradient.

use std::collections::HashSet;

use tract_core::internal::*;

/// What can still be trained when node `id` has no gradient: the trained tensors that do not stand behind it.
pub(crate) fn way_out(forward: &TypedModel, id: usize, trained: &[OutletId]) -> String {
    let mut before: HashSet<usize> = HashSet::new();
    let mut open = vec![id];
    while let Some(node) = open.pop() {
        if before.insert(node) {
            open.extend(forward.node(node).inputs.iter().map(|i| i.node));
        }
    }
    let (frozen, free): (Vec<OutletId>, Vec<OutletId>) = trained.iter().partition(|t| before.contains(&t.node));
    let names = |outlets: &[OutletId]| outlets.iter().map(|o| onnx_name(forward, o.node)).collect::<Vec<_>>();
    let (frozen, free) = (names(&frozen), names(&free));
    match &free[..] {
        [] => "every trained tensor stands before it: replace the operator".into(),
        [first, ..] => format!(
            "freeze what lies before it ({}): {} of {} trained tensors remain, from \"{first}\" on; or replace the operator",
            listed(&frozen),
            free.len(),
            trained.len()
        ),
    }
}

/// A parameter's name in ONNX: the importer calls constants and parameters "constant:<name>".
pub(crate) fn onnx_name(model: &TypedModel, node: usize) -> &str {
    let name = &model.node(node).name;
    name.strip_prefix("constant:").unwrap_or(name)
}

/// The first names of a list, quoted, and how many more there are.
fn listed(names: &[&str]) -> String {
    const SHOWN: usize = 3;
    let mut text = names.iter().take(SHOWN).map(|n| format!("\"{n}\"")).collect::<Vec<_>>().join(", ");
    if names.len() > SHOWN {
        text += &format!(" and {} more", names.len() - SHOWN);
    }
    text
}
