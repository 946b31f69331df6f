//! Contrastive representation distillation: student and teacher embeddings of one sample belong together, of two samples they do not.
//!
//! u (B, D) = student embeddings of length one, v (B, D) = teacher embeddings of length one; banks M_u, M_v (N, D) of what both were
//! x_bk = exp(u_b · M_v[k] / τ) / Z_u for k = the sample itself and K drawn others;  the same of v and M_u with Z_v
//! L = -1/B Σ_b [ln x_b+ / (x_b+ + K) + Σ_k ln K / (x_bk + K)], of both sides together
//! dL/du_b = 1/(B τ) [-K / (x_b+ + K) M_v[b] + Σ_k x_bk / (x_bk + K) M_v[k]]
//! then M[b] = μ M[b] + (1 - μ) u_b, over its length
//!
//! Tian, Krishnan, Isola, "Contrastive representation distillation", ICLR 2020, section 3.2; K = 16384, τ = 0.07, μ = 0.5 as RepDistiller.
//! Z is the mean score of the first batch and stays; there it is N times as large and the noise is K/N, so that N falls out here, and the
//! 1e-7 that is added to each sum there is left out. Both embeddings are taps: linear connectors in the student's graph make them from
//! both pooled vectors, to be of the same size (128 in the paper). Negatives: with labels, samples of other classes; without, all others;
//! drawn evenly with repetition, from (seed, sample, step) alone, among the samples that the loss has met so far. A sample enters the banks
//! with drawn vectors, as all do there at the start. Where there is nothing to draw, a sample says nothing.
//!
//! Host only: the banks take 2 N D f32, a step 4 B (K + 1) D multiplications. They are not part of a checkpoint.

use std::collections::BTreeMap;

use limbeck_answers::rng::Stream;
use serde::Deserialize;

use crate::batch::Batch;
use crate::error::LossError;
use crate::given::{Evaluated, Given, Loss};
use crate::logits::noise::uniform;
use crate::logits::soft::student;
use crate::options::{fraction, positive};
use crate::relations::rows::{LEAST, normalise};

const KIND: &str = "crd";
/// Key of first vectors.
const FIRST: u64 = 0x6372_645f_6669_7273;
/// Key of negatives.
const NEGATIVES: u64 = 0x6372_645f_6e65_6761;

/// Options of `crd`.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Crd {
    /// K
    pub negatives: u32,
    /// τ
    #[serde(deserialize_with = "positive")]
    pub temperature: f64,
    /// μ
    #[serde(deserialize_with = "fraction")]
    pub momentum: f64,
}

impl Default for Crd {
    fn default() -> Self {
        Crd { negatives: 16384, temperature: 0.07, momentum: 0.5 }
    }
}

impl Crd {
    pub(crate) fn seeded(self, seed: u64) -> CrdLoss {
        CrdLoss { options: self, seed, slots: BTreeMap::new(), labels: vec![], banks: Default::default() }
    }
}

/// `crd` and its memory.
pub(crate) struct CrdLoss {
    options: Crd,
    seed: u64,
    /// Where a sample stands in the banks.
    slots: BTreeMap<u64, usize>,
    /// Classes of the samples in the banks.
    labels: Vec<Option<usize>>,
    /// Student's and teacher's.
    banks: [Bank; 2],
}

/// What one side said of every sample, and Z of the scores against it.
#[derive(Default)]
struct Bank {
    /// (N, D)
    values: Vec<f32>,
    z: Option<f64>,
}

impl Bank {
    fn row(&self, slot: usize, len: usize) -> &[f32] {
        &self.values[slot * len..][..len]
    }
}

impl Loss for CrdLoss {
    fn evaluate(&mut self, given: &Given<'_>) -> Result<Evaluated, LossError> {
        let (s, t) = (student(KIND, given, 0)?, student(KIND, given, 1)?);
        let known = self.labels.len() * s.len();
        if s.len() != t.len() || self.banks[0].values.len() != known {
            let why = format!("both embeddings must be equal: {:?} and {:?}; set the connectors' size", s.dims, t.dims);
            return Err(LossError::Shapes { kind: KIND, why });
        }
        let slots: Vec<usize> =
            given.samples.iter().zip(given.labels).map(|(&sample, &y)| self.enter(sample, y, s.len())).collect();
        let contrasts = self.draw(given, &slots);
        Ok(self.contrast(s, t, &slots, &contrasts))
    }
}

impl CrdLoss {
    /// The sample's slot; a new one with drawn vectors if the sample is new: evenly within ±√(3/D) (RepDistiller).
    fn enter(&mut self, sample: u64, label: Option<usize>, len: usize) -> usize {
        let next = self.labels.len();
        let slot = *self.slots.entry(sample).or_insert(next);
        if slot == next {
            self.labels.push(label);
            let bound = (3.0 / len as f64).sqrt();
            for (side, bank) in self.banks.iter_mut().enumerate() {
                let mut random = Stream::new(self.seed ^ FIRST, sample, side as u32);
                bank.values.extend((0..len).map(|_| (bound * (2.0 * uniform(&mut random) - 1.0)) as f32));
            }
        }
        slot
    }

    /// Negatives of each sample of the batch.
    fn draw(&self, given: &Given<'_>, slots: &[usize]) -> Vec<Vec<usize>> {
        let mut others: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        let draw = |sample: u64, count: usize| {
            let mut random = Stream::new(self.seed ^ NEGATIVES, sample, given.progress.step as u32);
            let drawn = if count == 0 { 0 } else { self.options.negatives };
            (0..drawn).map(|_| random.below(count as u32) as usize).collect::<Vec<usize>>()
        };
        let of_sample = |((&slot, &sample), label): ((&usize, &u64), &Option<usize>)| match label {
            Some(y) => {
                let of_others = || (0..self.labels.len()).filter(|&slot| self.labels[slot] != Some(*y)).collect();
                let candidates = others.entry(*y).or_insert_with(of_others);
                draw(sample, candidates.len()).into_iter().map(|i| candidates[i]).collect()
            }
            None => draw(sample, self.labels.len() - 1).into_iter().map(|i| i + (i >= slot) as usize).collect(),
        };
        slots.iter().zip(given.samples).zip(given.labels).map(of_sample).collect()
    }

    /// Loss and gradients against the banks as they are; then the banks learn.
    fn contrast(&mut self, s: &Batch, t: &Batch, slots: &[usize], negatives: &[Vec<usize>]) -> Evaluated {
        let (u, v) = (normalise(s), normalise(t));
        let (of_s, du) = self.scores(&u.rows, 1, slots, negatives);
        let (of_t, dv) = self.scores(&v.rows, 0, slots, negatives);
        for (b, &slot) in slots.iter().enumerate() {
            self.learn(0, slot, u.rows.sample(b));
            self.learn(1, slot, v.rows.sample(b));
        }
        Evaluated { loss: of_s + of_t, gradients: vec![u.backward(&du), v.backward(&dv)] }
    }

    /// One side's part of the loss, against the other side's bank.
    fn scores(&mut self, u: &Batch, bank: usize, slots: &[usize], negatives: &[Vec<usize>]) -> (f64, Batch) {
        let (len, temperature) = (u.len(), self.options.temperature);
        let bank = &mut self.banks[bank];
        let score = |u_b: &[f64], slot: usize| {
            // As `rows::dot`, of f64 and f32
            let mut sums = [0.0; 8];
            for (u, m) in u_b.chunks(8).zip(bank.row(slot, len).chunks(8)) {
                sums.iter_mut().zip(u).zip(m).for_each(|((sum, u), &m)| *sum += u * m as f64);
            }
            (sums.iter().sum::<f64>() / temperature).exp()
        };
        let rows = slots.iter().zip(negatives).enumerate();
        let scores: Vec<Vec<f64>> = rows
            .map(|(b, (&slot, others))| [slot].iter().chain(others).map(|&k| score(u.sample(b), k)).collect())
            .collect();
        let count: usize = scores.iter().map(Vec::len).sum();
        let z = *bank.z.get_or_insert_with(|| scores.iter().flatten().sum::<f64>() / count as f64);
        let mean = 1.0 / u.samples() as f64;
        let (mut loss, mut du) = (0.0, u.zeros_like());
        for (b, scores_b) in scores.iter().enumerate() {
            let k = negatives[b].len() as f64;
            for (i, (score, &slot)) in scores_b.iter().zip([slots[b]].iter().chain(&negatives[b])).enumerate() {
                let x = score / z;
                let is_own = i == 0;
                loss -= mean * (if is_own { x / (x + k) } else { k / (x + k) }).ln();
                let slope = (if is_own { -k } else { x }) / (x + k) * mean / temperature;
                for (d, &m) in du.sample_mut(b).iter_mut().zip(bank.row(slot, len)) {
                    *d += slope * m as f64;
                }
            }
        }
        (loss, du)
    }

    /// M = μ M + (1 - μ) u, over its length.
    fn learn(&mut self, bank: usize, slot: usize, u: &[f64]) {
        let momentum = self.options.momentum;
        let row = &mut self.banks[bank].values[slot * u.len()..][..u.len()];
        let moved: Vec<f64> = row.iter().zip(u).map(|(&m, u)| momentum * m as f64 + (1.0 - momentum) * u).collect();
        let length = moved.iter().map(|m| m * m).sum::<f64>().sqrt();
        if length > LEAST {
            row.iter_mut().zip(&moved).for_each(|(m, moved)| *m = (moved / length) as f32);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn numbers(value: &Value) -> Vec<f64> {
        value.as_array().expect("an array").iter().map(|v| v.as_f64().expect("a number")).collect()
    }

    fn slots(value: &Value) -> Vec<usize> {
        numbers(value).into_iter().map(|v| v as usize).collect()
    }

    fn assert_near(what: &str, found: &[f64], expected: &[f64], within: f64) {
        assert_eq!(found.len(), expected.len());
        for (f, e) in found.iter().zip(expected) {
            assert!((f - e).abs() <= within * e.abs().max(1.0), "{what}: {f}, and {e} by torchdistill");
        }
    }

    /// Three steps of torchdistill's CRDLoss with given banks and negatives (`tests/golden/logits.py`); the first sets Z. Banks are f32
    /// on both sides, and may differ by one rounding of it, which a step later is in the loss.
    #[test]
    fn three_steps_are_those_of_torchdistill() {
        const OF_F32: f64 = 2e-6;
        let golden: Value = serde_json::from_str(include_str!("../../tests/golden/logits.json")).expect("JSON");
        let crd = &golden["crd"];
        let (n, d) = (crd["n"].as_u64().expect("n") as usize, crd["d"].as_u64().expect("d") as usize);
        let mut loss = Crd { negatives: 5, ..Crd::default() }.seeded(1);
        for slot in 0..n {
            assert_eq!(loss.enter(slot as u64, None, d), slot);
        }
        for (side, bank) in loss.banks.iter_mut().enumerate() {
            bank.values = numbers(&crd["banks"][side]).into_iter().map(|v| v as f32).collect();
        }
        for (step, golden) in crd["steps"].as_array().expect("steps").iter().enumerate() {
            let side = |i: usize| Batch::new(&[d], numbers(&golden["student"][i]["values"]));
            let negatives: Vec<Vec<usize>> =
                golden["negatives"].as_array().expect("negatives").iter().map(slots).collect();
            let found = loss.contrast(&side(0), &side(1), &slots(&golden["own"]), &negatives);
            let within = if step == 0 { 1e-9 } else { OF_F32 };
            assert_near("loss", &[found.loss], &[golden["loss"].as_f64().expect("a loss")], within);
            for tap in 0..2 {
                let bank: Vec<f64> = loss.banks[tap].values.iter().map(|&v| v as f64).collect();
                assert_near("gradient", &found.gradients[tap].values, &numbers(&golden["gradients"][tap]), within);
                assert_near("bank", &bank, &numbers(&golden["banks"][tap]), 1.2e-7);
            }
        }
    }

    #[test]
    fn negatives_are_of_other_classes_or_other_samples() {
        let mut loss = Crd { negatives: 200, ..Crd::default() }.seeded(1);
        let labels = [Some(0), Some(1), None, Some(1)];
        let samples = [4, 9, 2, 7];
        let own: Vec<usize> = samples.iter().zip(labels).map(|(&s, y)| loss.enter(s, y, 3)).collect();
        let progress = crate::given::Progress { step: 3, total: 9, epoch_steps: 3 };
        let given = Given { student: &[], teacher: &[], labels: &labels, samples: &samples, progress };
        for (b, drawn) in loss.draw(&given, &own).into_iter().enumerate() {
            assert_eq!(drawn.len(), 200);
            let mut seen = drawn;
            seen.sort_unstable();
            seen.dedup();
            let allowed: Vec<usize> =
                (0..4).filter(|&k| k != b && (labels[b].is_none() || labels[k] != labels[b])).collect();
            assert_eq!(seen, allowed);
        }
    }
}
