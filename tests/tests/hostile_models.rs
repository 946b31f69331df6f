//! Models that mean harm, given to the real agent in whole bundles: a clean refusal, no hang, no memory beyond the cap.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use limbeck_answers::{Card, Image};
use limbeck_bundle::{Bundle, BundledSample, Samples};
use limbeck_data::scenes::LABELS;
use limbeck_tests::hostile::{Case, controls, hostile};
use limbeck_tests::limbeck::{Ended, build};
use limbeck_tests::world::World;
use limbeck_zoo::scenes_card;

/// Address space of the agent, KiB: what a board of 2 GiB could not give it makes an allocation fail, and the test with it.
const MEMORY_KIB: u64 = 2 << 20;
/// Longest that loading may take.
const LOAD_SECONDS: &str = "5";

fn agent() -> &'static Path {
    static AGENT: OnceLock<PathBuf> = OnceLock::new();
    AGENT.get_or_init(|| build("limbeck-cli", "limbeck-agent", &["-p", "limbeck-agent", "--bin", "limbeck-agent"], &[]))
}

/// `agent run` on a bundle with this student, with little memory.
fn run(world: &World, case: &Case) -> Ended {
    let mut samples = Samples::default();
    let image = Image { width: 32, height: 32, rgb: vec![7; 32 * 32 * 3] };
    samples.push(BundledSample { image, label: Some(0), teacher: None });
    let card: Card = scenes_card(&LABELS.map(String::from));
    Bundle::new(case.name, case.model.clone(), card, samples).write(&world.path("b.limbeck")).expect("a bundle");
    let limited = format!("ulimit -v {MEMORY_KIB}; exec \"$0\" run b.limbeck");
    let mut command = Command::new("/bin/sh");
    command.args(["-c", &limited]).arg(agent()).current_dir(world.path(".")).stdin(Stdio::null());
    Ended::of(command.env("LIMBECK_LOAD_SECONDS", LOAD_SECONDS).env_remove("RUST_LOG").env_remove("RUST_BACKTRACE"))
}

#[test]
fn hostile_models_are_refused_by_the_agent() {
    let world = World::new();
    let made = Command::new("mkfifo").arg(world.path("fifo")).status();
    assert!(made.is_ok_and(|status| status.success()), "mkfifo");
    std::os::unix::fs::symlink("/etc/passwd", world.path("link.bin")).expect("a link");
    let cases = hostile();
    assert_eq!(cases.len(), 21);
    for case in cases {
        eprintln!("{}", case.name);
        let ended = run(&world, &case).expect(9, &["b.limbeck", case.says]);
        let lines: Vec<&str> = ended.stdout.lines().collect();
        assert!(lines.len() == 1 && lines[0].starts_with("{\"schema_version\":1"), "{}: {lines:?}", case.name);
    }
}

#[test]
fn models_that_only_look_hostile_run() {
    let world = World::new();
    for case in controls() {
        eprintln!("{}", case.name);
        run(&world, &case).expect(0, &[]);
    }
}
