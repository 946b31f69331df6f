//! C = einsum(A, B): matrix products, 1×1 convolutions, fully connected layers.

use tract_core::internal::*;
use tract_core::ops::einsum::EinSum;

use super::Contributions;
use crate::differentiate::Backward;

/// `A,B->C` has dA = `C,B->A` and dB = `C,A->B`, summed over what was broadcast.
///
/// tract leaves axes of size 1 in one operand only (the taps of a 1×1 kernel, a batch of one): they are dropped before
/// the product and put back after, because a product over an axis of one operand is not lowered to a kernel. Longer axes
/// of one operand are summed before (`crate::canonical`).
pub(super) fn einsum(b: &mut Backward, op: &EinSum, g: OutletId) -> TractResult<Contributions> {
    ensure!(op.q_params.is_none(), "it is a quantized product");
    ensure!(b.node.inputs.len() == 2, "it has {} operands", b.node.inputs.len());
    let (inputs, outputs) = op.axes.to_strs();
    let y = &outputs[0];
    let mut contributions = tvec!();
    for slot in b.needed_slots() {
        let (own, others) = (&inputs[slot], &inputs[1 - slot]);
        let (other, other_axes) = without_lonely_axes(b, 1 - slot, others, |c| own.contains(c) || y.contains(c))?;
        let shape = b.shape(b.input(slot))?;
        let kept = kept_axes(&shape, own, |c| others.contains(c) || y.contains(c))?;
        let own_axes: String = own.chars().enumerate().filter(|(i, _)| kept[*i]).map(|(_, c)| c).collect();
        let expression = format!("{y},{other_axes}->{own_axes}");
        let product = EinSum::new(expression.parse()?, f32::datum_type());
        let gradient = b.wire("product", product, &[g, other])?;
        let kept_shape: TVec<usize> = shape.iter().zip(&kept).filter(|(_, kept)| **kept).map(|(d, _)| *d).collect();
        let gradient = b.unbroadcast(gradient, &kept_shape)?;
        contributions.push((slot, b.reshape(gradient, &shape)?));
    }
    Ok(contributions)
}

/// Which axes of an operand something else has too. The rest must be of size 1.
fn kept_axes(shape: &[usize], axes: &str, shared: impl Fn(char) -> bool) -> TractResult<Vec<bool>> {
    let kept: Vec<bool> = axes.chars().map(shared).collect();
    let lonely = shape.iter().zip(&kept).find(|(size, kept)| !**kept && **size != 1);
    ensure!(lonely.is_none(), "an axis of one operand is summed by itself");
    Ok(kept)
}

/// Operand `slot` without the size-1 axes that nothing else has, and the axes that remain.
fn without_lonely_axes(
    b: &mut Backward,
    slot: usize,
    axes: &str,
    shared: impl Fn(char) -> bool,
) -> TractResult<(OutletId, String)> {
    let shape = b.shape(b.input(slot))?;
    let kept = kept_axes(&shape, axes, shared)?;
    let remaining: TVec<usize> = shape.iter().zip(&kept).filter(|(_, kept)| **kept).map(|(d, _)| *d).collect();
    let axes = axes.chars().zip(&kept).filter(|(_, kept)| **kept).map(|(c, _)| c).collect();
    Ok((b.reshape(b.input(slot), &remaining)?, axes))
}
