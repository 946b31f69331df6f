//! The distillation loss of one sample and its gradient, in closed form.
//!
//! z (K) student logits, t (K) teacher logits, y label, σ softmax, T temperature:
//!
//! L = β·T²·KL(σ(t/T) ‖ σ(z/T)) + α·CE(z, y)
//! dz = β·T·(σ(z/T) − σ(t/T)) + α·(σ(z) − onehot(y))
//!
//! Hinton, Vinyals, Dean, "Distilling the knowledge in a neural network", 2015. The α term is left out where there is no
//! label (y < 0). Inner sums are in f64.

use tract_core::internal::*;

use super::{gradient_op, with_f32};
use crate::loss::Loss;

/// Inputs z, t, y (i64 scalar, negative for "no label"); outputs (KL part, CE part, agreement) and dz.
///
/// Agreement is 1 where student and teacher have the same largest logit, the first one on ties.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct DistillLoss(pub Loss);

impl Eq for DistillLoss {}
gradient_op!(DistillLoss, "DistillLoss");

impl DistillLoss {
    fn facts(&self, inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        Ok(tvec!(f32::fact([3usize]), inputs[0].without_value()))
    }

    fn compute(&self, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        let (z, t, y) = args_3!(inputs);
        let label = usize::try_from(y.cast_to_scalar::<i64>()?).ok();
        let (parts, dz) = with_f32(&z, |z| with_f32(&t, |t| evaluate(&self.0, z, t, label)))??;
        ensure!(label.is_none_or(|y| y < z.len()), "label {label:?} with {} classes", z.len());
        Ok(tvec!(tensor1(&parts).into_tvalue(), Tensor::from_shape(z.shape(), &dz)?.into_tvalue()))
    }
}

/// (KL part, CE part, agreement), already weighted, and dz.
pub(crate) fn evaluate(loss: &Loss, z: &[f32], t: &[f32], label: Option<usize>) -> ([f32; 3], Vec<f32>) {
    let ([kl, cross_entropy], dz) = in_f64(loss, z, t, label);
    let agrees = limbeck_engine::argmax(z) == limbeck_engine::argmax(t);
    ([kl as f32, cross_entropy as f32, agrees as u8 as f32], dz.into_iter().map(|d| d as f32).collect())
}

impl Loss {
    /// The loss of one answer: student logits `z`, teacher logits `t`, class `label`. Not finite where a logit is not.
    pub fn of(&self, z: &[f32], t: &[f32], label: Option<usize>) -> f64 {
        in_f64(self, z, t, label).0.iter().sum()
    }
}

/// (KL part, CE part), already weighted, and dz.
fn in_f64(loss: &Loss, z: &[f32], t: &[f32], label: Option<usize>) -> ([f64; 2], Vec<f64>) {
    let temperature = loss.temperature as f64;
    let (log_q, log_p) = (log_softmax(z, temperature), log_softmax(t, temperature));
    let kl: f64 = log_p.iter().zip(&log_q).map(|(lp, lq)| lp.exp() * (lp - lq)).sum();
    let soft = loss.teacher_weight as f64 * temperature;
    let mut dz: Vec<f64> = log_p.iter().zip(&log_q).map(|(lp, lq)| soft * (lq.exp() - lp.exp())).collect();
    let mut cross_entropy = 0.0;
    if let Some(y) = label.filter(|&y| y < z.len()) {
        let weight = loss.label_weight as f64;
        let log_q = log_softmax(z, 1.0);
        cross_entropy = -weight * log_q[y];
        dz.iter_mut().zip(&log_q).for_each(|(d, lq)| *d += weight * lq.exp());
        dz[y] -= weight;
    }
    ([soft * temperature * kl, cross_entropy], dz)
}

fn log_softmax(z: &[f32], temperature: f64) -> Vec<f64> {
    let max = z.iter().fold(f64::NEG_INFINITY, |m, &v| m.max(v as f64));
    let scaled: Vec<f64> = z.iter().map(|&v| (v as f64 - max) / temperature).collect();
    let log_sum = scaled.iter().map(|v| v.exp()).sum::<f64>().ln();
    scaled.into_iter().map(|v| v - log_sum).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const T: [f32; 3] = [1.0, 2.0, 3.0];
    const S: [f32; 3] = [3.0, 2.0, 1.0];

    fn kl_at(temperature: f32) -> f32 {
        evaluate(&Loss { temperature, teacher_weight: 1.0, label_weight: 0.0 }, &S, &T, None).0[0]
    }

    #[test]
    fn the_kl_part_is_the_closed_form() {
        // T²·KL = 2T(e^{2/T} − 1)/(1 + e^{1/T} + e^{2/T}) for these logits.
        for (temperature, expected) in [(1.0, 1.150_420_8), (2.0, 1.280_626_7), (4.0, 1.319_629_9)] {
            assert!((kl_at(temperature) - expected).abs() < 2e-6, "T = {temperature}: {}", kl_at(temperature));
        }
    }

    #[test]
    fn the_gradient_meets_finite_differences() {
        let loss = Loss { temperature: 3.0, teacher_weight: 0.7, label_weight: 0.4 };
        let (_, dz) = evaluate(&loss, &S, &T, Some(1));
        for i in 0..3 {
            let at = |step: f32| {
                let mut z = S;
                z[i] += step;
                let parts = evaluate(&loss, &z, &T, Some(1)).0;
                (parts[0] + parts[1]) as f64
            };
            let numeric = (at(1e-2) - at(-1e-2)) / 2e-2;
            assert!((numeric - dz[i] as f64).abs() < 1e-4, "dz[{i}] = {} against {numeric}", dz[i]);
        }
    }

    #[test]
    fn equal_logits_have_no_loss_and_no_gradient() {
        let loss = Loss { temperature: 2.0, teacher_weight: 1.0, label_weight: 0.0 };
        let (parts, dz) = evaluate(&loss, &T, &T, None);
        assert_eq!(parts, [0.0, 0.0, 1.0]);
        assert_eq!(dz, [0.0; 3]);
    }

    #[test]
    fn the_loss_is_that_of_the_formula() {
        let loss = Loss { temperature: 2.0, teacher_weight: 1.0, label_weight: 0.5 };
        assert_eq!(loss.of(&[1.0, 3.0], &[1.0, 3.0], None), 0.0);
        // p = softmax(0, ln 3 · 2 / 2) = (1/4, 3/4), q = (1/2, 1/2): KL = ln 2 - H(p).
        let t = 2.0 * 3f32.ln();
        let kl = 0.25f64 * 0.5f64.ln() + 0.75 * 1.5f64.ln();
        let found = loss.of(&[0.0, 0.0], &[0.0, t], Some(1));
        assert!((found - (4.0 * kl + 0.5 * 2f64.ln())).abs() < 1e-6, "{found}");
        // Only differences of logits count.
        let moved = loss.of(&[7.0, 7.0], &[-3.0, t - 3.0], Some(1));
        assert!((found - moved).abs() < 1e-6);
    }
}
