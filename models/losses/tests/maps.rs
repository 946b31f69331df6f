//! Closed forms and invariants of the losses over feature maps, maps without information, and what is refused.

#[allow(dead_code, reason = "shared with the tests of gradients")]
mod common;

use common::{Case, batch, given};
use limbeck_losses::{Batch, Evaluated, LossError, Method, Needs, Teacher, TopKBatch, Vid};

/// Every loss, with the options that change its formula.
const ALL: [&str; 17] = [
    "kind = \"fitnets\"",
    "kind = \"at\"\nteacher = \"features\"",
    "kind = \"at\"\nteacher = \"features\"\nform = \"paper\"",
    "kind = \"at\"\nteacher = \"features\"\np = 1",
    "kind = \"at\"",
    "kind = \"fsp\"",
    "kind = \"fsp\"\nform = \"column-norm\"",
    "kind = \"nst\"",
    "kind = \"vid\"",
    "kind = \"ab\"",
    "kind = \"ofd\"",
    "kind = \"ft\"",
    "kind = \"ft\"\np = 2",
    "kind = \"review-kd\"\ntaps = 1",
    "kind = \"review-kd\"\ntaps = 2",
    "kind = \"ickd\"",
    "kind = \"ickd\"\nreduction = \"mean-twice\"",
];

fn method(text: &str) -> Method {
    Method::parse(toml::from_str(text).expect("TOML")).expect("a loss")
}

fn evaluate(text: &str, student: Vec<Batch>, teacher: Vec<Batch>) -> Evaluated {
    method(text).build(0).evaluate(&given(student, teacher).given()).expect("a loss")
}

fn loss(text: &str, s: &Batch, t: &Batch) -> f64 {
    evaluate(text, vec![s.clone()], vec![t.clone()]).loss
}

fn refused(text: &str, case: &Case) -> String {
    match method(text).build(0).evaluate(&case.given()) {
        Ok(found) => panic!("{text} gave {found:?}"),
        Err(error) => error.to_string(),
    }
}

/// The same map for each tap and key that a loss reads; the teacher's attention where it wants that, and variances beside `vid`'s means.
fn repeated(text: &str, s: &Batch, t: &Batch) -> Case {
    let method = method(text);
    let needs = method.needs();
    let mut student = vec![s.clone(); needs.student];
    if text.contains("vid") {
        student[1] = batch(9, &s.dims[..1], s.samples());
    }
    let attention = |t: &Batch| {
        let mut dims = t.dims.clone();
        dims[0] = 1;
        let values = t.values.chunks(t.len()).flat_map(|sample| sample[..t.len() / t.dims[0]].to_vec()).collect();
        Batch::new(&dims, values)
    };
    let t = if needs.head == "attention" { attention(t) } else { t.clone() };
    given(student, vec![t; needs.teacher])
}

fn map(f: impl Fn(f64) -> f64, x: &Batch) -> Batch {
    Batch::new(&x.dims, x.values.iter().map(|&x| f(x)).collect())
}

fn close(a: f64, b: f64) {
    assert!((a - b).abs() <= 1e-12 * a.abs().max(b.abs()).max(1e-3), "{a} against {b}");
}

#[test]
fn maps_without_information_give_numbers() {
    for text in ALL {
        for dims in [vec![3, 4, 4], vec![3, 1, 1], vec![3], vec![1, 2, 2], vec![1, 1, 1]] {
            for samples in [1, 2] {
                let drawn = batch(1, &dims, samples);
                let maps = [map(|_| 0.0, &drawn), map(|_| 0.5, &drawn), map(|_| -2.0, &drawn), drawn];
                for (s, t) in maps.iter().flat_map(|s| maps.iter().map(move |t| (s, t))) {
                    let case = repeated(text, s, t);
                    let found = method(text).build(0).evaluate(&case.given()).expect(text);
                    assert!(found.loss.is_finite(), "{text}, {dims:?}: {}", found.loss);
                    for gradient in &found.gradients {
                        let largest =
                            gradient.values.iter().fold(0.0f64, |m, g| if g.is_nan() { *g } else { m.max(g.abs()) });
                        assert!(largest < 1e6, "{text}, {dims:?}: a gradient of {largest}");
                    }
                }
            }
        }
    }
}

#[test]
fn the_teachers_own_map_costs_nothing() {
    let t = batch(1, &[3, 4, 6], 2);
    for text in ALL.into_iter().filter(|text| !["vid", "ab", "ofd"].iter().any(|kind| text.contains(kind))) {
        if text == "kind = \"at\"" {
            continue; // reads another thing than the map, see below
        }
        let case = repeated(text, &t, &t);
        let found = method(text).build(0).evaluate(&case.given()).expect(text);
        assert!(found.loss.abs() < 1e-15, "{text}: {}", found.loss);
        assert!(found.gradients.iter().flat_map(|g| &g.values).all(|g| g.abs() < 1e-14), "{text}");
    }
}

#[test]
fn attention_sees_neither_scale_nor_order_of_channels() {
    let (s, t) = (batch(1, &[2, 3, 4], 2), batch(2, &[5, 3, 4], 2));
    for text in &ALL[1..4] {
        close(loss(text, &s, &t), loss(text, &map(|x| -3.5 * x, &s), &map(|x| 0.25 * x, &t)));
        let turned = Batch::new(&s.dims, s.values.chunks(24).flat_map(|b| [&b[12..], &b[..12]].concat()).collect());
        close(loss(text, &s, &t), loss(text, &turned, &t));
    }
}

#[test]
fn a_kept_attention_map_does_what_the_features_do() {
    let (s, t) = (batch(1, &[2, 3, 4], 2), batch(2, &[3, 3, 4], 2));
    let sum = |b: &[f64], i: usize| (0..3).map(|c| b[c * 12 + i] * b[c * 12 + i]).sum::<f64>();
    let attention = Batch::new(&[1, 3, 4], t.values.chunks(36).flat_map(|b| (0..12).map(|i| sum(b, i))).collect());
    for form in ["code", "paper"] {
        let text = format!("kind = \"at\"\nform = \"{form}\"");
        let features = format!("{text}\nteacher = \"features\"");
        let (kept, live) = (
            evaluate(&text, vec![s.clone()], vec![attention.clone()]),
            evaluate(&features, vec![s.clone()], vec![t.clone()]),
        );
        assert_eq!(kept, live);
    }
}

#[test]
fn one_pixel_reduces_hints_and_reviews_to_the_mean_square() {
    let (s, t) = (batch(1, &[6, 1, 1], 3), batch(2, &[6, 1, 1], 3));
    let mean = s.values.iter().zip(&t.values).map(|(s, t)| (s - t) * (s - t)).sum::<f64>() / 18.0;
    close(loss("kind = \"fitnets\"", &s, &t), mean);
    close(loss("kind = \"review-kd\"\ntaps = 1", &s, &t), mean);
}

#[test]
fn vid_at_variance_one_is_half_the_mean_square_and_least_at_the_square_itself() {
    let (s, t) = (batch(1, &[2, 3, 3], 1), batch(2, &[2, 3, 3], 1));
    let rho = |variances: [f64; 2]| Batch::new(&[2], variances.map(Vid::rho).to_vec());
    let found = evaluate("kind = \"vid\"", vec![s.clone(), rho([1.0; 2])], vec![t.clone()]);
    close(found.loss, loss("kind = \"fitnets\"", &s, &t) / 2.0);

    let square = |c: usize| (9 * c..9 * c + 9).map(|i| (s.values[i] - t.values[i]).powi(2)).sum::<f64>() / 9.0;
    let best = evaluate("kind = \"vid\"", vec![s.clone(), rho([square(0), square(1)])], vec![t.clone()]);
    assert!(best.gradients[1].values.iter().all(|g| g.abs() < 1e-15), "{:?}", best.gradients[1]);
    for off in [0.9, 1.1] {
        let worse = evaluate("kind = \"vid\"", vec![s.clone(), rho([square(0) * off, square(1)])], vec![t.clone()]);
        assert!(worse.loss > best.loss);
    }
}

#[test]
fn boundaries_cost_nothing_exactly_where_margins_are_met() {
    let signs = Batch::new(&[4, 1, 1], vec![1.0, 1.0, 0.0, 0.0]);
    let student = |values: [f64; 4]| Batch::new(&[4, 1, 1], values.to_vec());
    assert_eq!(loss("kind = \"ab\"", &student([1.0, 7.0, -1.0, -9.0]), &signs), 0.0);
    // (0.5 - 1)² + (0 + 1)² = 1.25, and one more unit of margin
    close(loss("kind = \"ab\"", &student([0.5, 7.0, -1.0, 0.0]), &signs), 1.25);
    close(loss("kind = \"ab\"\nmargin = 2", &student([1.0, 7.0, -1.0, -9.0]), &signs), 2.0);
}

#[test]
fn ofd_leaves_a_student_below_a_negative_target_alone() {
    // The case of MMRazor's own test of its OFDLoss: 0
    let s = Batch::new(&[2, 1, 1], vec![-3.0, -3.0, -2.0, -2.0, -1.0, -1.0]);
    let t = Batch::new(&[2, 1, 1], vec![-2.0, -2.0, -1.0, -1.0, 0.0, 0.0]);
    assert_eq!(loss("kind = \"ofd\"\nmargins = [-9.0, -9.0]", &s, &t), 0.0);
    // Its mirror image: each is 1 above its target, two values a sample
    close(loss("kind = \"ofd\"\nmargins = [-9.0, -9.0]", &t, &s), 2.0);
    // A margin of -1.5 (the mean of -2 and -1) lifts the target -2 and spares the student nothing above it
    close(loss("kind = \"ofd\"", &map(|_| -1.0, &s), &t), 0.5 / 3.0);
}

#[test]
fn nst_sees_neither_scale_nor_copies_of_channels() {
    let (s, t) = (batch(1, &[2, 3, 3], 2), batch(2, &[3, 3, 3], 2));
    let twice = Batch::new(&[4, 3, 3], s.values.chunks(18).flat_map(|b| [b, b].concat()).collect());
    assert!(loss("kind = \"nst\"", &twice, &s) < 1e-15);
    close(loss("kind = \"nst\"", &twice, &t), loss("kind = \"nst\"", &s, &t));
    close(loss("kind = \"nst\"", &map(|x| 4.0 * x, &s), &t), loss("kind = \"nst\"", &s, &t));
}

#[test]
fn factors_and_correlations_do_not_see_scale() {
    let (s, t) = (batch(1, &[3, 4, 2], 2), batch(2, &[3, 4, 2], 2));
    for text in ["kind = \"ft\"", "kind = \"ft\"\np = 2", "kind = \"ickd\""] {
        close(loss(text, &map(|x| 5.0 * x, &s), &map(|x| 0.1 * x, &t)), loss(text, &s, &t));
    }
}

#[test]
fn flows_and_correlations_do_not_see_the_order_of_pixels_nor_copies_of_them() {
    let (s, t) = (batch(1, &[3, 2, 3], 2), batch(2, &[3, 2, 3], 2));
    let reversed = |x: &Batch| Batch::new(&x.dims, x.values.chunks(6).flat_map(|c| c.iter().rev().copied()).collect());
    let copied = |x: &Batch| Batch::new(&[3, 2, 6], x.values.iter().flat_map(|&x| [x, x]).collect());
    close(loss("kind = \"ickd\"", &reversed(&s), &t), loss("kind = \"ickd\"", &s, &t));
    close(loss("kind = \"ickd\"", &copied(&s), &t), loss("kind = \"ickd\"", &s, &t));
    for text in ["kind = \"fsp\"", "kind = \"fsp\"\nform = \"column-norm\""] {
        let flow = |s: [Batch; 2]| evaluate(text, s.to_vec(), vec![t.clone(), t.clone()]).loss;
        let plain = flow([s.clone(), s.clone()]);
        close(flow([reversed(&s), reversed(&s)]), plain);
        close(flow([copied(&s), copied(&s)]), plain);
        // One layer at twice the size, of copies: both poolings undo it
        close(flow([copied(&s), s.clone()]), plain);
    }
}

#[test]
fn a_recipe_knows_what_each_loss_reads() {
    let needs = |student, teacher, head| Needs { student, teacher, labels: false, head };
    for (text, expected) in [
        ("kind = \"fitnets\"", needs(1, 1, "feat")),
        ("kind = \"at\"", needs(1, 1, "attention")),
        ("kind = \"at\"\nteacher = \"features\"", needs(1, 1, "feat")),
        ("kind = \"fsp\"", needs(2, 2, "feat")),
        ("kind = \"nst\"", needs(1, 1, "feat")),
        ("kind = \"vid\"", needs(2, 1, "feat")),
        ("kind = \"ab\"", needs(1, 1, "sign")),
        ("kind = \"ofd\"", needs(1, 1, "feat")),
        ("kind = \"ft\"", needs(1, 1, "feat")),
        ("kind = \"review-kd\"", needs(4, 4, "feat")),
        ("kind = \"review-kd\"\ntaps = 3", needs(3, 3, "feat")),
        ("kind = \"ickd\"", needs(1, 1, "feat")),
    ] {
        assert_eq!(method(text).needs(), expected, "{text}");
    }
}

#[test]
fn maps_that_do_not_fit_are_refused_with_the_connector() {
    let case = |s: &[usize], t: &[usize]| given(vec![batch(1, s, 2)], vec![batch(2, t, 2)]);
    for text in ALL.into_iter().filter(|text| !["fsp", "ickd"].iter().any(|kind| text.contains(kind))) {
        let base = repeated(text, &batch(1, &[3, 7, 7], 2), &batch(2, &[3, 4, 4], 2));
        let error = refused(text, &base);
        assert!(error.contains("7 x 7") && error.contains("4 x 4"), "{error}");
        assert!(error.contains("connector = \"resize\""), "{error}");
    }
    let none = refused("kind = \"fitnets\"\nresize = \"none\"", &case(&[3, 4, 4], &[3, 2, 2]));
    assert!(none.contains("resize = \"pool\""), "{none}");
    for text in ALL.into_iter().filter(|text| !text.contains("\"at\"") && !text.contains("nst")) {
        let error = refused(text, &repeated(text, &batch(1, &[2, 4, 4], 2), &batch(2, &[3, 4, 4], 2)));
        assert!(error.contains("connector = \"conv1x1\""), "{error}");
    }
    // Signs have no mean
    let error = refused("kind = \"ab\"", &case(&[3, 2, 2], &[3, 4, 4]));
    assert!(error.contains("connector = \"resize\""), "{error}");
    // Five channels are no attention map
    let error = refused("kind = \"at\"", &case(&[3, 4, 4], &[5, 4, 4]));
    assert!(error.contains("teacher = \"features\""), "{error}");
    // ρ by pixel
    let error = refused("kind = \"vid\"", &given(vec![batch(1, &[3, 2, 2], 2); 2], vec![batch(2, &[3, 2, 2], 2)]));
    assert!(error.contains("connector = \"vid\""), "{error}");
}

#[test]
fn what_is_missing_is_named_and_nothing_panics() {
    let drawn = |samples| batch(1, &[3, 2, 2], samples);
    for text in ALL {
        let base = repeated(text, &drawn(2), &drawn(2));
        let no_tap = Case { student: vec![], ..given(vec![drawn(2)], vec![]) };
        assert!(refused(text, &no_tap).contains("tap"), "{}", refused(text, &no_tap));
        let no_key = Case { student: base.student.clone(), ..given(vec![drawn(2)], vec![]) };
        assert!(refused(text, &no_key).contains("teacher"), "{}", refused(text, &no_key));
        let shorter = repeated(text, &drawn(2), &drawn(1));
        assert!(refused(text, &shorter).contains("samples"), "{}", refused(text, &shorter));
        let empty = Batch { dims: vec![3, 2, 2], values: vec![] };
        assert!(refused(text, &repeated(text, &empty, &empty)).contains("empty"));
        let flat = batch(1, &[3, 4], 2);
        assert!(refused(text, &repeated(text, &flat, &flat)).contains("(C, H, W)"));

        let top = TopKBatch {
            classes: 9,
            k: 1,
            index: vec![0; 2],
            z: vec![0.0; 2],
            lse: vec![1.0; 2],
            tail_lse: vec![0.5; 6],
            mean: vec![-1.0; 2],
            sd: vec![1.0; 2],
        };
        let mut largest = repeated(text, &drawn(2), &drawn(2));
        largest.teacher.fill(Teacher::TopK(top));
        assert!(matches!(method(text).build(0).evaluate(&largest.given()), Err(LossError::Head { .. })), "{text}");
    }
}

#[test]
fn options_that_cannot_be_are_refused() {
    for (text, named) in [
        ("kind = \"at\"\np = 0", "nonzero"),
        ("kind = \"at\"\nform = \"codes\"", "codes"),
        ("kind = \"ft\"\np = 3", "p = 1 or p = 2"),
        ("kind = \"review-kd\"\nsizes = [4, 0]", "nonzero"),
        ("kind = \"fitnets\"\nresize = \"bilinear\"", "bilinear"),
        ("kind = \"nst\"\nkernel = \"poly\"", "kernel"),
    ] {
        let error = Method::parse(toml::from_str(text).expect("TOML")).unwrap_err().to_string();
        assert!(error.contains(named), "{error}");
    }
    let case = given(vec![batch(1, &[3, 2, 2], 2)], vec![batch(2, &[3, 2, 2], 2)]);
    for margin in ["-1.0", "nan", "inf"] {
        let error = refused(&format!("kind = \"ab\"\nmargin = {margin}"), &case);
        assert!(error.contains("margin"), "{error}");
    }
    let error = refused("kind = \"ofd\"\nmargins = [-1.0]", &case);
    assert!(error.contains("3 channels"), "{error}");
    let error = refused("kind = \"review-kd\"", &case);
    assert!(error.contains("taps = 4"), "{error}");
}
