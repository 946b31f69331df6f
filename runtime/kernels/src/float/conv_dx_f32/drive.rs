//! The loop nest round the inner loop: bands of dy, phases, panels of weights, lines of pixels.

use super::phase::{Phase, phases};
use super::{ConvDxF32, ConvShapeF32, panels};
use crate::float::conv_f32::Line;
use crate::float::lanes::Lanes;

/// Values of a band, and fewest pixels of one: as in `conv_f32`.
const BAND: usize = 16 << 10;
const LEAST_PIXELS: usize = 48;

/// dy cut into bands: what a number of inputs of every phase meets.
#[derive(Clone, Copy)]
pub(super) struct Bands {
    /// Pointwise at stride 1: one line of pixels, cut anywhere.
    flat: bool,
    /// Inputs of the longest phase along the vertical axis, or pixels, in all, and of a band.
    total: usize,
    per_band: usize,
    /// First and last output that any phase meets along each axis, inside or not, for input 0 of the phases; the last input of the
    /// horizontal axis counted in.
    low: [isize; 2],
    high: [isize; 2],
    /// Values from one row of the band to the next.
    pitch: usize,
    /// Values of the scratch that a band is copied to; 0 when it is read where it lies.
    pub(super) copied_len: usize,
}

impl Bands {
    pub(super) fn of(shape: &ConvShapeF32) -> Bands {
        let (x, window, out) = (shape.x, shape.window, shape.y());
        let (mut low, mut high, mut inside) = ([isize::MAX; 2], [isize::MIN; 2], true);
        for (axis, (size, out)) in [(x.h, out.h), (x.w, out.w)].into_iter().enumerate() {
            for phase in (0..window.stride[axis]).map(|r| Phase::of(&window, axis, size, r)) {
                if phase.taps == 0 || phase.count == 0 {
                    continue;
                }
                let last = phase.last_offset() + phase.count as isize - 1;
                inside &= phase.offset >= 0 && last < out as isize;
                low[axis] = low[axis].min(phase.offset);
                high[axis] = high[axis].max(if axis == 0 { phase.last_offset() } else { last });
            }
        }
        if low.contains(&isize::MAX) {
            // No input meets any output.
            (low, high) = ([0; 2], [-1; 2]);
        }
        let columns = (high[1] + 1 - low[1]) as usize;
        let pitch = if inside { out.w } else { columns } * out.c;
        if inside && window.kernel == [1, 1] && window.stride == [1, 1] && (x.h, x.w) == (out.h, out.w) {
            let per_band = (BAND / out.c.max(1)).max(LEAST_PIXELS);
            return Bands { flat: true, total: x.h * x.w, per_band, low, high, pitch, copied_len: 0 };
        }
        let total = x.h.div_ceil(window.stride[0]);
        let reach = (high[0] + 1 - low[0]) as usize;
        let fit = (BAND / pitch.max(1)).saturating_sub(reach) + 1;
        let line = x.w.div_ceil(window.stride[1]);
        let per_band = fit.max(LEAST_PIXELS.div_ceil(line)).min(total);
        let copied_len = if inside { 0 } else { (per_band - 1 + reach) * pitch };
        Bands { flat: false, total, per_band, low, high, pitch, copied_len }
    }

    /// Copies the rows that `count` inputs of the phases from `first` meet, with zeros outside, to scratch.
    fn copy(&self, c: &ConvDxF32<'_>, [first, count]: [usize; 2], to: &mut [f32]) {
        let out = c.shape.y();
        let rows = count - 1 + (self.high[0] + 1 - self.low[0]) as usize;
        let before = self.low[1].min(0).unsigned_abs();
        let from = self.low[1].max(0) as usize;
        let there = out.w.saturating_sub(from).min((self.pitch / out.c).saturating_sub(before)) * out.c;
        for (row, to) in to.chunks_exact_mut(self.pitch).take(rows).enumerate() {
            let oy = self.low[0] + (first + row) as isize;
            if oy < 0 || oy >= out.h as isize {
                to.fill(0.0);
                continue;
            }
            let before = (before * out.c).min(self.pitch);
            to[..before].fill(0.0);
            to[before + there..].fill(0.0);
            if there > 0 {
                to[before..][..there].copy_from_slice(&c.dy[(oy as usize * out.w + from) * out.c..][..there]);
            }
        }
    }
}

pub(super) fn run<L: Lanes>(lanes: L, c: &ConvDxF32<'_>, dx: &mut [f32], scratch: &mut [f32]) {
    let (shape, out, bands) = (&c.shape, c.shape.y(), Bands::of(&c.shape));
    let (x, window) = (shape.x, &shape.window);
    assert_eq!(c.dy.len(), out.len(), "dy against {out:?}");
    assert_eq!(dx.len(), x.len(), "dx against {x:?}");
    assert_eq!(c.packed.len(), super::packed_len(shape), "packed weights");
    assert!(c.addend.is_none_or(|a| a.len() == x.len()), "addend against {x:?}");
    let scratch = &mut scratch[..bands.copied_len];
    for first in (0..bands.total).step_by(bands.per_band) {
        let here = bands.per_band.min(bands.total - first);
        // `dy[0]` is what the lowest offsets of the phases' input `first` meet.
        let dy = if bands.copied_len > 0 {
            bands.copy(c, [first, here], scratch);
            &*scratch
        } else if bands.flat {
            &c.dy[first * out.c..]
        } else {
            let [y, x] = bands.low.map(|low| low.max(0) as usize);
            c.dy.get(((first + y) * out.w + x) * out.c..).unwrap_or_default()
        };
        let mut at = 0;
        for [py, px] in phases(shape) {
            for (channel, width) in panels(x.c) {
                let panel = &c.packed[at..][..width * (1 + py.taps * px.taps * out.c)];
                at += panel.len();
                let lines = if bands.flat { 1 } else { here.min(py.count.saturating_sub(first)) };
                let pixels = if bands.flat { here } else { px.count };
                if pixels == 0 {
                    continue;
                }
                let (runs, run_step, run_len) = match px.offset_step {
                    _ if py.taps * px.taps == 0 => ([0, 0], [0, 0], 0),
                    _ if px.taps == 1 => ([py.taps, 1], [py.offset_step * bands.pitch, 0], out.c),
                    1 => ([py.taps, 1], [py.offset_step * bands.pitch, 0], px.taps * out.c),
                    step => ([py.taps, px.taps], [py.offset_step * bands.pitch, step * out.c], out.c),
                };
                let channels = width.min(x.c - channel);
                for n in 0..lines {
                    let from = match runs {
                        [0, _] => &[][..],
                        _ => {
                            let row = n + (py.offset - bands.low[0]) as usize;
                            let patch_end = (runs[0] - 1) * run_step[0] + (runs[1] - 1) * run_step[1] + run_len;
                            &dy[row * bands.pitch + (px.offset - bands.low[1]) as usize * out.c..]
                                [..(pixels - 1) * out.c + patch_end]
                        }
                    };
                    let (y_at, step) = if bands.flat {
                        (first * x.c, x.c)
                    } else {
                        let row = py.first + (first + n) * window.stride[0];
                        ((row * x.w + px.first) * x.c, window.stride[1] * x.c)
                    };
                    let (y_at, y_len) = (y_at + channel, (pixels - 1) * step + channels);
                    let line = Line {
                        x: from.as_ptr(),
                        x_step: out.c,
                        pixels,
                        runs,
                        run_step,
                        run_len,
                        width,
                        panel: panel.as_ptr(),
                        y: dx[y_at..][..y_len].as_mut_ptr(),
                        addend: c.addend.map_or(core::ptr::null(), |a| a[y_at..][..y_len].as_ptr()),
                        y_step: step,
                        channels,
                        bounds: [f32::NEG_INFINITY, f32::INFINITY],
                    };
                    // SAFETY: a path's lanes exist only where detection saw its instructions. The slices just taken hold exactly what
                    // the pixels read and write (nothing is read where there are no runs), the panel as many values as runs and
                    // length ask for.
                    unsafe { lanes.conv_line(&line) }
                }
            }
        }
    }
}
