//! A plan made ready for one path of this CPU: its weights packed in the order in which the path's inner loops read them.

use limbeck_kernels::Isa;
use limbeck_kernels::packed_conv::{self, Weights};
use limbeck_kernels::packed_depthwise::{self, DepthwiseShape};

use crate::info::PackedOpInfo;
use crate::layout::PACKED_ALIGN;
use crate::op::{Channels, Op, Work};
use crate::open::{Plan, arena_bytes};
use crate::run::RunError;

/// A plan and its packed weights. Copying it copies a few offsets.
#[derive(Clone, Copy)]
pub struct PackedPlan<'a> {
    plan: Plan<'a>,
    /// Weights of all ops that have a packed form, in order, from a multiple of [`PACKED_ALIGN`] on.
    weights: &'a [i8],
    parts: Parts,
}

/// What packing found out, besides the weights.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Parts {
    isa: Isa,
    scratch_bytes: usize,
}

impl<'a> Plan<'a> {
    /// Bytes of memory that [`Plan::pack`] needs for a path; 0 on the portable one.
    pub fn packed_bytes(&self, isa: Isa) -> usize {
        match self.packed_ops().map(|op| op.packed_bytes(isa)).sum() {
            0 => 0,
            bytes => bytes + PACKED_ALIGN - 1,
        }
    }

    /// Packs the weights for a path into lent memory of at least [`Plan::packed_bytes`] bytes, at any address.
    ///
    /// # Errors
    /// [`RunError::Packed`] when the memory is too small.
    pub fn pack(self, isa: Isa, memory: &'a mut [i8]) -> Result<PackedPlan<'a>, RunError> {
        let small = RunError::Packed { need: self.packed_bytes(isa), have: memory.len() };
        let start = memory.as_ptr().align_offset(PACKED_ALIGN).min(memory.len());
        let memory = &mut memory[start..];
        let mut rest = &mut *memory;
        for op in self.packed_ops() {
            let own;
            (own, rest) = rest.split_at_mut_checked(op.packed_bytes(isa)).ok_or(small)?;
            op.pack(isa, own);
        }
        let parts = Parts { isa, scratch_bytes: self.scratch_bytes_on(isa) };
        Ok(PackedPlan { plan: self, weights: memory, parts })
    }

    /// Bytes of arena that the plan needs once it is packed for a path: [`PackedPlan::arena_bytes`], known beforehand.
    pub fn arena_bytes_on(&self, isa: Isa) -> usize {
        arena_bytes(self.sections().tensor_bytes, self.scratch_bytes_on(isa))
    }

    /// Scratch of the hungriest op.
    fn scratch_bytes_on(&self, isa: Isa) -> usize {
        self.packed_ops().filter_map(|op| op.scratch_bytes(isa)).max().unwrap_or(0)
    }

    fn packed_ops(&self) -> impl Iterator<Item = Op<'a>> + use<'a> {
        let plan = *self;
        plan.op_records().iter().filter_map(move |record| Op::parse(record, &plan).ok())
    }
}

impl<'a> PackedPlan<'a> {
    pub(crate) fn portable(plan: Plan<'a>) -> PackedPlan<'a> {
        let parts = Parts { isa: Isa::PORTABLE, scratch_bytes: plan.sections().scratch_bytes };
        PackedPlan { plan, weights: &[], parts }
    }

    /// The plan with weights that [`Plan::pack`] wrote before.
    #[cfg(feature = "emit")]
    pub(crate) fn from_parts(plan: Plan<'a>, weights: &'a [i8], parts: Parts) -> PackedPlan<'a> {
        PackedPlan { plan, weights, parts }
    }

    #[cfg(feature = "emit")]
    pub(crate) fn parts(&self) -> Parts {
        self.parts
    }

    /// The plan as it was checked.
    pub fn plan(&self) -> Plan<'a> {
        self.plan
    }

    /// The path that computes.
    pub fn isa(&self) -> Isa {
        self.parts.isa
    }

    /// The ops, in the order in which they run, with what this path makes of them.
    pub fn ops(&self) -> impl Iterator<Item = PackedOpInfo<'a>> + use<'a> {
        let (plan, isa) = (self.plan, self.isa());
        plan.packed_ops().map(move |op| PackedOpInfo {
            op: op.info(&plan),
            isa: op.isa(isa),
            packed_bytes: op.packed_bytes(isa),
            scratch_bytes: op.scratch_bytes(isa).unwrap_or(0),
        })
    }

    /// Bytes of arena that [`PackedPlan::run`] needs.
    pub fn arena_bytes(&self) -> usize {
        arena_bytes(self.plan.sections().tensor_bytes, self.parts.scratch_bytes)
    }

    pub(crate) fn weights(&self) -> &'a [i8] {
        self.weights
    }

    pub(crate) fn scratch_bytes(&self) -> usize {
        self.parts.scratch_bytes
    }
}

impl Op<'_> {
    /// Writes its packed weights; `to` is `packed_bytes` long, and empty for an op without a packed form.
    fn pack(&self, isa: Isa, to: &mut [i8]) {
        let whole = |Channels { bias, scale }, weights| Weights { weights, bias, scale };
        match self.work {
            Work::Conv { weights, channels, .. } | Work::Dense { weights, channels, .. } => {
                let Some((_, shape)) = self.conv_shape() else { return };
                let Some(len) = packed_conv::packed_len(isa, &shape) else { return };
                packed_conv::pack(isa, &shape, &whole(channels, weights), &mut to[..len]);
            }
            Work::Depthwise { x, weights, channels, window } => {
                let shape = DepthwiseShape { x: x.image, window };
                let Some(len) = packed_depthwise::packed_len(isa, &shape) else { return };
                packed_depthwise::pack(isa, &shape, &whole(channels, weights), &mut to[..len]);
            }
            _ => {}
        }
    }
}
