//! What a quantized student lost, against the float student on held-out samples.
//!
//! y float and q quantized logits, of all samples n and classes k:
//!
//! SQNR = 10·log10(Σ y² / Σ (y − q)²) dB   KL = mean over n of Σ_k p·ln(p / p')   p = softmax(y), p' = softmax(q)
//! agreement = share of n with argmax y = argmax q   accuracy = share of the labelled n with argmax = label

use limbeck_engine::onnx::Model;
use limbeck_engine::{Student, argmax};

use crate::QuantizeError;
use crate::samples::{Rounds, Samples};

/// What one quantized student lost.
#[derive(Debug, Clone, PartialEq)]
pub struct Loss {
    /// Signal to quantization noise of the logits, in dB; `None` where no logit differs.
    pub sqnr_db: Option<f64>,
    /// Mean Kullback-Leibler divergence from the float student's classes, in nats.
    pub kl: f64,
    /// Samples on which both choose the same class.
    pub agreeing: usize,
    /// Samples.
    pub samples: usize,
    /// Right answers of the quantized and of the float student, and labelled samples; `None` where no sample has a label.
    pub right: Option<Right>,
}

/// Right answers on labelled samples.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Right {
    /// Of the quantized student.
    pub quantized: usize,
    /// Of the float student.
    pub float: usize,
    /// Labelled samples.
    pub of: usize,
}

impl Loss {
    /// Share of samples on which both choose the same class, 0..=1.
    pub fn agreement(&self) -> f64 {
        self.agreeing as f64 / self.samples.max(1) as f64
    }

    /// Points (percent of samples) on which the class is another.
    pub fn agreement_drop(&self) -> f64 {
        (self.samples - self.agreeing) as f64 * 100.0 / self.samples.max(1) as f64
    }

    /// Points of top-1 accuracy lost against the float student, negative where it gained; `None` without labels.
    pub fn accuracy_drop(&self) -> Option<f64> {
        self.right.map(|r| (r.float as f64 - r.quantized as f64) * 100.0 / r.of.max(1) as f64)
    }
}

/// The first output on a sample, and the sample's label.
struct Answer {
    y: Vec<f32>,
    label: Option<u16>,
}

/// The float student's answers on the held-out samples.
pub(crate) struct Reference<'a> {
    samples: &'a Samples<'a>,
    threads: usize,
    answers: Vec<Answer>,
    /// The student ends in a `Softmax`: its outputs are shares already.
    shares: bool,
}

impl<'a> Reference<'a> {
    pub fn of(
        student: &Model,
        samples: &'a Samples<'a>,
        threads: usize,
        rounds: &Rounds<'_>,
    ) -> Result<Reference<'a>, QuantizeError> {
        let output = student.graph.outputs.first().map(|o| o.name.as_str());
        let last = student.graph.nodes.iter().find(|n| n.outputs.first().map(String::as_str) == output);
        let shares = last.is_some_and(|n| n.op == "Softmax");
        Ok(Reference { samples, threads, answers: answers(student, samples, threads, rounds)?, shares })
    }

    /// Are there labels to be right about?
    pub fn labelled(&self) -> bool {
        self.answers.iter().any(|a| a.label.is_some())
    }

    /// Run a candidate, and compare.
    pub fn loss(&self, candidate: &Model, rounds: &Rounds<'_>) -> Result<Loss, QuantizeError> {
        let found = answers(candidate, self.samples, self.threads, rounds)?;
        let (mut signal, mut noise, mut kl, mut agreeing) = (0.0, 0.0, 0.0, 0);
        let mut right = Right { quantized: 0, float: 0, of: 0 };
        for (Answer { y, label }, Answer { y: q, .. }) in self.answers.iter().zip(&found) {
            for (y, q) in y.iter().zip(q).map(|(y, q)| (f64::from(*y), f64::from(*q))) {
                signal += y * y;
                noise += (y - q) * (y - q);
            }
            kl += divergence(y, q, self.shares);
            let (float, quantized) = (argmax(y), argmax(q));
            agreeing += usize::from(float == quantized);
            if let Some(label) = label.map(usize::from) {
                right.of += 1;
                right.float += usize::from(float == label);
                right.quantized += usize::from(quantized == label);
            }
        }
        Ok(Loss {
            sqnr_db: (noise > 0.0).then(|| 10.0 * (signal.max(f64::MIN_POSITIVE) / noise).log10()),
            kl: kl / found.len().max(1) as f64,
            agreeing,
            samples: found.len(),
            right: (right.of > 0).then_some(right),
        })
    }
}

/// Run a student on every sample.
fn answers(
    model: &Model,
    samples: &Samples<'_>,
    threads: usize,
    rounds: &Rounds<'_>,
) -> Result<Vec<Answer>, QuantizeError> {
    let student = Student::load(model)?;
    samples.map(
        threads,
        rounds,
        || Ok(student.worker()?),
        |worker, x, sample| {
            let mut y = vec![0.0; student.output_len()];
            worker.run(x, &mut y)?;
            match y.iter().all(|v| v.is_finite()) {
                true => Ok(Answer { y, label: sample.label }),
                false => Err(QuantizeError::NotFinite { value: "the output".into(), id: sample.id }),
            }
        },
    )
}

/// KL(softmax(y) ‖ softmax(q)) in nats, computed from the logarithms; of `y` and `q` as they are where they are shares.
fn divergence(y: &[f32], q: &[f32], shares: bool) -> f64 {
    /// What a share of 0 counts as: f32 softmax rounds smaller ones to it.
    const LEAST: f64 = 1e-38;
    let logs = |values: &[f32]| -> Vec<f64> {
        if shares {
            return values.iter().map(|v| f64::from(*v).max(LEAST).ln()).collect();
        }
        let most = values.iter().fold(f64::NEG_INFINITY, |m, v| m.max(f64::from(*v)));
        let sum: f64 = values.iter().map(|v| (f64::from(*v) - most).exp()).sum();
        values.iter().map(|v| f64::from(*v) - most - sum.ln()).collect()
    };
    let (p, q) = (logs(y), logs(q));
    p.iter().zip(&q).map(|(p, q)| p.exp() * (p - q)).sum::<f64>().max(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn divergence_is_that_of_the_shares() {
        let (y, q) = ([3.0f32.ln(), 0.0], [0.0, 0.0]);
        let want = 0.75 * (0.75f64 / 0.5).ln() + 0.25 * (0.25f64 / 0.5).ln();
        assert!((divergence(&y, &q, false) - want).abs() < 1e-7);
        assert!((divergence(&[0.75, 0.25], &[0.5, 0.5], true) - want).abs() < 1e-7);
        assert!(divergence(&y, &[1e4, -1e4], false) > 1e3, "far apart, and finite");
        assert_eq!(divergence(&y, &y, false), 0.0);
    }

    #[test]
    fn a_drop_is_in_points() {
        let right = Some(Right { quantized: 7, float: 8, of: 10 });
        let loss = Loss { sqnr_db: None, kl: 0.0, agreeing: 39, samples: 40, right };
        assert_eq!((loss.agreement(), loss.agreement_drop(), loss.accuracy_drop()), (0.975, 2.5, Some(10.0)));
    }
}
