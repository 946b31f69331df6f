//! Profiles of models that are one plan, float, and both; and the verbs `profile`, `bench` and `inspect` on a model here.
//!
//! Times are whatever they are; what is tested is that every step is there, once, in order, and inside its inference.

use std::path::{Path, PathBuf};

use limbeck_engine::onnx::{Model, Node, Value};
use limbeck_engine::{FloatIsa, Isa, Profile, Student};
use limbeck_tests::nets::{Conv, Net};
use limbeck_tests::world::World;
use serde_json::Value as Json;

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("golden").join(format!("{name}.onnx"))
}

/// A golden model, then a Softmax, which has no integer form.
fn mixed() -> Model {
    let mut model = Model::read(golden("residual_net")).unwrap();
    let logits = model.graph.outputs[0].clone();
    model.graph.nodes.push(Node::new("Softmax", "soft", &[&logits.name], &["soft.out"]));
    model.graph.outputs = vec![Value::f32("soft.out", logits.dims)];
    model
}

fn float() -> Model {
    let mut net = Net::new(5, [3, 12, 12]);
    let wide = Conv { input: 3, output: 16, kernel: 3, stride: 1, pad: 1, group: 1 };
    let a = net.conv("a", "image", wide);
    let b = net.conv("b", &a, Conv { input: 16, group: 16, ..wide });
    let y = net.head(&b, 16, 5);
    net.finish(&y, &[5])
}

fn profile(model: &Model, isa: Isa) -> Profile {
    let student = Student::load_on(model, isa).unwrap();
    let profile = student.profile(&vec![0.5; student.input_len()], 5).unwrap();
    assert_eq!(profile.steps, student.steps());
    let n = profile.steps.len();
    assert_eq!((profile.median_ns.len(), profile.spans.len(), profile.runs), (n, n, 5));
    for (step, span) in profile.steps.iter().zip(&profile.spans) {
        assert!(span.start_ns <= span.end_ns && span.end_ns <= profile.inference_ns, "{}: {span:?}", step.name);
        assert!(span.own_ns <= span.end_ns - span.start_ns, "{}: {span:?}", step.name);
    }
    assert!(profile.spans.windows(2).all(|w| w[0].end_ns <= w[1].end_ns), "{:?}", profile.spans);
    let own: u64 = profile.spans.iter().map(|s| s.own_ns).sum();
    assert!(own > 0 && own <= profile.inference_ns, "{own} of {}", profile.inference_ns);
    assert!(profile.fastest_ns > 0 && profile.fastest_ns <= profile.undisturbed_ns);
    profile
}

fn classes(profile: &Profile) -> Vec<&str> {
    profile.steps.iter().map(|s| s.class.as_str()).collect()
}

#[test]
fn a_plan_is_its_ops_between_two_crossings() {
    let model = Model::read(golden("residual_net")).unwrap();
    for isa in Isa::available() {
        let profile = profile(&model, isa);
        let (classes, n) = (classes(&profile), profile.steps.len());
        assert_eq!((classes[0], classes[n - 1]), ("quantize", "dequantize"));
        let student = Student::load_on(&model, isa).unwrap();
        assert_eq!(profile.steps.iter().filter(|s| s.integer).count(), student.integer_operators());
        assert!(classes.contains(&"conv 3x3") && classes.contains(&"add"), "{classes:?}");
        let conv = profile.steps.iter().find(|s| s.class == "conv 3x3").unwrap();
        assert_eq!((conv.path, conv.packed_bytes > 0), (isa.name(), isa != Isa::PORTABLE));
        assert!(conv.macs > 0 && conv.bytes > 0);
    }
}

#[test]
fn a_plan_inside_tract_stands_before_its_node() {
    let profile = profile(&mixed(), Isa::detect());
    let classes = classes(&profile);
    let out = classes.iter().position(|&c| c == "dequantize").unwrap();
    assert_eq!(classes[out + 1], "in and out of tract", "{classes:?}");
    let (node, first) = (profile.spans[out + 1], profile.spans[classes.iter().position(|&c| c == "quantize").unwrap()]);
    assert!(node.start_ns <= first.start_ns && profile.spans[out].end_ns <= node.end_ns);
    assert!(classes[out + 2..].iter().any(|c| c.starts_with("float ")), "{classes:?}");
    assert!(classes.contains(&"conv 3x3"));
}

#[test]
fn a_float_model_is_its_nodes() {
    let profile = profile(&float(), Isa::detect());
    assert!(profile.steps.iter().all(|s| !s.integer));
    // Convolutions are ours where this CPU has a fast float path.
    let ours = FloatIsa::detect_fast().map(|isa| ("float conv 3x3", isa.name()));
    let first = profile.steps.iter().find(|s| s.macs > 0).unwrap();
    if let Some((class, path)) = ours {
        assert_eq!((first.class.as_str(), first.path, first.packed_bytes > 0), (class, path, true));
    } else {
        assert!(profile.steps.iter().all(|s| s.path == "tract" && s.packed_bytes == 0));
    }
    // Of the two convolutions on 12 × 12 pixels and of the last layer, as an int8 plan would count them.
    let macs: u64 = profile.steps.iter().map(|s| s.macs).sum();
    assert_eq!(macs, 144 * (16 * 27 + 16 * 9) + 16 * 5);
}

#[test]
fn profiling_changes_no_integer() {
    let model = mixed();
    let student = Student::load(&model).unwrap();
    let x = vec![0.5; student.input_len()];
    let mut logits = [vec![0.0; student.output_len()], vec![0.0; student.output_len()]];
    let before = student.worker().unwrap().run_hashed(&x, &mut logits[0]).unwrap();
    student.profile(&x, 2).unwrap();
    let after = student.worker().unwrap().run_hashed(&x, &mut logits[1]).unwrap();
    assert!(before.count > 0);
    assert_eq!((before, &logits[0]), (after, &logits[1]));
}

// ── The verbs ────────────────────────────────────────────────────────────────────────────────────────────────────

#[test]
fn the_profile_of_a_file_is_a_table_json_and_a_trace() {
    let world = World::new();
    world.write("mixed.onnx", mixed().emit());
    let table = world.run("profile mixed.onnx --runs 3").expect(0, &[]).stdout;
    for part in
        ["conv 3x3", "in and out of tract", "float Softmax", "GMAC/s", "of peak", "one inference", "practical peak"]
    {
        assert!(table.contains(part), "{part} is not in\n{table}");
    }
    let json = world.run("profile mixed.onnx --runs 3 --json --trace out/trace.json").expect(0, &[]).stdout;
    let read: Json = serde_json::from_str(&json).unwrap();
    let steps = read["steps"].as_array().unwrap();
    let sum: u64 = steps.iter().map(|s| s["median_ns"].as_u64().unwrap()).sum();
    assert_eq!(read["steps_ns"].as_u64(), Some(sum));
    assert_eq!(world.files("out"), ["trace.json"]);
    let trace: Json = serde_json::from_slice(&world.read("out/trace.json")).unwrap();
    let events = trace["traceEvents"].as_array().unwrap();
    assert_eq!(events.iter().filter(|e| e["ph"] == "X").count(), steps.len());
}

#[test]
fn bench_of_a_model_ends_with_its_milliseconds() {
    let world = World::new();
    world.write("int8.onnx", std::fs::read(golden("separable_net")).unwrap());
    let out = world.run("bench int8.onnx").expect(0, &["quick"]).stdout;
    let score: f64 = out.split_whitespace().last().unwrap().parse().unwrap();
    assert!(score > 0.0 && score < 1000.0, "{out}");
    for part in ["load ", " ms, file ", "; path ", "packed weights ", "arena ", "single-stream v1 (quick)"] {
        assert!(out.contains(part), "{part} is not in\n{out}");
    }
}

#[test]
fn inspect_says_path_and_memory_of_every_operator() {
    let world = World::new();
    world.write("int8.onnx", std::fs::read(golden("separable_net")).unwrap());
    let inspect = |isa: &str| {
        let mut command = world.command("inspect int8.onnx");
        limbeck_tests::limbeck::Ended::of(command.env("LIMBECK_ISA", isa))
    };
    for isa in Isa::available() {
        let out = inspect(isa.name()).expect(0, &[]).stdout;
        let student = Student::load_on(&Model::read(golden("separable_net")).unwrap(), isa).unwrap();
        for step in student.steps().iter().filter(|s| s.integer) {
            let line = out.lines().find(|l| l.contains(&step.class) && l.contains(&step.name));
            assert!(line.is_some_and(|l| l.contains(step.path)), "{step:?}\n{out}");
        }
        let used = format!("path {}: packed weights {} bytes", isa.name(), student.memory().packed);
        assert!(out.lines().any(|l| l.starts_with(&used) && l.ends_with("used here")), "{used}\n{out}");
        assert!(out.contains("0 operators run in float"), "{out}");
    }
    inspect("mmx").expect(2, &["LIMBECK_ISA=mmx: this CPU has the paths portable"]);
}

#[test]
fn what_cannot_be_profiled_or_measured_here_is_refused() {
    let world = World::new();
    world.write("text.onnx", "not a model");
    let cases = [
        ("profile no.onnx", 2, "no.onnx: read: No such file"),
        ("profile text.onnx", 9, "text.onnx"),
        ("profile student.onnx --runs 0", 2, "1..=100000"),
        ("profile student.onnx --runs 2 --trace out", 2, "out: is a folder"),
        ("profile student.onnx --runs 2 --trace nowhere/trace.json", 2, "nowhere/trace.json: create"),
        ("bench no.onnx", 2, "no.onnx: read: No such file"),
        ("bench text.onnx", 9, "text.onnx"),
        ("bench student.onnx --board qemu-aarch64", 2, "without --board and --report"),
        ("bench student.onnx --report out/report.json", 2, "limbeck bundle"),
    ];
    for (args, code, says) in cases {
        world.refuses(args, code, &[says]);
    }
}
