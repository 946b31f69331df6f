//! Plans that own their bytes, for callers that keep one around.

use alloc::vec::Vec;
use core::fmt;

use limbeck_kernels::Isa;

use crate::layout::PACKED_ALIGN;
use crate::open::{OpenError, Plan, Sections};
use crate::packed::{PackedPlan, Parts};
use crate::run::RunError;

/// Bytes checked once, opened any number of times for nothing.
#[derive(Clone)]
pub struct PlanBuf {
    bytes: Vec<u8>,
    sections: Sections,
}

impl PlanBuf {
    /// Checks the bytes (see [`Plan::new_checked`]) and keeps them.
    ///
    /// # Errors
    /// Those of [`Plan::new_checked`].
    pub fn new(bytes: Vec<u8>) -> Result<PlanBuf, OpenError> {
        let plan = Plan::new_checked(&bytes)?;
        let (sections, length) = (plan.sections(), plan.bytes().len());
        let mut bytes = bytes;
        bytes.truncate(length);
        Ok(PlanBuf { bytes, sections })
    }

    /// The plan. Costs nothing: the check is behind us.
    pub fn plan(&self) -> Plan<'_> {
        Plan::from_checked(&self.bytes, self.sections)
    }

    /// Packs the weights for a path.
    ///
    /// # Errors
    /// None while memory lasts; those of [`crate::Plan::pack`] otherwise.
    pub fn pack(self, isa: Isa) -> Result<PackedPlanBuf, RunError> {
        let mut memory = alloc::vec![0; self.plan().packed_bytes(isa)];
        let packed = self.plan().pack(isa, &mut memory)?;
        let parts = packed.parts();
        let start = memory.as_ptr().align_offset(PACKED_ALIGN).min(memory.len());
        Ok(PackedPlanBuf { plan: self, memory, start, parts })
    }

    /// The bytes, to be written to a file.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }
}

/// Plans are equal when their bytes are.
impl PartialEq for PlanBuf {
    fn eq(&self, other: &PlanBuf) -> bool {
        self.bytes == other.bytes
    }
}

impl Eq for PlanBuf {}

impl fmt::Debug for PlanBuf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.plan().fmt(f)
    }
}

/// A plan and its packed weights, ready to run. Not `Clone`: a copy of the memory would be aligned otherwise.
#[derive(Debug)]
pub struct PackedPlanBuf {
    plan: PlanBuf,
    memory: Vec<i8>,
    /// Where the packed weights start in `memory`.
    start: usize,
    parts: Parts,
}

impl PackedPlanBuf {
    /// The packed plan. Costs nothing: checking and packing are behind us.
    pub fn plan(&self) -> PackedPlan<'_> {
        PackedPlan::from_parts(self.plan.plan(), &self.memory[self.start..], self.parts)
    }

    /// The bytes of the plan itself.
    pub fn as_bytes(&self) -> &[u8] {
        self.plan.as_bytes()
    }

    /// Bytes of memory for packed weights.
    pub fn packed_bytes(&self) -> usize {
        self.memory.len()
    }
}
