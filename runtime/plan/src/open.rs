//! Bytes to a plan: everything that can be wrong is found here, once.

use core::fmt;

use limbeck_kernels::{ARITHMETIC, Isa};

use crate::info::OpInfo;
use crate::layout::{ALIGN, MAGIC, MAX_TENSORS, VERSION, checksum, header, op, size_at, tensor, u32_at};
use crate::op::Op;
use crate::tensor::{Place, Stored, Tensor};

/// A checked plan, borrowed from its bytes. Copying it copies a few offsets.
#[derive(Clone, Copy)]
pub struct Plan<'a> {
    bytes: &'a [u8],
    sections: Sections,
}

/// Where the lists lie, and what the arena must hold.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sections {
    tensors: Section,
    ops: Section,
    inputs: Section,
    outputs: Section,
    operands: Section,
    /// Bytes of the arena that tensors use.
    pub(crate) tensor_bytes: usize,
    /// Bytes of scratch behind them, on the portable path.
    pub(crate) scratch_bytes: usize,
}

#[derive(Debug, Clone, Copy)]
struct Section {
    at: usize,
    count: usize,
}

impl<'a> Plan<'a> {
    /// Checks bytes of any origin and alignment. Bytes behind the plan's own length are left alone.
    ///
    /// Takes one pass over the bytes (checksum, weight sums) and one over all pairs of tensors.
    ///
    /// # Errors
    /// The first thing that is wrong; see [`OpenError`].
    pub fn new_checked(bytes: &'a [u8]) -> Result<Plan<'a>, OpenError> {
        let bytes = check_header(bytes)?;
        let sections = Sections::parse(bytes).ok_or(OpenError::Sections)?;
        let mut plan = Plan { bytes, sections };
        plan.check_tensors()?;
        plan.check_ops()?;
        plan.check_ends()?;
        plan.check_clashes()?;
        plan.measure()?;
        Ok(plan)
    }

    /// Bytes of arena that [`Plan::run`] needs; another path may need more, see [`crate::PackedPlan::arena_bytes`].
    pub fn arena_bytes(&self) -> usize {
        arena_bytes(self.sections.tensor_bytes, self.sections.scratch_bytes)
    }

    /// The tensors that `run` fills from its inputs, in order.
    pub fn inputs(&self) -> impl Iterator<Item = Tensor<'a>> + use<'a> {
        let plan = *self;
        plan.input_tensors().map(|stored| stored.tensor)
    }

    /// The tensors that `run` hands back, in order.
    pub fn outputs(&self) -> impl Iterator<Item = Tensor<'a>> + use<'a> {
        let plan = *self;
        plan.output_tensors().map(|stored| stored.tensor)
    }

    /// The ops, in the order in which they run.
    pub fn ops(&self) -> impl Iterator<Item = OpInfo<'a>> + use<'a> {
        let plan = *self;
        plan.op_records().iter().filter_map(move |record| Some(Op::parse(record, &plan).ok()?.info(&plan)))
    }

    /// A plan whose bytes were checked before.
    #[cfg(feature = "emit")]
    pub(crate) fn from_checked(bytes: &'a [u8], sections: Sections) -> Plan<'a> {
        Plan { bytes, sections }
    }

    pub(crate) fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    pub(crate) fn sections(&self) -> Sections {
        self.sections
    }

    pub(crate) fn op_records(&self) -> &'a [[u8; op::LEN]] {
        self.list(self.sections.ops)
    }

    pub(crate) fn operands(&self) -> &'a [[u8; 4]] {
        self.list(self.sections.operands)
    }

    pub(crate) fn input_tensors(self) -> impl Iterator<Item = Stored<'a>> {
        self.ids(self.sections.inputs)
    }

    pub(crate) fn output_tensors(self) -> impl Iterator<Item = Stored<'a>> {
        self.ids(self.sections.outputs)
    }

    /// Tensor `id`, checked by itself.
    pub(crate) fn stored(&self, id: usize) -> Result<Stored<'a>, &'static str> {
        let record = self.tensor_records().get(id).ok_or("there is no such tensor")?;
        Stored::parse(record, self.bytes)
    }

    fn tensor_records(&self) -> &'a [[u8; tensor::LEN]] {
        self.list(self.sections.tensors)
    }

    /// Records of a section. `Sections::parse` saw them all inside the bytes.
    fn list<const N: usize>(&self, section: Section) -> &'a [[u8; N]] {
        self.bytes.get(section.at..section.at + section.count * N).unwrap_or(&[]).as_chunks().0
    }

    fn ids(self, section: Section) -> impl Iterator<Item = Stored<'a>> {
        self.list::<4>(section).iter().filter_map(move |id| self.stored(u32::from_le_bytes(*id) as usize).ok())
    }

    /// Step after the last op, at which outputs are read.
    fn last_step(&self) -> u32 {
        self.sections.ops.count as u32 + 1
    }

    fn check_tensors(&self) -> Result<(), OpenError> {
        for index in 0..self.sections.tensors.count {
            let stored = self.stored(index).map_err(|fault| OpenError::Tensor { index, fault })?;
            if stored.place.dies > self.last_step() {
                return Err(OpenError::Tensor { index, fault: "it outlives the plan" });
            }
        }
        Ok(())
    }

    /// Each op by itself, and that what it reads is alive and what it writes is born there.
    fn check_ops(&self) -> Result<(), OpenError> {
        for (index, record) in self.op_records().iter().enumerate() {
            let error = |fault| OpenError::Op { index, fault };
            let step = index as u32 + 1;
            let op = Op::parse(record, self).map_err(error)?;
            op.check_channels().map_err(error)?;
            if op.y.place.born != step {
                return Err(error("its output is written by another step"));
            }
            for id in op.operands {
                let x = self.stored(u32::from_le_bytes(*id) as usize).map_err(error)?;
                if !x.place.readable_at(step) {
                    return Err(error("it reads a tensor that holds no value there"));
                }
            }
        }
        Ok(())
    }

    /// Inputs are born at step 0, are distinct, and with the outputs of the ops make up all tensors; outputs live to the end.
    fn check_ends(&self) -> Result<(), OpenError> {
        let sections = self.sections;
        if sections.inputs.count + sections.ops.count != sections.tensors.count || sections.outputs.count == 0 {
            return Err(OpenError::Ends { fault: "a tensor is written twice or never, or there is no output" });
        }
        let inputs: &[[u8; 4]] = self.list(sections.inputs);
        for (n, id) in inputs.iter().enumerate() {
            let stored = self.stored(u32::from_le_bytes(*id) as usize).map_err(|fault| OpenError::Ends { fault })?;
            if stored.place.born != 0 || inputs[..n].contains(id) {
                return Err(OpenError::Ends { fault: "an input is listed twice or written by an op" });
            }
        }
        for id in self.list::<4>(sections.outputs) {
            let stored = self.stored(u32::from_le_bytes(*id) as usize).map_err(|fault| OpenError::Ends { fault })?;
            if stored.place.dies != self.last_step() {
                return Err(OpenError::Ends { fault: "an output does not live to the end" });
            }
        }
        Ok(())
    }

    /// No two tensors that live together share a byte of the arena, but for an operand that its op writes over.
    fn check_clashes(&self) -> Result<(), OpenError> {
        let records = self.tensor_records();
        for (index, record) in records.iter().enumerate() {
            let Some(place) = Place::parse(record) else { continue };
            let others = records[..index].iter().enumerate().filter_map(|(id, other)| Some((id, Place::parse(other)?)));
            for (other_id, other) in others.filter(|&(_, other)| place.clashes(other)) {
                if !self.hands_over((index, place), (other_id, other))
                    && !self.hands_over((other_id, other), (index, place))
                {
                    return Err(OpenError::Tensor { index, fault: "it overlaps a live tensor in the arena" });
                }
            }
        }
        Ok(())
    }

    /// Is `y` written over `x`, all of it, by an op that may, at the step where `x` dies?
    fn hands_over(&self, (x_id, x): (usize, Place), (y_id, y): (usize, Place)) -> bool {
        let op = || {
            let record = self.op_records().get((y.born as usize).checked_sub(1)?)?;
            let writes_y = size_at(record, op::Y) == y_id;
            Op::parse(record, self).ok().filter(|_| writes_y)
        };
        let reads_x = |op: &Op<'_>| op.operands.iter().any(|id| u32::from_le_bytes(*id) as usize == x_id);
        x.range() == y.range() && x.dies == y.born && op().is_some_and(|op| reads_x(&op) && op.may_write_over(x))
    }

    /// Sizes of the two parts of the arena.
    fn measure(&mut self) -> Result<(), OpenError> {
        let ends = self.tensor_records().iter().filter_map(Place::parse).map(|place| place.range().end);
        self.sections.tensor_bytes = ends.max().unwrap_or(0).next_multiple_of(ALIGN);
        for (index, record) in self.op_records().iter().enumerate() {
            let scratch = Op::parse(record, self).map(|op| op.scratch_bytes(Isa::PORTABLE));
            let scratch = scratch.map_err(|fault| OpenError::Op { index, fault })?;
            let scratch = scratch.filter(|&s| s <= i32::MAX as usize);
            let scratch = scratch.ok_or(OpenError::Op { index, fault: "it needs too much scratch" })?;
            self.sections.scratch_bytes = self.sections.scratch_bytes.max(scratch);
        }
        // Two halves below 2^31 each: with the slack this could pass a 32-bit usize.
        let sum = self.sections.tensor_bytes.checked_add(self.sections.scratch_bytes + ALIGN);
        sum.map(|_| ()).ok_or(OpenError::Sections)
    }
}

/// Tensors, scratch, and room to start at a multiple of `ALIGN`.
pub(crate) const fn arena_bytes(tensors: usize, scratch: usize) -> usize {
    tensors + scratch + (ALIGN - 1)
}

impl fmt::Debug for Plan<'_> {
    /// Sizes, not contents.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Sections { tensors, ops, .. } = self.sections;
        let mut out = f.debug_struct("Plan");
        out.field("bytes", &self.bytes.len()).field("tensors", &tensors.count).field("ops", &ops.count);
        out.field("arena_bytes", &self.arena_bytes()).finish()
    }
}

/// Cuts the bytes to the plan's own length once the header, the length and the checksum are right.
fn check_header(bytes: &[u8]) -> Result<&[u8], OpenError> {
    let Some(head) = bytes.first_chunk::<{ header::LEN }>() else {
        return Err(match bytes.starts_with(&MAGIC) {
            true => OpenError::Truncated { need: header::LEN, have: bytes.len() },
            false => OpenError::NotAPlan,
        });
    };
    if head[header::MAGIC..header::VERSION] != MAGIC {
        return Err(OpenError::NotAPlan);
    }
    let version = u32_at(head, header::VERSION);
    if version != VERSION {
        return Err(OpenError::OtherVersion { found: version, known: VERSION });
    }
    let length = size_at(head, header::LENGTH);
    let plan = bytes.get(..length).ok_or(OpenError::Truncated { need: length, have: bytes.len() })?;
    let (stored, computed) = (u32_at(head, header::CHECKSUM), checksum(plan));
    if stored != computed {
        return Err(OpenError::Corrupt { stored, computed });
    }
    let mut arithmetic = [0; header::ARITHMETIC_LEN];
    arithmetic[..ARITHMETIC.len()].copy_from_slice(ARITHMETIC.as_bytes());
    if head[header::ARITHMETIC..][..header::ARITHMETIC_LEN] != arithmetic {
        return Err(OpenError::OtherArithmetic);
    }
    Ok(plan)
}

impl Sections {
    /// The lists follow the header and each other.
    fn parse(plan: &[u8]) -> Option<Sections> {
        let head = plan.first_chunk::<{ header::LEN }>()?;
        let mut at = header::LEN;
        let mut next = |field, record_len: usize| {
            let section = Section { at, count: size_at(head, field) };
            at = at.checked_add(section.count.checked_mul(record_len)?)?;
            (at <= plan.len()).then_some(section)
        };
        let sections = Sections {
            tensors: next(header::TENSORS, tensor::LEN)?,
            ops: next(header::OPS, op::LEN)?,
            inputs: next(header::INPUTS, 4)?,
            outputs: next(header::OUTPUTS, 4)?,
            operands: next(header::OPERANDS, 4)?,
            tensor_bytes: 0,
            scratch_bytes: 0,
        };
        let small = sections.tensors.count <= MAX_TENSORS
            && sections.ops.count <= MAX_TENSORS
            && sections.inputs.count <= MAX_TENSORS;
        small.then_some(sections)
    }
}

/// Why bytes are not a plan that this build can run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpenError {
    /// The magic is missing: these bytes are something else.
    NotAPlan,
    /// Written in another version of the format; build the plan again from its model.
    OtherVersion {
        /// Version in the bytes.
        found: u32,
        /// Version of this build.
        known: u32,
    },
    /// The header promises more bytes than there are; copy the file again.
    Truncated {
        /// Bytes promised.
        need: usize,
        /// Bytes there.
        have: usize,
    },
    /// The checksum is wrong; copy the file again.
    Corrupt {
        /// Checksum in the header.
        stored: u32,
        /// Checksum of the bytes.
        computed: u32,
    },
    /// Made for another arithmetic than this build computes; running it would give other integers.
    OtherArithmetic,
    /// The lists do not fit the plan, or there are too many tensors.
    Sections,
    /// One tensor is impossible.
    Tensor {
        /// Which tensor.
        index: usize,
        /// What is wrong with it.
        fault: &'static str,
    },
    /// One op is impossible.
    Op {
        /// Which op.
        index: usize,
        /// What is wrong with it.
        fault: &'static str,
    },
    /// The lists of inputs and outputs are impossible.
    Ends {
        /// What is wrong with them.
        fault: &'static str,
    },
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const AGAIN: &str = "; build the plan again from its model";
        match *self {
            OpenError::NotAPlan => write!(f, "these bytes are not an int8 plan; pass a file that `quantize` wrote"),
            OpenError::OtherVersion { found, known } => {
                write!(f, "plan of format version {found}, this build reads {known}{AGAIN}")
            }
            OpenError::Truncated { need, have } => {
                write!(f, "plan cut short: {have} bytes of {need}; copy the file again")
            }
            OpenError::Corrupt { stored, computed } => {
                write!(f, "plan damaged: checksum {computed:08x}, its header says {stored:08x}; copy the file again")
            }
            OpenError::OtherArithmetic => {
                write!(f, "plan made for another arithmetic than {ARITHMETIC}{AGAIN}")
            }
            OpenError::Sections => write!(f, "plan with impossible list sizes{AGAIN}"),
            OpenError::Tensor { index, fault } => write!(f, "tensor {index} of the plan: {fault}{AGAIN}"),
            OpenError::Op { index, fault } => write!(f, "op {index} of the plan: {fault}{AGAIN}"),
            OpenError::Ends { fault } => write!(f, "inputs and outputs of the plan: {fault}{AGAIN}"),
        }
    }
}

impl core::error::Error for OpenError {}
