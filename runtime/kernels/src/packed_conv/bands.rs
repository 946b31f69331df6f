//! The input in pieces that stay in the first cache while all panels of weights pass over them.
//!
//! A band is a number of output rows and what they read. There are three kinds:
//! - *rows*: the input rows, with their padding around them, copied to scratch (or used where they lie, when there is nothing to
//!   pad, widen or round up);
//! - *pixels* of a pointwise convolution, which has no rows: as above, and cut anywhere;
//! - *patches*: for each output pixel all that it reads, one after the other. For kernels whose runs are too short.

use super::drive::{Element, Gemm};
use super::layout::Layout;
use super::shape::ConvShape;
use crate::image::{Image, Window};

/// Fewest pixels of a band, so that bringing a panel of weights into the cache pays.
const LEAST_PIXELS: usize = 48;

#[derive(Clone, Copy)]
enum Kind {
    Rows,
    Pixels,
    Patches,
}

#[derive(Clone, Copy)]
pub(super) struct Bands {
    kind: Kind,
    pub(super) count: usize,
    /// Output rows (or pixels, of a pointwise convolution) of a band; the last may have fewer.
    per_band: usize,
    total: usize,
    /// Elements from one input row to the next.
    pub(super) pitch: usize,
    /// Elements from one output pixel to the next.
    pub(super) pixel_step: usize,
    /// Elements of the scratch that a band is copied to; 0 when it is used where it lies.
    pub(super) copied_len: usize,
    x: Image,
    window: Window,
    /// Output columns.
    columns: usize,
    /// Input rows that an output row reads.
    reach: usize,
}

/// One band: lines of equally spaced pixels.
#[derive(Clone, Copy)]
pub(super) struct Band {
    /// First output row, or first pixel.
    pub(super) first: usize,
    pub(super) lines: usize,
    /// Pixels of a line.
    pub(super) pixels: usize,
    /// Elements of the band from one line to the next.
    pub(super) line_step: usize,
    /// First output pixel.
    pub(super) y_pixel: usize,
}

impl Bands {
    pub(super) fn of<G: Gemm>(layout: &Layout<G>, shape: &ConvShape) -> Bands {
        let (x, out, window) = (shape.x, shape.y(), shape.window);
        let kind = match (shape.is_pointwise(), layout.gathers()) {
            (true, _) => Kind::Pixels,
            (false, true) => Kind::Patches,
            (false, false) => Kind::Rows,
        };
        let [stride, reach] = [window.stride[0], (window.kernel[0] - 1) * window.dilation[0] + 1];
        let as_it_lies = G::X::STORED && window.pad == [0; 4] && layout.runs_are_whole();
        let padded_columns = (out.w - 1) * window.stride[1] + (window.kernel[1] - 1) * window.dilation[1] + 1;
        let pitch = if as_it_lies { x.w * x.c } else { padded_columns * x.c };
        let pixel_step = match kind {
            Kind::Rows => window.stride[1] * x.c,
            Kind::Pixels => x.c,
            Kind::Patches => layout.padded_depth(),
        };
        // Elements that `n` rows (or pixels) of output take, and the most of them that fit.
        let len = |n: usize| match kind {
            Kind::Rows => ((n - 1) * stride + reach) * pitch,
            Kind::Pixels => n * x.c,
            Kind::Patches => n * out.w * pixel_step,
        };
        // Outputs count too: a pixel's are written a panel at a time, and should stay until they are whole.
        let y_pixel = out.c.div_ceil(size_of::<G::X>());
        let least_rows = LEAST_PIXELS.div_ceil(out.w);
        let (total, most) = match kind {
            Kind::Rows => {
                let (first, next) = (reach * pitch + out.w * y_pixel, stride * pitch + out.w * y_pixel);
                (out.h, (G::BAND.saturating_sub(first) / next + 1).max(least_rows))
            }
            Kind::Pixels => (x.h * x.w, (G::BAND / (x.c + y_pixel)).max(LEAST_PIXELS).next_multiple_of(G::ROWS)),
            Kind::Patches => (out.h, (G::BAND / (len(1) + out.w * y_pixel)).max(least_rows)),
        };
        let count = total.div_ceil(most);
        let per_band = total.div_ceil(count);
        // A run may be read to the end of its last step.
        let copied_len = if as_it_lies { 0 } else { len(per_band) + G::KR };
        Bands { kind, count, per_band, total, pitch, pixel_step, copied_len, x, window, columns: out.w, reach }
    }

    pub(super) fn band(&self, index: usize) -> Band {
        let first = index * self.per_band;
        let here = self.per_band.min(self.total - first);
        // Patches lie side by side over the ends of rows, as the pixels of a pointwise convolution do.
        let (lines, pixels, y_pixel) = match self.kind {
            Kind::Pixels => (1, here, first),
            Kind::Patches => (1, here * self.columns, first * self.columns),
            Kind::Rows => (here, self.columns, first * self.columns),
        };
        let line_step = self.window.stride[0] * self.pitch;
        Band { first, lines, pixels, line_step, y_pixel }
    }

    /// The input elements of a band of rows or pixels.
    pub(super) fn in_place(&self, band: &Band) -> core::ops::Range<usize> {
        if let Kind::Pixels = self.kind {
            let start = band.first * self.x.c;
            return start..start + band.pixels * self.x.c;
        }
        let start = band.first * self.window.stride[0] * self.pitch;
        start..start + self.input_rows(band) * self.pitch
    }

    fn input_rows(&self, band: &Band) -> usize {
        (band.lines - 1) * self.window.stride[0] + self.reach
    }

    /// Copies a band to scratch, padding included.
    pub(super) fn copy<G: Gemm>(&self, gemm: G, band: &Band, x: &[i8], x_zero: i8, to: &mut [G::X]) {
        match self.kind {
            Kind::Pixels => {
                let from = &x[self.in_place(band)];
                gemm.bring(from, &mut to[..from.len()]);
            }
            Kind::Rows => self.copy_rows(gemm, band, x, x_zero, to),
            Kind::Patches => self.copy_patches(gemm, band, x, x_zero, to),
        }
    }

    fn copy_rows<G: Gemm>(&self, gemm: G, band: &Band, x: &[i8], x_zero: i8, to: &mut [G::X]) {
        let ([top, left, _, _], Image { h, w, c }) = (self.window.pad, self.x);
        let before = (left * c).min(self.pitch);
        let there = (w * c).min(self.pitch - before);
        for (row, to) in to.chunks_exact_mut(self.pitch).take(self.input_rows(band)).enumerate() {
            let iy = (band.first * self.window.stride[0] + row).checked_sub(top).filter(|&iy| iy < h);
            let Some(iy) = iy else {
                to.fill(G::X::of(x_zero));
                continue;
            };
            let (padding, to) = to.split_at_mut(before);
            padding.fill(G::X::of(x_zero));
            let (inside, padding) = to.split_at_mut(there);
            gemm.bring(&x[iy * w * c..][..there], inside);
            padding.fill(G::X::of(x_zero));
        }
    }

    fn copy_patches<G: Gemm>(&self, gemm: G, band: &Band, x: &[i8], x_zero: i8, to: &mut [G::X]) {
        let (Image { h, w, c }, [kh, kw], window) = (self.x, self.window.kernel, &self.window);
        let (zero, run) = (G::X::of(x_zero), kw * c);
        // Output columns whose kernel rows lie inside the image in one piece.
        let ([left, stride], reach) = ([window.pad[1], window.stride[1]], (kw - 1) * window.dilation[1] + 1);
        let first = left.div_ceil(stride).min(self.columns);
        let whole = match (w + left).checked_sub(reach) {
            Some(last) if window.dilation[1] == 1 => first..(last / stride + 1).clamp(first, self.columns),
            _ => first..first,
        };
        for (line, to) in
            to.chunks_exact_mut(self.columns * self.pixel_step).take(band.pixels / self.columns).enumerate()
        {
            for ky in 0..kh {
                let row = window.input(0, band.first + line, ky, h).map(|iy| &x[iy * w * c..][..w * c]);
                let patches = to.chunks_exact_mut(self.pixel_step).map(|patch| &mut patch[ky * run..][..run]);
                for (ox, to) in patches.enumerate() {
                    match row {
                        None => to.fill(zero),
                        Some(row) if whole.contains(&ox) => {
                            bring_short(gemm, &row[(ox * stride - left) * c..][..run], to);
                        }
                        Some(row) => {
                            for (kx, tap) in to.chunks_exact_mut(c).enumerate() {
                                match window.input(1, ox, kx, w) {
                                    Some(ix) => bring_short(gemm, &row[ix * c..][..c], tap),
                                    None => tap.fill(zero),
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// Brings a few elements in pieces of fixed size, the last over the one before, so that no call is made for them. The slices have
/// one length.
#[inline(always)]
fn bring_short<G: Gemm>(gemm: G, from: &[i8], to: &mut [G::X]) {
    match from.len() {
        16.. => gemm.bring(from, to),
        8.. => bring_ends::<G, 8>(from, to),
        4.. => bring_ends::<G, 4>(from, to),
        2.. => bring_ends::<G, 2>(from, to),
        _ => bring_ends::<G, 1>(from, to),
    }
}

/// The first and the last `N` elements.
#[inline(always)]
fn bring_ends<G: Gemm, const N: usize>(from: &[i8], to: &mut [G::X]) {
    let ends = [from.first_chunk::<N>(), from.last_chunk::<N>()].map(|end| end.map(|end| end.map(G::X::of)));
    if let (Some(to), Some(end)) = (to.first_chunk_mut::<N>(), ends[0]) {
        *to = end;
    }
    if let (Some(to), Some(end)) = (to.last_chunk_mut::<N>(), ends[1]) {
        *to = end;
    }
}
