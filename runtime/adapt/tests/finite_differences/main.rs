//! Every rule meets central finite differences: small ONNX graphs, one per operator and geometry, with all weights trained.
//!
//! The directional derivative along u, (L(w + h·u) − L(w − h·u)) / 2h, must be ⟨dw, u⟩ (`check`). Data layouts and kernel
//! formats that the importer does not make are tested beside the rules (`src/rules/layouts.rs`).

mod builder;
mod check;
mod convolution;
mod elementwise;
mod nets;
mod norm;
mod properties;
mod shape;
mod training_net;
