//! Losses over logits and vectors against torchdistill, and PyTorch's autograd where it has no such class: `golden/logits.py` made the
//! values. CRD and the discriminator are compared inside the crate, where their memory can be set.

use limbeck_losses::{Batch, Given, Method, Progress, Teacher, TopKBatch};
use serde::Deserialize;

/// Both sides compute in f64, in another order; RKD and IRG subtract distances there, which loses a few digits more.
const WITHIN: f64 = 1e-9;

#[derive(Deserialize)]
struct Golden {
    torchdistill: String,
    sha256: serde_json::Map<String, serde_json::Value>,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    name: String,
    text: String,
    student: Vec<Value>,
    teacher: Vec<Value>,
    top_k: Option<TopK>,
    labels: Option<Vec<usize>>,
    progress: [usize; 3],
    loss: f64,
    gradients: Vec<Vec<f64>>,
}

#[derive(Deserialize)]
struct Value {
    dims: Vec<usize>,
    values: Vec<f64>,
}

#[derive(Deserialize)]
struct TopK {
    classes: usize,
    k: usize,
    index: Vec<u16>,
    z: Vec<f64>,
    lse: Vec<f64>,
    tail_lse: Vec<f64>,
    mean: Vec<f64>,
    sd: Vec<f64>,
}

fn golden() -> Golden {
    serde_json::from_str(include_str!("golden/logits.json")).expect("golden/logits.json")
}

fn batch(value: Value) -> Batch {
    Batch::new(&value.dims, value.values)
}

/// Every value within `WITHIN` of the largest.
fn assert_near(what: &str, found: &[f64], expected: &[f64]) {
    assert_eq!(found.len(), expected.len(), "{what}");
    let largest = expected.iter().fold(0.0f64, |m, e| m.max(e.abs()));
    assert!(largest > 0.0, "{what}: nothing to compare");
    for (i, (f, e)) in found.iter().zip(expected).enumerate() {
        assert!((f - e).abs() <= WITHIN * largest, "{what}, value {i}: {f}, and {e} by the other implementation");
    }
}

#[test]
fn losses_and_gradients_are_those_of_another_implementation() {
    for case in golden().cases {
        let method = Method::parse(toml::from_str(&case.text).expect("TOML")).expect("a loss");
        let student: Vec<Batch> = case.student.into_iter().map(batch).collect();
        let mut teacher: Vec<Teacher> = case.teacher.into_iter().map(|t| Teacher::Dense(batch(t))).collect();
        teacher.extend(case.top_k.map(|t| {
            let TopK { classes, k, index, z, lse, tail_lse, mean, sd } = t;
            Teacher::TopK(TopKBatch { classes, k, index, z, lse, tail_lse, mean, sd })
        }));
        let samples: Vec<u64> = (0..student[0].samples() as u64).collect();
        let labels: Vec<Option<usize>> = match case.labels {
            Some(labels) => labels.into_iter().map(Some).collect(),
            None => vec![None; samples.len()],
        };
        let needs = method.needs();
        assert_eq!((needs.student, needs.teacher), (student.len(), teacher.len()), "{}", case.name);
        assert!(!needs.labels || labels.iter().all(Option::is_some), "{}", case.name);
        let [step, total, epoch_steps] = case.progress;
        let progress = Progress { step, total, epoch_steps };
        let given = Given { student: &student, teacher: &teacher, labels: &labels, samples: &samples, progress };
        let found = method.build(1).evaluate(&given).expect("a loss");
        assert_near(&format!("{}, loss", case.name), &[found.loss], &[case.loss]);
        for (tap, expected) in case.gradients.iter().enumerate() {
            assert_near(&format!("{}, gradient of tap {tap}", case.name), &found.gradients[tap].values, expected);
        }
    }
}

#[test]
fn every_loss_over_logits_and_vectors_has_a_golden_case() {
    let golden = golden();
    assert_eq!(golden.torchdistill, "1.1.5");
    assert_eq!(golden.sha256.len(), 2);
    for kind in [
        "logit-mse",
        "kd",
        "cross-entropy",
        "dkd",
        "dist",
        "logit-std",
        "wsld",
        "skd",
        "virtual-teacher",
        "ps-kd",
        "sp",
        "rkd",
        "cc",
        "pkt",
        "irg",
        "srd",
    ] {
        let named = format!("kind = \"{kind}\"");
        assert!(golden.cases.iter().any(|c| c.text.lines().any(|line| line == named)), "{kind}");
    }
}
