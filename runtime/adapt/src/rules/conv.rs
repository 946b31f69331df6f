//! y = conv(x, w) + b.
//!
//! x (N, C, H, W) in any of tract's data layouts, w (O, C/G, kh, kw), b (O) or scalar.

use tract_core::internal::*;
use tract_core::ops::array::Gather;
use tract_core::ops::cnn::{Conv, Deconv, KernelFormat, PaddingSpec, PoolSpec};
use tract_core::ops::einsum::EinSum;
use tract_core::ops::nn::{Reduce, Reducer};

use super::Contributions;
use crate::differentiate::Backward;
use crate::ops::{DepthwiseDw, Unfold, Windows};

pub(super) fn conv(b: &mut Backward, op: &Conv, g: OutletId) -> TractResult<Contributions> {
    ensure!(op.q_params.is_none(), "it is a quantized convolution");
    ensure!(op.kernel_fmt == KernelFormat::OIHW, "its kernel is laid out as {:?}", op.kernel_fmt);
    let x_shape = b.shape(b.input(0))?;
    let windows = Windows::new(&op.pool_spec, &x_shape)?;
    let mut contributions = tvec!();
    if b.needs(0) {
        let dx = input_gradient(b, op, &windows, g)?;
        contributions.push((0, dx));
    }
    if b.needs(1) {
        let dw = weight_gradient(b, op, &windows, g)?;
        contributions.push((1, dw));
    }
    if b.needs(2) {
        // db[o] = Σ_{n, oy, ox} dy[n, o, oy, ox]
        let channel_axis = op.pool_spec.data_format.shape(&*x_shape)?.c_axis();
        let axes = (0..x_shape.len()).filter(|&axis| axis != channel_axis).collect();
        let db = b.wire("db", Reduce { axes, reducer: Reducer::Sum }, &[g])?;
        let bias_shape = b.shape(b.input(2))?;
        contributions.push((2, b.reshape(db, &bias_shape)?));
    }
    Ok(contributions)
}

/// dx: the transposed convolution of dy. At stride 1 that is a convolution with the kernel turned by half a turn, which
/// runs 4-5 times faster for depthwise kernels (reference/training.md §5).
fn input_gradient(b: &mut Backward, op: &Conv, windows: &Windows, g: OutletId) -> TractResult<OutletId> {
    let kernel_shape = b.shape(b.input(1))?;
    let [o, i, kh, kw] = kernel_shape[..] else { bail!("kernel of rank {}", kernel_shape.len()) };
    let groups = op.group;
    // (G·o', i, k, k) -> (G·i, o', k, k): inputs and outputs change places within each group.
    let mut kernel = b.reshape(b.input(1), &[groups, o / groups, i, kh, kw])?;
    kernel = b.wire("swap", AxisOp::Move(1, 2), &[kernel])?;
    let swapped = [groups * i, o / groups, kh, kw];
    kernel = b.reshape(kernel, &swapped)?;
    let no_bias = b.constant("no_bias", tensor0(0f32))?;
    let spec = PoolSpec {
        input_channels: op.pool_spec.output_channels,
        output_channels: op.pool_spec.input_channels,
        ..op.pool_spec.clone()
    };
    let reach = |axis: usize| (windows.kernel[axis] - 1) * windows.dilation[axis];
    // What the forward pass padded after, as far as any window reaches it.
    let after: TVec<usize> = (0..2)
        .map(|axis| {
            let read = (windows.output[axis] - 1) * windows.stride[axis] + reach(axis) + 1;
            read.saturating_sub(windows.before[axis] + windows.input[axis])
        })
        .collect();
    let turns = (0..2).all(|axis| {
        windows.stride[axis] == 1
            && windows.dilation[axis] == 1
            && windows.before[axis] <= reach(axis)
            && after[axis] <= reach(axis)
    });
    if turns {
        if kh * kw > 1 {
            let taps = [groups * i, o / groups, kh * kw];
            kernel = b.reshape(kernel, &taps)?;
            let reversed: Vec<i64> = (0..(kh * kw) as i64).rev().collect();
            let reversed = b.constant("half_turn", tensor1(&reversed))?;
            kernel = b.wire("turned", Gather::new(2), &[kernel, reversed])?;
            kernel = b.reshape(kernel, &swapped)?;
        }
        let pads = |amounts: &dyn Fn(usize) -> usize| (0..2).map(amounts).collect::<TVec<_>>();
        let before = pads(&|axis| reach(axis) - windows.before[axis]);
        let after = pads(&|axis| {
            windows.input[axis] + reach(axis) - windows.output[axis] - (reach(axis) - windows.before[axis])
        });
        let pool_spec = PoolSpec { padding: PaddingSpec::Explicit(before, after), ..spec };
        let conv = Conv { pool_spec, kernel_fmt: KernelFormat::OIHW, group: groups, q_params: None };
        return b.wire("dx", conv, &[g, kernel, no_bias]);
    }
    let before: TVec<usize> = windows.before.into_iter().collect();
    let adjustments = (0..2)
        .map(|axis| {
            let full = (windows.output[axis] - 1) * windows.stride[axis] + reach(axis) + 1;
            (windows.input[axis] + before[axis] + after[axis]).saturating_sub(full)
        })
        .collect();
    let pool_spec = PoolSpec { padding: PaddingSpec::Explicit(before, after), ..spec };
    let deconv = Deconv { pool_spec, kernel_format: KernelFormat::OIHW, adjustments, group: groups };
    b.wire("dx", deconv, &[g, kernel, no_bias])
}

/// dw[o, i, ky, kx] = Σ_{oy, ox} dy[o, oy, ox] · x[i, oy·s + ky·d − p, ox·s + kx·d − p]
fn weight_gradient(b: &mut Backward, op: &Conv, windows: &Windows, g: OutletId) -> TractResult<OutletId> {
    let kernel_shape = b.shape(b.input(1))?;
    let [o, i, kh, kw] = kernel_shape[..] else { bail!("kernel of rank {}", kernel_shape.len()) };
    let (groups, x) = (op.group, b.input(0));
    if i == 1 && o == groups {
        let dw = DepthwiseDw { windows: windows.clone(), channels: o };
        return b.wire("dw", dw, &[x, g]);
    }
    let unfold = Unfold { windows: windows.clone(), groups, channels: i };
    let patches = b.wire("patches", unfold, &[x])?;
    let pixels = windows.pixels();
    // g: group, o: output channel of the group, p: pixel, k: input channel and tap
    let (dy, axes) = if windows.channels_last {
        (b.reshape(g, &[pixels, groups, o / groups])?, "pgo,gkp->gok")
    } else {
        (b.reshape(g, &[groups, o / groups, pixels])?, "gop,gkp->gok")
    };
    let dw = b.wire("dw", EinSum::new(axes.parse()?, f32::datum_type()), &[dy, patches])?;
    b.reshape(dw, &[o, i, kh, kw])
}
