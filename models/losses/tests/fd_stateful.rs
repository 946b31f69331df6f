//! Losses that remember: gradients at a fixed memory, determinism, and that what they remember does its work.

mod common;

use common::{Case, batch, check, given};
use limbeck_losses::{Batch, Evaluated, Loss, LossError, Method, Progress, Teacher};

fn method(text: &str) -> Method {
    Method::parse(toml::from_str(text).expect("TOML")).expect("a loss")
}

fn evaluate(loss: &mut dyn Loss, case: &Case) -> Evaluated {
    loss.evaluate(&case.given()).expect("a loss")
}

/// The gradient of `case` is the slope of the loss, each evaluation after the same batches before it.
fn check_after(text: &str, before: &[Case], case: &Case) {
    const STEP: f64 = 1e-5;
    let at = |tap: usize, i: usize, step: f64| {
        let mut loss = method(text).build(7);
        before.iter().for_each(|case| _ = evaluate(&mut *loss, case));
        let mut student = case.student.clone();
        student[tap].values[i] += step;
        loss.evaluate(&limbeck_losses::Given { student: &student, ..case.given() }).expect("a loss")
    };
    let found = at(0, 0, 0.0);
    let largest = found.gradients.iter().flat_map(|g| &g.values).fold(1e-3f64, |m, g| m.max(g.abs()));
    let mut square = 0.0;
    for (tap, gradient) in found.gradients.iter().enumerate() {
        for (i, &g) in gradient.values.iter().enumerate() {
            let numeric = (at(tap, i, STEP).loss - at(tap, i, -STEP).loss) / (2.0 * STEP);
            assert!((numeric - g).abs() <= 1e-6 * largest, "{text}, tap {tap}, value {i}: {g} against {numeric}");
            square += g * g;
        }
    }
    assert!(square > 0.0, "{text}: no slope");
    let mut student = case.student.clone();
    for (tap, gradient) in student.iter_mut().zip(&found.gradients) {
        tap.values.iter_mut().zip(&gradient.values).for_each(|(s, g)| *s -= 1e-4 * g / square.sqrt());
    }
    let mut loss = method(text).build(7);
    before.iter().for_each(|case| _ = evaluate(&mut *loss, case));
    let after = loss.evaluate(&limbeck_losses::Given { student: &student, ..case.given() }).expect("a loss").loss;
    assert!(after < found.loss, "{text}: {} to {after} against the gradient", found.loss);
}

/// Two embeddings of samples `first`.., at a step.
fn embeddings(seed: u64, first: u64, samples: usize, step: usize, classes: Option<usize>) -> Case {
    let mut case = given(vec![batch(seed, &[4], samples), batch(seed + 1, &[4], samples)], vec![]);
    case.samples = (first..first + samples as u64).collect();
    case.labels = case.samples.iter().map(|&s| classes.map(|c| s as usize % c)).collect();
    case.progress = Progress { step, ..case.progress };
    case
}

#[test]
fn gradients_of_crd_for_both_embeddings() {
    for classes in [None, Some(3)] {
        let before = [embeddings(1, 0, 5, 0, classes), embeddings(3, 5, 5, 1, classes)];
        check_after("kind = \"crd\"\nnegatives = 6", &before, &embeddings(5, 3, 4, 2, classes));
        check_after("kind = \"crd\"\nnegatives = 20\ntemperature = 0.5", &before, &embeddings(5, 8, 5, 2, classes));
    }
}

#[test]
fn crd_gives_the_same_bits_again_and_other_negatives_at_another_step() {
    let text = "kind = \"crd\"\nnegatives = 3";
    let run = |seed: u64, step: usize| {
        let mut loss = method(text).build(seed);
        evaluate(&mut *loss, &embeddings(1, 0, 8, 0, None));
        evaluate(&mut *loss, &embeddings(5, 0, 8, step, None))
    };
    assert_eq!(run(7, 1), run(7, 1));
    assert_ne!(run(7, 1), run(7, 2));
    assert_ne!(run(7, 1), run(8, 1));
}

#[test]
fn crd_without_another_sample_or_class_says_nothing() {
    let text = "kind = \"crd\"";
    for (samples, classes) in [(1, None), (4, Some(1))] {
        let found = evaluate(&mut *method(text).build(7), &embeddings(1, 0, samples, 0, classes));
        assert_eq!(found.loss, 0.0);
        assert!(found.gradients.iter().flat_map(|g| &g.values).all(|&g| g == 0.0));
    }
}

#[test]
fn crd_of_zero_and_equal_embeddings_is_finite() {
    for value in [0.0, 1.0] {
        let mut case = embeddings(1, 0, 3, 0, None);
        case.student.iter_mut().for_each(|s| s.values.fill(value));
        let mut loss = method("kind = \"crd\"\nnegatives = 8").build(7);
        for _ in 0..3 {
            let found = evaluate(&mut *loss, &case);
            assert!(found.loss.is_finite() && found.gradients.iter().flat_map(|g| &g.values).all(|g| g.is_finite()));
        }
    }
    let mut uneven = embeddings(1, 0, 3, 0, None);
    uneven.student[1] = batch(2, &[5], 3);
    let error = method("kind = \"crd\"").build(7).evaluate(&uneven.given()).expect_err("uneven").to_string();
    assert!(error.contains("[4]") && error.contains("[5]") && error.contains("connector"), "{error}");
}

#[test]
fn descending_crd_tells_samples_apart() {
    // Student embeddings are free; the teacher's are fixed and all different
    let teacher = batch(2, &[4], 6);
    let mut case = embeddings(1, 0, 6, 0, None);
    case.student[1] = teacher;
    let mut loss = method("kind = \"crd\"\nnegatives = 64\ntemperature = 0.2").build(7);
    let cosine = |case: &Case, b: usize, c: usize| {
        let (u, v) = (case.student[0].sample(b), case.student[1].sample(c));
        let length = |v: &[f64]| v.iter().map(|v| v * v).sum::<f64>().sqrt();
        u.iter().zip(v).map(|(u, v)| u * v).sum::<f64>() / (length(u) * length(v))
    };
    for step in 0..300 {
        case.progress.step = step;
        let found = evaluate(&mut *loss, &case);
        case.student[0].values.iter_mut().zip(&found.gradients[0].values).for_each(|(s, g)| *s -= 0.05 * g);
    }
    for b in 0..6 {
        let nearest = (0..6).max_by(|&c, &d| cosine(&case, b, c).total_cmp(&cosine(&case, b, d)));
        assert_eq!(nearest, Some(b), "sample {b} is nearest to another's teacher");
    }
}

const GAMES: [&str; 5] = [
    "kind = \"adversarial\"\nsteps = 0",
    "kind = \"adversarial\"\nsteps = 0\nform = \"log\"\ninput = \"softmax\"",
    "kind = \"adversarial\"\nsteps = 0\nform = \"log\"\ninput = \"raw\"\nhidden = [6]",
    "kind = \"adversarial\"\nsteps = 0\nform = \"hinge\"\ninput = \"raw\"",
    "kind = \"adversarial\"\nsteps = 0\nform = \"hinge\"\nhidden = [8, 4]",
];

/// Teacher's values about 1, student's about 0.
fn apart(step: usize, samples: usize) -> Case {
    let mut case = given(vec![batch(10 + step as u64, &[4], samples)], vec![batch(900 + step as u64, &[4], samples)]);
    let Teacher::Dense(t) = &mut case.teacher[0] else { panic!("dense") };
    t.values.iter_mut().step_by(2).for_each(|v| *v += 3.0);
    case.progress.step = step;
    case
}

#[test]
fn gradients_of_the_student_against_a_fixed_discriminator() {
    for text in GAMES {
        check(&method(text), &apart(0, 5));
        check_after(text, &[], &apart(1, 1));
    }
}

#[test]
fn a_trained_discriminator_tells_teacher_from_student() {
    for form in ["wgan-gp", "log", "hinge"] {
        let text =
            format!("kind = \"adversarial\"\nform = \"{form}\"\ninput = \"raw\"\nhidden = [16, 16]\nrate = 0.003");
        let mut loss = method(&text).build(7);
        for step in 0..200 {
            evaluate(&mut *loss, &apart(step, 16));
        }
        // What the student is charged for what it says, and for the teacher's own words
        let fake = evaluate(&mut *loss, &apart(300, 16)).loss;
        let mut posing = apart(300, 16);
        let Teacher::Dense(t) = posing.teacher[0].clone() else { panic!("dense") };
        posing.student[0] = t;
        let real = evaluate(&mut *loss, &posing).loss;
        assert!(real + 0.5 < fake, "{form}: {real} for the teacher, {fake} for the student");
    }
}

#[test]
fn adversarial_training_repeats_bit_for_bit_and_is_finite_on_equal_vectors() {
    for form in ["wgan-gp", "log", "hinge"] {
        for input in ["centred", "softmax", "raw"] {
            let text =
                format!("kind = \"adversarial\"\nform = \"{form}\"\ninput = \"{input}\"\nsteps = 2\nhidden = [8]");
            let run = |seed: u64| {
                let mut loss = method(&text).build(seed);
                (0..5).map(|step| evaluate(&mut *loss, &apart(step, 4))).last().expect("five steps")
            };
            assert_eq!(run(7), run(7));
            assert_ne!(run(7), run(8));
            let constant = Batch::new(&[4], vec![1.0; 4]);
            let mut loss = method(&text).build(7);
            for _ in 0..3 {
                let found = evaluate(&mut *loss, &given(vec![constant.clone()], vec![constant.clone()]));
                assert!(found.loss.is_finite() && found.gradients[0].values.iter().all(|g| g.is_finite()));
            }
        }
    }
    let error = method("kind = \"adversarial\"\nhidden = []").build(7).evaluate(&apart(0, 2).given());
    assert!(matches!(error, Err(LossError::Options { .. })));
}
