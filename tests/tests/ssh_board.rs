//! A board behind ssh, from `board add` to a signed update: a real sshd on this machine whose programs are aarch64 and run emulated.
//!
//! It cross-builds the agent (as `emulated_board` does), so it runs only when asked for: `LIMBECK_EMULATED=1`.

use limbeck_tests::limbeck::{Ended, is_set, skip};
use limbeck_tests::loopback::Loopback;
use limbeck_tests::road::by_verbs;
use limbeck_tests::world::World;

/// `limbeck` with the home folder of the stand-in board.
fn limbeck(world: &World, sshd: &Loopback, args: &str) -> Ended {
    Ended::of(world.command(args).env("LIMBECK_HOME", sshd.path("limbeck")))
}

#[test]
fn a_student_reaches_a_board_behind_ssh_and_only_its_owners_updates_follow() {
    let test = "a_student_reaches_a_board_behind_ssh_and_only_its_owners_updates_follow";
    if !is_set("LIMBECK_EMULATED") {
        return skip(test, "it cross-builds the agent; ask for it with LIMBECK_EMULATED=1");
    }
    let mut sshd = match Loopback::start() {
        Ok(sshd) => sshd,
        Err(why) => return skip(test, &why),
    };
    let world = World::new();
    let digest = by_verbs(&world, "out", 2);
    std::fs::create_dir_all(sshd.path("limbeck/boards")).expect("a folder");
    let toml = sshd.toml("aarch64-unknown-linux-musl", &["qemu-aarch64-static", "-cpu", "cortex-a53"]);
    let toml = toml.replace("timeout_s = 60", "timeout_s = 1200");
    std::fs::write(sshd.path("limbeck/boards/loop.toml"), toml).expect("a board");

    // Nobody has said yet that this is the board.
    let deploy = "deploy out/student.limbeck --board loop";
    limbeck(&world, &sshd, deploy).expect(7, &["loop", "limbeck board probe loop"]);
    limbeck(&world, &sshd, "board probe loop --fingerprint SHA256:another").expect(7, &["SHA256:another"]);
    limbeck(&world, &sshd, deploy).expect(7, &["limbeck board probe loop"]);
    let probed = limbeck(&world, &sshd, "board probe loop").expect(0, &["is trusted from now on"]).stdout;
    assert!(probed.contains("architecture") && probed.contains("it can take a student"), "{probed}");

    let validated = limbeck(&world, &sshd, "validate out/student.limbeck --board loop --report out/ssh.json");
    let validated = validated.expect(0, &["8 probes equal"]).stdout;
    assert!(validated.contains(&format!("{digest} = this machine's")), "{validated}");
    let bench = limbeck(&world, &sshd, "bench out/student.limbeck --board loop --report out/ssh.json --format json");
    let bench = bench.expect(0, &[]).stdout;
    let kinds: Vec<String> = bench
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).expect("JSON"))
        .map(|line| line["kind"].as_str().unwrap_or("begin").to_owned())
        .collect();
    assert_eq!(kinds, ["begin", "cold", "bench", "memory", "operators"]);
    let report: serde_json::Value = serde_json::from_slice(&world.read("out/ssh.json")).expect("JSON");
    assert_eq!((&report["verdict"], &report["boards"][0]["emulated"]), (&"PASS".into(), &true.into()));

    // A key is pinned; then unsigned, wrongly signed and older bundles are refused before anything is copied.
    for name in ["owner", "thief"] {
        limbeck(&world, &sshd, &format!("key new --out {name} --no-password")).expect(0, &[]);
    }
    let bundle = |version: u32, key: &str| {
        let make = "bundle --student out/student.int8.onnx --data scenes:seed=2,samples=8";
        let made = format!("{make} --version {version} --sign {key}.key --out out/{key}{version}.limbeck");
        limbeck(&world, &sshd, &made).expect(0, &[]);
        format!("deploy out/{key}{version}.limbeck --board loop")
    };
    limbeck(&world, &sshd, &format!("{} --trust owner.pub", bundle(2, "owner"))).expect(0, &["8 probes equal"]);
    let slots = || std::fs::read_dir(sshd.path("home/.limbeck/work/slots")).map(|slots| slots.count()).unwrap_or(0);
    let before = slots();
    limbeck(&world, &sshd, deploy).expect(7, &["nobody signed it"]);
    limbeck(&world, &sshd, &bundle(3, "thief")).expect(7, &["not signed by the key that the board trusts"]);
    limbeck(&world, &sshd, &bundle(1, "owner")).expect(7, &["version 1, and the board had version 2"]);
    assert_eq!(slots(), before, "a refused bundle left something on the board");
    limbeck(&world, &sshd, &bundle(3, "owner")).expect(0, &["8 probes equal"]);
    limbeck(&world, &sshd, "rollback --board loop").expect(0, &[]);

    // Somebody in between, or a board set up anew.
    sshd.change_host_key().expect("another key");
    limbeck(&world, &sshd, "board probe loop").expect(7, &["SHA256:", "limbeck board forget loop"]);
    limbeck(&world, &sshd, "board forget loop").expect(0, &[]);
    limbeck(&world, &sshd, "board probe loop").expect(0, &["is trusted from now on"]);
}
