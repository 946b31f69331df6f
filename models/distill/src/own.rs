//! What a student answers itself, kept in memory by (sample, view).

use std::sync::Mutex;

use limbeck_answers::{Preprocess, View};
use limbeck_data::{Viewed, Watch, parallel};
use limbeck_engine::Student;
use limbeck_engine::onnx::Model;
use limbeck_losses::Batch;

use crate::DistillError;

/// Logits of every (sample, view).
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct OwnAnswers {
    classes: usize,
    logits: Vec<f32>,
}

impl OwnAnswers {
    /// Let a model, float or int8, answer everything that it will be shown.
    pub fn record(
        model: &Model,
        preprocess: &Preprocess,
        pictures: &Viewed<'_>,
        (samples, views): (usize, &[View]),
        threads: usize,
        watch: &dyn Watch,
    ) -> Result<OwnAnswers, DistillError> {
        let student = Student::load(model)?;
        let classes = student.output_len();
        let answered: Mutex<Vec<f32>> = Mutex::new(vec![0.0; samples * views.len() * classes]);
        let worker = || Ok((student.worker()?, vec![0.0; preprocess.len()], vec![0.0; classes]));
        let done = parallel::for_each(samples * views.len(), threads, watch, worker, |(worker, x, logits), visit| {
            pictures.input(preprocess, visit / views.len(), views[visit % views.len()], x)?;
            worker.run(x, logits)?;
            let mut answered = answered.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
            answered[visit * classes..][..classes].copy_from_slice(logits);
            Ok::<_, DistillError>(())
        })?;
        if !done {
            return Err(DistillError::Cancelled { steps: 0 });
        }
        Ok(OwnAnswers { classes, logits: answered.into_inner().unwrap_or_else(|poisoned| poisoned.into_inner()) })
    }

    /// Logits in the order of visits.
    pub(crate) fn of_logits(classes: usize, logits: Vec<f32>) -> OwnAnswers {
        OwnAnswers { classes, logits }
    }

    /// The logits of one visit.
    pub(crate) fn of(&self, visit: usize) -> &[f32] {
        &self.logits[visit * self.classes..][..self.classes]
    }

    /// K
    pub fn classes(&self) -> usize {
        self.classes
    }

    /// The logits of these visits (sample times views, plus view).
    pub fn batch(&self, visits: &[usize]) -> Batch {
        let of = |&visit: &usize| self.logits[visit * self.classes..][..self.classes].iter().map(|&v| v as f64);
        Batch::new(&[self.classes], visits.iter().flat_map(of).collect())
    }

    /// Put newer ones in their place.
    pub fn put(&mut self, visits: &[usize], logits: &[f32]) {
        for (&visit, new) in visits.iter().zip(logits.chunks_exact(self.classes)) {
            self.logits[visit * self.classes..][..self.classes].copy_from_slice(new);
        }
    }
}
