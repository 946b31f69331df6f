//! Each operator's integer form: its attributes and constants, in the terms of a plan.

use limbeck_plan::{ConvGeometry, PoolGeometry};

use super::{Activation, Kind, QdqGraph, Quant, Reason, Weights};
use crate::onnx::{Node, Tensor};
use crate::{functions, moves};

impl QdqGraph<'_> {
    pub(super) fn conv(&self, node: &Node) -> Result<Kind, Reason> {
        let Weights { dims, data: weights, scale } = self.weights(node.input(1).unwrap_or_default(), 0)?;
        let &[_, i, kh, kw] = dims else { return Err(format!("its kernel has rank {}", dims.len())) };
        if node.text("auto_pad").is_some_and(|a| a != "NOTSET") {
            return Err("it pads by auto_pad; normalise the model first".into());
        }
        let geometry = ConvGeometry {
            kernel: [to_u32(kh as i64)?, to_u32(kw as i64)?],
            stride: pair(node.ints("strides"), 1)?,
            dilation: pair(node.ints("dilations"), 1)?,
            pad: pads(node)?,
            groups: to_u32(node.int("group", 1))?,
        };
        // O I kh kw -> O kh kw I
        let mut hwio = Vec::with_capacity(weights.len());
        for w_o in weights.chunks_exact((i * kh * kw).max(1)) {
            for tap in 0..kh * kw {
                hwio.extend((0..i).map(|c| w_o[c * kh * kw + tap]));
            }
        }
        let bias = self.bias(node, &scale)?;
        Ok(Kind::Conv { weights: hwio, bias, scale, geometry })
    }

    pub(super) fn dense(&self, node: &Node) -> Result<Kind, Reason> {
        let plain = node.float("alpha", 1.0) == 1.0 && node.float("beta", 1.0) == 1.0 && node.int("transA", 0) == 0;
        if !plain {
            return Err("it has alpha, beta or transA".into());
        }
        let rows_are_outputs = node.op == "Gemm" && node.int("transB", 0) == 1;
        let axis = if rows_are_outputs { 0 } else { 1 };
        let Weights { dims, data, scale } = self.weights(node.input(1).unwrap_or_default(), axis)?;
        let &[rows, columns] = dims else { return Err(format!("its weights have rank {}", dims.len())) };
        let (outputs, weights) = if rows_are_outputs {
            (rows, data.to_vec())
        } else {
            (columns, (0..columns).flat_map(|o| (0..rows).map(move |i| data[i * columns + o])).collect())
        };
        if scale.len() != outputs {
            return Err("its weights are not scaled per output".into());
        }
        let bias = self.bias(node, &scale)?;
        Ok(Kind::Dense { weights, bias, scale })
    }

    pub(super) fn global_pool(&self, node: &Node, x: &str) -> Result<PoolGeometry, Reason> {
        if node.op == "ReduceMean" {
            let axes = node.ints("axes").or_else(|| self.graph.initializers.get(node.input(1)?)?.as_i64());
            let mut axes = axes.map(<[i64]>::to_vec).unwrap_or_default();
            axes.iter_mut().for_each(|a| *a = if *a < 0 { *a + 4 } else { *a });
            axes.sort_unstable();
            if axes != [2, 3] {
                return Err("it reduces other axes than height and width".into());
            }
        }
        let quantized = self.activation(x)?.name;
        let shape = self.shape(&quantized)?;
        Ok(PoolGeometry { kernel: [shape.h, shape.w], stride: [1, 1], pad: [0; 4], count_include_pad: false })
    }

    pub(super) fn pool(&self, node: &Node) -> Result<PoolGeometry, Reason> {
        let plain = node.int("ceil_mode", 0) == 0
            && node.text("auto_pad").is_none_or(|a| a == "NOTSET")
            && node.ints("dilations").is_none_or(|d| d.iter().all(|&d| d == 1))
            && node.outputs.get(1).is_none_or(String::is_empty);
        if !plain {
            return Err("it uses ceil_mode, auto_pad, dilations or index output".into());
        }
        let kernel = node.ints("kernel_shape").ok_or("it has no kernel_shape")?;
        Ok(PoolGeometry {
            kernel: pair(Some(kernel), 1)?,
            stride: pair(node.ints("strides"), 1)?,
            pad: pads(node)?,
            count_include_pad: node.int("count_include_pad", 0) == 1,
        })
    }

    /// The table of a function of one value.
    pub(super) fn table(&self, node: &Node, x: Quant, y: Quant) -> Result<Box<[i8; 256]>, Reason> {
        if let "Relu" | "Clip" = node.op.as_str() {
            let (low, high) = self.clip_range(node)?;
            return Ok(functions::table(|v| v.max(low as f64).min(high as f64), x, y));
        }
        let function = functions::function(node).ok_or_else(|| format!("{} has no table here", node.op))?;
        Ok(functions::table(function, x, y))
    }

    /// The operands of a product, the one of the output's shape first.
    pub(super) fn factors(&self, node: &Node, y: &str) -> Result<Vec<Activation>, Reason> {
        let factor = |slot: usize| self.activation(node.input(slot).unwrap_or_default());
        let mut factors = vec![factor(0)?, factor(1)?];
        let dims = self.sample_dims(y)?;
        if self.sample_dims(&factors[0].name)? != dims {
            factors.reverse();
        }
        let (a, b) = (self.sample_dims(&factors[0].name)?, self.sample_dims(&factors[1].name)?);
        let gate = dims.len() == 3 && b == [dims[0], 1, 1];
        if a == dims && (b == dims || gate) { Ok(factors) } else { Err("it broadcasts other axes than H and W".into()) }
    }

    pub(super) fn pad(&self, node: &Node, x: &str, y: Quant) -> Result<Kind, Reason> {
        if node.text("mode").is_some_and(|m| m != "constant") {
            return Err("it does not pad with a constant".into());
        }
        let given = |slot: usize| node.input(slot).map(|v| (v, self.constant(v)));
        let pads = match given(1) {
            None => node.ints("pads"),
            Some((_, tensor)) => tensor.and_then(Tensor::as_i64),
        };
        let axes = match given(3) {
            None => None,
            Some((v, tensor)) => {
                Some(tensor.and_then(Tensor::as_i64).ok_or_else(|| format!("\"{v}\" is not constant"))?)
            }
        };
        let value = match given(2) {
            None => node.float("value", 0.0),
            Some((v, tensor)) => match tensor.and_then(Tensor::as_f32) {
                Some(&[value]) if !value.is_nan() => value,
                _ => return Err(format!("its value \"{v}\" is not a constant")),
            },
        };
        let rank = self.sample_dims(x)?.len() + 1;
        let pad = moves::padding(pads.ok_or("its pads are not constant")?, axes, rank)?;
        Ok(Kind::Pad { pad, value: functions::quantize(value, y) })
    }

    pub(super) fn resize(&self, node: &Node, x: &str) -> Result<Kind, Reason> {
        let plain = node.text("mode").is_none_or(|m| m == "nearest")
            && node.text("keep_aspect_ratio_policy").is_none_or(|p| p == "stretch")
            && !node.attributes.contains_key("axes");
        if !plain {
            return Err("it interpolates, keeps an aspect ratio or names axes".into());
        }
        let (from, to) = (self.shape(x)?, self.shape(&node.outputs[0])?);
        let slot = if self.opset <= 10 { 1 } else { 2 };
        let sizes = [from, to].map(|s| [s.h as usize, s.w as usize]);
        // Where no size changes, onnxruntime copies, whatever the scales.
        let [h, w] = match from == to {
            true => [1.0, 1.0],
            false => moves::scales(node.input(slot).and_then(|v| self.constant(v)), sizes)?,
        };
        let axis = |axis: usize, scale: f32| {
            moves::Axis { from: sizes[0][axis], to: sizes[1][axis], scale }.nearest(node, self.opset)
        };
        Ok(Kind::Resize { rows: axis(0, h)?, columns: axis(1, w)? })
    }
}

fn to_u32(v: i64) -> Result<u32, Reason> {
    u32::try_from(v).map_err(|_| format!("a size of {v}"))
}

fn pair(ints: Option<&[i64]>, default: u32) -> Result<[u32; 2], Reason> {
    match ints {
        None => Ok([default; 2]),
        Some(&[a, b]) => Ok([to_u32(a)?, to_u32(b)?]),
        Some(other) => Err(format!("it works on {} axes, not 2", other.len())),
    }
}

/// ONNX order is all begins, then all ends: top, left, bottom, right.
fn pads(node: &Node) -> Result<[u32; 4], Reason> {
    match node.ints("pads") {
        None => Ok([0; 4]),
        Some(&[t, l, b, r]) => Ok([to_u32(t)?, to_u32(l)?, to_u32(b)?, to_u32(r)?]),
        Some(other) => Err(format!("it has {} pads, not 4", other.len())),
    }
}
