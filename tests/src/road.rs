//! The road from a teacher to a board, verb by verb, on a few hundred scenes.

use crate::limbeck::{Ended, started_in};
use crate::world::World;

/// Scenes to learn from.
pub const TRAIN: &str = "scenes:seed=1,samples=300";
/// Scenes to test on.
pub const TEST: &str = "scenes:seed=2,samples=120,shift=strong";

/// What [`by_verbs`] writes that depends on nothing but its inputs.
pub const FILES: [&str; 5] = ["train.answers", "test.answers", "student.onnx", "student.int8.onnx", "student.limbeck"];

/// From `teacher.onnx` and `student.onnx` to `<out>/student.limbeck`, each stage by its verb. Returns the digest of every
/// integer that the int8 student computed here over [`TEST`].
pub fn by_verbs(world: &World, out: &str, threads: usize) -> String {
    let run = |verb: &str| world.run(&format!("{verb} --report {out}/report.json")).expect(0, &[]);
    let many = format!("--threads {threads}");
    run(&format!("teach --teacher teacher.onnx --data {TEST} --out {out}/test.answers {many}"));
    run(&format!("teach --teacher teacher.onnx --data {TRAIN} --out {out}/train.answers {many}"));
    let distill = "distill --student student.onnx --epochs 1";
    run(&format!("{distill} --answers {out}/train.answers --data {TRAIN} --out {out}/student.onnx {many}"));
    run(&format!("quantize --student {out}/student.onnx --data {TRAIN} --out {out}/student.int8.onnx {many}"));
    let evaluate = format!("evaluate --model {out}/student.int8.onnx --as int8 --data {TEST}");
    let here = run(&format!("{evaluate} --answers {out}/test.answers {many}"));
    let bundle = format!("bundle --student {out}/student.int8.onnx --data {TEST}");
    let replay = format!("--replay {TRAIN} --replay-answers {out}/train.answers");
    run(&format!("{bundle} --answers {out}/test.answers {replay} --out {out}/student.limbeck"));
    here.stdout.split_whitespace().next_back().expect("a digest").to_owned()
}

/// Deploy `<out>/student.limbeck` to `board`, validate it there against `digest`, and see that damage is refused there.
pub fn on_board(world: &World, out: &str, board: &str, profile: &str, digest: &str) {
    let on = format!("{out}/student.limbeck --board {board} --profile {profile} --report {out}/report.json");
    world.run(&format!("deploy {on}")).expect(0, &["8 probes equal"]);
    let validated = world.run(&format!("validate {on}")).expect(0, &[]).stdout;
    for part in [&format!("{board}: top-1"), "with this machine 100.00%", &format!("{digest} = this machine's")] {
        assert!(validated.contains(part), "`{part}` is not in {validated}");
    }
    let report = report(world, out);
    let subject = format!("int8 on {board}");
    let rows = report["accuracy"].as_array().expect("rows");
    let row = rows.iter().find(|row| row["subject"] == subject.as_str()).expect("the board's row");
    assert_eq!((&row["integers_hash"], &row["n"]), (&digest.into(), &120.into()));
    assert_eq!(report["verdict"], "PASS");
    let page = String::from_utf8(world.read(&format!("{out}/report.html"))).expect("UTF-8");
    assert!(page.contains("<svg") && page.contains(digest), "the page shows no chart or not the digest");
}

/// `<out>/report.json`.
pub fn report(world: &World, out: &str) -> serde_json::Value {
    serde_json::from_slice(&world.read(&format!("{out}/report.json"))).expect("JSON")
}

/// Flip one byte of the bundle that is installed on `board`, in each of its members, and run the agent there, behind
/// `runner` where the board is emulated: it must refuse with exit code 9 and name the member.
pub fn damage_is_refused_on_the_board(world: &World, board: &str, runner: &[&str]) {
    let current = format!("home/work/{board}/current");
    let whole = world.read(&format!("{current}/bundle"));
    let agent = world.path(&format!("{current}/agent"));
    let words: Vec<&str> = runner.iter().copied().chain([agent.to_str().expect("UTF-8")]).collect();
    let probe = |bytes: &[u8]| {
        world.write("damaged.limbeck", bytes);
        let args: Vec<&str> = words[1..].iter().copied().chain(["probe", "damaged.limbeck"]).collect();
        Ended::of(&mut started_in(&world.path("."), words[0].as_ref(), &args))
    };
    probe(&whole).expect(0, &[]);
    for member in ["student.onnx", "student.plan", "card.toml", "samples.bin", "replay.bin"] {
        let header = whole.windows(member.len() + 1).position(|w| w == [member.as_bytes(), b"\0"].concat());
        // A tar header is 512 bytes; the member follows it.
        let mut damaged = whole.clone();
        damaged[header.expect("the member") + 512 + 30] ^= 0x10;
        probe(&damaged).expect(9, &["damaged.limbeck", member]);
    }
    probe(&whole[..whole.len() / 2]).expect(9, &["damaged.limbeck"]);
}
