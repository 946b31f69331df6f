//! What a report says of the ops of a plan, and which path computes each.

use limbeck_kernels::Isa;

use crate::op::{Op, OpKind, Work};
use crate::open::Plan;
use crate::tensor::Tensor;

/// What a report says of one op.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct OpInfo<'a> {
    /// Name in the model it came from.
    pub name: &'a str,
    /// Which computation.
    pub kind: OpKind,
    /// Multiply-accumulates of one run; 0 for ops that do not multiply weights.
    pub macs: u64,
    /// Rows and columns of its kernel; 1 and 1 for an op without one.
    pub kernel: [usize; 2],
    /// Bytes of activations that it reads: all of every operand.
    pub input_bytes: usize,
    /// Bytes of the plan that it reads: weights, biases and multipliers, table or indices.
    pub constant_bytes: usize,
    /// The tensor it writes.
    pub output: Tensor<'a>,
}

/// The same op on one path.
#[derive(Clone, Copy, Debug)]
pub struct PackedOpInfo<'a> {
    /// The op.
    pub op: OpInfo<'a>,
    /// The path that computes it: the plan's, or the portable one where that has nothing of its own for this op.
    pub isa: Isa,
    /// Bytes of its packed weights, 0 when it has no packed form on the plan's path.
    pub packed_bytes: usize,
    /// Bytes of scratch that it uses in the arena.
    pub scratch_bytes: usize,
}

impl<'a> Op<'a> {
    /// What a report says of it.
    pub(crate) fn info(&self, plan: &Plan<'a>) -> OpInfo<'a> {
        let operand = |id: &[u8; 4]| plan.stored(u32::from_le_bytes(*id) as usize).map_or(0, |x| x.place.len);
        OpInfo {
            name: self.name,
            kind: self.kind,
            macs: self.macs(),
            kernel: self.kernel(),
            input_bytes: self.operands.iter().map(operand).sum(),
            constant_bytes: self.constant_bytes(),
            output: self.y.tensor,
        }
    }

    /// The path that computes it in a plan that is packed for `isa`.
    pub(crate) fn isa(&self, isa: Isa) -> Isa {
        match self.work {
            Work::Conv { .. } | Work::Depthwise { .. } | Work::Dense { .. } => {
                if self.packed_bytes(isa) > 0 {
                    isa
                } else {
                    Isa::PORTABLE
                }
            }
            Work::Add { .. } | Work::Mul { .. } | Work::AveragePool { .. } | Work::MaxPool { .. } => {
                isa.without_weights()
            }
            Work::Concat | Work::Table { .. } | Work::Pad { .. } | Work::Resize { .. } => Isa::PORTABLE,
        }
    }

    fn kernel(&self) -> [usize; 2] {
        match self.work {
            Work::Conv { window, .. } | Work::Depthwise { window, .. } => window.kernel,
            Work::AveragePool { pool, .. } | Work::MaxPool { pool, .. } => pool.kernel,
            _ => [1, 1],
        }
    }

    fn constant_bytes(&self) -> usize {
        match self.work {
            Work::Conv { weights, channels, .. }
            | Work::Depthwise { weights, channels, .. }
            | Work::Dense { weights, channels, .. } => weights.len() + 8 * channels.bias.len(),
            Work::Table { table, .. } => table.len(),
            Work::Resize { rows, columns, .. } => 2 * (rows.len() + columns.len()),
            _ => 0,
        }
    }
}
