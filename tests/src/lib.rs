//! Layout, conformance, pipeline and fault tests.
//!
//! [`limbeck`] builds and runs the real programs; [`world`] is a folder with models, cards and images to run them on;
//! [`nets`] makes small graphs by hand, [`foreign`] quantized ones as others write them; [`rust_tokens`] reads Rust for the layout test.

#![forbid(unsafe_code)]

pub mod foreign;
pub mod limbeck;
pub mod nets;
pub mod road;
pub mod rust_tokens;
pub mod world;
