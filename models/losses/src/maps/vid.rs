//! Variational information distillation: the teacher's map as a normal distribution whose mean and variances the student says.
//!
//! taps μ (B, C, H, W) and ρ (B, C), teacher t (B, C, H, W) → v = ln(1 + e^ρ) + 1e-5
//! L = 1/(B·C·H·W) Σ ½ [(μ - t)² / v + ln v]
//! dμ = (μ - t) / v / (B·C·H·W),  dρ = σ(ρ) Σ_hw ½ [1/v - (μ - t)² / v²] / (B·C·H·W)
//!
//! Ahn, Hu, Damianou, Lawrence, Dai, "Variational information distillation for knowledge transfer", CVPR 2019;
//! floor of the variance and reduction are RepDistiller's and torchdistill's. μ is the output of the regressor (three 1×1
//! convolutions), which belongs to the student's graph. ρ is one parameter a channel, repeated for each sample: the graph that
//! repeats it sums its gradients.
//! The variance begins at 5: ρ = [`Vid::rho`]`(5.0)`. The loss may be negative.

use serde::Deserialize;

use super::matched::{Matched, Resize, same_channels, student};
use crate::error::LossError;
use crate::given::{Evaluated, Given, Loss};

const KIND: &str = "vid";
/// The smallest variance.
const FLOOR: f64 = 1e-5;

/// Options of `vid`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Vid {
    /// Where heights or widths of μ and t differ.
    pub resize: Resize,
}

impl Vid {
    /// The ρ of a variance, which must be more than 1e-5.
    pub fn rho(variance: f64) -> f64 {
        (variance - FLOOR).exp_m1().ln()
    }
}

impl Loss for Vid {
    fn evaluate(&mut self, given: &Given<'_>) -> Result<Evaluated, LossError> {
        let maps = Matched::new(KIND, given, 0, self.resize)?;
        same_channels(KIND, &maps.s, &maps.t)?;
        let rho = student(KIND, given, 1)?;
        let (channels, pixels) = maps.s.channels_and_pixels();
        if rho.dims != [channels, 1, 1] || rho.samples() != maps.s.samples() {
            let why = format!(
                "the first tap has {channels} channels and {} samples, and the second, ρ, the shape {:?} and {} samples; \
                 it is one value a channel: put connector = \"vid\" at the student's tap",
                maps.s.samples(),
                given.student[1].dims,
                rho.samples()
            );
            return Err(LossError::Shapes { kind: KIND, why });
        }
        let (mut dmu, mut drho) = (maps.s.zeros_like(), given.student[1].zeros_like());
        let count = dmu.values.len() as f64;
        let mut loss = 0.0;
        let each = maps.s.values.chunks_exact(pixels).zip(maps.t.values.chunks_exact(pixels));
        let gradients = dmu.values.chunks_exact_mut(pixels).zip(&mut drho.values);
        for (((mu, t), (dmu, drho)), &rho) in each.zip(gradients).zip(&rho.values) {
            // softplus and its slope, where e^ρ would not fit as well
            let v = rho.max(0.0) + (-rho.abs()).exp().ln_1p() + FLOOR;
            let slope = if rho >= 0.0 { 1.0 / (1.0 + (-rho).exp()) } else { rho.exp() / (1.0 + rho.exp()) };
            let mut dv = 0.0;
            for ((mu, t), dmu) in mu.iter().zip(t).zip(dmu) {
                let difference = mu - t;
                loss += 0.5 * (difference * difference / v + v.ln()) / count;
                *dmu = difference / v / count;
                dv += 0.5 * (1.0 / v - difference * difference / (v * v)) / count;
            }
            *drho = dv * slope;
        }
        Ok(Evaluated { loss, gradients: vec![maps.tap_gradient(dmu), drho] })
    }
}
