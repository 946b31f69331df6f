//! Teaching in parts, as schedulers do it, with the real program: killed, repeated, merged to the bytes of one run.

use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use limbeck_tests::limbeck::{Ended, interrupt, program};
use limbeck_tests::world::World;

/// Enough for a part to take its time: three parts of 3000 scenes, two views each.
const DATA: &str = "scenes:seed=3,samples=9000";
/// What is asked; small, so that a test is not about disks.
const ASKED: &str = "--head logits --head attention:stage:1 --views identity,flip";
const PARTS: u64 = 3;

fn jobs(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/teacher/jobs").join(file)
}

/// The job script of a Slurm array, as Slurm would start task `index`.
fn slurm_task(world: &World, index: u64) -> Command {
    let mut command = Command::new("bash");
    command.arg(jobs("slurm.sh")).args(ASKED.split(' ')).current_dir(world.path("."));
    command.env("LIMBECK", program()).env("LIMBECK_HOME", world.path("home"));
    command.envs([("TEACHER", "teacher.onnx"), ("DATA", DATA), ("OUT", "out/slurm.answers")]);
    // An array that counts from 1, as many do.
    let variables = [
        ("SLURM_ARRAY_TASK_ID", index + 1),
        ("SLURM_ARRAY_TASK_MIN", 1),
        ("SLURM_ARRAY_TASK_COUNT", PARTS),
        ("SLURM_CPUS_PER_TASK", 1),
    ];
    command.envs(variables.map(|(name, value)| (name, value.to_string())));
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Bytes of an unfinished file that are not zero: its manifest, and what was answered.
fn written(partial: &Path) -> usize {
    std::fs::read(partial).map_or(0, |bytes| bytes.iter().filter(|b| **b != 0).count())
}

/// Wait until so many bytes more are written than there were at first.
fn wait_for_answers(partial: &Path, bytes: usize) {
    let start = Instant::now();
    let mut first = None;
    loop {
        assert!(start.elapsed() < Duration::from_secs(120), "nothing was written to {}", partial.display());
        let now = written(partial);
        let first = *first.get_or_insert(now).max(&mut 1);
        if partial.exists() && now >= first + bytes {
            return;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn one_run(world: &World) -> Vec<u8> {
    let whole = format!("teach --teacher teacher.onnx --data {DATA} --out out/whole.answers {ASKED}");
    world.run(&whole).expect(0, &["images/s"]);
    world.read("out/whole.answers")
}

fn merged(world: &World, name: &str) -> Vec<u8> {
    let parts: Vec<String> = (0..PARTS).map(|i| format!("out/{name}.answers.shard-{i}-of-{PARTS}")).collect();
    world.run(&format!("answers merge --out out/{name}.answers {}", parts.join(" "))).expect(0, &[]);
    world.read(&format!("out/{name}.answers"))
}

#[test]
fn a_slurm_array_with_a_killed_and_a_repeated_task_makes_the_file_of_one_run() {
    let world = World::new();
    let whole = one_run(&world);

    let mut tasks: Vec<_> = (0..PARTS).map(|i| slurm_task(&world, i).spawn().expect("bash")).collect();
    let mut killed = tasks.remove(1);
    let name = format!("out/slurm.answers.shard-1-of-{PARTS}");
    // More than the 1024 answers that are made durable together: 10 logits and a map of 32 × 32 in f16 are 2068 bytes.
    wait_for_answers(&world.path(&format!("{name}.partial")), 1100 * 2068);
    killed.kill().expect("a running task");
    assert_eq!(killed.wait().expect("its end").signal(), Some(9));
    assert!(!world.path(&name).exists(), "it was done before it was killed");
    for task in tasks {
        let ended = task.wait_with_output().expect("its end");
        assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
    }
    Ended::of(&mut slurm_task(&world, 1)).expect(0, &["from an earlier run"]);
    let before = std::fs::metadata(world.path(&name)).and_then(|m| m.modified()).expect("a file");
    Ended::of(&mut slurm_task(&world, 1)).expect(0, &["is there already"]);
    let after = std::fs::metadata(world.path(&name)).and_then(|m| m.modified()).expect("a file");
    assert_eq!(before, after, "a part was made twice");

    assert!(merged(&world, "slurm") == whole, "the parts of an array are not the file of one run");
}

#[test]
fn a_stopped_run_says_what_is_kept_and_goes_on_to_the_same_bytes() {
    let world = World::new();
    let whole = one_run(&world);
    let again = format!("teach --teacher teacher.onnx --data {DATA} --out out/again.answers {ASKED} --threads 1");
    let mut command = world.command(&again);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("limbeck");
    wait_for_answers(&world.path("out/again.answers.partial"), 200);
    interrupt(&child);
    let ended = child.wait_with_output().expect("its end");
    let said = String::from_utf8_lossy(&ended.stderr);
    assert_eq!(ended.status.code(), Some(130), "{said}");
    assert!(said.contains("out/again.answers.partial: the same command goes on from there"), "{said}");
    assert!(!world.path("out/again.answers").exists());
    world.run(&again).expect(0, &["from an earlier run"]);
    assert!(world.read("out/again.answers") == whole, "a run in two pieces made other bytes");
}

/// A list of the manifest below `key:`, one `- item` a line; enough of YAML for the file that we ship.
fn yaml_list(text: &str, key: &str) -> Vec<String> {
    let mut lines = text.lines().skip_while(|line| line.trim() != format!("{key}:")).skip(1);
    let items = lines.by_ref().map_while(|line| line.trim().strip_prefix("- ").map(str::to_owned));
    items.collect()
}

/// The value of the first `key: value` of the manifest.
fn yaml_value<'a>(text: &'a str, key: &str) -> &'a str {
    let value = text.lines().find_map(|line| line.trim().strip_prefix(key)?.strip_prefix(": "));
    value.unwrap_or_else(|| panic!("no {key}")).trim_matches('"')
}

#[test]
fn the_kubernetes_job_makes_the_file_of_one_run() {
    let text = std::fs::read_to_string(jobs("kubernetes.yaml")).expect("the manifest");
    assert_eq!(yaml_value(&text, "completionMode"), "Indexed");
    assert_eq!(yaml_value(&text, "completions"), yaml_value(&text, "value"), "LIMBECK_SHARDS is not `completions`");
    assert!(text.contains("- name: LIMBECK_SHARDS"));
    let args = yaml_list(&text, "args");
    assert_eq!(args.first().map(String::as_str), Some("teach"), "{args:?}");

    let world = World::new();
    let small = "scenes:seed=3,samples=31";
    let whole = format!("teach --teacher teacher.onnx --data {small} --out out/whole.answers");
    world.run(&whole).expect(0, &[]);
    for index in 0..PARTS {
        let args = args.join(" ").replace("/data/answers/train", "out/kubernetes").replace("/data/train", small);
        let mut pod = world.command(&args.replace("/data/", ""));
        pod.env("JOB_COMPLETION_INDEX", index.to_string()).env("LIMBECK_SHARDS", PARTS.to_string());
        Ended::of(&mut pod).expect(0, &[]);
    }
    assert!(merged(&world, "kubernetes") == world.read("out/whole.answers"));

    let mut alone = world.command(&args.join(" ").replace("/data/", ""));
    alone.env("JOB_COMPLETION_INDEX", "0").env_remove("LIMBECK_SHARDS").env_remove("SLURM_ARRAY_TASK_ID");
    Ended::of(&mut alone).expect(2, &["LIMBECK_SHARDS is not", "`completions`"]);
}

#[test]
fn answers_go_to_a_store_and_what_is_there_is_not_made_again() {
    let world = World::new();
    for (i, class) in limbeck_data::scenes::LABELS.iter().enumerate().take(3) {
        for image in 0..i + 2 {
            world.picture(&format!("pictures/{class}/{image}.png"), [32, 32]);
        }
    }
    let url = |name: &str| format!("file://{}", world.path(name).display());
    let local = "teach --teacher teacher.onnx --data pictures --out out/local.answers";
    world.run(local).expect(0, &[]);
    let stored = format!(
        "teach --teacher teacher.onnx --data {} --out {} --work home",
        url("pictures"),
        url("store/deep/stored.answers")
    );
    world.run(&stored).expect(0, &["images/s"]);
    assert!(world.read("out/local.answers") == world.read("store/deep/stored.answers"), "a store changes the answers");
    world.run(&stored).expect(0, &["is there already"]);
    assert!(!world.path("home/stored.answers").exists(), "the working file stayed");
    world.write("store/deep/stored.answers", b"torn");
    world.run(&stored).expect(0, &["teaching anew", "images/s"]);
    assert!(world.read("out/local.answers") == world.read("store/deep/stored.answers"));
    let cloud = "teach --teacher teacher.onnx --data s3://bucket/train --out out/cloud.answers";
    world.run(cloud).expect(2, &["s3://bucket/train", "--features cloud"]);
}
