//! Does a float kernel agree with its reference, within [`error_bound`]? As [`crate::suite`]: a fixed sequence of cases, no operating
//! system, no allocation; about 100 KiB of stack.

use super::conv_f32::{self, ConvF32, ConvShapeF32, Order};
use super::depthwise_f32::{self, DepthwiseF32};
use super::error_bound;
use super::pixels_f32;
use crate::image::Image;
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

/// Checks a convolution. The candidate gets exactly the scratch that [`conv_f32::scratch_len`] says.
pub fn conv_f32(mut candidate: impl FnMut(&ConvF32<'_>, &mut [f32], &mut [f32])) {
    let (mut x, mut w, mut packed, mut bias, mut addend) =
        ([0.0; ROOM], [0.0; ROOM], [0.0; 2 * ROOM], [0.0; ROOM], [0.0; ROOM]);
    for case in 0..CASES {
        let mut rng = Rng::new(case);
        let (shape, out) = loop {
            let (window, inputs) = (rng.window(), rng.length());
            let order = [Order::Interleaved, Order::Planar][rng.below(2)];
            let shape = ConvShapeF32 { x: rng.image(inputs), order, channels: rng.length(), window };
            let Some([h, w]) = window.output(shape.x.h, shape.x.w) else { continue };
            let out = Image { h, w, c: shape.channels };
            let most = [shape.x.len(), out.len(), shape.channels * shape.depth(), conv_f32::scratch_len(&shape)];
            if most.iter().all(|&n| n <= ROOM) && conv_f32::packed_len(&shape) <= 2 * ROOM {
                break (shape, out);
            }
        };
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
        let (shape, window, out) = loop {
            let (window, channels) = (rng.window(), rng.length());
            let shape = rng.image(channels);
            let Some([h, w]) = window.output(shape.h, shape.w) else { continue };
            let out = Image { h, w, c: channels };
            if shape.len() <= ROOM && out.len() <= ROOM && window.taps() * channels <= ROOM {
                break (shape, window, out);
            }
        };
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
