//! What `limbeck` says of a bundle and of numbers, by exit code: signatures (7), accuracy (3) and cost (4) over budget, INVALID (5); and
//! how it says it to programs.

use limbeck_tests::road::{TEST, by_verbs, report};
use limbeck_tests::world::World;
use serde_json::Value;

/// A world whose `out/student.int8.onnx` can be bundled.
fn world() -> World {
    let world = World::new();
    by_verbs(&world, "out", 2);
    world
}

/// Make `out/<name>.limbeck`.
fn bundle(world: &World, name: &str, more: &str) {
    let bundle = "bundle --student out/student.int8.onnx --answers out/test.answers";
    world.run(&format!("{bundle} --data {TEST} --out out/{name}.limbeck {more}")).expect(0, &[]);
}

const HOST: &str = "--board host --profile dev";

#[test]
fn only_the_owners_bundles_and_no_older_ones_reach_a_board_that_trusts_him() {
    let world = world();
    world.run("key new --out owner --no-password").expect(0, &[]);
    world.run("key new --out thief --no-password").expect(0, &[]);
    world.refuses("key new --out owner --no-password", 2, &["owner.key", "a key is not replaced"]);
    let mode =
        std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(world.path("owner.key")).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600, "others can read the secret key");

    bundle(&world, "plain", "");
    bundle(&world, "two", "--version 2 --sign owner.key");
    world.run("sign out/two.limbeck --key thief.key --out out/stolen.limbeck").expect(0, &[]);
    world.run("verify out/two.limbeck --key owner.pub").expect(0, &[]);
    world.refuses("verify out/stolen.limbeck --key owner.pub", 7, &["not signed by the key", "stolen.limbeck"]);
    world.refuses("verify out/plain.limbeck --key owner.pub", 7, &["nobody signed it", "plain.limbeck"]);
    world.refuses("verify out/two.limbeck --key student.toml", 2, &["student.toml: not a minisign public key"]);
    world.refuses("sign out/two.limbeck --key owner.pub", 2, &["owner.pub: not a secret key"]);

    world.run(&format!("deploy out/plain.limbeck {HOST}")).expect(0, &[]);
    world.run(&format!("deploy out/two.limbeck {HOST} --trust owner.pub")).expect(0, &[]);
    let installed = world.files("home/work/host");
    for (name, says) in [("plain", "nobody signed it"), ("stolen", "not signed by the key that the board trusts")] {
        world.run(&format!("deploy out/{name}.limbeck {HOST}")).expect(7, &[says]);
        assert_eq!(world.files("home/work/host"), installed, "{name} changed the board");
    }
    bundle(&world, "one", "--version 1 --sign owner.key");
    world.run(&format!("deploy out/one.limbeck {HOST}")).expect(7, &["version 1, and the board had version 2"]);
    world.run(&format!("deploy out/one.limbeck {HOST} --trust thief.pub")).expect(7, &["not signed by"]);
    world.run(&format!("deploy out/one.limbeck {HOST} --force-downgrade")).expect(0, &["downgraded to version 1"]);

    // The board asks too: what reached its disk in another way is not admitted.
    let agent = world.path("home/work/host/current/agent");
    let probe = |bundle: &str| {
        let args = ["probe", bundle, "--admit", "home/work/host"];
        limbeck_tests::limbeck::Ended::of(&mut limbeck_tests::limbeck::started_in(&world.path("."), &agent, &args))
    };
    probe("out/two.limbeck").expect(0, &[]);
    probe("out/stolen.limbeck").expect(7, &["not signed by the key that the board trusts"]);
    world.run("board clean host").expect(0, &[]);
    assert!(!world.path("home/work/host/current").exists());
}

#[test]
fn what_is_over_budget_fails_and_a_measurement_in_bad_circumstances_is_invalid() {
    let world = world();
    world.write("budgets.toml", "min_top1 = 1.0\n[boards.host]\nmax_arena_bytes = 64\n");
    bundle(&world, "tight", "--budgets budgets.toml");
    let on = format!("out/tight.limbeck {HOST} --report out/tight.json");
    world.run(&format!("validate {on}")).expect(3, &["host: over budget: top-1", "the budget 1"]);
    let quick = "--latency-only --max-load 1000 --allow-governor";
    world.run(&format!("bench {on} {quick}")).expect(4, &["host: over budget: arena", "the budget 64"]);
    let report: Value = serde_json::from_slice(&world.read("out/tight.json")).unwrap();
    assert_eq!((&report["verdict"], report["budgets"].as_array().unwrap().len()), (&"FAIL".into(), 2));

    world.write("budgets.toml", "min_top1 = 0.0\nmax_latency_us = 1e9\n");
    bundle(&world, "wide", "--budgets budgets.toml");
    world.write("hot/sys/class/thermal/thermal_zone0/temp", "95000\n");
    let on = format!("out/wide.limbeck {HOST} --report out/wide.json");
    world.run(&format!("validate {on}")).expect(0, &[]);
    let sysroot = world.path("hot");
    let hot = world
        .run(&format!("bench {on} {quick} --sysroot {}", sysroot.display()))
        .expect(5, &["INVALID", "95.0 °C, above 80"]);
    assert!(hot.stdout.contains("INVALID host: score "), "the number is not shown: {}", hot.stdout);
    let report: Value = serde_json::from_slice(&world.read("out/wide.json")).unwrap();
    assert_eq!(report["verdict"], "INVALID", "{}", report["reasons"]);
    // A good pass of another kind does not make the bad one good.
    world
        .run(&format!("bench {on} {quick} --sustained 2s"))
        .expect(5, &["INVALID: a budget, and nothing measured: latency"]);
    let report: Value = serde_json::from_slice(&world.read("out/wide.json")).unwrap();
    assert!(report["boards"][0]["latency"].is_null() && report["boards"][0]["sustained"].is_object());
    world.run(&format!("bench {on} {quick}")).expect(0, &[]);
    // Cold starts have a verdict of their own.
    let cold = format!("bench {on} --max-load 1000 --allow-governor --sysroot {}", sysroot.display());
    world.run(&cold).expect(5, &["INVALID: window 1: 95.0 °C"]);

    world.write("budgets.toml", "max_latency = 5\n");
    let bundle = format!("bundle --student out/student.int8.onnx --data {TEST} --out out/x.limbeck");
    let says = ["budgets.toml", "unknown key `max_latency`, did you mean `max_latency_us`?"];
    world.refuses(&format!("{bundle} --budgets budgets.toml"), 2, &says);
}

#[test]
fn a_run_is_held_against_an_earlier_one() {
    let world = world();
    bundle(&world, "student", "");
    let on = format!("out/student.limbeck {HOST}");
    world.run(&format!("validate {on} --report before/report.json")).expect(0, &[]);
    world.run(&format!("validate {on} --report after/report.json")).expect(0, &[]);
    let same = world.run("compare-runs before/report.json after/report.json").expect(0, &[]).stdout;
    assert!(same.contains("integers: equal in both runs"), "{same}");
    let mut worse = report(&world, "after");
    let row =
        worse["accuracy"].as_array_mut().unwrap().iter_mut().find(|row| row["subject"] == "int8 on host").unwrap();
    (row["correct"], row["top1"]) = (0.into(), 0.0.into());
    world.write("after/report.json", worse.to_string());
    world.run("compare-runs before/report.json after/report.json").expect(3, &[]);
    assert!(world.path("after/report.csv").exists() && world.path("after/raw.csv").exists());
    world.run(&format!("validate {on} --report after/second.json")).expect(0, &[]);
    assert!(world.path("after/second.csv").exists(), "two reports of one folder share their tables");
}

#[test]
fn programs_get_json_lines_and_nothing_else() {
    let world = World::new();
    let lines = |args: &str, code: i32| -> Vec<Value> {
        let ended = world.run(&format!("{args} --format json")).expect(code, &[]);
        ended.stdout.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{line}: {e}"))).collect()
    };
    for (args, kind) in [
        ("board list", "board"),
        ("board show raspberry-pi-4", "board"),
        ("board probe host", "preflight"),
        ("recipes", "text"),
        ("evaluate --model student.onnx --data scenes:samples=20", "text"),
    ] {
        let lines = lines(args, 0);
        assert_eq!(lines[0]["schema_version"], 1, "{args}");
        assert!(lines.len() > 1 && lines[1]["kind"] == kind, "{args}: {}", lines[1]);
    }
    let last = lines("board show raspbery-pi-4", 2).pop().unwrap();
    assert_eq!((&last["kind"], &last["exit_code"]), (&"error".into(), &2.into()));
    assert!(last["message"].as_str().unwrap().contains("raspberry-pi-4"), "{last}");
}

#[test]
fn a_board_that_is_away_says_so_before_anything_is_built_for_it() {
    let world = world();
    bundle(&world, "student", "");
    let says = ["raspberry-pi-4", "limbeck board add", "--host"];
    world.refuses("deploy out/student.limbeck --board raspberry-pi-4", 2, &says);
    world.run("board add away --like raspberry-pi-4 --host pi@127.0.0.1 --port 9 --offline").expect(0, &[]);
    let away = world.run("deploy out/student.limbeck --board away");
    assert!([Some(6), Some(7)].contains(&away.code), "{away:?}");
    assert!(!away.stderr.contains("build      agent"), "{}", away.stderr);
}

#[test]
fn shells_and_readers_of_manuals_get_every_verb() {
    let world = World::new();
    for shell in ["bash", "zsh", "fish"] {
        let text = world.run(&format!("completions {shell}")).expect(0, &[]).stdout;
        assert!(text.contains("compare-runs") && text.contains("allow-governor"), "{shell}");
    }
    world.run("man --out out/man").expect(0, &[]);
    let page = String::from_utf8(world.read("out/man/limbeck-bench.1")).unwrap();
    assert!(page.contains("max\\-temp\\-c") && page.contains("INVALID"), "{page}");
    assert!(world.path("out/man/limbeck-board-add.1").exists());
}
