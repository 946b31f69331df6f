//! A plan that owns its bytes, for callers that keep one around.

use alloc::vec::Vec;
use core::fmt;

use crate::open::{OpenError, Plan, Sections};

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
