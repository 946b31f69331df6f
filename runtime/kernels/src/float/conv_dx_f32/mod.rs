//! The gradient of a convolution's input, groups 1.
//!
//! ```text
//! dy (OH, OW, O)   w (O, I, KH, KW), packed   addend, dx (H, W, I)
//! dx[iy,ix,i] = addend[iy,ix,i] + sum_{oy*sh+ky*dh-top = iy, ox*sw+kx*dw-left = ix, o} dy[oy,ox,o] * w[o,i,ky,kx]
//! ```
//! Forward: `y[oy,ox,o] = b[o] + sum x[oy*sh+ky*dh-top, ox*sw+kx*dw-left, i] * w[o,i,ky,kx]` ([`conv_f32`](super::conv_f32)).
//!
//! Rows of dx whose numbers have one remainder by the stride meet the same taps: such a phase is a convolution of dy at stride 1, its
//! taps in reverse, and runs in the inner loop of the forward one. At stride 1 there is one phase. Nothing is multiplied by inserted
//! zeros; a phase without taps is the addend.
//!
//! Packed: for each phase (row by row) panels as in `conv_f32`, of I, with biases of 0 and then for each (ky, kx, o) their weights.

mod drive;
mod phase;

use super::conv_f32::{ConvShapeF32, panels};
use super::{FloatIsa, with_lanes};
use phase::phases;

/// What is asked.
pub struct ConvDxF32<'a> {
    /// Shape of the convolution; the order of its input is of no account.
    pub shape: ConvShapeF32,
    /// Gradient of its output.
    pub dy: &'a [f32],
    /// From [`pack`].
    pub packed: &'a [f32],
    /// Added, as many as inputs.
    pub addend: Option<&'a [f32]>,
}

/// The definition, from weights that are not packed.
pub fn reference(c: &ConvDxF32<'_>, weights: &[f32], dx: &mut [f32]) {
    let (ConvShapeF32 { x, window, .. }, out) = (c.shape, c.shape.y());
    let [kh, kw] = window.kernel;
    match c.addend {
        Some(addend) => dx.copy_from_slice(addend),
        None => dx.fill(0.0),
    }
    for (n, dy) in c.dy.iter().enumerate() {
        let (o, ox, oy) = (n % out.c, n / out.c % out.w, n / out.c / out.w);
        for ky in 0..kh {
            for kx in 0..kw {
                let (Some(iy), Some(ix)) = (window.input(0, oy, ky, x.h), window.input(1, ox, kx, x.w)) else {
                    continue;
                };
                for i in 0..x.c {
                    dx[(iy * x.w + ix) * x.c + i] += dy * weights[((o * x.c + i) * kh + ky) * kw + kx];
                }
            }
        }
    }
}

/// Values of packed weights.
pub fn packed_len(shape: &ConvShapeF32) -> usize {
    let widths: usize = panels(shape.x.c).map(|(_, width)| width).sum();
    phases(shape).map(|[y, x]| widths * (1 + y.taps * x.taps * shape.channels)).sum()
}

/// Packs weights (O, I, KH, KW) into `packed_len` values.
///
/// # Panics
/// When a length contradicts the shape.
pub fn pack(shape: &ConvShapeF32, weights: &[f32], to: &mut [f32]) {
    assert_eq!(weights.len(), shape.channels * shape.depth(), "weights");
    assert_eq!(to.len(), packed_len(shape), "packed weights");
    let (inputs, taps, [_, kw]) = (shape.x.c, shape.window.taps(), shape.window.kernel);
    let mut rest = to;
    for [y, x] in phases(shape) {
        for (first, width) in panels(inputs) {
            let (panel, others) = rest.split_at_mut(width * (1 + y.taps * x.taps * shape.channels));
            rest = others;
            let lanes = width.min(inputs - first);
            let (head, body) = panel.split_at_mut(width);
            head.fill(0.0);
            for (tap, body) in body.chunks_exact_mut(shape.channels * width).enumerate() {
                let (ky, kx) = (y.tap(tap / x.taps), x.tap(tap % x.taps));
                for (o, to) in body.chunks_exact_mut(width).enumerate() {
                    let from = &weights[(o * inputs + first) * taps + ky * kw + kx..];
                    match taps {
                        1 => to[..lanes].copy_from_slice(&from[..lanes]),
                        _ => to[..lanes].iter_mut().zip(from.iter().step_by(taps)).for_each(|(to, &w)| *to = w),
                    }
                    to[lanes..].fill(0.0);
                }
            }
        }
    }
}

/// Values of scratch that [`run`] wants.
pub fn scratch_len(shape: &ConvShapeF32) -> usize {
    drive::Bands::of(shape).copied_len
}

/// The fast version, on one path.
///
/// # Panics
/// When a length contradicts the shape, or `scratch` is shorter than [`scratch_len`].
pub fn run(isa: FloatIsa, c: &ConvDxF32<'_>, dx: &mut [f32], scratch: &mut [f32]) {
    with_lanes!(isa, lanes => drive::run(lanes, c, dx, scratch))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::float::suite;

    #[test]
    fn every_path_agrees_with_the_reference() {
        for isa in FloatIsa::available() {
            suite::conv_dx_f32(|c, dx, scratch| run(isa, c, dx, scratch));
        }
    }
}
