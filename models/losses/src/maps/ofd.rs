//! Overhaul of feature distillation: a partial distance to the teacher's map after its margin ReLU.
//!
//! s, t (B, C, H, W) before their activations, t̂ = max(t, m_c), margin m_c < 0
//! L = 1/B Σ (s - t̂)² [s > t̂ or t̂ > 0]
//!
//! Heo, Kim, Yun, Park, Kwak, Choi, "A comprehensive overhaul of feature distillation", ICCV 2019; the reduction
//! is the authors' (weight 1/1000, and a layer further from the output by half: both are `weight` of a recipe). The student's
//! connector, a 1×1 convolution with batch normalisation, belongs to its graph.
//!
//! m_c = E[t_c given t_c < 0]: the option `margins`, which [`batch_norm_margins`] makes from the layer before, or the mean over the
//! negative values of the batch, after pooling; 0 for a channel without any.

use serde::Deserialize;

use super::matched::{Matched, Resize, same_channels};
use crate::batch::Batch;
use crate::error::LossError;
use crate::given::{Evaluated, Given, Loss};

const KIND: &str = "ofd";

/// Options of `ofd`.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Ofd {
    /// m, one a channel of the teacher; none: from each batch.
    pub margins: Vec<f64>,
    /// Where heights or widths differ.
    pub resize: Resize,
}

impl Loss for Ofd {
    fn evaluate(&mut self, given: &Given<'_>) -> Result<Evaluated, LossError> {
        let maps = Matched::new(KIND, given, 0, self.resize)?;
        same_channels(KIND, &maps.s, &maps.t)?;
        let (channels, pixels) = maps.s.channels_and_pixels();
        let margins = match self.margins.len() {
            0 => negative_means(&maps.t),
            n if n == channels => self.margins.clone(),
            n => {
                let why =
                    format!("margins has {n} values and the teacher {channels} channels; give one a channel, or none");
                return Err(LossError::Options { kind: KIND, why });
            }
        };
        if let Some(margin) = margins.iter().find(|m| !m.is_finite()) {
            return Err(LossError::Options {
                kind: KIND,
                why: format!("a margin is {margin}; margins are finite numbers"),
            });
        }
        let samples = maps.s.samples() as f64;
        let mut ds = maps.s.zeros_like();
        let mut loss = 0.0;
        let planes = maps.s.values.chunks_exact(pixels).zip(maps.t.values.chunks_exact(pixels));
        for ((ds, (s, t)), margin) in ds.values.chunks_exact_mut(pixels).zip(planes).zip(margins.iter().cycle()) {
            for ((d, s), t) in ds.iter_mut().zip(s).zip(t) {
                let target = t.max(*margin);
                if *s > target || target > 0.0 {
                    loss += (s - target) * (s - target) / samples;
                    *d = 2.0 * (s - target) / samples;
                }
            }
        }
        Ok(Evaluated { loss, gradients: vec![maps.tap_gradient(ds)] })
    }
}

/// Mean of the negative values of each channel over the batch.
fn negative_means(t: &Batch) -> Vec<f64> {
    let (channels, pixels) = t.channels_and_pixels();
    let mut sums = vec![(0.0, 0usize); channels];
    for (plane, t) in t.values.chunks_exact(pixels).enumerate() {
        let (sum, count) = &mut sums[plane % channels];
        for t in t.iter().filter(|t| **t < 0.0) {
            *sum += t;
            *count += 1;
        }
    }
    sums.into_iter().map(|(sum, count)| sum / count.max(1) as f64).collect()
}

/// Margins of a map that a batch normalisation makes: values of channel c are taken as normal, of mean β_c and deviation |γ_c|.
///
/// m = β - |γ| φ(β/|γ|) / Φ(-β/|γ|), and -3 |γ| where Φ ≤ 0.001 (the authors' program). `scale` is γ, `shift` is β; as many margins
/// as the shorter of both has values.
pub fn batch_norm_margins(scale: &[f64], shift: &[f64]) -> Vec<f64> {
    scale.iter().zip(shift).map(|(gamma, beta)| margin(gamma.abs(), *beta)).collect()
}

fn margin(gamma: f64, beta: f64) -> f64 {
    if gamma == 0.0 {
        return beta.min(0.0);
    }
    let z = beta / gamma;
    let negative = upper_tail(z);
    if negative > 0.001 { beta - gamma * density(z) / negative } else { -3.0 * gamma }
}

/// φ(z)
fn density(z: f64) -> f64 {
    (-z * z / 2.0).exp() / (2.0 * std::f64::consts::PI).sqrt()
}

/// 1 - Φ(z) = ½ - φ(z) Σ_k z^(2k+1) / (2k+1)!! (Abramowitz, Stegun, 26.2.11); absolute error below 1e-14.
fn upper_tail(z: f64) -> f64 {
    if z.abs() > 9.0 {
        return if z > 0.0 { 0.0 } else { 1.0 };
    }
    let (mut term, mut sum) = (z, 0.0);
    let mut odd = 1.0;
    while term.abs() > 1e-18 * f64::abs(sum) {
        sum += term;
        odd += 2.0;
        term *= z * z / odd;
    }
    0.5 - density(z) * sum
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn margins_are_the_mean_of_a_normal_below_zero() {
        // Standard normal below zero: -sqrt(2/π). And by summing x φ over x < 0 in steps of 1e-4, midpoints.
        assert!((margin(1.0, 0.0) + (2.0 / std::f64::consts::PI).sqrt()).abs() < 1e-14);
        for (gamma, beta) in [(0.5, 0.3), (2.0, -1.0), (1.0, 2.5), (0.1, -3.0), (1.5, -20.0)] {
            let (mut mass, mut moment) = (0.0, 0.0);
            let width = 20.0 * gamma / 400_000.0;
            for i in 0..400_000 {
                let x = beta - 10.0 * gamma + (i as f64 + 0.5) * width;
                if x < 0.0 {
                    mass += density((x - beta) / gamma);
                    moment += x * density((x - beta) / gamma);
                }
            }
            let found = batch_norm_margins(&[-gamma], &[beta])[0];
            // the step that zero cuts through
            assert!((found - moment / mass).abs() < 1e-3 * gamma, "{gamma}, {beta}: {found}, {}", moment / mass);
        }
    }

    #[test]
    fn a_channel_that_is_hardly_negative_has_three_deviations() {
        assert_eq!(batch_norm_margins(&[2.0, 0.0, 0.0], &[8.0, 1.0, -1.0]), [-6.0, 0.0, -1.0]);
    }
}
