//! The loop nest round the inner loops: bands of input rows with their padding, blocks of channels.

use super::{BLOCK, DepthwiseShape, MAX_TAPS, PackedDepthwise};
use crate::packed_conv::{MARKS, Weights};

/// The inner loop of one path: rows of pixels, sixteen channels.
pub(crate) trait Rows: Copy {
    /// Bytes of a block's weights.
    fn weights_len(self, taps: usize) -> usize;

    /// Lane that computes each channel of a block, for biases and multipliers.
    fn channel_of_lane(self, lane: usize) -> usize;

    /// Packs the weights of a block, tap by tap in the order of [`tap_order`].
    fn pack(self, taps: &[[i8; BLOCK]], to: &mut [i8]);

    /// Computes a band.
    ///
    /// # Safety
    /// - 16 bytes are readable at `x + row * line_step + pixel * x_step + offset`, for all `row < rows`, `pixel < pixels` and all of
    ///   `offsets`.
    /// - `block` is [`packed_block_len`] long.
    /// - 16 bytes are writable at `y + (row * pixels + pixel) * y_step`.
    unsafe fn band(self, band: &Band<'_>);
}

/// Rows of output pixels of one block.
#[derive(Clone, Copy)]
pub(crate) struct Band<'a> {
    /// First channel of the block at the first tap of pixel 0 of row 0.
    pub(crate) x: *const i8,
    /// Bytes from one row to the next.
    pub(crate) line_step: usize,
    /// Bytes from one pixel to the next.
    pub(crate) x_step: usize,
    /// Where each tap lies from there, in the order of the weights.
    pub(crate) offsets: &'a [usize],
    /// Biases (16 i32), multipliers (16 f32), weights.
    pub(crate) block: &'a [i8],
    /// First channel of the block of output pixel 0.
    pub(crate) y: *mut i8,
    /// Bytes from one pixel to the next.
    pub(crate) y_step: usize,
    /// Rows.
    pub(crate) rows: usize,
    /// Pixels of a row.
    pub(crate) pixels: usize,
    /// By how many columns an undilated 3 x 3 kernel moves; `offsets` are those of rows 0 and 1 by columns, then of row 2. `None` for
    /// another kernel.
    #[allow(dead_code, reason = "the inner loops of another architecture ask")]
    pub(crate) columns_3x3: Option<usize>,
    /// Whether a pair of neighbouring taps, counted from the first, has the weight -128 twice in a channel.
    #[allow(dead_code, reason = "the inner loops of another architecture ask")]
    pub(crate) has_lowest_pair: bool,
    /// Zero point of the output.
    pub(crate) y_zero: i8,
}

/// Bytes of a band that stay in the second cache. Measured on x86-64: at 24 KiB the rows that two bands share, copied twice, cost
/// more than the first cache gives.
const BAND: usize = 64 << 10;

/// Tap `n` in the order of the packed weights, as (row, column). A 3 x 3 kernel goes by columns through its first two rows, so
/// that neighbouring taps are vertical pairs, which the next pixel reads again; then along its third row.
fn tap_order([kh, kw]: [usize; 2], n: usize) -> [usize; 2] {
    match (kh, kw, n) {
        (3, 3, 0..6) => [n % 2, n / 2],
        _ => [n / kw, n % kw],
    }
}

const HEAD: usize = 8 * BLOCK;

fn packed_block_len<R: Rows>(rows: R, shape: &DepthwiseShape) -> usize {
    HEAD + rows.weights_len(shape.window.taps())
}

/// Marks (see `packed_conv`), then the blocks.
pub(super) fn packed_len<R: Rows>(rows: R, shape: &DepthwiseShape) -> usize {
    MARKS + shape.x.c.div_ceil(BLOCK) * packed_block_len(rows, shape)
}

pub(super) fn pack<R: Rows>(rows: R, shape: &DepthwiseShape, w: &Weights<'_>, to: &mut [i8]) {
    assert_eq!(to.len(), packed_len(rows, shape), "packed bytes");
    let (marks, to) = to.split_at_mut(MARKS);
    marks.fill(0);
    let (channels, kernel, count) = (shape.x.c, shape.window.kernel, shape.window.taps());
    for (first, to) in shape.blocks().zip(to.chunks_exact_mut(packed_block_len(rows, shape))) {
        let (head, body) = to.split_at_mut(HEAD);
        let (bias, scale) = head.as_chunks_mut::<4>().0.split_at_mut(BLOCK);
        for (lane, (bias, scale)) in bias.iter_mut().zip(scale).enumerate() {
            let c = first + rows.channel_of_lane(lane);
            *bias = i32::from_le_bytes(w.bias[c]).to_ne_bytes().map(|b| b as i8);
            *scale = f32::from_le_bytes(w.scale[c]).to_ne_bytes().map(|b| b as i8);
        }
        let mut taps = [[0i8; BLOCK]; MAX_TAPS];
        for (n, tap) in taps.iter_mut().enumerate().take(count) {
            let [ky, kx] = tap_order(kernel, n);
            tap.copy_from_slice(&w.weights[(ky * kernel[1] + kx) * channels + first..][..BLOCK]);
        }
        let lowest = |[a, b]: &[[i8; BLOCK]; 2]| a.iter().zip(b).any(|pair| pair == (&i8::MIN, &i8::MIN));
        marks[0] |= taps[..count].as_chunks().0.iter().any(lowest) as i8;
        rows.pack(&taps[..count], body);
    }
}

/// How much of the input is looked at together.
#[derive(Clone, Copy)]
struct Bands {
    /// Output rows of a band.
    rows: usize,
    /// Bytes from one input row to the next.
    pitch: usize,
    /// Bytes of scratch; 0 when there is no padding, and the input is read where it lies.
    copied: usize,
}

fn bands(shape: &DepthwiseShape) -> Bands {
    let (window, out, c) = (&shape.window, shape.y(), shape.x.c);
    let reach = (window.kernel[0] - 1) * window.dilation[0] + 1;
    if window.pad == [0; 4] {
        return Bands { rows: out.h, pitch: shape.x.w * c, copied: 0 };
    }
    let columns = (out.w - 1) * window.stride[1] + (window.kernel[1] - 1) * window.dilation[1] + 1;
    let pitch = columns * c;
    let most = (BAND / pitch).saturating_sub(reach) / window.stride[0] + 1;
    let rows = out.h.div_ceil(out.h.div_ceil(most));
    Bands { rows, pitch, copied: ((rows - 1) * window.stride[0] + reach) * pitch }
}

pub(super) fn scratch_len(shape: &DepthwiseShape) -> usize {
    bands(shape).copied
}

pub(super) fn run<R: Rows>(inner: R, d: &PackedDepthwise<'_>, y: &mut [i8], scratch: &mut [i8]) {
    let (shape, window, out) = (&d.shape, &d.shape.window, d.shape.y());
    let c = shape.x.c;
    assert_eq!(d.x.len(), shape.x.len(), "x against {:?}", shape.x);
    assert_eq!(y.len(), out.len(), "y against {out:?}");
    assert_eq!(d.packed.len(), packed_len(inner, shape), "packed weights");

    let Bands { rows, pitch, copied } = bands(shape);
    let taps = window.taps();
    let mut offsets = [0usize; MAX_TAPS];
    for (n, offset) in offsets.iter_mut().enumerate().take(taps) {
        let [ky, kx] = tap_order(window.kernel, n);
        *offset = ky * window.dilation[0] * pitch + kx * window.dilation[1] * c;
    }
    let farthest =
        (window.kernel[0] - 1) * window.dilation[0] * pitch + (window.kernel[1] - 1) * window.dilation[1] * c;
    let (line_step, x_step) = (window.stride[0] * pitch, window.stride[1] * c);
    let is_3x3 = window.kernel == [3, 3] && window.dilation == [1, 1];
    let columns_3x3 = is_3x3.then_some(window.stride[1]);
    let block_len = packed_block_len(inner, shape);
    let (marks, blocks) = d.packed.split_at(MARKS);

    for first_row in (0..out.h).step_by(rows) {
        let rows = rows.min(out.h - first_row);
        let x = if copied == 0 {
            &d.x[first_row * line_step..]
        } else {
            let input_rows = (rows - 1) * window.stride[0] + (window.kernel[0] - 1) * window.dilation[0] + 1;
            let band = &mut scratch[..input_rows * pitch];
            copy(d, first_row * window.stride[0], pitch, band);
            &*band
        };
        let first_y = first_row * out.w * c;
        // What the blocks below will touch last.
        let last_x = (rows - 1) * line_step + (out.w - 1) * x_step + farthest + c;
        assert!(last_x <= x.len() && first_y + rows * out.w * c <= y.len(), "a band outside its image");
        for (first, block) in shape.blocks().zip(blocks.chunks_exact(block_len)) {
            // SAFETY: `first + 16 <= c`, so every read ends inside the assert above and every write inside its pixel; `block` is one
            // packed block.
            unsafe {
                inner.band(&Band {
                    x: x.as_ptr().add(first),
                    line_step,
                    x_step,
                    offsets: &offsets[..taps],
                    block,
                    y: y.as_mut_ptr().add(first_y + first),
                    y_step: c,
                    rows,
                    pixels: out.w,
                    columns_3x3,
                    has_lowest_pair: marks[0] != 0,
                    y_zero: d.y_zero,
                });
            }
        }
    }
}

impl Band<'_> {
    /// Its rows, each as a band of one.
    pub(crate) fn each_row(&self) -> impl Iterator<Item = Self> {
        (0..self.rows).map(|row| Band {
            x: self.x.wrapping_add(row * self.line_step),
            y: self.y.wrapping_add(row * self.pixels * self.y_step),
            rows: 1,
            ..*self
        })
    }
}

/// Input rows from `first` (counted from the top of the padding) on, with the padding around them.
fn copy(d: &PackedDepthwise<'_>, first: usize, pitch: usize, band: &mut [i8]) {
    let ([top, left, _, _], x) = (d.shape.window.pad, d.shape.x);
    let before = (left * x.c).min(pitch);
    let there = (x.w * x.c).min(pitch - before);
    for (row, to) in band.chunks_exact_mut(pitch).enumerate() {
        let Some(iy) = (first + row).checked_sub(top).filter(|&iy| iy < x.h) else {
            to.fill(d.x_zero);
            continue;
        };
        to[..before].fill(d.x_zero);
        to[before..][..there].copy_from_slice(&d.x[iy * x.w * x.c..][..there]);
        to[before + there..].fill(d.x_zero);
    }
}
