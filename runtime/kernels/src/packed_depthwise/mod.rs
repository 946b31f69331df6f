//! Depthwise convolution on weights that were packed for one instruction set path.
//!
//! ```text
//! x (H, W, C)   weights (kh, kw, C) in blocks of 16 channels   y (H', W', C)        y as in `depthwise`
//! ```
//!
//! [`pack`] puts bias, multipliers and weights of sixteen channels together, once a model; [`run`] then computes band by band. The
//! last block starts at `C - 16` and computes some channels twice rather than a rest. Shapes with fewer than 16 channels or more
//! than [`MAX_TAPS`] taps have no packed form, nor has an input that would be too large with its padding.
//!
//! Versions: `depthwise::reference` is the definition; `drive` is the loop nest, generic over the inner loop of an arch folder.

mod drive;

pub(crate) use drive::{Band, Rows};

use crate::image::{Image, Window};
use crate::isa::{Isa, Path};
use crate::packed_conv::{Weights, padded_len};

/// Channels that are computed together.
pub(crate) const BLOCK: usize = 16;

/// Most taps of a kernel with a packed form: 7 x 7 and what is a little larger.
pub const MAX_TAPS: usize = 64;

/// What a depthwise convolution's memory depends on, besides its path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DepthwiseShape {
    /// Shape of the input.
    pub x: Image,
    /// Kernel, stride, dilation, padding; it fits the input.
    pub window: Window,
}

impl DepthwiseShape {
    fn has_packed_form(&self) -> bool {
        let small = self.window.kernel[0].saturating_mul(self.window.kernel[1]) <= MAX_TAPS;
        self.x.c >= BLOCK && small && padded_len(&self.x, &self.window).is_some()
    }

    /// Shape of the output.
    fn y(&self) -> Image {
        let Some([h, w]) = self.window.output(self.x.h, self.x.w) else {
            panic!("{:?} does not fit {:?}", self.window, self.x)
        };
        Image { h, w, c: self.x.c }
    }

    /// First channel of each block.
    fn blocks(&self) -> impl Iterator<Item = usize> + use<> {
        let last = self.x.c - BLOCK;
        (0..self.x.c).step_by(BLOCK).map(move |first| first.min(last))
    }
}

/// A depthwise convolution whose weights are packed.
#[derive(Clone, Copy, Debug)]
pub struct PackedDepthwise<'a> {
    /// Input, `H W C`.
    pub x: &'a [i8],
    /// Shape and geometry.
    pub shape: DepthwiseShape,
    /// Zero point of `x`, which the padding reads.
    pub x_zero: i8,
    /// Zero point of the output.
    pub y_zero: i8,
    /// What [`pack`] wrote, for the same shape and path.
    pub packed: &'a [i8],
}

/// Calls `$body` with `$rows` bound to the inner loop of a path, or gives `$none` for the path that has none.
macro_rules! with_rows {
    ($isa:expr, $rows:ident => $body:expr, $none:expr) => {
        match $isa.0 {
            Path::Portable => $none,
            #[cfg(target_arch = "x86_64")]
            Path::Avx2($rows) => $body,
            #[cfg(target_arch = "x86_64")]
            Path::AvxVnni(have) => {
                let $rows = have.avx2();
                $body
            }
            #[cfg(target_arch = "x86_64")]
            Path::Avx512Vnni(have) => {
                let $rows = have.avx2();
                $body
            }
            #[cfg(target_arch = "arm")]
            Path::ArmNeon($rows) => $body,
            #[cfg(target_arch = "aarch64")]
            Path::Neon($rows) => $body,
            #[cfg(target_arch = "aarch64")]
            Path::Sdot($rows) => $body,
            #[cfg(target_arch = "aarch64")]
            Path::Smmla($rows) => $body,
        }
    };
}

/// Bytes that [`pack`] writes, or `None` when the path or the shape has no packed form.
pub fn packed_len(isa: Isa, shape: &DepthwiseShape) -> Option<usize> {
    match shape.has_packed_form() {
        true => with_rows!(isa, rows => Some(drive::packed_len(rows, shape)), None),
        false => None,
    }
}

/// Packs the weights (`kh kw C`) of one convolution; `to` is [`packed_len`] long.
///
/// # Panics
/// When a length contradicts the shape, or there is no packed form.
pub fn pack(isa: Isa, shape: &DepthwiseShape, w: &Weights<'_>, to: &mut [i8]) {
    let channels = shape.x.c;
    assert!(shape.has_packed_form(), "{shape:?} has no packed form");
    assert_eq!(w.weights.len(), shape.window.taps() * channels, "weights against kh * kw * C");
    assert_eq!([w.bias.len(), w.scale.len()], [channels; 2], "bias and scale against C");
    with_rows!(isa, rows => drive::pack(rows, shape, w, to), panic!("the portable path packs nothing"))
}

/// Bytes of scratch that [`run`] needs; 0 on a path that packs nothing.
pub fn scratch_len(isa: Isa, shape: &DepthwiseShape) -> usize {
    with_rows!(isa, _rows => drive::scratch_len(shape), 0)
}

/// Computes. `scratch` is at least [`scratch_len`] long, of any content.
///
/// # Panics
/// When a length contradicts the shape, or there is no packed form.
pub fn run(isa: Isa, d: &PackedDepthwise<'_>, y: &mut [i8], scratch: &mut [i8]) {
    assert!(d.shape.has_packed_form(), "{:?} has no packed form", d.shape);
    with_rows!(isa, rows => drive::run(rows, d, y, scratch), panic!("the portable path has no packed form"))
}

#[cfg(test)]
mod tests {
    use crate::isa::Isa;
    use crate::suite;

    #[test]
    fn every_path_agrees_with_reference() {
        for isa in Isa::available().filter(|&isa| isa != Isa::PORTABLE) {
            suite::packed_depthwise(isa);
        }
    }
}
