//! The gradient of a convolution's weights and biases, groups 1, added to what was there.
//!
//! ```text
//! x (H, W, I) or (I, H, W)   dy (OH, OW, O)   dw (O, I, KH, KW) and db (O), packed
//! dw[o,i,ky,kx] += sum_{oy,ox} x[oy*sh+ky*dh-top, ox*sw+kx*dw-left, i] * dy[oy,ox,o]        db[o] += sum_{oy,ox} dy[oy,ox,o]
//! ```
//! Forward: `y[oy,ox,o] = b[o] + sum x[..] * w[o,i,ky,kx]` ([`conv_f32`](super::conv_f32)). Padding reads 0.
//!
//! Packed as the weights are: a panel holds its biases' gradients, then for each (ky, kx, i) those of its weights, so that one load
//! of dy meets several neighbouring values of a patch. The gradients of many samples are summed packed, and unpacked once.

mod line;

pub(crate) use line::{Columns, columns};

use super::conv_f32::{Bands, ConvShapeF32, Order, packed_len, panels, runs};
use super::lanes::Lanes;
use super::{FloatIsa, with_lanes};

/// What is asked.
pub struct ConvDwF32<'a> {
    /// Shape of the convolution.
    pub shape: ConvShapeF32,
    /// Its input, `shape.x.len()` values.
    pub x: &'a [f32],
    /// Gradient of its output.
    pub dy: &'a [f32],
}

/// The definition, on gradients that are not packed.
pub fn reference(c: &ConvDwF32<'_>, dw: &mut [f32], db: &mut [f32]) {
    let (ConvShapeF32 { x, order, window, .. }, out) = (c.shape, c.shape.y());
    let [kh, kw] = window.kernel;
    for (o, db) in db.iter_mut().enumerate() {
        for p in 0..out.h * out.w {
            *db += c.dy[p * out.c + o];
        }
    }
    for (n, dw) in dw.iter_mut().enumerate() {
        let (kx, ky, i, o) = (n % kw, n / kw % kh, n / (kw * kh) % x.c, n / (kw * kh * x.c));
        for oy in 0..out.h {
            for ox in 0..out.w {
                let (Some(iy), Some(ix)) = (window.input(0, oy, ky, x.h), window.input(1, ox, kx, x.w)) else {
                    continue;
                };
                let at = match order {
                    Order::Interleaved => (iy * x.w + ix) * x.c + i,
                    Order::Planar => (i * x.h + iy) * x.w + ix,
                };
                *dw += c.x[at] * c.dy[(oy * out.w + ox) * out.c + o];
            }
        }
    }
}

/// Reads the gradients of the weights, (O, I, KH, KW), from packed ones.
///
/// # Panics
/// When a length contradicts the shape.
pub fn unpack_weights(shape: &ConvShapeF32, packed: &[f32], dw: &mut [f32]) {
    assert_eq!(packed.len(), packed_len(shape), "packed gradients");
    assert_eq!(dw.len(), shape.channels * shape.depth(), "weights");
    let (inputs, taps, depth) = (shape.x.c, shape.window.taps(), shape.depth());
    let mut rest = packed;
    for (first, width) in panels(shape.channels) {
        let (panel, others) = rest.split_at(width * (1 + depth));
        rest = others;
        let rows = &mut dw[first * depth..][..width.min(shape.channels - first) * depth];
        for (tap, body) in panel[width..].chunks_exact(inputs * width).enumerate() {
            for (i, from) in body.chunks_exact(width).enumerate() {
                let column = rows[i * taps + tap..].iter_mut().step_by(depth);
                column.zip(from).for_each(|(to, &from)| *to = from);
            }
        }
    }
}

/// Reads the gradients of the biases from packed ones.
///
/// # Panics
/// When a length contradicts the shape.
pub fn unpack_biases(shape: &ConvShapeF32, packed: &[f32], db: &mut [f32]) {
    assert_eq!(packed.len(), packed_len(shape), "packed gradients");
    assert_eq!(db.len(), shape.channels, "biases");
    let mut at = 0;
    for (first, width) in panels(shape.channels) {
        let there = width.min(shape.channels - first);
        db[first..][..there].copy_from_slice(&packed[at..][..there]);
        at += width * (1 + shape.depth());
    }
}

/// Channels of a panel whose gradients cannot be read where they lie, because fewer are there than it is wide.
fn partial(channels: usize) -> Option<(usize, usize)> {
    panels(channels).last().filter(|&(first, width)| channels - first < width)
}

/// Values of scratch that [`run`] wants.
pub fn scratch_len(shape: &ConvShapeF32) -> usize {
    let (bands, out) = (Bands::of(shape), shape.y());
    let pixels = if bands.flat { bands.per_band.min(bands.total) } else { bands.per_band * out.w };
    bands.copied_len + partial(shape.channels).map_or(0, |(_, width)| pixels * width)
}

/// The fast version, on one path: adds to `packed`.
///
/// # Panics
/// When a length contradicts the shape, or `scratch` is shorter than [`scratch_len`].
pub fn run(isa: FloatIsa, c: &ConvDwF32<'_>, packed: &mut [f32], scratch: &mut [f32]) {
    with_lanes!(isa, lanes => drive(lanes, c, packed, scratch))
}

fn drive<L: Lanes>(lanes: L, c: &ConvDwF32<'_>, packed: &mut [f32], scratch: &mut [f32]) {
    let (shape, out, bands) = (&c.shape, c.shape.y(), Bands::of(&c.shape));
    let (inputs, window) = (shape.x.c, &shape.window);
    assert_eq!(c.x.len(), shape.x.len(), "x against {:?}", shape.x);
    assert_eq!(c.dy.len(), out.len(), "dy against {out:?}");
    assert_eq!(packed.len(), packed_len(shape), "packed gradients");
    let (copied, padded) = scratch[..scratch_len(shape)].split_at_mut(bands.copied_len);

    let (runs, run_step, run_len) = runs(window, bands.pitch, inputs);
    let x_steps = [window.stride[0] * bands.pitch, window.stride[1] * inputs];
    for first in (0..bands.total).step_by(bands.per_band) {
        let here = bands.per_band.min(bands.total - first);
        let (lines, pixels) = if bands.flat { (1, here) } else { (here, out.w) };
        let x = bands.input(shape, c.x, [first, here], copied);
        let dy = &c.dy[first * if bands.flat { 1 } else { out.w } * out.c..][..lines * pixels * out.c];
        let mut at = 0;
        for (channel, width) in panels(shape.channels) {
            let panel = &mut packed[at..][..width * (1 + shape.depth())];
            at += panel.len();
            let (dy, pitch) = if partial(shape.channels) == Some((channel, width)) {
                for (to, from) in padded.chunks_exact_mut(width).zip(dy.chunks_exact(out.c)) {
                    let there = out.c - channel;
                    to[..there].copy_from_slice(&from[channel..]);
                    to[there..].fill(0.0);
                }
                (&padded[..lines * pixels * width], width)
            } else {
                (&dy[channel..], out.c)
            };
            let dy_steps = [pixels * pitch, pitch];
            let sums_of = |x: &[f32], x_steps: [usize; 2], rows: usize, sums: &mut [f32]| {
                let farthest = |steps: [usize; 2], len: usize| (lines - 1) * steps[0] + (pixels - 1) * steps[1] + len;
                assert!(farthest(x_steps, rows) <= x.len() && farthest(dy_steps, width) <= dy.len(), "pixels inside");
                assert_eq!(sums.len(), rows * width, "sums");
                let (x, dy, sums) = (x.as_ptr(), dy.as_ptr(), sums.as_mut_ptr());
                let columns = Columns { x, x_steps, dy, dy_steps, lines, pixels, rows, width, sums };
                // SAFETY: a path's lanes exist only where detection saw its instructions. The assertions are about the farthest values
                // read; `width` comes from `panels`.
                unsafe { lanes.conv_dw(&columns) }
            };
            let (head, mut body) = panel.split_at_mut(width);
            sums_of(&[1.0], [0, 0], 1, head);
            for run in 0..runs[0] * runs[1] {
                let start = run / runs[1] * run_step[0] + run % runs[1] * run_step[1];
                let (sums, others) = body.split_at_mut(run_len * width);
                body = others;
                sums_of(&x[start..], x_steps, run_len, sums);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::float::suite;

    #[test]
    fn every_path_agrees_with_the_reference() {
        for isa in FloatIsa::available() {
            suite::conv_dw_f32(|c, packed, scratch| run(isa, c, packed, scratch));
        }
    }
}
