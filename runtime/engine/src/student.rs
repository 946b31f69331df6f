//! Whatever a bundle holds, ready to run: a float model on tract, an int8 plan alone, or plans inside a tract graph.
//!
//! One sample a run: x (C, H, W) f32 → logits.

use std::cell::RefCell;

use limbeck_plan::{PackedPlan, PackedPlanBuf, PlanBuf};
use xxhash_rust::xxh3::Xxh3;

use crate::compile::{FloatNode, compile};
use crate::error::EngineError;
use crate::net::{Net, Worker, input_shape};
use crate::onnx::Model;
use crate::path::path;

/// A model ready to run, one sample at a time.
pub struct Student {
    body: Body,
    input_len: usize,
    output_len: usize,
    float_nodes: Vec<FloatNode>,
    integer_operators: usize,
    exact: bool,
}

enum Body {
    /// One plan is the whole model: tract is not used.
    Plan(PackedPlanBuf),
    /// tract runs the graph; integer regions, if any, are operators in it.
    Graph(Net),
}

/// One thread's state.
pub struct StudentWorker<'a> {
    body: WorkerBody<'a>,
}

enum WorkerBody<'a> {
    Plan { plan: PackedPlan<'a>, arena: Vec<i8> },
    Graph(Worker),
}

/// What a run did with integers: XXH3-128 over every integer tensor in execution order, each preceded by its name.
///
/// Equal digests on two machines mean that every integer of the run is equal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Integers {
    /// The digest.
    pub digest: u128,
    /// How many integers went into it.
    pub count: u64,
}

/// The digests of many runs, in order, as one: 32 hex digits.
pub fn combined_digest(runs: impl Iterator<Item = Integers>) -> String {
    let mut hasher = Xxh3::new();
    runs.for_each(|run| hasher.update(&run.digest.to_le_bytes()));
    format!("{:032x}", hasher.digest128())
}

struct IntegerHasher {
    hasher: Xxh3,
    count: u64,
}

thread_local! {
    /// Set while a run is to be hashed. A plan inside a tract graph has no other way to reach its caller.
    static HASHER: RefCell<Option<IntegerHasher>> = const { RefCell::new(None) };
}

/// Run `f` with the observer that plans must call after each tensor.
pub(crate) fn observed<T>(f: impl FnOnce(&mut dyn FnMut(limbeck_plan::Tensor<'_>, &[i8])) -> T) -> T {
    HASHER.with_borrow_mut(|slot| match slot {
        None => f(&mut |_, _| ()),
        Some(IntegerHasher { hasher, count }) => f(&mut |tensor, data| {
            hasher.update(tensor.name.as_bytes());
            hasher.update(&[0]);
            let mut block = [0u8; 512];
            for chunk in data.chunks(block.len()) {
                block.iter_mut().zip(chunk).for_each(|(b, &q)| *b = q as u8);
                hasher.update(&block[..chunk.len()]);
            }
            *count += data.len() as u64;
        }),
    })
}

/// A plan, checked and packed for the path that [`path`] chose.
pub(crate) fn packed(plan: Vec<u8>) -> Result<PackedPlanBuf, EngineError> {
    let plan = PlanBuf::new(plan).map_err(|e| EngineError::Plan(e.to_string()))?;
    plan.pack(path()?).map_err(|e| EngineError::Plan(e.to_string()))
}

impl Student {
    /// Prepare a float or QDQ model. Every quantized model is compiled here, from the file that is deployed.
    pub fn load(model: &Model) -> Result<Student, EngineError> {
        let compiled = compile(model)?;
        let exact = compiled.float_nodes_are_exact();
        let integer_operators = compiled.regions.iter().map(|r| r.operators).sum();
        let input_len = input_shape(model, 1)?.iter().product();
        let (body, output_len) = match (compiled.rest, compiled.regions.into_iter().next()) {
            (None, Some(region)) => {
                let plan = packed(region.plan)?;
                let output_len = plan.plan().plan().outputs().next().map_or(0, |t| t.shape.elements());
                (Body::Plan(plan), output_len)
            }
            (Some(rest), _) => {
                let net = Net::load(&rest, 1)?;
                let output_len = net.output_shapes().first().map_or(0, |s| s.iter().product());
                (Body::Graph(net), output_len)
            }
            (None, None) => return Err(EngineError::Unsuitable("the model computes nothing".into())),
        };
        Ok(Student { body, input_len, output_len, float_nodes: compiled.float_nodes, integer_operators, exact })
    }

    /// Elements of one input sample.
    pub fn input_len(&self) -> usize {
        self.input_len
    }

    /// Elements of the first output for one sample.
    pub fn output_len(&self) -> usize {
        self.output_len
    }

    /// Operators that run in float, and why.
    pub fn float_nodes(&self) -> &[FloatNode] {
        &self.float_nodes
    }

    /// Are the integers of a run the same on every machine? Not where a float sum, whose order differs between machines,
    /// comes before them: one rounding the other way then moves an integer.
    pub fn integers_are_exact(&self) -> bool {
        self.exact
    }

    /// How many operators run in integers.
    pub fn integer_operators(&self) -> usize {
        self.integer_operators
    }

    /// Bytes of the activation arena, where one plan is the whole model.
    pub fn arena_bytes(&self) -> Option<usize> {
        match &self.body {
            Body::Plan(plan) => Some(plan.plan().arena_bytes()),
            Body::Graph(_) => None,
        }
    }

    /// A state for one thread.
    pub fn worker(&self) -> Result<StudentWorker<'_>, EngineError> {
        let body = match &self.body {
            Body::Plan(plan) => {
                let plan = plan.plan();
                let arena = vec![0; plan.arena_bytes()];
                WorkerBody::Plan { plan, arena }
            }
            Body::Graph(net) => WorkerBody::Graph(net.worker()?),
        };
        Ok(StudentWorker { body })
    }
}

impl StudentWorker<'_> {
    /// One sample: `x` has [`Student::input_len`] elements, `logits` [`Student::output_len`].
    pub fn run(&mut self, x: &[f32], logits: &mut [f32]) -> Result<(), EngineError> {
        match &mut self.body {
            WorkerBody::Plan { plan, arena } => observed(|observe| plan.run(&[x], &mut [logits], arena, observe))
                .map_err(|e| EngineError::Plan(e.to_string())),
            WorkerBody::Graph(worker) => worker.run(x, |i, y| {
                if i == 0 {
                    logits.copy_from_slice(y);
                }
            }),
        }
    }

    /// The same, and the digest of every integer on the way.
    pub fn run_hashed(&mut self, x: &[f32], logits: &mut [f32]) -> Result<Integers, EngineError> {
        HASHER.set(Some(IntegerHasher { hasher: Xxh3::new(), count: 0 }));
        let result = self.run(x, logits);
        let hashed = HASHER.take();
        result?;
        let (digest, count) = hashed.map_or((0, 0), |h| (h.hasher.digest128(), h.count));
        Ok(Integers { digest, count })
    }
}
