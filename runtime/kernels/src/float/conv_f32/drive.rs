//! The loop nest round the inner loop: bands of the input, panels of weights, lines of pixels.

use super::line::Line;
use super::{ConvF32, ConvShapeF32, Order, panels};
use crate::float::lanes::Lanes;
use crate::image::{Image, Window};

/// Values of a band, so that it stays in the second cache while all panels pass over it.
const BAND: usize = 16 << 10;

/// Fewest pixels of a band, so that bringing a panel into the cache pays.
const LEAST_PIXELS: usize = 48;

/// The input cut into bands of output rows, or of output pixels where rows do not matter.
#[derive(Clone, Copy)]
pub(in crate::float) struct Bands {
    /// Pointwise and read where it lies: one line of `count` pixels, cut anywhere.
    pub(in crate::float) flat: bool,
    /// Output rows, or pixels, in all, and of a band.
    pub(in crate::float) total: usize,
    pub(in crate::float) per_band: usize,
    /// Values from one row of the band to the next.
    pub(in crate::float) pitch: usize,
    /// Input rows that an output row reads.
    reach: usize,
    /// Values of the scratch that a band is copied to; 0 when it is read where it lies.
    pub(in crate::float) copied_len: usize,
}

impl Bands {
    pub(in crate::float) fn of(shape: &ConvShapeF32) -> Bands {
        let (ConvShapeF32 { x, order, window, .. }, out) = (*shape, shape.y());
        let in_place = window.pad == [0; 4] && order == Order::Interleaved;
        if in_place && window.kernel == [1, 1] && window.stride == [1, 1] {
            let per_band = (BAND / x.c.max(1)).max(LEAST_PIXELS);
            return Bands { flat: true, total: x.h * x.w, per_band, pitch: 0, reach: 1, copied_len: 0 };
        }
        let [reach, columns] = [0, 1].map(|a| {
            (window.kernel[a] - 1) * window.dilation[a] + 1 + if a == 1 { (out.w - 1) * window.stride[1] } else { 0 }
        });
        let pitch = if in_place { x.w } else { columns } * x.c;
        let fit = (BAND / pitch.max(1)).saturating_sub(reach) / window.stride[0] + 1;
        let per_band = fit.max(LEAST_PIXELS.div_ceil(out.w)).min(out.h);
        let copied_len = if in_place { 0 } else { ((per_band - 1) * window.stride[0] + reach) * pitch };
        Bands { flat: false, total: out.h, per_band, pitch, reach, copied_len }
    }

    /// Copies the input rows of `rows` output rows from `first`, with their padding, to scratch.
    fn copy(&self, shape: &ConvShapeF32, x: &[f32], first: usize, rows: usize, to: &mut [f32]) {
        let ConvShapeF32 { x: Image { h, w, c: channels }, order, window, .. } = *shape;
        let [top, left, _, _] = window.pad;
        let before = (left * channels).min(self.pitch);
        let there = (w * channels).min(self.pitch - before);
        for (row, to) in to.chunks_exact_mut(self.pitch).take((rows - 1) * window.stride[0] + self.reach).enumerate() {
            let Some(iy) = (first * window.stride[0] + row).checked_sub(top).filter(|&iy| iy < h) else {
                to.fill(0.0);
                continue;
            };
            to[..before].fill(0.0);
            to[before + there..].fill(0.0);
            let inside = &mut to[before..][..there];
            match order {
                Order::Interleaved => inside.copy_from_slice(&x[iy * w * channels..][..there]),
                Order::Planar => {
                    for channel in 0..channels {
                        let plane = &x[(channel * h + iy) * w..][..w];
                        inside.chunks_exact_mut(channels).zip(plane).for_each(|(to, &from)| to[channel] = from);
                    }
                }
            }
        }
    }

    /// What the output rows, or pixels, from `first` read: in place, or copied to scratch with its padding.
    pub(in crate::float) fn input<'a>(
        &self,
        shape: &ConvShapeF32,
        x: &'a [f32],
        [first, here]: [usize; 2],
        scratch: &'a mut [f32],
    ) -> &'a [f32] {
        if self.copied_len > 0 {
            self.copy(shape, x, first, here, scratch);
            return scratch;
        }
        &x[first * if self.flat { shape.x.c } else { shape.window.stride[0] * self.pitch }..]
    }
}

/// Runs of neighbouring values that a patch is made of: how many, how far apart, how long.
pub(in crate::float) fn runs(window: &Window, pitch: usize, channels: usize) -> ([usize; 2], [usize; 2], usize) {
    let ([kh, kw], [dh, dw]) = (window.kernel, window.dilation);
    match dw {
        1 => ([kh, 1], [dh * pitch, 0], kw * channels),
        _ => ([kh, kw], [dh * pitch, dw * channels], channels),
    }
}

pub(super) fn run<L: Lanes>(lanes: L, c: &ConvF32<'_>, y: &mut [f32], scratch: &mut [f32]) {
    let (shape, out, bands) = (&c.shape, c.shape.y(), Bands::of(&c.shape));
    let (channels, window) = (shape.x.c, &shape.window);
    assert_eq!(c.x.len(), shape.x.len(), "x against {:?}", shape.x);
    assert_eq!(y.len(), out.len(), "y against {out:?}");
    assert_eq!(c.packed.len(), super::packed_len(shape), "packed weights");
    assert!(c.addend.is_none_or(|a| a.len() == out.len()), "addend against {out:?}");
    let scratch = &mut scratch[..bands.copied_len];

    let (runs, run_step, run_len) = runs(window, bands.pitch, channels);
    let x_step = window.stride[1] * channels;
    let patch_end = (runs[0] - 1) * run_step[0] + (runs[1] - 1) * run_step[1] + run_len;
    for first in (0..bands.total).step_by(bands.per_band) {
        let here = bands.per_band.min(bands.total - first);
        let (lines, pixels) = if bands.flat { (1, here) } else { (here, out.w) };
        let x = bands.input(shape, c.x, [first, here], scratch);
        let mut at = 0;
        for (channel, width) in panels(shape.channels) {
            let panel = &c.packed[at..][..width * (1 + shape.depth())];
            at += panel.len();
            let channels = width.min(shape.channels - channel);
            for n in 0..lines {
                let x = &x[n * window.stride[0] * bands.pitch..][..(pixels - 1) * x_step + patch_end];
                let y_at = if bands.flat { first } else { (first + n) * out.w } * out.c + channel;
                let y_len = (pixels - 1) * out.c + channels;
                let addend = c.addend.map_or(core::ptr::null(), |a| a[y_at..][..y_len].as_ptr());
                let line = Line {
                    x: x.as_ptr(),
                    x_step,
                    pixels,
                    runs,
                    run_step,
                    run_len,
                    width,
                    panel: panel.as_ptr(),
                    y: y[y_at..][..y_len].as_mut_ptr(),
                    addend,
                    y_step: out.c,
                    channels,
                    bounds: c.bounds,
                };
                // SAFETY: a path's lanes exist only where detection saw its instructions. The slices just taken hold exactly what
                // the pixels read and write, the panel as many values as `depth`, which is the product of runs and length.
                unsafe { lanes.conv_line(&line) }
            }
        }
    }
}
