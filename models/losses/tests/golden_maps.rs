//! The losses over feature maps against torchdistill and PyTorch: `golden/maps.json`, made by `golden/maps.py`.

use std::collections::BTreeSet;

use limbeck_losses::{Batch, Given, Method, Progress, Teacher, Vid};
use serde_json::Value;

/// Both sides are f64; they add in other orders.
const TOLERANCE: f64 = 1e-9;

fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().expect("an array").iter().map(|n| n.as_f64().expect("a number")).collect()
}

fn batches(value: &Value) -> Vec<Batch> {
    let batch = |b: &Value| {
        let dims: Vec<usize> = numbers(&b["dims"]).into_iter().map(|n| n as usize).collect();
        Batch::new(&dims, numbers(&b["values"]))
    };
    value.as_array().expect("batches").iter().map(batch).collect()
}

fn golden() -> Vec<Value> {
    let golden: Value = serde_json::from_str(include_str!("golden/maps.json")).expect("JSON");
    golden["cases"].as_array().expect("cases").clone()
}

#[test]
fn losses_and_gradients_are_those_of_torchdistill_and_pytorch() {
    for case in golden() {
        let name = case["name"].as_str().expect("a name");
        let options = toml::from_str(case["options"].as_str().expect("options")).expect("TOML");
        let student = batches(&case["student"]);
        let teacher: Vec<Teacher> = batches(&case["teacher"]).into_iter().map(Teacher::Dense).collect();
        let samples = student[0].samples();
        let given = Given {
            student: &student,
            teacher: &teacher,
            labels: &vec![None; samples],
            samples: &(0..samples as u64).collect::<Vec<_>>(),
            progress: Progress { step: 0, total: 1, epoch_steps: 1 },
        };
        let method = Method::parse(options).expect("a loss");
        assert_eq!((method.needs().student, method.needs().teacher), (student.len(), teacher.len()), "{name}");
        let found = method.build(0).evaluate(&given).expect(name);

        let loss = case["loss"].as_f64().expect("a loss");
        assert!((found.loss - loss).abs() <= TOLERANCE * loss.abs(), "{name}: loss {} against {loss}", found.loss);
        let gradients = case["gradients"].as_array().expect("gradients");
        assert_eq!(found.gradients.len(), gradients.len(), "{name}");
        for (tap, (found, expected)) in found.gradients.iter().zip(gradients).enumerate() {
            let expected = numbers(expected);
            let largest = expected.iter().fold(0.0f64, |m, g| m.max(g.abs()));
            assert!(largest > 0.0, "{name}, tap {tap}: a case without a gradient proves nothing");
            assert_eq!(found.values.len(), expected.len(), "{name}, tap {tap}");
            for (i, (found, expected)) in found.values.iter().zip(&expected).enumerate() {
                let off = (found - expected).abs();
                assert!(off <= TOLERANCE * largest, "{name}, tap {tap}, value {i}: {found} against {expected}");
            }
        }
    }
}

#[test]
fn every_loss_over_maps_has_a_golden_case() {
    let kinds: BTreeSet<String> = golden()
        .iter()
        .map(|case| {
            let table: toml::Table = case["options"].as_str().expect("options").parse().expect("TOML");
            table["kind"].as_str().expect("a kind").to_owned()
        })
        .collect();
    let all = ["ab", "at", "fitnets", "fsp", "ft", "ickd", "nst", "ofd", "review-kd", "vid"];
    assert_eq!(kinds.iter().map(String::as_str).collect::<Vec<_>>(), all);
}

#[test]
fn the_variance_of_vid_begins_where_torchdistill_begins() {
    let case = golden().into_iter().find(|case| case["name"] == "vid_beginning").expect("the case");
    let rho = batches(&case["student"])[1].values[0];
    assert!((Vid::rho(5.0) - rho).abs() < 1e-12, "{} against {rho}", Vid::rho(5.0));
}
