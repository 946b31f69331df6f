//! Decoupled knowledge distillation: the true class against all others, and the others among themselves, each with its own weight.
//!
//! s, t (B, C), y (B);  b = [p_y, 1 - p_y],  p̂ = softmax over the other classes, all at temperature T
//! L = w T²/B Σ [α KL(b_t ‖ b_s) + β KL(p̂_t ‖ p̂_s)],   w = min((epoch + 1) / warm_up, 1), epochs from 0
//! with z = s/T:  dKL(b)/dz_y = q_y - p_y,  dKL(b)/dz_c = q_c - (1 - p_y) q̂_c;   dKL(p̂)/dz_c = q̂_c - p̂_c
//!
//! Zhao et al., "Decoupled knowledge distillation", CVPR 2022, equations 6 and 7; defaults of its CIFAR configuration (for ImageNet
//! β = 0.5, T = 1, one epoch of warm-up). A top-K answer must list the true class; its tail bucket is one of the other classes. With
//! α = 1 and β = 1 - p_t,y a sample's loss is its `kd`.

use serde::Deserialize;

use crate::error::LossError;
use crate::given::{Evaluated, Given, Loss, Progress};
use crate::logits::soft::{label, log_softmax, log_sum_exp, logits, tempered};
use crate::logits::target::{Tail, Target};
use crate::options::{not_negative, positive};

/// Options of `dkd`.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Dkd {
    /// T
    #[serde(deserialize_with = "positive")]
    pub temperature: f64,
    /// Weight of the true class against all others.
    #[serde(deserialize_with = "not_negative")]
    pub alpha: f64,
    /// Weight of the others among themselves.
    #[serde(deserialize_with = "not_negative")]
    pub beta: f64,
    /// Epochs until the loss has its full weight; 0 is at once.
    #[serde(deserialize_with = "not_negative")]
    pub warm_up: f64,
    /// What the classes that are not listed become.
    pub tail: Tail,
}

impl Default for Dkd {
    fn default() -> Self {
        Dkd { temperature: 4.0, alpha: 1.0, beta: 8.0, warm_up: 20.0, tail: Tail::Bucket }
    }
}

impl Dkd {
    /// w
    fn weight(&self, progress: Progress) -> f64 {
        let epoch = progress.step / progress.epoch_steps.max(1) + 1;
        if self.warm_up > 0.0 { (epoch as f64 / self.warm_up).min(1.0) } else { 1.0 }
    }
}

impl Loss for Dkd {
    fn evaluate(&mut self, given: &Given<'_>) -> Result<Evaluated, LossError> {
        const KIND: &str = "dkd";
        let (s, teacher) = logits(KIND, given)?;
        if s.len() < 2 {
            return Err(LossError::Shapes { kind: KIND, why: "needs at least two classes".into() });
        }
        let (mut loss, mut ds) = (0.0, s.zeros_like());
        let scale = self.weight(given.progress) / s.samples() as f64;
        for b in 0..s.samples() {
            let y = label(KIND, given, b, s.len())?;
            let target = Target::of(KIND, teacher, b, self.temperature, self.tail)?;
            let Some(ln_p_y) = target.ln_p(y) else {
                let why = format!("needs the true class {y} of sample {} among the listed logits", given.samples[b]);
                let head = "--head logits:dense".to_owned();
                return Err(LossError::Head { kind: KIND, why, head });
            };
            let z = tempered(s.sample(b), self.temperature);
            let ln_q = log_softmax(&z);
            let mut others = z.clone();
            others.remove(y);
            // ln of what is left beside the true class, without 1 - p
            let ln_rest = |ln: &mut dyn Iterator<Item = f64>| log_sum_exp(ln.collect::<Vec<_>>().into_iter());
            let kept = target.listed.iter().filter(|&&(c, _)| c != y).map(|&(_, ln_p)| ln_p);
            let ln_p_rest = ln_rest(&mut kept.chain(target.tail));
            let ln_q_rest = ln_rest(&mut (0..z.len()).filter(|&c| c != y).map(|c| ln_q[c]));

            let (p_y, p_rest) = (ln_p_y.exp(), ln_p_rest.exp());
            let term = |p: f64, ln_p: f64, ln_q: f64| if p > 0.0 { p * (ln_p - ln_q) } else { 0.0 };
            let of_true = term(p_y, ln_p_y, ln_q[y]) + term(p_rest, ln_p_rest, ln_q_rest);
            let (of_others, d_others) = target.without(y).kl(&others);

            loss += scale * self.temperature * self.temperature * (self.alpha * of_true + self.beta * of_others);
            for (c, d) in ds.sample_mut(b).iter_mut().enumerate() {
                let q = ln_q[c].exp();
                let dz = if c == y {
                    self.alpha * (q - p_y)
                } else {
                    self.alpha * (q - p_rest * (ln_q[c] - ln_q_rest).exp()) + self.beta * d_others[c - (c > y) as usize]
                };
                *d = scale * self.temperature * dz;
            }
        }
        Ok(Evaluated { loss, gradients: vec![ds] })
    }
}
