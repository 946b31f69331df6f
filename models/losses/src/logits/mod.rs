//! Losses over logits, and what they share.

pub(crate) mod mse;
