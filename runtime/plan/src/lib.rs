//! The int8 plan: a compiled integer region as checked bytes, and its executor in an arena that the caller lends.
//!
//! A plan is made once from a quantized model ([`emit`]), written to a file or to flash, checked once ([`Plan::new_checked`]) and
//! run as often as wanted ([`Plan::run`]). Running allocates nothing, cannot panic and cannot read or write outside the bytes
//! and the arena, whatever the bytes held. The integers are those of the arithmetic `f32-rne/1` on every core.
//!
//! ```
//! # #[cfg(feature = "emit")] fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use limbeck_plan::{OpSpec, Plan, PlanSpec, Shape, TensorSpec, emit};
//!
//! let tensor = |name: &str, c| TensorSpec { name: name.into(), shape: Shape { h: 1, w: 1, c }, scale: 0.5, zero: 0 };
//! let sum = OpSpec::Dense {
//!     name: "sum".into(), x: 0, y: 1, weights: vec![1, 1, 1], bias: vec![0], scale: vec![1.0],
//! };
//! let spec = PlanSpec { tensors: vec![tensor("x", 3), tensor("y", 1)], ops: vec![sum], inputs: vec![0], outputs: vec![1] };
//! let bytes = emit(&spec)?;
//!
//! let plan = Plan::new_checked(&bytes)?;
//! let (mut arena, mut y) = (vec![0; plan.arena_bytes()], [0.0]);
//! plan.run(&[&[1.0, 2.0, 3.0]], &mut [&mut y], &mut arena, |tensor, data| println!("{} {data:?}", tensor.name))?;
//! assert_eq!(y, [6.0]);
//! # Ok(()) }
//! # #[cfg(not(feature = "emit"))] fn main() {}
//! ```
//!
//! # Layout
//! Little-endian. Offsets count bytes from the start of the plan. No alignment is asked of the bytes in memory: numbers are
//! assembled from bytes, per-channel numbers into scratch in the arena, so a plan runs from flash, from a mapped file or from
//! the middle of a bundle. (The writer aligns weights to 16 all the same, for kernels to come.)
//!
//! ```text
//!          0        1        2        3        4        5        6        7
//!      +--------+--------+--------+--------+--------+--------+--------+--------+
//!    0 | magic  "LIMBPLAN"                                                     |
//!    8 | version  u32                      | crc32 of bytes 16 .. length  u32  |
//!   16 | length of the plan  u32           | 0                                 |
//!   24 | arithmetic  "f32-rne/1", zero padded                                  |
//!   32 |                                                                       |
//!   40 | tensors T  u32                    | ops N  u32                        |
//!   48 | inputs  u32                       | outputs  u32                      |
//!   56 | operands P  u32                   | 0                                 |
//!      +-----------------------------------+-----------------------------------+
//!   64 | T tensor records of 40 bytes, then N op records of 64 bytes, then     |
//!      | input ids, output ids, operand ids (u32 each), then names, weights,   |
//!      | biases, multipliers and tables, which the records point at            |
//!      +-----------------------------------------------------------------------+
//!
//! tensor +--------+--------+--------+--------+--------+--------+--------+--------+
//!    0   | offset of the name  u32           | bytes of the name  u32            |
//!    8   | h  u32                            | w  u32                            |
//!   16   | c  u32                            | scale  f32                        |
//!   24   | arena offset, 16-aligned  u32     | born: step that writes it  u32    |
//!   32   | dies: last step that reads it  u32| zero i8|  0     | 0      | 0      |
//!        +-----------------------------------+-----------------------------------+
//!
//! op     +--------+--------+--------+--------+--------+--------+--------+--------+
//!    0   | kind u8| flag u8| 0               | first operand  u32                |
//!    8   | operands  u32                     | output tensor  u32                |
//!   16   | offset of the name  u32           | bytes of the name  u32            |
//!   24   | kernel rows u16 | columns u16     | stride rows u16 | columns u16     |
//!   32   | dilation rows   | columns         | groups  u32                       |
//!   40   | pad top u16     | left u16        | bottom u16      | right u16       |
//!   48   | offset of the weights or table    | offset of the folded biases, i32  |
//!   56   | offset of the multipliers M, f32  | 0                                 |
//!        +-----------------------------------+-----------------------------------+
//! ```
//!
//! Kinds: 1 conv, 2 depthwise, 3 dense, 4 add, 5 average pool (flag 1: padding counts), 6 max pool, 7 concat, 8 table, 9 mul,
//! 10 pad (flag: the stored value that is written), 11 resize. Weights: conv `O kh kw I/g`, depthwise `kh kw C`, dense `O I`;
//! table 256 bytes; resize one u16 for each row of the output, then one for each column: the row or column of the input that
//! it is. What follows from the tensor records is not stored twice: lengths, the shift and multipliers of an addition, M of a
//! product, the ratio of a pool.
//!
//! # Time and memory
//! Step 0 writes the inputs, step `i + 1` is op `i`, step `N + 1` reads the outputs. A tensor lives in steps `born ..= dies`, and
//! two tensors that ever live together never share a byte of the arena, except that an element-wise op may write over an operand that
//! dies with it; `new_checked` proves it from the records. The arena
//! holds the tensors, then scratch of the hungriest op, and up to 15 bytes to start at a multiple of 16.
//!
//! # Limits
//! Batch 1. At most [`MAX_TENSORS`] tensors; an image has at most 2^31 - 1 elements; kernels, strides, dilations and pads are
//! below 65,536.
#![no_std]
#![forbid(unsafe_code)]

#[cfg(feature = "emit")]
extern crate alloc;
#[cfg(test)]
extern crate std;

mod info;
mod layout;
mod op;
mod open;
mod packed;
mod run;
mod tensor;

#[cfg(feature = "emit")]
mod arena;
#[cfg(feature = "emit")]
mod check;
#[cfg(feature = "emit")]
mod emit;
#[cfg(feature = "emit")]
mod owned;
#[cfg(feature = "emit")]
mod spec;

// Read and run.
pub use info::{OpInfo, PackedOpInfo};
pub use layout::MAX_TENSORS;
pub use limbeck_kernels::Isa;
pub use op::OpKind;
pub use open::{OpenError, Plan};
pub use packed::PackedPlan;
pub use run::RunError;
pub use tensor::{Shape, Tensor};

// Build.
#[cfg(feature = "emit")]
pub use check::EmitError;
#[cfg(feature = "emit")]
pub use emit::emit;
#[cfg(feature = "emit")]
pub use owned::{PackedPlanBuf, PlanBuf};
#[cfg(feature = "emit")]
pub use spec::{ConvGeometry, OpSpec, PlanSpec, PoolGeometry, TensorId, TensorSpec};
