//! Losses over logits and vectors: every gradient against central differences, degenerate input, and the slope itself.

mod common;

use common::{Case, batch, check, given};
use limbeck_answers::rng::Stream;
use limbeck_losses::{Batch, LossError, Method, Progress, Teacher, TopKBatch};

fn method(text: &str) -> Method {
    Method::parse(toml::from_str(text).expect("TOML")).expect("a loss")
}

/// With a drawn class for every sample.
fn labelled(mut case: Case, classes: u32) -> Case {
    let mut random = Stream::new(11, 0, 0);
    case.labels = case.samples.iter().map(|_| Some(random.below(classes) as usize)).collect();
    case
}

/// Logits of both sides, labelled.
fn logits(samples: usize, classes: usize) -> Case {
    let case = given(vec![batch(1, &[classes], samples)], vec![batch(2, &[classes], samples)]);
    labelled(case, classes as u32)
}

/// What a file would keep of the teacher's logits: the K largest, with the true class among them, and the rest at three temperatures.
fn top_k(dense: &Batch, labels: &[Option<usize>], k: usize) -> TopKBatch {
    let classes = dense.len();
    let mut top =
        TopKBatch { classes, k, index: vec![], z: vec![], lse: vec![], tail_lse: vec![], mean: vec![], sd: vec![] };
    for (b, label) in labels.iter().enumerate() {
        let largest = dense.sample(b).iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let z: Vec<f64> = dense.sample(b).iter().map(|z| z - largest).collect();
        let mut order: Vec<usize> = (0..classes).collect();
        order.sort_by(|&a, &b| z[b].total_cmp(&z[a]));
        if let Some(y) = *label
            && !order[..k].contains(&y)
        {
            order.retain(|&c| c != y);
            order.insert(k - 1, y);
        }
        let (listed, rest) = order.split_at(k);
        let lse = |of: &[usize], t: f64| of.iter().map(|&c| (z[c] / t).exp()).sum::<f64>().ln();
        top.index.extend(listed.iter().map(|&c| c as u16));
        top.z.extend(listed.iter().map(|&c| z[c]));
        top.lse.push(lse(&order, 1.0));
        top.tail_lse.extend(TopKBatch::TEMPERATURES.map(|t| lse(rest, t)));
        let mean = z.iter().sum::<f64>() / classes as f64;
        top.mean.push(mean);
        top.sd.push((z.iter().map(|z| (z - mean).powi(2)).sum::<f64>() / (classes - 1) as f64).sqrt());
    }
    top
}

/// The same case, with the K largest logits of the teacher instead of all.
fn with_top_k(case: &Case, k: usize) -> Case {
    let Teacher::Dense(dense) = &case.teacher[0] else { panic!("dense") };
    let teacher = vec![Teacher::TopK(top_k(dense, &case.labels, k))];
    Case { student: case.student.clone(), teacher, labels: case.labels.clone(), samples: case.samples.clone(), ..*case }
}

fn loss_of(text: &str, case: &Case) -> f64 {
    method(text).build(7).evaluate(&case.given()).expect("a loss").loss
}

fn error_of(text: &str, case: &Case) -> LossError {
    method(text).build(7).evaluate(&case.given()).expect_err("no loss")
}

fn near(a: f64, b: f64, within: f64) {
    assert!((a - b).abs() <= within, "{a} against {b}");
}

/// Losses over logits whose gradient is that of the loss, with options.
const OVER_LOGITS: [&str; 18] = [
    "kind = \"kd\"",
    "kind = \"kd\"\ntemperature = 1",
    "kind = \"kd\"\ntemperature = 2\ntail = \"uniform\"",
    "kind = \"kd\"\ntemperature = 2\ntail = \"renormalise\"",
    "kind = \"cross-entropy\"",
    "kind = \"dkd\"",
    "kind = \"dkd\"\ntemperature = 1\nalpha = 0.5\nbeta = 2\nwarm_up = 0",
    "kind = \"dkd\"\ntail = \"uniform\"",
    "kind = \"dkd\"\ntail = \"renormalise\"",
    "kind = \"dist\"",
    "kind = \"dist\"\ntemperature = 3\nbeta = 0.5\ngamma = 2",
    "kind = \"dist\"\ngamma = 0",
    "kind = \"logit-std\"",
    "kind = \"logit-std\"\ntemperature = 4",
    "kind = \"virtual-teacher\"",
    "kind = \"virtual-teacher\"\nform = \"tempered\"\ncorrect = 0.9",
    "kind = \"ps-kd\"",
    "kind = \"ps-kd\"\nalpha = 0.3",
];

#[test]
fn gradients_over_dense_logits() {
    for text in OVER_LOGITS {
        check(&method(text), &logits(5, 7));
        check(&method(text), &logits(1, 3));
    }
}

#[test]
fn gradients_over_top_k_logits() {
    for text in OVER_LOGITS.iter().filter(|t| t.contains("\"kd\"") || t.contains("\"dkd\"")) {
        for k in [2, 6, 7] {
            check(&method(text), &with_top_k(&logits(4, 7), k));
        }
    }
    check(&method("kind = \"logit-std\""), &with_top_k(&logits(4, 7), 6));
}

#[test]
fn kd_of_one_and_three_is_the_closed_form() {
    let case = given(vec![Batch::new(&[3], vec![3.0, 2.0, 1.0])], vec![Batch::new(&[3], vec![1.0, 2.0, 3.0])]);
    for (t, expected) in [(1.0, 1.1504207652), (2.0, 1.2806266713), (4.0, 1.3196299121)] {
        let closed = 2.0 * t * ((2.0f64 / t).exp() - 1.0) / (1.0 + (1.0f64 / t).exp() + (2.0f64 / t).exp());
        near(loss_of(&format!("kind = \"kd\"\ntemperature = {t:?}"), &case), closed, 1e-12);
        near(closed, expected, 1e-10);
    }
    let labelled = Case { labels: vec![Some(2)], ..case };
    near(loss_of("kind = \"dkd\"\nwarm_up = 0", &labelled), 5.0100434761, 1e-10);
    near(loss_of("kind = \"dist\"\ngamma = 0", &labelled), 1.8670927066, 1e-10);
}

#[test]
fn decoupled_kd_with_the_teachers_own_weights_is_kd() {
    let case = logits(1, 6);
    let Teacher::Dense(t) = &case.teacher[0] else { panic!("dense") };
    let y = case.labels[0].expect("a label");
    let soft: Vec<f64> = t.values.iter().map(|z| (z / 4.0).exp()).collect();
    let beta = 1.0 - soft[y] / soft.iter().sum::<f64>();
    let dkd = loss_of(&format!("kind = \"dkd\"\nwarm_up = 0\nbeta = {beta:?}"), &case);
    near(dkd, loss_of("kind = \"kd\"", &case), 1e-12);
}

#[test]
fn a_tail_bucket_never_exceeds_the_full_divergence_and_is_exact_where_one_class_is_left() {
    let case = logits(6, 9);
    for kind in ["kd", "dkd", "wsld"] {
        let text = format!("kind = \"{kind}\"\ntemperature = 2");
        let full = loss_of(&text, &case);
        for k in [8, 9] {
            near(loss_of(&text, &with_top_k(&case, k)), full, 1e-12);
        }
        if kind != "wsld" {
            for k in 1..8 {
                let bucket = loss_of(&text, &with_top_k(&case, k));
                assert!((0.0..=full + 1e-12).contains(&bucket), "{kind} K = {k}: {bucket} of {full}");
            }
        }
    }
    near(loss_of("kind = \"logit-std\"", &with_top_k(&case, 8)), loss_of("kind = \"logit-std\"", &case), 1e-12);
}

#[test]
fn uniform_and_renormalised_tails_are_those_distributions() {
    let case = logits(1, 5);
    let top = with_top_k(&case, 2);
    let (Teacher::TopK(t), Teacher::Dense(all)) = (&top.teacher[0], &case.teacher[0]) else { panic!("both") };
    let p: Vec<f64> = all.values.iter().map(|z| z.exp()).collect();
    let sum: f64 = p.iter().sum();
    let listed: Vec<usize> = t.index.iter().map(|&c| c as usize).collect();
    let kept: f64 = listed.iter().map(|&c| p[c]).sum();
    let lse = case.student[0].values.iter().map(|z| z.exp()).sum::<f64>().ln();
    let term = |p: f64, c: usize| p * (p.ln() - (case.student[0].values[c] - lse));
    let renormalised: f64 = listed.iter().map(|&c| term(p[c] / kept, c)).sum();
    let uniform: f64 =
        (0..5).map(|c| term(if listed.contains(&c) { p[c] / sum } else { (1.0 - kept / sum) / 3.0 }, c)).sum();
    near(loss_of("kind = \"kd\"\ntemperature = 1\ntail = \"renormalise\"", &top), renormalised, 1e-12);
    near(loss_of("kind = \"kd\"\ntemperature = 1\ntail = \"uniform\"", &top), uniform, 1e-12);
}

#[test]
fn what_the_file_lacks_is_named() {
    let case = logits(3, 9);
    let top = with_top_k(&case, 4);
    for text in [
        "kind = \"kd\"\ntemperature = 3",
        "kind = \"kd\"\ntemperature = 20\ntail = \"uniform\"",
        "kind = \"kd\"\nnoise = {}",
        "kind = \"logit-std\"",
        "kind = \"dist\"",
    ] {
        let error = error_of(text, &top);
        assert!(matches!(&error, LossError::Head { head, .. } if head == "--head logits:dense"), "{text}: {error}");
    }
    assert!(loss_of("kind = \"kd\"\ntemperature = 20\ntail = \"renormalise\"", &top) > 0.0);
    let unlabelled = Case { labels: vec![None; 3], ..logits(3, 9) };
    for kind in ["cross-entropy", "dkd", "wsld", "virtual-teacher", "ps-kd"] {
        let error = error_of(&format!("kind = \"{kind}\""), &unlabelled);
        assert!(matches!(error, LossError::Label { sample: 0, .. }), "{kind}: {error}");
    }
    // The true class was not forced in
    let mut top = with_top_k(&Case { labels: vec![None; 3], ..logits(3, 9) }, 1);
    let Teacher::TopK(t) = &top.teacher[0] else { panic!("top-K") };
    top.labels = t.index.iter().map(|&c| Some((c as usize + 1) % 9)).collect();
    for kind in ["dkd", "wsld"] {
        assert!(matches!(error_of(&format!("kind = \"{kind}\""), &top), LossError::Head { .. }), "{kind}");
    }
    let narrow = given(vec![batch(1, &[4], 3)], vec![batch(2, &[9], 3)]);
    for kind in ["kd", "dist", "logit-std"] {
        assert!(matches!(error_of(&format!("kind = \"{kind}\""), &narrow), LossError::Shapes { .. }), "{kind}");
    }
}

#[test]
fn dist_does_not_see_the_scale_of_probabilities_and_standardised_logits_not_that_of_logits() {
    let case = logits(4, 6);
    let same = given(vec![batch(2, &[6], 4)], vec![batch(2, &[6], 4)]);
    near(loss_of("kind = \"dist\"", &same), 0.0, 1e-12);
    let mut moved = logits(4, 6);
    moved.student[0].values.iter_mut().for_each(|s| *s = 3.0 * *s + 1.5);
    // 1e-7 is added to the deviation
    near(loss_of("kind = \"logit-std\"", &moved), loss_of("kind = \"logit-std\"", &case), 1e-6);
}

#[test]
fn the_gradient_of_weighted_soft_labels_is_that_of_kd_times_the_weight() {
    let case = logits(1, 6);
    let text = "\ntemperature = 2";
    let find =
        |kind: &str| method(&format!("kind = \"{kind}\"{text}")).build(7).evaluate(&case.given()).expect("a loss");
    let (wsld, kd) = (find("wsld"), find("kd"));
    let Teacher::Dense(t) = &case.teacher[0] else { panic!("dense") };
    let (s, y) = (&case.student[0].values, case.labels[0].expect("a label"));
    let ce = |z: &[f64]| z.iter().map(|z| z.exp()).sum::<f64>().ln() - z[y];
    let weight = 1.0 - (-ce(s) / (ce(&t.values) + 1e-7)).exp();
    for (w, k) in wsld.gradients[0].values.iter().zip(&kd.gradients[0].values) {
        near(*w, weight * k, 1e-12);
    }
}

#[test]
fn noise_depends_on_seed_sample_and_step_alone() {
    let text = "kind = \"kd\"\nnoise = { fraction = 1.0, variance = 0.5 }";
    let case = logits(4, 6);
    let clean = loss_of("kind = \"kd\"", &case);
    let noisy = loss_of(text, &case);
    assert_ne!(noisy, clean);
    assert_eq!(noisy, loss_of(text, &case));
    assert_ne!(noisy, method(text).build(8).evaluate(&case.given()).expect("a loss").loss);
    let later = Case { progress: Progress { step: 51, ..case.progress }, ..logits(4, 6) };
    assert_ne!(noisy, loss_of(text, &later));
    assert_eq!(clean, loss_of("kind = \"kd\"\nnoise = { fraction = 0.0 }", &case));
    check(&method(text), &case);
}

#[test]
fn ps_kd_begins_with_the_label_and_ends_at_alpha() {
    let at = |step| Case { progress: Progress { step, total: 100, epoch_steps: 10 }, ..logits(3, 5) };
    near(loss_of("kind = \"ps-kd\"", &at(9)), loss_of("kind = \"cross-entropy\"", &at(9)), 1e-12);
    // Cross-entropy is linear in the target
    let past = |alpha: f64, step| loss_of(&format!("kind = \"ps-kd\"\nalpha = {alpha:?}"), &at(step));
    let label = loss_of("kind = \"cross-entropy\"", &at(0));
    near(past(0.8, 99) - label, 0.8 * (past(1.0, 99) - label), 1e-12);
    near(past(0.8, 40) - label, 0.4 * (past(1.0, 99) - label), 1e-12);
    let mut first = at(3);
    first.teacher.clear();
    assert!(loss_of("kind = \"ps-kd\"", &first).is_finite());
}

#[test]
fn equal_logits_and_one_sample_give_finite_gradients() {
    for text in OVER_LOGITS.iter().chain(&["kind = \"wsld\""]) {
        for samples in [1, 3] {
            for value in [0.0, 60.0] {
                for spread in [0.0, 1.0] {
                    let mut case = logits(samples, 4);
                    case.student[0].values.iter_mut().for_each(|s| *s = value + spread * *s);
                    case.student[0].values[0] += 700.0 * spread;
                    assert_finite(text, &case);
                    case.teacher = vec![Teacher::Dense(case.student[0].clone())];
                    assert_finite(text, &case);
                    case.student[0] = batch(1, &[4], samples);
                    assert_finite(text, &case);
                }
            }
        }
    }
}

fn assert_finite(text: &str, case: &Case) {
    let found = method(text).build(7).evaluate(&case.given()).expect("a loss");
    let largest = found.gradients.iter().flat_map(|g| &g.values).fold(0.0f64, |m, g| m.max(g.abs()));
    assert!(found.loss.is_finite(), "{text}: {}", found.loss);
    assert!(
        found.gradients.iter().flat_map(|g| &g.values).all(|g| g.is_finite()) && largest < 1e6,
        "{text}: {found:?}"
    );
}

#[test]
fn a_small_step_against_the_gradient_lowers_the_loss() {
    for text in OVER_LOGITS.iter().chain(&["kind = \"wsld\""]) {
        falls(text, logits(5, 7));
    }
}

fn falls(text: &str, mut case: Case) {
    let before = method(text).build(7).evaluate(&case.given()).expect("a loss");
    let square: f64 = before.gradients.iter().flat_map(|g| &g.values).map(|g| g * g).sum();
    assert!(square > 0.0, "{text}: no slope");
    for (tap, gradient) in case.student.iter_mut().zip(&before.gradients) {
        tap.values.iter_mut().zip(&gradient.values).for_each(|(s, g)| *s -= 1e-4 * g / square.sqrt());
    }
    let after = loss_of(text, &case);
    assert!(after < before.loss, "{text}: {} to {after}", before.loss);
}
