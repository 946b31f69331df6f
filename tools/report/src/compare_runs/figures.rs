//! The figures of one run: where, what, how much, and how noisy.

use super::rates::Counts;
use crate::board::Board;
use crate::budget::FigureKind;
use crate::schema::Report;
use crate::spread::Spread;

/// Which floor a difference must pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Floor {
    /// Measured by a clock or a meter.
    Time,
    /// Read once from a living process.
    Memory,
    /// Counted: the same in every run of the same files.
    Counted,
}

/// A figure of which less is better.
#[derive(Debug, Clone)]
pub(super) struct Figure {
    pub(super) place: String,
    pub(super) name: &'static str,
    pub(super) kind: FigureKind,
    pub(super) unit: &'static str,
    pub(super) floor: Floor,
    pub(super) value: f64,
    /// Sample deviation over windows or processes; zero where it is counted or read once, none where nothing tells.
    pub(super) deviation: Option<f64>,
}

impl Figure {
    /// Circumstances change it.
    pub(super) fn is_timed(&self) -> bool {
        self.floor == Floor::Time
    }
}

/// A share of samples.
pub(super) struct Share {
    pub(super) place: String,
    pub(super) name: &'static str,
    pub(super) share: f64,
    pub(super) counts: Option<Counts>,
}

/// Every figure of a report but shares of samples.
pub(super) fn figures(report: &Report) -> Vec<Figure> {
    let mut found: Vec<Figure> = report.boards.iter().flat_map(of_board).collect();
    let models = report.models.iter().map(|model| (model.role.clone(), model.bytes));
    let bundle = report.bundle.iter().map(|bundle| ("bundle".to_owned(), bundle.bytes));
    found.extend(models.chain(bundle).map(|(place, bytes)| counted(&place, "file", FigureKind::Size, bytes as f64)));
    found
}

/// Every share of samples, with its counts where they are known.
pub(super) fn counted_shares(report: &Report) -> Vec<Share> {
    let mut found = Vec::new();
    for row in &report.accuracy {
        let mut push = |name, share: Option<f64>, counts: Option<Counts>| {
            found.extend(share.map(|share| Share { place: row.subject.clone(), name, share, counts }));
        };
        let asked = |hits: u64, n: u64| (n > 0).then_some(Counts { hits, n });
        push("top-1", row.top1, asked(row.correct, row.n));
        let agreed = match &row.agreement {
            Some(agreement) => asked(agreement.same, agreement.n),
            None => row.agreement_with_teacher.and_then(|share| asked((share * row.n as f64).round() as u64, row.n)),
        };
        push("agreement with the teacher", row.agreement_with_teacher, agreed);
    }
    found
}

fn of_board(board: &Board) -> Vec<Figure> {
    let mut found = memory(board);
    found
        .extend(board.agent.as_ref().map(|agent| counted(&board.board, "agent", FigureKind::Size, agent.bytes as f64)));
    // Times of an emulator are no figures.
    if !board.emulated {
        found.extend(latency(board));
        found.extend(cold(board));
        found.extend(energy(board));
    }
    found
}

fn latency(board: &Board) -> Vec<Figure> {
    let Some(latency) = &board.latency else { return vec![] };
    let figure = |name, value, deviation| Figure {
        place: board.board.clone(),
        name,
        kind: FigureKind::Latency,
        unit: "us",
        floor: Floor::Time,
        value,
        deviation,
    };
    let of_windows = deviation(latency.windows.iter().map(|window| window.p50_us));
    // Half of a 95 % interval is 1.96 deviations.
    let of_interval = latency.ci95_us.map(|[low, high]| (high - low) / 2.0 / 1.96);
    let of_p90 = latency.windows.iter().map(|window| window.p90_us).collect::<Option<Vec<f64>>>();
    let mut found = vec![figure("score", latency.score_us, more(of_windows, of_interval))];
    let measured = [
        ("p90", latency.p90_us, of_p90.and_then(deviation)),
        ("preprocessing", latency.pre_us, None),
        ("postprocessing", latency.post_us, None),
        ("very first", board.cold.is_none().then_some(latency.first_us), None),
    ];
    found.extend(measured.into_iter().filter_map(|(name, us, deviation)| Some(figure(name, us?, deviation))));
    let minutes = board.sustained.iter().flat_map(|sustained| &sustained.minutes);
    if let Some(last) = minutes.clone().last() {
        found.push(figure("last sustained minute", last.p50_us, deviation(minutes.map(|minute| minute.p50_us))));
    }
    found
}

fn cold(board: &Board) -> Vec<Figure> {
    let Some(cold) = &board.cold else { return vec![] };
    let figure = |(name, unit, values): (&'static str, &'static str, &Vec<f64>)| {
        Some(Figure {
            place: board.board.clone(),
            name,
            kind: FigureKind::Latency,
            unit,
            floor: Floor::Time,
            value: crate::numbers::median(values)?,
            deviation: deviation(values.iter().copied()),
        })
    };
    let figures = [
        ("cold, start to answer", "ms", &cold.start_to_answer_ms),
        ("cold, load", "ms", &cold.load_ms),
        ("cold, compile", "ms", &cold.compile_ms),
        ("cold, first inference", "us", &cold.first_us),
    ];
    figures.into_iter().filter_map(figure).collect()
}

fn energy(board: &Board) -> Vec<Figure> {
    let Some(energy) = &board.energy else { return vec![] };
    let figure = |name, value| Figure {
        place: board.board.clone(),
        name,
        kind: FigureKind::Energy,
        unit: "uJ",
        floor: Floor::Time,
        value,
        deviation: deviation(energy.windows.iter().copied()),
    };
    let mut found = vec![figure("energy", energy.uj_per_inference)];
    found.extend(energy.uj_per_inference_without_idle.map(|uj| figure("energy without idle", uj)));
    found
}

fn memory(board: &Board) -> Vec<Figure> {
    let pass = board.memory.as_ref();
    let of = |field: fn(&crate::board::Memory) -> Option<u64>| pass.and_then(field);
    let read = [("peak resident", board.peak_rss()), ("proportional share", of(|memory| memory.pss_bytes))];
    let read = read.into_iter().filter_map(|(name, bytes)| {
        let value = bytes? as f64;
        Some(Figure { floor: Floor::Memory, ..counted(&board.board, name, FigureKind::Memory, value) })
    });
    let counts = [
        ("peak heap", of(|memory| memory.peak_heap_bytes)),
        ("arena", board.arena()),
        ("plan", of(|memory| memory.plan_bytes)),
        ("packed weights", of(|memory| memory.packed_bytes)),
        ("text", of(|memory| memory.text_bytes)),
        ("data", of(|memory| memory.data_bytes)),
        ("bss", of(|memory| memory.bss_bytes)),
    ];
    let counts = counts.into_iter().filter_map(|(name, bytes)| Some((name, bytes? as f64, "bytes")));
    let per_inference = pass.into_iter().flat_map(|memory| {
        let allocations = memory.allocations_per_inference.map(|n| ("allocations per inference", n, "allocations"));
        allocations.into_iter().chain(memory.bytes_per_inference.map(|n| ("allocated per inference", n, "bytes")))
    });
    let counts = counts
        .chain(per_inference)
        .map(|(name, value, unit)| Figure { unit, ..counted(&board.board, name, FigureKind::Memory, value) });
    read.chain(counts).collect()
}

fn counted(place: &str, name: &'static str, kind: FigureKind, value: f64) -> Figure {
    let (place, floor, deviation) = (place.to_owned(), Floor::Counted, Some(0.0));
    Figure { place, name, kind, unit: "bytes", floor, value, deviation }
}

/// Of two or more values.
fn deviation(values: impl IntoIterator<Item = f64>) -> Option<f64> {
    Spread::of(values)?.sd
}

/// The larger of two deviations, or the one that is known.
fn more(a: Option<f64>, b: Option<f64>) -> Option<f64> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.max(b)),
        (a, b) => a.or(b),
    }
}
