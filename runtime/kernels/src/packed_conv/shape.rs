//! The shape of a convolution, and how its patches fall apart into runs of neighbouring inputs.

use crate::image::{Image, Window};

/// What a convolution's memory depends on, besides its path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConvShape {
    /// Shape of the input; its channels are a multiple of `groups`.
    pub x: Image,
    /// Output channels, O; a multiple of `groups`.
    pub channels: usize,
    /// Kernel, stride, dilation, padding; it fits the input.
    pub window: Window,
    /// Groups.
    pub groups: usize,
}

/// A patch as runs: `counts[0]` times `counts[1]` runs of `len` neighbouring inputs.
#[derive(Clone, Copy, Debug)]
pub(super) struct Runs {
    pub(super) counts: [usize; 2],
    pub(super) len: usize,
}

impl Runs {
    /// Inputs of a patch once every run is padded to a multiple of `step`.
    pub(super) fn padded(&self, step: usize) -> usize {
        self.counts[0] * self.counts[1] * self.len.next_multiple_of(step)
    }
}

impl ConvShape {
    /// A fully connected layer of `inputs` to `outputs`.
    pub const fn dense(inputs: usize, outputs: usize) -> ConvShape {
        let window = Window { kernel: [1, 1], stride: [1, 1], dilation: [1, 1], pad: [0; 4] };
        ConvShape { x: Image { h: 1, w: 1, c: inputs }, channels: outputs, window, groups: 1 }
    }

    /// Inputs that one output sums.
    pub(super) fn depth(&self) -> usize {
        self.window.taps() * (self.x.c / self.groups)
    }

    /// Shape of the output.
    ///
    /// # Panics
    /// When the window does not fit the input, or the groups do not divide the channels.
    pub(super) fn y(&self) -> Image {
        let Some([h, w]) = self.window.output(self.x.h, self.x.w) else {
            panic!("{:?} does not fit {:?}", self.window, self.x)
        };
        let groups = self.groups;
        assert!(
            groups > 0 && self.x.c.is_multiple_of(groups) && self.channels.is_multiple_of(groups),
            "groups {groups}"
        );
        Image { h, w, c: self.channels }
    }

    /// A pointwise convolution reads and writes pixels in the same order, row ends and all.
    pub(super) fn is_pointwise(&self) -> bool {
        self.window.kernel == [1, 1] && self.window.stride == [1, 1] && self.window.pad == [0; 4]
    }

    pub(super) fn runs(&self) -> Runs {
        let [kh, kw] = self.window.kernel;
        let inputs = self.x.c / self.groups;
        // Taps of one kernel row are neighbours in memory unless a gap or another group's channels lie between them.
        match (self.groups, self.window.dilation[1]) {
            (1, 1) => Runs { counts: [kh, 1], len: kw * inputs },
            _ => Runs { counts: [kh, kw], len: inputs },
        }
    }
}
