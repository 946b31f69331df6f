//! Worn-down files of every kind that strangers may hand us: an error or a value, never a panic.

use limbeck_tests::fuzz::{Mutator, TARGETS};
use limbeck_tests::road::by_verbs;
use limbeck_tests::world::World;

/// Inputs for each target; `examples/fuzz.rs` has no end.
const INPUTS: usize = 2000;

#[test]
fn worn_down_files_are_errors_and_never_panics() {
    let world = World::new();
    by_verbs(&world, "out", 1);
    let bundle = world.read("out/student.limbeck");
    let read = limbeck_bundle::Bundle::parse(&bundle, "out/student.limbeck".as_ref()).expect("our own bundle");
    let boards = ["host", "qemu-aarch64", "raspberry-pi-4", "visionfive-2"];
    let board = |name: &str| {
        let path = format!("{}/../targets/boards/boards/{name}.toml", env!("CARGO_MANIFEST_DIR"));
        std::fs::read(path).expect("a board")
    };
    let texts = ["student.toml", "teacher.toml"].map(|file| world.read(file));
    for (name, target) in TARGETS {
        let seeds = match name {
            "bundle" => vec![bundle.clone()],
            "plan" => vec![read.plan.clone().expect("the student is one plan")],
            "answers" => vec![world.read("out/train.answers")],
            "board" => boards.map(board).to_vec(),
            _ => texts.to_vec(),
        };
        let mut mutator = Mutator::new(&seeds, 6);
        seeds.iter().for_each(|seed| target(seed));
        (0..INPUTS).for_each(|_| target(&mutator.input()));
    }
}
