//! Pooling.

use tract_core::internal::*;
use tract_core::ops::cnn::{MaxPool, SumPool};

use super::Contributions;
use crate::differentiate::Backward;
use crate::ops::{MaxPoolDx, SumPoolDx, Windows};

/// y = Σ over the window, over its size where it is an average.
pub(super) fn sum_pool(b: &mut Backward, op: &SumPool, g: OutletId) -> TractResult<Contributions> {
    let shape = b.shape(b.input(0))?;
    let windows = Windows::new(&op.pool_spec, &shape)?;
    let dx = SumPoolDx {
        windows,
        channels: op.pool_spec.input_channels,
        shape,
        normalize: op.normalize,
        count_include_pad: op.count_include_pad,
    };
    Ok(tvec!((0, b.wire("dx", dx, &[g])?)))
}

/// y = the maximum of the window.
pub(super) fn max_pool(b: &mut Backward, op: &MaxPool, g: OutletId) -> TractResult<Contributions> {
    let shape = b.shape(b.input(0))?;
    let windows = Windows::new(&op.pool_spec, &shape)?;
    let x = b.input(0);
    let dx = MaxPoolDx { windows, channels: op.pool_spec.input_channels };
    Ok(tvec!((0, b.wire("dx", dx, &[x, g])?)))
}
