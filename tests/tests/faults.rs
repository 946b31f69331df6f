//! Bad input, one by one, given to the real `limbeck`.
//!
//! A refusal has the exit code of the table in `limbeck --help`, names the file and the way out, and leaves the folder
//! as it was: no half-written file under a final name, no temporary one.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use limbeck_data::scenes::LABELS;
use limbeck_engine::onnx::{Attribute, Model};
use limbeck_tests::limbeck::{Ended, interrupt, limbeck, program, skip};
use limbeck_tests::nets::{Conv, Net};
use limbeck_tests::world::World;
use limbeck_zoo::{Plan, Stage, build, scenes_card};

const SCENES: &str = "--data scenes:samples=40";

// ── Files that are missing or something else ─────────────────────────────────────────────────────────────────────

#[test]
fn a_missing_file_is_named() {
    let world = World::new();
    world.teach();
    world.write("lonely.onnx", world.read("student.onnx"));
    let distill = "distill --student student.onnx --out out/x.onnx";
    let cases = [
        (format!("teach --teacher no.onnx {SCENES} --out out/x.answers"), 2, "no.onnx: read: No such file"),
        (format!("{distill} --answers no.answers {SCENES}"), 2, "no.answers: read: No such file"),
        (format!("{distill} --answers train.answers --data no-pictures"), 2, "no-pictures: no such image folder"),
        (format!("quantize --student no.onnx {SCENES} --out out/x.onnx"), 2, "no.onnx: read: No such file"),
        (format!("evaluate --model no.onnx {SCENES}"), 2, "no.onnx: read: No such file"),
        (format!("evaluate --model . {SCENES}"), 2, ".: read: is a folder"),
        (format!("evaluate --model lonely.onnx {SCENES}"), 9, "lonely.toml: a model needs its card"),
        (format!("bundle --student no.onnx {SCENES} --out out/x.limbeck"), 2, "no.onnx: read: No such file"),
        // A folder on the way to --out is made; a file on the way is not a folder.
        (
            format!("bundle --student student.onnx {SCENES} --out student.onnx/x.limbeck"),
            2,
            "student.onnx: create folder: File exists",
        ),
        ("deploy no.limbeck --profile dev".into(), 2, "no.limbeck: read: No such file"),
        ("validate no.limbeck --profile dev".into(), 2, "no.limbeck: read: No such file"),
        ("inspect no.onnx".into(), 2, "no.onnx: read: No such file"),
        ("report no.json".into(), 2, "no.json: read: No such file"),
    ];
    for (args, code, says) in cases {
        world.refuses(&args, code, &[says]);
    }
}

#[test]
fn what_is_no_model_is_refused_by_every_verb_that_reads_one() {
    let world = World::new();
    world.teach();
    let whole = world.read("student.onnx");
    let pngs_first_bytes = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR";
    let files: [(&str, &[u8]); 5] = [
        ("cut.onnx", &whole[..whole.len() / 2]),
        ("almost.onnx", &whole[..whole.len() - 1]),
        ("text.onnx", b"not a model, a note about one\n"),
        ("picture.onnx", pngs_first_bytes),
        ("empty.onnx", b""),
    ];
    for (file, bytes) in files {
        world.write(file, bytes);
        world.write(&file.replace("onnx", "toml"), world.read("student.toml"));
        world.refuses(&format!("teach --teacher {file} {SCENES} --out out/x.answers"), 9, &[file, "export the model"]);
        let distill = format!("distill --student {file} --answers train.answers {SCENES} --out out/x.onnx");
        world.refuses(&distill, 9, &[file]);
        world.refuses(&format!("quantize --student {file} {SCENES} --out out/x.onnx"), 9, &[file]);
        world.refuses(&format!("bundle --student {file} {SCENES} --out out/x.limbeck"), 9, &[file]);
        world.refuses(&format!("inspect {file}"), 9, &[file]);
    }
}

#[test]
fn a_model_cut_anywhere_is_refused() {
    let world = World::new();
    let whole = world.read("student.onnx");
    for part in 0..24 {
        world.write("cut.onnx", &whole[..whole.len() * part / 24]);
        world.refuses("inspect cut.onnx", 9, &["cut.onnx"]);
    }
}

#[test]
fn what_is_no_answers_bundle_or_report_is_refused() {
    let world = World::new();
    let model = world.read("student.onnx");
    for file in ["model.answers", "model.limbeck", "model.json"] {
        world.write(file, &model);
    }
    let distill = format!("distill --student student.onnx --answers model.answers {SCENES} --out out/x.onnx");
    world.refuses(&distill, 9, &["model.answers: not an answers file", "limbeck teach"]);
    world.refuses("deploy model.limbeck --profile dev", 9, &["model.limbeck: not a bundle", "limbeck bundle"]);
    world.refuses("report model.json", 2, &["model.json"]);
    world.write("other.json", "{\"name\": \"limbeck\"}");
    world.refuses("report other.json", 9, &["other.json: not a Limbeck report", "schema_version"]);
}

#[test]
fn a_report_of_a_newer_schema_is_refused_and_kept() {
    let world = World::new();
    let newer = r#"{"schema_version": 7, "title": {"now": "an object"}}"#;
    world.write("report.json", newer);
    world.refuses("report report.json", 9, &["report.json: schema_version 7", "use the Limbeck that wrote it"]);
    world.run(&format!("evaluate --model student.onnx {SCENES} --report report.json")).expect(9, &["schema_version 7"]);
    assert_eq!(world.read("report.json"), newer.as_bytes());
}

// ── Things that do not belong together ───────────────────────────────────────────────────────────────────────────

#[test]
fn a_student_with_other_classes_than_the_teacher_is_refused() {
    let world = World::new();
    world.teach();
    let distill = format!("distill --student student.onnx --answers train.answers {SCENES} --out out/x.onnx");
    // Ten classes by its card, four by its output.
    let card = scenes_card(&LABELS.map(String::from));
    let plan = Plan { classes: 4, stem: 8, stages: vec![Stage::Separable { channels: 8, stride: 2 }] };
    world.model("four", &build(&plan, 32, 1), &card);
    let says = ["four.onnx", "the student has 4 classes and the teacher answered 10"];
    world.refuses(&distill.replace("student.onnx", "four.onnx"), 9, &says);
    // The same number, other names.
    world.change_card("student", |card| card.labels[3] = "banana".into());
    world.refuses(&distill, 9, &["train.answers: the answers are for another labels", "banana", "teach again"]);
}

#[test]
fn a_card_that_does_not_fit_its_model_is_refused() {
    let world = World::new();
    world.teach();
    world.change_card("student", |card| (card.input.width, card.input.height) = (48, 48));
    let scenes = "--data scenes:samples=40,size=48";
    for verb in ["quantize --out out/x.onnx --student", "bundle --out out/x.limbeck --student", "evaluate --model"] {
        world.refuses(&format!("{verb} student.onnx {scenes}"), 9, &["student.onnx"]);
    }
    world.change_card("student", |card| card.input.name = Some("pixels".into()));
    let says = ["student.toml: the card is for the input \"pixels\"", "student.onnx has \"image\""];
    world.refuses(&format!("evaluate --model student.onnx {scenes}"), 9, &says);
    let card = String::from_utf8(world.read("teacher.toml")).unwrap();
    world.write("teacher.toml", card.replace("labels", "lables"));
    let teach = format!("teach --teacher teacher.onnx {SCENES} --out out/x.answers");
    world.refuses(&teach, 9, &["teacher.toml: unknown key `lables`; did you mean `labels`?"]);
}

#[test]
fn answers_of_other_data_or_with_a_flipped_byte_are_refused() {
    let world = World::new();
    world.teach();
    let distill = |answers: &str, data: &str| {
        format!("distill --student student.onnx --answers {answers} --data {data} --out out/x.onnx")
    };
    let says = ["train.answers: the answers are for another data set", "teach again"];
    world.refuses(&distill("train.answers", "scenes:samples=40,seed=2"), 9, &says);
    world.refuses(&distill("train.answers", "scenes:samples=39"), 9, &says);
    let evaluate = "evaluate --model student.onnx --answers train.answers --data scenes:samples=40,shift=strong";
    world.refuses(evaluate, 9, &says);
    let bundle = "bundle --student student.onnx --answers train.answers --data scenes:samples=41 --out out/x.limbeck";
    world.refuses(bundle, 9, &says);
    let whole = world.read("train.answers");
    for part in 0..12 {
        let mut bytes = whole.clone();
        bytes[whole.len() * part / 12] ^= 0x20;
        world.write("flipped.answers", bytes);
        world.refuses(&distill("flipped.answers", "scenes:samples=40"), 9, &["flipped.answers: "]);
    }
    world.write("flipped.answers", &whole[..whole.len() - 9]);
    world.refuses(&distill("flipped.answers", "scenes:samples=40"), 9, &["flipped.answers: damaged"]);
}

// ── Operators ────────────────────────────────────────────────────────────────────────────────────────────────────

/// A student with an operator that has no gradient (Sign) or no integer form (Erf) here.
fn student_with(op: &str, name: &str) -> Model {
    let mut net = Net::new(1, [3, 32, 32]);
    let conv = Conv { input: 3, output: 8, kernel: 3, stride: 2, pad: 1, group: 1 };
    let stem = net.conv("stem", "image", conv);
    let odd = net.op(op, name, &[&stem], &[]);
    let y = net.head(&odd, 8, LABELS.len());
    net.finish(&y, &[LABELS.len()])
}

#[test]
fn an_operator_without_a_gradient_is_named_with_its_node() {
    let world = World::new();
    world.teach();
    world.model("sign", &student_with("Sign", "binary/sign"), &scenes_card(&LABELS.map(String::from)));
    let distill = format!("distill --student sign.onnx --answers train.answers {SCENES} --out out/x.onnx");
    let words =
        ["sign.onnx", "no gradient for Sign", "binary/sign", "freeze what lies before it", "replace the operator"];
    world.refuses(&distill, 9, &words);
}

#[test]
fn an_operator_left_in_float_is_named_with_node_and_reason() {
    let world = World::new();
    world.model("erf", &student_with("Erf", "gelu/erf"), &scenes_card(&LABELS.map(String::from)));
    let quantized = world.run(&format!("quantize --student erf.onnx {SCENES} --out out/int8.onnx"));
    quantized.expect(0, &["1 in float", "float: Erf \"gelu/erf\": Erf has no integer form here"]);
    let inspected = world.run("inspect out/int8.onnx").expect(0, &[]).stdout;
    assert!(inspected.contains("Erf \"gelu/erf\": Erf has no integer form here"), "{inspected}");
    // What is half in float runs all the same.
    let evaluated = world.run(&format!("evaluate --model out/int8.onnx {SCENES}")).expect(0, &[]).stdout;
    assert!(evaluated.contains("integers"), "{evaluated}");
}

#[test]
fn an_operator_that_nobody_knows_is_named() {
    let world = World::new();
    let mut net = Net::new(1, [3, 32, 32]);
    let odd = net.op("Frobnicate", "odd/one", &["image"], &[("strength", Attribute::Int(3))]);
    let y = net.head(&odd, 3, LABELS.len());
    world.model("odd", &net.finish(&y, &[LABELS.len()]), &scenes_card(&LABELS.map(String::from)));
    let teach = format!("teach --teacher odd.onnx {SCENES} --out out/x.answers");
    world.refuses(&teach, 9, &["odd.onnx", "odd/one", "Frobnicate"]);
}

// ── Images ───────────────────────────────────────────────────────────────────────────────────────────────────────

#[test]
fn a_folder_without_usable_images_is_refused() {
    let world = World::new();
    world.folder("empty");
    world.write("notes/readme.txt", "no pictures here");
    world.picture("strangers/banana/0.png", [32, 32]);
    world.picture("both/disc/0.png", [32, 32]);
    world.picture("both/1.png", [32, 32]);
    for (folder, says) in [
        ("empty", "empty: no images here"),
        ("notes", "(1 other entries)"),
        ("strangers", "the folder `banana` is not one of the 10 labels"),
        ("both", "holds images (1.png) and class folders (disc) side by side"),
    ] {
        world.refuses(&format!("teach --teacher teacher.onnx --data {folder} --out out/x.answers"), 2, &[folder, says]);
    }
}

#[test]
fn images_of_another_size_are_refused_where_the_card_wants_them_exact() {
    let world = World::new();
    world.pictures(4);
    world.picture("pictures/disc/large.jpg", [48, 40]);
    let teach = "teach --teacher teacher.onnx --data pictures --out out/x.answers";
    world.refuses(teach, 2, &["pictures: disc/large.jpg is 48×40", "exactly 32×32", "resize = \"stretch\""]);
    world.change_card("teacher", |card| card.input.resize = limbeck_answers::Resize::Stretch);
    world.run(teach).expect(0, &[]);
}

#[test]
fn a_corrupt_image_is_refused_or_skipped_and_counted_by_name() {
    let world = World::new();
    world.pictures(6);
    world.picture("pictures/ring/good.jpg", [32, 32]);
    let jpeg = world.read("pictures/ring/good.jpg");
    world.write("pictures/ring/cut.jpg", &jpeg[..jpeg.len() / 3]);
    world.write("pictures/star/text.jpg", "not a picture");
    let teach = "teach --teacher teacher.onnx --data pictures --out out/x.answers";
    world.refuses(teach, 2, &["pictures/", ".jpg: corrupt image", "skip corrupt images"]);
    let says = ["skipped    ring/cut.jpg: ", "skipped    star/text.jpg: ", "skipped    2 corrupt images, 7 are left"];
    world.run(&format!("{teach} --skip-corrupt")).expect(0, &[&says[..], &["(7 answers in"]].concat());
    // The answers are for what was left: without the flag the data set is another one.
    let distill = "distill --student student.onnx --answers out/x.answers --data pictures --out out/x.onnx --epochs 1";
    world.run(&format!("{distill} --skip-corrupt")).expect(0, &[]);
    std::fs::remove_file(world.path("pictures/disc/0.png")).unwrap();
    world.refuses(&format!("{distill} --skip-corrupt"), 9, &["another data set"]);
}

// ── Options and boards ───────────────────────────────────────────────────────────────────────────────────────────

#[test]
fn an_option_that_makes_no_sense_is_refused() {
    let world = World::new();
    world.teach();
    let teach = "teach --teacher teacher.onnx --out out/x.answers";
    let distill = format!("distill --student student.onnx --answers train.answers {SCENES} --out out/x.onnx");
    let cases = [
        (format!("{teach} --data scenes:sample=3"), "`sample=3` is not known"),
        (format!("{teach} --data scenes:samples=many"), "`many` is not a number"),
        (format!("{teach} {SCENES} --views mirror"), "`mirror` is no view; use identity, flip, drawn:N"),
        (format!("{teach} {SCENES} --views drawn:0..8"), "drawn:0 must be drawn; say from what with --augment: light"),
        (format!("{teach} {SCENES} --views drawn:0 --augment mild"), "use light, standard, strong, or a file.toml"),
        (format!("{distill} --rate 0"), "--rate 0: must be above 0"),
        (format!("{distill} --clip nan"), "--clip NaN: must be above 0"),
        (format!("{distill} --batch 0"), "--batch"),
        ("frobnicate".into(), "frobnicate"),
    ];
    for (args, says) in cases {
        world.refuses(&args, 2, &[says]);
    }
}

#[test]
fn a_kernel_path_that_this_cpu_has_not_is_refused() {
    let world = World::new();
    let says = ["LIMBECK_ISA=abacus", "this CPU has the paths portable"];
    Ended::of(world.command("board list").env("LIMBECK_ISA", "abacus")).expect(2, &says);
}

#[test]
fn an_unknown_board_gets_the_nearest_name() {
    let world = World::new();
    world.refuses("board show hots", 2, &["no board `hots`, did you mean `host`?", "qemu-aarch64"]);
    world.refuses("doctor qemu-aarch", 2, &["did you mean `qemu-aarch64`?"]);
    world.run(&format!("bundle --student student.onnx {SCENES} --out out/x.limbeck")).expect(0, &[]);
    world.refuses("deploy out/x.limbeck --board hosst --profile dev", 2, &["did you mean `host`?"]);
    let road = "pipeline --teacher teacher.onnx --student student.onnx --train scenes --test scenes --out out/all";
    world.refuses(&format!("{road} --boards host,pi"), 2, &["no board `pi`"]);
    world.write("mine.toml", "title = \"Mine\"\ntripel = \"host\"\n");
    world.refuses("board show mine.toml", 2, &["mine.toml", "tripel", "triple"]);
}

// ── The world around ─────────────────────────────────────────────────────────────────────────────────────────────

#[test]
fn a_closed_stdout_is_no_error() {
    let world = World::new();
    world.run(&format!("evaluate --model student.onnx {SCENES} --report out/report.json")).expect(0, &[]);
    let verbs =
        ["board list", "board show host", "inspect student.onnx", "report out/report.json", "--help", "--version"];
    for args in verbs {
        // Closed before the program starts: the first write fails, as with `limbeck … | head -0`.
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let child = world.command(args).stdout(writer).stderr(Stdio::piped()).spawn().unwrap();
        let output = child.wait_with_output().unwrap();
        assert_eq!((output.status.code(), &*String::from_utf8_lossy(&output.stderr)), (Some(0), ""), "{args}");
    }
    let head = Command::new("sh").arg("-c").arg("\"$0\" board list | head -1").arg(program()).output().unwrap();
    assert!(head.stderr.is_empty() && String::from_utf8_lossy(&head.stdout).starts_with("host "), "{head:?}");
}

/// A teacher or student slow enough (about 0.1 s a sample) that Ctrl-C comes while it works.
fn slow() -> Model {
    build(
        &Plan { classes: LABELS.len(), stem: 64, stages: vec![Stage::Residual { channels: 64, stride: 1 }; 4] },
        32,
        1,
    )
}

/// Start `args`, press Ctrl-C half a second after the first line of `stage`, and see that nothing is left.
fn stops(world: &World, args: &str, stage: &str) {
    // What the teacher has said so far is kept for the next run, under another name.
    let files = || -> Vec<String> {
        world.files(".").into_iter().filter(|file| !file.ends_with("x.answers.partial")).collect()
    };
    let before = files();
    let mut child = world.command(args).stderr(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
    assert!(lines.any(|line| line.starts_with(stage)), "{args}: no line `{stage}`");
    std::thread::sleep(std::time::Duration::from_millis(500));
    interrupt(&child);
    let rest: Vec<String> = lines.collect();
    assert_eq!(child.wait().unwrap().code(), Some(130), "{args}: {rest:?}");
    assert!(rest.iter().any(|line| line.contains("interrupted")), "{args}: {rest:?}");
    assert_eq!(files(), before, "{args}: files appeared");
}

#[test]
fn ctrl_c_in_any_stage_leaves_nothing_behind() {
    let world = World::new();
    world.teach();
    world.model("slow", &slow(), &scenes_card(&LABELS.map(String::from)));
    let many = "--data scenes:samples=2000";
    // Samples are decoded before the stage itself begins.
    stops(&world, &format!("teach --teacher slow.onnx {many} --out out/x.answers"), "read ");
    let distill = format!("distill --student slow.onnx --answers train.answers {SCENES} --out out/x.onnx");
    stops(&world, &format!("{distill} --epochs 1000"), "read ");
    stops(&world, &format!("quantize --student slow.onnx {many} --calibration 2000 --out out/x.onnx"), "read ");
    stops(&world, &format!("evaluate --model slow.onnx {many} --report out/report.json"), "read ");
}

/// Run `limbeck` with a disk of `kib` KiB mounted on `full` in `folder`; `None` where mounting is not permitted.
fn on_small_disk(folder: &Path, kib: u32, args: &str) -> Option<Ended> {
    // The mount lives in a namespace of its own, so what is left on the disk is listed from inside.
    let script = "mount -t tmpfs -o size=\"$1\"k none full || exit 99; shift; \"$@\"; code=$?; ls -A full; exit $code";
    let limbeck = limbeck(folder, &args.split_whitespace().collect::<Vec<_>>());
    let mut command = Command::new("unshare");
    command
        .args(["-rm", "sh", "-c", script, "sh", &kib.to_string()])
        .arg(limbeck.get_program())
        .args(limbeck.get_args());
    let variables = limbeck.get_envs().filter_map(|(name, value)| Some((name, value?)));
    let ended = Ended::of(command.envs(variables).current_dir(folder));
    (ended.code != Some(99) && !ended.stderr.starts_with("unshare:")).then_some(ended)
}

#[test]
fn a_full_disk_is_said_so_and_leaves_no_file() {
    let world = World::new();
    world.teach();
    world.folder("full");
    let (here, small) = (world.path("."), 4);
    if on_small_disk(&here, small, "--version").is_none_or(|ended| ended.code != Some(0)) {
        return skip("a_full_disk_is_said_so_and_leaves_no_file", "no mount in a user namespace (unshare -rm)");
    }
    let distill = format!("distill --student student.onnx --answers train.answers {SCENES} --epochs 1");
    let cases = [
        ("teach --teacher teacher.onnx --data scenes:samples=400 --out full/x.answers".to_owned(), "full/x.answers"),
        (format!("{distill} --out full/x.onnx"), "full/x.onnx"),
        (format!("quantize --student student.onnx {SCENES} --out full/x.onnx"), "full/x.onnx"),
        (format!("bundle --student student.onnx {SCENES} --out full/x.limbeck"), "full/x.limbeck"),
        (format!("evaluate --model student.onnx {SCENES} --report full/report.json"), "full/report.html"),
    ];
    for (args, file) in cases {
        let ended = on_small_disk(&here, small, &args).expect("it worked before");
        let ended = ended.expect(8, &[file, "No space left on device"]);
        let left: Vec<&str> = ended.stdout.lines().filter(|line| !line.contains("top-1")).collect();
        // A report's JSON comes before its page, and is whole; answers wait for room.
        let expected = left.is_empty() || left == ["report.json"] || left == ["x.answers.partial"];
        assert!(expected, "{args}: left on the disk: {left:?}");
    }
    // A board without room refuses before anything is copied to it.
    world.run(&format!("bundle --student student.onnx {SCENES} --out x.limbeck")).expect(0, &[]);
    world.folder("home/work");
    std::os::unix::fs::symlink("../../full", world.path("home/work/host")).unwrap();
    let ended = on_small_disk(&here, 1024, "deploy x.limbeck --profile dev").expect("it worked before");
    ended.expect(8, &["home/work/host", "MiB are free"]);
}
