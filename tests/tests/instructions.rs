//! Instructions of one inference on emulated CPUs, held against `tests/instructions/record.csv`.
//!
//! ```text
//! LIMBECK_EMULATED=1 cargo test -p limbeck-tests --test instructions
//! LIMBECK_EMULATED=1 LIMBECK_RECORD=1 cargo test -p limbeck-tests --test instructions      # after a change that is meant
//! ```
//! An instruction is not a cycle: this is work, repeatable to the last one, and never a time.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::{Path, PathBuf};

use limbeck_tests::counts::{Counts, Plugin};
use limbeck_tests::guest::{COUNTED, Guest, version};
use limbeck_tests::instruction_class::NAMES;
use limbeck_tests::limbeck::{is_set, skip, tell};
use limbeck_tests::peers;
use limbeck_tests::record::{Key, LIMIT, Record, Row, Verdict};
use limbeck_tests::subjects::{self, Subject};

/// Inferences of which the median is taken.
const RUNS: usize = 3;

const RE_RECORD: &str = "LIMBECK_EMULATED=1 LIMBECK_RECORD=1 cargo test --locked -p limbeck-tests --test instructions";

fn record_file() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("instructions/record.csv")
}

#[test]
fn an_inference_executes_no_more_instructions_than_recorded() {
    let test = "an_inference_executes_no_more_instructions_than_recorded";
    if !is_set("LIMBECK_EMULATED") {
        return skip(test, "it cross-builds and emulates; ask for it with LIMBECK_EMULATED=1");
    }
    if let Some(missing) = COUNTED.iter().find_map(|cpu| cpu.missing()) {
        return skip(test, &missing);
    }
    let guests = COUNTED.map(|cpu| (cpu, Guest::on(cpu)));
    let plugin = match Plugin::compile(&guests[0].1) {
        Ok(plugin) => plugin,
        Err(why) => return skip(test, &why),
    };
    let (published, absent) = subjects::published();
    let subjects: Vec<Subject> = subjects::own().into_iter().chain(published).collect();
    absent.iter().for_each(|file| tell(&format!("{test}: not counted, as it is not here: {}", file.display())));

    let mut now = Record { head: head(), ..Record::default() };
    for (cpu, guest) in &guests {
        for subject in &subjects {
            let counted = plugin.count(guest, &subject.plan, RUNS);
            let (ran, counts) = counted.unwrap_or_else(|e| panic!("{} on {}: {e}", subject.name, cpu.name));
            let key = Key { cpu: cpu.name.to_owned(), model: subject.name.to_owned(), path: ran.path };
            now.rows.insert(key, Row { macs: subject.macs(), counts });
        }
    }
    tell(&table(&now));

    let file = record_file();
    let recorded = std::fs::read_to_string(&file).map_err(|e| e.to_string()).and_then(|text| Record::parse(&text));
    if is_set("LIMBECK_RECORD") {
        // What cannot be counted here is not forgotten.
        let counted: BTreeSet<&str> = subjects.iter().map(|subject| subject.name).collect();
        let kept = recorded.unwrap_or_default().rows.into_iter().filter(|(k, _)| !counted.contains(k.model.as_str()));
        now.rows.extend(kept);
        std::fs::write(&file, now.emit()).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
        return tell(&format!("recorded {} rows in tests/instructions/record.csv", now.rows.len()));
    }
    let recorded = recorded.unwrap_or_else(|e| panic!("{}: {e}; get it with {RE_RECORD}", file.display()));
    let counted: Vec<&str> = subjects.iter().map(|subject| subject.name).collect();
    let Changes { losses, gains } = changes(&recorded, &now, &counted);
    gains.iter().for_each(|gain| tell(&format!("{gain}; record it: {RE_RECORD}")));
    assert!(losses.is_empty(), "\n{}\n{}", losses.join("\n"), how_to_go_on(&recorded));
}

/// What is not as recorded, a line each.
#[derive(Debug, PartialEq)]
struct Changes {
    /// Worse, unknown, or recorded and gone: failures.
    losses: Vec<String>,
    /// Better: to be recorded.
    gains: Vec<String>,
}

/// `now`, of the models `counted`, against the record.
fn changes(recorded: &Record, now: &Record, counted: &[&str]) -> Changes {
    let mut changes = Changes { losses: vec![], gains: vec![] };
    for (key, row) in &now.rows {
        let insns = row.counts.insns as f64 / 1e6;
        let before = recorded.rows.get(key).map_or(0.0, |row| row.counts.insns as f64 / 1e6);
        let moved = format!("{key}: {insns:.4} M instructions, recorded were {before:.4} M");
        match recorded.judge(key, row) {
            Verdict::Same => {}
            Verdict::Worse(part) => changes.losses.push(format!("{moved}: {:.1} % more", part * 100.0)),
            Verdict::Better(part) => changes.gains.push(format!("{moved}: {:.1} % fewer", part * 100.0)),
            Verdict::Unknown => {
                changes.losses.push(format!("{key}: {insns:.4} M instructions, and no row in the record"));
            }
        }
    }
    let is_gone = |key: &&Key| counted.contains(&key.model.as_str()) && !now.rows.contains_key(key);
    let gone = recorded.rows.keys().filter(is_gone);
    changes.losses.extend(gone.map(|key| format!("{key}: recorded, and gone that way no more")));
    changes
}

fn how_to_go_on(recorded: &Record) -> String {
    let (then, now) = (recorded.head.iter().find(|line| line.starts_with("rustc")).cloned(), compiler());
    let mut text =
        format!("More than {} % is a loss: find it, or, where it is meant, record it:\n{RE_RECORD}", LIMIT * 100.0);
    if let Some(then) = then.filter(|then| *then != now) {
        let _ = write!(text, "\nThe compilers differ, which may be all of it: recorded with {then}; this is {now}");
    }
    text
}

fn compiler() -> String {
    version("rustc")
}

/// Where the numbers are from, and how to get them again.
fn head() -> Vec<String> {
    vec![
        "Millions of guest instructions of one inference, by CPU, model and kernel path; tests/instructions/README.md explains."
            .into(),
        format!("Get it again: {RE_RECORD}"),
        format!("Median of {RUNS} inferences of targets/guest, profile dist, aarch64-unknown-linux-musl."),
        compiler(),
        version("qemu-aarch64"),
    ]
}

/// The rows as people read them, with the best peer where there is one.
fn table(record: &Record) -> String {
    let mut text = format!(
        "{:<11} {:<16} {:<9} {:>9} {:>9} {:>8}  {:<26} shares of instructions\n",
        "cpu", "model", "path", "M MAC", "M insn", "insn/MAC", "ours / best peer, by MAC"
    );
    for (Key { cpu, model, path }, row) in &record.rows {
        let peer = peers::best(model, cpu).map_or("no peer counted".to_owned(), |(runtime, per_mac)| {
            format!("{:.2} x {runtime} {per_mac:.3}", row.per_mac() / per_mac)
        });
        let share = |n: u64| n as f64 / row.counts.insns as f64 * 100.0;
        let shares: Vec<String> = NAMES
            .iter()
            .zip(row.counts.classes)
            .map(|(name, n)| (name, share(n)))
            .filter(|(_, share)| *share >= 0.5)
            .map(|(name, share)| format!("{name} {share:.0} %"))
            .collect();
        let _ = writeln!(
            text,
            "{cpu:<11} {model:<16} {path:<9} {:>9.3} {:>9.4} {:>8.3}  {peer:<26} {}",
            row.macs as f64 / 1e6,
            row.counts.insns as f64 / 1e6,
            row.per_mac(),
            shares.join(", ")
        );
    }
    text
}

#[test]
fn a_worse_a_new_and_a_lost_row_are_losses_and_a_better_one_is_told() {
    let record = |rows: &[(&str, &str, u64)]| {
        let row = |&(model, path, insns): &(&str, &str, u64)| {
            let key = Key { cpu: "cpu".into(), model: model.into(), path: path.into() };
            (key, Row { macs: 1, counts: Counts { insns, classes: [0; NAMES.len()] } })
        };
        Record { head: vec![], rows: rows.iter().map(row).collect() }
    };
    let recorded = record(&[("a", "p", 1_000_000), ("b", "p", 1_000_000), ("c", "p", 1_000_000), ("absent", "p", 1)]);
    let now = record(&[("a", "p", 1_020_000), ("b", "p", 900_000), ("c", "q", 1_000_000)]);
    let found = changes(&recorded, &now, &["a", "b", "c"]);
    let losses = [
        "a on cpu by p: 1.0200 M instructions, recorded were 1.0000 M: 2.0 % more",
        "c on cpu by q: 1.0000 M instructions, and no row in the record",
        "c on cpu by p: recorded, and gone that way no more",
    ];
    let gains = ["b on cpu by p: 0.9000 M instructions, recorded were 1.0000 M: 10.0 % fewer"];
    let owned = |lines: &[&str]| lines.iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(found, Changes { losses: owned(&losses), gains: owned(&gains) });
}
