//! `adapt`: tune the student on local images against the teacher's shipped answers; keep the better of old and new.
//!
//! ```text
//! bundle + images + answers ─► score old ─► train, with checkpoints ─► score new ─► better? ─► write, re-read, probe, switch
//!                                              │ signal: checkpoint, 130         └► no: the old one stays, 10
//! ```
//!
//! The bundle that was given is never changed. Killed anywhere, the same command goes on from the last checkpoint, to the same bits as
//! if it had not been killed.

mod checkpoint;
mod deliver;
mod inputs;
mod judge;
mod limits;
mod lines;
mod lock;
mod memory;
mod options;
mod prepare;
mod slots;
mod train;

use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::Result;
use limbeck_adapt::Visits;
use limbeck_engine::Student;
use limbeck_engine::onnx::Model;
use limbeck_files::disk::RealDisk;

use crate::loaded::Loaded;
use crate::output::{Refused, emit};
use checkpoint::Checkpoints;
use deliver::{Delivered, Delivery};
use inputs::{Local, Material, Shown, by_turns};
use judge::{Compared, Score, score, verdict};
use limits::Limits;
use lines::Outcome;
use lock::Lock;
use train::{Ended, Numbers, Trained, Work};

pub use lock::LockError;
pub use options::Options;
pub use slots::SlotError;

/// The student that was there stays.
const ROLLED_BACK: u8 = 10;
/// It stays because the new one took more memory than it may.
const OVER_BUDGET: u8 = 4;
/// Time to keep free for writing a bundle and syncing it.
const WRITING: Duration = Duration::from_millis(200);
/// A signal came; a checkpoint is kept.
const INTERRUPTED: u8 = 130;

/// See the module.
pub fn adapt(options: &Options) -> Result<ExitCode> {
    limits::catch_signals();
    let mut limits = Limits::new(Instant::now(), options.time, options.max_temperature, options.root.clone());
    let disk = RealDisk;
    limbeck_files::create_dir(&options.work)?;
    let _work = Lock::acquire(&options.work)?;
    let delivery = Delivery::open(&disk, options)?;
    let parent_sha256 = limbeck_files::sha256_file(&options.bundle).map_err(|e| Refused(e.to_string()))?;
    let Loaded { bundle, student, preprocess } = Loaded::compiled(&options.bundle)?;
    let local = Local::open(&options.images, &options.answers, &bundle)?;
    if local.answers().classes() != student.output_len() {
        let (said, takes) = (local.answers().classes(), student.output_len());
        return Err(Refused(format!("the teacher answers {said} classes, the student {takes}")).into());
    }
    let samples = local.answers().samples() as usize;
    let (held_out, mut training) = limbeck_adapt::held_out(samples, options.hold_out as f32, options.seed);
    if held_out.is_empty() || training.is_empty() {
        return Err(Refused(format!("{samples} images: one to train on and one to judge are needed")).into());
    }

    // What judges, and what is trained on.
    let material = Material { preprocess: &preprocess, local: &local, replay: bundle.replay.as_ref() };
    let replayed = bundle.replay.as_ref().map_or(0, |r| r.samples().len());
    let (rehearsed, judging) =
        if options.no_rehearsal || replayed < 2 { (vec![], (0..replayed).collect()) } else { by_turns(replayed) };
    if replayed == 0 {
        log::warn!("the bundle has no replay set: what the student forgets will not be noticed");
    }
    let views = local.answers().views();
    let local_samples = training.len();
    training.extend(rehearsed.iter().map(|i| samples + i));
    let numbers =
        Numbers { samples: local_samples, held_out: held_out.len(), rehearsed: rehearsed.len(), replay: judging.len() };
    let held_out: Vec<Shown> = held_out.iter().flat_map(|&i| views.iter().map(move |&v| Shown::Local(i, v))).collect();
    let replay: Vec<Shown> = judging.iter().map(|&i| Shown::Replayed(i)).collect();
    let recipe = options.recipe();
    let scores = |student: &Student| -> Result<(Score, Option<Score>)> {
        let local = score(student, &material, &held_out, &recipe.loss)?;
        let replay = (!replay.is_empty()).then(|| score(student, &material, &replay, &recipe.loss)).transpose()?;
        Ok((local, replay))
    };
    let scoring = Instant::now();
    let before = scores(&student)?;
    // Scoring the new student and reading it back will take as long again; three times that is kept free of the time limit.
    let reserve = limits.used().max(scoring.elapsed()) * 3 + WRITING;
    drop(student);

    let model = Model::parse(&bundle.student, Path::new("student.onnx"))?;
    let visits = Visits { samples: training, views: views.len() };
    let sources = [&parent_sha256, local.answers().sha256(), local.images_sha256()].map(str::to_owned);
    let checkpoints = Checkpoints::new(&disk, &options.work);
    let work = Work { model: &model, material: &material, visits, options, numbers, sources: &sources, reserve };
    let trained = train::train(&work, &mut limits, &checkpoints)?;
    let Trained { ended, recipe_text, steps, planned_steps, memory } = trained;

    let mut outcome = Outcome {
        kind: "adapt",
        accepted: false,
        why: String::new(),
        held_out: None,
        replay: None,
        steps,
        planned_steps,
        stopped: None,
        seconds: 0.0,
        hottest_c: limits.hottest_c(),
        memory,
        parent_sha256: parent_sha256.clone(),
        bundle_sha256: None,
        out: None,
        slot: None,
    };
    // How it ends if the old student is kept.
    let mut kept = ROLLED_BACK;
    let new = match ended {
        Ended::Interrupted => {
            eprintln!(
                "limbeck-agent: interrupted after {steps} of {planned_steps} steps; the old student runs, the same command goes on"
            );
            return Ok(ExitCode::from(INTERRUPTED));
        }
        Ended::Diverged(why) => {
            outcome.why = why;
            None
        }
        Ended::OverMemory(why) => {
            outcome.why = why;
            kept = OVER_BUDGET;
            None
        }
        Ended::Trained { student, stopped } => {
            outcome.stopped = stopped.map(|s| s.to_string());
            Some(student)
        }
    };
    let mut accepted = None;
    if let Some(bytes) = new {
        let student = Student::load(&Model::parse(&bytes, Path::new("student.onnx"))?)?;
        let after = scores(&student)?;
        let compared = |shown: usize, before: Score, after: Score| Compared { shown, before, after };
        let local = compared(held_out.len(), before.0, after.0);
        let replay = before.1.zip(after.1).map(|(b, a)| compared(replay.len(), b, a));
        (outcome.held_out, outcome.replay) = (Some(local), replay);
        match verdict(&local, replay.as_ref(), options.margin) {
            Ok(why) => {
                outcome.why = why;
                accepted = Some((bytes, student));
            }
            Err(why) => outcome.why = why,
        }
    }
    if limits::interrupted() {
        return Ok(ExitCode::from(INTERRUPTED));
    }
    if let Some((bytes, student)) = accepted {
        let [parent, answers, images] = sources;
        let origin = limbeck_bundle::Adapted {
            parent,
            answers,
            images,
            recipe_sha256: limbeck_files::sha256_hex(recipe_text.as_bytes()),
            recipe: recipe_text,
            steps: steps as u64,
        };
        let Delivered { sha256, out, slot } = delivery.deliver(bundle, bytes, &student, &preprocess, origin)?;
        outcome.accepted = true;
        (outcome.bundle_sha256, outcome.out, outcome.slot) = (Some(sha256), out, slot);
    }
    // Last: killed before this, the same command comes to the same end once more.
    checkpoints.clear();
    outcome.seconds = limits.used().as_secs_f64();
    outcome.hottest_c = limits.hottest_c();
    emit(&outcome)?;
    Ok(if outcome.accepted { ExitCode::SUCCESS } else { ExitCode::from(kept) })
}
