//! Does a kernel agree with its reference? The same cases on a host, under an emulator and on a board.
//!
//! `suite::conv(portable)` draws a fixed sequence of cases (shapes that straddle vector lengths, values on the rails, multipliers
//! that make ties), runs the candidate and the reference, and panics with the case that differs. Needs neither std nor
//! allocation; each function wants about 40 KiB of stack, no more.

use crate::add::{self, Add, AddScales};
use crate::average_pool::{self, AveragePool, Count};
use crate::concat::{self, Concat};
use crate::conv::{self, Conv};
use crate::dense::{self, Dense};
use crate::depthwise::{self, Depthwise};
use crate::dequantize_f32::{self, Dequantize};
use crate::image::{Image, Pool, Window};
use crate::isa::Isa;
use crate::max_pool::{self, MaxPool};
use crate::mul::{self, Mul};
use crate::packed_conv::{self, ConvShape, PackedConv, Weights};
use crate::packed_depthwise::{self, DepthwiseShape, PackedDepthwise};
use crate::pad::{self, Pad};
use crate::quantize_f32::{self, Quantize};
use crate::resize::{self, Resize};
use crate::table::{self, Table};

/// Everything that runs on a path, against its reference. Panics with the case that differs. Wants a MiB of stack.
pub fn all(isa: Isa) {
    conv(conv::portable);
    dense(dense::portable);
    depthwise(depthwise::portable);
    if isa != Isa::PORTABLE {
        packed_conv(isa);
        packed_depthwise(isa);
    }
    add(|contract, y| add::run(isa, contract, y));
    mul(|contract, y| mul::run(isa, contract, y));
    average_pool(|contract, y| average_pool::run(isa, contract, y));
    max_pool(|contract, y| max_pool::run(isa, contract, y));
    concat(concat::portable);
    pad(pad::portable);
    resize(resize::portable);
    table(|contract, y| table::run(isa, contract, y));
    quantize_f32(|contract, y| quantize_f32::run(isa, contract, y));
    dequantize_f32(|contract, y| dequantize_f32::run(isa, contract, y));
}

/// Cases an op. Enough that every pair (length class, window class) is met; 0.1 s a suite on a laptop, seconds on a small board.
pub(crate) const CASES: u64 = 400;

/// Elements of the largest activation, and of the largest weight array.
const ROOM: usize = 4096;

/// Channels or features on both sides of every vector length in use (4, 8, 16, 32) and of their unrolled multiples.
const LENGTHS: [usize; 20] = [1, 2, 3, 4, 5, 7, 8, 9, 12, 15, 16, 17, 23, 24, 31, 32, 33, 48, 63, 65];

/// Most channels of one case.
const CHANNELS: usize = 130;

/// SplitMix64 (Steele, Lea, Flood 2014): small, and the same everywhere.
pub struct Rng(u64);

impl Rng {
    /// The sequence of a seed.
    pub fn new(seed: u64) -> Rng {
        Rng(seed)
    }

    /// 64 random bits.
    #[expect(clippy::should_implement_trait, reason = "a generator of numbers, not an iterator that ends")]
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }

    /// 0 .. n, for a small n.
    pub fn below(&mut self, n: usize) -> usize {
        (((self.next() >> 32) * n as u64) >> 32) as usize
    }

    /// low ..= high.
    pub fn between(&mut self, low: usize, high: usize) -> usize {
        low + self.below(high - low + 1)
    }

    /// One of the lengths that straddle vectors.
    pub fn length(&mut self) -> usize {
        LENGTHS[self.below(LENGTHS.len())]
    }

    /// Any stored value.
    pub fn i8(&mut self) -> i8 {
        self.next() as i8
    }

    /// Fills in one of three tempers: any value (half of the time), the two rails only, or small values.
    pub fn fill(&mut self, values: &mut [i8]) {
        let temper = self.below(4);
        for v in values {
            let any = self.i8();
            *v = match temper {
                0 if any >= 0 => 127,
                0 => -128,
                1 => any >> 4,
                _ => any,
            };
        }
    }

    /// The same for weights. Half of the time none is -128: some inner loops treat layers apart where two of them meet.
    pub fn fill_weights(&mut self, weights: &mut [i8]) {
        self.fill(weights);
        if self.below(2) == 0 {
            weights.iter_mut().for_each(|w| *w = (*w).max(-127));
        }
    }

    /// Folded biases about as large as a sum of `depth` products, and multipliers that bring such sums to 8 bits; half of the
    /// time the multipliers are powers of two, so that ties happen.
    fn channels(&mut self, depth: usize, bias: &mut [i32], scale: &mut [f32]) {
        let powers = self.below(2) == 0;
        for (bias, scale) in bias.iter_mut().zip(scale) {
            *bias = (self.next() as i32 >> 18) * depth as i32 / 4;
            let exponent = 127 - self.between(2, 12) as u32;
            let mantissa = if powers { 0 } else { self.next() as u32 & 0x007f_ffff };
            *scale = f32::from_bits(exponent << 23 | mantissa);
        }
    }

    pub(crate) fn window(&mut self) -> Window {
        let mut two = |low, high| [self.between(low, high), self.between(low, high)];
        let (kernel, stride, dilation) = (two(1, 5), two(1, 3), two(1, 2));
        let ([top, left], [bottom, right]) = (two(0, 3), two(0, 3));
        let window = Window { kernel, stride, dilation, pad: [top, left, bottom, right] };
        match self.below(4) {
            0 => Window { kernel: [1, 1], dilation: [1, 1], pad: [0; 4], ..window },
            1 => Window { kernel: [3, 3], dilation: [1, 1], pad: [1; 4], ..window },
            _ => window,
        }
    }

    fn pool(&mut self, x: Image) -> Pool {
        let Window { kernel: [kh, kw], stride, pad, .. } = self.window();
        match self.below(4) {
            0 => Pool::global(x),
            _ => Pool {
                kernel: [kh, kw],
                stride,
                pad: [pad[0].min(kh - 1), pad[1].min(kw - 1), pad[2].min(kh - 1), pad[3].min(kw - 1)],
            },
        }
    }

    pub(crate) fn image(&mut self, c: usize) -> Image {
        Image { h: self.between(1, 9), w: self.between(1, 9), c }
    }
}

/// Two outputs filled with different junk, so that an element that nobody writes is seen too.
fn outputs() -> ([i8; ROOM], [i8; ROOM]) {
    ([0x55; ROOM], [0x2a; ROOM])
}

/// Checks a convolution. The candidate gets scratch of any content, at least [`conv::scratch_len`] long.
pub fn conv(mut candidate: impl FnMut(&Conv<'_>, &mut [i8], &mut [i16])) {
    let (mut x, mut w, mut scratch) = ([0; ROOM], [0; ROOM], [0x7fff_i16; ROOM]);
    let (mut bias, mut scale) = ([0; CHANNELS], [0.0; CHANNELS]);
    for case in 0..CASES {
        let mut rng = Rng::new(case);
        let (window, groups, x_shape, out) = loop {
            let window = rng.window();
            let groups = [1, 1, 1, 2, 3][rng.below(5)];
            let (ig, og) = (rng.length(), rng.length());
            let x_shape = rng.image(ig * groups);
            let Some([h, w]) = window.output(x_shape.h, x_shape.w) else { continue };
            let out = Image { h, w, c: og * groups };
            let depth = window.taps() * ig;
            let fits = x_shape.len() <= ROOM && out.len() <= ROOM && out.c <= CHANNELS && out.c * depth <= ROOM;
            if fits && conv::scratch_len(&window, x_shape.c, groups) <= ROOM {
                break (window, groups, x_shape, out);
            }
        };
        let depth = window.taps() * x_shape.c / groups;
        let (x, weights) = (&mut x[..x_shape.len()], &mut w[..out.c * depth]);
        let (bias, scale) = (&mut bias[..out.c], &mut scale[..out.c]);
        rng.fill(x);
        rng.fill_weights(weights);
        rng.channels(depth, bias, scale);
        let (x_zero, y_zero) = (rng.i8(), rng.i8());
        let c = Conv { x, x_shape, x_zero, weights, bias, scale, y_zero, window, groups };
        let (mut want, mut have) = outputs();
        conv::reference(&c, &mut want[..out.len()]);
        candidate(&c, &mut have[..out.len()], &mut scratch);
        assert!(
            want[..out.len()] == have[..out.len()],
            "case {case}: {x_shape:?} to {out:?}, {window:?}, groups {groups}"
        );
    }
}

/// Checks a depthwise convolution.
pub fn depthwise(mut candidate: impl FnMut(&Depthwise<'_>, &mut [i8])) {
    let (mut x, mut w) = ([0; ROOM], [0; ROOM]);
    let (mut bias, mut scale) = ([0; CHANNELS], [0.0; CHANNELS]);
    for case in 0..CASES {
        let mut rng = Rng::new(case);
        let (window, x_shape, out) = loop {
            let window = rng.window();
            let c = rng.length();
            let x_shape = rng.image(c);
            let Some([h, w]) = window.output(x_shape.h, x_shape.w) else { continue };
            let out = Image { h, w, ..x_shape };
            if x_shape.len() <= ROOM && out.len() <= ROOM && window.taps() * out.c <= ROOM {
                break (window, x_shape, out);
            }
        };
        let (x, weights) = (&mut x[..x_shape.len()], &mut w[..window.taps() * out.c]);
        let (bias, scale) = (&mut bias[..out.c], &mut scale[..out.c]);
        rng.fill(x);
        rng.fill_weights(weights);
        rng.channels(window.taps(), bias, scale);
        let (x_zero, y_zero) = (rng.i8(), rng.i8());
        let d = Depthwise { x, x_shape, x_zero, weights, bias, scale, y_zero, window };
        let (mut want, mut have) = outputs();
        depthwise::reference(&d, &mut want[..out.len()]);
        candidate(&d, &mut have[..out.len()]);
        assert!(want[..out.len()] == have[..out.len()], "case {case}: {x_shape:?}, {window:?}");
    }
}

/// Checks a dense layer.
pub fn dense(mut candidate: impl FnMut(&Dense<'_>, &mut [i8])) {
    let (mut x, mut w) = ([0; ROOM], [0; ROOM]);
    let (mut bias, mut scale) = ([0; CHANNELS], [0.0; CHANNELS]);
    for case in 0..CASES {
        let mut rng = Rng::new(case);
        let (i, o) = loop {
            let (i, o) = (rng.length() * rng.between(1, 3), rng.length());
            if i * o <= ROOM {
                break (i, o);
            }
        };
        let (x, weights) = (&mut x[..i], &mut w[..o * i]);
        let (bias, scale) = (&mut bias[..o], &mut scale[..o]);
        rng.fill(x);
        rng.fill_weights(weights);
        rng.channels(i, bias, scale);
        let d = Dense { x, weights, bias, scale, y_zero: rng.i8() };
        let (mut want, mut have) = outputs();
        dense::reference(&d, &mut want[..o]);
        candidate(&d, &mut have[..o]);
        assert!(want[..o] == have[..o], "case {case}: I {i}, O {o}");
    }
}

/// Checks an addition.
pub fn add(mut candidate: impl FnMut(&Add<'_>, &mut [i8])) {
    let (mut a, mut b) = ([0; 256], [0; 256]);
    for case in 0..CASES {
        let mut rng = Rng::new(case);
        let scales = loop {
            let mut scale =
                || f32::from_bits((127 - rng.between(0, 20) as u32) << 23 | rng.next() as u32 & 0x007f_ffff);
            if let Some(scales) = AddScales::new(scale(), scale(), scale()) {
                break scales;
            }
        };
        let n = rng.length() * rng.between(1, 3);
        let (a, b) = (&mut a[..n], &mut b[..n]);
        rng.fill(a);
        rng.fill(b);
        let add = Add { a, a_zero: rng.i8(), b, b_zero: rng.i8(), scales, y_zero: rng.i8() };
        let (mut want, mut have) = outputs();
        add::reference(&add, &mut want[..n]);
        candidate(&add, &mut have[..n]);
        assert!(want[..n] == have[..n], "case {case}: {n} elements, {scales:?}");
    }
}

/// Checks a product: of one shape, and with one value a channel.
pub fn mul(mut candidate: impl FnMut(&Mul<'_>, &mut [i8])) {
    let (mut a, mut b) = ([0; ROOM], [0; ROOM]);
    for case in 0..CASES {
        let mut rng = Rng::new(case);
        let (pixels, c) = (rng.between(1, 30), rng.length());
        let n = pixels * c;
        let (a, b) = (&mut a[..n], &mut b[..if rng.below(2) == 0 { n } else { c }]);
        rng.fill(a);
        rng.fill(b);
        // Powers of two make halves; the smallest and the largest scale reach one step and both rails.
        let mantissa = if rng.below(2) == 0 { 0 } else { rng.next() as u32 & 0x007f_ffff };
        let scale = f32::from_bits((127 + 2 - rng.between(0, 18) as u32) << 23 | mantissa);
        let m = Mul { a, a_zero: rng.i8(), b, b_zero: rng.i8(), scale, y_zero: rng.i8() };
        let (mut want, mut have) = outputs();
        mul::reference(&m, &mut want[..n]);
        candidate(&m, &mut have[..n]);
        assert!(want[..n] == have[..n], "case {case}: {pixels} pixels of {c}, {} of b, scale {scale}", m.b.len());
    }
}

/// Checks a padding.
pub fn pad(mut candidate: impl FnMut(&Pad<'_>, &mut [i8])) {
    let mut x = [0; ROOM];
    for case in 0..CASES {
        let mut rng = Rng::new(case);
        let (x_shape, pad, len) = loop {
            let c = rng.length();
            let x_shape = rng.image(c);
            let pad = [rng.below(4), rng.below(4), rng.below(4), rng.below(4)];
            let len = (x_shape.h + pad[0] + pad[2]) * (x_shape.w + pad[1] + pad[3]) * c;
            if len <= ROOM {
                break (x_shape, pad, len);
            }
        };
        let x = &mut x[..x_shape.len()];
        rng.fill(x);
        let p = Pad { x, x_shape, pad, value: rng.i8() };
        let (mut want, mut have) = outputs();
        pad::reference(&p, &mut want[..len]);
        candidate(&p, &mut have[..len]);
        assert!(want[..len] == have[..len], "case {case}: {x_shape:?}, {pad:?}");
    }
}

/// Checks a nearest-neighbour resize: repeated rows and columns, skipped ones, and any order.
pub fn resize(mut candidate: impl FnMut(&Resize<'_>, &mut [i8])) {
    let (mut x, mut rows, mut columns) = ([0; ROOM], [[0; 2]; 20], [[0; 2]; 20]);
    for case in 0..CASES {
        let mut rng = Rng::new(case);
        let (x_shape, h, w) = loop {
            let c = rng.length();
            let x_shape = rng.image(c);
            let (h, w) = (rng.between(1, 20), rng.between(1, 20));
            if x_shape.len() <= ROOM && h * w * c <= ROOM {
                break (x_shape, h, w);
            }
        };
        let growing = rng.below(4) > 0;
        let mut fill = |indices: &mut [[u8; 2]], size: usize| {
            let n = indices.len();
            for (at, index) in indices.iter_mut().enumerate() {
                let from = if growing { at * size / n } else { rng.below(size) };
                *index = (from as u16).to_le_bytes();
            }
        };
        let (rows, columns) = (&mut rows[..h], &mut columns[..w]);
        fill(rows, x_shape.h);
        fill(columns, x_shape.w);
        let (x, len) = (&mut x[..x_shape.len()], h * w * x_shape.c);
        rng.fill(x);
        let r = Resize { x, x_shape, rows, columns };
        let (mut want, mut have) = outputs();
        resize::reference(&r, &mut want[..len]);
        candidate(&r, &mut have[..len]);
        assert!(want[..len] == have[..len], "case {case}: {x_shape:?} to {h} x {w}");
    }
}

/// Draws what both pools slide over: an image that fits the buffers, and a pool that fits the image.
fn pool_case(rng: &mut Rng) -> (Image, Pool, Image) {
    loop {
        let c = rng.length();
        let x_shape = rng.image(c);
        let pool = rng.pool(x_shape);
        let Some([h, w]) = pool.output(x_shape.h, x_shape.w) else { continue };
        let out = Image { h, w, c };
        if x_shape.len() <= ROOM && out.len() <= ROOM {
            return (x_shape, pool, out);
        }
    }
}

/// Checks an average pool.
pub fn average_pool(mut candidate: impl FnMut(&AveragePool<'_>, &mut [i8])) {
    let mut x = [0; ROOM];
    for case in 0..CASES {
        let mut rng = Rng::new(case);
        let (x_shape, pool, out) = pool_case(&mut rng);
        let x = &mut x[..x_shape.len()];
        rng.fill(x);
        let count = [Count::Kernel, Count::Real][rng.below(2)];
        let ratio = [1.0, 0.5, 1.7, 0.013][rng.below(4)];
        let a = AveragePool { x, x_shape, x_zero: rng.i8(), ratio, y_zero: rng.i8(), pool, count };
        let (mut want, mut have) = outputs();
        average_pool::reference(&a, &mut want[..out.len()]);
        candidate(&a, &mut have[..out.len()]);
        assert!(want[..out.len()] == have[..out.len()], "case {case}: {x_shape:?}, {pool:?}, {count:?}");
    }
}

/// Checks a max pool.
pub fn max_pool(mut candidate: impl FnMut(&MaxPool<'_>, &mut [i8])) {
    let mut x = [0; ROOM];
    for case in 0..CASES {
        let mut rng = Rng::new(case);
        let (x_shape, pool, out) = pool_case(&mut rng);
        let x = &mut x[..x_shape.len()];
        rng.fill(x);
        let m = MaxPool { x, x_shape, pool };
        let (mut want, mut have) = outputs();
        max_pool::reference(&m, &mut want[..out.len()]);
        candidate(&m, &mut have[..out.len()]);
        assert!(want[..out.len()] == have[..out.len()], "case {case}: {x_shape:?}, {pool:?}");
    }
}

/// Checks one step of a concatenation, and that it leaves the other channels alone.
pub fn concat(mut candidate: impl FnMut(&Concat<'_>, &mut [i8])) {
    let mut x = [0; ROOM];
    for case in 0..CASES {
        let mut rng = Rng::new(case);
        let (pixels, x_channels, at, after) = (rng.between(1, 20), rng.length(), rng.below(34), rng.below(34));
        let y_channels = at + x_channels + after;
        let (x, y_len) = (&mut x[..pixels * x_channels], pixels * y_channels);
        rng.fill(x);
        let c = Concat { x, x_channels, y_channels, at };
        let (mut want, mut have) = ([0x55; ROOM], [0x55; ROOM]);
        concat::reference(&c, &mut want[..y_len]);
        candidate(&c, &mut have[..y_len]);
        assert!(want == have, "case {case}: {pixels} pixels, {x_channels} channels at {at} of {y_channels}");
    }
}

/// Checks a table lookup.
pub fn table(mut candidate: impl FnMut(&Table<'_>, &mut [i8])) {
    let (mut x, mut table) = ([0; 256], [0; 256]);
    for case in 0..CASES {
        let mut rng = Rng::new(case);
        let n = rng.length() * rng.between(1, 3);
        rng.fill(&mut x[..n]);
        rng.fill(&mut table);
        let t = Table { x: &x[..n], table: &table };
        let (mut want, mut have) = outputs();
        table::reference(&t, &mut want[..n]);
        candidate(&t, &mut have[..n]);
        assert!(want[..n] == have[..n], "case {case}: {n} elements");
    }
}

/// Checks a quantization, with ties, rails, infinities and NaN among the inputs.
pub fn quantize_f32(mut candidate: impl FnMut(&Quantize<'_>, &mut [i8])) {
    let mut x = [0.0; 1024];
    for case in 0..CASES {
        let mut rng = Rng::new(case);
        let c = [1, 2, 3, 4, 8, 16, 17][rng.below(7)];
        let shape = Image { h: rng.between(1, 7), w: rng.between(1, 8), c };
        let scale = [0.5, 1.0, 0.0173, 1.0 / 255.0][rng.below(4)];
        let x = &mut x[..shape.len()];
        for x in x.iter_mut() {
            *x = match rng.below(8) {
                0 => [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 1e-42, -0.0][rng.below(5)],
                1 => (rng.next() as i8) as f32 * 0.5 * scale,
                _ => (rng.next() as i32) as f32 / (1u64 << 23) as f32 * scale,
            };
        }
        let q = Quantize { x, shape, scale, zero: rng.i8() };
        let (mut want, mut have) = outputs();
        quantize_f32::reference(&q, &mut want[..shape.len()]);
        candidate(&q, &mut have[..shape.len()]);
        assert!(want[..shape.len()] == have[..shape.len()], "case {case}: {shape:?}, scale {scale}");
    }
}

/// Checks a dequantization, bit for bit.
pub fn dequantize_f32(mut candidate: impl FnMut(&Dequantize<'_>, &mut [f32])) {
    let mut x = [0; 1024];
    for case in 0..CASES {
        let mut rng = Rng::new(case);
        let c = [1, 2, 3, 4, 8, 16, 17][rng.below(7)];
        let shape = Image { h: rng.between(1, 7), w: rng.between(1, 8), c };
        let x = &mut x[..shape.len()];
        rng.fill(x);
        let d = Dequantize { x, shape, scale: [0.5, 0.0173, 1e-3][rng.below(3)], zero: rng.i8() };
        let (mut want, mut have) = ([f32::NAN; 1024], [f32::NAN; 1024]);
        dequantize_f32::reference(&d, &mut want[..shape.len()]);
        candidate(&d, &mut have[..shape.len()]);
        let same = want[..shape.len()].iter().zip(&have).all(|(want, have)| want.to_bits() == have.to_bits());
        assert!(same, "case {case}: {shape:?}");
    }
}

/// Biases and multipliers as a plan stores them.
fn stored_channels(bias: &[i32], scale: &[f32]) -> ([[u8; 4]; CHANNELS], [[u8; 4]; CHANNELS]) {
    let (mut biases, mut scales) = ([[0; 4]; CHANNELS], [[0; 4]; CHANNELS]);
    for (to, from) in biases.iter_mut().zip(bias) {
        *to = from.to_le_bytes();
    }
    for (to, from) in scales.iter_mut().zip(scale) {
        *to = from.to_le_bytes();
    }
    (biases, scales)
}

/// Checks packed convolutions of a path, through the cases of [`conv()`]. Wants half a MiB of stack.
pub fn packed_conv(isa: Isa) {
    packed_conv_by(
        |shape| {
            let Some(len) = packed_conv::packed_len(isa, shape) else { panic!("{isa:?} packs nothing") };
            (len, packed_conv::scratch_len(isa, shape))
        },
        |shape, w, packed| packed_conv::pack(isa, shape, w, packed),
        |c, y, scratch| packed_conv::run(isa, c, y, scratch),
    );
}

/// The same for an inner loop that is no path.
#[cfg(all(test, target_arch = "x86_64"))]
pub(crate) fn packed_conv_of<G: packed_conv::Gemm>(gemm: G) {
    let layout = |shape: &ConvShape| packed_conv::Layout::of(gemm, shape);
    packed_conv_by(
        |shape| (layout(shape).len(), packed_conv::scratch_len_on(gemm, shape)),
        |shape, w, packed| layout(shape).pack(w, packed),
        |c, y, scratch| packed_conv::run_on(gemm, c, y, scratch),
    );
}

/// `sizes` gives the bytes of packed weights and of scratch.
fn packed_conv_by(
    sizes: impl Fn(&ConvShape) -> (usize, usize),
    pack: impl Fn(&ConvShape, &Weights<'_>, &mut [i8]),
    run: impl Fn(&PackedConv<'_>, &mut [i8], &mut [i8]),
) {
    let (mut packed, mut scratch) = ([0x55; 1 << 18], [0x55; 1 << 18]);
    conv(|c, y, _| {
        let shape = ConvShape { x: c.x_shape, channels: c.bias.len(), window: c.window, groups: c.groups };
        let (packed_len, scratch_len) = sizes(&shape);
        let packed = &mut packed[..packed_len];
        let Conv { x, x_zero, y_zero, weights, .. } = *c;
        let (bias, scale) = stored_channels(c.bias, c.scale);
        let [bias, scale] = [&bias[..c.bias.len()], &scale[..c.bias.len()]];
        pack(&shape, &Weights { weights, bias, scale }, packed);
        // Exactly the promised scratch, at an odd address.
        run(&PackedConv { x, shape, x_zero, y_zero, packed }, y, &mut scratch[1..][..scratch_len]);
    });
}

/// Checks packed depthwise convolutions of a path, through the cases of [`depthwise()`] that have a packed form.
pub fn packed_depthwise(isa: Isa) {
    let (mut packed, mut scratch) = ([0x55; 1 << 16], [0x55; 1 << 16]);
    depthwise(|d, y| {
        let shape = DepthwiseShape { x: d.x_shape, window: d.window };
        let Some(len) = packed_depthwise::packed_len(isa, &shape) else { return depthwise::reference(d, y) };
        let packed = &mut packed[..len];
        let Depthwise { x, x_zero, y_zero, weights, .. } = *d;
        let (bias, scale) = stored_channels(d.bias, d.scale);
        let [bias, scale] = [&bias[..d.bias.len()], &scale[..d.bias.len()]];
        packed_depthwise::pack(isa, &shape, &Weights { weights, bias, scale }, packed);
        let scratch = &mut scratch[..packed_depthwise::scratch_len(isa, &shape)];
        packed_depthwise::run(isa, &PackedDepthwise { x, shape, x_zero, y_zero, packed }, y, scratch);
    });
}
