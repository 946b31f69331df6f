//! `limbeck-agent bench`, the real program: what a machine does to a measurement is said, and ends with the exit code for it.
//!
//! The machine is a folder (`--sysroot`), the student a graph written here.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use limbeck_answers::{Card, Colour, Image, InputCard, Layout, Resize, Task};
use limbeck_bundle::{Bundle, BundledSample, Samples};
use limbeck_engine::onnx::{Data, Dim, Graph, Model, Node, Tensor, Value};
use limbeck_measure::{BenchRecord, ColdRecord, Invalid, MemoryRecord, Minute, SustainedRecord};
use serde::de::DeserializeOwned;
use tempfile::TempDir;

/// Inputs and outputs of the students.
const LEN: usize = 12;

/// A student from 2 x 2 pixels to twelve numbers.
fn model(nodes: Vec<Node>) -> Model {
    let weights = (0..LEN * LEN).map(|i| (i % 7) as f32 - 3.0).collect();
    let constants = [
        ("s", Tensor::scalar(1.0)),
        ("z", Tensor { dims: vec![], data: Data::U8(vec![0]) }),
        ("w", Tensor::f32(&[LEN, LEN], weights)),
    ];
    let graph = Graph {
        name: "by-hand".into(),
        nodes,
        initializers: constants.into_iter().map(|(name, tensor)| (name.to_owned(), tensor)).collect(),
        inputs: vec![Value::f32("x", [1, 3, 2, 2].map(Dim::Known).to_vec())],
        outputs: vec![Value::f32("y", vec![])],
    };
    Model { ir_version: 8, opset: 17, other_opsets: vec![], metadata: Default::default(), graph }
}

/// All of it integers: one plan.
fn int8() -> Model {
    let qdq = |from: &str, to: &str| {
        let q = format!("{to}.q");
        [
            Node::new("QuantizeLinear", &format!("{to}.Q"), &[from, "s", "z"], &[&q]),
            Node::new("DequantizeLinear", &format!("{to}.DQ"), &[&q, "s", "z"], &[to]),
        ]
    };
    let flatten = Node::new("Flatten", "flatten", &["a"], &["b"]);
    model([&qdq("x", "a")[..], &[flatten], &qdq("b", "y")].concat())
}

/// All of it float: tract.
fn float() -> Model {
    model(vec![
        Node::new("Flatten", "flatten", &["x"], &["a"]),
        Node::new("MatMul", "classes", &["a", "w"], &["b"]),
        Node::new("Relu", "relu", &["b"], &["y"]),
    ])
}

/// A folder with a bundle in it, and a machine as it should be.
struct World(TempDir);

impl World {
    fn with(model: Model) -> World {
        let world = World(tempfile::tempdir().unwrap());
        let input = InputCard {
            name: None,
            width: 2,
            height: 2,
            layout: Layout::Nchw,
            colour: Colour::Rgb,
            resize: Resize::Exact,
            scale: 1.0,
            mean: vec![0.0; 3],
            std: vec![1.0; 3],
        };
        let labels = (0..LEN).map(|i| i.to_string()).collect();
        let card = Card { version: 1, task: Task::Classification, labels, input };
        let mut samples = Samples::default();
        for grey in [10, 90, 200] {
            samples.push(BundledSample { image: Image::filled(2, 2, [grey; 3]), label: None, teacher: None });
        }
        Bundle::new("by-hand", model.emit(), card, samples).write(&world.bundle()).unwrap();
        world.write("proc/loadavg", "0.10 0.10 0.10 1/100 1\n");
        world.write("sys/devices/system/cpu/cpu0/cpufreq/scaling_governor", "performance\n");
        world.write(FREQUENCY, "1500000\n");
        world.write("sys/class/thermal/thermal_zone0/temp", "50000\n");
        world.write(FIRMWARE, "0\n");
        world
    }

    fn bundle(&self) -> PathBuf {
        self.0.path().join("student.limbeck")
    }

    fn root(&self) -> PathBuf {
        self.0.path().join("root")
    }

    fn write(&self, path: &str, text: &str) {
        write(&self.root().join(path), text);
    }

    /// `bench` on the pretend machine: exit code, and what it printed.
    fn bench(&self, options: &str) -> (i32, String) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_limbeck-agent"));
        command.arg("bench").arg(self.bundle()).args(options.split_whitespace()).stderr(Stdio::inherit());
        let output = command.arg("--sysroot").arg(self.root()).output().unwrap();
        (output.status.code().unwrap(), String::from_utf8(output.stdout).unwrap())
    }

    /// Three short windows: exit code and record.
    fn windows(&self, options: &str) -> (i32, BenchRecord) {
        let (code, lines) = self.bench(&format!("--seconds 0.2 {options}"));
        (code, only(&lines, "bench"))
    }
}

const FREQUENCY: &str = "sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq";
const FIRMWARE: &str = "sys/devices/platform/soc/soc:firmware/get_throttled";

/// Whole at any time, for whoever reads meanwhile.
fn write(path: &Path, text: &str) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    let new = path.with_extension("new");
    std::fs::write(&new, text).unwrap();
    std::fs::rename(new, path).unwrap();
}

/// All lines of a kind.
fn all<T: DeserializeOwned>(lines: &str, kind: &str) -> Vec<T> {
    let values = lines.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    values.filter(|v| v["kind"] == kind).map(|v| serde_json::from_value(v).unwrap()).collect()
}

fn only<T: DeserializeOwned>(lines: &str, kind: &str) -> T {
    let mut found = all(lines, kind);
    assert_eq!(found.len(), 1, "one {kind} line in {lines}");
    found.remove(0)
}

#[test]
fn a_machine_as_it_should_be_gives_a_valid_measurement() {
    for model in [int8(), float()] {
        let world = World::with(model);
        let (code, record) = world.windows("");
        assert_eq!((code, record.validity.valid), (0, true), "{:?}", record.validity);
        assert!(record.validity.unknown.is_empty(), "{:?}", record.validity);
        assert_eq!((record.latency.windows.len(), record.latency.edges.len()), (3, 3));
        assert_eq!(record.latency.edges[2].end.frequency_khz, Some(1_500_000));
        assert!(record.latency.overhead_ns > 0.0 && record.latency.score_us > 0.0);
        assert!(record.processing.preprocess_us > 0.0 && record.energy.is_none());
        assert_eq!(record.setting.sysroot, Some(world.root().display().to_string()), "a pretend machine is named");
    }
}

#[test]
fn what_a_machine_does_not_tell_is_unknown_and_valid() {
    let world = World::with(int8());
    std::fs::remove_dir_all(world.root()).unwrap();
    let (code, record) = world.windows("");
    assert_eq!((code, record.validity.valid, record.validity.unknown.len()), (0, true, 6), "{:?}", record.validity);
}

#[test]
fn a_machine_that_is_not_as_it_should_be_is_invalid_and_the_number_is_still_there() {
    let check = |path: &str, text: &str, expected: fn(&Invalid) -> bool| {
        let world = World::with(int8());
        world.write(path, text);
        let (code, record) = world.windows("");
        assert_eq!((code, record.validity.valid), (5, false), "{path} {text}");
        assert!(matches!(&record.validity.invalid[..], [only] if expected(only)), "{:?}", record.validity);
        assert!(record.latency.score_us > 0.0);
    };
    check(FIRMWARE, "4\n", |i| matches!(i, Invalid::Throttled { window: 0 }));
    check(FIRMWARE, "1\n", |i| matches!(i, Invalid::UnderVoltage { window: 0 }));
    check("sys/class/thermal/thermal_zone0/temp", "86500\n", |i| matches!(i, Invalid::Hot { celsius: 86.5, .. }));
    let governor = "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor";
    check(governor, "ondemand\n", |i| matches!(i, Invalid::Governor { governor } if governor == "ondemand"));
    check("proc/loadavg", "1.70 1.00 1.00 2/100 1\n", |i| matches!(i, Invalid::Load { load_average: 1.7, .. }));
}

#[test]
fn limits_are_the_callers() {
    let world = World::with(int8());
    world.write("sys/devices/system/cpu/cpu0/cpufreq/scaling_governor", "schedutil\n");
    world.write("proc/loadavg", "1.70 1.00 1.00 2/100 1\n");
    assert_eq!(world.windows("--allow-governor --max-load 2").0, 0);
    assert_eq!(world.windows("--allow-governor --max-load 2 --max-temp-c 45").0, 5);
}

#[test]
fn a_frequency_that_moves_between_windows_is_invalid() {
    let world = World::with(int8());
    let (stop, file) = (std::sync::atomic::AtomicBool::new(false), world.root().join(FREQUENCY));
    let (code, record) = std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut khz = 1_500_000;
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                khz = khz * 20 / 19;
                write(&file, &khz.to_string());
                std::thread::sleep(Duration::from_millis(20));
            }
        });
        let result = world.windows("");
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        result
    });
    assert_eq!(code, 5);
    let [Invalid::FrequencyChanged { from_khz, to_khz, .. }] = &record.validity.invalid[..] else {
        panic!("{:?}", record.validity);
    };
    assert!(to_khz > from_khz);
}

#[test]
fn cold_starts_are_processes_of_their_own() {
    let world = World::with(int8());
    let (code, lines) = world.bench("--cold=3");
    let ColdRecord { cold, validity, .. } = only(&lines, "cold");
    assert_eq!((code, cold.starts.len(), validity.valid), (0, 3, true));
    for start in &cold.starts {
        let parts = start.load_ms + start.compile_ms + start.first_ms;
        assert!(start.load_ms > 0.0 && start.compile_ms > 0.0 && start.first_ms > 0.0);
        assert!(start.answer_ms.unwrap() > parts, "{start:?}");
    }
    world.write(FIRMWARE, "4\n");
    assert_eq!(world.bench("--cold=1").0, 5, "throttled");
}

#[test]
fn memory_is_told_by_a_process_that_times_nothing() {
    let (code, lines) = World::with(int8()).bench("--memory");
    let int8: MemoryRecord = only(&lines, "memory");
    assert_eq!((code, int8.per_inference.allocations, int8.per_inference.bytes), (0, 0.0, 0.0), "one plan");
    assert!(int8.arena_bytes.is_some_and(|bytes| bytes > 0) && int8.plan_bytes.is_some());
    assert!(int8.peak_heap_bytes >= int8.live_heap_bytes && int8.live_heap_bytes > 0);
    assert!(int8.program.unwrap().text > 1 << 20, "this program holds tract");
    let (_, lines) = World::with(float()).bench("--memory");
    let float: MemoryRecord = only(&lines, "memory");
    assert!(float.per_inference.allocations > 0.0, "tract allocates, and the counter counts");
    assert_eq!((float.arena_bytes, float.plan_bytes), (None, None));
}

#[test]
fn a_sustained_run_says_every_minute_what_it_was() {
    let world = World::with(int8());
    let (code, lines) = world.bench("--sustained 1s");
    let minutes: Vec<Minute> = all(&lines, "minute");
    let end: SustainedRecord = only(&lines, "sustained");
    assert_eq!((code, minutes.len(), end.sustained.minutes, end.validity.valid), (0, 1, 1, true));
    assert_eq!((minutes[0].minute, minutes[0].summary.n, end.sustained.ratio), (1, end.sustained.n, 1.0));
    assert_eq!(minutes[0].edges.end.temperature_c, Some(50.0));
    world.write(FIRMWARE, "4\n");
    assert_eq!(world.bench("--sustained 0.2s").0, 5);
}

#[test]
fn a_meter_gives_energy_and_none_gives_no_figure() {
    let world = World::with(int8());
    world.write("sys/class/hwmon/hwmon0/name", "ina226\n");
    world.write("sys/class/hwmon/hwmon0/power1_input", "3000000\n");
    let mark = world.0.path().join("pin");
    write(&mark, "x");
    let (code, record) = world.windows(&format!("--energy ina226 --idle 0.2s --mark {}", mark.display()));
    let energy = record.energy.unwrap();
    assert_eq!((code, energy.windows.len(), energy.source.as_str()), (0, 3, "ina226:1"));
    let expected = 3.0 * energy.windows[0].seconds / energy.windows[0].inferences as f64 * 1e6;
    assert!((energy.uj_per_inference / expected - 1.0).abs() < 0.5, "{energy:?}");
    assert!(energy.uj_above_idle.unwrap().abs() < 0.01 * energy.uj_per_inference);
    assert_eq!(std::fs::read_to_string(mark).unwrap(), "0", "the last window is over");
    assert_eq!(world.bench("--energy ina3221").0, 2);
    assert_eq!(world.bench("--mark no/such/pin").0, 1);
}

#[test]
fn cores_are_pinned_and_recorded() {
    let world = World::with(int8());
    let (code, record) = world.windows("--cpus 0");
    assert_eq!((code, record.setting.cpus.as_deref(), record.setting.threads), (0, Some("0"), 1));
    assert_eq!(world.bench("--cpus 900").0, 2);
    assert_eq!(world.bench("--cpus sideways").0, 2);
    assert_eq!(world.bench("--cpus big").0, 2, "this pretend machine does not say which cores are big");
    assert_eq!(world.bench("--cold --memory").0, 2, "one pass a process");
}
