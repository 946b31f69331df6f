//! A student made ready once, from which candidates are built: with these operators in integers, and the others in float.

use std::collections::BTreeSet;

use limbeck_engine::FloatNode;
use limbeck_engine::onnx::{Model, Node};

use crate::correct::{Means, correct};
use crate::method::Quant;
use crate::ranges::calibrate;
use crate::rewrite::rewrite;
use crate::samples::{Rounds, Samples};
use crate::scope::{Scope, shares_scale};
use crate::weight_bits::WeightBits;
use crate::{QuantizeError, QuantizeOptions};

/// The float student in normal form, and what calibration found.
pub(crate) struct Job<'a> {
    pub model: Model,
    pub samples: &'a Samples<'a>,
    scope: Scope,
    quants: Vec<Quant>,
    bits: WeightBits,
    /// Where biases are corrected.
    means: Option<Means>,
    threads: usize,
    rounds: &'a Rounds<'a>,
}

/// A candidate.
pub(crate) struct Built {
    pub model: Model,
    /// Layers whose bias was corrected.
    pub corrected: usize,
}

impl<'a> Job<'a> {
    /// Calibrate `model`, which is in normal form.
    pub fn new(
        model: Model,
        samples: &'a Samples<'a>,
        options: &QuantizeOptions,
        rounds: &'a Rounds<'a>,
    ) -> Result<Job<'a>, QuantizeError> {
        let scope = Scope::of(&model)?;
        let quants = calibrate(&model, &scope, samples, options.method, options.threads, rounds)?;
        let means = match options.bias_correction {
            true => Some(Means::of(&model, &scope, samples, options.threads, rounds)?),
            false => None,
        };
        Ok(Job { model, samples, scope, quants, bits: options.weight_bits, means, threads: options.threads, rounds })
    }

    /// The QDQ model with only the operators `keep` in integers.
    pub fn build(&self, keep: &BTreeSet<usize>) -> Result<Built, QuantizeError> {
        let scope = self.scope.keeping(&self.model.graph, keep);
        let Some(means) = &self.means else {
            return Ok(Built { model: rewrite(&self.model, &scope, &self.quants, self.bits), corrected: 0 });
        };
        let Job { model, quants, bits, samples, threads, rounds, .. } = self;
        let (corrected, count) = correct(model, &scope, (quants, *bits), means, samples, *threads, rounds)?;
        Ok(Built { model: rewrite(&corrected, &scope, quants, *bits), corrected: count })
    }

    /// All operators that can run in integers, in execution order.
    pub fn operators(&self) -> impl Iterator<Item = usize> + '_ {
        self.scope.integer.keys().copied()
    }

    /// These without `float`.
    pub fn all_but(&self, float: &BTreeSet<usize>) -> BTreeSet<usize> {
        self.operators().filter(|i| !float.contains(i)).collect()
    }

    /// Does this operator do more than move data?
    pub fn computes(&self, i: usize) -> bool {
        !shares_scale(self.node(i))
    }

    /// What to call an operator.
    pub fn title(&self, i: usize) -> String {
        self.node(i).title()
    }

    fn node(&self, i: usize) -> &Node {
        &self.model.graph.nodes[i]
    }

    /// The reasons of `compile`, but for operators that were left in float on purpose, and the activations behind them.
    pub fn explain(&self, mut nodes: Vec<FloatNode>, reasons: &[(usize, String)]) -> Vec<FloatNode> {
        for (i, reason) in reasons {
            let activation = self.scope.integer.get(i).and_then(|a| a.activation);
            let behind = format!("it follows {}, which stays in float", self.title(*i));
            for (title, reason) in
                activation.map(|a| (self.title(a), &behind)).into_iter().chain([(self.title(*i), reason)])
            {
                nodes.iter_mut().filter(|n| n.node == title).for_each(|n| n.reason = reason.clone());
            }
        }
        nodes
    }
}
