//! Bias correction: a layer's mean error, taken out of its bias.
//!
//! Rounded weights and activations shift the mean of a layer's sums. Nagel et al. (ICCV 2019), §4.2 and appendix D, the
//! empirical form: for each output channel c, over calibration samples and positions, before any activation function,
//!
//! b\[c\] += E[y\[c\] of the float student] − E[y\[c\] of the quantized one]
//!
//! in topological order, each layer with those before it quantized and corrected, so that what is left of their shift is
//! taken out too. The bias becomes i32 at scale x·w afterwards, like any other; half a step of that is what stays.

use limbeck_engine::Net;
use limbeck_engine::onnx::{Data, Graph, Model, Node, Value};

use crate::QuantizeError;
use crate::method::Quant;
use crate::rewrite::{float_result, rewrite};
use crate::samples::{Rounds, Samples};
use crate::scope::Scope;
use crate::weight_bits::WeightBits;
use crate::weights::WeightIndex;

/// The float student's mean of every layer that can be corrected.
pub(crate) struct Means {
    /// Node, and its mean by channel, in topological order.
    layers: Vec<(usize, Vec<f64>)>,
}

impl Means {
    /// One pass over `samples`.
    pub fn of(
        model: &Model,
        scope: &Scope,
        samples: &Samples<'_>,
        threads: usize,
        rounds: &Rounds<'_>,
    ) -> Result<Means, QuantizeError> {
        let layers: Vec<(usize, usize)> = scope
            .integer
            .keys()
            .filter_map(|&i| Some((i, correctable(&model.graph, &model.graph.nodes[i])?)))
            .collect();
        let taps: Vec<Tap> = layers
            .iter()
            .map(|&(i, channels)| Tap { value: model.graph.nodes[i].outputs[0].clone(), channels })
            .collect();
        let means = means(model, &taps, samples, threads, rounds)?;
        Ok(Means { layers: layers.into_iter().map(|(i, _)| i).zip(means).collect() })
    }
}

/// `model` with corrected biases for the layers that `scope` quantizes to activations and weights like these, and how many were
/// corrected.
pub(crate) fn correct(
    model: &Model,
    scope: &Scope,
    (quants, bits): (&[Quant], WeightBits),
    float: &Means,
    samples: &Samples<'_>,
    threads: usize,
    rounds: &Rounds<'_>,
) -> Result<(Model, usize), QuantizeError> {
    let mut model = model.clone();
    let mut corrected = 0;
    for (i, wanted) in &float.layers {
        let Some(result) = scope.integer.get(i) else { continue };
        let quantized = rewrite(&model, scope, quants, bits);
        let tap = Tap { value: float_result(&quantized.graph, result), channels: wanted.len() };
        let found = means(&quantized, &[tap], samples, threads, rounds)?;
        let node = &model.graph.nodes[*i];
        let bias = node.input(2).map(str::to_owned).unwrap_or_default();
        let Some(tensor) = model.graph.initializers.get_mut(&bias) else { continue };
        let Data::F32(values) = &mut tensor.data else { continue };
        for (b, (wanted, found)) in values.iter_mut().zip(wanted.iter().zip(&found[0])) {
            *b = (*b as f64 + wanted - found) as f32;
        }
        corrected += 1;
    }
    Ok((model, corrected))
}

/// Output channels of a layer with a bias of one value a channel.
fn correctable(graph: &Graph, node: &Node) -> Option<usize> {
    let channels = WeightIndex::of(graph, node)?.outputs;
    let bias = graph.initializers.get(node.input(2)?)?.as_f32()?;
    (bias.len() == channels).then_some(channels)
}

/// A value to average: N × channels × positions.
struct Tap {
    value: String,
    channels: usize,
}

/// The mean of every tap by channel, in f64, summed in sample order. Only what the taps need is run.
fn means(
    model: &Model,
    taps: &[Tap],
    samples: &Samples<'_>,
    threads: usize,
    rounds: &Rounds<'_>,
) -> Result<Vec<Vec<f64>>, QuantizeError> {
    if taps.is_empty() {
        return Ok(vec![]);
    }
    let mut model = model.clone();
    model.graph.outputs = taps.iter().map(|t| Value::f32(&t.value, vec![])).collect();
    model.graph.remove_dead();
    let net = Net::load(&model, 1)?;
    let by_sample = samples.map(
        threads,
        rounds,
        || Ok(net.worker()?),
        |worker, x, _| {
            let mut sums: Vec<Vec<f64>> = vec![];
            worker.run(x, |tap, values| {
                let positions = (values.len() / taps[tap].channels).max(1);
                let mean = |of: &[f32]| of.iter().map(|v| f64::from(*v)).sum::<f64>() / positions as f64;
                sums.push(values.chunks(positions).map(mean).collect());
            })?;
            Ok(sums)
        },
    )?;
    let mut total: Vec<Vec<f64>> = taps.iter().map(|t| vec![0.0; t.channels]).collect();
    for sums in &by_sample {
        for (total, one) in total.iter_mut().flatten().zip(sums.iter().flatten()) {
            *total += one / by_sample.len() as f64;
        }
    }
    Ok(total)
}
