//! Cut-out, mix-up and cut-mix on pictures of one size.
//!
//! a (H, W, 3) of the sample, b (H, W, 3) of the partner -> a, in place
//!
//! blend:  a <- (λ a + (256 - λ) b + 128) >> 8
//! paste:  a <- b inside the box
//! hole:   a <- grey inside the box

use super::ONE;
use super::crop::place;
use super::plan::{CutoutPlan, MixHow};
use crate::image::Image;

/// The hole's colour: the middle of 0..=255, since a picture has no card whose mean it could be.
const GREY: u8 = 128;

/// Columns and rows of a box, ends excluded.
struct Box2 {
    x: (u32, u32),
    y: (u32, u32),
}

/// Fill the hole. A side is `round(side · picture's)`, at least one pixel; what falls outside is cut off.
pub fn cutout(image: &mut Image, plan: CutoutPlan) {
    let along = |side: u32, centre_65536: u16| {
        let hole = ((side as u64 * plan.side_per_mille as u64 + 500) / 1000).max(1);
        let centre = (side as u64 * centre_65536 as u64) >> 16;
        let end = (centre + hole - hole / 2).min(side as u64);
        (centre.saturating_sub(hole / 2) as u32, end as u32)
    };
    let hole = Box2 { x: along(image.width, plan.x_65536), y: along(image.height, plan.y_65536) };
    rows_of(image, &hole).for_each(|row| row.fill(GREY));
}

/// Mix `partner` into `image`, both of one size; mirror the partner first if `mirrored`.
pub fn mix(image: &mut Image, partner: &Image, mirrored: bool, how: MixHow) {
    let turned;
    let partner = if mirrored {
        turned = mirror(partner);
        &turned
    } else {
        partner
    };
    match how {
        MixHow::Blend { lambda_256 } => {
            let (a, b) = (lambda_256.min(256) as u32, 256 - lambda_256.min(256) as u32);
            for (x, &y) in image.rgb.iter_mut().zip(&partner.rgb) {
                *x = ((*x as u32 * a + y as u32 * b + 128) >> 8) as u8;
            }
        }
        MixHow::Paste { side_65536, x_65536, y_65536 } => {
            let along = |side: u32, at: u16| {
                let pasted = ((side as u64 * side_65536.min(ONE) as u64 + (1 << 15)) >> 16) as u32;
                let from = place(side - pasted, at);
                (from, from + pasted)
            };
            let pasted = Box2 { x: along(image.width, x_65536), y: along(image.height, y_65536) };
            let row_bytes = 3 * partner.width as usize;
            let from = partner.rgb.chunks_exact(row_bytes).skip(pasted.y.0 as usize);
            let columns = 3 * pasted.x.0 as usize..3 * pasted.x.1 as usize;
            rows_of(image, &pasted).zip(from).for_each(|(to, from)| to.copy_from_slice(&from[columns.clone()]));
        }
    }
}

/// The part of each row that lies in the box, from its first row on.
fn rows_of<'a>(image: &'a mut Image, inside: &Box2) -> impl Iterator<Item = &'a mut [u8]> + use<'a> {
    let columns = 3 * inside.x.0 as usize..3 * inside.x.1 as usize;
    let (first, count) = (inside.y.0 as usize, (inside.y.1 - inside.y.0) as usize);
    let rows = image.rgb.chunks_exact_mut(3 * image.width as usize).skip(first).take(count);
    rows.map(move |row| &mut row[columns.clone()])
}

/// Left to right.
fn mirror(image: &Image) -> Image {
    let row = 3 * image.width as usize;
    let rgb = image.rgb.chunks_exact(row).flat_map(|row| row.rchunks_exact(3).flatten().copied()).collect();
    Image { rgb, ..*image }
}
