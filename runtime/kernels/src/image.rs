//! Shapes that the image ops share: an image, and the window that slides over it.
//!
//! ```text
//! out = (in + pad_before + pad_after - (dilation * (kernel - 1) + 1)) / stride + 1        for each of the two axes
//! ```

/// Height, width and channels of an image stored `H W C`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Image {
    /// Rows.
    pub h: usize,
    /// Columns.
    pub w: usize,
    /// Channels, the fastest index.
    pub c: usize,
}

impl Image {
    /// Number of elements.
    pub const fn len(&self) -> usize {
        self.h * self.w * self.c
    }

    /// True of an image without elements.
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// How a kernel slides over an image. Axis 0 is vertical, axis 1 horizontal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// Taps: rows, columns.
    pub kernel: [usize; 2],
    /// Step between outputs.
    pub stride: [usize; 2],
    /// Step between taps; 1 is an ordinary kernel.
    pub dilation: [usize; 2],
    /// Rows and columns added outside: top, left, bottom, right (ONNX order).
    pub pad: [usize; 4],
}

impl Window {
    /// Number of taps.
    pub const fn taps(&self) -> usize {
        self.kernel[0] * self.kernel[1]
    }

    /// Output height and width over an image of `h` x `w`. `None` when a field is zero, the kernel does not fit, or a size
    /// overflows.
    pub const fn output(&self, h: usize, w: usize) -> Option<[usize; 2]> {
        match (self.axis(0, h), self.axis(1, w)) {
            (Some(out_h), Some(out_w)) => Some([out_h, out_w]),
            _ => None,
        }
    }

    const fn axis(&self, axis: usize, size: usize) -> Option<usize> {
        let (kernel, stride, dilation) = (self.kernel[axis], self.stride[axis], self.dilation[axis]);
        if kernel == 0 || stride == 0 || dilation == 0 || size == 0 {
            return None;
        }
        let Some(reach) = (kernel - 1).checked_mul(dilation) else { return None };
        let Some(padded) = size.checked_add(self.pad[axis]) else { return None };
        let Some(padded) = padded.checked_add(self.pad[axis + 2]) else { return None };
        // A kernel of `reach + 1` rows fits when reach < padded.
        if reach < padded { Some((padded - 1 - reach) / stride + 1) } else { None }
    }

    /// Row (axis 0) or column (axis 1) of the input that output `out` reads at tap `tap`, or `None` in the padding.
    #[inline(always)]
    pub(crate) fn input(&self, axis: usize, out: usize, tap: usize, size: usize) -> Option<usize> {
        let at = (out * self.stride[axis] + tap * self.dilation[axis]).checked_sub(self.pad[axis])?;
        (at < size).then_some(at)
    }
}

/// What both pools are asked to slide: no dilation, and less padding than kernel on every side, so that every window
/// covers at least one real element.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pool {
    /// Rows, columns.
    pub kernel: [usize; 2],
    /// Step between outputs.
    pub stride: [usize; 2],
    /// Top, left, bottom, right; each less than the kernel on its axis.
    pub pad: [usize; 4],
}

impl Pool {
    /// The whole of an image as one window.
    pub const fn global(x: Image) -> Pool {
        Pool { kernel: [x.h, x.w], stride: [1, 1], pad: [0; 4] }
    }

    /// Output height and width, or `None` when the geometry is not a pool's (see [`Pool`]).
    pub const fn output(&self, h: usize, w: usize) -> Option<[usize; 2]> {
        let Pool { kernel, stride, pad } = *self;
        if pad[0] >= kernel[0] || pad[2] >= kernel[0] || pad[1] >= kernel[1] || pad[3] >= kernel[1] {
            return None;
        }
        Window { kernel, stride, dilation: [1, 1], pad }.output(h, w)
    }

    /// Rows (axis 0) or columns (axis 1) of the input that output `out` covers, padding left out. Never empty.
    #[inline]
    pub(crate) fn covers(&self, axis: usize, out: usize, size: usize) -> core::ops::Range<usize> {
        let start = out * self.stride[axis];
        let end = (start + self.kernel[axis]).saturating_sub(self.pad[axis]);
        start.saturating_sub(self.pad[axis])..end.min(size)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn output_sizes_are_onnx_sizes() {
        let check = |size, kernel, stride, dilation, before, after, want| {
            let window = Window {
                kernel: [kernel, 1],
                stride: [stride, 1],
                dilation: [dilation, 1],
                pad: [before, 0, after, 0],
            };
            assert_eq!(window.output(size, 1).map(|[h, _]| h), want, "{window:?}");
        };
        check(32, 3, 1, 1, 1, 1, Some(32));
        check(32, 3, 2, 1, 0, 1, Some(16));
        check(32, 3, 2, 1, 1, 1, Some(16));
        check(7, 3, 1, 3, 0, 0, Some(1));
        check(6, 3, 1, 3, 0, 0, None);
        check(5, 5, 1, 1, 0, 0, Some(1));
        check(0, 1, 1, 1, 0, 0, None);
        check(4, 1, 0, 1, 0, 0, None);
        check(usize::MAX, 1, 1, 1, 1, 0, None);
        check(4, usize::MAX, 1, 2, 0, 0, None);
    }

    #[test]
    fn a_pool_window_never_lies_in_the_padding() {
        for (size, kernel, stride, before, after) in
            [(5, 3, 2, 2, 2), (1, 3, 1, 1, 1), (4, 2, 3, 1, 1), (8, 8, 1, 0, 0)]
        {
            let pool = Pool { kernel: [kernel, 1], stride: [stride, 1], pad: [before, 0, after, 0] };
            let [out, _] = pool.output(size, 1).unwrap();
            for o in 0..out {
                assert!(!pool.covers(0, o, size).is_empty(), "{pool:?} at {o}");
            }
        }
        assert_eq!(Pool { kernel: [2, 2], stride: [1, 1], pad: [2, 0, 0, 0] }.output(4, 4), None);
    }
}
