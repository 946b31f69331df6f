//! One trained layer of a quantized file: float masters from its integers, and its integers from float masters.

use limbeck_engine::Layer;
use limbeck_engine::onnx::{Data, Graph, Model, Tensor};

use super::QuantizedOptions;
use super::constants::{constant, floats, set_constant};
use crate::error::AdaptError;
use crate::ops::integer::{WeightQuant, WeightScale, bias_integer};

/// A layer's place in the file, and how its masters become integers.
#[derive(Debug, Clone)]
pub(crate) struct TrainedLayer {
    pub layer: Layer,
    pub quant: WeightQuant,
    /// What the file's bias is beyond its master.
    pub offset: Vec<i32>,
    pub x_scale: f32,
    /// Names of the trained tensors: weights, bias, θ.
    pub weights: String,
    pub bias: Option<String>,
    pub theta: Option<String>,
}

/// First values of a layer's trained tensors.
pub(crate) struct Masters {
    pub weights: Tensor,
    pub bias: Option<Vec<f32>>,
    /// Weights and biases that are the float student's own.
    pub own: usize,
    /// Of how many.
    pub of: usize,
}

/// What the compiler knows of the layer.
pub(crate) struct Site<'a> {
    pub layer: &'a Layer,
    pub x_scale: f32,
    /// Output channels.
    pub channels: usize,
    /// It reads the input of the model.
    pub first: bool,
}

impl TrainedLayer {
    /// Open the layer at `site`. Where a float student is given and one of its values would be rounded to the file's integer, that is
    /// the master; else it is the integer times its scale. So what is trained starts at the file's integers, all of them.
    pub fn open(
        file: &Model,
        float: Option<&Model>,
        site: &Site<'_>,
        options: &QuantizedOptions,
    ) -> Result<(TrainedLayer, Masters), AdaptError> {
        let graph = &file.graph;
        let Site { layer, x_scale, channels, first } = *site;
        let missing = |what: &str| {
            AdaptError::Unsuitable(format!("layer \"{}\": {what}; leave it in float, or quantize again", layer.node))
        };
        let weights = constant(graph, &layer.weights).ok_or_else(|| missing("its weights are not a constant"))?;
        let Data::I8(integers) = &weights.data else { return Err(missing("its weights are not i8")) };
        let base = floats(graph, &layer.scale).ok_or_else(|| missing("its scales are not a constant"))?.to_vec();
        if integers.is_empty()
            || !(base.len() == 1 || base.len() == channels)
            || !integers.len().is_multiple_of(channels)
        {
            return Err(missing("its scales do not belong to its weights"));
        }
        let four = match options.weight_bits {
            Some(bits) => bits == 4,
            None => file.metadata.get(WEIGHT_BITS).is_some_and(|bits| bits == "4"),
        };
        let high = if four && integers.iter().all(|q| q.unsigned_abs() <= 7) { 7.0 } else { 127.0 };
        // Symmetric, unless the file itself goes to the last integer.
        let low = if integers.contains(&i8::MIN) { -128.0 } else { -high };
        let gain = if first { (64.0 * x_scale).log2().round().exp2() } else { 1.0 };
        let scale = WeightScale { base, learned: options.learned_scales };
        let quant = WeightQuant { scale, channels, transposed: layer.transposed, low, high, gain };

        let own = float.and_then(|model| model.graph.nodes.iter().find(|n| n.name == layer.node).map(|n| (n, model)));
        let own_tensor = |slot: usize| {
            let (node, model) = own?;
            model.graph.initializers.get(node.input(slot)?)
        };
        let own_weights = own_tensor(1).filter(|t| t.dims == weights.dims).and_then(Tensor::as_f32);
        let mut taken = 0;
        let zeros = vec![0.0; quant.scale.base.len()];
        let theta = quant.scale.learned.then_some(&zeros[..]);
        let from_file = quant.reals(integers);
        let candidates: Vec<f32> =
            own_weights.map_or_else(|| from_file.clone(), |w| w.iter().map(|w| w * gain).collect());
        let rounded = quant.integers(&candidates, theta);
        let masters = candidates.iter().zip(&rounded).zip(integers).zip(&from_file).map(|(((&w, &n), &q), &real)| {
            let agrees = n == q as f32 && w.is_finite();
            taken += (agrees && own_weights.is_some()) as usize;
            if agrees { w } else { real }
        });
        let masters = Tensor::f32(&weights.dims, masters.collect());
        let mut of = integers.len();

        let (mut offset, mut bias) = (vec![0; channels], None);
        if let Some(name) = &layer.bias {
            let tensor = constant(graph, name).ok_or_else(|| missing("its bias is not a constant"))?;
            let Data::I32(integers) = &tensor.data else { return Err(missing("its bias is not i32")) };
            if integers.len() != channels {
                return Err(missing("its bias has not one value a channel"));
            }
            let own = own_tensor(2).and_then(Tensor::as_f32).filter(|b| b.len() == channels);
            let mut values = vec![];
            for (c, &q) in integers.iter().enumerate() {
                let step = x_scale * WeightScale::of(&quant.scale.base, c);
                let own = own.map(|b| b[c]).filter(|&b| b.is_finite() && bias_integer(b, step, 0) == q);
                taken += own.is_some() as usize;
                let value = own.unwrap_or((q as f64 * step as f64) as f32);
                offset[c] = q - bias_integer(value, step, 0);
                values.push(value);
            }
            of += channels;
            bias = Some(values);
        }
        let name = master_name(&layer.weights);
        let trained = TrainedLayer {
            layer: layer.clone(),
            offset,
            x_scale,
            bias: layer.bias.as_deref().map(master_name),
            theta: quant.scale.learned.then(|| format!("{name}/log_scale")),
            weights: name,
            quant,
        };
        Ok((trained, Masters { weights: masters, bias, own: taken, of }))
    }

    /// Write the integers of trained values into the file that they came from. `value` gives a trained tensor by name.
    pub fn close<'v>(&self, graph: &mut Graph, value: impl Fn(&str) -> Option<&'v [f32]>) -> Result<(), AdaptError> {
        let lost =
            |what: &str| AdaptError::Unsuitable(format!("layer \"{}\": {what} not found in the file", self.layer.node));
        let weights = value(&self.weights).ok_or_else(|| lost(&self.weights))?;
        let theta = self.theta.as_ref().map(|name| value(name).ok_or_else(|| lost(name))).transpose()?;
        let integers = self.quant.integers(weights, theta).into_iter().map(|n| n as i8).collect();
        let scales = self.quant.scale.values(theta);
        let mut put = |name: &str, data: Data| if set_constant(graph, name, data) { Ok(()) } else { Err(lost(name)) };
        put(&self.layer.weights, Data::I8(integers))?;
        if let (Some(bias), Some(name)) = (&self.bias, &self.layer.bias) {
            let values = value(bias).ok_or_else(|| lost(bias))?;
            let step = |c: usize| self.x_scale * WeightScale::of(&scales, c);
            let integer = |(c, b): (usize, &f32)| bias_integer(*b, step(c), self.offset[c]);
            put(name, Data::I32(values.iter().enumerate().map(integer).collect()))?;
        }
        if theta.is_some() {
            if let Some(name) = &self.layer.bias_scale {
                put(name, Data::F32(scales.iter().map(|s| self.x_scale * s).collect()))?;
            }
            put(&self.layer.scale, Data::F32(scales))?;
        }
        Ok(())
    }
}

/// Metadata key of a file whose weights are within ±7.
pub(crate) const WEIGHT_BITS: &str = "limbeck.weight_bits";

/// The trained tensor's name from that of its integers, as `limbeck quantize` and onnxruntime make the latter from the former.
fn master_name(integers: &str) -> String {
    let plain = integers.strip_suffix("/q").or_else(|| integers.strip_suffix("_quantized"));
    plain.filter(|p| !p.is_empty()).unwrap_or(integers).to_owned()
}
