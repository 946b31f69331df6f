//! Write a made-up report, to look at the page: `cargo run -p limbeck-report --example sample -- FOLDER`.
//!
//! Every number in it is invented; names and shapes are those of a real run.

use std::path::PathBuf;
use std::process::ExitCode;

use limbeck_report::{
    Accuracy, Agent, Board, Bundle, ComparedRecipe, ComparedRun, Comparison, FailedRun, FloatNode, KeyValue, Latency,
    Model, Quantization, QuantizationLoss, Report, Sensitivity, Size, Source, Training, Verdict, Window, html, summary,
    thin_samples,
};

fn main() -> ExitCode {
    let Some(folder) = std::env::args_os().nth(1).map(PathBuf::from) else {
        eprintln!("usage: sample FOLDER");
        return ExitCode::from(2);
    };
    let report = sample();
    let written = report
        .write_json(folder.join("report.json"))
        .map_err(|e| e.to_string())
        .and_then(|()| html::write_html(&report, folder.join("report.html")).map_err(|e| e.to_string()));
    print!("{}", summary(&report));
    match written {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("{e}");
            ExitCode::FAILURE
        }
    }
}

/// A report with every part filled in.
pub fn sample() -> Report {
    let mut report = Report::new("SAMPLE · cifar10: ResNet-56 to an int8 ResNet-8", "2026-03-01T12:00:00Z", "0.1.0");
    report.verdict = Verdict::Pass;
    report.reasons = vec![
        "int8 is within 0.5 point of the float student (0.15 points)".into(),
        "host and qemu-aarch64 produced the same integers on 2,000 samples".into(),
    ];
    report.models = models();
    report.accuracy = accuracy();
    report.training = Some(Training {
        epochs: 6,
        steps: 2_346,
        seconds: 1_204.0,
        optimiser: "sgd, momentum 0.9, cosine".into(),
        learning_rate: 0.02,
        temperature: 4.0,
        method: Some("kd".into()),
        samples: Some(50_000),
        loss: vec![1.812, 0.941, 0.702, 0.588, 0.519, 0.493],
        agreement: vec![0.741, 0.789, 0.811, 0.824, 0.831, 0.834],
        agreement_on: "held-out samples".into(),
    });
    report.comparison = Some(comparison());
    report.quantization = Some(Quantization {
        calibration_samples: 512,
        method: "per-channel symmetric s8 weights, per-tensor u8 activations, MSE ranges".into(),
        arithmetic: "f32-rne/1".into(),
        float_nodes: vec![FloatNode {
            node: "Softmax (output)".into(),
            reason: "after the last integer region; argmax does not need it".into(),
        }],
        held_out_samples: Some(512),
        loss: Some(lost(Some(27.4), 2.1e-3, 0.984, 0.812)),
        max_drop: None,
        sensitivity: [
            ("Conv \"stem\"", lost(Some(33.9), 6.2e-4, 0.992, 0.814)),
            ("Conv \"stage2.b\"", lost(Some(41.0), 9.8e-5, 0.996, 0.816)),
            ("Flatten \"flatten\"", lost(None, 0.0, 1.0, 0.816)),
        ]
        .map(|(node, loss)| Sensitivity { node: node.into(), loss })
        .into(),
    });
    report.bundle = Some(Bundle {
        name: "resnet8.limbeck".into(),
        sha256: hash('b'),
        bytes: 214_907,
        contents: vec![
            KeyValue::new("format", "1"),
            KeyValue::new("student", "resnet8.int8.onnx, 96.2 kB"),
            KeyValue::new("plan", "f32-rne/1, 88.4 kB"),
            KeyValue::new("probe vectors", "8"),
        ],
        ..Bundle::default()
    });
    report.boards = vec![host(), emulated()];
    report.sizes = [
        ("teacher.onnx", 3_441_230, "float"),
        ("student.onnx", 318_410, "float"),
        ("student.int8.onnx", 96_214, "QDQ"),
        ("resnet8.limbeck", 214_907, "bundle"),
        ("limbeck-agent", 7_912_448, "aarch64 static, stripped"),
    ]
    .map(|(name, bytes, note)| Size { name: name.into(), bytes, note: note.into() })
    .into();
    report.sources = [
        ("teacher", "resnet56.onnx", '1', Some(3_441_230)),
        ("teacher card", "resnet56.toml", '2', Some(512)),
        ("student", "resnet8.onnx", '3', Some(318_410)),
        ("answers", "train.answers", '4', Some(4_200_112)),
        ("test data", "cifar10/test", '5', None),
    ]
    .map(|(role, name, digit, bytes)| Source { role: role.into(), name: name.into(), sha256: hash(digit), bytes })
    .into();
    report.commands = vec![
        "limbeck teach --teacher resnet56.toml --data cifar10/train --out train.answers".into(),
        "limbeck distill --student resnet8.toml --answers train.answers --data cifar10/train --epochs 6 --temperature 4 --lr 0.02 --out student.onnx".into(),
        "limbeck quantize --student student.toml --calibrate cifar10/train --samples 512 --out student.int8.onnx".into(),
        "limbeck validate --bundle resnet8.limbeck --board qemu-aarch64 --data cifar10/test".into(),
    ];
    report
}

fn comparison() -> Comparison {
    let recipe = |name: &str, about: &str, minutes: f64, right: &[(u64, u64)]| {
        let run = |(seed, &(float, int8)): (u64, &(u64, u64))| ComparedRun {
            seed,
            float: Some(float as f64 / 2000.0),
            int8: Some(int8 as f64 / 2000.0),
            agreement: Some(float as f64 / 2000.0 + 0.04),
            seconds: minutes * 60.0 + seed as f64,
        };
        let runs = (0..).zip(right).map(run).collect();
        ComparedRecipe { name: name.into(), about: about.into(), runs, failed: vec![] }
    };
    let mut recipes = vec![
        recipe("kd", "soft labels (Hinton 2014)", 9.5, &[(1700, 1694), (1706, 1700), (1697, 1693)]),
        recipe("dist", "Pearson's relations (Huang 2022)", 9.8, &[(1722, 1716), (1727, 1718), (1719, 1717)]),
        recipe("at", "attention maps (Zagoruyko 2017)", 11.2, &[(1698, 1690), (1704, 1699), (1693, 1680)]),
        recipe("teacher-assistant", "a model in between (Mirzadeh 2020)", 21.4, &[(1709, 1702)]),
        recipe("fitnets", "hints (Romero 2015)", 10.9, &[(1672, 1661), (1679, 1670)]),
        recipe("adversarial", "a critic of vectors (Xu 2018)", 0.0, &[]),
    ];
    let why = "the loss is not finite in step 12; lower the rate";
    recipes[4].failed = vec![FailedRun { seed: 2, why: why.into() }];
    recipes[5].failed = (0..3).map(|seed| FailedRun { seed, why: why.into() }).collect();
    Comparison {
        student: "resnet8.onnx".into(),
        data: "cifar10/train".into(),
        test: "cifar10/test".into(),
        epochs: 2,
        samples: 50_000,
        tested: 2_000,
        teacher: Some(0.902),
        untouched: Some(0.764),
        recipes,
    }
}

fn lost(sqnr_db: Option<f64>, kl: f64, agreement: f64, top1: f64) -> QuantizationLoss {
    QuantizationLoss { sqnr_db, kl, agreement, top1: Some(top1) }
}

fn models() -> Vec<Model> {
    let model = |role: &str, name: &str, digit, bytes, parameters, macs| Model {
        role: role.into(),
        name: name.into(),
        sha256: hash(digit),
        bytes,
        parameters: Some(parameters),
        macs: Some(macs),
    };
    vec![
        model("teacher", "resnet56.onnx", '1', 3_441_230, 855_770, 125_485_706),
        model("student before", "resnet8.onnx", '3', 318_410, 78_666, 12_501_632),
        model("student after", "student.onnx", '6', 318_410, 77_360, 12_501_632),
        model("int8 student", "student.int8.onnx", '7', 96_214, 77_360, 12_501_632),
    ]
}

fn accuracy() -> Vec<Accuracy> {
    let row = |subject: &str, correct: u64, agreement: Option<f64>, on: Option<f64>, hash, how: &str| Accuracy {
        subject: subject.into(),
        top1: Some(correct as f64 / 2000.0),
        correct,
        n: 2000,
        agreement_with_teacher: agreement,
        agreement_with_host: on,
        integers_hash: hash,
        how: how.into(),
        ..Accuracy::default()
    };
    let integers = Some(hash('e'));
    vec![
        row("teacher", 1804, None, None, None, "float on the host, f32, from the test answers"),
        row("student before", 1528, Some(0.7785), None, None, "float on the host, before the first step"),
        row("student after", 1633, Some(0.8345), None, None, "float on the host, after the last epoch"),
        row("int8 on host", 1630, Some(0.8325), None, integers.clone(), "the int8 plan in this process"),
        row(
            "int8 on qemu-aarch64",
            1630,
            Some(0.8325),
            Some(1.0),
            integers,
            "the agent, installed on the board, over the same samples",
        ),
    ]
}

fn host() -> Board {
    let samples = samples(7_431, 1_180.0, 0.05);
    Board {
        board: "host".into(),
        title: "This computer, x86_64, 2 cores".into(),
        environment: environment(&[
            ("kernel", "Linux 6.1"),
            ("CPU", "x86_64 with AVX2"),
            ("governor", "unknown"),
            ("temperature", "unknown"),
            ("load average", "0.41"),
            ("threads", "1, pinned to core 0"),
        ]),
        latency: Some(latency(&samples, 3)),
        peak_rss_bytes: Some(14_204_928),
        arena_bytes: Some(57_344),
        ..Board::default()
    }
}

fn emulated() -> Board {
    let samples = samples(412, 14_100.0, 0.16);
    let mut latency = latency(&samples, 3);
    latency.p99_us = None;
    latency.warnings = vec!["the windows' medians vary by 4.1 % (over 2.5 %): the machine was busy".into()];
    Board {
        board: "qemu-aarch64".into(),
        title: "QEMU user mode, Cortex-A53".into(),
        emulated: true,
        environment: environment(&[("kernel", "Linux 6.1"), ("CPU", "cortex-a53 (emulated)"), ("governor", "unknown")]),
        agent: Some(Agent {
            sha256: hash('a'),
            bytes: 7_912_448,
            toolchain: "rustc 1.95.0, aarch64-unknown-linux-musl, rust-lld".into(),
            kernels: vec!["limbeck neon".into(), "tract dotprod".into()],
        }),
        latency: Some(latency),
        peak_rss_bytes: Some(39_800_832),
        arena_bytes: Some(57_344),
        ..Board::default()
    }
}

fn environment(lines: &[(&str, &str)]) -> Vec<KeyValue> {
    lines.iter().map(|(key, value)| KeyValue::new(*key, *value)).collect()
}

/// A skewed distribution with a few stragglers, the same at every run.
fn samples(n: usize, typical_us: f64, spread: f64) -> Vec<f64> {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut uniform = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((state >> 11) as f64 + 0.5) / (1u64 << 53) as f64
    };
    let mut draw = || {
        let normal = (0..12).map(|_| uniform()).sum::<f64>() - 6.0;
        let straggles = if uniform() < 0.02 { 1.0 + uniform() * 1.4 } else { 1.0 };
        typical_us * (spread * normal).exp() * straggles
    };
    (0..n).map(|_| draw()).collect()
}

fn latency(samples: &[f64], windows: usize) -> Latency {
    let at = |samples: &[f64], share: f64| {
        let mut sorted = samples.to_vec();
        sorted.sort_by(f64::total_cmp);
        sorted[((sorted.len() - 1) as f64 * share) as usize]
    };
    let window = |w: &[f64]| Window {
        n: w.len() as u64,
        min_us: at(w, 0.0),
        p50_us: at(w, 0.5),
        max_us: at(w, 1.0),
        ..Window::default()
    };
    let windows: Vec<_> = samples.chunks(samples.len().div_ceil(windows)).map(window).collect();
    let medians: Vec<f64> = windows.iter().map(|w| w.p50_us).collect();
    Latency {
        protocol: "single-stream v1".into(),
        quick: true,
        warm_up_runs: 64,
        warm_up_seconds: 1.02,
        first_us: at(samples, 0.5) * 3.1,
        score_us: at(&medians, 0.5),
        p50_us: at(samples, 0.5),
        p90_us: Some(at(samples, 0.9)),
        p95_us: Some(at(samples, 0.95)),
        p99_us: Some(at(samples, 0.99)),
        min_us: at(samples, 0.0),
        max_us: at(samples, 1.0),
        n: samples.len() as u64,
        samples_us: thin_samples(samples, 1000),
        windows,
        warnings: Vec::new(),
        ..Latency::default()
    }
}

/// A hash that is plainly made up.
fn hash(digit: char) -> String {
    digit.to_string().repeat(64)
}
