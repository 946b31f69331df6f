//! From a plan to pixels: everything before the card's resize.

use std::borrow::Cow;

use super::plan::{Picture, ViewPlan};
use super::{colour, crop, mix};
use crate::image::Image;
use crate::resize;

/// What `plan` makes of `image`, at the image's own resolution and not yet mirrored: `plan.picture.flip` is for the caller,
/// after the resize. `partner` is the image of the plan's mix, and is not looked at without one. Images are whole, with
/// sides up to the resize's limit.
///
/// The partner's picture is stretched to the sample's before they are mixed. It is mirrored where the two flips differ, so
/// that each has its own after the whole is mirrored.
pub fn shown<'a>(plan: &ViewPlan, image: &'a Image, partner: Option<&Image>) -> Cow<'a, Image> {
    let mut canvas = picture(&plan.picture, image);
    if let (Some(mixed), Some(partner)) = (&plan.mix, partner) {
        let other = picture(&mixed.picture, partner);
        let fits = (other.width, other.height) == (canvas.width, canvas.height);
        let other = if fits { other } else { Cow::Owned(resize::stretch(&other, canvas.width, canvas.height)) };
        mix::mix(canvas.to_mut(), &other, plan.picture.flip != mixed.picture.flip, mixed.how);
    }
    canvas
}

/// Crop, colours and hole of one image.
fn picture<'a>(plan: &Picture, image: &'a Image) -> Cow<'a, Image> {
    let mut canvas = match plan.crop {
        Some(window) => Cow::Owned(crop::crop(image, window)),
        None => Cow::Borrowed(image),
    };
    if let Some(factors) = plan.colour {
        colour::colour(canvas.to_mut(), factors);
    }
    if let Some(hole) = plan.cutout {
        mix::cutout(canvas.to_mut(), hole);
    }
    canvas
}
