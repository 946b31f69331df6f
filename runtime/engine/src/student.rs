//! Whatever a bundle holds, ready to run: a float model on tract, an int8 plan alone, or plans inside a tract graph.
//!
//! One sample a run: x (C, H, W) f32 → logits.

use limbeck_plan::{Isa, PackedPlan, PackedPlanBuf, PlanBuf};

use crate::compile::{FloatNode, Region, compile};
use crate::error::EngineError;
use crate::net::{Net, PLANNED_BYTES, Worker, input_shape};
use crate::observe::{self, Integers};
use crate::onnx::{Attribute, Model};
use crate::path::path;
use crate::plan_op::{PATH, PLAN_OP};
use crate::steps::{self, Step};

/// A model ready to run, one sample at a time.
pub struct Student {
    body: Body,
    input_len: usize,
    output_len: usize,
    float_nodes: Vec<FloatNode>,
    integer_operators: usize,
    exact: bool,
    isa: Isa,
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

/// What a loaded model holds in memory for its integers, in bytes; all 0 for a float model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Memory {
    /// Plans, once.
    pub plan: usize,
    /// Weights packed for the path, once.
    pub packed: usize,
    /// Arenas of activations and scratch, for each worker. Float tensors of tract are not in it.
    pub arena: usize,
}

/// A plan, checked and packed for a path.
pub(crate) fn packed(plan: Vec<u8>, isa: Isa) -> Result<PackedPlanBuf, EngineError> {
    packed_within(plan, isa, PLANNED_BYTES)
}

/// Bytes of activations and of packed weights.
fn planned_by(plan: &PlanBuf, isa: Isa) -> u64 {
    let plan = plan.plan();
    (plan.arena_bytes_on(isa) as u64).saturating_add(plan.packed_bytes(isa) as u64)
}

/// The same, if its activations and weights fit.
fn packed_within(plan: Vec<u8>, isa: Isa, planned_bytes: u64) -> Result<PackedPlanBuf, EngineError> {
    let plan = PlanBuf::new(plan).map_err(|e| EngineError::Plan(e.to_string()))?;
    if planned_by(&plan, isa) > planned_bytes {
        return Err(EngineError::TooLarge { what: "the plan".into(), limit: planned_bytes });
    }
    plan.pack(isa).map_err(|e| EngineError::Plan(e.to_string()))
}

/// Do the integer regions of a graph fit together? tract makes them one by one, and counts none of their memory.
fn check_regions(regions: &[Region], isa: Isa, planned_bytes: u64) -> Result<(), EngineError> {
    let mut planned = 0u64;
    for region in regions {
        let plan = PlanBuf::new(region.plan.clone()).map_err(|e| EngineError::Plan(e.to_string()))?;
        planned = planned.saturating_add(planned_by(&plan, isa));
    }
    if planned > planned_bytes {
        return Err(EngineError::TooLarge { what: "its integer regions".into(), limit: planned_bytes });
    }
    Ok(())
}

impl Student {
    /// Prepare a float or QDQ model. Every quantized model is compiled here, from the file that is deployed.
    ///
    /// # Errors
    /// A model that cannot run, or a path in [`crate::ISA_VARIABLE`] that this CPU has not.
    pub fn load(model: &Model) -> Result<Student, EngineError> {
        Student::load_on(model, path()?)
    }

    /// The same on a path of the caller's choice.
    ///
    /// # Errors
    /// A model that cannot run.
    pub fn load_on(model: &Model, isa: Isa) -> Result<Student, EngineError> {
        Student::load_within(model, isa, PLANNED_BYTES)
    }

    /// The same, for a machine whose memory is known: no model may plan more than `planned_bytes` of activations, which are counted
    /// before any is allocated.
    ///
    /// # Errors
    /// A model that cannot run, or plans more.
    pub fn load_within(model: &Model, isa: Isa, planned_bytes: u64) -> Result<Student, EngineError> {
        let compiled = compile(model)?;
        let exact = compiled.float_nodes_are_exact();
        let integer_operators = compiled.regions.iter().map(|r| r.operators).sum();
        // One plan that is the whole model is counted where it is packed.
        if compiled.rest.is_some() {
            check_regions(&compiled.regions, isa, planned_bytes)?;
        }
        let input_len = input_shape(model, 1)?.iter().product();
        let (body, output_len) = match (compiled.rest, compiled.regions.into_iter().next()) {
            (None, Some(region)) => {
                let plan = packed_within(region.plan, isa, planned_bytes)?;
                let output_len = plan.plan().plan().outputs().next().map_or(0, |t| t.shape.elements());
                (Body::Plan(plan), output_len)
            }
            (Some(mut rest), _) => {
                for region in rest.graph.nodes.iter_mut().filter(|n| n.op == PLAN_OP) {
                    region.attributes.insert(PATH.into(), Attribute::Bytes(isa.name().into()));
                }
                let net = Net::load_within(&rest, 1, planned_bytes)?;
                let output_len = net.output_shapes().first().map_or(0, |s| s.iter().product());
                (Body::Graph(net), output_len)
            }
            (None, None) => return Err(EngineError::Unsuitable("the model computes nothing".into())),
        };
        Ok(Student { body, input_len, output_len, float_nodes: compiled.float_nodes, integer_operators, exact, isa })
    }

    /// A plan that was compiled before ([`Student::whole_plan`]), without its ONNX: nothing is parsed, no tract is touched.
    ///
    /// The plan is checked as one from a stranger. What the graph said of operators left in float is nothing here: a plan that is
    /// the whole model has none.
    ///
    /// # Errors
    /// Bytes that are no plan, one with more than one input, or one that plans more than `planned_bytes`.
    pub fn from_plan(plan: Vec<u8>, isa: Isa, planned_bytes: u64) -> Result<Student, EngineError> {
        let plan = packed_within(plan, isa, planned_bytes)?;
        let (input_len, output_len, integer_operators) = {
            let view = plan.plan().plan();
            let (mut inputs, mut outputs) = (view.inputs(), view.outputs());
            let (Some(input), None, Some(output)) = (inputs.next(), inputs.next(), outputs.next()) else {
                return Err(EngineError::Plan("a student has one input and an output".into()));
            };
            (input.shape.elements(), output.shape.elements(), view.ops().count())
        };
        let body = Body::Plan(plan);
        Ok(Student { body, input_len, output_len, float_nodes: vec![], integer_operators, exact: true, isa })
    }

    /// The plan's bytes, where one plan is the whole model.
    pub fn whole_plan(&self) -> Option<&[u8]> {
        match &self.body {
            Body::Plan(plan) => Some(plan.as_bytes()),
            Body::Graph(_) => None,
        }
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

    /// The path that its integers run on.
    pub fn isa(&self) -> Isa {
        self.isa
    }

    /// Bytes of the activation arena, where one plan is the whole model.
    pub fn arena_bytes(&self) -> Option<usize> {
        match &self.body {
            Body::Plan(plan) => Some(plan.plan().arena_bytes()),
            Body::Graph(_) => None,
        }
    }

    /// What its integers hold in memory.
    pub fn memory(&self) -> Memory {
        self.plans().iter().fold(Memory::default(), |sum, buf| Memory {
            plan: sum.plan + buf.as_bytes().len(),
            packed: sum.packed + buf.packed_bytes(),
            arena: sum.arena + buf.plan().arena_bytes(),
        })
    }

    /// Bytes of packed weights and of arenas that it would have on another path of this CPU.
    pub fn memory_on(&self, isa: Isa) -> Memory {
        self.plans().iter().fold(Memory::default(), |sum, buf| {
            let plan = buf.plan().plan();
            Memory {
                plan: sum.plan + buf.as_bytes().len(),
                packed: sum.packed + plan.packed_bytes(isa),
                arena: sum.arena + plan.arena_bytes_on(isa),
            }
        })
    }

    /// Its steps, in the order in which they run.
    pub fn steps(&self) -> Vec<Step> {
        match &self.body {
            Body::Plan(plan) => steps::of_plan(&plan.plan()),
            Body::Graph(net) => steps::of_graph(net.runnable()),
        }
    }

    fn plans(&self) -> Vec<&PackedPlanBuf> {
        match &self.body {
            Body::Plan(plan) => vec![plan],
            Body::Graph(net) => net.plans(),
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
    ///
    /// Where one plan is the whole model this allocates nothing.
    pub fn run(&mut self, x: &[f32], logits: &mut [f32]) -> Result<(), EngineError> {
        match &mut self.body {
            WorkerBody::Plan { plan, arena } => run_plan(*plan, x, logits, arena),
            WorkerBody::Graph(worker) => worker.run(x, first_into(logits)),
        }
    }

    /// The same, and the digest of every integer on the way.
    pub fn run_hashed(&mut self, x: &[f32], logits: &mut [f32]) -> Result<Integers, EngineError> {
        let (result, integers) = observe::hashed(|| self.run(x, logits));
        result.map(|()| integers)
    }

    /// The same, and every integer tensor on the way: name and stored values (H W C), in execution order.
    pub fn run_recorded(&mut self, x: &[f32], logits: &mut [f32]) -> Result<Vec<(String, Vec<i8>)>, EngineError> {
        let (result, integers) = observe::recorded(|| self.run(x, logits));
        result.map(|()| integers)
    }

    /// The same for a stopwatch, which also sees the nodes of a tract graph.
    pub(crate) fn run_timed(&mut self, x: &[f32], logits: &mut [f32]) -> Result<(), EngineError> {
        match &mut self.body {
            WorkerBody::Plan { plan, arena } => run_plan(*plan, x, logits, arena),
            WorkerBody::Graph(worker) => worker.run_timed(x, first_into(logits)),
        }
    }
}

fn run_plan(plan: PackedPlan<'_>, x: &[f32], logits: &mut [f32], arena: &mut [i8]) -> Result<(), EngineError> {
    observe::observed(|observe| plan.run(&[x], &mut [logits], arena, observe))
        .map_err(|e| EngineError::Plan(e.to_string()))
}

/// Takes the first output of a graph.
fn first_into(logits: &mut [f32]) -> impl FnMut(usize, &[f32]) {
    |i, y| {
        if i == 0 {
            logits.copy_from_slice(y);
        }
    }
}
