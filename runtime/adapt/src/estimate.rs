//! What a run holds in memory at its fullest moment, before it starts.

use std::fmt;

use crate::parameters::Parameters;
use crate::recipe::Recipe;

/// Bytes on the heap that opening a model and a [`crate::Session`] add to what the process has. Predicted from the graph;
/// `tests/budgets.rs` holds it against what is allocated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MemoryEstimate {
    /// The opened model: all tensors, and the trained ones once more.
    pub model: u64,
    /// The graphs: nodes, frozen tensors and their packed forms.
    pub graph: u64,
    /// The graphs while they are built and optimised, at their fullest.
    pub building: u64,
    /// Trained tensors as a step reads them.
    pub weights: u64,
    /// Their gradients: the total, and the sums of the chunks under way.
    pub gradients: u64,
    /// What the optimiser keeps, and the moving average.
    pub optimiser: u64,
    /// Activations, their gradients and packed weights of one sample a thread.
    pub activations: u64,
    /// The bytes of a checkpoint while it is written.
    pub checkpoint: u64,
}

/// What graphs are made of, of which a run's memory follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Size {
    /// Nodes of the step's graph and of the frozen part's, optimised.
    pub nodes: u64,
    /// Bytes alive at the fullest moment of a step, a thread.
    pub step_bytes: u64,
}

/// Heap of a node with its facts, names and edges, once built; and while tract's optimiser holds copies. Measured on the nets of
/// `tests/budgets.rs` (4.2 and 10.4 at most).
const A_NODE: u64 = 4608;
const A_NODE_BUILDING: u64 = 11 << 10;

impl MemoryEstimate {
    /// `all` is the bytes of all tensors, trained and frozen.
    pub(crate) fn new(size: Size, trained: &Parameters, all: u64, recipe: &Recipe) -> MemoryEstimate {
        let bytes = trained.count() as u64 * 4;
        let threads = recipe.threads.max(1) as u64;
        // One thread adds each chunk at once; of several, each may be two chunks ahead.
        let sums = if threads == 1 { 1 } else { 2 * threads };
        let state = recipe.rule.state_len(trained.dims()) as u64 * 4;
        let average = if recipe.ema.is_some() { bytes } else { 0 };
        let frozen = all.saturating_sub(bytes);
        MemoryEstimate {
            model: all + bytes + (16 << 10),
            graph: A_NODE * size.nodes + frozen * 5 / 2,
            building: A_NODE_BUILDING * size.nodes + frozen * 7 / 2,
            weights: bytes,
            gradients: (1 + sums) * bytes,
            optimiser: state + average,
            activations: threads * size.step_bytes,
            checkpoint: bytes + state + average,
        }
    }

    /// All that is there at the same time.
    pub fn total(&self) -> u64 {
        let step = self.weights + self.gradients + self.activations;
        self.model + self.building.max(self.graph + self.optimiser + step.max(self.checkpoint))
    }
}

impl fmt::Display for MemoryEstimate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kib = |bytes: u64| bytes.div_ceil(1024);
        write!(
            f,
            "{} KiB: model {}, graph {} ({} while it is built), weights {}, gradients {}, optimiser {}, activations {}",
            kib(self.total()),
            kib(self.model),
            kib(self.graph),
            kib(self.building),
            kib(self.weights),
            kib(self.gradients),
            kib(self.optimiser),
            kib(self.activations),
        )
    }
}
