//! Is a spec a plan? Every refusal names the op and the tensor, in the model's words.

use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;

use limbeck_kernels::add::AddScales;
use limbeck_kernels::arithmetic::{is_multiplier, multiplier};
use limbeck_kernels::pad::Pad;

use crate::layout::MAX_TENSORS;
use crate::op::{average_ratio, product_scale};
use crate::open::OpenError;
use crate::spec::{OpSpec, PlanSpec, TensorId, TensorSpec};
use crate::tensor::Shape;

/// Checks everything that [`crate::emit`] promises to check, and returns M of each op that has one.
pub(crate) fn check(spec: &PlanSpec) -> Result<Vec<Vec<f32>>, EmitError> {
    check_tensors(spec)?;
    check_order(spec)?;
    spec.ops.iter().map(|op| OpCheck { spec, op }.check()).collect()
}

fn check_tensors(spec: &PlanSpec) -> Result<(), EmitError> {
    if spec.tensors.len() > MAX_TENSORS {
        return Err(EmitError::TooManyTensors { have: spec.tensors.len() });
    }
    for (what, list) in [("inputs", &spec.inputs), ("outputs", &spec.outputs)] {
        if list.is_empty() {
            return Err(EmitError::Empty { what });
        }
        if let Some(&id) = list.iter().find(|&&id| id >= spec.tensors.len()) {
            return Err(EmitError::UnknownTensor { op: what.to_string(), id, tensors: spec.tensors.len() });
        }
    }
    for t in &spec.tensors {
        let fault = |fault| EmitError::Tensor { tensor: t.name.clone(), fault };
        t.shape.checked_elements().ok_or_else(|| fault("its shape is empty or passes 2^31 elements"))?;
        if !is_multiplier(t.scale) {
            return Err(fault("its scale is not a positive normal number"));
        }
    }
    Ok(())
}

/// Each tensor is written exactly once, and before it is read.
fn check_order(spec: &PlanSpec) -> Result<(), EmitError> {
    let mut written = alloc::vec![false; spec.tensors.len()];
    let name = |id: TensorId| spec.tensors[id].name.clone();
    for &id in &spec.inputs {
        if core::mem::replace(&mut written[id], true) {
            return Err(EmitError::WrittenTwice { op: "inputs".to_string(), tensor: name(id) });
        }
    }
    for op in &spec.ops {
        let (reads, y) = (op.operands(), op.output());
        if let Some(&id) = reads.iter().chain([&y]).find(|&&id| id >= written.len()) {
            return Err(EmitError::UnknownTensor { op: op.name().to_string(), id, tensors: written.len() });
        }
        if let Some(&id) = reads.iter().find(|&&id| !written[id]) {
            return Err(EmitError::NotWritten { op: op.name().to_string(), tensor: name(id) });
        }
        if core::mem::replace(&mut written[y], true) {
            return Err(EmitError::WrittenTwice { op: op.name().to_string(), tensor: name(y) });
        }
    }
    match written.iter().position(|&w| !w) {
        Some(id) => Err(EmitError::NotWritten { op: "end of the plan".to_string(), tensor: name(id) }),
        None => Ok(()),
    }
}

struct OpCheck<'s> {
    spec: &'s PlanSpec,
    op: &'s OpSpec,
}

impl<'s> OpCheck<'s> {
    fn check(&self) -> Result<Vec<f32>, EmitError> {
        let y = self.tensor(self.op.output());
        match self.op {
            OpSpec::Conv { x, weights, bias, scale, geometry, .. } => {
                let x = self.tensor(*x);
                let (groups, window) = (geometry.groups, geometry.window());
                if groups == 0 || !x.shape.c.is_multiple_of(groups) || !y.shape.c.is_multiple_of(groups) {
                    return Err(self.fault(y, "its groups do not divide its channels"));
                }
                self.small(y, &[&geometry.kernel, &geometry.stride, &geometry.dilation, &geometry.pad])?;
                let image = x.shape.image();
                self.output(y, window.output(image.h, image.w), y.shape.c)?;
                let depth = window.taps() as u64 * (x.shape.c / groups) as u64;
                self.channels(x, y, weights, depth, bias, scale)
            }
            OpSpec::Dense { x, weights, bias, scale, .. } => {
                let x = self.tensor(*x);
                self.output(y, Some([1, 1]), y.shape.c)?;
                self.channels(x, y, weights, x.shape.elements() as u64, bias, scale)
            }
            OpSpec::Add { a, b, .. } => {
                let (a, b) = (self.tensor(*a), self.tensor(*b));
                self.shape(a, y.shape)?;
                self.shape(b, y.shape)?;
                AddScales::new(a.scale, b.scale, y.scale)
                    .ok_or_else(|| self.fault(y, "its scales are too far apart to add (shift outside 1 ..= 31)"))?;
                Ok(Vec::new())
            }
            OpSpec::AveragePool { x, window, .. } => {
                let x = self.tensor(*x);
                self.pool(x, y, window)?;
                average_ratio(x.scale, y.scale, window.pool().kernel).map_err(|fault| self.fault(y, fault))?;
                Ok(Vec::new())
            }
            OpSpec::MaxPool { x, window, .. } => {
                let x = self.tensor(*x);
                self.pool(x, y, window)?;
                self.moves(x, y)?;
                Ok(Vec::new())
            }
            OpSpec::Concat { xs, .. } => {
                let mut channels = 0u32;
                for &x in xs {
                    let x = self.tensor(x);
                    self.moves(x, y)?;
                    self.shape(x, Shape { c: x.shape.c, ..y.shape })?;
                    channels = channels.saturating_add(x.shape.c);
                }
                self.shape(y, Shape { c: channels, ..y.shape })?;
                Ok(Vec::new())
            }
            OpSpec::Table { x, .. } => {
                self.shape(self.tensor(*x), y.shape)?;
                Ok(Vec::new())
            }
            OpSpec::Mul { a, b, .. } => {
                let (a, b) = (self.tensor(*a), self.tensor(*b));
                self.shape(a, y.shape)?;
                if b.shape != (Shape { h: 1, w: 1, c: y.shape.c }) {
                    self.shape(b, y.shape)?;
                }
                product_scale(a.scale, b.scale, y.scale).map_err(|fault| self.fault(y, fault))?;
                Ok(Vec::new())
            }
            OpSpec::Pad { x, pad, .. } => {
                let x = self.tensor(*x);
                self.small(y, &[pad])?;
                self.output(y, Pad::output(x.shape.image(), pad.map(|n| n as usize)), x.shape.c)?;
                self.moves(x, y)?;
                Ok(Vec::new())
            }
            OpSpec::Resize { x, rows, columns, .. } => {
                let x = self.tensor(*x);
                self.output(y, Some([rows.len(), columns.len()]), x.shape.c)?;
                self.moves(x, y)?;
                let outside = |indices: &[u16], size: u32| indices.iter().any(|&i| i as u32 >= size);
                if outside(rows, x.shape.h) || outside(columns, x.shape.w) {
                    return Err(self.fault(x, "the op reads a row or column that it has not"));
                }
                Ok(Vec::new())
            }
        }
    }

    fn tensor(&self, id: TensorId) -> &'s TensorSpec {
        &self.spec.tensors[id]
    }

    fn fault(&self, tensor: &TensorSpec, fault: &'static str) -> EmitError {
        EmitError::Op { op: self.op.name().to_string(), tensor: tensor.name.clone(), fault }
    }

    fn small(&self, y: &TensorSpec, fields: &[&[u32]]) -> Result<(), EmitError> {
        let large = fields.iter().any(|field| field.iter().any(|&n| n > u16::MAX as u32));
        if large { Err(self.fault(y, "its geometry has a number above 65,535")) } else { Ok(()) }
    }

    fn shape(&self, tensor: &TensorSpec, need: Shape) -> Result<(), EmitError> {
        if tensor.shape == need {
            return Ok(());
        }
        let (op, tensor, have) = (self.op.name().to_string(), tensor.name.clone(), tensor.shape);
        Err(EmitError::Shape { op, tensor, need, have })
    }

    fn output(&self, y: &TensorSpec, size: Option<[usize; 2]>, c: u32) -> Result<(), EmitError> {
        let [h, w] = size.ok_or_else(|| self.fault(y, "its window does not fit its input"))?;
        self.shape(y, Shape { h: h as u32, w: w as u32, c })
    }

    fn pool(&self, x: &TensorSpec, y: &TensorSpec, window: &crate::spec::PoolGeometry) -> Result<(), EmitError> {
        self.small(y, &[&window.kernel, &window.stride, &window.pad])?;
        let image = x.shape.image();
        self.output(y, window.pool().output(image.h, image.w), x.shape.c)
    }

    /// An op that only moves values keeps scale and zero point.
    fn moves(&self, x: &TensorSpec, y: &TensorSpec) -> Result<(), EmitError> {
        if x.scale == y.scale && x.zero == y.zero {
            return Ok(());
        }
        Err(self.fault(x, "its scale or zero point differs from the output's; quantize both with one scale"))
    }

    /// Lengths, M, and the bound on the accumulator.
    fn channels(
        &self,
        x: &TensorSpec,
        y: &TensorSpec,
        weights: &[i8],
        depth: u64,
        bias: &[i32],
        scale: &[f32],
    ) -> Result<Vec<f32>, EmitError> {
        let o = y.shape.c as u64;
        let lengths =
            [("weights", weights.len(), depth.saturating_mul(o)), ("bias", bias.len(), o), ("scales", scale.len(), o)];
        for (what, have, need) in lengths {
            if have as u64 != need {
                let (op, tensor) = (self.op.name().to_string(), y.name.clone());
                return Err(EmitError::Length { op, tensor, what, need, have });
            }
        }
        let mut multipliers = Vec::with_capacity(scale.len());
        for (channel, (w_o, (&bias, &scale))) in
            weights.chunks_exact(depth as usize).zip(bias.iter().zip(scale)).enumerate()
        {
            let (op, tensor) = (|| self.op.name().to_string(), || y.name.clone());
            let bound = 256 * w_o.iter().map(|w| w.unsigned_abs() as u64).sum::<u64>() + bias.unsigned_abs() as u64;
            if bound > i32::MAX as u64 {
                return Err(EmitError::Accumulator { op: op(), tensor: tensor(), channel, bound });
            }
            let value = multiplier(x.scale, scale, y.scale);
            if !is_multiplier(value) {
                return Err(EmitError::Multiplier { op: op(), tensor: tensor(), channel, value });
            }
            multipliers.push(value);
        }
        Ok(multipliers)
    }
}

/// Why a spec is not a plan. Fields `op` and `tensor` are names from the model.
#[derive(Clone, Debug, PartialEq)]
pub enum EmitError {
    /// The plan has no inputs or no outputs.
    Empty {
        /// Which list.
        what: &'static str,
    },
    /// More than [`MAX_TENSORS`].
    TooManyTensors {
        /// How many.
        have: usize,
    },
    /// A tensor is impossible by itself.
    Tensor {
        /// The tensor.
        tensor: String,
        /// What is wrong with it.
        fault: &'static str,
    },
    /// An id points at no tensor.
    UnknownTensor {
        /// The op, or the list.
        op: String,
        /// The id.
        id: TensorId,
        /// How many tensors there are.
        tensors: usize,
    },
    /// A tensor is read before anything writes it, or never written.
    NotWritten {
        /// The op that reads it.
        op: String,
        /// The tensor.
        tensor: String,
    },
    /// A second op writes a tensor.
    WrittenTwice {
        /// The second writer.
        op: String,
        /// The tensor.
        tensor: String,
    },
    /// A tensor has another shape than its op gives or needs.
    Shape {
        /// The op.
        op: String,
        /// The tensor.
        tensor: String,
        /// Shape that the op gives or needs.
        need: Shape,
        /// Shape of the tensor.
        have: Shape,
    },
    /// An op cannot do what is asked.
    Op {
        /// The op.
        op: String,
        /// The tensor concerned.
        tensor: String,
        /// What is wrong.
        fault: &'static str,
    },
    /// Weights, biases or scales have the wrong number of elements.
    Length {
        /// The op.
        op: String,
        /// Its output.
        tensor: String,
        /// Which list.
        what: &'static str,
        /// Elements needed.
        need: u64,
        /// Elements there.
        have: usize,
    },
    /// 256 * sum|w| + |bias| reaches 2^31.
    Accumulator {
        /// The op.
        op: String,
        /// Its output.
        tensor: String,
        /// Output channel.
        channel: usize,
        /// The bound.
        bound: u64,
    },
    /// M of a channel is not a positive normal f32.
    Multiplier {
        /// The op.
        op: String,
        /// Its output.
        tensor: String,
        /// Output channel.
        channel: usize,
        /// sx * sw / sy.
        value: f32,
    },
    /// The plan would pass 4 GiB, or its arena 2 GiB.
    TooLarge,
    /// The finished bytes do not open: a fault of this crate, not of the spec.
    Refused(OpenError),
}

impl fmt::Display for EmitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const FLOAT: &str = "; leave the op in float";
        match self {
            EmitError::Empty { what } => write!(f, "a plan without {what}; give at least one tensor"),
            EmitError::TooManyTensors { have } => {
                write!(f, "{have} tensors, a plan holds {MAX_TENSORS}; split the region")
            }
            EmitError::Tensor { tensor, fault } => write!(f, "tensor {tensor:?}: {fault}; quantize the model again"),
            EmitError::UnknownTensor { op, id, tensors } => {
                write!(f, "op {op:?} names tensor {id} of {tensors}; the region is inconsistent")
            }
            EmitError::NotWritten { op, tensor } => {
                write!(f, "op {op:?} needs tensor {tensor:?}, which nothing has written; sort the ops")
            }
            EmitError::WrittenTwice { op, tensor } => {
                write!(f, "op {op:?} writes tensor {tensor:?}, which is written already; give it its own tensor")
            }
            EmitError::Shape { op, tensor, need, have } => {
                write!(f, "op {op:?}: tensor {tensor:?} is {have}, the op makes it {need}; run shape inference again")
            }
            EmitError::Op { op, tensor, fault } => write!(f, "op {op:?}, tensor {tensor:?}: {fault}{FLOAT}"),
            EmitError::Length { op, tensor, what, need, have } => {
                write!(
                    f,
                    "op {op:?}, tensor {tensor:?}: {have} {what} where {need} are needed; quantize the model again"
                )
            }
            EmitError::Accumulator { op, tensor, channel, bound } => write!(
                f,
                "op {op:?}, tensor {tensor:?}, channel {channel}: the accumulator may reach {bound}, past 2^31{FLOAT}"
            ),
            EmitError::Multiplier { op, tensor, channel, value } => write!(
                f,
                "op {op:?}, tensor {tensor:?}, channel {channel}: multiplier {value:e} is not a positive normal number{FLOAT}"
            ),
            EmitError::TooLarge => write!(f, "the plan would pass 4 GiB, or its arena 2 GiB; split the region"),
            EmitError::Refused(open) => write!(f, "the finished plan does not open ({open}); please report this"),
        }
    }
}

impl core::error::Error for EmitError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            EmitError::Refused(open) => Some(open),
            _ => None,
        }
    }
}
