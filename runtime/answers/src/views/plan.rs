//! What one view of one sample is: plain numbers, drawn from the recipe before any pixel is touched.
//!
//! Positions are fractions of what there is room for, with 16 bits after the point ([`super::ONE`]), so a plan holds for an
//! image of any size. Draws come from [`Stream`] with key (seed, sample) and stream (view, operation).

use super::ONE;
use super::recipe::{Augment, Crop, Fill};
use crate::rng::Stream;
use crate::view::View;

/// What is shown of a sample in a view.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ViewPlan {
    /// What becomes of the sample's own image. Its `flip` is the last step: it mirrors the finished picture.
    pub picture: Picture,
    /// What is mixed into it.
    pub mix: Option<Mix>,
}

/// What becomes of one image.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Picture {
    /// The part that is shown; all of it if `None`.
    pub crop: Option<CropPlan>,
    /// Mirrored left to right?
    pub flip: bool,
    /// Other colours.
    pub colour: Option<ColourPlan>,
    /// A hole.
    pub cutout: Option<CutoutPlan>,
}

/// The part that is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CropPlan {
    /// A window of the image's size that was moved.
    Pad {
        /// Farthest move, of each side.
        padding_per_mille: u16,
        /// What lies outside.
        fill: Fill,
        /// Where from the leftmost (0) to the rightmost place.
        x_65536: u16,
        /// Where from the topmost to the lowest place.
        y_65536: u16,
    },
    /// A window inside the image.
    Resized {
        /// Of the image's area; up to [`ONE`].
        area_65536: u32,
        /// Longer side by shorter; from [`ONE`] on.
        ratio_65536: u32,
        /// Is the longer side the upright one?
        upright: bool,
        /// Where from the leftmost (0) to the rightmost place.
        x_65536: u16,
        /// Where from the topmost to the lowest place.
        y_65536: u16,
    },
}

/// Factors with 12 bits after the point; 4096 changes nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ColourPlan {
    /// f of `v f`.
    pub brightness_4096: u16,
    /// f of `m + (v - m) f`.
    pub contrast_4096: u16,
    /// f of `g + (v - g) f`.
    pub saturation_4096: u16,
}

/// A grey hole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CutoutPlan {
    /// Of the picture's sides.
    pub side_per_mille: u16,
    /// Its centre, of the picture's width.
    pub x_65536: u16,
    /// Its centre, of the picture's height.
    pub y_65536: u16,
}

/// Another sample mixed in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mix {
    /// The other sample.
    pub partner: u64,
    /// What becomes of its image before it is mixed in.
    pub picture: Picture,
    /// How the two become one.
    pub how: MixHow,
}

/// How two pictures become one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MixHow {
    /// Mix-up: `(λ a + (256 - λ) b) / 256` for every pixel, a of the sample, b of the partner.
    Blend {
        /// λ, from 128 to 256.
        lambda_256: u16,
    },
    /// Cut-mix: a box of the partner's picture over the same box of the sample's.
    Paste {
        /// Sides of the box, of the picture's sides; up to [`ONE`].
        side_65536: u32,
        /// Where from the leftmost (0) to the rightmost place: the box lies inside.
        x_65536: u16,
        /// Where from the topmost to the lowest place.
        y_65536: u16,
    },
}

impl MixHow {
    /// λ: the share of the sample itself in 1/256; the partner has the rest. Of a pasted box it is the drawn share, from which
    /// that of whole pixels may differ a little.
    pub fn lambda_256(self) -> u16 {
        match self {
            MixHow::Blend { lambda_256 } => lambda_256,
            MixHow::Paste { side_65536, .. } => {
                let pasted = (side_65536 as u64 * side_65536 as u64 + (1 << 23)) >> 24;
                256 - pasted.min(256) as u16
            }
        }
    }
}

impl ViewPlan {
    /// The image as it is.
    pub const IDENTITY: ViewPlan = ViewPlan { picture: Picture::WHOLE, mix: None };
    /// Mirrored left to right.
    pub const FLIP: ViewPlan = ViewPlan { picture: Picture { flip: true, ..Picture::WHOLE }, mix: None };

    /// The plan of a view that needs no recipe; `None` for a drawn one.
    pub fn fixed(view: View) -> Option<ViewPlan> {
        match view {
            View::Identity => Some(ViewPlan::IDENTITY),
            View::Flip => Some(ViewPlan::FLIP),
            View::Drawn(_) => None,
        }
    }
}

impl Picture {
    /// The image as it is.
    pub const WHOLE: Picture = Picture { crop: None, flip: false, colour: None, cutout: None };
}

/// The operations' numbers in the generator's stream. They are part of [`super::recipe::VERSION`]: never renumber.
#[derive(Clone, Copy)]
enum Draws {
    Crop = 0,
    Flip = 1,
    Colour = 2,
    Cutout = 3,
    /// Is it mixed, how, and with whom?
    Mix = 4,
}

/// Set in the streams of views, so that none is a stream of procedural data with the same seed.
const STREAMS_OF_VIEWS: u32 = 1 << 31;

/// The stream of one operation. Views are below 2^20, operations below 2^4.
fn stream(seed: u64, sample: u64, view: u32, draws: Draws) -> Stream {
    Stream::new(seed, sample, STREAMS_OF_VIEWS | (view << 4) | draws as u32)
}

/// A fraction of one.
fn fraction(s: &mut Stream) -> u16 {
    (s.next_u32() >> 16) as u16
}

/// Does it happen? Draws once.
fn happens(s: &mut Stream, chance_per_mille: u16) -> bool {
    s.below(1000) < chance_per_mille as u32
}

impl Augment {
    /// What `view` shows of `sample`, one of a data set of `samples`. A view that is not drawn has its fixed plan.
    ///
    /// In a data set of one sample nothing is mixed: there is no other.
    pub fn draw(&self, sample: u64, samples: u64, view: View) -> ViewPlan {
        let View::Drawn(n) = view else {
            return ViewPlan::fixed(view).unwrap_or_default();
        };
        let mix = self.mix(sample, samples, n);
        ViewPlan { picture: self.picture(sample, n), mix }
    }

    /// What becomes of the sample's own image.
    fn picture(&self, sample: u64, view: u32) -> Picture {
        let stream = |draws| stream(self.seed, sample, view, draws);
        let cutout = self.cutout.and_then(|cutout| {
            let s = &mut stream(Draws::Cutout);
            let side_per_mille = cutout.side_per_mille;
            happens(s, cutout.chance_per_mille).then(|| CutoutPlan {
                side_per_mille,
                x_65536: fraction(s),
                y_65536: fraction(s),
            })
        });
        Picture {
            crop: self.crop.map(|crop| crop_plan(crop, &mut stream(Draws::Crop))),
            flip: self.flip.is_some_and(|flip| happens(&mut stream(Draws::Flip), flip.chance_per_mille)),
            colour: self.colour.map(|colour| {
                let s = &mut stream(Draws::Colour);
                ColourPlan {
                    brightness_4096: factor(colour.brightness_per_mille, s),
                    contrast_4096: factor(colour.contrast_per_mille, s),
                    saturation_4096: factor(colour.saturation_per_mille, s),
                }
            }),
            cutout,
        }
    }

    /// What is mixed in.
    ///
    /// One draw u of 0..1000 decides: mix-up below its chance, cut-mix from 1000 - its chance on, so that neither chance
    /// moves the views of the other.
    ///
    /// λ of mix-up is even over 128..=256 of 256, not Beta(α, α): Beyer et al. (CVPR 2022) distill with even λ over [0, 1], and
    /// λ with a partner is 1 - λ with the two changed over, so half of the range shows the same pictures while the sample
    /// stays the larger part. It needs no table, and nothing to be rounded the same way everywhere.
    ///
    /// λ of cut-mix is even over [0, 1] as in its paper (Beta(1, 1)): the sides of the box are `sqrt(1 - λ)` of the
    /// picture's. The box is placed inside (the paper lets it hang out), so its area is what was drawn.
    fn mix(&self, sample: u64, samples: u64, view: u32) -> Option<Mix> {
        let chance = |mixing: Option<super::Mixing>| mixing.map_or(0, |m| m.chance_per_mille as u32);
        let s = &mut stream(self.seed, sample, view, Draws::Mix);
        let u = s.below(1000);
        let (blended, pasted) = (u < chance(self.mixup), u + chance(self.cutmix) >= 1000);
        if samples < 2 || !(blended || pasted) {
            return None;
        }
        // Evenly over the others, by multiply and shift; 64 bits, for a data set of any size.
        let random = (s.next_u32() as u64) << 32 | s.next_u32() as u64;
        let other = ((random as u128 * (samples - 1) as u128) >> 64) as u64;
        let partner = other + (other >= sample) as u64;
        let how = if blended {
            MixHow::Blend { lambda_256: 128 + s.below(129) as u16 }
        } else {
            let side_65536 = ((s.next_u32() >> 16) as u64 * ONE as u64).isqrt() as u32;
            MixHow::Paste { side_65536, x_65536: fraction(s), y_65536: fraction(s) }
        };
        Some(Mix { partner, picture: self.picture(partner, view), how })
    }
}

fn crop_plan(crop: Crop, s: &mut Stream) -> CropPlan {
    match crop {
        Crop::Pad { padding_per_mille, fill } => {
            CropPlan::Pad { padding_per_mille, fill, x_65536: fraction(s), y_65536: fraction(s) }
        }
        Crop::Resized { min_area_per_mille: min, max_area_per_mille: max, ratio_per_mille } => CropPlan::Resized {
            area_65536: per_mille(min) + s.below(per_mille(max).saturating_sub(per_mille(min)) + 1),
            ratio_65536: ONE + s.below(per_mille(ratio_per_mille).saturating_sub(ONE) + 1),
            upright: s.next_u32() >> 31 == 1,
            x_65536: fraction(s),
            y_65536: fraction(s),
        },
    }
}

/// In 1/65536, rounded down.
fn per_mille(n: u16) -> u32 {
    n as u32 * ONE / 1000
}

/// Evenly from `1 - x` to `1 + x` in 1/4096.
fn factor(x_per_mille: u16, s: &mut Stream) -> u16 {
    let x = (x_per_mille as u32 * 4096 / 1000).min(4096);
    (4096 - x + s.below(2 * x + 1)) as u16
}
