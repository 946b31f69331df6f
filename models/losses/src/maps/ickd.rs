//! Inter-channel correlation: which channels of a map vary together.
//!
//! F (B, C, H·W) → E = F Fᵀ (B, C, C), each row at length one: Ê
//! reduction "mean":       L = 1/(B·C) Σ (Ê_s - Ê_t)²
//! reduction "mean-twice": L = 1/(B²·C) Σ (Ê_s - Ê_t)²
//!
//! Liu, Huang, Lin, Xie, Wang, Chang, Liang, "Exploring inter-channel correlation for diversity-preserved knowledge
//! distillation", ICCV 2021. "mean" is the reduction of most programs after the paper; "mean-twice", which divides by the batch
//! again, that of the authors' program for ImageNet and torchdistill's `ChSimLoss`. Heights and widths of student and teacher may differ.

use serde::Deserialize;

use super::matched::{same_channels, student, teacher};
use super::normalize::{normalize, normalize_backward};
use crate::batch::Batch;
use crate::error::LossError;
use crate::given::{Evaluated, Given, Loss};

const KIND: &str = "ickd";

/// What the sum of squares is divided by.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum IckdReduction {
    /// B·C
    #[default]
    Mean,
    /// B²·C
    MeanTwice,
}

/// Options of `ickd`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Ickd {
    /// Which divisor.
    pub reduction: IckdReduction,
}

impl Loss for Ickd {
    fn evaluate(&mut self, given: &Given<'_>) -> Result<Evaluated, LossError> {
        let (s, t) = (student(KIND, given, 0)?, teacher(KIND, given, 0)?);
        same_channels(KIND, &s, &t)?;
        let (channels, pixels) = s.channels_and_pixels();
        let samples = s.samples();
        let by = match self.reduction {
            IckdReduction::Mean => samples * channels,
            IckdReduction::MeanTwice => samples * samples * channels,
        } as f64;
        let mut ds = s.zeros_like();
        let mut loss = 0.0;
        for b in 0..samples {
            let ((e_s, norms), (e_t, _)) = (correlation(&s, b), correlation(&t, b));
            let mut de: Vec<f64> = e_s.iter().zip(&e_t).map(|(s, t)| s - t).collect();
            loss += de.iter().map(|d| d * d).sum::<f64>() / by;
            de.iter_mut().for_each(|d| *d *= 2.0 / by);
            for ((de, e), &norm) in de.chunks_exact_mut(channels).zip(e_s.chunks_exact(channels)).zip(&norms) {
                normalize_backward(e, norm, de);
            }
            // E = F Fᵀ:  dF = (dE + dEᵀ) F
            for (i, d) in ds.sample_mut(b).chunks_exact_mut(pixels).enumerate() {
                for (j, f) in s.sample(b).chunks_exact(pixels).enumerate() {
                    let by = de[i * channels + j] + de[j * channels + i];
                    d.iter_mut().zip(f).for_each(|(d, f)| *d += by * f);
                }
            }
        }
        Ok(Evaluated { loss, gradients: vec![Batch { dims: given.student[0].dims.clone(), values: ds.values }] })
    }
}

/// Ê of sample `b`, and what the lengths of its rows were.
fn correlation(x: &Batch, b: usize) -> (Vec<f64>, Vec<f64>) {
    let (channels, pixels) = x.channels_and_pixels();
    let rows = || x.sample(b).chunks_exact(pixels);
    let dot = |(x, y): (&[f64], &[f64])| x.iter().zip(y).map(|(x, y)| x * y).sum::<f64>();
    let mut e: Vec<f64> = rows().flat_map(|x| rows().map(move |y| (x, y))).map(dot).collect();
    let norms = e.chunks_exact_mut(channels).map(normalize).collect();
    (e, norms)
}
