//! Layout, conformance, pipeline and fault tests.
//!
//! [`limbeck`] builds and runs the real programs; [`world`] is a folder with models, cards and images to run them on;
//! [`nets`] makes small graphs by hand, [`foreign`] quantized ones as others write them; [`rust_tokens`] reads Rust for the layout test.
//!
//! Of emulated CPUs: [`guest`] builds and runs the program that is counted, [`counts`] reads what the emulator's plugin saw
//! ([`instruction_class`]), [`record`] compares it with what was recorded, [`peers`] are other runtimes' numbers, [`subjects`]
//! the models. [`mca`] asks llvm-mca about the loops in an assembly file.

#![forbid(unsafe_code)]

pub mod adapting;
pub mod counts;
pub mod foreign;
pub mod fuzz;
pub mod guest;
pub mod hostile;
pub mod instruction_class;
pub mod limbeck;
#[path = "../../targets/runner/tests/loopback/mod.rs"]
pub mod loopback;
pub mod mca;
pub mod nets;
pub mod peers;
pub mod record;
pub mod road;
pub mod rust_tokens;
pub mod subjects;
pub mod world;
