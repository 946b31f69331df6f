//! What people read of a measurement.

use limbeck_measure::{BenchRecord, ColdStarts, MemoryRecord, Minute, SustainedRecord};
use limbeck_report::Node;

/// One line of the windows.
pub fn bench(board: &str, record: &BenchRecord, emulated: bool) -> String {
    let (latency, all) = (&record.latency, &record.latency.all);
    let or_few = |v: Option<f64>| v.map_or("too few runs".into(), |v| format!("{v:.1}"));
    let interval = latency.score_ci95_us.map(|i| format!(" ({:.1} to {:.1})", i.low, i.high)).unwrap_or_default();
    let energy = record.energy.as_ref().map_or("energy not measured".into(), |e| {
        let above = e.uj_above_idle.map(|uj| format!(", {uj:.0} above idle")).unwrap_or_default();
        format!("{:.0} µJ an inference{above} ({})", e.uj_per_inference, e.source)
    });
    let validity = if record.validity.valid { "" } else { "INVALID " };
    format!(
        "{validity}{board}: score {:.1} µs{interval}; p50 {:.1} p90 {} p99 {} min {:.1} max {:.1} n {}; warm-up {} runs in {:.1} s; \
         first {:.1}; load {:.1} ms; {energy}{}",
        latency.score_us,
        all.p50_us,
        or_few(all.p90_us),
        or_few(all.p99_us),
        all.min_us,
        all.max_us,
        all.n,
        latency.warm_up.runs,
        latency.warm_up.seconds,
        latency.first_us,
        record.load_ms,
        if emulated { " (emulated: not a board's time)" } else { "" }
    )
}

/// One line of the cold starts.
pub fn cold(board: &str, cold: &ColdStarts) -> String {
    let m = &cold.median;
    let answer = m.answer_ms.map_or("unknown".into(), |ms| format!("{ms:.1} ms"));
    format!(
        "{board}: cold start {answer} to the first answer: load {:.1} ms, compile {:.1} ms, first inference {:.2} ms (median of {})",
        m.load_ms,
        m.compile_ms,
        m.first_ms,
        cold.starts.len()
    )
}

/// One line of the memory pass.
pub fn memory(board: &str, memory: &MemoryRecord) -> String {
    let kib = |bytes: Option<u64>| bytes.map_or("unknown".into(), |b| format!("{} KiB", b.div_ceil(1024)));
    format!(
        "{board}: peak resident {}, arena {}, plan {}, packed weights {}; {} allocations an inference; heap at most {}",
        kib(memory.process.peak_rss_bytes),
        kib(memory.arena_bytes),
        kib(memory.plan_bytes),
        kib(memory.packed_bytes),
        memory.per_inference.allocations,
        kib(Some(memory.peak_heap_bytes))
    )
}

/// The three slowest operators.
pub fn operators(board: &str, nodes: &[Node]) -> String {
    let slowest = nodes.iter().take(3).map(|n| format!("{} {} {:.0} %", n.op, n.name, n.share * 100.0));
    format!("{board}: slowest operators: {}", slowest.collect::<Vec<_>>().join(", "))
}

/// One line of a minute under load.
pub fn minute(minute: &Minute) -> String {
    let end = &minute.edges.end;
    let or_unknown = |v: Option<String>| v.unwrap_or_else(|| "unknown".into());
    format!(
        "  minute {}: p50 {:.1} µs, n {}, {}, {}",
        minute.minute,
        minute.summary.p50_us,
        minute.summary.n,
        or_unknown(end.frequency_khz.map(|f| format!("{} MHz", f / 1000))),
        or_unknown(end.temperature_c.map(|t| format!("{t:.0} °C"))),
    )
}

/// One line of the whole of it.
pub fn sustained(board: &str, record: &SustainedRecord) -> String {
    let s = &record.sustained;
    let validity = if record.validity.valid { "" } else { "INVALID " };
    format!(
        "{validity}{board}: sustained {} minutes, n {}: p50 {:.1} µs in the first, {:.1} in the last, ratio {:.3}",
        s.minutes, s.n, s.first_p50_us, s.last_p50_us, s.ratio
    )
}
