//! Drawn batches, and the check of a gradient.

use limbeck_answers::rng::Stream;
use limbeck_losses::{Batch, Given, Method, Progress, Teacher};

/// What a loss is given, owned.
pub struct Case {
    pub student: Vec<Batch>,
    pub teacher: Vec<Teacher>,
    pub labels: Vec<Option<usize>>,
    pub samples: Vec<u64>,
    pub progress: Progress,
}

impl Case {
    pub fn given(&self) -> Given<'_> {
        Given {
            student: &self.student,
            teacher: &self.teacher,
            labels: &self.labels,
            samples: &self.samples,
            progress: self.progress,
        }
    }
}

/// B values of a shape, each evenly from -2 to 2.
pub fn batch(seed: u64, dims: &[usize], samples: usize) -> Batch {
    let mut random = Stream::new(seed, 0, 0);
    let count = samples * dims.iter().product::<usize>();
    Batch::new(dims, (0..count).map(|_| random.next_u32() as f64 / 2f64.powi(30) - 2.0).collect())
}

/// Unlabelled, in the middle of training.
pub fn given(student: Vec<Batch>, teacher: Vec<Batch>) -> Case {
    let samples = student[0].samples();
    Case {
        student,
        teacher: teacher.into_iter().map(Teacher::Dense).collect(),
        labels: vec![None; samples],
        samples: (0..samples as u64).collect(),
        progress: Progress { step: 50, total: 100, epoch_steps: 10 },
    }
}

/// The gradient of every value of every student tap is the slope of the loss: central differences in f64, each difference within 1e-6 of
/// the gradient's largest value. The loss is built anew for each evaluation, so what it remembers is the same.
pub fn check(method: &Method, case: &Case) {
    const STEP: f64 = 1e-5;
    let loss = |student: &[Batch]| {
        let given = Given { student, ..case.given() };
        method.build(7).evaluate(&given).expect("a loss")
    };
    let found = loss(&case.student);
    assert!(found.loss.is_finite());
    assert_eq!(found.gradients.len(), case.student.len());
    for (tap, gradient) in found.gradients.iter().enumerate() {
        assert_eq!(gradient.dims, case.student[tap].dims);
        let largest = gradient.values.iter().fold(1e-3f64, |m, g| m.max(g.abs()));
        for (i, &g) in gradient.values.iter().enumerate() {
            let at = |step: f64| {
                let mut student = case.student.clone();
                student[tap].values[i] += step;
                loss(&student).loss
            };
            let numeric = (at(STEP) - at(-STEP)) / (2.0 * STEP);
            assert!((numeric - g).abs() <= 1e-6 * largest, "{method:?}, tap {tap}, value {i}: {g} against {numeric}");
        }
    }
}
