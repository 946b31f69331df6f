//! What a plan is built from: tensors and ops in execution order, in ONNX's terms.
//!
//! Weights are i8 with zero point 0 and one scale an output channel; biases are i32 at scale `sx * sw[c]`, as the QDQ file
//! holds them. Folding the zero point, computing M and placing tensors is [`crate::emit`]'s work.

use alloc::string::String;
use alloc::vec::Vec;

use limbeck_kernels::{Pool, Window};

use crate::op::{OpKind, mul_may_write_over};
use crate::tensor::Shape;

/// Index into [`PlanSpec::tensors`].
pub type TensorId = usize;

/// One integer tensor. Real value = (stored - zero) * scale.
#[derive(Clone, Debug, PartialEq)]
pub struct TensorSpec {
    /// Name in the model.
    pub name: String,
    /// Shape; a tensor (N, C) is `h = w = 1`.
    pub shape: Shape,
    /// Scale, a positive normal number.
    pub scale: f32,
    /// Zero point of the stored i8: the u8 zero point minus 128.
    pub zero: i8,
}

/// How a convolution slides. Each number is below 65,536.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConvGeometry {
    /// Rows, columns.
    pub kernel: [u32; 2],
    /// Rows, columns.
    pub stride: [u32; 2],
    /// Rows, columns; 1 is an ordinary kernel.
    pub dilation: [u32; 2],
    /// Top, left, bottom, right.
    pub pad: [u32; 4],
    /// Groups.
    pub groups: u32,
}

impl ConvGeometry {
    pub(crate) fn window(&self) -> Window {
        let two = |pair: [u32; 2]| pair.map(|n| n as usize);
        Window {
            kernel: two(self.kernel),
            stride: two(self.stride),
            dilation: two(self.dilation),
            pad: self.pad.map(|n| n as usize),
        }
    }
}

/// How a pool slides. Each number is below 65,536; padding is smaller than the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PoolGeometry {
    /// Rows, columns. A global pool's kernel is its input's height and width.
    pub kernel: [u32; 2],
    /// Rows, columns.
    pub stride: [u32; 2],
    /// Top, left, bottom, right.
    pub pad: [u32; 4],
    /// Whether an average divides by the whole kernel at the border. A max pool ignores it.
    pub count_include_pad: bool,
}

impl PoolGeometry {
    pub(crate) fn pool(&self) -> Pool {
        Pool {
            kernel: self.kernel.map(|n| n as usize),
            stride: self.stride.map(|n| n as usize),
            pad: self.pad.map(|n| n as usize),
        }
    }
}

/// One op. Names are those of the model's nodes.
#[derive(Clone, Debug, PartialEq)]
pub enum OpSpec {
    /// Convolution; depthwise when `groups` equals both the input's and the output's channels.
    Conv {
        /// Name.
        name: String,
        /// Input.
        x: TensorId,
        /// Output.
        y: TensorId,
        /// `O kh kw I/g`.
        weights: Vec<i8>,
        /// `O`, not folded.
        bias: Vec<i32>,
        /// Weight scale of each output channel, `O`.
        scale: Vec<f32>,
        /// How it slides.
        geometry: ConvGeometry,
    },
    /// Fully connected layer.
    Dense {
        /// Name.
        name: String,
        /// Input, of any shape.
        x: TensorId,
        /// Output, 1 x 1 x O.
        y: TensorId,
        /// `O I`, I in the stored order of x: `H W C` flattened.
        weights: Vec<i8>,
        /// `O`, not folded.
        bias: Vec<i32>,
        /// Weight scale of each output, `O`.
        scale: Vec<f32>,
    },
    /// Sum of two tensors of one shape.
    Add {
        /// Name.
        name: String,
        /// First term.
        a: TensorId,
        /// Second term.
        b: TensorId,
        /// Output.
        y: TensorId,
    },
    /// Product of two tensors.
    Mul {
        /// Name.
        name: String,
        /// First factor, of the output's shape.
        a: TensorId,
        /// Second factor, of the output's shape, or 1 x 1 x C: one value a channel.
        b: TensorId,
        /// Output.
        y: TensorId,
    },
    /// Average over windows.
    AveragePool {
        /// Name.
        name: String,
        /// Input.
        x: TensorId,
        /// Output.
        y: TensorId,
        /// How it slides.
        window: PoolGeometry,
    },
    /// Maximum over windows; scale and zero point stay.
    MaxPool {
        /// Name.
        name: String,
        /// Input.
        x: TensorId,
        /// Output.
        y: TensorId,
        /// How it slides.
        window: PoolGeometry,
    },
    /// Channels side by side; scale and zero point stay.
    Concat {
        /// Name.
        name: String,
        /// Inputs, in order.
        xs: Vec<TensorId>,
        /// Output.
        y: TensorId,
    },
    /// Rows and columns of one value round an image; scale and zero point stay.
    Pad {
        /// Name.
        name: String,
        /// Input.
        x: TensorId,
        /// Output.
        y: TensorId,
        /// Top, left, bottom, right; each below 65,536.
        pad: [u32; 4],
        /// What is written there, as stored: the zero point pads by the real number 0.
        value: i8,
    },
    /// Nearest-neighbour change of size; scale and zero point stay.
    Resize {
        /// Name.
        name: String,
        /// Input.
        x: TensorId,
        /// Output.
        y: TensorId,
        /// Row of the input that each row of the output is.
        rows: Vec<u16>,
        /// Column of the input that each column of the output is.
        columns: Vec<u16>,
    },
    /// Any function of one stored value.
    Table {
        /// Name.
        name: String,
        /// Input.
        x: TensorId,
        /// Output.
        y: TensorId,
        /// Stored answer to the stored value `index - 128`.
        table: [i8; 256],
    },
}

impl OpSpec {
    /// Name of the op.
    pub fn name(&self) -> &str {
        match self {
            OpSpec::Conv { name, .. }
            | OpSpec::Dense { name, .. }
            | OpSpec::Add { name, .. }
            | OpSpec::Mul { name, .. }
            | OpSpec::AveragePool { name, .. }
            | OpSpec::MaxPool { name, .. }
            | OpSpec::Concat { name, .. }
            | OpSpec::Pad { name, .. }
            | OpSpec::Resize { name, .. }
            | OpSpec::Table { name, .. } => name,
        }
    }

    /// The tensor it writes.
    pub fn output(&self) -> TensorId {
        match *self {
            OpSpec::Conv { y, .. }
            | OpSpec::Dense { y, .. }
            | OpSpec::Add { y, .. }
            | OpSpec::Mul { y, .. }
            | OpSpec::AveragePool { y, .. }
            | OpSpec::MaxPool { y, .. }
            | OpSpec::Concat { y, .. }
            | OpSpec::Pad { y, .. }
            | OpSpec::Resize { y, .. }
            | OpSpec::Table { y, .. } => y,
        }
    }

    /// The tensors it reads, in order.
    pub fn operands(&self) -> Vec<TensorId> {
        match self {
            OpSpec::Conv { x, .. }
            | OpSpec::Dense { x, .. }
            | OpSpec::AveragePool { x, .. }
            | OpSpec::MaxPool { x, .. }
            | OpSpec::Pad { x, .. }
            | OpSpec::Resize { x, .. }
            | OpSpec::Table { x, .. } => Vec::from([*x]),
            OpSpec::Add { a, b, .. } | OpSpec::Mul { a, b, .. } => Vec::from([*a, *b]),
            OpSpec::Concat { xs, .. } => xs.clone(),
        }
    }

    /// The operands that it may write over, if nobody reads them after it and they are as long as its output. `len` gives elements.
    pub(crate) fn may_write_over(&self, len: impl Fn(TensorId) -> usize) -> Vec<TensorId> {
        match self {
            OpSpec::Add { a, b, .. } => Vec::from([*a, *b]),
            OpSpec::Table { x, .. } => Vec::from([*x]),
            OpSpec::Mul { a, b, y, .. } if mul_may_write_over(len(*y), len(*b)) => Vec::from([*a, *b]),
            _ => Vec::new(),
        }
    }

    /// Which computation it becomes. `channels` are those of its input and its output.
    pub(crate) fn kind(&self, channels: [u32; 2]) -> OpKind {
        match self {
            OpSpec::Conv { geometry, .. } if channels == [geometry.groups; 2] => OpKind::Depthwise,
            OpSpec::Conv { .. } => OpKind::Conv,
            OpSpec::Dense { .. } => OpKind::Dense,
            OpSpec::Add { .. } => OpKind::Add,
            OpSpec::AveragePool { .. } => OpKind::AveragePool,
            OpSpec::MaxPool { .. } => OpKind::MaxPool,
            OpSpec::Concat { .. } => OpKind::Concat,
            OpSpec::Table { .. } => OpKind::Table,
            OpSpec::Mul { .. } => OpKind::Mul,
            OpSpec::Pad { .. } => OpKind::Pad,
            OpSpec::Resize { .. } => OpKind::Resize,
        }
    }
}

/// A whole integer region.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PlanSpec {
    /// All integer tensors: each an input or the output of one op.
    pub tensors: Vec<TensorSpec>,
    /// In execution order.
    pub ops: Vec<OpSpec>,
    /// Tensors that floats are quantized into.
    pub inputs: Vec<TensorId>,
    /// Tensors that are dequantized to floats.
    pub outputs: Vec<TensorId>,
}
