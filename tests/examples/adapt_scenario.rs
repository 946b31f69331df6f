//! A student that knows clean scenes is put on a board whose camera blurs, tints and adds noise: what 256 images with shipped teacher
//! answers, in all views, are worth there.
//!
//! Figures, not promises, hence no test. The board is `host`, or what `LIMBECK_BOARD` names; `LIMBECK_ADAPT` is added to `limbeck adapt`:
//! `LIMBECK_BOARD=qemu-aarch64 LIMBECK_ADAPT="--memory 24MiB --time 5m" cargo run -p limbeck-tests --example adapt_scenario`.

use limbeck_data::scenes::LABELS;
use limbeck_tests::limbeck::tell;
use limbeck_tests::road::report;
use limbeck_tests::world::World;
use limbeck_zoo::{scenes_card, shipped};

/// What the student was distilled on; it is also what it must not forget.
const SOURCE: &str = "scenes:seed=41,samples=2000";
/// What the board sees: 256 images with answers, and 500 others to measure with.
const LOCAL: &str = "scenes:seed=42,samples=256,shift=strong";
const LOCAL_TEST: &str = "scenes:seed=43,samples=500,shift=strong";
/// Clean images to measure with.
const SOURCE_TEST: &str = "scenes:seed=43,samples=500";

fn main() {
    let board = std::env::var("LIMBECK_BOARD").unwrap_or_else(|_| "host".into());
    let more = std::env::var("LIMBECK_ADAPT").unwrap_or_default();
    let world = World::new();
    let labels: Vec<String> = LABELS.iter().map(ToString::to_string).collect();
    for (name, onnx) in [("teacher", shipped::TEACHER.onnx), ("student", shipped::STUDENT.onnx)] {
        world.write(&format!("{name}.onnx"), onnx);
        world.write(&format!("{name}.toml"), scenes_card(&labels).to_toml());
    }
    let run = |args: &str| world.run(args).expect(0, &[]).stdout;
    run(&format!("teach --teacher teacher.onnx --data {SOURCE} --out source.answers"));
    run(&format!(
        "distill --student student.onnx --data {SOURCE} --answers source.answers --epochs 2 --out out/student.onnx"
    ));
    run(&format!("zoo --export {LOCAL} --out local"));
    run("teach --teacher teacher.onnx --data local --views identity,flip --out local.answers");
    let replay = format!("--replay {SOURCE} --replay-answers source.answers --replay-count 256");
    run(&format!("bundle --student out/student.onnx --data {LOCAL_TEST} {replay} --out out/student.limbeck"));
    let on = format!("--board {board}");
    let adapt =
        format!("adapt out/student.limbeck {on} --images local --answers local.answers --out out/new.limbeck {more}");
    let ended = world.run(&format!("{adapt} --report out/report.json"));
    tell(&format!("{}{}", ended.stdout, ended.stderr));
    assert!(matches!(ended.code, Some(0 | 10)), "{ended:?}");
    let adaptation = report(&world, "out")["adaptation"].clone();
    tell(&serde_json::to_string_pretty(&adaptation).expect("JSON"));
    // Top-1 on images that no one has seen, before and after, shifted and clean.
    tell(&format!("before: {}", run(&format!("validate out/student.limbeck {on}"))));
    if ended.code == Some(0) {
        tell(&format!("after:  {}", run(&format!("validate out/new.limbeck {on}"))));
        let student = world.read("out/new.limbeck");
        let at = student.windows(13).position(|w| w == b"student.onnx\0").expect("the member") + 512;
        let size = std::str::from_utf8(&student[at - 512 + 124..at - 512 + 135]).expect("octal digits");
        let size = usize::from_str_radix(size.trim(), 8).expect("octal digits");
        world.write("new.onnx", &student[at..at + size]);
        world.write("new.toml", scenes_card(&labels).to_toml());
        tell(&format!("clean, before: {}", run(&format!("evaluate --model out/student.onnx --data {SOURCE_TEST}"))));
        tell(&format!("clean, after:  {}", run(&format!("evaluate --model new.onnx --data {SOURCE_TEST}"))));
    }
}
