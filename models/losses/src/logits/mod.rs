//! Losses over logits, and what they share.

pub(crate) mod cross_entropy;
pub(crate) mod dist;
pub(crate) mod dkd;
pub(crate) mod kd;
pub(crate) mod logit_std;
pub(crate) mod mse;
pub(crate) mod noise;
pub(crate) mod soft;
pub(crate) mod target;
pub(crate) mod virtual_teacher;
pub(crate) mod wsld;
