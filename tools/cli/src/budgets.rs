//! A bundle's budgets against what was measured.

use anyhow::Result;
use limbeck_bundle::Budgets;
use limbeck_report::{Accuracy, Board, Budget, FigureKind, Report};

use crate::exit::judged;
use crate::record::put;

/// Those of accuracy, for a row of a board.
pub fn budgets_of(budgets: &Budgets, board: &str, row: &Accuracy) -> Vec<Budget> {
    let promised = budgets.of(board);
    let share = |name: &str, limit: Option<f64>, measured| {
        limit.map(|limit| Budget::new(FigureKind::Accuracy, name, limit, measured).on(board))
    };
    [
        share("top-1", promised.min_top1, row.top1),
        share("agreement with the teacher", promised.min_agreement, row.agreement_with_teacher),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// Those of time, memory and energy, for what was measured on a board.
pub fn costs_of(budgets: &Budgets, board: &Board) -> Vec<Budget> {
    let promised = budgets.of(&board.board);
    let latency = board.latency.as_ref();
    let mut cold = board.cold.as_ref().map(|cold| cold.start_to_answer_ms.clone()).unwrap_or_default();
    cold.sort_by(f64::total_cmp);
    let cold_us = cold.get(cold.len() / 2).map(|ms| ms * 1e3);
    let energy = board.energy.as_ref().map(|e| e.uj_per_inference_without_idle.unwrap_or(e.uj_per_inference));
    let of = |kind, name: &str, limit: Option<f64>, measured: Option<f64>| {
        limit.map(|limit| Budget::new(kind, name, limit, measured).on(&board.board))
    };
    [
        of(FigureKind::Latency, "latency (score)", promised.max_latency_us, latency.map(|l| l.score_us)),
        of(FigureKind::Latency, "p90", promised.max_p90_us, latency.and_then(|l| l.p90_us)),
        of(FigureKind::Latency, "cold start", promised.max_cold_start_ms.map(|ms| ms * 1e3), cold_us),
        of(FigureKind::Memory, "peak resident memory", promised.max_peak_rss_bytes, board.peak_rss().map(|b| b as f64)),
        of(FigureKind::Memory, "arena", promised.max_arena_bytes, board.arena().map(|b| b as f64)),
        of(FigureKind::Energy, "energy of an inference", promised.max_energy_uj, energy),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// Put a board's budgets into the report, with what it holds of measurements so far.
pub fn put_budgets(report: &mut Report, budgets: &Budgets, board: &str) {
    let on = format!(" on {board}");
    let row = report.accuracy.iter().find(|row| row.subject.ends_with(&on)).cloned().unwrap_or_default();
    let costs = report.boards.iter().find(|b| b.board == board).map(|b| costs_of(budgets, b)).unwrap_or_default();
    for budget in budgets_of(budgets, board, &row).into_iter().chain(costs) {
        let (name, place) = (budget.name.clone(), budget.board.clone());
        put(&mut report.budgets, budget, |b| b.name == name && b.board == place);
    }
}

/// Fails, with exit code 3 or 4, where a budget was not kept, and with 5 where nothing was measured against it.
pub fn kept(budgets: &[Budget], board: &str) -> Result<()> {
    let broken: Vec<&Budget> = budgets.iter().filter(|b| b.ok == Some(false)).collect();
    let code = broken.iter().map(|b| b.kind.exit_code()).min().unwrap_or(0);
    let words = broken.iter().map(|b| {
        let measured = b.measured.map_or("nothing".into(), |m| format!("{m}"));
        format!("{} is {measured} {}, the budget {}", b.name, b.unit, b.limit)
    });
    judged(code, format!("{board}: over budget: {}", words.collect::<Vec<_>>().join("; ")))?;
    let open: Vec<&str> = budgets.iter().filter(|b| b.ok.is_none()).map(|b| b.name.as_str()).collect();
    // As in the report: what was promised and not measured proves nothing.
    let code = if open.is_empty() { 0 } else { 5 };
    judged(code, format!("{board}: INVALID: a budget, and nothing measured: {}", open.join(", ")))
}
