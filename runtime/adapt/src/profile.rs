//! Where the time of a step goes, by kind of operator.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use tract_core::internal::*;
use tract_core::plan::eval;

/// Time in one kind of operator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KindTime {
    /// The operator's name: `LimbeckWiredConvF32`, `ConvDx`, `ConvDw`, …
    pub kind: String,
    /// How often it ran.
    pub calls: usize,
    /// For how long, all together.
    pub time: Duration,
}

/// Times so far, by kind.
#[derive(Default)]
pub(crate) struct Times(BTreeMap<String, (usize, Duration)>);

impl Times {
    /// Runs a graph once, each node under the stopwatch.
    pub fn run(&mut self, state: &mut TypedSimpleState, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        state.run_plan_with_eval(inputs, |context, op_state, node, inputs| {
            let start = Instant::now();
            let result = eval(context, op_state, node, inputs);
            let (calls, time) = self.0.entry(node.op.name().into_owned()).or_default();
            *calls += 1;
            *time += start.elapsed();
            result
        })
    }

    /// The longest first.
    pub fn into_kinds(self) -> Vec<KindTime> {
        let mut kinds: Vec<KindTime> =
            self.0.into_iter().map(|(kind, (calls, time))| KindTime { kind, calls, time }).collect();
        kinds.sort_by_key(|kind| std::cmp::Reverse(kind.time));
        kinds
    }
}
