//! Streamlined distillation: the teacher's distribution, and the direction of the difference between both sides' similarities.
//!
//! G = U Uᵀ (B, B), u = logits of length one;  D = G_s - G_t;  Σ = cov of the columns of D over its rows (unbiased), A = (Σ + λ I)⁻¹
//! L = instance · 1/B Σ_b KL(σ(t_b/T) ‖ σ(s_b/T)) + direction · 1/B Σ_i √(D_i A D_iᵀ)
//! with m_i the root: dD_i = A D_i / (B m_i) directly;  dA = Σ_i D_i D_iᵀ / (2 B m_i), dΣ = -A dA A, dD += 2/(B-1) D_centred dΣ
//!
//! Jeong, Lee, Choi, "Streamlined knowledge distillation", CVPR 2026, as torchdistill 1.1.5 reads the paper (SKDInstanceLoss and
//! SKDDirectionLoss, mode 'paper', no factor T²); λ = 0.1 is that of the authors' code. The paper itself was not read, so the weights of
//! the two terms (1 and 1) are not its. With one sample there is no covariance: Σ = 0. A row without difference gets no gradient.

use serde::Deserialize;

use crate::batch::Batch;
use crate::error::LossError;
use crate::given::{Evaluated, Given, Loss};
use crate::logits::soft::{dense_logits, tempered};
use crate::logits::target::Target;
use crate::options::{not_negative, positive};
use crate::relations::rows::{LEAST, add_scaled, dot, gram, gram_backward, normalise};

/// Options of `skd`.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Skd {
    /// T
    #[serde(deserialize_with = "positive")]
    pub temperature: f64,
    /// λ
    #[serde(deserialize_with = "positive")]
    pub tikhonov: f64,
    /// Weight of the divergence.
    #[serde(deserialize_with = "not_negative")]
    pub instance: f64,
    /// Weight of the distance.
    #[serde(deserialize_with = "not_negative")]
    pub direction: f64,
}

impl Default for Skd {
    fn default() -> Self {
        Skd { temperature: 4.0, tikhonov: 0.1, instance: 1.0, direction: 1.0 }
    }
}

impl Loss for Skd {
    fn evaluate(&mut self, given: &Given<'_>) -> Result<Evaluated, LossError> {
        let (s, t) = dense_logits("skd", given)?;
        let n = s.samples();
        let u = normalise(s);
        let mut d = gram(&u.rows);
        add_scaled(&mut d, -1.0, &gram(&normalise(t).rows));
        let (distance, dd) = mahalanobis(&Batch::new(&[n], d), self.tikhonov);
        let dd: Vec<f64> = dd.iter().map(|d| self.direction * d).collect();
        let mut ds = u.backward(&gram_backward(&u.rows, &dd));
        let mut loss = self.direction * distance;
        for b in 0..n {
            let target = Target::dense(t.sample(b), self.temperature);
            let (kl, dz) = target.kl(&tempered(s.sample(b), self.temperature));
            loss += self.instance / n as f64 * kl;
            add_scaled(ds.sample_mut(b), self.instance / (n as f64 * self.temperature), &dz);
        }
        Ok(Evaluated { loss, gradients: vec![ds] })
    }
}

/// 1/B Σ √(D_i A D_iᵀ) and its gradient with respect to D (B, B).
fn mahalanobis(d: &Batch, tikhonov: f64) -> (f64, Vec<f64>) {
    let n = d.samples();
    let over = 1.0 / (n.max(2) - 1) as f64;
    let mut centred = d.clone();
    for j in 0..n {
        let mean = (0..n).map(|i| d.sample(i)[j]).sum::<f64>() / n as f64;
        (0..n).for_each(|i| centred.sample_mut(i)[j] -= mean);
    }
    // Σ + λ I, columns of D are the variables
    let mut sigma = vec![0.0; n * n];
    for i in 0..n {
        let row = centred.sample(i);
        sigma.chunks_mut(n).zip(row).for_each(|(sigma_j, &c)| add_scaled(sigma_j, over * c, row));
    }
    (0..n).for_each(|j| sigma[j * n + j] += tikhonov);
    let factor = cholesky(sigma, n);

    let mut loss = 0.0;
    // Rows: y_i = A D_i
    let mut dd = vec![0.0; n * n];
    let mut d_sigma = vec![0.0; n * n];
    for i in 0..n {
        let y = solve(&factor, n, d.sample(i));
        let m = dot(d.sample(i), &y).max(0.0).sqrt();
        loss += m / n as f64;
        if m > LEAST {
            add_scaled(&mut dd[i * n..][..n], 1.0 / (n as f64 * m), &y);
            // -A (D_i D_iᵀ) A / (2 B m_i) = -y yᵀ / (2 B m_i)
            let scale = -1.0 / (2.0 * n as f64 * m);
            d_sigma.chunks_mut(n).zip(&y).for_each(|(row, &y_j)| add_scaled(row, scale * y_j, &y));
        }
    }
    for i in 0..n {
        for (j, &c) in centred.sample(i).iter().enumerate() {
            add_scaled(&mut dd[i * n..][..n], 2.0 * over * c, &d_sigma[j * n..][..n]);
        }
    }
    (loss, dd)
}

/// L of L Lᵀ = a (n, n), a symmetric and at least λ above singular.
fn cholesky(mut a: Vec<f64>, n: usize) -> Vec<f64> {
    for i in 0..n {
        for j in 0..=i {
            let sum = a[i * n + j] - dot(&a[i * n..][..j], &a[j * n..][..j]);
            a[i * n + j] = if i == j { sum.sqrt() } else { sum / a[j * n + j] };
        }
    }
    a
}

/// x of L Lᵀ x = b.
fn solve(l: &[f64], n: usize, b: &[f64]) -> Vec<f64> {
    let mut x = b.to_vec();
    for i in 0..n {
        x[i] = (x[i] - dot(&l[i * n..][..i], &x[..i])) / l[i * n + i];
    }
    for i in (0..n).rev() {
        let below: f64 = (i + 1..n).map(|k| l[k * n + i] * x[k]).sum();
        x[i] = (x[i] - below) / l[i * n + i];
    }
    x
}
