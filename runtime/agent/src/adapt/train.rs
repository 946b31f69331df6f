//! The training itself: from a model to a trained one, or to a checkpoint.

use std::time::{Duration, Instant};

use anyhow::Result;
use limbeck_adapt::{AdaptError, Session, Visits};
use limbeck_engine::onnx::Model;

use super::checkpoint::Checkpoints;
use super::inputs::Material;
use super::limits::{self, Limits, Stop};
use super::lines::{Memory, Plan, Progress};
use super::memory::{self, Mark};
use super::options::Options;
use super::prepare::{Prepared, prepare};
use crate::output::emit;

/// A line of progress at most this often.
const SAY_EVERY: Duration = Duration::from_millis(500);

/// What training came to.
pub struct Trained {
    /// How it ended.
    pub ended: Ended,
    /// How it was trained, for the bundle.
    pub recipe_text: String,
    /// Steps done, earlier runs included, of those that were planned.
    pub steps: usize,
    pub planned_steps: usize,
    pub memory: Memory,
}

/// How training ended.
pub enum Ended {
    /// A signal; the checkpoint is written.
    Interrupted,
    /// A loss, gradient or weight is not finite.
    Diverged(String),
    /// More memory than the budget was used; the old student stays.
    OverMemory(String),
    /// With a student.
    Trained {
        /// Its ONNX bytes.
        student: Vec<u8>,
        /// What stopped it before the last step.
        stopped: Option<Stop>,
    },
}

/// How many samples do what, for the plan line.
pub struct Numbers {
    /// Local ones that train, and that judge.
    pub samples: usize,
    pub held_out: usize,
    /// Those of the replay set that train, and that judge.
    pub rehearsed: usize,
    pub replay: usize,
}

/// What is trained, on what.
pub struct Work<'a> {
    pub model: &'a Model,
    pub material: &'a Material<'a>,
    pub visits: Visits,
    pub options: &'a Options,
    pub numbers: Numbers,
    /// Bundle, answers and images by hash.
    pub sources: &'a [String; 3],
    /// Time to keep free for judging.
    pub reserve: Duration,
}

/// Train, from the checkpoint of this very work if there is one. Prints the plan, then progress.
///
/// # Errors
/// A model that cannot be trained, or a picture that cannot be read. A diverging training is no error.
pub fn train(work: &Work<'_>, limits: &mut Limits, checkpoints: &Checkpoints<'_>) -> Result<Trained> {
    let options = work.options;
    let mark = Mark::set();
    let Prepared { mut session, selection, predicted, cache } = prepare(work, checkpoints)?;
    let recipe_text = options.recipe_text(&selection);
    fit_into_time(&mut session, work, limits)?;
    let (mut resumed_steps, mut checkpoint) = (0, "none".to_owned());
    match checkpoints.load() {
        Ok(None) => {}
        Ok(Some((bytes, used))) => match session.resume(&bytes) {
            Ok(()) => {
                limits.add_time(used);
                resumed_steps = session.steps();
                checkpoint = format!("resumed after {resumed_steps} steps");
            }
            Err(e) => checkpoint = format!("not used: {e}"),
        },
        Err(e) => checkpoint = format!("not used: {e}"),
    }
    let parameters = &session.opened().parameters;
    emit(&Plan {
        kind: "plan",
        selection,
        trained: parameters.names().to_vec(),
        trained_values: parameters.count(),
        samples: work.numbers.samples,
        held_out: work.numbers.held_out,
        views: work.visits.views,
        rehearsed: work.numbers.rehearsed,
        replay: work.numbers.replay,
        steps: session.total(),
        predicted_peak_bytes: Some(predicted),
        memory_budget_bytes: options.memory,
        memory_counts: memory::COUNTS,
        time_budget_s: options.time.map(|t| t.as_secs_f64()),
        prefix_cache: cache,
        recipe: recipe_text.clone(),
        resumed_steps,
        checkpoint,
    })?;
    let ended = steps(&mut session, work, limits, checkpoints, &mark)?;
    let memory = Memory {
        predicted_peak_bytes: Some(predicted),
        budget_bytes: options.memory,
        training_peak_bytes: mark.added(),
        process_peak_bytes: mark.of_process(),
        counts: memory::COUNTS,
    };
    Ok(Trained { ended, recipe_text, steps: session.steps(), planned_steps: session.total(), memory })
}

/// Share of the time that is planned for: steps are not all equally fast.
const PLANNED_SHARE: f64 = 0.9;

/// Under a time limit, plan as many steps as it has room for, so that the learning rate's cosine ends where the time does. A batch is timed,
/// the second time that it runs; nothing is changed by it. A resumed run keeps its plan.
fn fit_into_time(session: &mut Session, work: &Work<'_>, limits: &Limits) -> Result<()> {
    let Some(limit) = work.options.time else { return Ok(()) };
    let batch = work.visits.samples.iter().take(work.options.batch as usize);
    let visits: Vec<usize> = batch.map(|sample| sample * work.visits.views).collect();
    let mut took = Duration::ZERO;
    for _ in 0..2 {
        let start = Instant::now();
        session.gradient(work.material, &visits)?;
        took = start.elapsed();
    }
    let left = limit.saturating_sub(limits.used() + work.reserve);
    let steps = left.as_secs_f64() * PLANNED_SHARE / took.as_secs_f64().max(1e-6);
    session.limit((steps as usize).max(1));
    Ok(())
}

/// Step until it is done, or something says stop.
fn steps(
    session: &mut Session,
    work: &Work<'_>,
    limits: &mut Limits,
    checkpoints: &Checkpoints<'_>,
    mark: &Mark,
) -> Result<Ended> {
    let save = |session: &Session, limits: &Limits| {
        // A full disk costs what a kill would lose from here on, and nothing else.
        if let Err(e) = checkpoints.save(limits.used(), &session.checkpoint()) {
            log::warn!("{e}; training goes on without this checkpoint");
        }
    };
    let (mut said, mut longest) = (None::<Instant>, Duration::ZERO);
    let mut stopped = None;
    while !session.is_done() {
        if limits::interrupted() {
            save(session, limits);
            return Ok(Ended::Interrupted);
        }
        // The next step may take as long as the longest so far.
        stopped = limits.reached(work.reserve + longest);
        if stopped.is_some() {
            break;
        }
        let start = Instant::now();
        let report = match session.step(work.material) {
            Ok(report) => report,
            Err(error @ AdaptError::Diverged { .. }) => return Ok(Ended::Diverged(error.to_string())),
            Err(error) => return Err(error.into()),
        };
        longest = longest.max(start.elapsed());
        // The prediction should not let it come to this.
        if let (Some(budget), Some(used)) = (work.options.memory, mark.added())
            && used > budget
        {
            return Ok(Ended::OverMemory(format!("training took {used} bytes of memory, the budget is {budget}")));
        }
        if said.is_none_or(|at| at.elapsed() >= SAY_EVERY) || session.is_done() {
            said = Some(Instant::now());
            emit(&Progress {
                kind: "progress",
                step: report.step,
                steps: report.total,
                loss: report.so_far.loss,
                agreement: report.so_far.agreement,
                seconds: limits.used().as_secs_f64(),
                temperature_c: limits.hottest_c(),
            })?;
        }
        if report.step % work.options.checkpoint_every as usize == 0 {
            save(session, limits);
        }
    }
    // So that a kill while the student is judged costs no training.
    save(session, limits);
    match session.model() {
        Ok(model) => Ok(Ended::Trained { student: model.emit(), stopped }),
        Err(error @ AdaptError::Diverged { .. }) => Ok(Ended::Diverged(error.to_string())),
        Err(error) => Err(error.into()),
    }
}
