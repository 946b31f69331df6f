//! Every gradient of the losses over feature maps against central differences, in f64: each option, and each way in which sizes can differ.

mod common;

use common::{batch, check, given};
use limbeck_losses::{Batch, Method};

fn method(kind: &str, options: &str) -> Method {
    Method::parse(toml::from_str(&format!("kind = \"{kind}\"\n{options}")).expect("TOML")).expect("a loss")
}

/// Shapes of student and teacher: equal, either larger, each larger on one axis, one pixel, a vector, one channel.
fn sizes(c: usize) -> Vec<(Vec<usize>, Vec<usize>)> {
    vec![
        (vec![c, 4, 4], vec![c, 4, 4]),
        (vec![c, 4, 6], vec![c, 2, 3]),
        (vec![c, 2, 3], vec![c, 4, 6]),
        (vec![c, 4, 2], vec![c, 2, 4]),
        (vec![c, 1, 1], vec![c, 1, 1]),
        (vec![c], vec![c, 1, 1]),
        (vec![1, 3, 2], vec![1, 3, 2]),
    ]
}

/// With one tap and one key, in batches of one and of three.
fn check_sizes(kind: &str, options: &[&str]) {
    for options in options {
        for (s, t) in sizes(3) {
            for samples in [1, 3] {
                check(&method(kind, options), &given(vec![batch(1, &s, samples)], vec![batch(2, &t, samples)]));
            }
        }
    }
}

#[test]
fn fitnets() {
    check_sizes("fitnets", &["", "resize = \"pool\""]);
}

#[test]
fn at() {
    let options = ["", "form = \"paper\"", "p = 1", "p = 3", "form = \"paper\"\np = 4"];
    check_sizes("at", &options.map(|o| format!("teacher = \"features\"\n{o}")).each_ref().map(|o| &o[..]));
    for (s, mut t) in sizes(3) {
        t[0] = 1;
        for options in options {
            check(&method("at", options), &given(vec![batch(1, &s, 2)], vec![batch(2, &t, 2)]));
        }
    }
}

#[test]
fn fsp() {
    let layers: [(&[usize], &[usize]); 5] = [
        (&[3, 4, 4], &[2, 4, 4]),
        (&[3, 6, 4], &[2, 3, 2]),
        (&[2, 3, 2], &[4, 5, 3]),
        (&[3, 5, 2], &[2, 2, 5]),
        (&[3], &[2, 1, 1]),
    ];
    for options in ["", "form = \"column-norm\""] {
        for (first, second) in layers {
            for samples in [1, 3] {
                let student = vec![batch(1, first, samples), batch(2, second, samples)];
                let teacher = vec![batch(3, &[first[0], 4, 4], samples), batch(4, &[second[0], 2, 3], samples)];
                check(&method("fsp", options), &given(student, teacher));
            }
        }
    }
}

#[test]
fn nst() {
    check_sizes("nst", &[""]);
    check(&method("nst", ""), &given(vec![batch(1, &[5, 4, 4], 2)], vec![batch(2, &[3, 2, 2], 2)]));
}

#[test]
fn vid() {
    for (s, t) in sizes(3) {
        for samples in [1, 3] {
            let rho = batch(3, &s[..1], samples);
            check(&method("vid", ""), &given(vec![batch(1, &s, samples), rho], vec![batch(2, &t, samples)]));
        }
    }
    // Variances from next to nothing to far beyond e^ρ's precision
    let rho = Batch::new(&[4], vec![-8.0, -2.0, 4.0, 50.0]);
    check(&method("vid", ""), &given(vec![batch(1, &[4, 2, 2], 1), rho], vec![batch(2, &[4, 2, 2], 1)]));
}

#[test]
fn ab() {
    let signs = |dims: &[usize], samples| {
        let drawn = batch(2, dims, samples);
        Batch::new(dims, drawn.values.iter().map(|v| f64::from(*v > 0.0)).collect())
    };
    for options in ["", "margin = 0.5", "margin = 0"] {
        for (s, t) in [([3, 4, 4], [3, 4, 4]), ([3, 4, 6], [3, 2, 3]), ([2, 1, 1], [2, 1, 1])] {
            for samples in [1, 3] {
                check(&method("ab", options), &given(vec![batch(1, &s, samples)], vec![signs(&t, samples)]));
            }
        }
    }
}

#[test]
fn ofd() {
    check_sizes("ofd", &[""]);
    check(
        &method("ofd", "margins = [-0.5, -1.0, -0.1]"),
        &given(vec![batch(1, &[3, 4, 4], 2)], vec![batch(2, &[3, 4, 4], 2)]),
    );
}

#[test]
fn ft() {
    check_sizes("ft", &["", "p = 2"]);
}

#[test]
fn review_kd() {
    check_sizes("review-kd", &["taps = 1", "taps = 1\nsizes = [3, 2]", "taps = 1\nsizes = []"]);
    let dims: [&[usize]; 4] = [&[2, 8, 8], &[3, 5, 7], &[4, 2, 2], &[5, 1, 1]];
    let taps = |seed| dims.iter().enumerate().map(|(i, d)| batch(seed + i as u64, d, 2)).collect();
    check(&method("review-kd", ""), &given(taps(10), taps(20)));
}

#[test]
fn ickd() {
    for options in ["", "reduction = \"mean-twice\""] {
        for (s, t) in [([3, 4, 4], [3, 4, 4]), ([3, 4, 4], [3, 5, 2]), ([3, 1, 1], [3, 1, 1]), ([1, 2, 2], [1, 2, 2])] {
            for samples in [1, 3] {
                check(&method("ickd", options), &given(vec![batch(1, &s, samples)], vec![batch(2, &t, samples)]));
            }
        }
    }
}
