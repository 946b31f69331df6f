//! Boards of the sample.

use limbeck_report::{
    Agent, Board, Cold, Edge, Energy, KeyValue, Latency, Memory, Minute, Node, Preflight, PreflightState, Sustained,
    Validity, Window, thin_samples,
};

use super::hash;

/// A board with every part filled in.
pub fn pi() -> Board {
    let samples = samples(22_140, 2_240.0, 0.04);
    Board {
        board: "pi4".into(),
        title: "Raspberry Pi 4 Model B".into(),
        preflight: preflight(),
        environment: environment(&[
            ("board", "Raspberry Pi 4 Model B Rev 1.4"),
            ("cpu", "Cortex-A72"),
            ("cores", "4"),
            ("kernel", "Linux 6.6 (aarch64)"),
            ("governor", "performance"),
            ("frequency", "1800 MHz"),
            ("temperature", "51 °C"),
            ("load average", "0.08"),
        ]),
        agent: Some(Agent {
            sha256: hash('a'),
            bytes: 7_912_448,
            toolchain: "rustc 1.95.0, aarch64-unknown-linux-musl, rust-lld".into(),
            kernels: vec!["limbeck neon".into(), "tract dotprod".into()],
        }),
        validity: Some(Validity { valid: true, reasons: vec![], unknown: vec!["under-voltage".into()] }),
        latency: Some(measured(&samples)),
        cold: Some(Cold {
            load_ms: vec![4.1, 4.0, 4.4, 4.1, 4.0],
            compile_ms: vec![21.7, 21.2, 23.9, 21.5, 21.4],
            first_us: vec![6_410.0, 6_380.0, 7_120.0, 6_400.0, 6_395.0],
            start_to_answer_ms: vec![38.9, 38.1, 43.0, 38.5, 38.3],
        }),
        sustained: Some(sustained()),
        memory: Some(Memory {
            peak_rss_bytes: Some(9_412_608),
            pss_bytes: Some(8_871_936),
            peak_heap_bytes: Some(1_204_224),
            arena_bytes: Some(57_344),
            plan_bytes: Some(88_412),
            packed_bytes: Some(104_448),
            allocations_per_inference: Some(0.0),
            bytes_per_inference: Some(0.0),
            text_bytes: Some(7_104_512),
            data_bytes: Some(412_160),
            bss_bytes: Some(18_432),
        }),
        energy: Some(Energy {
            source: "ina226, power1_input, 100 readings a second".into(),
            uj_per_inference: 9_840.0,
            uj_per_inference_without_idle: Some(4_310.0),
            idle_w: Some(2.47),
            windows: vec![9_790.0, 9_840.0, 9_910.0, 9_830.0, 9_860.0],
        }),
        nodes: nodes(),
        ..Board::default()
    }
}

fn preflight() -> Vec<Preflight> {
    use PreflightState::{Ok, Unknown, Warning};
    [
        ("architecture", Ok, "aarch64"),
        ("libc", Ok, "glibc 2.36; the agent is static and needs none"),
        ("CPU features", Ok, "asimd, crc32, fp"),
        ("free space", Ok, "21.4 GB of 31.1 GB"),
        ("noexec", Ok, "a script started in the work folder"),
        ("clock", Warning, "2 days behind this computer: dates in its logs are wrong; sudo timedatectl set-ntp true"),
        ("under-voltage", Unknown, "no rpi_volt sensor"),
    ]
    .map(|(name, state, text)| Preflight { name: name.into(), state, text: text.into() })
    .into()
}

/// Five windows of ten seconds, with what the board said at their edges.
fn measured(samples: &[f64]) -> Latency {
    let mut latency = latency(samples, 5);
    let edge = |c: f64| Edge { frequency_khz: Some(1_800_000), temperature_c: Some(c), throttled: Some(false) };
    let heat = [51.0, 54.5, 57.0, 58.5, 59.5, 60.0];
    for (i, window) in latency.windows.iter_mut().enumerate() {
        window.start_s = Some(10.2 * i as f64);
        window.p90_us = Some(window.p50_us * 1.055);
        window.cov = Some(0.041);
        (window.begin, window.end) = (Some(edge(heat[i])), Some(edge(heat[i + 1])));
    }
    let score = latency.score_us;
    Latency {
        quick: false,
        cpus: Some("0".into()),
        threads: Some(1),
        ci95_us: Some([score * 0.994, score * 1.007]),
        mad_us: Some(61.0),
        cov: Some(0.112),
        outliers: Some(431),
        overhead_ns: Some(38.0),
        pre_us: Some(41.2),
        post_us: Some(0.9),
        ..latency
    }
}

/// Twelve minutes; from the ninth on the board gets too hot.
fn sustained() -> Sustained {
    let minute = |minute: u64| {
        let hot = minute > 8;
        let p50_us = if hot { 2_890.0 + 20.0 * (minute - 9) as f64 } else { 2_245.0 + 2.0 * minute as f64 };
        Minute {
            minute,
            n: (60e6 / p50_us) as u64,
            p50_us,
            p90_us: Some(p50_us * 1.06),
            frequency_khz: Some(if hot { 1_400_000 } else { 1_800_000 }),
            temperature_c: Some(if hot { 81.0 } else { 60.0 + 2.4 * minute as f64 }),
            throttled: Some(hot),
        }
    };
    Sustained { minutes: (1..=12).map(minute).collect(), last_over_first: Some(1.31) }
}

fn nodes() -> Vec<Node> {
    let node = |(name, op, us, macs): (&str, &str, f64, u64)| Node {
        name: name.into(),
        op: op.into(),
        us,
        share: us / 2_240.0,
        macs: (macs > 0).then_some(macs),
    };
    [
        ("stack1/conv1", "Conv", 402.0, 2_359_296),
        ("stack1/conv2", "Conv", 398.0, 2_359_296),
        ("stack3/conv2", "Conv", 371.0, 2_359_296),
        ("stack2/conv2", "Conv", 364.0, 2_359_296),
        ("stack2/conv1", "Conv", 211.0, 1_179_648),
        ("stack3/conv1", "Conv", 198.0, 1_179_648),
        ("stem", "Conv", 121.0, 442_368),
        ("stack2/shortcut", "Conv", 49.0, 131_072),
        ("stack3/shortcut", "Conv", 44.0, 131_072),
        ("stack1/add", "Add", 31.0, 0),
        ("pool", "GlobalAveragePool", 12.0, 0),
        ("head", "Gemm", 4.0, 640),
    ]
    .map(node)
    .into()
}

pub fn host() -> Board {
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
        validity: Some(Validity {
            valid: true,
            reasons: vec![],
            unknown: vec!["governor".into(), "temperature".into(), "throttling".into()],
        }),
        peak_rss_bytes: Some(14_204_928),
        arena_bytes: Some(57_344),
        ..Board::default()
    }
}

pub fn emulated() -> Board {
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
