//! Losses over feature maps, and what they share.

pub(crate) mod ab;
pub(crate) mod at;
pub(crate) mod fitnets;
pub(crate) mod fsp;
pub(crate) mod ft;
pub(crate) mod ickd;
pub(crate) mod matched;
mod normalize;
pub(crate) mod nst;
pub(crate) mod ofd;
mod pool;
pub(crate) mod review_kd;
pub(crate) mod vid;
