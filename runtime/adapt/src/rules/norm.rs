//! Normalisations over axes.

use tract_core::internal::*;
use tract_core::ops::math;
use tract_core::ops::nn::{Reduce, Reducer, RmsNorm, Softmax, SoftmaxKind};

use super::{Contributions, scalar};
use crate::differentiate::Backward;

/// y = exp(x) / Σ exp(x): dx = y · (dy − Σ dy·y).   y = x − log Σ exp(x): dx = dy − exp(y) · Σ dy.
pub(super) fn softmax(b: &mut Backward, op: &Softmax, g: OutletId) -> TractResult<Contributions> {
    ensure!(op.quant_output_dt.is_none(), "it is quantized");
    let y = b.output();
    let sum = Reduce { axes: op.axes.clone(), reducer: Reducer::Sum };
    let dx = match op.kind {
        SoftmaxKind::Softmax => {
            let weighted = b.wire("weighted", math::mul(), &[g, y])?;
            let mean = b.wire("mean", sum, &[weighted])?;
            let centred = b.wire("centred", math::sub(), &[g, mean])?;
            b.wire("dx", math::mul(), &[centred, y])?
        }
        SoftmaxKind::LogSoftmax => {
            let total = b.wire("total", sum, &[g])?;
            let p = b.wire("p", math::exp(), &[y])?;
            let share = b.wire("share", math::mul(), &[p, total])?;
            b.wire("dx", math::sub(), &[g, share])?
        }
    };
    Ok(tvec!((0, dx)))
}

/// y = r·x with r = 1 / √(mean(x²) + ε): dx = r · (dy − y · mean(dy·y)) (Zhang, Sennrich, "Root Mean Square Layer
/// Normalization", 2019). tract makes it of LayerNorm after the mean is subtracted.
pub(super) fn rms_norm(b: &mut Backward, op: &RmsNorm, g: OutletId) -> TractResult<Contributions> {
    let (x, y) = (b.input(0), b.output());
    let shape = b.shape(x)?;
    let epsilon = scalar(b, op.eps.cast_to_scalar::<f32>()?, shape.len())?;
    let square = b.wire("square", Reduce { axes: tvec!(op.axis), reducer: Reducer::MeanOfSquares }, &[x])?;
    let square = b.wire("guarded", math::add(), &[square, epsilon])?;
    let r = b.wire("r", math::rsqrt(), &[square])?;
    let weighted = b.wire("weighted", math::mul(), &[g, y])?;
    let sum = b.wire("sum", Reduce { axes: tvec!(op.axis), reducer: Reducer::Sum }, &[weighted])?;
    let share = scalar(b, 1.0 / shape[op.axis] as f32, shape.len())?;
    let mean = b.wire("mean", math::mul(), &[sum, share])?;
    let along = b.wire("along", math::mul(), &[y, mean])?;
    let across = b.wire("across", math::sub(), &[g, along])?;
    Ok(tvec!((0, b.wire("dx", math::mul(), &[across, r])?)))
}
