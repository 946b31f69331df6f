//! Where a packed convolution keeps what.
//!
//! A panel holds the weights of up to `NR` output channels of one group; its width is `NR`, or `NR / 2` for a last one that
//! fits. Panels follow each other, group by group:
//!
//! ```text
//! marks (64 bytes), panels
//! panel = bias (width) i32, scale (width) f32, weights (runs, steps, width, KR) i8        native byte order, channels by lane
//!                                                           a path may arrange a step in its own way
//! ```
//!
//! The first mark is 1 when two weights that lie half a step apart are both -128: inner loops that add their products in i16 must know,
//! as 2 * 128 * 128 is the one such sum that does not fit. The others are 0, and keep panels aligned.
//! A run is padded to a multiple of `KR` with weights of 0, so that whatever is read there does not count. Channels that do not
//! exist have weights of 0.

use super::Weights;
use super::drive::{Element, Gemm};
use super::shape::{ConvShape, Runs};

/// Elements of the largest row of patches that is gathered.
const MOST_GATHERED: usize = 1 << 20;

/// Bytes in front of the panels.
pub(crate) const MARKS: usize = 64;

/// Byte sizes and offsets of the panels of one convolution on one path.
#[derive(Clone, Copy)]
pub(crate) struct Layout<G> {
    gemm: G,
    /// Output channels of a group.
    outputs: usize,
    groups: usize,
    runs: Runs,
    /// Whether patches are gathered into one run each.
    gathers: bool,
}

/// One panel: which channels, and where it lies.
#[derive(Clone, Copy)]
pub(super) struct Panel {
    /// First output channel, over all groups.
    pub(super) first: usize,
    /// Channels that exist.
    pub(super) channels: usize,
    /// Channels with those that do not exist: `NR` or `NR / 2`.
    pub(super) width: usize,
    /// Group, counted from 0.
    pub(super) group: usize,
    /// Offset of its bytes.
    pub(super) at: usize,
}

impl<G: Gemm> Layout<G> {
    pub(crate) fn of(gemm: G, shape: &ConvShape) -> Layout<G> {
        let (apart, whole) = (shape.runs(), Runs { counts: [1, 1], len: shape.depth() });
        // Short runs drown in the rests of their last steps. Gathering pays from half waste on: counted on Cortex-A72, colour images
        // (48 for 32) are faster with the waste, one-channel ones (160 for 48) without.
        let wasteful = apart.padded(G::KR) > 2 * whole.padded(G::KR);
        let gathers = shape.groups == 1 && wasteful && shape.y().w * whole.padded(G::KR) <= MOST_GATHERED;
        let (outputs, groups) = (shape.channels / shape.groups, shape.groups);
        Layout { gemm, outputs, groups, runs: if gathers { whole } else { apart }, gathers }
    }

    /// How a patch falls apart.
    pub(super) fn runs(&self) -> Runs {
        self.runs
    }

    pub(super) fn gathers(&self) -> bool {
        self.gathers
    }

    /// Steps of `KR` inputs in a run.
    pub(super) fn steps(&self) -> usize {
        self.runs.len.div_ceil(G::KR)
    }

    /// Whether runs are read without a rest, and so without a look past their end.
    pub(super) fn runs_are_whole(&self) -> bool {
        !self.gathers && self.runs.len.is_multiple_of(G::KR)
    }

    /// Weights of a panel, for each unit of width.
    pub(super) fn padded_depth(&self) -> usize {
        self.runs.padded(G::KR)
    }

    /// Bytes of all panels of a group.
    fn group_len(&self) -> usize {
        let (whole, rest) = (self.outputs / G::NR, self.outputs % G::NR);
        (whole * G::NR + Self::width(rest)) * (8 + self.padded_depth())
    }

    pub(crate) fn len(&self) -> usize {
        MARKS + self.groups * self.group_len()
    }

    const fn width(channels: usize) -> usize {
        match channels {
            0 => 0,
            n if n <= G::NR / 2 => G::NR / 2,
            _ => G::NR,
        }
    }

    /// All panels in order.
    pub(super) fn panels(self) -> impl Iterator<Item = Panel> {
        (0..self.groups).flat_map(move |group| {
            (0..self.outputs).step_by(G::NR).map(move |first| {
                let channels = (self.outputs - first).min(G::NR);
                let at = MARKS + group * self.group_len() + first * (8 + self.padded_depth());
                Panel { first: group * self.outputs + first, channels, width: Self::width(channels), group, at }
            })
        })
    }

    /// Bytes of a panel's biases and multipliers, which its weights follow.
    pub(super) const fn head_len(width: usize) -> usize {
        8 * width
    }

    pub(crate) fn pack(self, w: &Weights<'_>, to: &mut [i8]) {
        assert_eq!(to.len(), self.len(), "packed bytes");
        to[..MARKS].fill(0);
        let mut has_lowest_pair = false;
        let depth = self.runs.counts[0] * self.runs.counts[1] * self.runs.len;
        for panel in self.panels() {
            let width = panel.width;
            let to = &mut to[panel.at..][..width * (8 + self.padded_depth())];
            let (head, body) = to.split_at_mut(Self::head_len(width));
            let (bias, scale) = head.split_at_mut(4 * width);
            // Channel of each lane, `None` where there is none.
            let channel = |lane: usize| {
                let channel = self.gemm.channel_of_lane(width, lane);
                (channel < panel.channels).then_some(panel.first + channel)
            };
            for lane in 0..width {
                let (b, s) = channel(lane).map_or((0, 1.0), |c| {
                    let sum = |w: &[i8]| w.iter().fold(0i32, |sum, &w| sum.wrapping_add(w as i32));
                    let shift = G::X::OFFSET.wrapping_mul(sum(&w.weights[c * depth..][..depth]));
                    (i32::from_le_bytes(w.bias[c]).wrapping_sub(shift), f32::from_le_bytes(w.scale[c]))
                });
                put(&mut bias[4 * lane..][..4], b.to_ne_bytes());
                put(&mut scale[4 * lane..][..4], s.to_ne_bytes());
            }
            let steps = self.steps();
            for (step, block) in body.chunks_exact_mut(width * G::KR).enumerate() {
                let (run, first) = (step / steps, step % steps * G::KR);
                let there = (self.runs.len - first).min(G::KR);
                for (lane, quad) in block.chunks_exact_mut(G::KR).enumerate() {
                    quad.fill(0);
                    if let Some(c) = channel(lane) {
                        quad[..there].copy_from_slice(&w.weights[c * depth + run * self.runs.len + first..][..there]);
                        let (low, high) = quad.split_at(G::KR / 2);
                        has_lowest_pair |= low.iter().zip(high).any(|pair| pair == (&i8::MIN, &i8::MIN));
                    }
                }
                self.gemm.arrange(block);
            }
        }
        to[0] = has_lowest_pair as i8;
    }
}

fn put(to: &mut [i8], bytes: [u8; 4]) {
    for (to, byte) in to.iter_mut().zip(bytes) {
        *to = byte as i8;
    }
}
