//! Inputs of one remainder by the stride, along one axis: which taps meet them, and where these read the output.
//!
//! Input `i = r + stride * m` is read by tap `k` of output `o` where `o * stride + k * dilation - pad = i`, so
//! `o = m + (r + pad - k * dilation) / stride` for the taps for which this divides.

use crate::float::conv_f32::ConvShapeF32;
use crate::image::Window;

/// One axis of a phase.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Phase {
    /// The remainder: the first input of the phase.
    pub(super) first: usize,
    /// Inputs of the phase.
    pub(super) count: usize,
    /// Taps that meet it; may be none.
    pub(super) taps: usize,
    /// The last tap, and how much less each tap before it is.
    last_tap: usize,
    tap_step: usize,
    /// Output that input 0 of the phase meets at the last tap; may lie outside.
    pub(super) offset: isize,
    /// Outputs from one tap to the one before it.
    pub(super) offset_step: usize,
}

impl Phase {
    pub(super) fn of(window: &Window, axis: usize, size: usize, first: usize) -> Phase {
        let (stride, dilation, pad) = (window.stride[axis], window.dilation[axis], window.pad[axis]);
        let at = |tap: usize| (first + pad) as isize - (tap * dilation) as isize;
        let mut phase = Phase { first, count: size.saturating_sub(first).div_ceil(stride), ..Phase::default() };
        for tap in (0..window.kernel[axis]).filter(|&tap| at(tap) % stride as isize == 0) {
            phase.tap_step = tap - phase.last_tap;
            phase.last_tap = tap;
            phase.offset = at(tap) / stride as isize;
            phase.taps += 1;
        }
        phase.offset_step = phase.tap_step * dilation / stride;
        phase
    }

    /// The tap at the `n`-th offset, counted from the least.
    pub(super) fn tap(&self, n: usize) -> usize {
        self.last_tap - n * self.tap_step
    }

    /// Output that input 0 of the phase meets at the first tap.
    pub(super) fn last_offset(&self) -> isize {
        self.offset + (self.taps.max(1) - 1) as isize * self.offset_step as isize
    }
}

/// All phases, row by row: vertical, horizontal.
pub(super) fn phases(shape: &ConvShapeF32) -> impl Iterator<Item = [Phase; 2]> {
    let (x, window) = (shape.x, shape.window);
    (0..window.stride[0] * window.stride[1]).map(move |n| {
        let [ry, rx] = [n / window.stride[1], n % window.stride[1]];
        [Phase::of(&window, 0, x.h, ry), Phase::of(&window, 1, x.w, rx)]
    })
}
