//! What may be compared: the same board, protocol and samples; everything else is named.

use crate::board::Board;
use crate::schema::{Accuracy, KeyValue, Report};

/// What is alike in two runs.
pub(super) struct Likeness {
    /// What is not, one sentence each.
    pub(super) unlike: Vec<String>,
    /// Shares of right answers may be compared.
    pub(super) same_samples: bool,
    /// The integers of the int8 student are equal; absent where one of the runs has none.
    pub(super) integers: Option<bool>,
    /// They differ, and nothing that they are made from does.
    pub(super) integers_broke: bool,
    /// Boards of which no figure may be compared.
    other_machines: Vec<String>,
    /// Boards whose times may not be compared.
    other_times: Vec<String>,
    /// Boards that were measured in bad circumstances, and in which run.
    invalid: Vec<(String, &'static str)>,
}

impl Likeness {
    /// Figures of `place` may be compared: `timed` ones, or others.
    pub(super) fn allows(&self, place: &str, timed: bool) -> bool {
        let is = |id: &String| id == place;
        !(self.other_machines.iter().any(is) || timed && self.other_times.iter().any(is))
    }

    /// Why a `timed` figure of `place` proves nothing, if so.
    pub(super) fn distrusted(&self, place: &str, timed: bool) -> Option<String> {
        let (_, which) = self.invalid.iter().find(|(id, _)| timed && id == place)?;
        Some(format!("the measurement of the {which} run is invalid"))
    }
}

pub(super) fn of(before: &Report, after: &Report) -> Likeness {
    let mut likeness = Likeness {
        unlike: vec![],
        same_samples: true,
        integers: None,
        integers_broke: false,
        other_machines: vec![],
        other_times: vec![],
        invalid: vec![],
    };
    for (of, with, which) in [(before, after, "earlier"), (after, before, "later")] {
        let missing = of.boards.iter().filter(|board| board_in(with, &board.board).is_none());
        likeness.unlike.extend(missing.map(|board| format!("{}: only in the {which} run", board.board)));
        let invalid = of.boards.iter().filter(|board| board.is_invalid());
        likeness.invalid.extend(invalid.map(|board| (board.board.clone(), which)));
    }
    for now in &after.boards {
        if let Some(then) = board_in(before, &now.board) {
            board(then, now, &mut likeness);
        }
    }
    samples(before, after, &mut likeness);
    integers(before, after, &mut likeness);
    likeness
}

fn board_in<'a>(report: &'a Report, id: &str) -> Option<&'a Board> {
    report.boards.iter().find(|board| board.board == id)
}

/// Lines of the environment that say which machine it is, and those that only say how it was set up.
const MACHINE: [&str; 3] = ["board", "cpu", "cores"];
const SET_UP: [&str; 2] = ["governor", "kernel"];

fn board(then: &Board, now: &Board, likeness: &mut Likeness) {
    let id = &now.board;
    let mut machine = differing(then, now, &MACHINE);
    if then.emulated != now.emulated {
        machine.push("an emulator against a board".into());
    }
    if !machine.is_empty() {
        likeness.unlike.push(format!("{id}: another machine, nothing is compared: {}", machine.join(", ")));
        likeness.other_machines.push(id.clone());
        return;
    }
    if now.emulated && then.latency.is_some() && now.latency.is_some() {
        likeness.unlike.push(format!("{id}: emulated, so its times are not compared"));
        return;
    }
    let protocol = protocols(then, now);
    if !protocol.is_empty() {
        likeness.unlike.push(format!("{id}: times are not compared: {}", protocol.join(", ")));
        likeness.other_times.push(id.clone());
    }
    let set_up = differing(then, now, &SET_UP);
    if !set_up.is_empty() {
        likeness.unlike.push(format!("{id}: compared although not set up alike: {}", set_up.join(", ")));
    }
}

/// The lines of both environments that say different things.
fn differing(then: &Board, now: &Board, keys: &[&str]) -> Vec<String> {
    let pair = |key: &str| value(&then.environment, key).zip(value(&now.environment, key));
    let differs = |key: &&str| pair(key).filter(|(a, b)| a != b).map(|(a, b)| format!("{key} {a:?} against {b:?}"));
    keys.iter().filter_map(differs).collect()
}

/// What differs in how latency was measured.
fn protocols(then: &Board, now: &Board) -> Vec<String> {
    let Some((then, now)) = then.latency.as_ref().zip(now.latency.as_ref()) else { return vec![] };
    let quick = |quick: bool| if quick { "quick" } else { "full" }.to_owned();
    let threads = |threads: Option<u64>| threads.map(|threads| format!("{threads} threads"));
    let cpus = |cpus: &Option<String>| cpus.as_ref().map(|cpus| format!("cpus {cpus}"));
    let pairs = [
        Some((then.protocol.clone(), now.protocol.clone())),
        Some((quick(then.quick), quick(now.quick))),
        threads(then.threads).zip(threads(now.threads)),
        cpus(&then.cpus).zip(cpus(&now.cpus)),
    ];
    pairs.into_iter().flatten().filter(|(a, b)| a != b).map(|(a, b)| format!("{a} against {b}")).collect()
}

/// What the environment says, if it says anything.
fn value<'a>(environment: &'a [KeyValue], key: &str) -> Option<&'a str> {
    let line = environment.iter().find(|line| line.key.eq_ignore_ascii_case(key))?;
    Some(line.value.as_str()).filter(|value| *value != "unknown")
}

fn samples(before: &Report, after: &Report, likeness: &mut Likeness) {
    let data = |report: &Report| report.sources.iter().find(|s| s.role == "test data").map(|s| s.sha256.clone());
    if data(before).zip(data(after)).is_some_and(|(a, b)| a != b) {
        likeness.same_samples = false;
        likeness.unlike.push("test data: other samples, so accuracy is not compared".into());
        return;
    }
    for now in &after.accuracy {
        let Some(then) = before.accuracy.iter().find(|row| row.subject == now.subject) else { continue };
        if then.n != now.n {
            likeness.unlike.push(format!("{}: {} samples against {}", now.subject, then.n, now.n));
        }
    }
}

fn integers(before: &Report, after: &Report, likeness: &mut Likeness) {
    let hashed = |report: &'_ Report| -> Vec<Accuracy> {
        report.accuracy.iter().filter(|row| row.integers_hash.is_some()).cloned().collect()
    };
    let (old, new) = (hashed(before), hashed(after));
    let pairs: Vec<_> =
        new.iter().filter_map(|now| Some((old.iter().find(|then| then.subject == now.subject)?, now))).collect();
    if pairs.is_empty() {
        return;
    }
    let equal = pairs.iter().all(|(then, now)| then.integers_hash == now.integers_hash);
    let student = |report: &Report| report.models.iter().find(|m| m.role.starts_with("int8")).map(|m| m.sha256.clone());
    let same_student = student(before).zip(student(after)).is_some_and(|(a, b)| a == b);
    let data = |report: &Report| report.sources.iter().any(|s| s.role == "test data");
    let same_samples = likeness.same_samples && data(before) && data(after);
    let same_number = pairs.iter().all(|(then, now)| then.n == now.n);
    likeness.integers = Some(equal);
    likeness.integers_broke = !equal && same_student && same_samples && same_number;
}
