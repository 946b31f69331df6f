//! The whole road on an emulated aarch64 board: its integers are those of this machine.
//!
//! The agent is cross-built with profile `board`, which takes minutes the first time, so this runs only when asked for:
//! `LIMBECK_EMULATED=1 cargo test -p limbeck-tests --test emulated_board`.

use limbeck_tests::adapting;
use limbeck_tests::limbeck::{is_set, skip};
use limbeck_tests::road::{by_verbs, damage_is_refused_on_the_board, on_board, report};
use limbeck_tests::world::World;

const BOARD: &str = "qemu-aarch64";

#[test]
fn a_student_computes_the_same_integers_on_an_emulated_board() {
    let test = "a_student_computes_the_same_integers_on_an_emulated_board";
    if !is_set("LIMBECK_EMULATED") {
        return skip(test, "it cross-builds the agent; ask for it with LIMBECK_EMULATED=1");
    }
    let world = World::new();
    let doctor = world.run(&format!("doctor {BOARD}"));
    if doctor.code != Some(0) {
        return skip(test, &format!("{}\n{}", doctor.stdout.trim(), doctor.stderr.trim()));
    }
    let digest = by_verbs(&world, "out", 2);
    on_board(&world, "out", BOARD, "board", &digest);
    damage_is_refused_on_the_board(&world, BOARD, &["qemu-aarch64-static", "-cpu", "cortex-a53"]);
}

/// Float sums have another order on another CPU, and a training adds up their last bits; decisions must not hang on those.
const LOSS_TOLERANCE: f64 = 2e-3;

#[test]
fn a_student_adapted_on_an_emulated_board_is_judged_as_here() {
    let test = "a_student_adapted_on_an_emulated_board_is_judged_as_here";
    if !is_set("LIMBECK_EMULATED") {
        return skip(test, "it cross-builds the agent; ask for it with LIMBECK_EMULATED=1");
    }
    let world = adapting::world();
    let doctor = world.run(&format!("doctor {BOARD}"));
    if doctor.code != Some(0) {
        return skip(test, &format!("{}\n{}", doctor.stdout.trim(), doctor.stderr.trim()));
    }
    // One that gets better and one that cannot.
    for (recipe, code) in [("--epochs 4", 0), ("--epochs 1 --optimiser sgd --rate 1e4 --clip 1e30", 10)] {
        let adapt = |board: &str, profile: &str| {
            let on = format!("--board {board} --profile {profile} --report {board}/report.json --out {board}.limbeck");
            world.run(&format!("{} {recipe} {on}", adapting::ADAPT)).expect(code, &[]);
            report(&world, board)["adaptation"].clone()
        };
        let (here, there) = (adapt("host", "dev"), adapt(BOARD, "board"));
        assert_eq!((&here["accepted"], &here["steps"]), (&there["accepted"], &there["steps"]), "{here} {there}");
        for (set, when) in [("held_out", "before"), ("held_out", "after"), ("replay", "before"), ("replay", "after")] {
            // A diverged training has no scores.
            let [a, b] = [&here, &there].map(|a| a[set][when]["loss"].as_f64());
            let close = a.zip(b).is_none_or(|(a, b)| (a - b).abs() <= LOSS_TOLERANCE * a.abs());
            assert!(a.is_some() == b.is_some() && (close || code != 0), "{set} {when}: {a:?} here, {b:?} there");
        }
    }
    for board in ["host", BOARD] {
        let validated = world.run(&format!("validate {board}.limbeck --board {BOARD} --profile board")).expect(0, &[]);
        assert!(validated.stdout.contains("with this machine 100.00%"), "{}", validated.stdout);
    }
    // What either makes of an int8 student computes the same integers on both.
    world.run("quantize --student student.onnx --data scenes:seed=1,samples=24 --out int8.onnx").expect(0, &[]);
    world.run("bundle --student int8.onnx --data scenes:seed=2,samples=16 --out int8.limbeck").expect(0, &[]);
    let adapt = adapting::ADAPT.replace("student.limbeck", "int8.limbeck");
    for (board, profile) in [("host", "dev"), (BOARD, "board")] {
        let on = format!("--board {board} --profile {profile} --out int8-{board}.limbeck");
        world.run(&format!("{adapt} --epochs 4 --rate 0.003 {on}")).expect(0, &[]);
        let validate = format!("validate int8-{board}.limbeck --board {BOARD} --profile board");
        let validated = world.run(&validate).expect(0, &[]);
        assert!(validated.stdout.contains("= this machine's"), "{}", validated.stdout);
    }
}
