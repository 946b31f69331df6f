//! Attention transfer.
//!
//! F (B, C, H, W) → a = Σ_c |F_c|^p (B, H·W) → q = a / ‖a‖₂
//! form "code":  L = 1/(B·H·W) Σ (q_s - q_t)²
//! form "paper": L = 1/B Σ_b ‖q_s - q_t‖₂
//!
//! Zagoruyko, Komodakis, "Paying more attention to attention", ICLR 2017, equation 2 ("paper") and the authors' `at_loss` ("code",
//! which has mean for Σ_c; the normalisation takes the difference away). The two differ by more than a factor; torchdistill's
//! `ATLoss` has both as `mode`. Weight 1000 with "code".
//!
//! The teacher is a map of features, or an attention map (1, H, W) that `limbeck teach` has reduced already: its values are a_t, with the p
//! of this loss. One channel does not tell them apart, so the option `teacher` says which.

use std::num::NonZeroU8;

use serde::Deserialize;

use super::matched::{Matched, Resize};
use super::normalize::{normalize, normalize_backward};
use crate::batch::Batch;
use crate::error::LossError;
use crate::given::{Evaluated, Given, Loss};

const KIND: &str = "at";

/// How the difference becomes a number.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AtForm {
    /// Mean of the squared difference.
    #[default]
    Code,
    /// Length of the difference.
    Paper,
}

/// What the teacher's key holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AtTeacher {
    /// a_t, (1, H, W).
    #[default]
    Attention,
    /// F_t, (C, H, W) with any C.
    Features,
}

/// Options of `at`.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct At {
    /// Which formula.
    pub form: AtForm,
    /// The power p.
    pub p: NonZeroU8,
    /// What the teacher's key holds.
    pub teacher: AtTeacher,
    /// Where heights or widths differ. What is pooled is what is given: features before they become attention.
    pub resize: Resize,
}

impl Default for At {
    fn default() -> Self {
        At {
            form: AtForm::Code,
            p: NonZeroU8::MIN.saturating_add(1),
            teacher: AtTeacher::Attention,
            resize: Resize::Pool,
        }
    }
}

impl At {
    /// The head of the answers file that it reads.
    pub(crate) fn head(&self) -> &'static str {
        match self.teacher {
            AtTeacher::Attention => "attention",
            AtTeacher::Features => "feat",
        }
    }
}

impl Loss for At {
    fn evaluate(&mut self, given: &Given<'_>) -> Result<Evaluated, LossError> {
        let maps = Matched::new(KIND, given, 0, self.resize)?;
        if self.teacher == AtTeacher::Attention && maps.t.dims[0] != 1 {
            let why = format!(
                "the teacher's key has {} channels, and an attention map has one; set teacher = \"features\", or add the head `attention`",
                maps.t.dims[0]
            );
            return Err(LossError::Shapes { kind: KIND, why });
        }
        let (samples, p) = (maps.s.samples(), u32::from(self.p.get()));
        let pixels = maps.s.channels_and_pixels().1;
        let mut ds = maps.s.zeros_like();
        let mut loss = 0.0;
        for b in 0..samples {
            let mut q_s = attention(&maps.s, b, p);
            let mut q_t = match self.teacher {
                AtTeacher::Attention => maps.t.sample(b).to_vec(),
                AtTeacher::Features => attention(&maps.t, b, p),
            };
            let norm = normalize(&mut q_s);
            normalize(&mut q_t);
            let mut dq: Vec<f64> = q_s.iter().zip(&q_t).map(|(s, t)| s - t).collect();
            let square: f64 = dq.iter().map(|d| d * d).sum();
            let slope = match self.form {
                AtForm::Code => {
                    let count = (samples * pixels) as f64;
                    loss += square / count;
                    2.0 / count
                }
                AtForm::Paper => {
                    loss += square.sqrt() / samples as f64;
                    if square > 0.0 { 1.0 / (square.sqrt() * samples as f64) } else { 0.0 }
                }
            };
            dq.iter_mut().for_each(|d| *d *= slope);
            normalize_backward(&q_s, norm, &mut dq);
            // a = Σ_c |F_c|^p:  dF = da p |F|^(p-1) sign F
            for (ds_c, s_c) in ds.sample_mut(b).chunks_exact_mut(pixels).zip(maps.s.sample(b).chunks_exact(pixels)) {
                for ((d, &s), da) in ds_c.iter_mut().zip(s_c).zip(&dq) {
                    let sign = if s == 0.0 { 0.0 } else { s.signum() };
                    *d = da * p as f64 * power(s.abs(), p - 1) * sign;
                }
            }
        }
        Ok(Evaluated { loss, gradients: vec![maps.tap_gradient(ds)] })
    }
}

/// a of sample `b`, (H·W).
fn attention(x: &Batch, b: usize, p: u32) -> Vec<f64> {
    let mut a = vec![0.0; x.channels_and_pixels().1];
    for x_c in x.sample(b).chunks_exact(a.len()) {
        for (a, x) in a.iter_mut().zip(x_c) {
            *a += power(x.abs(), p);
        }
    }
    a
}

/// x^p by multiplication: the same bits everywhere.
fn power(x: f64, p: u32) -> f64 {
    (0..p).fold(1.0, |product, _| product * x)
}
