//! The report itself. A test reads it too, so it holds nothing but the record.

mod boards;

use limbeck_report::{
    Accuracy, Agreement, Budget, Bundle, ComparedRecipe, ComparedRun, Comparison, Confusion, FailedRun, FigureKind,
    FloatNode, KeyValue, Model, Quantization, QuantizationLoss, Report, Sensitivity, Size, Source, Thresholds,
    Training, compare_runs, judge,
};

/// A report with every part filled in.
pub fn sample() -> Report {
    let mut report = Report::new("SAMPLE · cifar10: ResNet-56 to an int8 ResNet-8", "2026-03-01T12:00:00Z", "0.1.0");
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
        version: Some(7),
        signer: Some("key 5F2C 01A9 (made up)".into()),
        toolchain: Some("rustc 1.95.0".into()),
        kernels: vec!["limbeck neon".into(), "tract dotprod".into()],
        git_revision: Some("8131812".into()),
        contents: vec![
            KeyValue::new("format", "1"),
            KeyValue::new("student", "resnet8.int8.onnx, 96.2 kB"),
            KeyValue::new("plan", "f32-rne/1, 88.4 kB"),
            KeyValue::new("probe vectors", "8"),
        ],
    });
    report.boards = vec![boards::pi(), boards::host(), boards::emulated()];
    report.budgets = budgets(&report);
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
        "limbeck bench resnet8.limbeck --board pi4 --full --cold --memory --sustained 30m".into(),
    ];
    let judged = judge(&report);
    (report.verdict, report.reasons) = (judged.verdict, judged.reasons);
    report.baseline = Some(compare_runs(&earlier(&report), &report, &Thresholds::default()));
    report
}

fn budgets(report: &Report) -> Vec<Budget> {
    use FigureKind::{Accuracy, Latency, Memory, Size};
    let p90 = report.boards[0].latency.as_ref().and_then(|latency| latency.p90_us);
    vec![
        Budget::new(Accuracy, "top-1", 0.80, Some(0.815)).on("pi4"),
        Budget::new(Latency, "p90", 3_000.0, p90).on("pi4"),
        Budget::new(Memory, "peak resident memory", 12e6, Some(9_412_608.0)).on("pi4"),
        Budget::new(Memory, "arena", 65_536.0, Some(57_344.0)).on("pi4"),
        Budget::new(Size, "bundle", 250_000.0, Some(214_907.0)),
    ]
}

/// The run before: a slower board, a smaller arena, a student that was a little worse.
fn earlier(report: &Report) -> Report {
    let mut earlier = report.clone();
    (earlier.created, earlier.tool_version) = ("2026-02-22T09:30:00Z".into(), "0.0.9".into());
    let pi = &mut earlier.boards[0];
    if let Some(latency) = &mut pi.latency {
        latency.score_us *= 1.21;
        latency.p90_us = latency.p90_us.map(|us| us * 1.02);
        latency.windows.iter_mut().for_each(|window| window.p50_us *= 1.21);
    }
    if let Some(memory) = &mut pi.memory {
        memory.arena_bytes = Some(49_152);
    }
    if let Some(cold) = &mut pi.cold {
        cold.start_to_answer_ms = vec![48.0, 61.0, 44.0, 57.0, 52.0];
    }
    for row in earlier.accuracy.iter_mut().filter(|row| row.subject == "int8 on pi4") {
        (row.correct, row.top1) = (1604, Some(0.802));
    }
    earlier
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
    let on_pi = "the agent, installed on the board, over the same samples";
    let pi = Accuracy {
        agreement: Some(Agreement {
            same: 1665,
            n: 2000,
            symmetric_kl: Some(0.412),
            max_difference: Some(9.31),
            cosine: Some(0.941),
        }),
        confusion: Some(confusion()),
        ..row("int8 on pi4", 1630, Some(0.8325), Some(1.0), integers.clone(), on_pi)
    };
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
        pi,
    ]
}

/// Of each class 163 of 200 are right; the rest goes to its neighbours, cats and dogs above all.
fn confusion() -> Confusion {
    let labels = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"];
    let mut confusion = Confusion::new(labels.map(String::from).to_vec());
    let likes = [8, 9, 4, 5, 7, 3, 2, 4, 0, 1];
    for (label, like) in likes.into_iter().enumerate() {
        confusion.counts[label][label] = 163;
        confusion.counts[label][like] = 21;
        confusion.counts[label][(label + 3) % 10] += 11;
        confusion.counts[label][(label + 7) % 10] += 5;
    }
    confusion
}

/// A hash that is plainly made up.
pub(crate) fn hash(digit: char) -> String {
    digit.to_string().repeat(64)
}
