//! What the multiply-accumulate loops of a path reach here at their best: the yardstick of a profile.
//!
//! Not a data sheet's number: our own kernel, on a convolution that stays in the first cache, the fastest of many rounds. What
//! a real layer misses of it goes into memory, borders and small channels, not into the loop.

use std::hint::black_box;
use std::time::{Duration, Instant};

use limbeck_kernels::packed_conv::{self, ConvShape, PackedConv, Weights};
use limbeck_kernels::packed_depthwise::{self, DepthwiseShape, PackedDepthwise};
use limbeck_kernels::{Image, Isa, Window, conv, depthwise};

/// Best of so many rounds of at least [`ROUND`].
const ROUNDS: usize = 25;

/// Long against the clock's step, short against a time slice.
const ROUND: Duration = Duration::from_micros(500);

/// Practical peaks, in multiply-accumulates a second.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Peak {
    /// Of [`Peak::CONV`].
    pub conv: f64,
    /// Of [`Peak::DEPTHWISE`].
    pub depthwise: f64,
}

impl Peak {
    /// What is timed for `conv`: the better of two.
    pub const CONV: &'static str = "conv 1x1 of 8×8 pixels, 64→64 or 128→32 channels, in the first cache";
    /// What is timed for `depthwise`.
    pub const DEPTHWISE: &'static str = "depthwise 3x3 of 14×14×32, in the first cache";

    /// Measures both on a path. Takes some 50 ms.
    pub fn measure(isa: Isa) -> Peak {
        let point = Window { kernel: [1, 1], stride: [1, 1], dilation: [1, 1], pad: [0; 4] };
        let image = |c| Image { h: 8, w: 8, c };
        let of = |i, o| conv_rate(isa, ConvShape { x: image(i), channels: o, window: point, groups: 1 });
        let window = Window { kernel: [3, 3], pad: [1; 4], ..point };
        let depthwise = depthwise_rate(isa, DepthwiseShape { x: Image { h: 14, w: 14, c: 32 }, window });
        Peak { conv: of(64, 64).max(of(128, 32)), depthwise }
    }
}

/// Multiply-accumulates a second of the fastest round.
fn rate(macs: usize, mut run: impl FnMut()) -> f64 {
    let mut best = 0f64;
    for _ in 0..ROUNDS {
        let (start, mut times) = (Instant::now(), 0u64);
        let took = loop {
            run();
            times += 1;
            let took = start.elapsed();
            if took >= ROUND {
                break took;
            }
        };
        best = best.max(macs as f64 * times as f64 / took.as_secs_f64());
    }
    best
}

/// Values of every size, the same each time.
fn values(len: usize) -> Vec<i8> {
    (0..len).map(|i| (i * 37 % 251) as u8 as i8).collect()
}

/// Packed weights lie there in a plan, too.
const CACHE_LINE: usize = 64;

fn from_cache_line(memory: &mut [i8], len: usize) -> &mut [i8] {
    let start = memory.as_ptr().align_offset(CACHE_LINE).min(CACHE_LINE);
    &mut memory[start..][..len]
}

fn conv_rate(isa: Isa, shape: ConvShape) -> f64 {
    let ConvShape { x: x_shape, channels, window, groups } = shape;
    let (x, weights) = (values(x_shape.len()), values(channels * x_shape.c));
    let mut y = vec![0; x_shape.h * x_shape.w * channels];
    let macs = x_shape.h * x_shape.w * weights.len();
    let Some(len) = packed_conv::packed_len(isa, &shape) else {
        let (bias, scale) = (vec![0; channels], vec![1e-4; channels]);
        let mut scratch = vec![0i16; conv::scratch_len(&window, x_shape.c, groups)];
        let (bias, scale, weights, x) = (&bias[..], &scale[..], &weights[..], &x[..]);
        let conv = conv::Conv { x, x_shape, x_zero: 0, weights, bias, scale, y_zero: 0, window, groups };
        return rate(macs, || conv::portable(black_box(&conv), black_box(&mut y), &mut scratch));
    };
    let mut memory = vec![0; len + CACHE_LINE];
    let packed = from_cache_line(&mut memory, len);
    let (bias, scale) = (vec![[0; 4]; channels], vec![1e-4f32.to_le_bytes(); channels]);
    packed_conv::pack(isa, &shape, &Weights { weights: &weights, bias: &bias, scale: &scale }, packed);
    let mut scratch = vec![0; packed_conv::scratch_len(isa, &shape)];
    let conv = PackedConv { x: &x, shape, x_zero: 0, y_zero: 0, packed };
    rate(macs, || packed_conv::run(isa, black_box(&conv), black_box(&mut y), &mut scratch))
}

fn depthwise_rate(isa: Isa, shape: DepthwiseShape) -> f64 {
    let DepthwiseShape { x: x_shape, window } = shape;
    let (x, weights) = (values(x_shape.len()), values(window.taps() * x_shape.c));
    // The window keeps the size of the image.
    let mut y = vec![0; x_shape.len()];
    let macs = x_shape.h * x_shape.w * weights.len();
    let Some(len) = packed_depthwise::packed_len(isa, &shape) else {
        let (bias, scale) = (vec![0; x_shape.c], vec![1e-3; x_shape.c]);
        let (bias, scale, weights, x) = (&bias[..], &scale[..], &weights[..], &x[..]);
        let op = depthwise::Depthwise { x, x_shape, x_zero: 0, weights, bias, scale, y_zero: 0, window };
        return rate(macs, || depthwise::portable(black_box(&op), black_box(&mut y)));
    };
    let mut memory = vec![0; len + CACHE_LINE];
    let packed = from_cache_line(&mut memory, len);
    let (bias, scale) = (vec![[0; 4]; x_shape.c], vec![1e-3f32.to_le_bytes(); x_shape.c]);
    packed_depthwise::pack(isa, &shape, &Weights { weights: &weights, bias: &bias, scale: &scale }, packed);
    let mut scratch = vec![0; packed_depthwise::scratch_len(isa, &shape)];
    let op = PackedDepthwise { x: &x, shape, x_zero: 0, y_zero: 0, packed };
    rate(macs, || packed_depthwise::run(isa, black_box(&op), black_box(&mut y), &mut scratch))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_path_has_peaks() {
        for isa in Isa::available() {
            let Peak { conv, depthwise } = Peak::measure(isa);
            assert!(conv > 1e6 && conv.is_finite() && depthwise > 1e6 && depthwise.is_finite(), "{isa:?}");
        }
    }
}
