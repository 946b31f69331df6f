//! Brightness, contrast, saturation: in this order, each rounded to u8.
//!
//! x (H, W, 3) u8 -> x, in place
//!
//! v <- a + (v - a) f, rounded to nearest (halves up), cut to 0..=255, with
//! a = 0 (brightness), a = mean luma of the picture (contrast), a = luma of the pixel (saturation)

use super::plan::ColourPlan;
use crate::image::Image;
use crate::preprocess::luma;

/// What changes nothing.
const ONE: u16 = 4096;

/// Change the colours of a whole image.
pub fn colour(image: &mut Image, plan: ColourPlan) {
    if plan.brightness_4096 != ONE {
        by_table(image, &table(0, plan.brightness_4096));
    }
    if plan.contrast_4096 != ONE {
        let mean = mean_luma(image);
        by_table(image, &table(mean, plan.contrast_4096));
    }
    if plan.saturation_4096 != ONE {
        for rgb in image.rgb.chunks_exact_mut(3) {
            let grey = luma([rgb[0], rgb[1], rgb[2]]);
            rgb.iter_mut().for_each(|v| *v = away_from(*v, grey, plan.saturation_4096));
        }
    }
}

/// `a + (v - a) f`
fn away_from(v: u8, a: u8, f_4096: u16) -> u8 {
    let sum = (a as i32 * 4096) + (v as i32 - a as i32) * f_4096 as i32 + 2048;
    (sum >> 12).clamp(0, 255) as u8
}

fn table(a: u8, f_4096: u16) -> [u8; 256] {
    std::array::from_fn(|v| away_from(v as u8, a, f_4096))
}

fn by_table(image: &mut Image, table: &[u8; 256]) {
    image.rgb.iter_mut().for_each(|v| *v = table[*v as usize]);
}

/// Mean of the pixels' lumas, rounded to nearest.
fn mean_luma(image: &Image) -> u8 {
    let pixels = (image.rgb.len() / 3).max(1) as u64;
    let sum: u64 = image.rgb.chunks_exact(3).map(|rgb| luma([rgb[0], rgb[1], rgb[2]]) as u64).sum();
    ((sum + pixels / 2) / pixels) as u8
}
