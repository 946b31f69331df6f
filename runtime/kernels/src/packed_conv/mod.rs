//! Convolution and fully connected layer on weights that were packed for one instruction set path.
//!
//! ```text
//! x (H, W, I)   weights (O, kh, kw, I/g) in panels   y (H', W', O)        y as in `conv`
//! ```
//!
//! [`pack`] brings weights, folded biases and multipliers into the order in which the path's inner loop reads them, once a
//! model; [`run`] then computes. A fully connected layer is a 1 x 1 convolution of a 1 x 1 image. A convolution never becomes a
//! matrix of patches: a patch is a few *runs* of neighbouring inputs (`kw * I` of them for each kernel row, or `I/g` for each
//! tap of a dilated or grouped kernel), and the inner loop walks from run to run.
//!
//! Versions: `conv::reference` is the definition; `drive` is the loop nest, generic over the inner loop of an arch folder.

mod bands;
mod drive;
mod layout;
mod shape;

pub(crate) use drive::{Gemm, Line};
#[cfg(all(test, target_arch = "x86_64"))]
pub(crate) use drive::{run as run_on, scratch_len as scratch_len_on};
pub(crate) use layout::Layout;
pub(crate) use layout::MARKS;
pub use shape::ConvShape;

use crate::image::{Image, Window};
use crate::isa::{Isa, Path};

/// Elements of the largest input, padding included, that has a packed form: whatever a file claims, scratch stays below that.
pub const MOST_PADDED: usize = 1 << 26;

/// Elements of an input with its padding, when they are at most [`MOST_PADDED`].
pub(crate) fn padded_len(x: &Image, window: &Window) -> Option<usize> {
    let [top, left, bottom, right] = window.pad;
    let side = |size: usize, before, after| size.checked_add(before)?.checked_add(after);
    let (h, w) = (side(x.h, top, bottom)?, side(x.w, left, right)?);
    h.checked_mul(w)?.checked_mul(x.c).filter(|&len| len <= MOST_PADDED)
}

/// A convolution whose weights are packed.
#[derive(Clone, Copy, Debug)]
pub struct PackedConv<'a> {
    /// Input, `H W I`.
    pub x: &'a [i8],
    /// Shapes and geometry.
    pub shape: ConvShape,
    /// Zero point of `x`, which the padding reads.
    pub x_zero: i8,
    /// Zero point of the output.
    pub y_zero: i8,
    /// What [`pack`] wrote, for the same shape and path.
    pub packed: &'a [i8],
}

/// Weights, folded biases and multipliers as a plan stores them: numbers are little-endian bytes.
#[derive(Clone, Copy, Debug)]
pub struct Weights<'a> {
    /// `O kh kw I/g`; of a depthwise convolution `kh kw C`.
    pub weights: &'a [i8],
    /// Folded bias, `O` i32.
    pub bias: &'a [[u8; 4]],
    /// M, `O` f32.
    pub scale: &'a [[u8; 4]],
}

/// Calls `$body` with `$gemm` bound to the inner loop of a path, or gives `$none` for the path that has none.
macro_rules! with_gemm {
    ($isa:expr, $gemm:ident => $body:expr, $none:expr) => {
        match $isa.0 {
            Path::Portable => $none,
            #[cfg(target_arch = "x86_64")]
            Path::Avx2($gemm) => $body,
            #[cfg(target_arch = "x86_64")]
            Path::AvxVnni($gemm) => $body,
            #[cfg(target_arch = "x86_64")]
            Path::Avx512Vnni($gemm) => $body,
            #[cfg(target_arch = "arm")]
            Path::ArmNeon($gemm) => $body,
            #[cfg(target_arch = "aarch64")]
            Path::Neon($gemm) => $body,
            #[cfg(target_arch = "aarch64")]
            Path::Sdot($gemm) => $body,
            #[cfg(target_arch = "aarch64")]
            Path::Smmla($gemm) => $body,
        }
    };
}

/// Packed weights of this many bytes may be padding for the most part.
const SMALL: usize = 1 << 18;

/// Bytes that [`pack`] writes, or `None` when the path computes from the weights as they are, the padded input would take more than
/// [`MOST_PADDED`] elements, or the weights would be little but padding.
pub fn packed_len(isa: Isa, shape: &ConvShape) -> Option<usize> {
    padded_len(&shape.x, &shape.window)?;
    let len = with_gemm!(isa, gemm => Some(Layout::of(gemm, shape).len()), None);
    // Runs of one input (many groups) would be little but padding.
    let most = 4 * shape.channels * shape.depth() + SMALL;
    len.filter(|&len| len <= most)
}

/// Packs the weights of one convolution; `to` is [`packed_len`] long.
///
/// # Panics
/// When a length contradicts the shape, or the path packs nothing.
pub fn pack(isa: Isa, shape: &ConvShape, w: &Weights<'_>, to: &mut [i8]) {
    let [o, depth] = [shape.channels, shape.depth()];
    assert_eq!(w.weights.len(), o * depth, "weights against O * kh * kw * I/g");
    assert_eq!([w.bias.len(), w.scale.len()], [o; 2], "bias and scale against O");
    with_gemm!(isa, gemm => Layout::of(gemm, shape).pack(w, to), panic!("the portable path packs nothing"))
}

/// Bytes of scratch that [`run`] needs; 0 on a path that packs nothing.
pub fn scratch_len(isa: Isa, shape: &ConvShape) -> usize {
    with_gemm!(isa, gemm => drive::scratch_len(gemm, shape), 0)
}

/// Computes. `scratch` is at least [`scratch_len`] long, at any address, of any content.
///
/// Sums wrap, as in `conv::portable`.
///
/// # Panics
/// When a length contradicts the shape, or the path packs nothing.
pub fn run(isa: Isa, c: &PackedConv<'_>, y: &mut [i8], scratch: &mut [i8]) {
    with_gemm!(isa, gemm => drive::run(gemm, c, y, scratch), panic!("the portable path has no packed form"))
}

#[cfg(test)]
mod tests {
    use crate::isa::Isa;
    use crate::suite;

    #[test]
    fn every_path_agrees_with_reference() {
        for isa in Isa::available().filter(|&isa| isa != Isa::PORTABLE) {
            suite::packed_conv(isa);
        }
    }
}
