//! The part of the image that is shown.
//!
//! image (H, W, 3) -> (H, W, 3) moved, or (h, w, 3) cut out
//!
//! pad:      dx = floor(x (2 P + 1)) - P,  P = round(W padding);  the same for dy
//! resized:  w = round(sqrt(A r)), h = round(sqrt(A / r)),  A = area W H;  each 1 to the image's side
//!           left = floor(x (W - w + 1)), top = floor(y (H - h + 1))

use super::plan::CropPlan;
use super::recipe::Fill;
use crate::image::Image;

/// The cropped image. `image` is whole.
pub fn crop(image: &Image, plan: CropPlan) -> Image {
    match plan {
        CropPlan::Pad { padding_per_mille, fill, x_65536, y_65536 } => {
            let dx = moved(image.width, padding_per_mille, x_65536);
            let dy = moved(image.height, padding_per_mille, y_65536);
            shifted(image, dx, dy, fill)
        }
        CropPlan::Resized { area_65536, ratio_65536, upright, x_65536, y_65536 } => {
            let (width, height) = sides(image.width, image.height, area_65536, ratio_65536, upright);
            let left = place(image.width - width, x_65536);
            let top = place(image.height - height, y_65536);
            window(image, left, top, width, height)
        }
    }
}

/// Evenly over the `room + 1` whole places from 0 to `room`.
pub fn place(room: u32, at_65536: u16) -> u32 {
    ((at_65536 as u64 * (room as u64 + 1)) >> 16) as u32
}

/// By how many pixels the window moves along a side.
fn moved(side: u32, padding_per_mille: u16, at_65536: u16) -> i64 {
    let padding = (side as u64 * padding_per_mille as u64 + 500) / 1000;
    ((at_65536 as u64 * (2 * padding + 1)) >> 16) as i64 - padding as i64
}

/// Sides of a window by area and shape.
fn sides(w: u32, h: u32, area_65536: u32, ratio_65536: u32, upright: bool) -> (u32, u32) {
    let area = w as u128 * h as u128 * area_65536 as u128; // in 1/65536
    let ratio = ratio_65536.max(1) as u128;
    // Of n / 2^32: round(sqrt(n) / 2^16) = floor((2 sqrt(n) / 2^16 + 1) / 2)
    let root = |n: u128| ((n << 2).isqrt() >> 16).div_ceil(2);
    let long = root(area * ratio);
    let short = root((area << 32) / ratio);
    let (wide, high) = if upright { (short, long) } else { (long, short) };
    (wide.clamp(1, w as u128) as u32, high.clamp(1, h as u128) as u32)
}

fn window(image: &Image, left: u32, top: u32, width: u32, height: u32) -> Image {
    let (from, bytes) = (3 * left as usize, 3 * width as usize);
    let rows = image.rgb.chunks_exact(3 * image.width as usize).skip(top as usize).take(height as usize);
    let mut rgb = Vec::with_capacity(bytes * height as usize);
    rows.for_each(|row| rgb.extend_from_slice(&row[from..from + bytes]));
    Image { width, height, rgb }
}

/// Pixel (x, y) of the result is pixel (x + dx, y + dy) of the image.
fn shifted(image: &Image, dx: i64, dy: i64, fill: Fill) -> Image {
    let (w, h) = (image.width as i64, image.height as i64);
    let row_bytes = 3 * image.width as usize;
    let mut rgb = vec![0; image.rgb.len()];
    // Columns that need no thought are copied in one piece.
    let inside = (-dx).clamp(0, w)..(w - dx).clamp(0, w);
    for (y, to) in rgb.chunks_exact_mut(row_bytes).enumerate() {
        let Some(row) = source(y as i64 + dy, h, fill) else { continue };
        let from = &image.rgb[row * row_bytes..][..row_bytes];
        if !inside.is_empty() {
            let (start, bytes) = (3 * inside.start as usize, 3 * (inside.end - inside.start) as usize);
            let at = 3 * (inside.start + dx) as usize;
            to[start..start + bytes].copy_from_slice(&from[at..at + bytes]);
        }
        for x in (0..inside.start).chain(inside.end..w) {
            if let Some(column) = source(x + dx, w, fill) {
                to[3 * x as usize..][..3].copy_from_slice(&from[3 * column..][..3]);
            }
        }
    }
    Image { rgb, ..*image }
}

/// The index inside `0..n` that stands for `i`; `None` is black.
fn source(i: i64, n: i64, fill: Fill) -> Option<usize> {
    if (0..n).contains(&i) {
        return Some(i as usize);
    }
    match fill {
        Fill::Zero => None,
        Fill::Reflect => {
            let period = (2 * (n - 1)).max(1);
            let i = i.rem_euclid(period);
            Some(i.min(period - i).clamp(0, n - 1) as usize)
        }
    }
}
