//! What each operator costs, what must stay in float, and what the file says of it.

mod common;

use common::{Pictures, scale};
use limbeck_data::Dataset;
use limbeck_engine::onnx::Model;
use limbeck_quantize::{DropOf, MaxDrop, QuantizeError, QuantizeOptions, Quantized, RangeMethod};
use limbeck_zoo::{Plan, Stage, build};

/// Channels of the stem far apart, which the depthwise convolution behind it undoes: eight bits for both are too few.
fn harmed_at_the_stem() -> Model {
    let stages = vec![Stage::Separable { channels: 8, stride: 2 }, Stage::Separable { channels: 8, stride: 1 }];
    let mut model = build(&Plan { classes: 4, stem: 6, stages }, 8, 11);
    let factor = |c: usize| if c == 0 { 1.0 } else { 1.0 / 4096.0 };
    scale(&mut model, "stem.weight", |at| factor(at / 27));
    scale(&mut model, "stage1.depthwise.weight", |at| 1.0 / factor(at / 9));
    model
}

fn options() -> QuantizeOptions {
    // Equalised, there would be no harm.
    QuantizeOptions { calibration: 32, held_out: 64, equalise: false, sensitivity: true, ..QuantizeOptions::default() }
}

fn max_drop(points: f64, of: DropOf) -> QuantizeOptions {
    QuantizeOptions { max_drop: Some(MaxDrop { points, of }), ..options() }
}

fn titles(quantized: &Quantized) -> Vec<&str> {
    quantized.sensitivity.iter().map(|s| s.node.as_str()).collect()
}

#[test]
fn the_most_harmful_operator_stands_first() {
    let pictures = Pictures::new(8, 96);
    let quantized = pictures.quantize(&harmed_at_the_stem(), &options()).unwrap();
    let operators = titles(&quantized);
    // Either side of the uneven activation loses it, and which side loses more is the data's.
    assert!(
        operators[..2].contains(&"Conv \"stem\"") && operators[..2].contains(&"Conv \"stage1.depthwise\""),
        "{operators:?}"
    );
    // stem, 2 × (depthwise, pointwise), the sum, pool, flatten, classifier.
    assert_eq!(operators.len(), 9);
    let kl: Vec<f64> = quantized.sensitivity.iter().map(|s| s.loss.kl).collect();
    assert!(kl.is_sorted_by(|a, b| a >= b), "{kl:?}");
    assert!(kl[1] > 10.0 * kl[4], "{kl:?}");
    let all = quantized.loss.unwrap();
    assert_eq!((all.samples, all.right), (64, None));
}

#[test]
fn results_do_not_depend_on_the_number_of_threads() {
    let pictures = Pictures::labelled(8, 96);
    let run = |threads| {
        let max = max_drop(10.0, DropOf::Agreement);
        pictures.quantize(&harmed_at_the_stem(), &QuantizeOptions { threads, ..max }).unwrap()
    };
    let one = run(1);
    assert!(one.loss.as_ref().is_some_and(|l| l.right.is_some()));
    for threads in [2, 5] {
        let other = run(threads);
        assert_eq!(other.model.emit(), one.model.emit());
        assert_eq!((other.sensitivity, other.trials), (one.sensitivity.clone(), one.trials.clone()));
    }
}

#[test]
fn measuring_does_not_change_the_student() {
    let pictures = Pictures::new(8, 96);
    let measured = pictures.quantize(&harmed_at_the_stem(), &options()).unwrap();
    let not = QuantizeOptions { sensitivity: false, ..options() };
    let plain = pictures.quantize(&harmed_at_the_stem(), &not).unwrap();
    assert_eq!(measured.model.emit(), plain.model.emit());
    assert!(plain.sensitivity.is_empty() && plain.loss.is_none());
}

#[test]
fn what_stays_in_float_keeps_the_loss_within_bounds_and_says_why() {
    let pictures = Pictures::new(8, 96);
    let model = harmed_at_the_stem();
    let all = pictures.quantize(&model, &options()).unwrap();
    let points = all.loss.as_ref().unwrap().agreement_drop() / 2.0;
    assert!(points > 1.0, "all in int8 loses too little for this test: {points}");
    let kept = pictures.quantize(&model, &max_drop(points, DropOf::Agreement)).unwrap();
    assert!(kept.loss.as_ref().unwrap().agreement_drop() <= points);
    let reasons: Vec<_> = kept.float_nodes.iter().filter(|n| n.reason.contains("points of agreement")).collect();
    let in_float = kept.trials.iter().rev().find(|t| t.enough).unwrap().in_float;
    assert_eq!(reasons.len(), in_float, "{:?}", kept.float_nodes);
    assert!(in_float > 0 && kept.integer_operators > 0);
    // The file that was returned is the candidate that was run.
    let first = &kept.trials[0];
    assert_eq!((first.step.as_str(), first.in_float, first.enough), ("all in int8", 0, false));
}

#[test]
fn with_a_bound_that_int8_meets_nothing_stays_in_float() {
    let pictures = Pictures::new(8, 96);
    let kept = pictures.quantize(&harmed_at_the_stem(), &max_drop(100.0, DropOf::Agreement)).unwrap();
    assert_eq!((kept.trials.len(), kept.float_nodes.len()), (1, 0));
    assert!(kept.exact);
}

#[test]
fn what_cannot_be_asked_is_refused_with_the_way_out() {
    let pictures = Pictures::new(8, 96);
    let refused = |options: &QuantizeOptions, pictures: &Pictures| {
        pictures.quantize(&harmed_at_the_stem(), options).map(|_| ()).unwrap_err().to_string()
    };
    let unlabelled = refused(&max_drop(1.0, DropOf::Accuracy), &pictures);
    assert!(unlabelled.contains("label") && unlabelled.contains("agreement instead"), "{unlabelled}");
    assert!(refused(&max_drop(f64::NAN, DropOf::Agreement), &pictures).contains("NaN points"));
    assert!(refused(&max_drop(-1.0, DropOf::Agreement), &pictures).contains("-1 points"));
    for kept in [0.0, 100.5, f64::NAN] {
        let method = RangeMethod::Percentile(kept);
        assert!(
            refused(&QuantizeOptions { method, ..options() }, &pictures).contains(&format!("percentile of {kept}"))
        );
    }
    let lone = Pictures::new(8, 1);
    assert!(refused(&options(), &lone).contains("at least two"));
}

#[test]
fn a_student_that_no_integers_can_serve_is_refused_and_said_to_be_the_float_one() {
    // Two layers only, and both harmful: logits of a millionth of a huge activation.
    let mut model = build(&Plan { classes: 4, stem: 6, stages: vec![] }, 8, 5);
    scale(&mut model, "stem.weight", |at| if at / 27 == 0 { 1e6 } else { 1.0 });
    scale(&mut model, "classifier.weight", |at| if at % 6 == 0 { 0.0 } else { 1.0 });
    let pictures = Pictures::new(8, 96);
    let error = pictures.quantize(&model, &max_drop(0.0, DropOf::Agreement)).map(|q| q.trials).unwrap_err();
    let QuantizeError::NothingInIntegers { least, operators, .. } = &error else { panic!("{error}") };
    assert!(*least > 0.0 && *operators == 4, "{error}");
    assert!(error.to_string().contains("the float student itself"), "{error}");
}

#[test]
fn the_file_says_how_it_was_made() {
    let pictures = Pictures::new(8, 96);
    let mut model = harmed_at_the_stem();
    model.metadata.insert("limbeck.answers.sha256".into(), "0123".into());
    let options = QuantizeOptions { method: RangeMethod::Percentile(99.9), equalise: true, ..options() };
    let says = pictures.quantize(&model, &options).unwrap().model.metadata;
    assert_eq!(says["limbeck.format"], "1");
    assert_eq!(says["limbeck.arithmetic"], "f32-rne/1");
    assert_eq!(says["limbeck.calibration"], "32 samples, percentile 99.9, equalised, biases corrected");
    assert_eq!(says["limbeck.calibration.sha256"], pictures.sha256().unwrap());
    assert_eq!(says["limbeck.answers.sha256"], "0123", "the float student's own");
    let layers: Vec<&str> = says["limbeck.layers"].lines().collect();
    assert!(layers.contains(&"int8 Conv \"stem\"") && layers.contains(&"int8 Relu \"stem.relu\""), "{layers:?}");

    let kept = pictures.quantize(&harmed_at_the_stem(), &max_drop(3.0, DropOf::Agreement)).unwrap();
    let float: Vec<&str> = kept.model.metadata["limbeck.layers"].lines().filter(|l| l.starts_with("float ")).collect();
    assert_eq!(float.len(), kept.float_nodes.len());
    assert!(float.iter().any(|l| l.contains("3 points of agreement")), "{float:?}");
}
