//! A domain shift: what a worse camera does to the same scene.

use std::fmt;

use image::ExtendedColorType;
use image::codecs::jpeg::JpegEncoder;
use limbeck_answers::Image;
use limbeck_answers::rng::Stream;
use limbeck_images::decode;

use super::draw;
use crate::DataError;

/// How a finished picture is spoiled, in this order: colour cast, blur, noise, JPEG. The default changes nothing.
///
/// As text: `none`, `strong`, or any of `blur=1.0,noise=12,cast=20,jpeg=30`.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Shift {
    /// Standard deviation of the blur in pixels, 0 to 8.
    pub blur: f32,
    /// Standard deviation of added noise in levels, 0 to 128.
    pub noise: u8,
    /// Most that a channel of a picture is lifted or lowered, in levels, 0 to 128; drawn per picture and channel.
    pub cast: u8,
    /// JPEG quality 1 to 100; 0 leaves JPEG out.
    pub jpeg: u8,
}

impl Shift {
    /// A shift that costs a model about as much as a change of camera.
    pub fn strong() -> Shift {
        Shift { blur: 1.0, noise: 12, cast: 30, jpeg: 30 }
    }

    /// Read the text form.
    pub fn parse(text: &str) -> Result<Shift, DataError> {
        let mut shift = Shift::default();
        match text.trim() {
            "" | "none" => return Ok(shift),
            "strong" => return Ok(Shift::strong()),
            _ => {}
        }
        for part in text.split(',') {
            let bad = || {
                setting(format!("`{part}` is not understood; write none, strong, or blur=1.0,noise=12,cast=20,jpeg=30"))
            };
            let (key, value) = part.split_once('=').ok_or_else(bad)?;
            let level = || value.trim().parse::<u8>().map_err(|_| bad());
            match key.trim() {
                "blur" => shift.blur = value.trim().parse().map_err(|_| bad())?,
                "noise" => shift.noise = level()?,
                "cast" => shift.cast = level()?,
                "jpeg" => shift.jpeg = level()?,
                _ => return Err(bad()),
            }
        }
        shift.validate()?;
        Ok(shift)
    }

    /// The numbers are in their ranges.
    pub fn validate(&self) -> Result<(), DataError> {
        if !(0.0..=8.0).contains(&self.blur) {
            return Err(setting(format!("blur is {}; it must be 0 to 8 pixels", self.blur)));
        }
        for (key, value, most) in [("noise", self.noise, 128), ("cast", self.cast, 128), ("jpeg", self.jpeg, 100)] {
            if value > most {
                return Err(setting(format!("{key} is {value}; it must be 0 to {most}")));
            }
        }
        Ok(())
    }

    /// The picture, spoiled.
    pub fn apply(&self, mut image: Image, random: &mut Stream) -> Result<Image, DataError> {
        if self.cast > 0 {
            let most = i32::from(self.cast);
            let cast: [i32; 3] = std::array::from_fn(|_| random.between(-most, most));
            for pixel in image.rgb.chunks_exact_mut(3) {
                pixel.iter_mut().zip(cast).for_each(|(value, cast)| *value = byte(i32::from(*value) + cast));
            }
        }
        if self.blur > 0.0 {
            blur(&mut image, self.blur);
        }
        if self.noise > 0 {
            for value in &mut image.rgb {
                *value = byte(i32::from(*value) + draw::noise(i32::from(self.noise), random));
            }
        }
        if self.jpeg > 0 {
            let mut bytes = Vec::new();
            let mut encoder = JpegEncoder::new_with_quality(&mut bytes, self.jpeg);
            encoder
                .encode(&image.rgb, image.width, image.height, ExtendedColorType::Rgb8)
                .map_err(|e| setting(format!("jpeg={} cannot be encoded: {e}", self.jpeg)))?;
            image = decode::decode(&bytes, std::path::Path::new("scene"))?;
        }
        Ok(image)
    }
}

impl fmt::Display for Shift {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "blur={:?},noise={},cast={},jpeg={}", self.blur, self.noise, self.cast, self.jpeg)
    }
}

fn setting(why: String) -> DataError {
    DataError::Setting { what: "shift", why }
}

fn byte(value: i32) -> u8 {
    value.clamp(0, 255) as u8
}

/// Blur of standard deviation `sigma`, in integers: passes of the kernel (w, 1 - 2 w, w), each of variance 2 w along
/// both axes. With w <= 1/4 the kernel is monotone; n = ceil(2 sigma^2) passes of w = sigma^2 / (2 n) do it. Values
/// keep 7 bits after the point between passes, edges are repeated.
fn blur(image: &mut Image, sigma: f32) {
    let variance = sigma * sigma;
    let passes = (2.0 * variance).ceil().max(1.0);
    let side_weight = (variance / (2.0 * passes) * 65536.0).round() as i32;
    let (w, h) = (image.width as usize, image.height as usize);
    let mut now: Vec<i32> = image.rgb.iter().map(|v| i32::from(*v) << 7).collect();
    let mut then = now.clone();
    for _ in 0..passes as usize {
        for along_x in [true, false] {
            for y in 0..h {
                for x in 0..w {
                    let (before, after) = match along_x {
                        true => ((x.saturating_sub(1), y), ((x + 1).min(w - 1), y)),
                        false => ((x, y.saturating_sub(1)), (x, (y + 1).min(h - 1))),
                    };
                    for c in 0..3 {
                        let at = |(x, y): (usize, usize)| now[3 * (y * w + x) + c];
                        let middle = at((x, y));
                        // Below 2 * 2^15 * 2^14 = 2^30.
                        let change = (at(before) + at(after) - 2 * middle) * side_weight;
                        then[3 * (y * w + x) + c] = middle + ((change + (1 << 15)) >> 16);
                    }
                }
            }
            std::mem::swap(&mut now, &mut then);
        }
    }
    for (value, fine) in image.rgb.iter_mut().zip(now) {
        *value = byte((fine + 64) >> 7);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_reads_back() {
        for shift in [Shift::default(), Shift::strong(), Shift { blur: 0.3, noise: 0, cast: 5, jpeg: 100 }] {
            assert_eq!(Shift::parse(&shift.to_string()).unwrap(), shift);
        }
        assert_eq!(Shift::parse("strong").unwrap(), Shift::strong());
        assert_eq!(Shift::parse("none").unwrap(), Shift::default());
        assert_eq!(Shift::parse(" noise=12 , jpeg=30").unwrap(), Shift { noise: 12, jpeg: 30, ..Shift::default() });
    }

    #[test]
    fn text_that_is_not_understood_is_named() {
        for text in ["fog=1", "noise", "noise=300", "noise=-1", "blur=nan", "blur=9", "jpeg=101", "blur=1,,noise=2"] {
            let error = Shift::parse(text).unwrap_err().to_string();
            assert!(error.starts_with("shift: "), "{error}");
        }
    }

    #[test]
    fn blur_has_its_deviation_and_keeps_flat_flat() {
        for sigma in [0.5_f32, 1.0, 2.5] {
            let mut image = Image::filled(41, 41, [0; 3]);
            // A 5 x 5 block of variance 2 along each axis, bright enough to measure.
            for (x, y) in (18..23).flat_map(|x| (18..23).map(move |y| (x, y))) {
                image.rgb[3 * (41 * y + x)] = 250;
            }
            blur(&mut image, sigma);
            let weigh = |f: &dyn Fn(f64) -> f64| -> f64 {
                (0..41)
                    .flat_map(|y| (0..41).map(move |x| (x, y)))
                    .map(|(x, y)| f64::from(image.pixel(x, y)[0]) * f(f64::from(x) - 20.0))
                    .sum()
            };
            let variance = weigh(&|x| x * x) / weigh(&|_| 1.0) - 2.0;
            let expected = f64::from(sigma * sigma);
            assert!((variance - expected).abs() < 0.05 + 0.1 * expected, "{sigma}: {variance}");
            let mut flat = Image::filled(9, 9, [255, 3, 100]);
            blur(&mut flat, sigma);
            assert_eq!(flat, Image::filled(9, 9, [255, 3, 100]));
        }
    }
}
