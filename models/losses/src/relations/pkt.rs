//! Probabilistic knowledge transfer: which samples of the batch are likely neighbours.
//!
//! F (B, D), u = f / (‖f‖ + ε), K_ij = (u_i·u_j + 1) / 2, P = K with rows divided by their sums
//! L = 1/B² Σ_ij P_t,ij ln((P_t,ij + ε) / (P_s,ij + ε)),  ε = 1e-7
//! dL/dP_s = -P_t / (B² (P_s + ε))
//!
//! Passalis, Tefas, "Learning deep representations with probabilistic knowledge transfer", ECCV 2018, equations 3 to 7, cosine kernel as in
//! its authors' code; the mean over all pairs is RepDistiller's (weight 30000). A vector of length zero gets no gradient.

use serde::Deserialize;

use crate::batch::Batch;
use crate::error::LossError;
use crate::given::{Evaluated, Given, Loss};
use crate::options::positive;
use crate::relations::rows::{LEAST, dot, gram, gram_backward, pair};

/// Options of `pkt`.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Pkt {
    /// ε
    #[serde(deserialize_with = "positive")]
    pub epsilon: f64,
}

impl Default for Pkt {
    fn default() -> Self {
        Pkt { epsilon: 1e-7 }
    }
}

/// What becomes of one side.
struct Neighbours {
    /// u
    unit: Batch,
    /// ‖f‖
    lengths: Vec<f64>,
    /// P
    likely: Vec<f64>,
    /// Row sums of K
    sums: Vec<f64>,
}

impl Pkt {
    fn neighbours(&self, f: &Batch) -> Neighbours {
        let n = f.samples();
        let lengths: Vec<f64> = (0..n).map(|b| dot(f.sample(b), f.sample(b)).sqrt()).collect();
        let mut unit = f.clone();
        for (b, length) in lengths.iter().enumerate() {
            unit.sample_mut(b).iter_mut().for_each(|v| *v /= length + self.epsilon);
        }
        let mut likely: Vec<f64> = gram(&unit).iter().map(|g| (g + 1.0) / 2.0).collect();
        let mut sums = Vec::with_capacity(n);
        for row in likely.chunks_mut(n) {
            let sum: f64 = row.iter().sum();
            row.iter_mut().for_each(|k| *k /= sum);
            sums.push(sum);
        }
        Neighbours { unit, lengths, likely, sums }
    }
}

impl Loss for Pkt {
    fn evaluate(&mut self, given: &Given<'_>) -> Result<Evaluated, LossError> {
        let (s, t) = pair("pkt", given, 0)?;
        let n = s.samples();
        let (of_s, of_t) = (self.neighbours(s), self.neighbours(t));
        let scale = 1.0 / (n * n) as f64;
        let mut loss = 0.0;
        let mut dg = vec![0.0; n * n];
        for (i, dg_i) in dg.chunks_mut(n).enumerate() {
            let (p_s, p_t) = (&of_s.likely[i * n..][..n], &of_t.likely[i * n..][..n]);
            for ((d, s), t) in dg_i.iter_mut().zip(p_s).zip(p_t) {
                loss += scale * t * ((t + self.epsilon) / (s + self.epsilon)).ln();
                *d = -scale * t / (s + self.epsilon);
            }
            // P = K / ΣK, K = (G + 1) / 2
            let along = dot(dg_i, p_s);
            dg_i.iter_mut().for_each(|d| *d = 0.5 * (*d - along) / of_s.sums[i]);
        }
        let du = gram_backward(&of_s.unit, &dg);
        let mut ds = s.zeros_like();
        for (b, &length) in of_s.lengths.iter().enumerate().filter(|&(_, &length)| length > LEAST) {
            // u = f / (‖f‖ + ε):  df = du / (‖f‖ + ε) - f (u·du) / (‖f‖ (‖f‖ + ε))
            let along = dot(of_s.unit.sample(b), du.sample(b)) / length;
            for ((d, du), f) in ds.sample_mut(b).iter_mut().zip(du.sample(b)).zip(s.sample(b)) {
                *d = (du - f * along) / (length + self.epsilon);
            }
        }
        Ok(Evaluated { loss, gradients: vec![ds] })
    }
}
