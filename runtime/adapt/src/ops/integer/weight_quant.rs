//! Trained float weights to the integers that the file will hold.
//!
//! ```text
//! n = clamp(rne(fl(W / s[c])), low, high)          int8: ±127, int4: ±7;   W is g times the weight, s too (g a power of two)
//! dW = dn / s[c]                                   where rne(W / s) is within the clamp, else 0
//! s[c] = s0[c] · exp(θ[c])                         θ trained, 0 at the start: s stays positive, and s0 exactly where θ is 0
//! dθ[c] = Σ dn · r / sqrt(N · high)                r = rne(W / s) − W / s within the clamp, else the end of it
//! ```
//!
//! The gradient of a learned scale is that of LSQ (Esser et al., "Learned Step Size Quantization", ICLR 2020, equations 3 and
//! §2.2), with N the weights that share the scale. With ŵ = s·n it is ds = Σ dŵ · r; dŵ = dn / s, and dθ = s · ds, so s cancels.
//! All of ŵ's dependence on s is in it: `Requantize`, which multiplies by s, adds none.
//!
//! The clamp is tested after rounding, as PyTorch's `fake_quantize` does: a channel's largest weight, which lies on the end, still
//! moves. (The paper tests before.)

use limbeck_engine::exp;
use limbeck_kernels::arithmetic::round_half_even;

use super::{Form, Operand};

/// Scales of weights: s0 · exp(θ), or s0 where θ is not trained.
#[derive(Debug, Clone)]
pub(crate) struct WeightScale {
    /// As the file has them: one, or one an output channel.
    pub base: Vec<f32>,
    /// Is θ an operand?
    pub learned: bool,
}

impl WeightScale {
    /// θ is kept within ±this: a factor of 20,000.
    const FURTHEST: f32 = 10.0;

    /// s, from θ if that is an operand.
    pub fn values(&self, theta: Option<&[f32]>) -> Vec<f32> {
        let Some(theta) = theta else { return self.base.clone() };
        let one = |(base, theta): (&f32, &f32)| {
            let theta = theta.clamp(-Self::FURTHEST, Self::FURTHEST);
            (*base as f64 * exp(theta as f64)) as f32
        };
        self.base.iter().zip(theta).map(one).collect()
    }

    /// Scale `c` of `values`.
    pub fn of(values: &[f32], c: usize) -> f32 {
        if values.len() == 1 { values[0] } else { values[c] }
    }
}

/// Operands W, and θ where scales are learned; result n, of W's shape.
#[derive(Debug, Clone)]
pub(crate) struct WeightQuant {
    pub scale: WeightScale,
    /// Output channels.
    pub channels: usize,
    /// The output channel is the last axis, not the first.
    pub transposed: bool,
    pub low: f32,
    pub high: f32,
    /// g: W is this times the weight. A power of two.
    pub gain: f32,
}

impl WeightQuant {
    /// f(element, output channel, scale) for every weight, g in the scale.
    fn each(&self, len: usize, scales: &[f32], mut f: impl FnMut(usize, usize, f32)) {
        let of_row = if self.transposed { self.channels } else { len / self.channels };
        for row in 0..len / of_row.max(1) {
            let first = row * of_row;
            if self.transposed {
                (0..of_row).for_each(|c| f(first + c, c, WeightScale::of(scales, c) * self.gain));
            } else {
                let scale = WeightScale::of(scales, row) * self.gain;
                (first..first + of_row).for_each(|at| f(at, row, scale));
            }
        }
    }

    /// rne(steps) if it is within the clamp; what is beyond stays beyond.
    fn rounded(&self, steps: f32) -> f32 {
        // Within reach of the rounding, and of no other integer than the next.
        round_half_even(steps.clamp(self.low - 1.0, self.high + 1.0)) as f32
    }

    fn scales(&self, x: &[Operand<'_>]) -> Vec<f32> {
        self.scale.values(x.get(1).map(|theta| theta.data))
    }

    /// The integers of `w`.
    pub fn integers(&self, w: &[f32], theta: Option<&[f32]>) -> Vec<f32> {
        let scales = self.scale.values(theta);
        let mut n = vec![0.0; w.len()];
        self.each(w.len(), &scales, |at, _, scale| n[at] = self.rounded(w[at] / scale).clamp(self.low, self.high));
        n
    }

    /// W of integers: g · s · n.
    pub fn reals(&self, integers: &[i8]) -> Vec<f32> {
        let mut w = vec![0.0; integers.len()];
        self.each(integers.len(), &self.scale.base, |at, _, scale| w[at] = integers[at] as f32 * scale);
        w
    }
}

impl Form for WeightQuant {
    fn name(&self) -> &'static str {
        "WeightQuant"
    }

    fn forward(&self, x: &[Operand<'_>], y: &mut [f32]) {
        y.copy_from_slice(&self.integers(x[0].data, x.get(1).map(|theta| theta.data)));
    }

    fn backward(&self, slot: usize, x: &[Operand<'_>], dy: &[f32], dx: &mut [f32]) {
        let (w, scales) = (x[0].data, self.scales(x));
        let within = |rounded: f32| self.low <= rounded && rounded <= self.high;
        if slot == 0 {
            return self.each(w.len(), &scales, |at, _, scale| {
                dx[at] = if within(self.rounded(w[at] / scale)) { dy[at] / scale } else { 0.0 };
            });
        }
        let shared = w.len() / dx.len().max(1);
        let gradient_scale = 1.0 / ((shared as f64) * self.high as f64).sqrt();
        let mut sums = vec![0f64; dx.len()];
        let one = sums.len() == 1;
        self.each(w.len(), &scales, |at, c, scale| {
            let steps = w[at] / scale;
            let rounded = self.rounded(steps);
            let r = if within(rounded) { rounded - steps } else { rounded.clamp(self.low, self.high) };
            sums[if one { 0 } else { c }] += dy[at] as f64 * r as f64;
        });
        dx.iter_mut().zip(sums).for_each(|(dx, sum)| *dx = (sum * gradient_scale) as f32);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::integer::both;

    #[derive(serde::Deserialize)]
    struct Golden {
        cases: Vec<Case>,
    }

    /// What `tests/golden/make_lsq.py` writes.
    #[derive(serde::Deserialize)]
    struct Case {
        name: String,
        dims: Vec<usize>,
        axis: usize,
        qmax: f32,
        w: Vec<f32>,
        s: Vec<f32>,
        dy: Vec<f32>,
        y: Vec<f32>,
        dw: Vec<f32>,
        ds: Vec<f32>,
    }

    /// torch sums in f32 and multiplies by 1 / s.
    const TOLERANCE: f32 = 2e-5;

    fn near(name: &str, have: &[f32], want: &[f32]) {
        let largest = want.iter().fold(0f32, |l, w| l.max(w.abs()));
        for (i, (have, want)) in have.iter().zip(want).enumerate() {
            assert!((have - want).abs() <= TOLERANCE * largest, "{name}[{i}] is {have}, torch has {want}");
        }
        assert_eq!(have.len(), want.len(), "{name}");
    }

    /// y, dw and ds of ŵ = s·n are torch's.
    #[test]
    fn weights_and_learned_scales_have_the_gradients_of_torch() {
        let golden: Golden = serde_json::from_str(include_str!("../../../tests/golden/lsq.json")).unwrap();
        assert_eq!(golden.cases.len(), 3);
        for case in golden.cases {
            for gain in [1.0, 64.0] {
                let form = WeightQuant {
                    scale: WeightScale { base: case.s.clone(), learned: true },
                    channels: case.s.len(),
                    transposed: case.axis == 1,
                    low: -case.qmax,
                    high: case.qmax,
                    gain,
                };
                let scaled = |v: &[f32]| {
                    let mut scaled = vec![0.0; v.len()];
                    form.each(v.len(), &case.s, |at, c, _| scaled[at] = v[at] * case.s[c]);
                    scaled
                };
                let w: Vec<f32> = case.w.iter().map(|w| w * gain).collect();
                let theta = vec![0.0; case.s.len()];
                let x = [Operand { shape: &case.dims, data: &w }, Operand { shape: &[case.s.len()], data: &theta }];
                // y = s·n, so dn = s·dy; dθ = s·ds at θ = 0; W = g·w, so dw = g·dW.
                let (n, dx) = both(&form, &x, &scaled(&case.dy));
                near(&format!("{} y", case.name), &scaled(&n), &case.y);
                near(&format!("{} dw", case.name), &dx[0].iter().map(|d| d * gain).collect::<Vec<_>>(), &case.dw);
                let ds: Vec<f32> = dx[1].iter().zip(&case.s).map(|(d, s)| d / s).collect();
                near(&format!("{} ds", case.name), &ds, &case.ds);
            }
        }
    }

    #[test]
    fn one_scale_for_all_channels_sums_the_gradients_of_all() {
        let form = WeightQuant {
            scale: WeightScale { base: vec![0.5], learned: true },
            channels: 2,
            transposed: false,
            low: -7.0,
            high: 7.0,
            gain: 1.0,
        };
        let x = [Operand { shape: &[2, 1], data: &[0.6, 9.0] }, Operand { shape: &[1], data: &[0.0] }];
        let (n, dx) = both(&form, &x, &[1.0, 1.0]);
        assert_eq!((n, &dx[0]), (vec![1.0, 7.0], &vec![2.0, 0.0]));
        let want = (-0.2 + 7.0) / 14f32.sqrt();
        assert!((dx[1][0] - want).abs() < 1e-6, "{} against {want}", dx[1][0]);
    }

    #[test]
    fn learned_scales_stay_positive_and_start_at_the_files() {
        let scale = WeightScale { base: vec![0.1, 3e-5], learned: true };
        assert_eq!(scale.values(Some(&[0.0, 0.0])), scale.base);
        assert!(scale.values(Some(&[-1e9, f32::MIN])).iter().all(|s| *s > 0.0 && s.is_normal()));
    }
}
