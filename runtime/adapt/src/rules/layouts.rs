//! Rules of operators with a data layout, in every layout: tract picks one by the CPU it was built for, and the importer
//! makes N C H W with O I H W kernels only (reference/training.md §7, pitfall 5).
//!
//! Each graph is built twice, in N C H W · O I H W and in the tested formats with axis moves around; both must have the same
//! loss and the same gradients. The first form is held against finite differences in `tests/finite_differences`.

use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use tract_core::internal::*;
use tract_core::ops::cnn::{Conv, Deconv, KernelFormat, MaxPool, PaddingSpec, PoolSpec, SumPool};
use tract_core::ops::nn::DataFormat;

use crate::differentiate::{Towards, differentiate};
use crate::loss::Loss;
use crate::ops::with_f32;

/// Relative L2 distance allowed between the gradients of two forms of one graph.
const TOLERANCE: f64 = 1e-5;
/// A gradient that cancels (the bias of an only channel before softmax) is rounding: this share of all counts as its size.
const CANCELLED: f64 = 0.1;

/// What is tested: an operator from `inputs` to `outputs` channels.
#[derive(Debug, Clone)]
struct Case {
    kind: Kind,
    size: [usize; 2],
    inputs: usize,
    outputs: usize,
    group: usize,
    kernel: [usize; 2],
    stride: [usize; 2],
    dilation: [usize; 2],
    before: [usize; 2],
    after: [usize; 2],
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Kind {
    Conv,
    Deconv,
    MaxPool,
    Average { counted: bool },
}

impl Case {
    fn spec(&self, data_format: DataFormat) -> PoolSpec {
        let padding = PaddingSpec::Explicit(self.before.into_iter().collect(), self.after.into_iter().collect());
        PoolSpec {
            data_format,
            kernel_shape: self.kernel.into_iter().collect(),
            padding,
            dilations: Some(self.dilation.into_iter().collect()),
            strides: Some(self.stride.into_iter().collect()),
            input_channels: self.inputs,
            output_channels: self.outputs,
        }
    }

    fn op(&self, data: DataFormat, kernel: KernelFormat) -> Box<dyn TypedOp> {
        let pool_spec = self.spec(data);
        match self.kind {
            Kind::Conv => Box::new(Conv { pool_spec, kernel_fmt: kernel, group: self.group, q_params: None }),
            Kind::Deconv => {
                Box::new(Deconv { pool_spec, kernel_format: kernel, adjustments: tvec!(0, 0), group: self.group })
            }
            Kind::MaxPool => Box::new(MaxPool { pool_spec, with_index_outputs: None }),
            Kind::Average { counted } => Box::new(SumPool { pool_spec, count_include_pad: counted, normalize: true }),
        }
    }

    /// Shape of w in O I H W.
    fn kernel_shape(&self) -> [usize; 4] {
        [self.outputs, self.inputs / self.group, self.kernel[0], self.kernel[1]]
    }

    /// x (1, C, H, W) scaled by a parameter, so that the operator's input has a gradient; then the operator. Parameters: the
    /// scale, then w and b where there are any; always as O I H W and N C H W.
    fn forward(&self, data: DataFormat, kernel: KernelFormat) -> TractResult<TypedModel> {
        let mut model = TypedModel::default();
        let shape = [1, self.inputs, self.size[0], self.size[1]];
        let x = model.add_source("x", f32::fact(shape))?;
        let scale = model.add_source("scale", f32::fact(shape))?;
        let mut value = model.wire_node("scaled", tract_core::ops::math::mul(), &[x, scale])?[0];
        if data.c_is_last() {
            value = model.wire_node("channels_last", AxisOp::Move(1, 3), &[value])?[0];
        }
        if !data.has_n() {
            value = model.wire_node("no_batch", AxisOp::Rm(0), &[value])?[0];
        }
        let mut inputs = tvec!(value);
        if matches!(self.kind, Kind::Conv | Kind::Deconv) {
            let w = model.add_source("w", f32::fact(self.kernel_shape()))?;
            let b = model.add_source("b", f32::fact([self.outputs]))?;
            inputs.push(self.kernel_in(&mut model, w, kernel)?);
            inputs.push(b);
        }
        let mut y = model.wire_node("tested", self.op(data, kernel), &inputs)?[0];
        if !data.has_n() {
            y = model.wire_node("batch", AxisOp::Add(0), &[y])?[0];
        }
        if data.c_is_last() {
            y = model.wire_node("channels_first", AxisOp::Move(3, 1), &[y])?[0];
        }
        model.select_output_outlets(&[y])?;
        Ok(model)
    }

    /// w, from O I H W. In the other two formats groups lie on the input channels: (O/G, G·I/G).
    fn kernel_in(&self, model: &mut TypedModel, w: OutletId, format: KernelFormat) -> TractResult<OutletId> {
        if format == KernelFormat::OIHW {
            return Ok(w);
        }
        let [o, i, ..] = self.kernel_shape();
        let dims = |dims: &[usize]| dims.iter().map(|d| d.to_dim()).collect::<TVec<TDim>>();
        let split = AxisOp::Reshape(0, dims(&[o]), dims(&[self.group, o / self.group]));
        let merge = AxisOp::Reshape(1, dims(&[self.group, i]), dims(&[self.group * i]));
        let mut ops = vec![split, AxisOp::Move(0, 1), merge]; // g o i h w, o g i h w, o gi h w
        match format {
            KernelFormat::OHWI => ops.push(AxisOp::Move(1, 3)),
            _ => ops.extend([AxisOp::Move(1, 3), AxisOp::Move(0, 3)]), // o h w i, h w i o
        }
        ops.into_iter().enumerate().try_fold(w, |w, (n, op)| Ok(model.wire_node(format!("w.{n}"), op, &[w])?[0]))
    }
}

/// The loss parts and the gradients, last parameter first.
fn gradients(forward: &TypedModel) -> TractResult<Vec<Vec<f32>>> {
    let loss = Loss { temperature: 2.0, teacher_weight: 1.0, label_weight: 0.5 };
    let trained: Vec<usize> = (1..forward.input_outlets()?.len()).collect();
    let graph =
        differentiate(forward, &trained, Towards::Loss(&loss)).map_err(|e| format_err!("{e}"))?.into_optimized()?;
    let slow = graph
        .nodes()
        .iter()
        .filter(|n| n.op_is::<Conv>() || n.op_is::<Deconv>() || n.op_is::<tract_core::ops::einsum::EinSum>());
    ensure!(slow.count() == 0, "nodes that build a model on every call");
    let mut seed = 1u64;
    let mut uniform = || {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    };
    let mut inputs = tvec!();
    for (i, outlet) in graph.input_outlets()?.to_vec().into_iter().enumerate() {
        let shape = graph.outlet_fact(outlet)?.shape.as_concrete().context("symbolic shape")?.to_vec();
        // x, teacher, label, then parameters
        let value = if i == 2 {
            tensor0(1i64)
        } else {
            let values: Vec<f32> = (0..shape.iter().product()).map(|_| uniform()).collect();
            Tensor::from_shape(&shape, &values)?
        };
        inputs.push(value.into_tvalue());
    }
    graph.into_runnable()?.run(inputs)?.iter().map(|t| with_f32(t, <[f32]>::to_vec)).collect()
}

fn compare(case: &Case) -> TractResult<()> {
    let expected = gradients(&case.forward(DataFormat::NCHW, KernelFormat::OIHW)?)?;
    let norm = |v: &mut dyn Iterator<Item = f64>| v.map(|v| v * v).sum::<f64>().sqrt();
    let all = norm(&mut expected[1..].iter().flatten().map(|&e| e as f64));
    ensure!(all > 1e-3, "the gradient vanishes");
    for data in [DataFormat::NCHW, DataFormat::NHWC, DataFormat::CHW, DataFormat::HWC] {
        for kernel in [KernelFormat::OIHW, KernelFormat::HWIO, KernelFormat::OHWI] {
            let found = gradients(&case.forward(data, kernel)?)?;
            for (i, (found, expected)) in found.iter().zip(&expected).enumerate() {
                let error = norm(&mut found.iter().zip(expected).map(|(&f, &e)| f as f64 - e as f64));
                let size = norm(&mut expected.iter().map(|&e| e as f64));
                ensure!(
                    found.len() == expected.len() && error <= TOLERANCE * (size + CANCELLED * all),
                    "{data:?} {kernel:?}: output {i} is off by {error:.2e} of {size:.2e}"
                );
            }
        }
    }
    Ok(())
}

fn cases() -> impl Strategy<Value = Case> {
    let kind = prop_oneof![
        4 => Just(Kind::Conv),
        4 => Just(Kind::Deconv),
        1 => Just(Kind::MaxPool),
        1 => any::<bool>().prop_map(|counted| Kind::Average { counted }),
    ];
    let group = prop_oneof![Just(1usize), Just(2), Just(4)];
    let pair = |range: std::ops::Range<usize>| [range.clone(), range];
    let geometry = (pair(5..9), pair(1..4), pair(1..3), pair(1..3), pair(0..3), pair(0..3));
    (kind, group, 1usize..3, geometry).prop_map(|(kind, group, per_group, geometry)| {
        let (size, kernel, stride, dilation, before, after) = geometry;
        let is_pool = !matches!(kind, Kind::Conv | Kind::Deconv);
        let dilation = if is_pool { [1; 2] } else { dilation };
        // Less padding than the window reaches, so that every output has a tap inside.
        let less = |pad: [usize; 2]| [0, 1].map(|axis| pad[axis].min((kernel[axis] - 1) * dilation[axis]));
        let outputs = if is_pool { 4 } else { group * per_group };
        let (before, after) = (less(before), less(after));
        Case { kind, size, inputs: 4, outputs, group, kernel, stride, dilation, before, after }
    })
}

#[test]
fn every_layout_has_the_same_gradients() {
    let config = Config { cases: 40, failure_persistence: None, max_shrink_iters: 30, ..Config::default() };
    let mut runner = TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &[11; 32]));
    let outcome = runner.run(&cases(), |case| compare(&case).map_err(|e| TestCaseError::fail(format!("{e:#}"))));
    outcome.unwrap_or_else(|e| panic!("{e}"));
}
