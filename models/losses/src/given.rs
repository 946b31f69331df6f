//! What a loss is given, and what it gives.

use crate::batch::{Batch, TopKBatch};
use crate::error::LossError;

/// What the teacher said of a batch under one key of the answers file.
#[derive(Debug, Clone, PartialEq)]
pub enum Teacher {
    /// Every value: logits (C), vectors (C), maps (C, H, W).
    Dense(Batch),
    /// The largest logits.
    TopK(TopKBatch),
}

/// Where training stands: schedules and samplers of a loss follow it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Steps done.
    pub step: usize,
    /// Steps in all.
    pub total: usize,
    /// Steps an epoch.
    pub epoch_steps: usize,
}

/// What a loss is given for one batch. Everything stands in the same order of samples.
#[derive(Debug, Clone, Copy)]
pub struct Given<'a> {
    /// What the student says, one a tap of the loss.
    pub student: &'a [Batch],
    /// What the teacher said, one a key of the loss.
    pub teacher: &'a [Teacher],
    /// Classes of the samples.
    pub labels: &'a [Option<usize>],
    /// Numbers of the samples in the data set: memory banks and noise are keyed by them.
    pub samples: &'a [u64],
    /// Where training stands.
    pub progress: Progress,
}

impl<'a> Given<'a> {
    /// The teacher's values under key `i`, all of them.
    pub fn dense(&self, kind: &'static str, i: usize) -> Result<&'a Batch, LossError> {
        match self.teacher.get(i) {
            Some(Teacher::Dense(batch)) => Ok(batch),
            Some(Teacher::TopK(top)) => Err(LossError::Head {
                kind,
                why: format!("needs all {} logits of an answer, and the file keeps the largest {}", top.classes, top.k),
                head: "--head logits:dense".into(),
            }),
            None => Err(LossError::Options { kind, why: "needs a teacher's answers; name them in `teacher`".into() }),
        }
    }
}

/// Loss of a batch and where it goes.
#[derive(Debug, Clone, PartialEq)]
pub struct Evaluated {
    /// The batch's loss, reduced as the formula says.
    pub loss: f64,
    /// dL/d student, one a tap, in the shape of the tap.
    pub gradients: Vec<Batch>,
}

/// A loss and what it remembers from batch to batch (most remember nothing).
pub trait Loss: Send {
    /// Loss and gradient of one batch. Called once a step, in order; the same calls give the same bits.
    fn evaluate(&mut self, given: &Given<'_>) -> Result<Evaluated, LossError>;
}
