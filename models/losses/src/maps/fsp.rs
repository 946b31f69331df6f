//! Flow of solution procedure: how two layers vary together.
//!
//! two taps F₁ (B, C₁, H₁, W₁), F₂ (B, C₂, H₂, W₂), pooled to h = min(H₁, H₂), w = min(W₁, W₂)
//! G = F₁ F₂ᵀ / (h·w)  (B, C₁, C₂)
//! form "mean-square": average pooling,  L = 1/(B·C₁·C₂) Σ (G_s - G_t)²
//! form "column-norm": maximum pooling,  L = 1/B Σ_b Σ_c₂ ‖(G_s - G_t)[:, c₂]‖₂
//!
//! Yim, Joo, Bae, Kim, "A gift from knowledge distillation", CVPR 2017, equations 1 and 2. "mean-square" is RepDistiller's
//! reduction and pooling (weight 50), "column-norm" torchdistill's `FSPLoss`. Student and teacher have the same channels at both
//! layers; their heights and widths may differ, G does not see them.

use std::borrow::Cow;

use serde::Deserialize;

use super::matched::{student, teacher};
use super::pool::{average, average_backward, chw, maximum, maximum_backward};
use crate::batch::Batch;
use crate::error::LossError;
use crate::given::{Evaluated, Given, Loss};

const KIND: &str = "fsp";

/// How layers of different sizes meet, and how the difference becomes a number.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FspForm {
    /// Average pooling, mean of squares.
    #[default]
    MeanSquare,
    /// Maximum pooling, sum of the lengths of the columns.
    ColumnNorm,
}

/// Options of `fsp`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Fsp {
    /// Which formula.
    pub form: FspForm,
}

impl Loss for Fsp {
    fn evaluate(&mut self, given: &Given<'_>) -> Result<Evaluated, LossError> {
        let s = [student(KIND, given, 0)?, student(KIND, given, 1)?];
        let t = [teacher(KIND, given, 0)?, teacher(KIND, given, 1)?];
        let channels = |f: &[Cow<'_, Batch>; 2]| (f[0].dims[0], f[1].dims[0]);
        if channels(&s) != channels(&t) || s[0].samples() != s[1].samples() {
            let why = format!(
                "the student's two taps have {:?} channels and {} and {} samples, the teacher's two keys {:?} channels; \
                 put connector = \"conv1x1\" at the student's taps",
                channels(&s),
                s[0].samples(),
                s[1].samples(),
                channels(&t)
            );
            return Err(LossError::Shapes { kind: KIND, why });
        }
        let (s, t) = (Flow::new(self.form, s), Flow::new(self.form, t));
        let (g_s, g_t) = (s.matrix(), t.matrix());
        let samples = g_s.samples() as f64;
        let mut dg = g_s.zeros_like();
        let mut loss = 0.0;
        match self.form {
            FspForm::MeanSquare => {
                let count = g_s.values.len() as f64;
                for ((d, s), t) in dg.values.iter_mut().zip(&g_s.values).zip(&g_t.values) {
                    loss += (s - t) * (s - t) / count;
                    *d = 2.0 * (s - t) / count;
                }
            }
            FspForm::ColumnNorm => {
                let columns = g_s.dims[1];
                for b in 0..g_s.samples() {
                    let (s_b, t_b) = (g_s.sample(b), g_t.sample(b));
                    for column in 0..columns {
                        let places = || (column..s_b.len()).step_by(columns);
                        let norm = places().map(|i| (s_b[i] - t_b[i]) * (s_b[i] - t_b[i])).sum::<f64>().sqrt();
                        loss += norm / samples;
                        if norm > 0.0 {
                            places().for_each(|i| dg.sample_mut(b)[i] = (s_b[i] - t_b[i]) / (norm * samples));
                        }
                    }
                }
            }
        }
        let mut gradients = s.backward(&dg);
        for (gradient, tap) in gradients.iter_mut().zip(given.student) {
            gradient.dims.clone_from(&tap.dims);
        }
        Ok(Evaluated { loss, gradients })
    }
}

/// Two layers at one size.
struct Flow<'a> {
    layers: [Cow<'a, Batch>; 2],
    /// Height, width and, where maximum pooling took values, which, for each layer.
    before: [([usize; 2], Option<Vec<usize>>); 2],
}

impl<'a> Flow<'a> {
    fn new(form: FspForm, layers: [Cow<'a, Batch>; 2]) -> Flow<'a> {
        let ([_, h_1, w_1], [_, h_2, w_2]) = (chw(&layers[0]), chw(&layers[1]));
        let (h, w) = (h_1.min(h_2), w_1.min(w_2));
        let at_size = |x: Cow<'a, Batch>| {
            let [_, x_h, x_w] = chw(&x);
            let (pooled, places) = match form {
                _ if (x_h, x_w) == (h, w) => (x, None),
                FspForm::MeanSquare => (Cow::Owned(average(&x, h, w)), None),
                FspForm::ColumnNorm => {
                    let (pooled, places) = maximum(&x, h, w);
                    (Cow::Owned(pooled), Some(places))
                }
            };
            (pooled, ([x_h, x_w], places))
        };
        let [first, second] = layers.map(at_size);
        Flow { layers: [first.0, second.0], before: [first.1, second.1] }
    }

    /// G (B, C₁, C₂)
    fn matrix(&self) -> Batch {
        let [first, second] = &self.layers;
        let pixels = first.channels_and_pixels().1;
        let mut g = Vec::with_capacity(first.samples() * first.dims[0] * second.dims[0]);
        for b in 0..first.samples() {
            for f_1 in first.sample(b).chunks_exact(pixels) {
                for f_2 in second.sample(b).chunks_exact(pixels) {
                    g.push(f_1.iter().zip(f_2).map(|(a, b)| a * b).sum::<f64>() / pixels as f64);
                }
            }
        }
        Batch { dims: vec![first.dims[0], second.dims[0]], values: g }
    }

    /// The gradients of both layers, as they were before pooling.
    fn backward(&self, dg: &Batch) -> Vec<Batch> {
        let [first, second] = &self.layers;
        let pixels = first.channels_and_pixels().1;
        let (mut d_1, mut d_2) = (first.zeros_like(), second.zeros_like());
        for b in 0..first.samples() {
            let mut dg_b = dg.sample(b).iter().map(|d| d / pixels as f64);
            for (f_1, d_1) in first.sample(b).chunks_exact(pixels).zip(d_1.sample_mut(b).chunks_exact_mut(pixels)) {
                let seconds = second.sample(b).chunks_exact(pixels).zip(d_2.sample_mut(b).chunks_exact_mut(pixels));
                for ((f_2, d_2), d) in seconds.zip(dg_b.by_ref()) {
                    for i in 0..pixels {
                        d_1[i] += d * f_2[i];
                        d_2[i] += d * f_1[i];
                    }
                }
            }
        }
        let unpooled = |d: Batch, ([h, w], places): &([usize; 2], Option<Vec<usize>>)| match places {
            Some(places) => maximum_backward(&d, places, *h, *w),
            None if d.dims[1..] == [*h, *w] => d,
            None => average_backward(&d, *h, *w),
        };
        vec![unpooled(d_1, &self.before[0]), unpooled(d_2, &self.before[1])]
    }
}
