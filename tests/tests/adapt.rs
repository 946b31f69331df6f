//! `limbeck-agent adapt`, the real program: it gets better or stays as it was, whatever happens to it.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use limbeck_tests::adapting::{ADAPT, agent, agent_command, agent_run, line, world};
use limbeck_tests::limbeck::{Ended, interrupt, skip};
use limbeck_tests::world::World;

/// An uninterrupted run; the bundle that it wrote.
fn straight(world: &World, more: &str) -> Vec<u8> {
    agent_run(world, &format!("{ADAPT} --work straight --out straight.limbeck {more}")).expect(0, &[]);
    world.read("straight.limbeck")
}

/// Files in a working folder that belong to a run that is not over.
fn checkpoints(world: &World, work: &str) -> usize {
    world.files(work).iter().filter(|f| f.starts_with("checkpoint")).count()
}

#[test]
fn a_better_student_is_written_and_says_what_it_came_from() {
    let world = world();
    let old = world.read("student.limbeck");
    let adapt = format!("{ADAPT} --work w --out new.limbeck --epochs 4 --memory 8MiB");
    let ended = agent_run(&world, &adapt).expect(0, &[]);
    let (plan, outcome) = (line(&ended.stdout, "plan"), line(&ended.stdout, "adapt"));
    assert_eq!((&plan["samples"], &plan["held_out"], &plan["views"]), (&19.into(), &5.into(), &2.into()));
    assert_eq!((&plan["rehearsed"], &plan["replay"]), (&8.into(), &8.into()));
    assert_eq!(outcome["accepted"], true);
    assert_eq!((&outcome["held_out"]["shown"], &outcome["replay"]["shown"]), (&10.into(), &8.into()));
    let loss = |when: &str| outcome["held_out"][when]["loss"].as_f64().unwrap();
    assert!(loss("after") < loss("before"), "{outcome}");
    assert_eq!(outcome["steps"], outcome["planned_steps"]);
    let memory = |of: &str| outcome["memory"][of].as_u64().unwrap();
    assert!(memory("predicted_peak_bytes") <= 8 << 20 && memory("training_peak_bytes") <= 8 << 20, "{outcome}");
    assert!(memory("training_peak_bytes") <= memory("predicted_peak_bytes"), "{outcome}");
    assert!(memory("process_peak_bytes") > memory("training_peak_bytes"));

    // The new bundle proves itself, and names its parent; the old one is untouched.
    agent_run(&world, "probe new.limbeck").expect(0, &[]);
    assert_eq!(world.read("student.limbeck"), old);
    let new = String::from_utf8_lossy(&world.read("new.limbeck")).into_owned();
    assert!(new.contains(outcome["parent_sha256"].as_str().unwrap()), "the manifest does not name the parent");
    assert_eq!(checkpoints(&world, "w"), 0, "checkpoints of finished work");
    // And can be adapted in turn.
    let again = ADAPT.replace("student.limbeck", "new.limbeck");
    let again = agent_run(&world, &format!("{again} --work w --out newer.limbeck --epochs 1"));
    assert!(matches!(again.code, Some(0 | 10)), "{again:?}");
}

#[test]
fn a_board_draws_the_views_that_the_teacher_saw_and_refuses_those_that_mix_in_what_judges() {
    let world = world();
    let teach = |augment: &str| {
        let views = format!("--views identity,drawn:0..3 --augment {augment} --augment-seed 5");
        world.run(&format!("teach --teacher teacher.onnx --data local {views} --out {augment}.answers")).expect(0, &[]);
        ADAPT.replace("local.answers", &format!("{augment}.answers"))
    };
    let adapt = format!("{} --work w --out new.limbeck --epochs 4", teach("standard"));
    let ended = agent_run(&world, &adapt).expect(0, &[]);
    let (plan, outcome) = (line(&ended.stdout, "plan"), line(&ended.stdout, "adapt"));
    assert_eq!((&plan["views"], &outcome["held_out"]["shown"]), (&4.into(), &20.into()));
    assert_eq!(outcome["accepted"], true, "{outcome}");
    let mixed = format!("{} --work v --out mixed.limbeck", teach("strong"));
    agent_run(&world, &mixed).expect(9, &["strong.answers", "held out to judge", "--augment standard"]);
    assert!(!world.path("mixed.limbeck").exists());
}

#[test]
fn an_int8_student_is_trained_in_its_own_integers() {
    let world = world();
    world.run("quantize --student student.onnx --data scenes:seed=1,samples=24 --out int8.onnx").expect(0, &[]);
    world.run("bundle --student int8.onnx --data scenes:seed=2,samples=16 --out int8.limbeck").expect(0, &[]);
    let adapt = |out: &str, threads: usize| {
        let adapt = ADAPT.replace("student.limbeck", "int8.limbeck");
        let more = format!("--work {out} --out {out}.limbeck --epochs 6 --rate 0.003 --threads {threads}");
        line(&agent_run(&world, &format!("{adapt} {more}")).expect(0, &[]).stdout, "adapt")
    };
    let outcome = adapt("one", 1);
    // Judged by the plan that runs on the board, not by the training graph.
    assert_eq!(outcome["accepted"], true, "{outcome}");
    let memory = |of: &str| outcome["memory"][of].as_u64().unwrap();
    assert!(memory("training_peak_bytes") <= memory("predicted_peak_bytes"), "{outcome}");
    adapt("two", 2);
    assert!(world.read("one.limbeck") == world.read("two.limbeck"), "threads change bytes");
    agent_run(&world, "probe one.limbeck").expect(0, &[]);
    let integers = |bundle: &str| {
        let validated = line(&agent_run(&world, &format!("validate {bundle}")).expect(0, &[]).stdout, "validate");
        (validated["integers"].as_u64().unwrap(), validated["digest"].as_str().unwrap().to_owned())
    };
    let (before, after) = (integers("int8.limbeck"), integers("one.limbeck"));
    assert!(before.0 > 0 && before.0 == after.0, "as many integers: {before:?}, {after:?}");
    assert_ne!(before.1, after.1, "other integers");
}

#[test]
fn any_number_of_threads_writes_the_same_bytes() {
    let world = world();
    let one = straight(&world, "--threads 1 --epochs 2");
    agent_run(&world, &format!("{ADAPT} --work w --out three.limbeck --threads 3 --epochs 2")).expect(0, &[]);
    assert!(one == world.read("three.limbeck"));
}

#[test]
fn killed_at_random_times_it_ends_with_the_bytes_of_an_uninterrupted_run() {
    let world = world();
    let more = "--epochs 12";
    let start = Instant::now();
    let expected = straight(&world, more);
    let whole = start.elapsed();
    let (mut kills, mut resumed) = (0, 0);
    for seed in 0..4u64 {
        let work = format!("work{seed}");
        for attempt in 0u64.. {
            let mut command = agent_command(&world, &format!("{ADAPT} --work {work} --out {work}.limbeck {more}"));
            let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
            // Times that look random and are the same every time: anywhere in a run, later ones in later attempts.
            let share = (seed * 7919 + attempt * 104_729) % 97;
            std::thread::sleep(whole.mul_f64(0.2 + share as f64 / 97.0 * 0.8));
            // Has it ended by itself?
            let ended = child.try_wait().unwrap().is_some();
            child.kill().unwrap();
            let output = child.wait_with_output().unwrap();
            let stdout = String::from_utf8_lossy(&output.stdout);
            resumed += stdout.contains("resumed after") as usize;
            // At every moment the old bundle, and the new one if it is there, are whole.
            agent_run(&world, "probe student.limbeck").expect(0, &[]);
            if world.path(&format!("{work}.limbeck")).exists() {
                agent_run(&world, &format!("probe {work}.limbeck")).expect(0, &[]);
            }
            if ended {
                assert_eq!(output.status.code(), Some(0), "{stdout}");
                break;
            }
            kills += 1;
            assert!(attempt < 60, "it never ends");
        }
        assert!(world.read(&format!("{work}.limbeck")) == expected, "{work}: other bytes than without kills");
    }
    assert!(kills > 0 && resumed > 0, "{kills} kills, {resumed} times resumed: nothing was tested");
}

#[test]
fn a_signal_keeps_the_checkpoint_and_the_old_student() {
    let world = world();
    let expected = straight(&world, "--epochs 40");
    for signal in ["-INT", "-TERM"] {
        let work = format!("w{signal}");
        let adapt = format!("{ADAPT} --work {work} --out out{signal}.limbeck --epochs 40");
        let mut child = agent_command(&world, &adapt).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        while checkpoints(&world, ".").max(count(&world, &work)) == 0 {
            std::thread::sleep(Duration::from_millis(2));
            assert!(child.try_wait().unwrap().is_none(), "it ended before its first checkpoint");
        }
        let status = Command::new("kill").args([signal, &child.id().to_string()]).status().unwrap();
        assert!(status.success());
        assert_eq!(child.wait().unwrap().code(), Some(130));
        assert!(!world.path(&format!("out{signal}.limbeck")).exists());
        let ended = agent_run(&world, &adapt).expect(0, &[]);
        assert!(line(&ended.stdout, "plan")["resumed_steps"].as_u64().unwrap() > 0);
        assert!(world.read(&format!("out{signal}.limbeck")) == expected);
    }
}

/// Checkpoints in a folder that may not be there yet.
fn count(world: &World, work: &str) -> usize {
    if world.path(work).exists() { checkpoints(world, work) } else { 0 }
}

#[test]
fn a_ruined_student_is_rolled_back() {
    let world = world();
    let old = world.read("student.limbeck");
    for rate in ["1e4", "1e30"] {
        let ruin = format!("--optimiser sgd --rate {rate} --clip 1e30 --epochs 3");
        let ended = agent_run(&world, &format!("{ADAPT} --work w --out new.limbeck {ruin}")).expect(10, &[]);
        let outcome = line(&ended.stdout, "adapt");
        assert_eq!(outcome["accepted"], false);
        let why = outcome["why"].as_str().unwrap();
        assert!(why.contains("does not fall") || why.contains("diverged"), "{why}");
        assert_eq!(world.read("student.limbeck"), old);
        assert!(!world.path("new.limbeck").exists());
    }
    // A student that only forgets is rolled back too.
    let forgets = ADAPT.replace("--margin 5", "--margin 0 --no-rehearsal");
    let ended = agent_run(&world, &format!("{forgets} --work w --out new.limbeck --epochs 4"));
    let outcome = line(&ended.stdout, "adapt");
    let [before, after] = ["before", "after"].map(|when| outcome["replay"][when]["loss"].as_f64().unwrap());
    assert_eq!(ended.code, Some(if after <= before { 0 } else { 10 }), "{outcome}");
}

#[test]
fn the_time_limit_is_kept_and_what_there_is_gets_judged() {
    let world = world();
    let start = Instant::now();
    let ended = agent_run(&world, &format!("{ADAPT} --work w --out new.limbeck --epochs 100000 --time 6s"));
    let took = start.elapsed();
    let (plan, outcome) = (line(&ended.stdout, "plan"), line(&ended.stdout, "adapt"));
    assert!(outcome["seconds"].as_f64().unwrap() <= 6.0 && outcome["held_out"].is_object(), "{outcome}");
    assert!(took < Duration::from_secs(12), "{took:?}");
    // The schedule is made for the time there is, and cut short where a step takes longer than it was timed.
    assert!(plan["steps"].as_u64().unwrap() < 100_000, "{plan}");
    let stopped = outcome["stopped"].as_str().is_some_and(|why| why.contains("time limit"));
    assert!(stopped || outcome["steps"] == outcome["planned_steps"], "{outcome}");
}

#[test]
fn heat_stops_it_and_what_there_is_gets_judged() {
    let world = world();
    world.write("root/sys/class/thermal/thermal_zone0/temp", "81000\n");
    let ended = agent_run(&world, &format!("{ADAPT} --work w --out new.limbeck --root root"));
    let outcome = line(&ended.stdout, "adapt");
    assert!(outcome["stopped"].as_str().unwrap().contains("81.0 °C"), "{outcome}");
    assert_eq!((&outcome["steps"], &outcome["accepted"]), (&0.into(), &false.into()));
    assert_eq!(ended.code, Some(10));
    world.write("root/sys/class/thermal/thermal_zone0/temp", "79000\n");
    let ended = agent_run(&world, &format!("{ADAPT} --work w --out new.limbeck --epochs 1 --root root"));
    let outcome = line(&ended.stdout, "adapt");
    assert_eq!((&outcome["stopped"], &outcome["hottest_c"]), (&serde_json::Value::Null, &79.0.into()));
}

#[test]
fn a_memory_budget_that_is_too_small_trains_nothing() {
    let world = world();
    let args = format!("{ADAPT} --work w --out new.limbeck --memory 10KiB");
    let ended = agent_run(&world, &args).expect(4, &["10240"]);
    assert!(!ended.stdout.contains("progress") && !world.path("new.limbeck").exists(), "{}", ended.stdout);
}

#[test]
fn what_does_not_belong_together_is_refused() {
    let world = world();
    let refuses = |args: &str, code: i32, says: &str| {
        let ended = agent_run(&world, args).expect(code, &[says]);
        assert!(!world.path("new.limbeck").exists(), "{args}: {}", ended.stdout);
    };
    let with = |from: &str, to: &str| format!("{} --work w --out new.limbeck", ADAPT.replace(from, to));
    let damage = |name: &str, to: &str| {
        let mut bytes = world.read(name);
        let at = bytes.len() / 2;
        bytes[at] ^= 4;
        world.write(to, bytes);
    };
    damage("student.limbeck", "damaged.limbeck");
    refuses(&with("student.limbeck", "damaged.limbeck"), 9, "damaged.limbeck");
    damage("local.answers", "damaged.answers");
    refuses(&with("local.answers", "damaged.answers"), 9, "damaged.answers");
    refuses(&with("local.answers", "source.answers"), 9, "data set");
    refuses(&with("local.answers", "no.answers"), 9, "no.answers");
    refuses(&with("--images local", "--images nowhere"), 9, "nowhere");
    refuses(&with("--batch 4", "--batch 0"), 2, "--batch");
    refuses(&with("--batch 4", "--select some"), 2, "last:8");
    refuses(&with("--batch 4", "--select name:no.such.*"), 9, "no.such.*");
    refuses(&format!("{ADAPT} --work w"), 2, "--out");
    // One image more, one less, one that is no image any more.
    let first = world.files("local").into_iter().next().unwrap();
    let whole = world.read(&format!("local/{first}"));
    std::fs::remove_file(world.path(&format!("local/{first}"))).unwrap();
    refuses(&with("", ""), 9, "data set");
    world.write(&format!("local/{first}"), &whole[..whole.len() / 2]);
    refuses(&with("", ""), 9, "data set");
    // Another run's checkpoint is said and not used.
    world.write(&format!("local/{first}"), &whole);
    let adapt = format!("{ADAPT} --work w --out new.limbeck --epochs 30");
    let mut child = agent_command(&world, &adapt).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    while count(&world, "w") == 0 {
        std::thread::sleep(Duration::from_millis(2));
    }
    interrupt(&child);
    child.wait().unwrap();
    let ended = agent_run(&world, &adapt.replace("--epochs 30", "--epochs 2")).expect(0, &[]);
    let plan = line(&ended.stdout, "plan");
    assert!(plan["checkpoint"].as_str().unwrap().contains("another"), "{plan}");
    assert_eq!(plan["resumed_steps"], 0);
}

#[test]
fn two_do_not_adapt_in_one_folder() {
    let world = world();
    let adapt = format!("{ADAPT} --work w --out new.limbeck --epochs 100000");
    let mut first = agent_command(&world, &adapt).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    while count(&world, "w") == 0 {
        std::thread::sleep(Duration::from_millis(2));
    }
    agent_run(&world, &adapt).expect(6, &["in use", &format!("process {}", first.id())]);
    first.kill().unwrap();
    first.wait().unwrap();
}

#[test]
fn a_full_disk_keeps_the_old_student() {
    let world = world();
    world.folder("small");
    // Room for the old bundle, not for a second one.
    let old = world.read("student.limbeck");
    let kib = old.len().div_ceil(1024) + 24;
    let agent = agent().display();
    let adapt = ADAPT.replace("student.limbeck", "small/out.limbeck");
    let script = format!(
        "mount -t tmpfs -o size={kib}k tmpfs small && cp student.limbeck small/out.limbeck && \
         {agent} {adapt} --work w --out small/out.limbeck --epochs 2; code=$?; cmp student.limbeck small/out.limbeck || exit 99; \
         ls -A small; exit $code"
    );
    let mut command = Command::new("unshare");
    command.args(["-rm", "sh", "-c", &script]).current_dir(world.path(".")).stdin(Stdio::null());
    if Command::new("unshare").args(["-rm", "true"]).status().map_or(true, |s| !s.success()) {
        return skip("a_full_disk_keeps_the_old_student", "no unprivileged mounts here");
    }
    let ended = Ended::of(&mut command).expect(8, &["out.limbeck"]);
    assert!(ended.stdout.ends_with("}\nout.limbeck\n"), "something is left on the full disk: {}", ended.stdout);
    assert!(Path::new("/proc").exists());
}
