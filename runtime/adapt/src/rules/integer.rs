//! Operators of an integer plan: each brings its straight-through gradient along.

use tract_core::internal::*;

use super::Contributions;
use crate::differentiate::Backward;
use crate::ops::integer;

pub(super) fn integer(b: &mut Backward, op: &integer::Forward, g: OutletId) -> TractResult<Contributions> {
    let mut wired: Vec<(usize, OutletId)> = vec![];
    let mut contributions = tvec!();
    for slot in b.needed_slots() {
        let Some(first) = op.0.gradient_of(slot) else { continue };
        let dx = match wired.iter().find(|(of, _)| *of == first) {
            Some((_, dx)) => *dx,
            None => {
                let inputs: TVec<OutletId> =
                    std::iter::once(g).chain((0..b.node.inputs.len()).map(|slot| b.input(slot))).collect();
                let dx = b.wire("dx", integer::Backward { form: op.0.clone(), slot: first }, &inputs)?;
                wired.push((first, dx));
                dx
            }
        };
        contributions.push((slot, dx));
    }
    Ok(contributions)
}
