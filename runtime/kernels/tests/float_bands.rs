//! Images so large that the float kernels cut them into bands, which those of the shared suite are not: each kernel against its
//! reference on every path of this CPU.

use limbeck_kernels::float::conv_dw_f32::{self, ConvDwF32};
use limbeck_kernels::float::conv_dx_f32::{self, ConvDxF32};
use limbeck_kernels::float::conv_f32::{self, ConvF32, ConvShapeF32, Order};
use limbeck_kernels::float::depthwise_dw_f32::{self, DepthwiseDwF32};
use limbeck_kernels::float::{FloatIsa, error_bound};
use limbeck_kernels::{Image, Window};

/// Values in ±1, the same in every run (Knuth's MMIX generator).
fn values(len: usize, seed: u64) -> Vec<f32> {
    let mut state = seed;
    let next = || {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (state >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    };
    std::iter::repeat_with(next).take(len).collect()
}

/// Every sum has `terms` products of values below 1, so that `terms` bounds the sum of their absolute values.
fn compare(what: &str, want: &[f32], have: &[f32], terms: usize) {
    for (n, (want, have)) in want.iter().zip(have).enumerate() {
        assert!((want - have).abs() <= error_bound(terms, terms as f32), "{what}: output {n} is {have}, not {want}");
    }
}

fn window(kernel: usize, stride: usize, pad: usize) -> Window {
    Window { kernel: [kernel; 2], stride: [stride; 2], dilation: [1; 2], pad: [pad; 4] }
}

#[test]
fn convolutions_and_their_gradients_are_the_same_in_bands() {
    let cases = [
        (Image { h: 70, w: 50, c: 24 }, 13, window(3, 1, 1)),
        (Image { h: 71, w: 50, c: 17 }, 24, window(3, 2, 1)),
        (Image { h: 60, w: 61, c: 20 }, 9, window(1, 1, 0)),
        (Image { h: 90, w: 61, c: 20 }, 16, window(1, 2, 0)),
    ];
    for (x, channels, window) in cases {
        for order in [Order::Interleaved, Order::Planar] {
            let shape = ConvShapeF32 { x, order, channels, window };
            let what = format!("{shape:?}");
            let out = shape.y();
            let (image, dy, w) = (values(x.len(), 1), values(out.len(), 2), values(channels * shape.depth(), 3));
            let bias = values(channels, 4);
            let mut packed = vec![0.0; conv_f32::packed_len(&shape)];
            conv_f32::pack(&shape, &w, &bias, &mut packed);
            let mut packed_dx = vec![0.0; conv_dx_f32::packed_len(&shape)];
            conv_dx_f32::pack(&shape, &w, &mut packed_dx);
            for isa in FloatIsa::available() {
                let bounds = [f32::NEG_INFINITY, f32::INFINITY];
                let c = ConvF32 { shape, x: &image, packed: &packed, addend: None, bounds };
                let [mut want, mut have] = [(); 2].map(|()| vec![0.0; out.len()]);
                conv_f32::reference(&c, &w, &bias, &mut want);
                conv_f32::run(isa, &c, &mut have, &mut vec![9.0; conv_f32::scratch_len(&shape)]);
                compare(&what, &want, &have, shape.depth() + 1);

                let c = ConvDxF32 { shape, dy: &dy, packed: &packed_dx, addend: None };
                let [mut want, mut have] = [(); 2].map(|()| vec![0.0; x.len()]);
                conv_dx_f32::reference(&c, &w, &mut want);
                conv_dx_f32::run(isa, &c, &mut have, &mut vec![9.0; conv_dx_f32::scratch_len(&shape)]);
                compare(&what, &want, &have, window.taps() * channels);

                let c = ConvDwF32 { shape, x: &image, dy: &dy };
                let (mut want, mut want_b) = (vec![0.0; w.len()], vec![0.0; channels]);
                conv_dw_f32::reference(&c, &mut want, &mut want_b);
                let mut sums = vec![0.0; packed.len()];
                conv_dw_f32::run(isa, &c, &mut sums, &mut vec![9.0; conv_dw_f32::scratch_len(&shape)]);
                let (mut have, mut have_b) = (vec![0.0; w.len()], vec![0.0; channels]);
                conv_dw_f32::unpack_weights(&shape, &sums, &mut have);
                conv_dw_f32::unpack_biases(&shape, &sums, &mut have_b);
                compare(&what, &want, &have, out.h * out.w);
                compare(&what, &want_b, &have_b, out.h * out.w);
            }
        }
    }
}

#[test]
fn a_depthwise_weight_gradient_is_the_same_in_bands() {
    for window in [window(3, 1, 1), window(5, 2, 2), window(3, 1, 0), window(1, 1, 0)] {
        let shape = Image { h: 64, w: 50, c: 29 };
        let [h, w] = window.output(shape.h, shape.w).unwrap();
        let (x, dy) = (values(shape.len(), 1), values(h * w * shape.c, 2));
        let d = DepthwiseDwF32 { shape, window, x: &x, dy: &dy };
        let mut want = vec![0.0; (1 + window.taps()) * shape.c];
        depthwise_dw_f32::reference(&d, &mut want);
        for isa in FloatIsa::available() {
            let mut have = vec![0.0; want.len()];
            let mut scratch = vec![9.0; depthwise_dw_f32::scratch_len(shape, window)];
            depthwise_dw_f32::run(isa, &d, &mut have, &mut scratch);
            compare(&format!("{isa:?} {window:?}"), &want, &have, h * w);
        }
    }
}
