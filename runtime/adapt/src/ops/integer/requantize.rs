//! The end of a convolution or matrix product: bias, one multiplication, rounding, saturation.
//!
//! ```text
//! acc[c,p] = Σ parts[c,p] + b̂[c]        b̂[c] = rne(b[c] / fl(sx · s[c])) + offset[c]
//! v = fl(f32(acc) · M[c])               M[c] = fl(fl(sx · s[c]) / sy)
//! n = rne(clamp(v))
//! dparts = dn · M[c] where v is within the clamp, else 0        db[c] = Σ dparts / (sx · s[c])
//! ```
//!
//! s is not differentiated here: `WeightQuant` has all of it but the share of the bias's own rounding, below half a step of sx·s,
//! which is left out. `offset` is what the file's bias is beyond the f32 master (0 below 2^24).

use std::ops::Range;

use limbeck_kernels::arithmetic::{multiplier, saturate};

use super::{Form, Operand, WeightScale, holds};

/// Operands: the parts of the sum (1, O, H, W), the bias (O) if there is one, θ if scales are learned.
#[derive(Debug)]
pub(crate) struct Requantize {
    /// How many operands are summed.
    pub parts: usize,
    /// Is the bias an operand?
    pub bias: bool,
    pub scale: WeightScale,
    pub offset: Vec<i32>,
    pub x_scale: f32,
    pub y_scale: f32,
    pub y_zero: i8,
}

/// A trained bias as the file holds it: rne(b / scale) + offset, at most 2^30 away from 0.
pub(crate) fn bias_integer(b: f32, scale: f32, offset: i32) -> i32 {
    const LIMIT: i64 = 1 << 30;
    ((b as f64 / scale as f64).round_ties_even() as i64 + offset as i64).clamp(-LIMIT, LIMIT) as i32
}

/// What one output channel needs.
struct Channel {
    bias: i32,
    multiplier: f32,
    bias_scale: f32,
}

impl Requantize {
    fn channels(&self, x: &[Operand<'_>]) -> Vec<Channel> {
        let bias = self.bias.then(|| x[self.parts].data);
        let theta = self.scale.learned.then(|| x[x.len() - 1].data);
        let scales = self.scale.values(theta);
        let one = |c: usize| {
            let s = WeightScale::of(&scales, c);
            let bias_scale = self.x_scale * s;
            Channel {
                bias: bias.map_or(self.offset[c], |b| bias_integer(b[c], bias_scale, self.offset[c])),
                multiplier: multiplier(self.x_scale, s, self.y_scale),
                bias_scale,
            }
        };
        (0..self.offset.len()).map(one).collect()
    }

    /// f(channel's index, channel, its elements of (O, H, W), f32(acc) of each) for every output channel.
    fn each(&self, x: &[Operand<'_>], mut f: impl FnMut(usize, &Channel, Range<usize>, &[f32])) {
        /// Integers up to here are f32s.
        const EXACT: u32 = 1 << 24;
        let channels = self.channels(x);
        let pixels = x[0].data.len() / channels.len().max(1);
        let mut accs = vec![0f32; pixels];
        for (c, channel) in channels.iter().enumerate() {
            let range = c * pixels..(c + 1) * pixels;
            if self.parts == 1 && channel.bias.unsigned_abs() <= EXACT {
                // Both terms are integers that f32 holds, so their f32 sum is the exact one, rounded once: f32(acc).
                let bias = channel.bias as f32;
                accs.iter_mut().zip(&x[0].data[range.clone()]).for_each(|(acc, part)| *acc = part + bias);
            } else {
                for (acc, at) in accs.iter_mut().zip(range.clone()) {
                    let sum: i64 = x[..self.parts].iter().map(|part| part.data[at] as i64).sum();
                    *acc = (sum + channel.bias as i64) as f32;
                }
            }
            f(c, channel, range, &accs);
        }
    }
}

impl Form for Requantize {
    fn name(&self) -> &'static str {
        "Requantize"
    }

    fn forward(&self, x: &[Operand<'_>], y: &mut [f32]) {
        self.each(x, |_, channel, range, accs| {
            for (y, acc) in y[range].iter_mut().zip(accs) {
                let q = saturate(acc * channel.multiplier, self.y_zero);
                *y = (q as i32 - self.y_zero as i32) as f32;
            }
        });
    }

    fn backward(&self, slot: usize, x: &[Operand<'_>], dy: &[f32], dx: &mut [f32]) {
        self.each(x, |c, channel, range, accs| {
            let gradients = dy[range.clone()].iter().zip(accs);
            let passed =
                gradients.map(|(dy, acc)| if holds(acc * channel.multiplier, self.y_zero) { *dy } else { 0.0 });
            if slot < self.parts {
                dx[range].iter_mut().zip(passed).for_each(|(dx, dy)| *dx = dy * channel.multiplier);
            } else {
                let sum: f64 = passed.map(f64::from).sum();
                dx[c] = (sum * channel.multiplier as f64 / channel.bias_scale as f64) as f32;
            }
        });
    }

    fn gradient_of(&self, slot: usize) -> Option<usize> {
        match slot {
            part if part < self.parts => Some(0),
            bias if self.bias && bias == self.parts => Some(bias),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::integer::both;

    #[test]
    fn sums_are_scaled_rounded_and_saturated_and_gradients_stop_at_the_ends() {
        let scale = WeightScale { base: vec![0.25, 0.5], learned: false };
        let form =
            Requantize { parts: 2, bias: true, scale, offset: vec![0, 1], x_scale: 0.5, y_scale: 0.25, y_zero: -128 };
        // M = 0.5, 1; biases of 1 and 2 + 1 steps of sx · s = 0.125 and 0.25.
        let shape = &[1, 2, 1, 3];
        let parts = [[4.0, -9.0, 600.0, 3.0, -9.0, 254.0], [0.0, 0.0, 0.0, -3.0, 1.0, -3.0]];
        let operand = |data| Operand { shape, data };
        let bias = Operand { shape: &[2], data: &[0.125, 0.5] };
        let x = [operand(&parts[0]), operand(&parts[1]), bias];
        let (n, dx) = both(&form, &x, &[1.0, 1.0, 1.0, 2.0, 2.0, 2.0]);
        assert_eq!(n, [2.0, 0.0, 255.0, 3.0, 0.0, 254.0]);
        assert_eq!(dx[0], [0.5, 0.0, 0.0, 2.0, 0.0, 2.0]);
        assert_eq!(form.gradient_of(1), Some(0));
        assert_eq!(dx[2], [0.5 / 0.125, 4.0 / 0.25]);
    }

    #[test]
    fn a_bias_beyond_24_bits_keeps_its_last_ones() {
        let (integer, scale) = (536_870_913, 1e-4f32);
        let master = (integer as f64 * scale as f64) as f32;
        let offset = integer - bias_integer(master, scale, 0);
        assert_ne!(offset, 0);
        assert_eq!(bias_integer(master, scale, offset), integer);
        assert_eq!(bias_integer(f32::MAX, scale, 0), 1 << 30);
    }
}
