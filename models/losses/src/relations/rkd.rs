//! Relational distillation: distances between samples, and angles among three, as the teacher has them.
//!
//! F (B, D): d_ij = ‖f_i - f_j‖, over their mean m (i ≠ j);  n_ij = (f_j - f_i) / ‖f_j - f_i‖, a_ijk = n_ij · n_ik
//! h(x) = x²/2 where |x| < 1, |x| - 1/2 beyond (Huber)
//! L = distance/B² Σ_ij h(d_ij/m - d'_ij/m') + angle/B³ Σ_ijk h(a_ijk - a'_ijk)
//! dL/dd_ij = (g_ij - Σ g d/m / N) / m with g = h'/B² and N = B (B - 1);  da/dn_ij = n_ik, and n back as a unit vector
//!
//! Park et al., "Relational knowledge distillation", CVPR 2019, equations 5 to 9; weights 25 and 50 as RepDistiller runs it (the paper: 1 to
//! 2), both sums over all indices, as its code takes the mean. Distances are at least 1e-6 there and here, and samples that are as near as
//! that push each other nowhere. Angles cost B³ D.

use serde::Deserialize;

use crate::batch::Batch;
use crate::error::LossError;
use crate::given::{Evaluated, Given, Loss};
use crate::options::not_negative;
use crate::relations::rows::{add_scaled, gram, gram_backward, normalise, pair, squared_distances};

/// The smallest distance (torchdistill, RepDistiller: square 1e-12).
const NEAREST: f64 = 1e-6;

/// Options of `rkd`.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Rkd {
    /// Weight of distances.
    #[serde(deserialize_with = "not_negative")]
    pub distance: f64,
    /// Weight of angles.
    #[serde(deserialize_with = "not_negative")]
    pub angle: f64,
}

impl Default for Rkd {
    fn default() -> Self {
        Rkd { distance: 25.0, angle: 50.0 }
    }
}

impl Loss for Rkd {
    fn evaluate(&mut self, given: &Given<'_>) -> Result<Evaluated, LossError> {
        let (s, t) = pair("rkd", given, 0)?;
        let (mut loss, mut ds) = (0.0, s.zeros_like());
        if s.samples() > 1 && self.distance > 0.0 {
            loss += distances(s, t, self.distance, &mut ds);
        }
        if s.samples() > 1 && self.angle > 0.0 {
            loss += angles(s, t, self.angle, &mut ds);
        }
        Ok(Evaluated { loss, gradients: vec![ds] })
    }
}

/// h and its slope.
fn huber(x: f64) -> (f64, f64) {
    if x.abs() < 1.0 { (0.5 * x * x, x) } else { (x.abs() - 0.5, x.signum()) }
}

/// d (B, B) and its mean beside the diagonal.
fn distances_and_mean(f: &Batch) -> (Vec<f64>, f64) {
    let n = f.samples();
    let mut d = squared_distances(f);
    for (at, d) in d.iter_mut().enumerate() {
        *d = if at / n == at % n { 0.0 } else { d.sqrt().max(NEAREST) };
    }
    let mean = d.iter().sum::<f64>() / (n * (n - 1)) as f64;
    (d, mean)
}

fn distances(s: &Batch, t: &Batch, weight: f64, ds: &mut Batch) -> f64 {
    let n = s.samples();
    let ((d_s, m_s), (d_t, m_t)) = (distances_and_mean(s), distances_and_mean(t));
    let scale = weight / (n * n) as f64;
    let mut loss = 0.0;
    let mut g = vec![0.0; n * n];
    for ((g, a), b) in g.iter_mut().zip(&d_s).zip(&d_t) {
        let (h, slope) = huber(a / m_s - b / m_t);
        loss += scale * h;
        *g = scale * slope;
    }
    let of_mean = g.iter().zip(&d_s).map(|(g, d)| g * d / m_s).sum::<f64>() / (n * (n - 1)) as f64;
    for i in 0..n {
        let ds_i = ds.sample_mut(i);
        for j in (0..n).filter(|&j| j != i && d_s[i * n + j] > NEAREST) {
            // d_ij and d_ji are one distance
            let dd = 2.0 * (g[i * n + j] - of_mean) / m_s / d_s[i * n + j];
            for ((d, a), b) in ds_i.iter_mut().zip(s.sample(i)).zip(s.sample(j)) {
                *d += dd * (a - b);
            }
        }
    }
    loss
}

/// f_j - f_i for every j.
fn seen_from(f: &Batch, i: usize) -> Batch {
    let mut seen = f.clone();
    for j in 0..f.samples() {
        add_scaled(seen.sample_mut(j), -1.0, f.sample(i));
    }
    seen
}

fn angles(s: &Batch, t: &Batch, weight: f64, ds: &mut Batch) -> f64 {
    let n = s.samples();
    let scale = weight / (n * n * n) as f64;
    let mut loss = 0.0;
    for i in 0..n {
        let (n_s, n_t) = (normalise(&seen_from(s, i)), normalise(&seen_from(t, i)));
        let (mut a_s, a_t) = (gram(&n_s.rows), gram(&n_t.rows));
        for (a, b) in a_s.iter_mut().zip(&a_t) {
            let (h, slope) = huber(*a - b);
            loss += scale * h;
            *a = scale * slope;
        }
        let seen = n_s.backward(&gram_backward(&n_s.rows, &a_s));
        for j in 0..n {
            add_scaled(ds.sample_mut(j), 1.0, seen.sample(j));
            add_scaled(ds.sample_mut(i), -1.0, seen.sample(j));
        }
    }
    loss
}
