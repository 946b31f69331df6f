//! Choosing what to train so that it fits: by Fisher information per byte and per multiply-accumulate.
//!
//! The score of a tensor is the mean over samples of the squared L2 norm of its gradient, the diagonal of the empirical Fisher information summed
//! over the tensor, divided by its bytes and by the multiply-accumulates of its gradient, each relative to the largest (TinyTrain, Kwon et
//! al., ICML 2024, section 3.2, whose scores are of layers; ours are of tensors). It is computed where training would run, by the training
//! graph itself; so only tensors whose gradient fits the memory are scored: the last ones that fit together, and all biases. A tensor that
//! cannot be scored could not be trained.

use limbeck_engine::FloatIsa;
use tract_core::internal::*;
use tract_core::ops::Cost;

use crate::differentiate::{Towards, differentiate};
use crate::error::AdaptError;
use crate::estimate::{MemoryEstimate, Size};
use crate::memory;
use crate::opened::Opened;
use crate::recipe::Recipe;
use crate::selection::Selection;
use crate::step::{Examples, TrainingNet, forward};

/// A choice, and why.
#[derive(Debug, Clone)]
pub struct Planned {
    /// What to train.
    pub selection: Selection,
    /// What that takes.
    pub memory: MemoryEstimate,
    /// Every tensor of the model, in graph order.
    pub scores: Vec<Score>,
}

/// One tensor.
#[derive(Debug, Clone, PartialEq)]
pub struct Score {
    /// Its name.
    pub name: String,
    /// Its bytes.
    pub bytes: u64,
    /// Multiply-accumulates of its gradient.
    pub macs: u64,
    /// Mean of |gradient|²; `None`: its gradient does not fit the memory.
    pub fisher: Option<f64>,
    /// Is it chosen?
    pub chosen: bool,
}

/// Choose the tensors of `opened`, a model opened with [`Selection::All`], to train by `recipe` in `limit` bytes besides what the process has.
/// `samples` are looked at.
///
/// # Errors
/// [`AdaptError::Budget`] when not even the last tensor fits; those of the examples.
pub fn plan(
    opened: &Opened,
    recipe: &Recipe,
    examples: &dyn Examples,
    samples: &[usize],
    limit: u64,
) -> Result<Planned, AdaptError> {
    let mut planner = Planner::new(opened, recipe, limit)?;
    let count = planner.costs.len();
    let all: Vec<usize> = (0..count).collect();
    // The more tensors, the more memory: the largest number that fits is found by halving.
    let fitting = largest(count, |k| planner.fits(&all[count - k..]))?;
    if fitting == 0 {
        let last = planner.estimate(&all[count.saturating_sub(1)..])?;
        let what = format!("\"{}\"", opened.parameters.names().last().map_or("", String::as_str));
        return Err(AdaptError::Budget { what, needed: last.total(), limit });
    }
    let mut fisher: Vec<Option<f64>> = vec![None; count];
    let biases = (0..count - fitting).filter(|&i| opened.parameters.dims()[i].len() <= 1).collect::<Vec<_>>();
    planner.score(&all[count - fitting..], examples, samples, &mut fisher)?;
    if !biases.is_empty() && planner.fits(&biases)? {
        planner.score(&biases, examples, samples, &mut fisher)?;
    }
    let mut ranked: Vec<usize> = all.iter().copied().filter(|&i| fisher[i].is_some()).collect();
    let largest_bytes = planner.costs.iter().map(|c| c.0).max().unwrap_or(1).max(1) as f64;
    let largest_macs = planner.costs.iter().map(|c| c.1).max().unwrap_or(1).max(1) as f64;
    let value = |i: usize| {
        let (bytes, macs) = planner.costs[i];
        fisher[i].unwrap_or(0.0) / ((bytes.max(1) as f64 / largest_bytes) * (macs.max(1) as f64 / largest_macs))
    };
    ranked.sort_by(|&a, &b| value(b).total_cmp(&value(a)).then(b.cmp(&a)));
    let (chosen, memory) = planner.choose(&ranked)?;
    let names = opened.parameters.names();
    let scores = (0..count).map(|i| Score {
        name: names[i].clone(),
        bytes: planner.costs[i].0,
        macs: planner.costs[i].1,
        fisher: fisher[i],
        chosen: chosen.contains(&i),
    });
    let selection = Selection::exactly(chosen.iter().map(|&i| names[i].as_str()));
    Ok(Planned { selection, memory, scores: scores.collect() })
}

struct Planner<'a> {
    opened: &'a Opened,
    recipe: &'a Recipe,
    limit: u64,
    /// All tensors are inputs.
    forward: TypedModel,
    /// (bytes, multiply-accumulates) of every tensor.
    costs: Vec<(u64, u64)>,
    /// Bytes of a step of the optimised graph for each byte of the graph as it is differentiated, and nodes for each node.
    ratio: [f64; 2],
}

/// Tensors tried one by one after those that fit together.
const TRIED: usize = 16;

impl<'a> Planner<'a> {
    fn new(opened: &'a Opened, recipe: &'a Recipe, limit: u64) -> Result<Planner<'a>, AdaptError> {
        let path = FloatIsa::detect_fast();
        let forward = forward(&opened.model, &opened.parameters, opened.quantized_file(), path)?;
        let costs = costs(&forward).map_err(AdaptError::tract("cannot weigh the graph"))?;
        Ok(Planner { opened, recipe, limit, forward, costs, ratio: [1.0, 1.6] })
    }

    /// Bytes of a step and nodes of the graph that trains these, before it is optimised.
    fn raw(&self, chosen: &[usize]) -> Result<[u64; 2], AdaptError> {
        let weighing = || AdaptError::tract("cannot weigh the training graph");
        let trained: Vec<usize> = chosen.iter().map(|&i| i + 1).collect();
        let graph = differentiate(&self.forward, &trained, Towards::Loss(&self.recipe.loss))?;
        let order = graph.eval_order().map_err(weighing())?;
        Ok([memory::step_bytes(&graph, &order).map_err(weighing())?, order.len() as u64])
    }

    /// What training these would take.
    fn estimate(&self, chosen: &[usize]) -> Result<MemoryEstimate, AdaptError> {
        let [step_bytes, nodes] = self.raw(chosen)?;
        let scaled = |value: u64, ratio: f64| (value as f64 * ratio) as u64;
        let size = Size { step_bytes: scaled(step_bytes, self.ratio[0]), nodes: scaled(nodes, self.ratio[1]) };
        Ok(self.with_size(size, chosen))
    }

    fn with_size(&self, size: Size, chosen: &[usize]) -> MemoryEstimate {
        let all = self.opened.model.parameters() as u64 * 4;
        MemoryEstimate::new(size, &self.parameters(chosen), all, self.recipe)
    }

    fn parameters(&self, chosen: &[usize]) -> crate::Parameters {
        let mask: Vec<bool> = (0..self.costs.len()).map(|i| chosen.contains(&i)).collect();
        self.opened.parameters.masked(&mask)
    }

    fn fits(&self, chosen: &[usize]) -> Result<bool, AdaptError> {
        Ok(self.estimate(chosen)?.total() <= self.limit)
    }

    /// The graph that trains these, as it would run; what a step of it takes corrects the estimates to come.
    fn net(&mut self, chosen: &[usize]) -> Result<(TrainingNet, MemoryEstimate), AdaptError> {
        let net = TrainingNet::prepare(
            &self.opened.model,
            &self.parameters(chosen),
            self.opened.quantized_file(),
            &self.recipe.loss,
            self.recipe.threads,
            FloatIsa::detect_fast(),
        )?;
        let (raw, size) = (self.raw(chosen)?, net.shape().size());
        self.ratio = [size.step_bytes as f64 / raw[0].max(1) as f64, size.nodes as f64 / raw[1].max(1) as f64];
        let memory = self.with_size(size, chosen);
        Ok((net, memory))
    }

    /// Mean |gradient|² of these tensors over the samples.
    fn score(
        &mut self,
        chosen: &[usize],
        examples: &dyn Examples,
        samples: &[usize],
        fisher: &mut [Option<f64>],
    ) -> Result<(), AdaptError> {
        let (net, _) = self.net(chosen)?;
        let parameters = self.parameters(chosen);
        let mut sums = vec![0f64; chosen.len()];
        let scaled = crate::session::Scaled { examples, scale: self.opened.input_scale };
        for &sample in samples {
            let gradient = net.gradient(&parameters, &scaled, &[sample])?;
            for (sum, tensor) in sums.iter_mut().zip(&gradient.gradients) {
                *sum += tensor.iter().map(|&g| g as f64 * g as f64).sum::<f64>();
            }
        }
        for (&i, sum) in chosen.iter().zip(sums) {
            fisher[i] = Some(sum / samples.len().max(1) as f64);
        }
        Ok(())
    }

    /// As many of `ranked`, best first, as fit; in graph order.
    fn choose(&mut self, ranked: &[usize]) -> Result<(Vec<usize>, MemoryEstimate), AdaptError> {
        // The ratio is known for other selections only: build what is chosen, and choose again if it turns out larger.
        let mut least = (usize::MAX, 0);
        for _ in 0..4 {
            let fitting = largest(ranked.len(), |k| self.fits(&in_order(&ranked[..k])))?;
            let mut chosen = ranked[..fitting].to_vec();
            for &i in ranked[fitting..].iter().take(TRIED) {
                chosen.push(i);
                if !self.fits(&in_order(&chosen))? {
                    chosen.pop();
                }
            }
            let chosen = in_order(&chosen);
            if chosen.is_empty() {
                break;
            }
            let (_, memory) = self.net(&chosen)?;
            if memory.total() <= self.limit {
                return Ok((chosen, memory));
            }
            least = (memory.total() as usize, chosen.len());
        }
        let what = format!("{} tensors", least.1.max(1));
        Err(AdaptError::Budget { what, needed: least.0 as u64, limit: self.limit })
    }
}

fn in_order(chosen: &[usize]) -> Vec<usize> {
    let mut chosen = chosen.to_vec();
    chosen.sort_unstable();
    chosen
}

/// The largest k in 0..=n for which `fits(k)`, which holds for all smaller ones, too.
fn largest(n: usize, mut fits: impl FnMut(usize) -> Result<bool, AdaptError>) -> Result<usize, AdaptError> {
    let (mut low, mut high) = (0, n);
    while low < high {
        let middle = (low + high).div_ceil(2);
        if fits(middle)? {
            low = middle;
        } else {
            high = middle - 1;
        }
    }
    Ok(low)
}

/// (bytes, multiply-accumulates of the gradient) of every input of a graph but the first.
fn costs(forward: &TypedModel) -> TractResult<Vec<(u64, u64)>> {
    let of = |outlet: &OutletId| -> TractResult<(u64, u64)> {
        let fact = forward.outlet_fact(*outlet)?;
        let bytes = fact.mem_size().to_usize()? as u64;
        let mut macs = 0;
        for reader in &forward.node(outlet.node).outputs[outlet.slot].successors {
            let node = forward.node(reader.node);
            let costs = node.op.cost(&forward.node_input_facts(reader.node)?)?;
            let products = costs.iter().filter(|(cost, _)| matches!(cost, Cost::FMA(_)));
            let products = products.map(|(_, n)| Ok(n.to_usize()? as u64)).sum::<TractResult<u64>>()?;
            // The gradient of a kernel takes as many products as the forward pass, that of a bias one sum an output.
            let outputs = node.outputs.iter().map(|o| Ok(o.fact.shape.volume().to_usize()? as u64));
            let outputs = outputs.sum::<TractResult<u64>>()?;
            macs += if fact.shape.volume().to_usize()? as u64 <= 1 || fact.rank() <= 1 {
                outputs
            } else {
                products.max(outputs)
            };
        }
        Ok((bytes, macs))
    };
    forward.input_outlets()?[1..].iter().map(of).collect()
}
