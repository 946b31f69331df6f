//! Ask a teacher again about some of the answers in a file, and compare.
//!
//! A value may differ by the step of its storage, and by what another CPU's order of sums makes of it:
//!
//! |v_file - v_now| ≤ step(kind, m) + 1e-3 m        m = max |v_now| of the answer (logits: relative to their largest)
//! step: f32 0 · f16 2^-11 m · i8 m / 254 (half of 1/127 of the range)

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Mutex;

use limbeck_answers::rng::Stream;
use limbeck_answers::{Answers, AnswersError, Card, Head, HeadKind, Preprocess, View};
use limbeck_data::{Dataset, Viewed, Watch, parallel};
use limbeck_engine::onnx::{Model, OnnxError};
use limbeck_files::{hex, merkle_root};

use crate::asked::Asked;
use crate::error::TeachError;
use crate::heads::HeadSpec;
use crate::lesson::{check, leaves, lock};
use crate::recent::Recent;

/// Share of a value's magnitude by which CPUs may differ; f32 sums of a deep network agree to about 1e-5.
const SUMS: f32 = 1e-3;
/// Share of the top-K places, and of the signs, that may be another's: near ties fall either way.
const TIES: f64 = 0.01;
/// The stream of random numbers that chooses what is asked again.
const STREAM: u32 = 0x7265_6368;

/// What asking again gave.
#[derive(Clone, Debug, PartialEq)]
pub struct Rechecked {
    /// Answers that were asked for again.
    pub answers: usize,
    /// One for each head of the file.
    pub heads: Vec<HeadCheck>,
}

impl Rechecked {
    /// The file holds what this teacher says.
    pub fn passes(&self) -> bool {
        self.heads.iter().all(HeadCheck::passes)
    }
}

/// How one head compares.
#[derive(Clone, Debug, PartialEq)]
pub struct HeadCheck {
    /// Its name.
    pub key: String,
    /// How it is stored.
    pub kind: HeadKind,
    /// The largest |v_file - v_now|, storage included; 0 for signs.
    pub max_difference: f32,
    /// The largest of these differences, as a share of what is allowed there.
    pub of_allowed: f32,
    /// Logits: answers with another first choice.
    pub other_choice: Option<usize>,
    /// Top K: share of the places with another class. Signs: share of bits that differ.
    pub index_difference: Option<f64>,
}

impl HeadCheck {
    /// Within what storage and CPUs explain.
    pub fn passes(&self) -> bool {
        self.of_allowed <= 1.0 && self.index_difference.is_none_or(|share| share <= TIES)
    }
}

/// What is looked at again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecheckOptions {
    /// How many answers; all of them where the file has no more.
    pub answers: usize,
    /// Chooses which.
    pub seed: u64,
    /// Threads; each runs one sample at a time. The result is the same for any number.
    pub threads: usize,
}

/// Ask the teacher about some answers of the file again, and compare. Teacher, card and data must be those of the file.
pub fn recheck(
    answers: &Answers,
    teacher: &Path,
    card: &Card,
    dataset: &dyn Dataset,
    options: &RecheckOptions,
    watch: &dyn Watch,
) -> Result<Rechecked, TeachError> {
    let threads = options.threads;
    let manifest = answers.manifest();
    let path = answers.path().to_owned();
    let model = Model::read(teacher)?;
    let specs: Vec<HeadSpec> = manifest
        .heads
        .iter()
        .map(|head| head.key.parse::<HeadSpec>().map_err(|e| TeachError::Mismatch(format!("{}: {e}", path.display()))))
        .collect::<Result<_, _>>()?;
    let pcas: Vec<_> = manifest.heads.iter().map(|head| head.pca.clone()).collect();
    let asked = Asked::new(&model, teacher, &specs, &pcas)?;
    check(teacher, &asked, card, dataset)?;
    if dataset.len() as u64 != manifest.dataset.samples {
        let (in_file, expected) = (manifest.dataset.samples.to_string(), dataset.len().to_string());
        return Err(AnswersError::Mismatch { path, field: "data set", in_file, expected }.into());
    }
    let leaves = leaves(dataset, manifest.range(), threads, watch)?;
    // Not `Answers::check`: a part is rechecked as well as a whole.
    let hashes = [
        ("teacher", &manifest.teacher.sha256, limbeck_files::sha256_file(teacher).map_err(OnnxError::File)?),
        ("teacher card", &manifest.card_sha256, card.sha256()),
        ("data set", &manifest.dataset.sha256, hex(&merkle_root(leaves))),
    ];
    for (field, in_file, expected) in hashes {
        if *in_file != expected {
            return Err(AnswersError::Mismatch { path, field, in_file: in_file.clone(), expected }.into());
        }
    }
    for (now, then) in asked.heads().iter().zip(&manifest.heads) {
        if (&now.tensor, &now.dims) != (&then.tensor, &then.dims) {
            let now = format!("{} {:?}", now.tensor, now.dims);
            let (in_file, expected) = (format!("{} {:?}", then.tensor, then.dims), now);
            return Err(AnswersError::Mismatch { path, field: "head", in_file, expected }.into());
        }
    }
    let chosen = choose(answers, options.answers, options.seed);
    let recent = Recent::of(dataset);
    let (viewed, preprocess) = (Viewed::new(&recent, manifest.augment.as_ref()), Preprocess::new(&manifest.card));
    let failed = |source| TeachError::Engine { path: teacher.to_owned(), source };
    let tallies = Mutex::new(vec![Tally::default(); manifest.heads.len()]);
    let done = parallel::for_each(
        chosen.len(),
        threads,
        watch,
        || asked.asker(&preprocess).map_err(failed),
        |asker, i| {
            let (sample, view) = chosen[i];
            let label = viewed.input(&preprocess, sample as usize, view, &mut asker.input)?.only();
            asker.ask().map_err(failed)?;
            for (h, (head, now)) in manifest.heads.iter().zip(&asker.values).enumerate() {
                let tally = compare(answers, head, sample, view, label, now)?;
                lock(&tallies)[h].add(&tally);
            }
            Ok::<_, TeachError>(())
        },
    )?;
    if !done {
        return Err(TeachError::NotBegun);
    }
    let tallies = tallies.into_inner().unwrap_or_else(|poisoned| poisoned.into_inner());
    let heads = manifest.heads.iter().zip(tallies).map(|(head, tally)| tally.result(head)).collect();
    Ok(Rechecked { answers: chosen.len(), heads })
}

/// `n` different answers of the file in order, or all.
fn choose(answers: &Answers, n: usize, seed: u64) -> Vec<(u64, View)> {
    let (range, views) = (answers.manifest().range(), answers.views());
    let all = (range.end - range.start) * views.len() as u64;
    let place = |i: u64| (range.start + i / views.len() as u64, views[(i % views.len() as u64) as usize]);
    if n as u64 >= all {
        return (0..all).map(place).collect();
    }
    let (mut random, mut places) = (Stream::new(seed, 0, STREAM), BTreeSet::new());
    while places.len() < n {
        let wide = u64::from(random.next_u32()) << 32 | u64::from(random.next_u32());
        places.insert(wide % all);
    }
    places.into_iter().map(place).collect()
}

/// What the answers of one head add up to; maxima and counts, so in any order.
#[derive(Clone, Default)]
struct Tally {
    max_difference: f32,
    of_allowed: f32,
    other_choice: usize,
    places: u64,
    other_places: u64,
}

impl Tally {
    fn add(&mut self, other: &Tally) {
        self.max_difference = self.max_difference.max(other.max_difference);
        self.of_allowed = self.of_allowed.max(other.of_allowed);
        self.other_choice += other.other_choice;
        self.places += other.places;
        self.other_places += other.other_places;
    }

    fn value(&mut self, difference: f32, allowed: f32) {
        self.max_difference = self.max_difference.max(difference);
        // Nothing is a large share of nothing.
        let share = if difference == 0.0 { 0.0 } else { difference / allowed.max(f32::MIN_POSITIVE) };
        self.of_allowed = self.of_allowed.max(share);
    }

    fn result(&self, head: &Head) -> HeadCheck {
        let is_logits =
            matches!(head.kind, HeadKind::DenseF32 | HeadKind::DenseF16 | HeadKind::DenseI8 | HeadKind::TopKF16 { .. });
        HeadCheck {
            key: head.key.clone(),
            kind: head.kind,
            max_difference: self.max_difference,
            of_allowed: self.of_allowed,
            other_choice: is_logits.then_some(self.other_choice),
            index_difference: (self.places > 0).then(|| self.other_places as f64 / self.places as f64),
        }
    }
}

/// One answer of one head, as the file has it and as the teacher gives it now.
fn compare(
    answers: &Answers,
    head: &Head,
    sample: u64,
    view: View,
    label: Option<usize>,
    now: &[f32],
) -> Result<Tally, AnswersError> {
    let id = answers.head(&head.key)?;
    let mut tally = Tally::default();
    let largest = |v: &[f32]| v.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    if let HeadKind::TopKF16 { k } = head.kind {
        let then = answers.top_k(id, sample, view)?;
        let (top, m) = (largest(now), now.iter().map(|z| largest(now) - z).fold(0.0, f32::max));
        let mut order: Vec<usize> = (0..now.len()).collect();
        order.sort_by(|&a, &b| now[b].total_cmp(&now[a]).then(a.cmp(&b)));
        let mut wanted: Vec<usize> = order.iter().copied().take(k.into()).collect();
        if let (Some(label), Some(last)) = (label.filter(|l| !wanted.contains(l)), wanted.last_mut()) {
            *last = label;
        }
        for (&c, &z) in then.index.iter().zip(&then.z) {
            let c = usize::from(c);
            tally.value((now[c] - top - z).abs(), step(head.kind, m) + SUMS * m);
            tally.other_places += u64::from(!wanted.contains(&c));
        }
        tally.places = k.into();
        let first = then.index.first().copied().map(usize::from);
        tally.other_choice = usize::from(first != order.first().copied());
        return Ok(tally);
    }
    let mut then = vec![0.0; head.len()];
    answers.values_into(id, sample, view, &mut then)?;
    if head.kind == HeadKind::Sign {
        tally.places = now.len() as u64;
        tally.other_places = now.iter().zip(&then).filter(|(v, s)| (**v > 0.0) != (**s > 0.0)).count() as u64;
        return Ok(tally);
    }
    let is_logits = matches!(head.kind, HeadKind::DenseF32 | HeadKind::DenseF16 | HeadKind::DenseI8);
    let (zero_now, zero_then) = if is_logits { (largest(now), largest(&then)) } else { (0.0, 0.0) };
    // The scale of i8 is a channel's.
    let channels = if head.kind == HeadKind::FeatI8 { head.dims[0] as usize } else { 1 };
    let length = now.len() / channels;
    let whole = now.iter().map(|v| (v - zero_now).abs()).fold(0.0, f32::max);
    for (now, then) in now.chunks(length).zip(then.chunks(length)) {
        let m = now.iter().map(|v| (v - zero_now).abs()).fold(0.0, f32::max);
        let allowed = step(head.kind, m) + SUMS * whole;
        for (now, then) in now.iter().zip(then) {
            tally.value((now - zero_now - (then - zero_then)).abs(), allowed);
        }
    }
    let first = |v: &[f32]| limbeck_engine::argmax(v);
    // What storage makes equal is not another choice.
    let same = then[first(now)] == then[first(&then)];
    tally.other_choice = usize::from(is_logits && !same);
    Ok(tally)
}

/// The largest error that storage makes of values up to `m`.
fn step(kind: HeadKind, m: f32) -> f32 {
    match kind {
        HeadKind::DenseF32 | HeadKind::VecF32 | HeadKind::MapF32 | HeadKind::FeatF32 | HeadKind::Sign => 0.0,
        HeadKind::DenseI8 | HeadKind::VecI8 | HeadKind::FeatI8 => m / 253.0 + f32::MIN_POSITIVE,
        // Below 2^-14 f16 has fixed steps.
        _ => m / 2048.0 + 6e-8,
    }
}
