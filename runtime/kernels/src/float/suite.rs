//! Does a float kernel agree with its reference, within [`error_bound`]? As [`crate::suite`]: a fixed sequence of cases, no operating
//! system, no allocation; about 100 KiB of stack.

use super::conv_dw_f32::{self, ConvDwF32};
use super::conv_dx_f32::{self, ConvDxF32};
use super::conv_f32::{self, ConvF32, ConvShapeF32, Order};
use super::depthwise_dw_f32::{self, DepthwiseDwF32};
use super::depthwise_dx_f32::{self, DepthwiseDxF32};
use super::depthwise_f32::{self, DepthwiseF32};
use super::error_bound;
use super::{matrix_f32, pixels_f32};
use crate::image::{Image, Window};
use crate::suite::{CASES, Rng};

/// Values of the largest array.
const ROOM: usize = 2048;

/// What lies in outputs and scratch before: no result of any case.
const JUNK: f32 = 1e30;

fn fill(rng: &mut Rng, values: &mut [f32]) {
    values.iter_mut().for_each(|v| *v = (rng.next() as i32) as f32 / (1u32 << 31) as f32);
}

fn bounds(rng: &mut Rng) -> [f32; 2] {
    [[f32::NEG_INFINITY, f32::INFINITY], [0.0, f32::INFINITY], [0.0, 0.75], [-0.5, 0.25]][rng.below(4)]
}

/// The sums of absolute values that the bound is made of: the reference of absolute operands.
fn absolute(values: &[f32]) -> [f32; ROOM] {
    let mut all = [0.0; ROOM];
    all.iter_mut().zip(values).for_each(|(to, v)| *to = v.abs());
    all
}

fn compare(case: u64, want: &[f32], have: &[f32], absolute: &[f32], terms: usize) {
    for (n, ((want, have), absolute)) in want.iter().zip(have).zip(absolute).enumerate() {
        let close = (want - have).abs() <= error_bound(terms, *absolute);
        assert!(close, "case {case}: output {n} is {have}, not {want}");
    }
}

/// The shape of a convolution and of its output; whatever is asked of it fits [`ROOM`].
fn conv_case(rng: &mut Rng) -> (ConvShapeF32, Image) {
    loop {
        let (window, inputs) = (rng.window(), rng.length());
        let order = [Order::Interleaved, Order::Planar][rng.below(2)];
        let shape = ConvShapeF32 { x: rng.image(inputs), order, channels: rng.length(), window };
        let Some([h, w]) = window.output(shape.x.h, shape.x.w) else { continue };
        let out = Image { h, w, c: shape.channels };
        let scratch =
            [conv_f32::scratch_len(&shape), conv_dx_f32::scratch_len(&shape), conv_dw_f32::scratch_len(&shape)];
        let most = [shape.x.len(), out.len(), shape.channels * shape.depth()];
        let packed = [conv_f32::packed_len(&shape), conv_dx_f32::packed_len(&shape)];
        if most.iter().chain(&scratch).all(|&n| n <= ROOM) && packed.iter().all(|&n| n <= 2 * ROOM) {
            return (shape, out);
        }
    }
}

/// Shape, window and output of a depthwise convolution, likewise.
fn depthwise_case(rng: &mut Rng) -> (Image, Window, Image) {
    loop {
        let (window, channels) = (rng.window(), rng.length());
        let shape = rng.image(channels);
        let Some([h, w]) = window.output(shape.h, shape.w) else { continue };
        let out = Image { h, w, c: channels };
        let most =
            [shape.len(), out.len(), (1 + window.taps()) * channels, depthwise_dw_f32::scratch_len(shape, window)];
        if most.iter().all(|&n| n <= ROOM) {
            return (shape, window, out);
        }
    }
}

/// Checks a convolution. The candidate gets exactly the scratch that [`conv_f32::scratch_len`] says.
pub fn conv_f32(mut candidate: impl FnMut(&ConvF32<'_>, &mut [f32], &mut [f32])) {
    let (mut x, mut w, mut packed, mut bias, mut addend) =
        ([0.0; ROOM], [0.0; ROOM], [0.0; 2 * ROOM], [0.0; ROOM], [0.0; ROOM]);
    for case in 0..CASES {
        let mut rng = Rng::new(case);
        let (shape, out) = conv_case(&mut rng);
        let (x, w) = (&mut x[..shape.x.len()], &mut w[..shape.channels * shape.depth()]);
        let (bias, addend) = (&mut bias[..out.c], &mut addend[..out.len()]);
        [&mut *x, &mut *w, &mut *bias, &mut *addend].into_iter().for_each(|values| fill(&mut rng, values));
        let packed = &mut packed[..conv_f32::packed_len(&shape)];
        conv_f32::pack(&shape, w, bias, packed);
        let addend = (rng.below(2) == 0).then_some(&*addend);
        let c = ConvF32 { shape, x, packed, addend, bounds: bounds(&mut rng) };
        let (mut want, mut have, mut scratch) = ([0.0; ROOM], [JUNK; ROOM], [JUNK; ROOM]);
        conv_f32::reference(&c, w, bias, &mut want[..out.len()]);
        candidate(&c, &mut have[..out.len()], &mut scratch[..conv_f32::scratch_len(&shape)]);

        let (x, w, bias, addend) = (absolute(x), absolute(w), absolute(bias), absolute(addend.unwrap_or(&[])));
        let c = ConvF32 { x: &x, addend: Some(&addend), bounds: [0.0, f32::INFINITY], ..c };
        let mut sums = [0.0; ROOM];
        conv_f32::reference(&c, &w, &bias, &mut sums[..out.len()]);
        compare(case, &want[..out.len()], &have[..out.len()], &sums, shape.depth() + 2);
        assert!(have[out.len()..].iter().all(|&v| v == JUNK), "case {case}: wrote behind its output");
    }
}

/// Checks a depthwise convolution.
pub fn depthwise_f32(mut candidate: impl FnMut(&DepthwiseF32<'_>, &mut [f32])) {
    let (mut x, mut w, mut bias) = ([0.0; ROOM], [0.0; ROOM], [0.0; ROOM]);
    for case in 0..CASES {
        let mut rng = Rng::new(case);
        let (shape, window, out) = depthwise_case(&mut rng);
        let (x, w, bias) = (&mut x[..shape.len()], &mut w[..window.taps() * shape.c], &mut bias[..shape.c]);
        [&mut *x, &mut *w, &mut *bias].into_iter().for_each(|values| fill(&mut rng, values));
        let d = DepthwiseF32 { shape, window, x, w, bias, bounds: bounds(&mut rng) };
        let (mut want, mut have) = ([0.0; ROOM], [JUNK; ROOM]);
        depthwise_f32::reference(&d, &mut want[..out.len()]);
        candidate(&d, &mut have[..out.len()]);

        let (x, w, bias) = (absolute(x), absolute(w), absolute(bias));
        let d = DepthwiseF32 { x: &x, w: &w, bias: &bias, bounds: [0.0, f32::INFINITY], ..d };
        let mut sums = [0.0; ROOM];
        depthwise_f32::reference(&d, &mut sums[..out.len()]);
        compare(case, &want[..out.len()], &have[..out.len()], &sums, window.taps() + 1);
        assert!(have[out.len()..].iter().all(|&v| v == JUNK), "case {case}: wrote behind its output");
    }
}

/// Checks the gradient of a convolution's input. The candidate gets exactly the scratch that [`conv_dx_f32::scratch_len`] says.
pub fn conv_dx_f32(mut candidate: impl FnMut(&ConvDxF32<'_>, &mut [f32], &mut [f32])) {
    let (mut dy, mut w, mut packed, mut addend) = ([0.0; ROOM], [0.0; ROOM], [JUNK; 2 * ROOM], [0.0; ROOM]);
    for case in 0..CASES {
        let mut rng = Rng::new(case);
        let (shape, out) = conv_case(&mut rng);
        let len = shape.x.len();
        let (dy, w, addend) =
            (&mut dy[..out.len()], &mut w[..shape.channels * shape.depth()], &mut addend[..shape.x.len()]);
        [&mut *dy, &mut *w, &mut *addend].into_iter().for_each(|values| fill(&mut rng, values));
        let packed = &mut packed[..conv_dx_f32::packed_len(&shape)];
        conv_dx_f32::pack(&shape, w, packed);
        let addend = (rng.below(2) == 0).then_some(&*addend);
        let c = ConvDxF32 { shape, dy, packed, addend };
        let (mut want, mut have, mut scratch) = ([0.0; ROOM], [JUNK; ROOM], [JUNK; ROOM]);
        conv_dx_f32::reference(&c, w, &mut want[..len]);
        candidate(&c, &mut have[..len], &mut scratch[..conv_dx_f32::scratch_len(&shape)]);

        let (dy, w, addend) = (absolute(dy), absolute(w), absolute(addend.unwrap_or(&[])));
        let c = ConvDxF32 { dy: &dy[..out.len()], addend: Some(&addend[..len]), ..c };
        let mut sums = [0.0; ROOM];
        conv_dx_f32::reference(&c, &w, &mut sums[..len]);
        compare(case, &want[..len], &have[..len], &sums, shape.window.taps() * shape.channels + 1);
        assert!(have[len..].iter().all(|&v| v == JUNK), "case {case}: wrote behind its output");
    }
}

/// Checks the gradient of a convolution's weights and biases, added to others. The candidate gets exactly the scratch that
/// [`conv_dw_f32::scratch_len`] says.
pub fn conv_dw_f32(mut candidate: impl FnMut(&ConvDwF32<'_>, &mut [f32], &mut [f32])) {
    let (mut x, mut dy, mut w, mut packed) = ([0.0; ROOM], [0.0; ROOM], [0.0; ROOM], [0.0; 2 * ROOM]);
    for case in 0..CASES {
        let mut rng = Rng::new(case);
        let (shape, out) = conv_case(&mut rng);
        let (channels, len) = (shape.channels, shape.channels * shape.depth());
        let (x, dy, w) = (&mut x[..shape.x.len()], &mut dy[..out.len()], &mut w[..len]);
        let mut b = [0.0; ROOM];
        let b = &mut b[..channels];
        [&mut *x, &mut *dy, &mut *w, &mut *b].into_iter().for_each(|values| fill(&mut rng, values));
        // What was there before.
        let packed = &mut packed[..conv_f32::packed_len(&shape)];
        conv_f32::pack(&shape, w, b, packed);
        let c = ConvDwF32 { shape, x, dy };
        let (mut want, mut want_b, mut have, mut have_b) = ([0.0; ROOM], [0.0; ROOM], [JUNK; ROOM], [JUNK; ROOM]);
        want[..len].copy_from_slice(w);
        want_b[..channels].copy_from_slice(b);
        conv_dw_f32::reference(&c, &mut want[..len], &mut want_b[..channels]);
        let mut scratch = [JUNK; ROOM];
        candidate(&c, packed, &mut scratch[..conv_dw_f32::scratch_len(&shape)]);
        conv_dw_f32::unpack_weights(&shape, packed, &mut have[..len]);
        conv_dw_f32::unpack_biases(&shape, packed, &mut have_b[..channels]);

        let (x, dy, mut sums, mut sums_b) = (absolute(x), absolute(dy), absolute(w), absolute(b));
        let c = ConvDwF32 { x: &x[..shape.x.len()], dy: &dy[..out.len()], ..c };
        conv_dw_f32::reference(&c, &mut sums[..len], &mut sums_b[..channels]);
        compare(case, &want[..len], &have[..len], &sums, out.h * out.w + 1);
        compare(case, &want_b[..channels], &have_b[..channels], &sums_b, out.h * out.w + 1);
    }
}

/// Checks the gradient of a depthwise convolution's input.
pub fn depthwise_dx_f32(mut candidate: impl FnMut(&DepthwiseDxF32<'_>, &mut [f32])) {
    let (mut dy, mut w) = ([0.0; ROOM], [0.0; ROOM]);
    for case in 0..CASES {
        let mut rng = Rng::new(case);
        let (shape, window, out) = depthwise_case(&mut rng);
        let (dy, w) = (&mut dy[..out.len()], &mut w[..window.taps() * shape.c]);
        [&mut *dy, &mut *w].into_iter().for_each(|values| fill(&mut rng, values));
        let d = DepthwiseDxF32 { shape, window, dy, w };
        let (mut want, mut have, mut sums) = ([0.0; ROOM], [JUNK; ROOM], [0.0; ROOM]);
        depthwise_dx_f32::reference(&d, &mut want[..shape.len()]);
        candidate(&d, &mut have[..shape.len()]);

        let (dy, w) = (absolute(dy), absolute(w));
        depthwise_dx_f32::reference(&DepthwiseDxF32 { dy: &dy[..out.len()], w: &w, ..d }, &mut sums[..shape.len()]);
        compare(case, &want[..shape.len()], &have[..shape.len()], &sums, window.taps());
        assert!(have[shape.len()..].iter().all(|&v| v == JUNK), "case {case}: wrote behind its output");
    }
}

/// Checks the gradient of a depthwise convolution's weights and biases, added to others. The candidate gets exactly the scratch that
/// [`depthwise_dw_f32::scratch_len`] says.
pub fn depthwise_dw_f32(mut candidate: impl FnMut(&DepthwiseDwF32<'_>, &mut [f32], &mut [f32])) {
    let (mut x, mut dy, mut before) = ([0.0; ROOM], [0.0; ROOM], [0.0; ROOM]);
    for case in 0..CASES {
        let mut rng = Rng::new(case);
        let (shape, window, out) = depthwise_case(&mut rng);
        let len = (1 + window.taps()) * shape.c;
        let (x, dy, before) = (&mut x[..shape.len()], &mut dy[..out.len()], &mut before[..len]);
        [&mut *x, &mut *dy, &mut *before].into_iter().for_each(|values| fill(&mut rng, values));
        let d = DepthwiseDwF32 { shape, window, x, dy };
        let (mut want, mut have, mut scratch) = ([0.0; ROOM], [JUNK; ROOM], [JUNK; ROOM]);
        want[..len].copy_from_slice(before);
        have[..len].copy_from_slice(before);
        depthwise_dw_f32::reference(&d, &mut want[..len]);
        candidate(&d, &mut have[..len], &mut scratch[..depthwise_dw_f32::scratch_len(shape, window)]);

        let (x, dy, mut sums) = (absolute(x), absolute(dy), absolute(before));
        let d = DepthwiseDwF32 { x: &x[..shape.len()], dy: &dy[..out.len()], ..d };
        depthwise_dw_f32::reference(&d, &mut sums[..len]);
        compare(case, &want[..len], &have[..len], &sums, out.h * out.w + 1);
        assert!(have[len..].iter().all(|&v| v == JUNK), "case {case}: wrote behind its output");
    }
}

/// Checks the products of a matrix and a vector: w x, wᵀ y, and the outer one, which is added.
pub fn matrix_f32(
    mut times: impl FnMut(&[f32], &[f32], &mut [f32]),
    mut transposed: impl FnMut(&[f32], &[f32], &mut [f32]),
    mut outer: impl FnMut(&[f32], &[f32], &mut [f32]),
) {
    let [mut w, mut x, mut y] = [[0.0; ROOM]; 3];
    for case in 0..CASES {
        let mut rng = Rng::new(case);
        let columns = rng.length();
        let rows = rng.length().min(ROOM / columns);
        let (w, x, y) = (&mut w[..rows * columns], &mut x[..columns], &mut y[..rows]);
        [&mut *w, &mut *x, &mut *y].into_iter().for_each(|values| fill(&mut rng, values));
        let (w_abs, x_abs, y_abs) = (absolute(w), absolute(x), absolute(y));
        let (w_abs, x_abs, y_abs) = (&w_abs[..w.len()], &x_abs[..columns], &y_abs[..rows]);

        let (mut want, mut have, mut sums) = ([0.0; ROOM], [JUNK; ROOM], [0.0; ROOM]);
        matrix_f32::times_reference(w, x, &mut want[..rows]);
        matrix_f32::times_reference(w_abs, x_abs, &mut sums[..rows]);
        times(w, x, &mut have[..rows]);
        compare(case, &want[..rows], &have[..rows], &sums, columns);

        matrix_f32::transposed_reference(w, y, &mut want[..columns]);
        matrix_f32::transposed_reference(w_abs, y_abs, &mut sums[..columns]);
        transposed(w, y, &mut have[..columns]);
        compare(case, &want[..columns], &have[..columns], &sums, rows);

        [&mut want, &mut have].into_iter().for_each(|to| to[..w.len()].copy_from_slice(w));
        sums[..w.len()].copy_from_slice(w_abs);
        matrix_f32::outer_reference(y, x, &mut want[..w.len()]);
        matrix_f32::outer_reference(y_abs, x_abs, &mut sums[..w.len()]);
        outer(y, x, &mut have[..w.len()]);
        compare(case, &want[..w.len()], &have[..w.len()], &sums, 2);
    }
}

/// Checks sums over pixels and factors a channel: both to the bit.
pub fn pixels_f32(mut sums: impl FnMut(Image, &[f32], &mut [f32]), mut scale: impl FnMut(&[f32], &[f32], &mut [f32])) {
    let (mut x, mut s) = ([0.0; ROOM], [0.0; ROOM]);
    for case in 0..CASES {
        let mut rng = Rng::new(case);
        let channels = rng.length();
        let mut shape = rng.image(channels);
        shape.h = shape.h.min(ROOM / (shape.w * shape.c)).max(1);
        let (x, s) = (&mut x[..shape.len()], &mut s[..shape.c]);
        [&mut *x, &mut *s].into_iter().for_each(|values| fill(&mut rng, values));
        let (mut want, mut have) = ([0.0; ROOM], [JUNK; ROOM]);
        pixels_f32::sums_reference(shape, x, &mut want[..shape.c]);
        sums(shape, x, &mut have[..shape.c]);
        assert_eq!(want[..shape.c], have[..shape.c], "case {case}: sums of {shape:?}");
        pixels_f32::scale_reference(x, s, &mut want[..shape.len()]);
        scale(x, s, &mut have[..shape.len()]);
        assert_eq!(want[..shape.len()], have[..shape.len()], "case {case}: {shape:?} scaled");
    }
}
