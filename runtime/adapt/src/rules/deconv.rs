//! Transposed convolution: y[o, p·s + k·d − pad] += w[o, i, k] · x[i, p], then + b.
//!
//! x (N, I, H, W) in any of tract's data layouts, w (O, I/G, kh, kw), b (O) or scalar. It is the transpose of the convolution
//! C with the same kernel, stride, dilation and padding, so its gradients are those of C with x and dy exchanged
//! (Dumoulin, Visin, "A guide to convolution arithmetic for deep learning", 2016, §4).

use tract_core::internal::*;
use tract_core::ops::array::Slice;
use tract_core::ops::cnn::{Conv, Deconv, KernelFormat, PaddingSpec, PoolSpec};
use tract_core::ops::einsum::EinSum;
use tract_core::ops::nn::{Reduce, Reducer};

use super::Contributions;
use crate::differentiate::Backward;
use crate::ops::{DepthwiseDw, Unfold, Windows};

pub(super) fn deconv(b: &mut Backward, op: &Deconv, g: OutletId) -> TractResult<Contributions> {
    let x = b.shape(b.input(0))?;
    let mut contributions = tvec!();
    if b.needs(2) {
        // db[o] = Σ_{n, y, x} dy[n, o, y, x]
        let channel_axis = op.pool_spec.data_format.shape(&*x)?.c_axis();
        let axes = (0..x.len()).filter(|&axis| axis != channel_axis).collect();
        let db = b.wire("db", Reduce { axes, reducer: Reducer::Sum }, &[g])?;
        let bias_shape = b.shape(b.input(2))?;
        contributions.push((2, b.reshape(db, &bias_shape)?));
    }
    if b.needs(0) || b.needs(1) {
        let (spec, g) = transposed(b, op, &x, g)?;
        if b.needs(0) {
            contributions.push((0, input_gradient(b, op, &spec, g)?));
        }
        if b.needs(1) {
            contributions.push((1, weight_gradient(b, op, &spec, g)?));
        }
    }
    Ok(contributions)
}

/// C, and dy as far as C reads it: output padding can leave rows and columns that no tap reaches.
fn transposed(b: &mut Backward, op: &Deconv, x: &[usize], mut g: OutletId) -> TractResult<(PoolSpec, OutletId)> {
    let spec = &op.pool_spec;
    ensure!(spec.rank() == 2, "gradients are known for two spatial axes, not {}", spec.rank());
    let x = spec.data_format.shape(x)?;
    let (strides, dilations) = (spec.strides(), spec.dilations());
    let geometry =
        spec.padding.compute_for_deconv(x.hw_dims(), &spec.kernel_shape, &dilations, &strides, &op.adjustments)?;
    let before: TVec<usize> = geometry.iter().map(|g| g.pad_before).collect();
    let mut after = tvec!();
    for axis in 0..2 {
        let reach = (spec.kernel_shape[axis] - 1) * dilations[axis] + 1;
        let read = (x.hw_dims()[axis] - 1) * strides[axis] + reach;
        let len = geometry[axis].deconvoluted;
        after.push(read.saturating_sub(len + before[axis]));
        let reached = read.saturating_sub(before[axis]);
        if len >= reached + strides[axis] {
            g = b.wire("reached", Slice::new(x.h_axis() + axis, 0, reached), &[g])?;
        }
    }
    let spec = PoolSpec {
        input_channels: spec.output_channels,
        output_channels: spec.input_channels,
        padding: PaddingSpec::Explicit(before, after),
        ..spec.clone()
    };
    Ok((spec, g))
}

/// dx = C(dy, w with O and I exchanged within each group).
fn input_gradient(b: &mut Backward, op: &Deconv, spec: &PoolSpec, g: OutletId) -> TractResult<OutletId> {
    let kernel_shape = b.shape(b.input(1))?;
    let [o, i, kh, kw] = kernel_shape[..] else { bail!("kernel of rank {}", kernel_shape.len()) };
    let groups = op.group;
    let mut kernel = b.reshape(b.input(1), &[groups, o / groups, i, kh, kw])?;
    kernel = b.wire("swap", AxisOp::Move(1, 2), &[kernel])?;
    kernel = b.reshape(kernel, &[groups * i, o / groups, kh, kw])?;
    let no_bias = b.constant("no_bias", tensor0(0f32))?;
    let conv = Conv { pool_spec: spec.clone(), kernel_fmt: KernelFormat::OIHW, group: groups, q_params: None };
    b.wire("dx", conv, &[g, kernel, no_bias])
}

/// dw[o, i, ky, kx] = Σ_p x[i, p] · dy[o, p·s + k·d − pad]
fn weight_gradient(b: &mut Backward, op: &Deconv, spec: &PoolSpec, g: OutletId) -> TractResult<OutletId> {
    let kernel_shape = b.shape(b.input(1))?;
    let [o, i, kh, kw] = kernel_shape[..] else { bail!("kernel of rank {}", kernel_shape.len()) };
    let groups = op.group;
    let windows = Windows::new(spec, &b.shape(g)?)?;
    let x = b.input(0);
    if i == 1 && o == groups {
        return b.wire("dw", DepthwiseDw { windows, channels: o }, &[g, x]);
    }
    let pixels = windows.pixels();
    let channels_last = windows.channels_last;
    let patches = b.wire("patches", Unfold { windows, groups, channels: o / groups }, &[g])?;
    // g: group, i: input channel of the group, p: pixel of x, k: output channel of the group and tap
    let (x, axes) = if channels_last {
        (b.reshape(x, &[pixels, groups, i])?, "pgi,gkp->gik")
    } else {
        (b.reshape(x, &[groups, i, pixels])?, "gip,gkp->gik")
    };
    let dw = b.wire("dw", EinSum::new(axes.parse()?, f32::datum_type()), &[x, patches])?;
    let dw = b.reshape(dw, &[groups, i, o / groups, kh, kw])?;
    let dw = b.wire("swap_back", AxisOp::Move(1, 2), &[dw])?;
    b.reshape(dw, &[o, i, kh, kw])
}
