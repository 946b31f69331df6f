//! Running a plan in a lent arena: floats in, floats out, integers between.
//!
//! [`PackedPlan::run`] takes the ops in order; each finds its packed weights behind those of the op before. [`Plan::run`] is the
//! same on the portable path, for which nothing is packed.

use core::fmt;
use core::ops::Range;

use limbeck_kernels::Isa;
use limbeck_kernels::add::{self, Add};
use limbeck_kernels::average_pool::{self, AveragePool};
use limbeck_kernels::concat::{self, Concat};
use limbeck_kernels::conv::{self, Conv};
use limbeck_kernels::dense::{self, Dense};
use limbeck_kernels::depthwise::{self, Depthwise};
use limbeck_kernels::dequantize_f32::{self, Dequantize};
use limbeck_kernels::max_pool::{self, MaxPool};
use limbeck_kernels::mul::{self, Mul};
use limbeck_kernels::packed_conv::{self, PackedConv};
use limbeck_kernels::packed_depthwise::{self, DepthwiseShape, PackedDepthwise};
use limbeck_kernels::pad::{self, Pad};
use limbeck_kernels::quantize_f32::{self, Quantize};
use limbeck_kernels::resize::{self, Resize};
use limbeck_kernels::table::{self, Table};

use crate::layout::ALIGN;
use crate::op::{Channels, Op, Work};
use crate::open::Plan;
use crate::packed::PackedPlan;
use crate::tensor::Tensor;

impl<'a> Plan<'a> {
    /// One inference on the portable path, from the weights as the plan holds them: see [`PackedPlan::run`].
    ///
    /// # Errors
    /// Those of [`PackedPlan::run`].
    pub fn run(
        &self,
        inputs: &[&[f32]],
        outputs: &mut [&mut [f32]],
        arena: &mut [i8],
        observe: impl FnMut(Tensor<'a>, &[i8]),
    ) -> Result<(), RunError> {
        PackedPlan::portable(*self).run(inputs, outputs, arena, observe)
    }
}

impl<'a> PackedPlan<'a> {
    /// One inference. `inputs` and `outputs` are `C H W` floats, in the order of [`Plan::inputs`] and [`Plan::outputs`]; the
    /// arena has at least [`PackedPlan::arena_bytes`] bytes, at any address, of any content.
    ///
    /// `observe` sees every integer tensor (`H W C`) just after it is written, inputs first: to hash it, or to time the op.
    /// NaN in an input counts as 0.
    ///
    /// # Errors
    /// A slice of the wrong size, before anything is computed; or [`RunError::Damaged`].
    pub fn run(
        &self,
        inputs: &[&[f32]],
        outputs: &mut [&mut [f32]],
        arena: &mut [i8],
        mut observe: impl FnMut(Tensor<'a>, &[i8]),
    ) -> Result<(), RunError> {
        let (plan, isa) = (self.plan(), self.isa());
        plan.check_sizes(inputs, outputs)?;
        let small = RunError::Arena { need: self.arena_bytes(), have: arena.len() };
        let start = arena.as_ptr().align_offset(ALIGN);
        let arena = arena.get_mut(start..).ok_or(small)?;
        let (arena, scratch) = arena.split_at_mut_checked(plan.sections().tensor_bytes).ok_or(small)?;
        let scratch = scratch.get_mut(..self.scratch_bytes()).ok_or(small)?;

        for (stored, x) in plan.input_tensors().zip(inputs) {
            let Tensor { scale, zero, .. } = stored.tensor;
            let y = arena.get_mut(stored.place.range()).ok_or(RunError::Damaged)?;
            quantize_f32::run(isa, &Quantize { x, shape: stored.image, scale, zero }, y);
            observe(stored.tensor, y);
        }
        let mut packed = self.weights();
        for record in plan.op_records() {
            let op = Op::parse(record, &plan).map_err(|_| RunError::Damaged)?;
            let (own, rest) = packed.split_at_checked(op.packed_bytes(isa)).ok_or(RunError::Damaged)?;
            packed = rest;
            Step { plan, isa, op: &op, packed: own }.run(arena, scratch)?;
            let y = arena.get(op.y.place.range()).ok_or(RunError::Damaged)?;
            observe(op.y.tensor, y);
        }
        for (stored, y) in plan.output_tensors().zip(outputs) {
            let Tensor { scale, zero, .. } = stored.tensor;
            let x = arena.get(stored.place.range()).ok_or(RunError::Damaged)?;
            dequantize_f32::run(isa, &Dequantize { x, shape: stored.image, scale, zero }, y);
        }
        Ok(())
    }
}

impl Plan<'_> {
    fn check_sizes(&self, inputs: &[&[f32]], outputs: &[&mut [f32]]) -> Result<(), RunError> {
        let (need_in, need_out) = (self.inputs().count(), self.outputs().count());
        if inputs.len() != need_in || outputs.len() != need_out {
            let have = [inputs.len(), outputs.len()];
            return Err(RunError::Count { need: [need_in, need_out], have });
        }
        for (index, (tensor, x)) in self.inputs().zip(inputs).enumerate() {
            if tensor.shape.elements() != x.len() {
                return Err(RunError::Input { index, need: tensor.shape.elements(), have: x.len() });
            }
        }
        for (index, (tensor, y)) in self.outputs().zip(outputs).enumerate() {
            if tensor.shape.elements() != y.len() {
                return Err(RunError::Output { index, need: tensor.shape.elements(), have: y.len() });
            }
        }
        Ok(())
    }
}

/// One op, from the arena into the arena.
struct Step<'s, 'a> {
    plan: Plan<'a>,
    isa: Isa,
    op: &'s Op<'a>,
    /// Its packed weights; empty when it has no packed form.
    packed: &'a [i8],
}

impl Step<'_, '_> {
    fn run(&self, arena: &mut [i8], scratch: &mut [i8]) -> Result<(), RunError> {
        let Step { plan, isa, op, packed } = *self;
        // True of bytes that are still what was checked.
        if op.scratch_bytes(isa).is_none_or(|need| need > scratch.len()) {
            return Err(RunError::Damaged);
        }
        let y_range = op.y.place.range();
        let y_zero = op.y.tensor.zero;
        match op.work {
            Work::Conv { .. } | Work::Dense { .. } if !packed.is_empty() => {
                let (from, shape) = op.conv_shape().ok_or(RunError::Damaged)?;
                let (x, y) = lend(arena, from.place.range(), y_range)?;
                let packed = unpadded(packed, packed_conv::packed_len(isa, &shape))?;
                let conv = PackedConv { x, shape, x_zero: from.tensor.zero, y_zero, packed };
                packed_conv::run(isa, &conv, y, scratch);
            }
            Work::Depthwise { x: from, window, .. } if !packed.is_empty() => {
                let (x, y) = lend(arena, from.place.range(), y_range)?;
                let shape = DepthwiseShape { x: from.image, window };
                let packed = unpadded(packed, packed_depthwise::packed_len(isa, &shape))?;
                let depthwise = PackedDepthwise { x, shape, x_zero: from.tensor.zero, y_zero, packed };
                packed_depthwise::run(isa, &depthwise, y, scratch);
            }
            Work::Conv { x: from, weights, channels, window, groups } => {
                let (x, y) = lend(arena, from.place.range(), y_range)?;
                let Unpacked { bias, scale, rest: patches } = unpack(channels, scratch)?;
                let (x_shape, x_zero) = (from.image, from.tensor.zero);
                let patches = bytemuck::try_cast_slice_mut(patches).map_err(|_| RunError::Damaged)?;
                if patches.len() < conv::scratch_len(&window, x_shape.c, groups) {
                    return Err(RunError::Damaged);
                }
                conv::portable(&Conv { x, x_shape, x_zero, weights, bias, scale, y_zero, window, groups }, y, patches);
            }
            Work::Depthwise { x: from, weights, channels, window } => {
                let (x, y) = lend(arena, from.place.range(), y_range)?;
                let Unpacked { bias, scale, .. } = unpack(channels, scratch)?;
                let (x_shape, x_zero) = (from.image, from.tensor.zero);
                depthwise::portable(&Depthwise { x, x_shape, x_zero, weights, bias, scale, y_zero, window }, y);
            }
            Work::Dense { x: from, weights, channels } => {
                let (x, y) = lend(arena, from.place.range(), y_range)?;
                let Unpacked { bias, scale, .. } = unpack(channels, scratch)?;
                dense::portable(&Dense { x, weights, bias, scale, y_zero }, y);
            }
            Work::Add { a: from_a, b: from_b, scales } => {
                let (a_zero, b_zero) = (from_a.tensor.zero, from_b.tensor.zero);
                binary(arena, [from_a.place.range(), from_b.place.range()], y_range, BLOCK, |a, b, y| {
                    add::run(isa, &Add { a, a_zero, b, b_zero, scales, y_zero }, y);
                })?;
            }
            Work::AveragePool { x: from, pool, count, ratio } => {
                let (x, y) = lend(arena, from.place.range(), y_range)?;
                let (x_shape, x_zero) = (from.image, from.tensor.zero);
                average_pool::run(isa, &AveragePool { x, x_shape, x_zero, ratio, y_zero, pool, count }, y);
            }
            Work::MaxPool { x: from, pool } => {
                let (x, y) = lend(arena, from.place.range(), y_range)?;
                max_pool::run(isa, &MaxPool { x, x_shape: from.image, pool }, y);
            }
            Work::Concat => {
                let (y_channels, mut at) = (op.y.image.c, 0);
                for id in op.operands {
                    let from = plan.stored(u32::from_le_bytes(*id) as usize).map_err(|_| RunError::Damaged)?;
                    let x_channels = from.image.c;
                    if at + x_channels > y_channels {
                        return Err(RunError::Damaged);
                    }
                    let (x, y) = lend(arena, from.place.range(), y_range.clone())?;
                    concat::portable(&Concat { x, x_channels, y_channels, at }, y);
                    at += x_channels;
                }
            }
            Work::Table { x: from, table } if from.place.range() == y_range => {
                let y = arena.get_mut(y_range).ok_or(RunError::Damaged)?;
                over(y, BLOCK, |x, _, y| table::run(isa, &Table { x, table }, y));
            }
            Work::Table { x: from, table } => {
                let (x, y) = lend(arena, from.place.range(), y_range)?;
                table::run(isa, &Table { x, table }, y);
            }
            Work::Mul { a: from_a, b: from_b, scale } => {
                let (a_zero, b_zero) = (from_a.tensor.zero, from_b.tensor.zero);
                let (a_range, b_range) = (from_a.place.range(), from_b.place.range());
                let block = if b_range.len() < y_range.len() { whole_pixels(b_range.len()) } else { BLOCK };
                binary(arena, [a_range, b_range], y_range, block, |a, b, y| {
                    mul::run(isa, &Mul { a, a_zero, b, b_zero, scale, y_zero }, y);
                })?;
            }
            Work::Pad { x: from, pad, value } => {
                let (x, y) = lend(arena, from.place.range(), y_range)?;
                pad::portable(&Pad { x, x_shape: from.image, pad, value }, y);
            }
            Work::Resize { x: from, rows, columns } => {
                let (x, y) = lend(arena, from.place.range(), y_range)?;
                resize::portable(&Resize { x, x_shape: from.image, rows, columns }, y);
            }
        }
        Ok(())
    }
}

/// Packed weights without the padding behind them.
fn unpadded(packed: &[i8], len: Option<usize>) -> Result<&[i8], RunError> {
    len.and_then(|len| packed.get(..len)).ok_or(RunError::Damaged)
}

/// What is read and what is written, where they do not overlap.
fn lend(arena: &mut [i8], x: Range<usize>, y: Range<usize>) -> Result<(&[i8], &mut [i8]), RunError> {
    let [x, y] = arena.get_disjoint_mut([x, y]).map_err(|_| RunError::Damaged)?;
    Ok((x, y))
}

/// Elements that an op takes at a time when it writes over what it reads: they are copied out first.
pub(crate) const BLOCK: usize = 256;

/// The largest block of whole pixels of `channels`, at most [`BLOCK`] of them.
fn whole_pixels(channels: usize) -> usize {
    BLOCK / channels.max(1) * channels
}

/// Writes over `y`: `f(old values of a block, where it lies, the block)`.
fn over(y: &mut [i8], block: usize, mut f: impl FnMut(&[i8], Range<usize>, &mut [i8])) {
    let (mut old, mut at) = ([0; BLOCK], 0);
    for y in y.chunks_mut(block.clamp(1, BLOCK)) {
        let old = &mut old[..y.len()];
        old.copy_from_slice(y);
        f(old, at..at + y.len(), y);
        at += y.len();
    }
}

/// An op of two operands, element by element, that may write over one of them. An operand that is shorter than `y` is whole in every
/// block, whose length `block` it then divides.
fn binary(
    arena: &mut [i8],
    [a_range, b_range]: [Range<usize>; 2],
    y_range: Range<usize>,
    block: usize,
    f: impl Fn(&[i8], &[i8], &mut [i8]),
) -> Result<(), RunError> {
    let (a_is_y, b_is_y) = (a_range == y_range, b_range == y_range);
    let part = |x: &[i8], at: Range<usize>, len: usize| if x.len() == len { at } else { 0..x.len() };
    let len = y_range.len();
    match (a_is_y, b_is_y) {
        (true, true) => {
            let y = arena.get_mut(y_range).ok_or(RunError::Damaged)?;
            over(y, block, |old, _, y| f(old, old, y));
        }
        (true, false) => {
            let (b, y) = lend(arena, b_range, y_range)?;
            over(y, block, |old, at, y| f(old, &b[part(b, at, len)], y));
        }
        (false, true) => {
            let (a, y) = lend(arena, a_range, y_range)?;
            over(y, block, |old, at, y| f(&a[part(a, at, len)], old, y));
        }
        (false, false) if a_range == b_range => {
            let (a, y) = lend(arena, a_range, y_range)?;
            f(a, a, y);
        }
        (false, false) => {
            let lent = arena.get_disjoint_mut([a_range, b_range, y_range]);
            let [a, b, y] = lent.map_err(|_| RunError::Damaged)?;
            f(a, b, y);
        }
    }
    Ok(())
}

/// Scratch once an op's channels are in it.
struct Unpacked<'s> {
    bias: &'s [i32],
    scale: &'s [f32],
    /// What is left for the kernel.
    rest: &'s mut [i8],
}

/// Biases and multipliers as numbers, at the start of scratch, which lies at a multiple of 16.
fn unpack<'s>(channels: Channels<'_>, scratch: &'s mut [i8]) -> Result<Unpacked<'s>, RunError> {
    let bytes = 4 * channels.bias.len();
    let (bias, scratch) = scratch.split_at_mut_checked(bytes).ok_or(RunError::Damaged)?;
    let (scale, scratch) = scratch.split_at_mut_checked(bytes).ok_or(RunError::Damaged)?;
    let bias: &mut [i32] = bytemuck::try_cast_slice_mut(bias).map_err(|_| RunError::Damaged)?;
    let scale: &mut [f32] = bytemuck::try_cast_slice_mut(scale).map_err(|_| RunError::Damaged)?;
    for (to, from) in bias.iter_mut().zip(channels.bias) {
        *to = i32::from_le_bytes(*from);
    }
    for (to, from) in scale.iter_mut().zip(channels.scale) {
        *to = f32::from_le_bytes(*from);
    }
    // An odd byte at the end would keep the patches from being seen as i16.
    let even = scratch.len() / 2 * 2;
    Ok(Unpacked { bias, scale, rest: &mut scratch[..even] })
}

/// Why an inference did not happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RunError {
    /// The arena is smaller than [`Plan::arena_bytes`].
    Arena {
        /// Bytes needed.
        need: usize,
        /// Bytes lent.
        have: usize,
    },
    /// Another number of inputs or outputs than the plan has.
    Count {
        /// Inputs and outputs of the plan.
        need: [usize; 2],
        /// Inputs and outputs passed.
        have: [usize; 2],
    },
    /// An input has the wrong number of elements.
    Input {
        /// Which input.
        index: usize,
        /// Elements of the tensor.
        need: usize,
        /// Elements passed.
        have: usize,
    },
    /// An output has the wrong number of elements.
    Output {
        /// Which output.
        index: usize,
        /// Elements of the tensor.
        need: usize,
        /// Elements passed.
        have: usize,
    },
    /// The memory for packed weights is smaller than [`Plan::packed_bytes`].
    Packed {
        /// Bytes needed.
        need: usize,
        /// Bytes lent.
        have: usize,
    },
    /// The bytes changed after they were checked (a mapped file that was overwritten); open the plan again.
    Damaged,
}

impl fmt::Display for RunError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            RunError::Arena { need, have } => {
                write!(f, "arena of {have} bytes; lend at least {need}")
            }
            RunError::Packed { need, have } => {
                write!(f, "memory of {have} bytes for packed weights; lend at least {need}")
            }
            RunError::Count { need, have } => {
                write!(f, "{} inputs and {} outputs passed; the plan has {} and {}", have[0], have[1], need[0], need[1])
            }
            RunError::Input { index, need, have } => {
                write!(f, "input {index} has {have} elements; the plan needs {need}")
            }
            RunError::Output { index, need, have } => {
                write!(f, "output {index} has {have} elements; the plan gives {need}")
            }
            RunError::Damaged => write!(f, "the plan's bytes changed after they were checked; open it again"),
        }
    }
}

impl core::error::Error for RunError {}
