//! The whole road on this machine, with the real programs: from a teacher to a validated int8 student.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::Stdio;

use limbeck_tests::limbeck::interrupt;
use limbeck_tests::road::{FILES, TEST, TRAIN, by_verbs, damage_is_refused_on_the_board, on_board, report};
use limbeck_tests::world::World;

#[test]
fn a_student_computes_the_same_integers_on_this_machine_as_a_board() {
    let world = World::new();
    let digest = by_verbs(&world, "out", 2);
    on_board(&world, "out", "host", "dev", &digest);
    damage_is_refused_on_the_board(&world, "host", &[]);

    let installed = world.files("home/work/host");
    let mut damaged = world.read("out/student.limbeck");
    let at = damaged.len() / 2;
    damaged[at] ^= 1;
    world.write("flipped.limbeck", damaged);
    world.refuses("deploy flipped.limbeck --board host --profile dev", 9, &["flipped.limbeck", "is damaged"]);
    assert_eq!(world.files("home/work/host"), installed, "a refused bundle changed the board");

    // Ctrl-C while the board measures: the agent goes too, and what was installed stays.
    let mut bench = world.command("bench out/student.limbeck --board host --profile dev");
    let mut child = bench.stderr(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
    assert!(lines.any(|line| line.starts_with("bench ")), "it never began to measure");
    std::thread::sleep(std::time::Duration::from_millis(500));
    assert_eq!(running_from(&world.path("home")).len(), 1, "the agent is not running");
    interrupt(&child);
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert_eq!(running_from(&world.path("home")), [""; 0], "an agent still runs");
    world.run("validate out/student.limbeck --board host --profile dev").expect(0, &[]);
}

/// Command lines of the processes whose program lies in `folder`. Linux only; nothing elsewhere.
fn running_from(folder: &Path) -> Vec<String> {
    let processes = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let lines = processes.filter_map(|process| std::fs::read_to_string(process.path().join("cmdline")).ok());
    lines.filter(|line| Path::new(line.split('\0').next().unwrap_or_default()).starts_with(folder)).collect()
}

#[test]
fn any_number_of_threads_and_the_pipeline_verb_write_the_same_bytes() {
    let world = World::new();
    by_verbs(&world, "one", 1);
    by_verbs(&world, "three", 3);
    let pipeline = "pipeline --teacher teacher.onnx --student student.onnx --epochs 1 --boards host --profile dev";
    let all = world.run(&format!("{pipeline} --train {TRAIN} --test {TEST} --out all")).expect(0, &[]);
    for file in FILES {
        let one = world.read(&format!("one/{file}"));
        assert!(one == world.read(&format!("three/{file}")), "{file} depends on the number of threads");
        assert!(one == world.read(&format!("all/{file}")), "{file}: `pipeline` and the verbs differ");
    }
    assert!(all.stdout.contains("report: all/report.html"), "{}", all.stdout);
    let report = report(&world, "all");
    assert_eq!((&report["verdict"], &report["schema_version"]), (&"PASS".into(), &1.into()));
    let subjects: Vec<_> = report["accuracy"].as_array().unwrap().iter().map(|row| &row["subject"]).collect();
    assert_eq!(subjects, ["teacher", "student before", "student after", "int8 in limbeck", "int8 on host"]);
    let latency = &report["boards"][0]["latency"];
    assert!(latency["n"].as_u64().unwrap() > 0 && latency["p50_us"].as_f64().unwrap() > 0.0, "{latency}");
    let leftovers: Vec<_> = world.files(".").into_iter().filter(|f| f.ends_with(".limbeck-tmp")).collect();
    assert_eq!(leftovers, [""; 0]);
    // The page can be made again from the JSON.
    std::fs::remove_file(world.path("all/report.html")).unwrap();
    world.run("report all/report.json").expect(0, &[]);
    assert!(world.path("all/report.html").exists());
}

#[test]
fn a_float_student_deploys_too() {
    let world = World::new();
    world.run(&format!("bundle --student student.onnx --data {TEST} --out out/float.limbeck")).expect(0, &[]);
    let validated = world.run("validate out/float.limbeck --board host --profile dev").expect(0, &[]).stdout;
    assert!(validated.contains("with this machine 100.00%, 0 integers"), "{validated}");
}
