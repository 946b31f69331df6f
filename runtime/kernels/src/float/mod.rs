//! f32 convolutions, NHWC, with bias, addend and bounds in one pass over the output, and their gradients.
//!
//! ```text
//! y = min(max(bias + sum(x * w) + addend, low), high)        dx = addend + sum(dy * w)        dw += sum(dy * x)        db += sum(dy)
//! ```
//!
//! Float sums depend on their order and on whether product and sum are rounded apart, so that paths differ in the last bits;
//! [`error_bound`] says by how much at most. On one path a result depends on its inputs only: each output is one chain of sums, in the
//! order of the taps, wherever it lies in a tile. The int8 kernels have nothing of this: see [`crate::ARITHMETIC`].
//!
//! | op | versions | scratch |
//! |---|---|---|
//! | [`conv_f32`] | reference, portable, `fma`, `neon` | [`conv_f32::scratch_len`] |
//! | [`depthwise_f32`] | reference, portable, `fma`, `neon` | none |
//! | [`conv_dx_f32`] | reference, portable, `fma`, `neon` | [`conv_dx_f32::scratch_len`] |
//! | [`conv_dw_f32`] | reference, portable, `fma`, `neon` | [`conv_dw_f32::scratch_len`] |
//! | [`depthwise_dx_f32`] | reference, portable, `fma`, `neon` | none |
//! | [`depthwise_dw_f32`] | reference, portable, `fma`, `neon` | [`depthwise_dw_f32::scratch_len`] |
//! | [`matrix_f32`] | reference, portable, `fma`, `neon` | none |
//! | [`pixels_f32`] | reference, portable | none |

use core::fmt;

pub mod conv_dw_f32;
pub mod conv_dx_f32;
pub mod conv_f32;
pub mod depthwise_dw_f32;
pub mod depthwise_dx_f32;
pub mod depthwise_f32;
pub(crate) mod lanes;
pub mod matrix_f32;
pub mod pixels_f32;
pub mod suite;

#[cfg(target_arch = "aarch64")]
use crate::arch::aarch64::Neon;
#[cfg(target_arch = "x86_64")]
use crate::arch::x86_64::Fma;

/// A path that float kernels compute on and that this CPU has.
///
/// | name | needs |
/// |---|---|
/// | `portable` | nothing |
/// | `fma` | AVX2 and FMA (x86-64 since 2013) |
/// | `neon` | aarch64 |
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct FloatIsa(FloatPath);

#[derive(Clone, Copy, PartialEq, Eq)]
enum FloatPath {
    Portable,
    #[cfg(target_arch = "x86_64")]
    Fma(Fma),
    #[cfg(target_arch = "aarch64")]
    Neon(Neon),
}

impl FloatIsa {
    /// Plain Rust; always there.
    pub const PORTABLE: FloatIsa = FloatIsa(FloatPath::Portable);

    /// The fastest path of this CPU that has vectors, or `None` when there is none.
    pub fn detect_fast() -> Option<FloatIsa> {
        FloatIsa::available().skip(1).last()
    }

    /// All paths of this CPU, slowest first.
    pub fn available() -> impl Iterator<Item = FloatIsa> {
        let paths = [
            Some(FloatPath::Portable),
            #[cfg(target_arch = "x86_64")]
            Fma::detect().map(FloatPath::Fma),
            #[cfg(target_arch = "aarch64")]
            Neon::detect().map(FloatPath::Neon),
        ];
        paths.into_iter().flatten().map(FloatIsa)
    }

    /// Its name, see the type.
    pub fn name(self) -> &'static str {
        match self.0 {
            FloatPath::Portable => "portable",
            #[cfg(target_arch = "x86_64")]
            FloatPath::Fma(_) => "fma",
            #[cfg(target_arch = "aarch64")]
            FloatPath::Neon(_) => "neon",
        }
    }
}

impl fmt::Debug for FloatIsa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Calls `$run` with the lanes of a path.
macro_rules! with_lanes {
    ($isa:expr, $lanes:ident => $run:expr) => {
        match $isa.0 {
            $crate::float::FloatPath::Portable => {
                let $lanes = $crate::float::lanes::Portable;
                $run
            }
            #[cfg(target_arch = "x86_64")]
            $crate::float::FloatPath::Fma($lanes) => $run,
            #[cfg(target_arch = "aarch64")]
            $crate::float::FloatPath::Neon($lanes) => $run,
        }
    };
}
pub(crate) use with_lanes;

/// By how much two orders of one sum may differ: `terms` products and addends whose absolute values sum to `absolute`.
///
/// Each of at most `2 * terms` roundings of one result is wrong by 2^-24 of a partial sum at most, and no partial sum exceeds
/// `absolute` (Higham, Accuracy and Stability of Numerical Algorithms, 4.2); two results are compared.
pub fn error_bound(terms: usize, absolute: f32) -> f32 {
    4.0 * (terms + 1) as f32 * absolute / (1u32 << 24) as f32
}
