//! What a teacher holds likely, as bins: one a class that it names, one for all others together.
//!
//! bins k with ln p_k; q = softmax(z) (C)
//! KL = Σ_k p_k ln(p_k / q_k) + p_tail ln(p_tail / q_tail),   q_tail = Σ q_c over the classes that are not named
//! d/dz_c = q_c Σp - p_c  (c named),   q_c Σp - p_tail q_c / q_tail  (others)
//!
//! Only the tail bucket is a lower bound of the full KL that is zero where both agree; `uniform` and `renormalise` are what other
//! implementations do with the K largest logits. Reference: distillation notes, section 4.1.

use serde::Deserialize;

use crate::batch::TopKBatch;
use crate::error::LossError;
use crate::given::Teacher;
use crate::logits::soft::{log_softmax, log_sum_exp, tempered};

/// What is made of the classes that a top-K answer does not list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Tail {
    /// One more class, with the probability that all of them have together.
    #[default]
    Bucket,
    /// That probability in equal parts (FKD, TinyViT).
    Uniform,
    /// Nothing: the listed probabilities are divided by their sum.
    Renormalise,
}

/// A distribution over bins.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Target {
    /// (class, ln p); every class at most once.
    pub listed: Vec<(usize, f64)>,
    /// ln p of all classes that are not listed.
    pub tail: Option<f64>,
}

impl Target {
    /// softmax(z / T) over all classes.
    pub fn dense(z: &[f64], temperature: f64) -> Target {
        Target { listed: log_softmax(&tempered(z, temperature)).into_iter().enumerate().collect(), tail: None }
    }

    /// What the teacher says of sample `b` at temperature T.
    pub fn of(
        kind: &'static str,
        teacher: &Teacher,
        b: usize,
        temperature: f64,
        tail: Tail,
    ) -> Result<Target, LossError> {
        match teacher {
            Teacher::Dense(t) => Ok(Target::dense(t.sample(b), temperature)),
            Teacher::TopK(t) => Target::top_k(kind, t, b, temperature, tail),
        }
    }

    fn top_k(kind: &'static str, t: &TopKBatch, b: usize, temperature: f64, tail: Tail) -> Result<Target, LossError> {
        let row = b * t.k..(b + 1) * t.k;
        let index = t.index[row.clone()].iter().map(|&c| c as usize);
        if let Some(c) = index.clone().find(|&c| c >= t.classes) {
            return Err(LossError::Shapes { kind, why: format!("an answer lists class {c} of {}", t.classes) });
        }
        let z = tempered(&t.z[row], temperature);
        let ln_tail = match (tail, TopKBatch::TEMPERATURES.iter().position(|&known| known == temperature)) {
            _ if t.k == t.classes => f64::NEG_INFINITY,
            (Tail::Renormalise, _) => f64::NEG_INFINITY,
            (_, Some(i)) => t.tail_lse[b * TopKBatch::TEMPERATURES.len() + i],
            (_, None) => {
                let why = format!(
                    "needs all {} logits of an answer at temperature {temperature}: with the largest {} the rest is known at 1, 2 and 4 only",
                    t.classes, t.k
                );
                return Err(LossError::Head { kind, why, head: "--head logits:dense".into() });
            }
        };
        let lse = log_sum_exp(z.iter().copied().chain([ln_tail]));
        let mut listed: Vec<(usize, f64)> = index.zip(z.iter().map(|z| z - lse)).collect();
        let others = t.classes - t.k;
        let bucket = (others > 0 && tail != Tail::Renormalise).then_some(ln_tail - lse);
        let Some(ln_p) = bucket.filter(|_| tail == Tail::Uniform) else {
            return Ok(Target { listed, tail: bucket });
        };
        let mut named = vec![false; t.classes];
        listed.iter().for_each(|&(c, _)| named[c] = true);
        let each = ln_p - (others as f64).ln();
        listed.extend((0..t.classes).filter(|&c| !named[c]).map(|c| (c, each)));
        Ok(Target { listed, tail: None })
    }

    /// ln p of class `y`, if it is listed.
    pub fn ln_p(&self, y: usize) -> Option<f64> {
        self.listed.iter().find(|&&(c, _)| c == y).map(|&(_, ln_p)| ln_p)
    }

    /// The distribution over all other classes, numbered as if `y` did not exist.
    pub fn without(&self, y: usize) -> Target {
        let kept = self.listed.iter().filter(|&&(c, _)| c != y);
        let lse = log_sum_exp(kept.clone().map(|&(_, ln_p)| ln_p).chain(self.tail));
        let less = |ln_p: f64| if lse == f64::NEG_INFINITY { lse } else { ln_p - lse };
        Target {
            listed: kept.map(|&(c, ln_p)| (c - (c > y) as usize, less(ln_p))).collect(),
            tail: self.tail.map(less),
        }
    }

    /// KL(target ‖ softmax(z)) and its d/dz.
    pub fn kl(&self, z: &[f64]) -> (f64, Vec<f64>) {
        self.divergence(z, |ln_p, ln_q| ln_p - ln_q)
    }

    /// Cross-entropy -Σ p ln q and its d/dz.
    pub fn cross_entropy(&self, z: &[f64]) -> (f64, Vec<f64>) {
        self.divergence(z, |_, ln_q| -ln_q)
    }

    /// Σ p term(ln p, ln q); both terms have the same d/dz.
    fn divergence(&self, z: &[f64], term: fn(f64, f64) -> f64) -> (f64, Vec<f64>) {
        let ln_q = log_softmax(z);
        let (mut sum, mut of_p) = (0.0, 0.0);
        let mut add = |ln_p: f64, ln_q: f64| {
            let p = ln_p.exp();
            // p ln p → 0
            if p > 0.0 {
                of_p += p;
                sum += p * term(ln_p, ln_q);
            }
            p
        };
        let mut dz = vec![0.0; z.len()];
        let mut named = vec![false; z.len()];
        for &(c, ln_p) in &self.listed {
            named[c] = true;
            dz[c] -= add(ln_p, ln_q[c]);
        }
        if let Some(ln_p) = self.tail {
            let others = || (0..z.len()).filter(|&c| !named[c]);
            let ln_q_tail = log_sum_exp(others().map(|c| ln_q[c]));
            let p = add(ln_p, ln_q_tail);
            others().for_each(|c| dz[c] -= p * (ln_q[c] - ln_q_tail).exp());
        }
        dz.iter_mut().zip(&ln_q).for_each(|(dz, ln_q)| *dz += of_p * ln_q.exp());
        (sum, dz)
    }
}
