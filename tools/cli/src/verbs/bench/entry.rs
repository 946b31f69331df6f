//! The agent's records as the report has them.

use limbeck_measure::{BenchRecord, ColdStarts, Conditions, Edges, Environment, MemoryRecord, SustainedRecord};
use limbeck_report::{Board, Cold, Edge, Energy, KeyValue, Latency, Memory, Sustained, Validity, Window};

/// Nothing measured yet.
pub fn of(board: &str, emulated: bool) -> Board {
    Board { board: board.into(), emulated, ..Board::default() }
}

/// Put what was measured now into the report's entry, which keeps the rest.
pub fn take(entry: &mut Board, measured: &Board) {
    // A verdict is of the figures that it came with: those of a bad one do not stay under a good one.
    if entry.is_invalid() {
        (entry.latency, entry.sustained, entry.cold, entry.energy) = (None, None, None, None);
    }
    entry.environment = measured.environment.clone();
    entry.validity = measured.validity.clone();
    let Board { latency, cold, sustained, memory, energy, .. } = measured.clone();
    entry.latency = latency.or(entry.latency.take());
    entry.sustained = sustained.or(entry.sustained.take());
    entry.cold = cold.or(entry.cold.take());
    entry.memory = memory.or(entry.memory.take());
    entry.energy = energy.or(entry.energy.take());
    entry.peak_rss_bytes = measured.peak_rss_bytes.or(entry.peak_rss_bytes);
    entry.arena_bytes = measured.arena_bytes.or(entry.arena_bytes);
    if !measured.nodes.is_empty() {
        entry.nodes = measured.nodes.clone();
    }
}

/// The windows.
pub fn put_bench(entry: &mut Board, record: &BenchRecord) {
    let BenchRecord { latency, setting, processing, energy, environment, .. } = record;
    let all = &latency.all;
    // Window lengths are at least those asked for; starts follow from them.
    let starts = (0..latency.windows.len()).map(|i| i as f64 * latency.protocol.window_seconds);
    let windows = latency.windows.iter().zip(&latency.edges).zip(starts).map(|((w, edges), start_s)| Window {
        n: w.n,
        start_s: Some(start_s),
        min_us: w.min_us,
        p50_us: w.p50_us,
        p90_us: w.p90_us,
        max_us: w.max_us,
        cov: Some(w.cov),
        begin: Some(edge(&edges.start)),
        end: Some(edge(&edges.end)),
    });
    entry.latency = Some(Latency {
        protocol: latency.rule.to_string(),
        quick: latency.protocol.quick,
        cpus: setting.cpus.clone(),
        threads: Some(setting.threads.into()),
        warm_up_runs: latency.warm_up.runs,
        warm_up_seconds: latency.warm_up.seconds,
        first_us: latency.first_us,
        score_us: latency.score_us,
        ci95_us: latency.score_ci95_us.map(|i| [i.low_us, i.high_us]),
        p50_us: all.p50_us,
        p90_us: all.p90_us,
        p95_us: all.p95_us,
        p99_us: all.p99_us,
        min_us: all.min_us,
        max_us: all.max_us,
        mad_us: Some(all.mad_us),
        cov: Some(all.cov),
        outliers: Some(all.outliers),
        n: all.n,
        overhead_ns: Some(latency.overhead_ns),
        pre_us: Some(processing.preprocess_us),
        post_us: Some(processing.argmax_us),
        samples_us: latency.distribution_us.to_vec(),
        windows: windows.collect(),
        warnings: latency.warnings.iter().map(ToString::to_string).collect(),
    });
    entry.energy = energy.as_ref().map(|e| Energy {
        source: e.source.clone(),
        uj_per_inference: e.uj_per_inference,
        uj_per_inference_without_idle: e.uj_above_idle,
        idle_w: e.idle_watts,
        windows: e.windows.iter().map(|w| w.joules * 1e6 / w.inferences.max(1) as f64).collect(),
    });
    entry.environment = self::environment(environment);
    entry.peak_rss_bytes = record.peak_rss_bytes;
    entry.arena_bytes = record.arena_bytes;
}

/// Put the verdict on a pass to those before: all must be good, each reason stands once.
pub fn put_validity(entry: &mut Board, validity: &limbeck_measure::Validity) {
    let all = entry.validity.get_or_insert_with(|| Validity { valid: true, ..Validity::default() });
    all.valid &= validity.valid;
    for (words, new) in [
        (&mut all.reasons, validity.invalid.iter().map(ToString::to_string).collect::<Vec<_>>()),
        (&mut all.unknown, validity.unknown.iter().map(ToString::to_string).collect()),
    ] {
        let new: Vec<String> = new.into_iter().filter(|word| !words.contains(word)).collect();
        words.extend(new);
    }
}

/// Starts in fresh processes.
pub fn cold(cold: &ColdStarts) -> Cold {
    let column =
        |figure: fn(&limbeck_measure::ColdStart) -> Option<f64>| cold.starts.iter().filter_map(figure).collect();
    Cold {
        load_ms: column(|s| Some(s.load_ms)),
        compile_ms: column(|s| Some(s.compile_ms)),
        first_us: column(|s| Some(s.first_ms * 1e3)),
        start_to_answer_ms: column(|s| s.answer_ms),
    }
}

/// The memory pass.
pub fn memory(memory: &MemoryRecord) -> Memory {
    Memory {
        peak_rss_bytes: memory.process.peak_rss_bytes,
        pss_bytes: memory.process.pss_bytes,
        peak_heap_bytes: Some(memory.peak_heap_bytes),
        arena_bytes: memory.arena_bytes,
        plan_bytes: memory.plan_bytes,
        packed_bytes: memory.packed_bytes,
        allocations_per_inference: Some(memory.per_inference.allocations),
        bytes_per_inference: Some(memory.per_inference.bytes),
        text_bytes: memory.program.map(|p| p.text),
        data_bytes: memory.program.map(|p| p.data),
        bss_bytes: memory.program.map(|p| p.bss),
    }
}

/// Minutes under load.
pub fn sustained(record: &SustainedRecord, minutes: &[limbeck_measure::Minute]) -> Sustained {
    let minutes = minutes.iter().map(|m| {
        let Edge { frequency_khz, temperature_c, throttled } = between(&m.edges);
        limbeck_report::Minute {
            minute: m.minute.into(),
            n: m.summary.n,
            p50_us: m.summary.p50_us,
            p90_us: m.summary.p90_us,
            frequency_khz,
            temperature_c,
            throttled,
        }
    });
    let ratio = (record.sustained.minutes > 1).then_some(record.sustained.ratio);
    Sustained { minutes: minutes.collect(), last_over_first: ratio }
}

fn edge(conditions: &Conditions) -> Edge {
    Edge {
        frequency_khz: conditions.frequency_khz,
        temperature_c: conditions.temperature_c,
        throttled: conditions.throttle.active,
    }
}

/// The end of a stretch, throttled if it was at any time in it.
fn between(edges: &Edges) -> Edge {
    let end = edge(&edges.end);
    let happened = edges.end.throttle.happened_since(&edges.start.throttle);
    Edge { throttled: end.throttled.map(|now| now || happened).or(happened.then_some(true)), ..end }
}

/// The card. What is not known says so.
pub fn environment(e: &Environment) -> Vec<KeyValue> {
    let known = |key: &str, value: Option<String>| KeyValue::new(key, value.unwrap_or_else(|| "unknown".into()));
    let mib = |bytes: Option<u64>| bytes.map(|b| format!("{} MiB", b >> 20));
    let mhz = |khz: Option<u64>| khz.map(|f| format!("{} MHz", f / 1000));
    let range = |cpus: &Vec<u32>| cpus.iter().map(u32::to_string).collect::<Vec<_>>().join(",");
    let yes = |what: Option<bool>| what.map(|yes| if yes { "yes" } else { "no" }.to_owned());
    vec![
        known("board", e.board_model.clone()),
        known("cpu", e.cpu_model.clone()),
        known("cpu features", e.cpu_features.clone()),
        known("cores", e.cpus.map(|n| n.to_string())),
        known("affinity", e.affinity.as_ref().map(range)),
        known("compiled for", e.arch.clone()),
        known("kernel", e.kernel.as_ref().zip(e.machine.as_ref()).map(|(k, m)| format!("{k} ({m})"))),
        known("governor", e.governor.clone()),
        known("frequency", mhz(e.frequency_khz)),
        known("highest frequency", mhz(e.frequency_max_khz)),
        known("temperature", e.temperature_c.map(|t| format!("{t:.0} °C"))),
        known("throttled", yes(e.throttle.active)),
        known("under-voltage", yes(e.throttle.under_voltage)),
        known("load average", e.load_average.map(|l| format!("{l:.2}"))),
        known("memory", mib(e.memory_bytes)),
        known("memory available", mib(e.memory_available_bytes)),
        known("swap", mib(e.swap_bytes)),
    ]
}
