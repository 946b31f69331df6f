//! What a teacher said, and exactly what it was shown.
//!
//! Five things live here, because a cached answer is worth nothing unless all five are the same on the machine that
//! wrote it and on the board that reads it:
//!
//! * [`Card`]: the TOML beside an ONNX file that says how pixels become its input;
//! * [`Preprocess`]: those pixels' road to the input tensor, bit-exact on every architecture, one [`View`] at a time;
//! * [`views`]: what drawn views are, from a recipe to pixels;
//! * [`AnswersWriter`] and [`Answers`]: the file of teacher answers, one record per (sample, view) of each [`Head`];
//! * [`rng`]: the counter-based generator behind views and procedural data.
//!
//! # The answers file, version 2
//!
//! Little-endian. `S` samples from number `F` on, `V` views, heads `0 .. H` with records of `B_h` bytes ([`head`] has
//! their contents). One row is 8 bytes; each part begins at a multiple of 8, with zeros before it.
//!
//! ```text
//!        0       1       2       3       4       5       6       7
//!    +-------+-------+-------+-------+-------+-------+-------+-------+
//!  0 |  'L'     'B'     'A'     'N'     'S'     'W'     'E'     'R'  |  magic
//!  8 |    version = 2                |    flags: bit 0 = shard       |
//! 16 |    first sample F                                             |
//! 24 |    samples S                                                  |
//! 32 |    views V                    |    heads H                    |
//! 40 |    manifest length (bytes, without padding)                   |
//! 48 |    offset of the records of head 0                            |
//! 56 |    offset of the block table, T                               |
//! 64 |    length of the file                                         |
//! 72 |    0                          |    crc-32 of bytes 0..76      |
//!    +---------------------------------------------------------------+
//! 80 |    manifest: JSON                                             |
//!    +---------------------------------------------------------------+
//!    |    records of head 0: S V x B_0 bytes; (view v, sample s) is  |
//!    |    number v S + s - F                                         |
//!    |    ... of head H - 1                                          |
//!    +---------------------------------------------------------------+
//!    |    probe: f32 values of its head for each of its samples that |
//!    |    is here, through view 0                                    |
//!    +---------------------------------------------------------------+
//!    |    in a shard: the Merkle leaf of each sample, S x 32 bytes   |
//!    +---------------------------------------------------------------+
//!    |    bitmap: bit number v S + s - F, lowest first, is 1 when    |
//!    |    that answer is there; all S V are                          |
//!    +---------------------------------------------------------------+
//!  T |    xxh3-64 of each 1 MiB block of bytes 0..T, in order        |
//!    +---------------------------------------------------------------+
//!  E |    sha-256 of bytes 0..E: the name of these answers  32 bytes |
//!    |    length of the file                                         |
//!    |    xxh3-64 of bytes T..E+40                                   |
//!    |  'L'     'B'     'A'     'N'     'S'     'E'     'N'     'D'  |
//!    +---------------------------------------------------------------+
//! ```
//!
//! Everything is fixed by the manifest and the records, so the same answers have the same bytes however they came about: in
//! one run, in many ([`AnswersWriter`]), or in shards on many machines ([`merge()`]). The header's numbers follow from the manifest;
//! [`Answers::open`] refuses a file in which they differ. Flags and versions that this build does not know are refused
//! rather than guessed at.

#![forbid(unsafe_code)]

mod blocks;
pub mod card;
mod error;
mod export;
pub mod format;
pub mod head;
pub mod image;
mod manifest;
mod merge;
mod npz;
mod partial;
pub mod preprocess;
mod reader;
mod resize;
pub mod rng;
mod seal;
pub mod view;
pub mod views;
mod writer;

// What a model wants
pub use card::{Card, CardError, Colour, InputCard, Layout, Resize, Task};
// From pixels to its input
pub use image::Image;
pub use preprocess::{Preprocess, PreprocessError};
// Ways of showing a sample
pub use view::{View, ViewError};
pub use views::{Augment, AugmentError, ViewPlan};
// What a teacher said
pub use error::AnswersError;
pub use export::export;
pub use head::{Head, HeadKind, Pca, TopK};
pub use manifest::{DatasetId, LOGITS, Manifest, Probe, Shard, Teacher};
pub use merge::{MergeError, merge};
pub use reader::{Answers, Expected, HeadId};
pub use writer::AnswersWriter;
