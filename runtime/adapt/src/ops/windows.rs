//! Where a sliding window reads: the geometry shared by convolution and pooling gradients, in any data layout.

use tract_core::internal::*;
use tract_core::ops::cnn::PoolSpec;

/// Geometry of a 2-D window operator on one input shape. Strides are in elements.
#[derive(Debug, Clone, Hash, PartialEq, Eq)]
pub(crate) struct Windows {
    /// Samples.
    pub n: usize,
    /// Input height and width.
    pub input: [usize; 2],
    /// Output height and width.
    pub output: [usize; 2],
    /// Window height and width.
    pub kernel: [usize; 2],
    pub stride: [usize; 2],
    pub dilation: [usize; 2],
    /// Padding before: top, left.
    pub before: [usize; 2],
    /// Steps in the input for n, channel, row, column.
    pub x_step: [usize; 4],
    /// Steps in the output for n, channel, row, column.
    pub y_step: [usize; 4],
    /// The channel is the innermost axis.
    pub channels_last: bool,
}

impl Windows {
    /// Geometry of `spec` on an input of shape `x`.
    pub fn new(spec: &PoolSpec, x: &[usize]) -> TractResult<Windows> {
        ensure!(spec.rank() == 2, "gradients are known for two spatial axes, not {}", spec.rank());
        let shape = spec.data_format.shape(x)?;
        let padded = spec.computed_padding(shape.hw_dims());
        let input = [shape.hw_dims()[0], shape.hw_dims()[1]];
        let output = [padded[0].convoluted, padded[1].convoluted];
        let channels_last = spec.data_format.c_is_last();
        let steps = |[h, w]: [usize; 2], c: usize| {
            if channels_last { [h * w * c, 1, w * c, c] } else { [c * h * w, h * w, w, 1] }
        };
        Ok(Windows {
            n: shape.n().copied().unwrap_or(1),
            input,
            output,
            kernel: [spec.kernel_shape[0], spec.kernel_shape[1]],
            stride: [spec.stride(0), spec.stride(1)],
            dilation: [spec.dilation(0), spec.dilation(1)],
            before: [padded[0].pad_before, padded[1].pad_before],
            x_step: steps(input, spec.input_channels),
            y_step: steps(output, spec.output_channels),
            channels_last,
        })
    }

    /// Output pixels.
    pub fn pixels(&self) -> usize {
        self.output[0] * self.output[1]
    }

    /// Along `axis`, the outputs for which tap `k` falls inside the input.
    pub fn span(&self, axis: usize, k: usize) -> std::ops::Range<usize> {
        let (stride, before) = (self.stride[axis], self.before[axis]);
        let offset = k * self.dilation[axis];
        // input = output * stride + offset - before, wanted in 0..size
        let first = before.saturating_sub(offset).div_ceil(stride);
        let end = (self.input[axis] + before).saturating_sub(offset).div_ceil(stride).min(self.output[axis]);
        first.min(end)..end
    }

    /// The input coordinate along `axis` that tap `k` reads for output `o`, which must lie in the span of `k`.
    pub fn source(&self, axis: usize, k: usize, o: usize) -> usize {
        o * self.stride[axis] + k * self.dilation[axis] - self.before[axis]
    }
}
