//! One op of a plan: its record taken apart, every length, shape and geometry proved against its tensors.
//!
//! An [`Op`] that exists is one that the kernels accept: parsing is the check, so `run` cannot skip it.

use limbeck_kernels::add::AddScales;
use limbeck_kernels::arithmetic::{is_multiplier, multiplier};
use limbeck_kernels::average_pool::Count;
use limbeck_kernels::packed_conv::{self, ConvShape};
use limbeck_kernels::packed_depthwise::{self, DepthwiseShape};
use limbeck_kernels::pad::Pad;
use limbeck_kernels::resize::Resize;
use limbeck_kernels::{Image, Isa, Pool, Window, conv};

use crate::layout::{PACKED_ALIGN, op, pair_at, size_at};
use crate::open::Plan;
use crate::run::BLOCK;
use crate::tensor::{Place, Stored, name, slice};

/// Which computation an op is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum OpKind {
    /// Convolution.
    Conv,
    /// Convolution with one kernel a channel.
    Depthwise,
    /// Fully connected layer.
    Dense,
    /// Sum of two tensors.
    Add,
    /// Average over windows.
    AveragePool,
    /// Maximum over windows.
    MaxPool,
    /// Channels side by side.
    Concat,
    /// A function of one value, tabulated.
    Table,
    /// Product of two tensors.
    Mul,
    /// Rows and columns of one value round an image.
    Pad,
    /// Nearest-neighbour change of size.
    Resize,
}

impl OpKind {
    /// In the order of their codes, which start at 1.
    const ALL: [OpKind; 11] = [
        OpKind::Conv,
        OpKind::Depthwise,
        OpKind::Dense,
        OpKind::Add,
        OpKind::AveragePool,
        OpKind::MaxPool,
        OpKind::Concat,
        OpKind::Table,
        OpKind::Mul,
        OpKind::Pad,
        OpKind::Resize,
    ];

    /// The byte that stands for it in a plan.
    #[cfg(feature = "emit")]
    pub(crate) fn code(self) -> u8 {
        self as u8 + 1
    }

    fn from_code(code: u8) -> Option<OpKind> {
        OpKind::ALL.get(code.checked_sub(1)? as usize).copied()
    }

    /// Lower-case word for reports, such as `depthwise`.
    pub fn name(self) -> &'static str {
        match self {
            OpKind::Conv => "conv",
            OpKind::Depthwise => "depthwise",
            OpKind::Dense => "dense",
            OpKind::Add => "add",
            OpKind::AveragePool => "average_pool",
            OpKind::MaxPool => "max_pool",
            OpKind::Concat => "concat",
            OpKind::Table => "table",
            OpKind::Mul => "mul",
            OpKind::Pad => "pad",
            OpKind::Resize => "resize",
        }
    }
}

/// Folded biases and multipliers, `O` of each, still as little-endian bytes.
#[derive(Clone, Copy)]
pub(crate) struct Channels<'a> {
    pub(crate) bias: &'a [[u8; 4]],
    pub(crate) scale: &'a [[u8; 4]],
}

/// What to compute, from what.
pub(crate) enum Work<'a> {
    Conv { x: Stored<'a>, weights: &'a [i8], channels: Channels<'a>, window: Window, groups: usize },
    Depthwise { x: Stored<'a>, weights: &'a [i8], channels: Channels<'a>, window: Window },
    Dense { x: Stored<'a>, weights: &'a [i8], channels: Channels<'a> },
    Add { a: Stored<'a>, b: Stored<'a>, scales: AddScales },
    AveragePool { x: Stored<'a>, pool: Pool, count: Count, ratio: f32 },
    MaxPool { x: Stored<'a>, pool: Pool },
    Concat,
    Table { x: Stored<'a>, table: &'a [i8; 256] },
    Mul { a: Stored<'a>, b: Stored<'a>, scale: f32 },
    Pad { x: Stored<'a>, pad: [usize; 4], value: i8 },
    Resize { x: Stored<'a>, rows: &'a [[u8; 2]], columns: &'a [[u8; 2]] },
}

/// One op, proved consistent with its tensors.
pub(crate) struct Op<'a> {
    pub(crate) name: &'a str,
    pub(crate) kind: OpKind,
    /// Ids of what it reads.
    pub(crate) operands: &'a [[u8; 4]],
    pub(crate) y: Stored<'a>,
    pub(crate) work: Work<'a>,
}

impl<'a> Op<'a> {
    pub(crate) fn parse(record: &[u8; op::LEN], plan: &Plan<'a>) -> Result<Op<'a>, &'static str> {
        let bytes = plan.bytes();
        let kind = OpKind::from_code(record[op::KIND]).ok_or("its kind is unknown")?;
        let name = name(bytes, size_at(record, op::NAME), size_at(record, op::NAME_LEN))?;
        let y = plan.stored(size_at(record, op::Y)).map_err(|_| "its output is no tensor of the plan")?;
        let (first, count) = (size_at(record, op::FIRST_OPERAND), size_at(record, op::OPERANDS));
        let operands = first.checked_add(count).and_then(|end| plan.operands().get(first..end));
        let operands = operands.ok_or("its operands lie outside the list")?;
        let work = Parser { record, plan, operands, y }.work(kind)?;
        Ok(Op { name, kind, operands, y, work })
    }

    /// Whether it may write its output over operand `x`, which nobody reads after it: element by element, and of one size.
    pub(crate) fn may_write_over(&self, x: Place) -> bool {
        x.len == self.y.place.len
            && match self.work {
                Work::Add { .. } | Work::Table { .. } => true,
                Work::Mul { b, .. } => mul_may_write_over(self.y.place.len, b.place.len),
                _ => false,
            }
    }

    /// Multiply-accumulates of one run.
    pub(crate) fn macs(&self) -> u64 {
        let pixels = self.y.image.h as u64 * self.y.image.w as u64;
        match self.work {
            // One multiply a weight and pixel.
            Work::Conv { weights, .. } | Work::Depthwise { weights, .. } => pixels * weights.len() as u64,
            Work::Dense { weights, .. } => weights.len() as u64,
            _ => 0,
        }
    }

    /// The packed form of a convolution or fully connected layer, with its input.
    pub(crate) fn conv_shape(&self) -> Option<(Stored<'a>, ConvShape)> {
        match self.work {
            Work::Conv { x, window, groups, .. } => {
                Some((x, ConvShape { x: x.image, channels: self.y.image.c, window, groups }))
            }
            Work::Dense { x, .. } => Some((x, ConvShape::dense(x.place.len, self.y.image.c))),
            _ => None,
        }
    }

    /// Bytes of its packed weights on a path, a multiple of [`PACKED_ALIGN`]; 0 when it has no packed form there.
    pub(crate) fn packed_bytes(&self, isa: Isa) -> usize {
        let len = match self.work {
            Work::Conv { .. } | Work::Dense { .. } => {
                self.conv_shape().and_then(|(_, shape)| packed_conv::packed_len(isa, &shape))
            }
            Work::Depthwise { x, window, .. } => {
                packed_depthwise::packed_len(isa, &DepthwiseShape { x: x.image, window })
            }
            _ => None,
        };
        len.unwrap_or(0).next_multiple_of(PACKED_ALIGN)
    }

    /// Bytes of scratch on a path.
    pub(crate) fn scratch_bytes(&self, isa: Isa) -> Option<usize> {
        if self.packed_bytes(isa) == 0 {
            return self.portable_scratch_bytes();
        }
        match self.work {
            Work::Depthwise { x, window, .. } => {
                Some(packed_depthwise::scratch_len(isa, &DepthwiseShape { x: x.image, window }))
            }
            _ => self.conv_shape().map(|(_, shape)| packed_conv::scratch_len(isa, &shape)),
        }
    }

    /// Biases, multipliers, then what the portable kernel asks for.
    fn portable_scratch_bytes(&self) -> Option<usize> {
        match self.work {
            // `conv::scratch_len` of i16, in u64: the plan may come from a larger machine.
            Work::Conv { weights, ref channels, .. } => {
                let patches = 2 * conv::PIXELS as u64 * (weights.len() / channels.bias.len()) as u64;
                usize::try_from(patches + channels.bytes()).ok()
            }
            Work::Depthwise { ref channels, .. } | Work::Dense { ref channels, .. } => {
                usize::try_from(channels.bytes()).ok()
            }
            _ => Some(0),
        }
    }

    /// Proves that no accumulator overflows and that every multiplier is one. Reads all weights: done once, on opening.
    pub(crate) fn check_channels(&self) -> Result<(), &'static str> {
        let (weights, channels, tap_major) = match self.work {
            Work::Conv { weights, channels, .. } | Work::Dense { weights, channels, .. } => (weights, channels, false),
            Work::Depthwise { weights, channels, .. } => (weights, channels, true),
            _ => return Ok(()),
        };
        let o = channels.bias.len();
        let depth = weights.len() / o;
        let sum = |w: &mut dyn Iterator<Item = &i8>| w.map(|w| w.unsigned_abs() as u64).sum::<u64>();
        for (c, (bias, scale)) in channels.bias.iter().zip(channels.scale).enumerate() {
            let sum = match tap_major {
                true => sum(&mut weights.iter().skip(c).step_by(o)),
                false => sum(&mut weights.iter().skip(c * depth).take(depth)),
            };
            // A stored value is at most 128 in size.
            if 128 * sum + i32::from_le_bytes(*bias).unsigned_abs() as u64 > i32::MAX as u64 {
                return Err("an accumulator may pass 2^31");
            }
            if !is_multiplier(f32::from_le_bytes(*scale)) {
                return Err("a multiplier is not a positive normal number");
            }
        }
        Ok(())
    }
}

impl Channels<'_> {
    fn bytes(&self) -> u64 {
        8 * self.bias.len() as u64
    }
}

struct Parser<'r, 'a> {
    record: &'r [u8; op::LEN],
    plan: &'r Plan<'a>,
    operands: &'a [[u8; 4]],
    y: Stored<'a>,
}

impl<'a> Parser<'_, 'a> {
    fn work(&self, kind: OpKind) -> Result<Work<'a>, &'static str> {
        let y = self.y;
        match kind {
            OpKind::Conv => {
                let [x] = self.tensors()?;
                let (window, groups) = (self.window(), size_at(self.record, op::GROUPS));
                self.output(window.output(x.image.h, x.image.w), y.image.c)?;
                if groups == 0 || !x.image.c.is_multiple_of(groups) || !y.image.c.is_multiple_of(groups) {
                    return Err("its groups do not divide its channels");
                }
                let weights = self.weights(&[y.image.c, window.taps(), x.image.c / groups])?;
                Ok(Work::Conv { x, weights, channels: self.channels(y.image.c)?, window, groups })
            }
            OpKind::Depthwise => {
                let [x] = self.tensors()?;
                let window = self.window();
                self.output(window.output(x.image.h, x.image.w), x.image.c)?;
                let weights = self.weights(&[window.taps(), x.image.c])?;
                Ok(Work::Depthwise { x, weights, channels: self.channels(x.image.c)?, window })
            }
            OpKind::Dense => {
                let [x] = self.tensors()?;
                self.output(Some([1, 1]), y.image.c)?;
                let weights = self.weights(&[y.image.c, x.place.len])?;
                Ok(Work::Dense { x, weights, channels: self.channels(y.image.c)? })
            }
            OpKind::Add => {
                let [a, b] = self.tensors()?;
                self.same_shape(a)?;
                self.same_shape(b)?;
                let scales = AddScales::new(a.tensor.scale, b.tensor.scale, y.tensor.scale);
                Ok(Work::Add { a, b, scales: scales.ok_or("its scales are too far apart to add")? })
            }
            OpKind::AveragePool => {
                let [x] = self.tensors()?;
                let pool = self.pool();
                self.output(pool.output(x.image.h, x.image.w), x.image.c)?;
                let count = match self.record[op::FLAG] {
                    0 => Count::Real,
                    1 => Count::Kernel,
                    _ => return Err("its flag is neither 0 nor 1"),
                };
                let ratio = average_ratio(x.tensor.scale, y.tensor.scale, pool.kernel)?;
                Ok(Work::AveragePool { x, pool, count, ratio })
            }
            OpKind::MaxPool => {
                let [x] = self.tensors()?;
                let pool = self.pool();
                self.output(pool.output(x.image.h, x.image.w), x.image.c)?;
                self.moves(x)?;
                Ok(Work::MaxPool { x, pool })
            }
            OpKind::Concat => {
                let mut channels = 0usize;
                for id in self.operands {
                    let x = self.tensor(id)?;
                    self.moves(x)?;
                    if (x.image.h, x.image.w) != (y.image.h, y.image.w) {
                        return Err("its operands differ in height or width");
                    }
                    channels = channels.saturating_add(x.image.c);
                }
                self.output(Some([y.image.h, y.image.w]), channels)?;
                Ok(Work::Concat)
            }
            OpKind::Table => {
                let [x] = self.tensors()?;
                self.same_shape(x)?;
                let table = self.weights(&[256])?.try_into().map_err(|_| "its table is not 256 entries")?;
                Ok(Work::Table { x, table })
            }
            OpKind::Mul => {
                let [a, b] = self.tensors()?;
                self.same_shape(a)?;
                if b.image != (Image { h: 1, w: 1, c: y.image.c }) {
                    self.same_shape(b)?;
                }
                let scale = product_scale(a.tensor.scale, b.tensor.scale, y.tensor.scale)?;
                Ok(Work::Mul { a, b, scale })
            }
            OpKind::Pad => {
                let [x] = self.tensors()?;
                let pad = self.pad();
                self.output(Pad::output(x.image, pad), x.image.c)?;
                self.moves(x)?;
                Ok(Work::Pad { x, pad, value: self.record[op::FLAG] as i8 })
            }
            OpKind::Resize => {
                let [x] = self.tensors()?;
                self.output(Some([y.image.h, y.image.w]), x.image.c)?;
                self.moves(x)?;
                let indices = self.plan_slice(op::WEIGHTS, y.image.h.checked_add(y.image.w), 2);
                let indices = indices.ok_or("its indices lie outside the plan")?.as_chunks::<2>().0;
                let split = indices.split_at_checked(y.image.h);
                let (rows, columns) = split.ok_or("its indices lie outside the plan")?;
                if !Resize::inside(rows, columns, x.image) {
                    return Err("it reads a row or column that its input has not");
                }
                Ok(Work::Resize { x, rows, columns })
            }
        }
    }

    fn tensor(&self, id: &[u8; 4]) -> Result<Stored<'a>, &'static str> {
        let id = u32::from_le_bytes(*id) as usize;
        self.plan.stored(id).map_err(|_| "an operand is no tensor of the plan")
    }

    /// All operands of an op that takes exactly `N`.
    fn tensors<const N: usize>(&self) -> Result<[Stored<'a>; N], &'static str> {
        let ids: &[[u8; 4]; N] = self.operands.try_into().map_err(|_| "its number of operands is wrong")?;
        let mut tensors = [self.y; N];
        for (tensor, id) in tensors.iter_mut().zip(ids) {
            *tensor = self.tensor(id)?;
        }
        Ok(tensors)
    }

    fn window(&self) -> Window {
        Window {
            kernel: pair_at(self.record, op::KERNEL),
            stride: pair_at(self.record, op::STRIDE),
            dilation: pair_at(self.record, op::DILATION),
            pad: self.pad(),
        }
    }

    fn pool(&self) -> Pool {
        Pool { kernel: pair_at(self.record, op::KERNEL), stride: pair_at(self.record, op::STRIDE), pad: self.pad() }
    }

    fn pad(&self) -> [usize; 4] {
        let ([top, left], [bottom, right]) = (pair_at(self.record, op::PAD), pair_at(self.record, op::PAD + 4));
        [top, left, bottom, right]
    }

    /// The output tensor must have this shape.
    fn output(&self, size: Option<[usize; 2]>, c: usize) -> Result<(), &'static str> {
        let [h, w] = size.ok_or("its window does not fit its input")?;
        if self.y.image != (Image { h, w, c }) {
            return Err("its output has another shape");
        }
        Ok(())
    }

    fn same_shape(&self, x: Stored<'a>) -> Result<(), &'static str> {
        if x.image == self.y.image { Ok(()) } else { Err("its operands and output differ in shape") }
    }

    fn moves(&self, x: Stored<'a>) -> Result<(), &'static str> {
        if x.same_scale(self.y) { Ok(()) } else { Err("it moves values between different scales") }
    }

    /// The weights (or the table), `sizes` multiplied.
    fn weights(&self, sizes: &[usize]) -> Result<&'a [i8], &'static str> {
        let len = sizes.iter().try_fold(1usize, |len, &size| len.checked_mul(size));
        let at = size_at(self.record, op::WEIGHTS);
        let bytes = len.and_then(|len| slice(self.plan.bytes(), at, len)).ok_or("its weights lie outside the plan")?;
        Ok(bytemuck::cast_slice(bytes))
    }

    /// `count` elements of `width` bytes, at the offset that `field` holds.
    fn plan_slice(&self, field: usize, count: Option<usize>, width: usize) -> Option<&'a [u8]> {
        slice(self.plan.bytes(), size_at(self.record, field), count?.checked_mul(width)?)
    }

    fn channels(&self, o: usize) -> Result<Channels<'a>, &'static str> {
        let list = |field| Some(self.plan_slice(field, Some(o), 4)?.as_chunks::<4>().0);
        let (bias, scale) = (list(op::BIAS), list(op::SCALE));
        bias.zip(scale).map(|(bias, scale)| Channels { bias, scale }).ok_or("its channels lie outside the plan")
    }
}

/// M of a product.
pub(crate) fn product_scale(a_scale: f32, b_scale: f32, y_scale: f32) -> Result<f32, &'static str> {
    let scale = multiplier(a_scale, b_scale, y_scale);
    if is_multiplier(scale) { Ok(scale) } else { Err("its scales are too far apart to multiply") }
}

/// A product writes over a factor in blocks, which must hold whole pixels of a gate.
pub(crate) fn mul_may_write_over(y_len: usize, b_len: usize) -> bool {
    b_len == y_len || b_len <= BLOCK
}

/// fl(sx / sy) of an average pool, once it is known to divide by any count up to the whole kernel.
pub(crate) fn average_ratio(x_scale: f32, y_scale: f32, kernel: [usize; 2]) -> Result<f32, &'static str> {
    let (ratio, taps) = (x_scale / y_scale, kernel[0] as u64 * kernel[1] as u64);
    // |x - zx| <= 255, and an i32 holds the sum.
    if 255 * taps > i32::MAX as u64 {
        return Err("its window is too large to sum");
    }
    if !is_multiplier(ratio) || !is_multiplier(ratio / taps as f32) {
        return Err("its scales are too far apart to average");
    }
    Ok(ratio)
}
