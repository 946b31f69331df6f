//! A spec to the bytes of a plan.

use alloc::vec::Vec;

use limbeck_kernels::ARITHMETIC;

use crate::arena::{self, Block};
use crate::check::{EmitError, check};
use crate::layout::{ALIGN, MAGIC, VERSION, checksum, header, op, tensor};
use crate::op::OpKind;
use crate::open::Plan;
use crate::spec::{ConvGeometry, OpSpec, PlanSpec, TensorSpec};

/// Builds a plan: checks the spec, computes `M[c] = fl(fl(sx * sw[c]) / sy)`, folds zero points into biases,
/// brings depthwise weights to tap-major order, and shares the arena between tensors that never live together. One spec gives one plan, byte for
/// byte.
///
/// # Errors
/// What is wrong with the spec, by op and tensor; see [`EmitError`].
pub fn emit(spec: &PlanSpec) -> Result<Vec<u8>, EmitError> {
    let multipliers = check(spec)?;
    let blocks = lives(spec);
    let places = places(spec, &blocks).ok_or(EmitError::TooLarge)?;

    let operands: usize = spec.ops.iter().map(|op| op.operands().len()).sum();
    let counts = [spec.tensors.len(), spec.ops.len(), spec.inputs.len(), spec.outputs.len(), operands];
    let lists = tensor::LEN * counts[0] + op::LEN * counts[1] + 4 * (counts[2] + counts[3] + counts[4]);
    let mut pool = Pool { start: header::LEN + lists, bytes: Vec::new() };

    let mut plan = Vec::with_capacity(pool.start);
    put_header(&mut plan, counts)?;
    for ((t, block), at) in spec.tensors.iter().zip(&blocks).zip(places) {
        put_tensor(&mut plan, t, *block, at, &mut pool)?;
    }
    let mut first_operand = 0;
    for (spec_op, m) in spec.ops.iter().zip(&multipliers) {
        put_op(&mut plan, spec, spec_op, m, first_operand, &mut pool)?;
        first_operand += spec_op.operands().len();
    }
    for &id in spec.inputs.iter().chain(&spec.outputs) {
        put_u32(&mut plan, id)?;
    }
    for id in spec.ops.iter().flat_map(OpSpec::operands) {
        put_u32(&mut plan, id)?;
    }
    plan.extend_from_slice(&pool.bytes);

    let length = u32::try_from(plan.len()).map_err(|_| EmitError::TooLarge)?;
    plan[header::LENGTH..][..4].copy_from_slice(&length.to_le_bytes());
    let sum = checksum(&plan);
    plan[header::CHECKSUM..][..4].copy_from_slice(&sum.to_le_bytes());
    Plan::new_checked(&plan).map_err(EmitError::Refused)?;
    Ok(plan)
}

/// When each tensor is written and last read.
fn lives(spec: &PlanSpec) -> Vec<Block> {
    let lens = spec.tensors.iter().map(|t| t.shape.elements());
    let mut blocks: Vec<Block> = lens.map(|len| Block { len, born: 0, dies: 0 }).collect();
    for (step, op) in (1..).zip(&spec.ops) {
        let y = &mut blocks[op.output()];
        (y.born, y.dies) = (step, step);
        for x in op.operands() {
            blocks[x].dies = step;
        }
    }
    for &id in &spec.outputs {
        blocks[id].dies = spec.ops.len() as u32 + 1;
    }
    blocks
}

/// Offsets of the tensors: with outputs written over dying operands where ops may, or all apart, whichever arena is smaller.
fn places(spec: &PlanSpec, blocks: &[Block]) -> Option<Vec<usize>> {
    let apart = arena::place(blocks)?;
    // Tensors that are written over each other are one block, known by the first of them.
    let mut first: Vec<usize> = (0..blocks.len()).collect();
    let mut shared = blocks.to_vec();
    for op in &spec.ops {
        let y = op.output();
        let may = |&&x: &&usize| blocks[x].dies == blocks[y].born && blocks[x].len == blocks[y].len;
        if let Some(&x) = op.may_write_over(|id| blocks[id].len).iter().find(may) {
            first[y] = first[x];
            shared[first[x]].dies = blocks[y].dies;
        }
    }
    let own: Vec<usize> = (0..blocks.len()).filter(|&id| first[id] == id).collect();
    let at = arena::place(&own.iter().map(|&id| shared[id]).collect::<Vec<_>>())?;
    let over: Vec<usize> =
        first.iter().map(|id| own.binary_search(id).map(|n| at[n])).collect::<Result<_, _>>().ok()?;
    let bytes = |places: &[usize]| places.iter().zip(blocks).map(|(at, block)| at + block.len).max();
    Some(if bytes(&over) < bytes(&apart) { over } else { apart })
}

fn put_header(plan: &mut Vec<u8>, counts: [usize; 5]) -> Result<(), EmitError> {
    plan.extend_from_slice(&MAGIC);
    plan.extend_from_slice(&VERSION.to_le_bytes());
    // Checksum and length are filled in at the end.
    plan.resize(header::ARITHMETIC, 0);
    plan.extend_from_slice(ARITHMETIC.as_bytes());
    plan.resize(header::TENSORS, 0);
    for count in counts {
        put_u32(plan, count)?;
    }
    plan.resize(header::LEN, 0);
    Ok(())
}

fn put_tensor(plan: &mut Vec<u8>, t: &TensorSpec, block: Block, at: usize, pool: &mut Pool) -> Result<(), EmitError> {
    put_u32(plan, pool.put(t.name.as_bytes(), 1))?;
    put_u32(plan, t.name.len())?;
    for size in [t.shape.h, t.shape.w, t.shape.c, t.scale.to_bits()] {
        plan.extend_from_slice(&size.to_le_bytes());
    }
    put_u32(plan, at)?;
    plan.extend_from_slice(&block.born.to_le_bytes());
    plan.extend_from_slice(&block.dies.to_le_bytes());
    plan.extend_from_slice(&[t.zero as u8, 0, 0, 0]);
    Ok(())
}

fn put_op(
    plan: &mut Vec<u8>,
    spec: &PlanSpec,
    op: &OpSpec,
    multipliers: &[f32],
    first_operand: usize,
    pool: &mut Pool,
) -> Result<(), EmitError> {
    let (operands, y) = (op.operands(), op.output());
    let x = operands.first().map(|&x| &spec.tensors[x]);
    let kind = op.kind([x.map_or(0, |x| x.shape.c), spec.tensors[y].shape.c]);
    let flag = match op {
        OpSpec::AveragePool { window, .. } => window.count_include_pad as u8,
        OpSpec::Pad { value, .. } => *value as u8,
        _ => 0,
    };
    plan.extend_from_slice(&[kind.code(), flag, 0, 0]);
    for field in [first_operand, operands.len(), y, pool.put(op.name().as_bytes(), 1), op.name().len()] {
        put_u32(plan, field)?;
    }
    put_geometry(plan, &geometry(op));
    let x_zero = x.map_or(0, |x| x.zero);
    let [weights, bias, scale] = match op {
        OpSpec::Conv { weights, bias, .. } | OpSpec::Dense { weights, bias, .. } => {
            let folded = fold(weights, bias, x_zero);
            let weights = match kind {
                OpKind::Depthwise => tap_major(weights, bias.len()),
                _ => weights.clone(),
            };
            let folded: Vec<[u8; 4]> = folded.iter().map(|b| b.to_le_bytes()).collect();
            let multipliers: Vec<[u8; 4]> = multipliers.iter().map(|m| m.to_le_bytes()).collect();
            let at = pool.put(bytemuck::cast_slice(&weights), ALIGN);
            [at, pool.put(folded.as_flattened(), ALIGN), pool.put(multipliers.as_flattened(), ALIGN)]
        }
        OpSpec::Table { table, .. } => [pool.put(bytemuck::cast_slice(table), ALIGN), 0, 0],
        OpSpec::Resize { rows, columns, .. } => {
            let indices: Vec<[u8; 2]> = rows.iter().chain(columns).map(|i| i.to_le_bytes()).collect();
            [pool.put(indices.as_flattened(), ALIGN), 0, 0]
        }
        _ => [0; 3],
    };
    for field in [weights, bias, scale, 0] {
        put_u32(plan, field)?;
    }
    Ok(())
}

/// bias' = bias - zx * sum(w). The accumulator bound keeps it inside an i32.
fn fold(weights: &[i8], bias: &[i32], x_zero: i8) -> Vec<i32> {
    let depth = weights.len() / bias.len();
    let sums = weights.chunks_exact(depth).map(|w_o| w_o.iter().map(|&w| w as i32).sum::<i32>());
    bias.iter().zip(sums).map(|(bias, sum)| bias - x_zero as i32 * sum).collect()
}

/// (C, taps) to (taps, C).
fn tap_major(weights: &[i8], channels: usize) -> Vec<i8> {
    let taps = weights.len() / channels;
    (0..weights.len()).map(|i| weights[i % channels * taps + i / channels]).collect()
}

/// The geometry fields of an op, zero for one that has none.
fn geometry(op: &OpSpec) -> ConvGeometry {
    const NONE: ConvGeometry =
        ConvGeometry { kernel: [0; 2], stride: [0; 2], dilation: [0; 2], pad: [0; 4], groups: 0 };
    match op {
        OpSpec::Conv { geometry, .. } => *geometry,
        OpSpec::AveragePool { window, .. } | OpSpec::MaxPool { window, .. } => {
            ConvGeometry { kernel: window.kernel, stride: window.stride, dilation: [1; 2], pad: window.pad, groups: 1 }
        }
        OpSpec::Pad { pad, .. } => ConvGeometry { pad: *pad, ..NONE },
        _ => NONE,
    }
}

/// The check has seen every number below 65,536.
fn put_geometry(plan: &mut Vec<u8>, g: &ConvGeometry) {
    for n in [g.kernel, g.stride, g.dilation].as_flattened() {
        plan.extend_from_slice(&(*n as u16).to_le_bytes());
    }
    plan.extend_from_slice(&g.groups.to_le_bytes());
    for n in g.pad {
        plan.extend_from_slice(&(n as u16).to_le_bytes());
    }
}

fn put_u32(plan: &mut Vec<u8>, value: usize) -> Result<(), EmitError> {
    let value = u32::try_from(value).map_err(|_| EmitError::TooLarge)?;
    plan.extend_from_slice(&value.to_le_bytes());
    Ok(())
}

/// The bytes behind the records, which the records point at.
struct Pool {
    /// Offset of the pool in the plan.
    start: usize,
    bytes: Vec<u8>,
}

impl Pool {
    /// Appends at a multiple of `align` and returns the offset in the plan.
    fn put(&mut self, bytes: &[u8], align: usize) -> usize {
        let at = (self.start + self.bytes.len()).next_multiple_of(align);
        self.bytes.resize(at - self.start, 0);
        self.bytes.extend_from_slice(bytes);
        at
    }
}
