//! Softmax in the log domain, and what a loss over logits checks before it begins.

use crate::batch::Batch;
use crate::error::LossError;
use crate::given::{Given, Teacher};

/// ln Σ exp(z); -inf of nothing.
pub(crate) fn log_sum_exp(z: impl Iterator<Item = f64> + Clone) -> f64 {
    let largest = z.clone().fold(f64::NEG_INFINITY, f64::max);
    if largest == f64::NEG_INFINITY {
        return largest;
    }
    largest + z.map(|z| (z - largest).exp()).sum::<f64>().ln()
}

/// ln softmax(z)
pub(crate) fn log_softmax(z: &[f64]) -> Vec<f64> {
    let lse = log_sum_exp(z.iter().copied());
    z.iter().map(|z| z - lse).collect()
}

/// z / T
pub(crate) fn tempered(z: &[f64], temperature: f64) -> Vec<f64> {
    z.iter().map(|z| z / temperature).collect()
}

/// d/dz of a function of p = softmax(z), from its d/dp: dz = p (dp - Σ p dp)
pub(crate) fn softmax_backward(p: &[f64], dp: &[f64]) -> Vec<f64> {
    let mean: f64 = p.iter().zip(dp).map(|(p, dp)| p * dp).sum();
    p.iter().zip(dp).map(|(p, dp)| p * (dp - mean)).collect()
}

/// What the student says at tap `i`, one value a sample that the batch names.
pub(crate) fn student<'a>(kind: &'static str, given: &Given<'a>, i: usize) -> Result<&'a Batch, LossError> {
    let Some(s) = given.student.get(i) else {
        let why = format!("reads {} taps of the student; name them in `student`", i + 1);
        return Err(LossError::Options { kind, why });
    };
    let rows = given.labels.len();
    if s.samples() == 0 || s.samples() != rows || given.samples.len() != rows {
        let why = format!("the student has {} values, the batch {rows} samples; give one value a sample", s.samples());
        return Err(LossError::Shapes { kind, why });
    }
    Ok(s)
}

/// Student and teacher logits of the same samples over the same classes.
pub(crate) fn logits<'a>(kind: &'static str, given: &Given<'a>) -> Result<(&'a Batch, &'a Teacher), LossError> {
    let s = student(kind, given, 0)?;
    let Some(t) = given.teacher.first() else {
        let why = "needs a teacher's answers; name them in `teacher`".into();
        return Err(LossError::Options { kind, why });
    };
    let (classes, rows) = match t {
        Teacher::Dense(t) => (t.len(), t.samples()),
        Teacher::TopK(t) => (t.classes, t.samples()),
    };
    if classes != s.len() || rows != s.samples() {
        let why = format!(
            "the student has {} logits of {} samples, the teacher {classes} of {rows}; both must name the same classes",
            s.len(),
            s.samples()
        );
        return Err(LossError::Shapes { kind, why });
    }
    Ok((s, t))
}

/// The same where the loss needs every logit of the teacher.
pub(crate) fn dense_logits<'a>(kind: &'static str, given: &Given<'a>) -> Result<(&'a Batch, &'a Batch), LossError> {
    let (s, _) = logits(kind, given)?;
    Ok((s, given.dense(kind, 0)?))
}

/// The class of sample `b`.
pub(crate) fn label(kind: &'static str, given: &Given<'_>, b: usize, classes: usize) -> Result<usize, LossError> {
    match given.labels[b] {
        Some(y) if y < classes => Ok(y),
        Some(y) => {
            let why = format!("sample {} is of class {y}, and the student knows {classes} classes", given.samples[b]);
            Err(LossError::Shapes { kind, why })
        }
        None => Err(LossError::Label { kind, sample: given.samples[b] }),
    }
}
