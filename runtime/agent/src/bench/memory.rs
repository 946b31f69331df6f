//! The memory pass, in a process that times nothing.

use std::path::Path;
use std::process::ExitCode;

use anyhow::Result;
use limbeck_measure::{MemoryRecord, PerInference, ProcessMemory, Sections};

use super::Inferences;
use super::options::ConditionOptions;
use crate::heap;
use crate::loaded::Loaded;
use crate::output::{Line, emit};

/// Inferences before counting; tract fills its pools in the first ones.
const WARM_UP: u64 = 10;

/// Inferences that are counted.
const COUNTED: u64 = 100;

/// Load the bundle, run it, and tell what it holds.
pub fn memory(bundle: &Path, conditions: &ConditionOptions) -> Result<ExitCode> {
    let loaded = Loaded::read(bundle)?;
    let worker = loaded.student.worker()?;
    let mut inferences = Inferences::of(&loaded, worker)?;
    (0..WARM_UP).try_for_each(|_| inferences.run())?;
    let before = heap::now();
    (0..COUNTED).try_for_each(|_| inferences.run())?;
    let after = heap::now();
    let each = |count: u64| count as f64 / COUNTED as f64;
    let held = loaded.student.memory();
    let has_plan = held.plan > 0;
    let of_plans = |bytes: usize| has_plan.then_some(bytes as u64);
    let record = MemoryRecord {
        process: ProcessMemory::read_from(conditions.root()),
        arena_bytes: of_plans(held.arena),
        plan_bytes: of_plans(held.plan),
        packed_bytes: of_plans(held.packed),
        model_bytes: loaded.bundle.student.len() as u64,
        per_inference: PerInference {
            inferences: COUNTED,
            allocations: each(after.allocations - before.allocations),
            bytes: each(after.allocated_bytes - before.allocated_bytes),
        },
        peak_heap_bytes: after.peak_bytes,
        live_heap_bytes: after.live_bytes,
        program: Sections::of_this_program(),
    };
    emit(&Line { kind: "memory", record })?;
    Ok(ExitCode::SUCCESS)
}
