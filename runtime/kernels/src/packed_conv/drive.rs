//! The loop nest round the inner loops: bands of the input, panels of weights, lines of pixels, cut into tiles by the inner loops.

use super::PackedConv;
use super::bands::{Band, Bands};
use super::layout::{Layout, Panel};
use super::shape::ConvShape;

/// What an inner loop reads activations as: the stored value plus `OFFSET`.
pub(crate) trait Element: Copy {
    /// What is added.
    const OFFSET: i32;
    /// Whether it is the stored value itself, so that activations can be read where they lie.
    const STORED: bool;

    /// A stored activation.
    fn of(x: i8) -> Self;

    /// Activations where they lie, when `STORED`; else nothing.
    fn where_they_lie(x: &[i8]) -> &[Self];
}

impl Element for i8 {
    const OFFSET: i32 = 0;
    const STORED: bool = true;

    fn of(x: i8) -> i8 {
        x
    }

    fn where_they_lie(x: &[i8]) -> &[i8] {
        x
    }
}

impl Element for i16 {
    const OFFSET: i32 = 0;
    const STORED: bool = false;

    fn of(x: i8) -> i16 {
        x as i16
    }

    fn where_they_lie(_: &[i8]) -> &[i16] {
        &[]
    }
}

impl Element for u8 {
    const OFFSET: i32 = 128;
    const STORED: bool = false;

    fn of(x: i8) -> u8 {
        x as u8 ^ 0x80
    }

    fn where_they_lie(_: &[i8]) -> &[u8] {
        &[]
    }
}

/// The inner loop of one path, and how it wants its operands.
pub(crate) trait Gemm: Copy {
    /// What it reads activations as.
    type X: Element;
    /// Output channels of a panel; half a panel is possible too.
    const NR: usize;
    /// Neighbouring inputs of one channel that lie side by side in a panel.
    const KR: usize;
    /// Most pixels of a tile.
    const ROWS: usize;
    /// Elements of `X` that stay in the first cache beside a panel: by default half of 32 KiB.
    const BAND: usize = (16 << 10) / size_of::<Self::X>();
    /// Bytes that a weight takes once [`Gemm::widen`] brought its panel to scratch; 0 when panels are read as packed.
    const WIDE: usize = 0;

    /// The channel of a panel of `width` channels that a lane computes.
    fn channel_of_lane(self, _width: usize, lane: usize) -> usize {
        lane
    }

    /// Stored activations as the inner loop reads them; the slices have one length.
    fn bring(self, from: &[i8], to: &mut [Self::X]) {
        assert_eq!(from.len(), to.len());
        for (to, &from) in to.iter_mut().zip(from) {
            *to = Self::X::of(from);
        }
    }

    /// Brings the weights of a packed step, `(width, KR)`, into the order of the inner loop, where that is another.
    fn arrange(self, _step: &mut [i8]) {}

    /// Brings a panel's weights to scratch, `WIDE` bytes each.
    fn widen(self, _from: &[i8], _to: &mut [i8]) {}

    /// Computes a line of pixels against a panel of `width` channels (`NR` or `NR / 2`).
    ///
    /// # Safety
    /// - Pixel `p < pixels` reads `steps * KR` elements at `x + p * x_step + a * run_step[0] + b * run_step[1]`, for all
    ///   `a < runs[0]` and `b < runs[1]`: all of them are readable.
    /// - `head` has `8 * width` readable bytes.
    /// - `weights` has `width * runs[0] * runs[1] * steps * KR` readable weights, of `WIDE` bytes when `wide`, else of one.
    /// - `channels <= width` bytes are writable at `y + p * y_step`.
    unsafe fn line(self, width: usize, line: &Line<Self::X>);
}

/// Equally spaced pixels against one panel. Inner loops cut it into tiles, whose sums fit their registers.
#[derive(Clone, Copy)]
pub(crate) struct Line<X> {
    /// First element that pixel 0 reads.
    pub(crate) x: *const X,
    /// Elements from one pixel to the next.
    pub(crate) x_step: usize,
    /// Pixels.
    pub(crate) pixels: usize,
    /// Runs of a patch: outer, inner.
    pub(crate) runs: [usize; 2],
    /// Elements from one to the next.
    pub(crate) run_step: [usize; 2],
    /// Steps of `KR` in a run.
    pub(crate) steps: usize,
    /// Biases and multipliers of the panel.
    pub(crate) head: *const i8,
    /// Its weights.
    pub(crate) weights: *const i8,
    /// Whether they were widened.
    #[allow(dead_code, reason = "the inner loops of another architecture ask")]
    pub(crate) wide: bool,
    /// Whether two weights half a step apart are both -128.
    #[allow(dead_code, reason = "the inner loops of another architecture ask")]
    pub(crate) has_lowest_pair: bool,
    /// First output of pixel 0.
    pub(crate) y: *mut i8,
    /// Bytes from one pixel to the next.
    pub(crate) y_step: usize,
    /// Channels to write.
    pub(crate) channels: usize,
    /// Zero point of the output.
    pub(crate) y_zero: i8,
}

/// Every band and panel in scratch starts at a cache line.
const ALIGN: usize = 64;

/// Widening a panel pays from this many pixels on.
const PIXELS_TO_WIDEN: usize = 8;

/// Bytes of scratch: a copied band, a widened panel.
pub(crate) fn scratch_len<G: Gemm>(gemm: G, shape: &ConvShape) -> usize {
    let layout = Layout::of(gemm, shape);
    let [band, panel] = scratch_parts(&layout, &Bands::of(&layout, shape));
    match band + panel {
        0 => 0,
        bytes => bytes + ALIGN - 1,
    }
}

fn scratch_parts<G: Gemm>(layout: &Layout<G>, bands: &Bands) -> [usize; 2] {
    let band = (bands.copied_len * size_of::<G::X>()).next_multiple_of(ALIGN);
    [band, layout.padded_depth() * G::NR * G::WIDE]
}

pub(crate) fn run<G: Gemm>(gemm: G, c: &PackedConv<'_>, y: &mut [i8], scratch: &mut [i8]) {
    let layout = Layout::of(gemm, &c.shape);
    let bands = Bands::of(&layout, &c.shape);
    assert_eq!(c.x.len(), c.shape.x.len(), "x against {:?}", c.shape.x);
    assert_eq!(y.len(), c.shape.y().len(), "y against {:?}", c.shape.y());
    assert_eq!(c.packed.len(), layout.len(), "packed weights");

    let [band_bytes, panel_bytes] = scratch_parts(&layout, &bands);
    let (copied, wide) = if band_bytes + panel_bytes > 0 {
        let start = scratch.as_ptr().align_offset(ALIGN);
        scratch[start..][..band_bytes + panel_bytes].split_at_mut(band_bytes)
    } else {
        (&mut [][..], &mut [][..])
    };
    // SAFETY: `X` is one of i8, u8, i16, of which any bytes are a value.
    let (_, copied, _) = unsafe { copied.align_to_mut::<G::X>() };

    for index in 0..bands.count {
        let band = bands.band(index);
        let x = if bands.copied_len == 0 {
            G::X::where_they_lie(&c.x[bands.in_place(&band)])
        } else {
            bands.copy(gemm, &band, c.x, c.x_zero, copied);
            &copied[..bands.copied_len]
        };
        for panel in layout.panels() {
            let packed = &c.packed[panel.at..][..panel.width * (8 + layout.padded_depth())];
            let (head, weights) = packed.split_at(Layout::<G>::head_len(panel.width));
            let widens = G::WIDE > 0 && band.lines * band.pixels >= PIXELS_TO_WIDEN;
            if widens {
                gemm.widen(weights, &mut wide[..weights.len() * G::WIDE]);
            }
            let weights = if widens { &*wide } else { weights };
            lines(gemm, c, &layout, &bands, &band, &panel, Operands { x, head, weights, widens }, y);
        }
    }
}

struct Operands<'a, X> {
    x: &'a [X],
    head: &'a [i8],
    weights: &'a [i8],
    widens: bool,
}

/// All lines of a band against one panel.
#[expect(clippy::too_many_arguments, reason = "the levels of one loop nest")]
#[inline(always)]
fn lines<G: Gemm>(
    gemm: G,
    c: &PackedConv<'_>,
    layout: &Layout<G>,
    bands: &Bands,
    band: &Band,
    panel: &Panel,
    operands: Operands<'_, G::X>,
    y: &mut [i8],
) {
    let (shape, Operands { x, head, weights, widens }) = (&c.shape, operands);
    let (inputs, window, runs, x_step) = (shape.x.c / shape.groups, &shape.window, layout.runs(), bands.pixel_step);
    let run_step = [window.dilation[0] * bands.pitch, window.dilation[1] * shape.x.c];
    let (first_x, first_y) = (panel.group * inputs, band.y_pixel * shape.channels + panel.first);

    // What the tiles below will touch last.
    let last_x = first_x
        + (band.lines - 1) * band.line_step
        + (band.pixels - 1) * x_step
        + (runs.counts[0] - 1) * run_step[0]
        + (runs.counts[1] - 1) * run_step[1]
        + layout.steps() * G::KR;
    let last_y = first_y + (band.lines * band.pixels - 1) * shape.channels + panel.channels;
    let weight_bytes = if widens { G::WIDE } else { 1 };
    assert!(last_x <= x.len() && last_y <= y.len(), "a tile outside its band: {last_x} of {}", x.len());
    assert!(head.len() >= 8 * panel.width && weights.len() >= panel.width * layout.padded_depth() * weight_bytes);
    assert!(panel.channels <= panel.width);

    for n in 0..band.lines {
        // SAFETY: `n < band.lines`, so both offsets and what a line reads and writes from there end below `last_x` and `last_y`,
        // which the asserts above put inside the slices, as they put `head` and `weights`.
        unsafe {
            let line = Line {
                x: x.as_ptr().add(first_x + n * band.line_step),
                x_step,
                pixels: band.pixels,
                runs: runs.counts,
                run_step,
                steps: layout.steps(),
                head: head.as_ptr(),
                weights: weights.as_ptr(),
                wide: widens,
                has_lowest_pair: c.packed[0] != 0,
                y: y.as_mut_ptr().add(first_y + n * band.pixels * shape.channels),
                y_step: shape.channels,
                channels: panel.channels,
                y_zero: c.y_zero,
            };
            gemm.line(panel.width, &line);
        }
    }
}

impl<X> Line<X> {
    /// Cuts the line into tiles of `R` pixels for `whole`, and one of the rest, if there is one, for `rest`. A tile is a line of
    /// fewer pixels: what [`Gemm::line`] promises of all holds for it.
    #[inline(always)]
    pub(crate) fn tiles<const R: usize>(&self, mut whole: impl FnMut(&Self), rest: impl FnOnce(&Self)) {
        let mut tile = Line { pixels: R, ..*self };
        for _ in 0..self.pixels / R {
            whole(&tile);
            tile.x = tile.x.wrapping_add(R * self.x_step);
            tile.y = tile.y.wrapping_add(R * self.y_step);
        }
        tile.pixels = self.pixels % R;
        if tile.pixels > 0 {
            rest(&tile);
        }
    }
}
