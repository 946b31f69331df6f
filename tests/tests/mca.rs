//! Multiply-accumulates a cycle that llvm-mca expects of the kernels' hot loops, held against `tests/instructions/mca.csv`.
//!
//! ```text
//! LIMBECK_EMULATED=1 cargo test -p limbeck-tests --test mca
//! LIMBECK_EMULATED=1 LIMBECK_RECORD=1 cargo test -p limbeck-tests --test mca      # after a change that is meant
//! ```

use limbeck_tests::guest::{COUNTED, version};
use limbeck_tests::limbeck::{is_set, skip, tell};
use limbeck_tests::mca::{COLUMNS, KERNELS, kernels_assembly, record_file, rows};

/// Part of a rate by which it may fall.
const LIMIT: f64 = 0.02;

const RE_RECORD: &str = "LIMBECK_EMULATED=1 LIMBECK_RECORD=1 cargo test --locked -p limbeck-tests --test mca";

#[test]
fn hot_loops_are_expected_to_be_no_slower_than_recorded() {
    let test = "hot_loops_are_expected_to_be_no_slower_than_recorded";
    if !is_set("LIMBECK_EMULATED") {
        return skip(test, "it cross-compiles; ask for it with LIMBECK_EMULATED=1");
    }
    if let Some(missing) = COUNTED[0].missing() {
        return skip(test, &missing);
    }
    let llvm = version("llvm-mca");
    if llvm == "llvm-mca" {
        return skip(test, "llvm-mca is missing; get it with: apt-get install llvm");
    }
    let assembly = kernels_assembly().unwrap_or_else(|e| panic!("{e}"));
    let tables = KERNELS.iter().map(|function| rows(&assembly, function).unwrap_or_else(|e| panic!("{e}")));
    let now: Vec<String> = tables.flatten().collect();
    tell(&format!("{COLUMNS}\n{}", now.join("\n")));

    let compilers = format!("{}; {llvm}", version("rustc"));
    let file = record_file();
    if is_set("LIMBECK_RECORD") {
        let head = format!(
            "# Multiply-accumulates a cycle that llvm-mca expects of the kernels' hot loops; tests/instructions/README.md explains.\n\
             # Get it again: {RE_RECORD}\n# {compilers}\n{COLUMNS}\n"
        );
        std::fs::write(&file, format!("{head}{}\n", now.join("\n")))
            .unwrap_or_else(|e| panic!("{}: {e}", file.display()));
        return tell(&format!("recorded {} rows in tests/instructions/mca.csv", now.len()));
    }
    let recorded = std::fs::read_to_string(&file).unwrap_or_else(|e| panic!("{}: {e}; {RE_RECORD}", file.display()));
    let Changes { losses, gains } = changes(&recorded, &now);
    gains.iter().for_each(|gain| tell(&format!("{gain}; record it: {RE_RECORD}")));
    assert!(
        losses.is_empty(),
        "\n{}\nFind it, or, where it is meant, record it:\n{RE_RECORD}\nRecorded by, and this is:\n{}\n# {compilers}",
        losses.join("\n"),
        recorded.lines().nth(2).unwrap_or_default()
    );
}

/// `function,cpu`, and the rate.
fn rate(row: &str) -> Option<(String, f64)> {
    let cells: Vec<&str> = row.split(',').collect();
    let [function, cpu, rate, ..] = &cells[..] else { return None };
    Some((format!("{function},{cpu}"), rate.parse().ok()?))
}

/// What is not as recorded, a line each.
#[derive(Debug, PartialEq)]
struct Changes {
    /// Slower, not recorded, or recorded and gone: failures.
    losses: Vec<String>,
    /// Faster: to be recorded.
    gains: Vec<String>,
}

fn changes(recorded: &str, now: &[String]) -> Changes {
    let before: Vec<(String, f64)> = recorded.lines().filter_map(rate).collect();
    let now: Vec<(String, f64)> = now.iter().filter_map(|row| rate(row)).collect();
    let of = |rows: &[(String, f64)], key: &str| rows.iter().find(|(k, _)| k == key).map(|(_, rate)| *rate);
    let mut changes = Changes { losses: vec![], gains: vec![] };
    for (key, rate) in &now {
        let Some(then) = of(&before, key) else {
            changes.losses.push(format!("{key}: {rate:.2} MAC a cycle, and no row in the record"));
            continue;
        };
        let moved = format!("{key}: {rate:.2} MAC a cycle, recorded were {then:.2}");
        match rate / then - 1.0 {
            change if change < -LIMIT => changes.losses.push(moved),
            change if change > LIMIT => changes.gains.push(moved),
            _ => {}
        }
    }
    let gone = before.iter().filter(|(key, _)| of(&now, key).is_none());
    changes.losses.extend(gone.map(|(key, _)| format!("{key}: recorded, and looked at no more")));
    changes
}

#[test]
fn a_slower_a_new_and_a_lost_loop_are_losses_and_a_faster_one_is_told() {
    let recorded = format!("# by hand\n{COLUMNS}\na::b,cpu,2.00,16,6,8.00\nc::d,cpu,1.00,16,6,16.00\n");
    let of = |rows: &[&str]| changes(&recorded, &rows.iter().map(ToString::to_string).collect::<Vec<_>>());
    let owned = |lines: &[&str]| lines.iter().map(ToString::to_string).collect::<Vec<_>>();
    let gains = owned(&["c::d,cpu: 1.50 MAC a cycle, recorded were 1.00"]);
    assert_eq!(of(&["a::b,cpu,1.97,16,6,8", "c::d,cpu,1.5,16,6,9"]), Changes { losses: vec![], gains });
    let losses = owned(&[
        "a::b,cpu: 1.90 MAC a cycle, recorded were 2.00",
        "e::f,cpu: 1.00 MAC a cycle, and no row in the record",
        "c::d,cpu: recorded, and looked at no more",
    ]);
    assert_eq!(of(&["a::b,cpu,1.90,16,6,8", "e::f,cpu,1.00,1,1,1"]), Changes { losses, gains: vec![] });
}
