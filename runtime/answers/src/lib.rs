//! What a teacher said, and exactly what it was shown.
//!
//! Five things live here, because a cached answer is worth nothing unless all five are the same on the machine that
//! wrote it and on the board that reads it:
//!
//! * [`Card`]: the TOML beside an ONNX file that says how pixels become its input;
//! * [`Preprocess`]: those pixels' road to the input tensor, bit-exact on every architecture, one [`View`] at a time;
//! * [`views`]: what drawn views are, from a recipe to pixels;
//! * [`AnswersWriter`] and [`Answers`]: the file of teacher answers, one record per (sample, view);
//! * [`rng`]: the counter-based generator behind views and procedural data.
//!
//! # The answers file, version 1
//!
//! Little-endian. `S` samples, `V` views, `K` classes. One row is 8 bytes.
//!
//! ```text
//!        0       1       2       3       4       5       6       7
//!    +-------+-------+-------+-------+-------+-------+-------+-------+
//!  0 |  'L'     'B'     'A'     'N'     'S'     'W'     'E'     'R'  |  magic
//!  8 |    version = 1                |    flags = 0                  |
//! 16 |    samples S                                                  |
//! 24 |    views V                    |    heads = 1                  |
//! 32 |    manifest length M (bytes, without padding)                 |
//! 40 |    offset of the records (a multiple of 8)                    |
//! 48 |    length of the file                                         |
//! 56 |    bytes a record             |    crc-32 of bytes 0..60      |
//!    +---------------------------------------------------------------+
//! 64 |    manifest: JSON, M bytes, then zeros to a multiple of 8     |
//!    +---------------------------------------------------------------+
//!  R |    records: record (view v, sample s) is number v * S + s;    |
//!    |    dense_f16: K x f16 of z - max z                            |
//!    |    dense_f32: K x f32 of z                                    |
//!    |    then zeros to a multiple of 8                              |
//!    +---------------------------------------------------------------+
//!  T |    xxh3-64 of each 1 MiB block of bytes 0..T, in order        |
//!    +---------------------------------------------------------------+
//!  F |    sha-256 of bytes 0..F                             32 bytes |
//!    |  'L'     'B'     'A'     'N'     'S'     'E'     'N'     'D'  |
//!    +---------------------------------------------------------------+
//! ```
//!
//! Views stand in the manifest's order. The header's numbers repeat what the manifest says, so that a reader without
//! JSON (a board) can find a record; [`Answers::open`] refuses a file in which they differ. Bits of `flags` that this
//! build does not know, like a newer version, are refused rather than guessed at.

#![forbid(unsafe_code)]

pub mod card;
pub mod format;
pub mod image;
pub mod preprocess;
pub mod reader;
mod resize;
pub mod rng;
pub mod view;
pub mod views;
pub mod writer;

// What a model wants
pub use card::{Card, CardError, Colour, InputCard, Layout, Resize, Task};
// From pixels to its input
pub use image::Image;
pub use preprocess::{Preprocess, PreprocessError};
// Ways of showing a sample
pub use view::{View, ViewError};
pub use views::{Augment, AugmentError, ViewPlan};
// What a teacher said
pub use format::{AnswersError, DatasetId, Expected, Head, HeadKind, Manifest, Source};
pub use reader::Answers;
pub use writer::AnswersWriter;
