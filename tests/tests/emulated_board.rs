//! The whole road on an emulated aarch64 board: its integers are those of this machine.
//!
//! The agent is cross-built with profile `dist`, which takes minutes the first time, so this runs only when asked for:
//! `LIMBECK_EMULATED=1 cargo test -p limbeck-tests --test emulated_board`.

use limbeck_tests::limbeck::{is_set, skip};
use limbeck_tests::road::{by_verbs, damage_is_refused_on_the_board, on_board};
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
    on_board(&world, "out", BOARD, "dist", &digest);
    damage_is_refused_on_the_board(&world, BOARD, &["qemu-aarch64-static", "-cpu", "cortex-a53"]);
}
