//! `limbeck adapt`: the student is tuned where it is installed, and the board keeps the better one.

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use limbeck_tests::adapting::{agent_run, world};
use limbeck_tests::limbeck::interrupt;
use limbeck_tests::road::report;
use limbeck_tests::world::World;

const ADAPT: &str = "adapt student.limbeck --board host --profile dev --images local --answers local.answers --margin 5 --batch 4 \
                     --checkpoint-every 2";

/// The number of the slot that a link on the board names.
fn slot(world: &World, link: &str) -> u32 {
    let target = std::fs::read_link(world.path(&format!("home/work/host/{link}"))).expect("a link");
    target.file_name().and_then(|n| n.to_str()?.parse().ok()).expect("a number")
}

#[test]
fn the_better_student_is_current_and_the_old_one_comes_back() {
    let world = world();
    let old = world.read("student.limbeck");
    let ended = world.run(&format!("{ADAPT} --epochs 4 --out new.limbeck --report out/report.json")).expect(0, &[]);
    assert!(ended.stdout.contains("host: accepted"), "{}", ended.stdout);
    let current = |world: &World| world.read("home/work/host/current/bundle");
    let new = world.read("new.limbeck");
    assert!(new != old && current(&world) == new, "what was fetched is not what runs");
    assert_eq!((slot(&world, "current"), slot(&world, "previous")), (2, 1));
    agent_run(&world, "probe home/work/host/current/bundle").expect(0, &[]);
    // Nothing of the work is left on the board.
    let left: Vec<_> = world.files("home/work/host").into_iter().filter(|f| f.starts_with("adapt")).collect();
    assert_eq!(left, [""; 0]);
    let adaptation = &report(&world, "out")["adaptation"];
    assert_eq!((&adaptation["board"], &adaptation["accepted"]), (&"host".into(), &true.into()));
    assert!(adaptation["training_peak_bytes"].as_u64().is_some() && adaptation["steps"].as_u64().unwrap() > 0);
    let page = String::from_utf8(world.read("out/report.html")).unwrap();
    assert!(page.contains("Adaptation on host") && page.contains("held-out local samples"), "{page}");
    world.run("rollback --board host").expect(0, &[]);
    assert!(current(&world) == old);
    world.run("rollback --board host").expect(0, &[]);
    assert!(current(&world) == new);
    let again = "adapt --installed --board host --images local --answers local.answers --batch 4 --epochs 1";
    let again = world.run(again);
    assert!(matches!(again.code, Some(0 | 10)), "{again:?}");
    let validated = world.run("validate new.limbeck --board host --profile dev").expect(0, &[]).stdout;
    assert!(validated.contains("with this machine 100.00%"), "{validated}");
}

#[test]
fn a_student_that_gets_worse_changes_nothing_on_the_board() {
    let world = world();
    let ruin = "--optimiser sgd --rate 1e30 --clip 1e30 --epochs 1 --out new.limbeck";
    let ended = world.run(&format!("{ADAPT} {ruin}")).expect(10, &["rolled back", "the old student stays"]);
    assert!(ended.stdout.contains("host: rolled back"), "{}", ended.stdout);
    assert!(world.read("home/work/host/current/bundle") == world.read("student.limbeck"));
    assert!(!world.path("new.limbeck").exists());
}

#[test]
fn what_does_not_belong_together_is_refused_before_anything_is_installed() {
    let world = world();
    let wrong = ADAPT.replace("local.answers", "source.answers");
    world.refuses(&wrong, 9, &["source.answers", "data set"]);
    world.refuses(&ADAPT.replace("--images local", "--images nowhere"), 2, &["nowhere"]);
    world.refuses(&ADAPT.replace("student.limbeck", "student.onnx"), 9, &["student.onnx", "not a bundle"]);
}

#[test]
fn ctrl_c_stops_the_board_and_the_same_command_goes_on() {
    let world = world();
    let more = "--epochs 60 --out new.limbeck";
    world.run(&format!("{ADAPT} {more}")).expect(0, &[]);
    let straight = world.read("new.limbeck");
    let mut child =
        world.command(&format!("{ADAPT} {more}")).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
    assert!(lines.any(|line| line.starts_with("adapt ")), "it never began to adapt");
    // Wait for a checkpoint on the board.
    while !world.files("home/work/host").iter().any(|f| f.contains("work/checkpoint")) {
        std::thread::sleep(std::time::Duration::from_millis(5));
        assert!(child.try_wait().unwrap().is_none(), "it ended before its first checkpoint");
    }
    interrupt(&child);
    assert_eq!(child.wait().unwrap().code(), Some(130));
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    let running = processes.filter_map(|p| std::fs::read_to_string(p.path().join("cmdline")).ok());
    let home = world.path("home").display().to_string();
    assert_eq!(running.filter(|line| line.starts_with(&home)).count(), 0, "an agent still runs");
    agent_run(&world, "probe home/work/host/current/bundle").expect(0, &[]);
    std::fs::remove_file(world.path("new.limbeck")).unwrap();
    let ended = world.run(&format!("{ADAPT} {more}")).expect(0, &[]);
    assert!(world.read("new.limbeck") == straight, "other bytes than without Ctrl-C: {}", ended.stdout);
}
