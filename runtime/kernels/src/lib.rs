//! int8 kernels on slices, each with its reference; f32 convolutions in [`float`].
//!
//! Arithmetic `f32-rne/1`: products and sums in i32, one f32 multiply to come back to 8 bits, round half to even. The same
//! integers on every core, because integer sums are associative and every f32 operation is one IEEE-754 rounding.
//!
//! * Images are `H W C` (NHWC, batch 1), row-major, last index fastest. A vector of `C` features is an image of 1 x 1.
//! * A stored activation is `i8 = u8 xor 0x80`; a zero point is the ONNX u8 zero point minus 128.
//! * Weights are i8, zero point 0, one f32 scale an output channel. The whole range is right, -128 included.
//! * Conv, depthwise and dense take a *folded* bias: `bias' = bias - zx * sum(w)`, so that they sum stored values.
//!   A padding tap therefore reads `zx`, never 0.
//!
//! One file an op: its contract (a struct), `reference` (the definition), `portable` (plain Rust that LLVM vectorises), tests.
//! Every version other than `reference` meets it through [`suite`], which needs no operating system.
//!
//! Nothing here allocates, and nothing reads a file. A slice whose length contradicts the contract is the caller's mistake and
//! panics with the two lengths; `limbeck-plan` proves all lengths before it calls.
//!
//! | op | versions | scratch |
//! |---|---|---|
//! | [`conv`] | reference, portable | [`conv::scratch_len`] |
//! | [`depthwise`], [`dense`] | reference, portable | none |
//! | [`packed_conv`] (conv and dense) | avx2, neon (aarch64, armv7), sdot, smmla | [`packed_conv::scratch_len`] |
//! | [`packed_depthwise`] | avx2, neon (aarch64, armv7) | [`packed_depthwise::scratch_len`] |
//! | [`quantize_f32`], [`table`] | reference, portable, avx2 | none |
//! | [`dequantize_f32`], [`add`], [`mul`], [`average_pool`], [`max_pool`] | reference, portable, the same for avx2 | none |
//! | [`mod@concat`], [`pad`], [`resize`] | reference, portable | none |
//!
//! An [`Isa`] says which path to take; `op::run` takes the fastest version that the path has. NEON is part of plain aarch64, so there
//! the portable loops are vectors already.
#![no_std]
#![deny(unsafe_code)]

#[cfg(any(test, feature = "std"))]
extern crate std;

#[allow(unsafe_code, reason = "what only some CPUs have is behind `unsafe`; each block says why it may")]
mod arch;

// What the ops share.
pub mod arithmetic;
pub mod image;
pub mod isa;
pub mod suite;

// Into and out of 8 bits.
pub mod dequantize_f32;
pub mod quantize_f32;

// Multiply and accumulate.
pub mod conv;
pub mod dense;
pub mod depthwise;
#[allow(unsafe_code, reason = "calls the inner loops of `arch`, which take pointers")]
pub mod packed_conv;
#[allow(unsafe_code, reason = "calls the inner loops of `arch`, which take pointers")]
pub mod packed_depthwise;

// Floats.
#[allow(unsafe_code, reason = "inner loops on pointers, compiled once a path")]
pub mod float;

// Everything else.
pub mod add;
pub mod average_pool;
pub mod concat;
pub mod max_pool;
pub mod mul;
pub mod pad;
pub mod resize;
pub mod table;

pub use image::{Image, Pool, Window};
pub use isa::Isa;

/// Name of the arithmetic that every kernel here computes. A plan that names another one is refused, never approximated.
pub const ARITHMETIC: &str = "f32-rne/1";
