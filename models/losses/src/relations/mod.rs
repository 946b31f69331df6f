//! Losses over how the samples of a batch relate to each other, one vector a sample.

pub(crate) mod cc;
pub(crate) mod crd;
pub(crate) mod irg;
pub(crate) mod pkt;
pub(crate) mod rkd;
pub(crate) mod rows;
pub(crate) mod sp;
pub(crate) mod srd;
