//! Antialiased bilinear resize in integers.
//!
//! x (H, W, 3) u8 -> y (H', W', 3) u8, rows first, then columns, each rounded to u8
//!
//! The triangle filter of Pillow's `BILINEAR`: for output `i` of `N'` from input `j` of `N`, half-pixel centres, with
//! support `max(1, N / N')`, so that shrinking averages over every pixel it leaves out:
//!
//! ```text
//! w[i,j] = max(0, 1 - |(j + 1/2) - (i + 1/2) N / N'| / max(1, N / N')),  normalised over the j that exist
//! ```
//!
//! Times `2 max(N, N')` this is a whole number, so the weights are exact until they are rounded to
//! [`WEIGHT_BITS`] = 22 bits after the point (Pillow's number too). The rounding is of running sums, so each row of
//! weights sums to exactly `1 << 22`: a flat image stays flat. A sum is below `255 << 22 < 2^30`, so `u32` holds it.

use crate::image::Image;

/// Bits after the point of a weight.
pub const WEIGHT_BITS: u32 = 22;
/// Longest side that may be resized: keeps the running sums inside 63 bits.
pub const MAX_SIDE: u32 = 1 << 16;

/// For each output, the first input it reads and the weights from there on.
struct Taps {
    first: Vec<usize>,
    weights: Vec<Vec<u32>>,
}

/// `image` stretched to `width` x `height`. All four sides are 1 to [`MAX_SIDE`] and the image is whole.
pub fn stretch(image: &Image, width: u32, height: u32) -> Image {
    let (w, h) = (image.width as usize, image.height as usize);
    let (wo, ho) = (width as usize, height as usize);
    let across = taps(w, wo);
    let mut narrow = vec![0; 3 * wo * h];
    for (x_h, y_h) in image.rgb.chunks_exact(3 * w).zip(narrow.chunks_exact_mut(3 * wo)) {
        for (i, y) in y_h.chunks_exact_mut(3).enumerate() {
            let mut sum = [1 << (WEIGHT_BITS - 1); 3];
            let reach = x_h[3 * across.first[i]..].chunks_exact(3);
            for (x, &weight) in reach.zip(&across.weights[i]) {
                for c in 0..3 {
                    sum[c] += x[c] as u32 * weight;
                }
            }
            y.copy_from_slice(&sum.map(|s| (s >> WEIGHT_BITS) as u8));
        }
    }
    let down = taps(h, ho);
    let mut rgb = vec![0; 3 * wo * ho];
    let mut sum = vec![0_u32; 3 * wo];
    for (i, y_h) in rgb.chunks_exact_mut(3 * wo).enumerate() {
        sum.fill(1 << (WEIGHT_BITS - 1));
        let reach = narrow[3 * wo * down.first[i]..].chunks_exact(3 * wo);
        for (x_h, &weight) in reach.zip(&down.weights[i]) {
            for (s, &x) in sum.iter_mut().zip(x_h) {
                *s += x as u32 * weight;
            }
        }
        for (y, &s) in y_h.iter_mut().zip(&sum) {
            *y = (s >> WEIGHT_BITS) as u8;
        }
    }
    Image { width, height, rgb }
}

fn taps(n: usize, n_out: usize) -> Taps {
    let (n, n_out) = (n as i64, n_out as i64);
    // One pixel of the larger side is 2 * n.max(n_out) units wide in these coordinates.
    let support = 2 * n.max(n_out);
    let mut taps = Taps { first: Vec::new(), weights: Vec::new() };
    for i in 0..n_out {
        let centre = (2 * i + 1) * n;
        let weight = |j: i64| support - ((2 * j + 1) * n_out - centre).abs();
        // (2 j + 1) n_out > centre - support, so the first j with a weight is one past this, or 0.
        let mut first = ((centre - support) / n_out - 1).div_euclid(2).clamp(0, n - 1);
        while first < n - 1 && weight(first) <= 0 {
            first += 1;
        }
        let whole: Vec<i64> = (first..n).map(weight).take_while(|w| *w > 0).collect();
        let total: i64 = whole.iter().sum();
        let mut running = 0;
        let mut before = 0;
        let row = whole.iter().map(|w| {
            running += w;
            let now = ((running << WEIGHT_BITS) + total / 2) / total;
            let rounded = now - before;
            before = now;
            rounded as u32
        });
        taps.weights.push(row.collect());
        taps.first.push(first as usize);
    }
    taps
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Stream;

    /// The formula in f64, without any of the integer tricks.
    fn plain(x: &[f64], n_out: usize) -> Vec<f64> {
        let ratio = x.len() as f64 / n_out as f64;
        let row = |i: usize| {
            let weight =
                |j: usize| (1.0 - ((j as f64 + 0.5) - (i as f64 + 0.5) * ratio).abs() / ratio.max(1.0)).max(0.0);
            let total: f64 = (0..x.len()).map(weight).sum();
            x.iter().enumerate().map(|(j, x)| x * weight(j)).sum::<f64>() / total
        };
        (0..n_out).map(row).collect()
    }

    fn random(width: u32, height: u32) -> Image {
        let mut s = Stream::new(5, width as u64, height);
        let rgb = (0..3 * width * height).map(|_| s.next_u32() as u8).collect();
        Image { width, height, rgb }
    }

    #[test]
    fn resize_is_the_formula() {
        let sizes = [
            ((1, 1), (5, 3)),
            ((7, 5), (7, 5)),
            ((7, 5), (20, 31)),
            ((64, 50), (32, 32)),
            ((100, 33), (7, 9)),
            ((9, 2), (1, 1)),
        ];
        for ((w, h), (wo, ho)) in sizes {
            let image = random(w, h);
            let got = stretch(&image, wo, ho);
            let mut worst = 0.0_f64;
            for c in 0..3 {
                let rows: Vec<Vec<f64>> = (0..h)
                    .map(|y| plain(&(0..w).map(|x| image.pixel(x, y)[c] as f64).collect::<Vec<_>>(), wo as usize))
                    .collect();
                for x in 0..wo {
                    let column: Vec<f64> = rows.iter().map(|r| r[x as usize]).collect();
                    for (y, value) in plain(&column, ho as usize).into_iter().enumerate() {
                        worst = worst.max((value - got.pixel(x, y as u32)[c] as f64).abs());
                    }
                }
            }
            // Two roundings to u8, the first one averaged by the second pass: at most 1/2 + 1/2.
            assert!(worst <= 1.0 + 1e-3, "{w}x{h} to {wo}x{ho}: off by {worst}");
        }
    }

    #[test]
    fn weights_sum_to_one_and_a_flat_image_stays_flat() {
        for (n, n_out) in [(1, 9), (9, 1), (32, 224), (500, 224), (65536, 3), (3, 65536), (1000, 999)] {
            let taps = taps(n, n_out);
            for (first, row) in taps.first.iter().zip(&taps.weights) {
                assert_eq!(row.iter().sum::<u32>(), 1 << WEIGHT_BITS, "{n} to {n_out}");
                assert!(first + row.len() <= n);
            }
        }
        let flat = Image::filled(13, 17, [255, 1, 77]);
        assert_eq!(stretch(&flat, 40, 5), Image::filled(40, 5, [255, 1, 77]));
    }

    #[test]
    fn the_same_size_is_the_same_image() {
        let image = random(12, 7);
        assert_eq!(stretch(&image, 12, 7), image);
    }

    #[test]
    fn halving_a_checkerboard_gives_gray() {
        // w = 1/8, 3/8, 3/8, 1/8 inside: half black and half white.
        let rgb = (0..16 * 16).flat_map(|i| [if (i % 16 + i / 16) % 2 == 0 { 255 } else { 0 }; 3]).collect();
        let small = stretch(&Image { width: 16, height: 16, rgb }, 8, 8);
        assert!((1..7).all(|i| small.pixel(i, i)[0].abs_diff(128) <= 1));
    }
}
