//! Where each field lies (drawn in the crate doc). Every offset is built from the one before.

pub(crate) const MAGIC: [u8; 8] = *b"LIMBPLAN";
pub(crate) const VERSION: u32 = 1;

/// Most tensors of a plan. The check compares every pair, so the bound keeps hostile bytes from buying hours.
pub const MAX_TENSORS: usize = 4096;

/// Elements of the largest tensor, and bytes of the largest arena of tensors: what an i32 holds.
pub(crate) const MAX_BYTES: usize = i32::MAX as usize;

/// Every tensor starts at a multiple of this.
pub(crate) const ALIGN: usize = 16;

/// The packed weights of every op start at a multiple of this: a cache line.
pub(crate) const PACKED_ALIGN: usize = 64;

/// The header.
pub(crate) mod header {
    pub(crate) const MAGIC: usize = 0;
    pub(crate) const VERSION: usize = MAGIC + 8;
    pub(crate) const CHECKSUM: usize = VERSION + 4;
    pub(crate) const LENGTH: usize = CHECKSUM + 4;
    /// First byte that the checksum covers.
    pub(crate) const COVERED: usize = LENGTH;
    pub(crate) const ARITHMETIC: usize = LENGTH + 8;
    pub(crate) const ARITHMETIC_LEN: usize = 16;
    pub(crate) const TENSORS: usize = ARITHMETIC + ARITHMETIC_LEN;
    pub(crate) const OPS: usize = TENSORS + 4;
    pub(crate) const INPUTS: usize = OPS + 4;
    pub(crate) const OUTPUTS: usize = INPUTS + 4;
    pub(crate) const OPERANDS: usize = OUTPUTS + 4;
    pub(crate) const LEN: usize = OPERANDS + 8;
}

/// A tensor record.
pub(crate) mod tensor {
    pub(crate) const NAME: usize = 0;
    pub(crate) const NAME_LEN: usize = NAME + 4;
    pub(crate) const H: usize = NAME_LEN + 4;
    pub(crate) const W: usize = H + 4;
    pub(crate) const C: usize = W + 4;
    pub(crate) const SCALE: usize = C + 4;
    pub(crate) const AT: usize = SCALE + 4;
    pub(crate) const BORN: usize = AT + 4;
    pub(crate) const DIES: usize = BORN + 4;
    pub(crate) const ZERO: usize = DIES + 4;
    pub(crate) const LEN: usize = ZERO + 4;
}

/// An op record.
pub(crate) mod op {
    pub(crate) const KIND: usize = 0;
    pub(crate) const FLAG: usize = KIND + 1;
    pub(crate) const FIRST_OPERAND: usize = FLAG + 3;
    pub(crate) const OPERANDS: usize = FIRST_OPERAND + 4;
    pub(crate) const Y: usize = OPERANDS + 4;
    pub(crate) const NAME: usize = Y + 4;
    pub(crate) const NAME_LEN: usize = NAME + 4;
    pub(crate) const KERNEL: usize = NAME_LEN + 4;
    pub(crate) const STRIDE: usize = KERNEL + 4;
    pub(crate) const DILATION: usize = STRIDE + 4;
    pub(crate) const GROUPS: usize = DILATION + 4;
    pub(crate) const PAD: usize = GROUPS + 4;
    pub(crate) const WEIGHTS: usize = PAD + 8;
    pub(crate) const BIAS: usize = WEIGHTS + 4;
    pub(crate) const SCALE: usize = BIAS + 4;
    pub(crate) const LEN: usize = SCALE + 8;
}

/// The u32 at a constant offset of a record; the constants above keep it inside.
pub(crate) fn u32_at<const N: usize>(record: &[u8; N], at: usize) -> u32 {
    u32::from_le_bytes([record[at], record[at + 1], record[at + 2], record[at + 3]])
}

/// The same as a size. A plan of 4 GiB needs a 32-bit `usize`, the least that this crate supports.
pub(crate) fn size_at<const N: usize>(record: &[u8; N], at: usize) -> usize {
    u32_at(record, at) as usize
}

/// Two u16 at a constant offset: rows, then columns.
pub(crate) fn pair_at<const N: usize>(record: &[u8; N], at: usize) -> [usize; 2] {
    let field = u32_at(record, at) as usize;
    [field & 0xffff, field >> 16]
}

/// The crc32 that the header of `plan` should hold; `plan` is cut to its length.
pub(crate) fn checksum(plan: &[u8]) -> u32 {
    crc32fast::hash(plan.get(header::COVERED..).unwrap_or(&[]))
}
