//! Losses by a network that learns to tell student from teacher.

pub(crate) mod discriminator;
pub(crate) mod loss;
