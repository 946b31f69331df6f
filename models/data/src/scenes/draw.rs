//! Integer drawing: shapes with textures, antialiased 3 x 3.
//!
//! Positions and radii are in 1/256 pixel. A shape is asked about in its own coordinates (u, v), where its radius is
//! [`UNIT`] = 1024; the way there is a rotation with a rational sine and cosine, so no table and no libm are needed.

use limbeck_answers::Image;
use limbeck_answers::rng::Stream;

/// One pixel in positions and radii.
pub const PIXEL: i32 = 256;
/// A shape's radius in its own coordinates.
pub const UNIT: i32 = 1024;
/// Subsamples of a pixel, and their offsets from its centre along one axis.
const SUBSAMPLES: i32 = 9;
const OFFSETS: [i32; 3] = [-PIXEL / 3, 0, PIXEL / 3];

/// A colour while it is being worked on.
pub type Rgb = [i32; 3];

/// Outlines. The first six make classes, the last is clutter only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    Disc,
    /// With the radius of the hole.
    Ring(i32),
    Square,
    Triangle,
    /// With half the width of an arm.
    Cross(i32),
    Star,
    HalfDisc,
}

/// What fills an outline. The number is the width of a stripe or field, in [`UNIT`]s of the shape.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Texture {
    Plain,
    Stripes(i32),
    Checker(i32),
}

/// A shape somewhere.
#[derive(Clone, Debug)]
pub struct Sprite {
    pub shape: Shape,
    pub texture: Texture,
    /// Centre, 1/256 pixel.
    pub at: (i32, i32),
    /// Half axes along u and v, 1/256 pixel.
    pub radius: (i32, i32),
    pub turn: Turn,
    /// Shift of the texture, in units of the shape.
    pub phase: (i32, i32),
    pub colours: [Rgb; 2],
}

/// A rotation: cosine and sine, times 2^14.
#[derive(Clone, Copy, Debug)]
pub struct Turn {
    cos: i64,
    sin: i64,
}

impl Turn {
    /// Any angle: a quarter turn at most, then as many quarter turns more.
    pub fn any(random: &mut Stream) -> Turn {
        let Turn { cos, sin } = Turn::half_tangent(random.between(0, 4095));
        let (cos, sin) = match random.below(4) {
            0 => (cos, sin),
            1 => (-sin, cos),
            2 => (-cos, -sin),
            _ => (sin, -cos),
        };
        Turn { cos, sin }
    }

    /// Up to 30 degrees to either side: tan 15° = 0.268 = 1098 / 4096.
    pub fn slight(random: &mut Stream) -> Turn {
        Turn::half_tangent(random.between(-1098, 1098))
    }

    /// From t = tan(angle / 2), times 4096: cos = (1 - t^2) / (1 + t^2), sin = 2 t / (1 + t^2).
    fn half_tangent(t: i32) -> Turn {
        let (t, one) = (i64::from(t), 4096);
        let below = one * one + t * t;
        Turn { cos: ((one * one - t * t) << 14) / below, sin: ((2 * one * t) << 14) / below }
    }
}

impl Shape {
    /// Whether (u, v) is inside.
    fn contains(self, u: i32, v: i32) -> bool {
        let r2 = u * u + v * v;
        match self {
            Shape::Disc => r2 <= 930 * 930,
            Shape::Ring(hole) => r2 <= 960 * 960 && r2 >= hole * hole,
            Shape::Square => u.abs().max(v.abs()) <= 800,
            // Equilateral, tip at (0, -1150): v <= 575 and 0.866 |u| - 0.5 v <= 575.
            Shape::Triangle => v <= 575 && 887 * u.abs() - 512 * v <= 575 * 1024,
            Shape::Cross(arm) => u.abs().max(v.abs()) <= 980 && u.abs().min(v.abs()) <= arm,
            // A pentagram with its tips at 1200: five lines at 1200 cos 72° = 371 from the centre, one towards each
            // tip, of which a point inside is beyond one at most.
            Shape::Star => {
                let tips = [(0, -1024), (974, -316), (602, 828), (-602, 828), (-974, -316)];
                tips.iter().filter(|(a, b)| a * u + b * v > 371 * 1024).count() <= 1
            }
            Shape::HalfDisc => r2 <= 960 * 960 && v >= -100,
        }
    }
}

impl Texture {
    /// Which of the two colours (u, v) has.
    fn second(self, u: i32, v: i32) -> bool {
        let odd = |x: i32, width: i32| x.div_euclid(width) & 1 == 1;
        match self {
            Texture::Plain => false,
            Texture::Stripes(width) => odd(u, width),
            Texture::Checker(width) => odd(u, width) != odd(v, width),
        }
    }
}

/// A square picture in the making.
pub struct Canvas {
    pub size: u32,
    pixels: Vec<Rgb>,
}

impl Canvas {
    /// Every pixel from its column and row.
    pub fn from_fn(size: u32, mut colour: impl FnMut(i32, i32) -> Rgb) -> Canvas {
        let side = size as i32;
        let pixels = (0..side).flat_map(|y| (0..side).map(move |x| (x, y))).map(|(x, y)| colour(x, y)).collect();
        Canvas { size, pixels }
    }

    /// Change every pixel, given its column and row.
    pub fn map(&mut self, mut change: impl FnMut(i32, i32, Rgb) -> Rgb) {
        for (y, row) in self.pixels.chunks_exact_mut(self.size as usize).enumerate() {
            for (x, pixel) in row.iter_mut().enumerate() {
                *pixel = change(x as i32, y as i32, *pixel);
            }
        }
    }

    /// Average colour.
    pub fn mean(&self) -> Rgb {
        let n = self.pixels.len() as i64;
        std::array::from_fn(|c| (self.pixels.iter().map(|p| p[c] as i64).sum::<i64>() / n) as i32)
    }

    /// Draw the sprite; `covered(x, y)` is called for every pixel that it covers by half or more.
    pub fn paint(&mut self, sprite: &Sprite, mut covered: impl FnMut(usize, usize)) {
        let Sprite { shape, texture, at, radius, turn, phase, colours } = sprite;
        // 1.25: the tips of the star and of the triangle, and the corners of the square, lie beyond the radius.
        let reach = (radius.0.max(radius.1) * 5 / 4) + PIXEL;
        let span = |centre: i32| {
            let last = self.size as i32 - 1;
            ((centre - reach) / PIXEL).clamp(0, last)..=((centre + reach) / PIXEL).clamp(0, last)
        };
        let scale = [radius.0, radius.1].map(|r| ((UNIT as i64) << 20) / r.max(1) as i64);
        let own = |along: i64, scale: i64| (((along >> 14) * scale) >> 20) as i32;
        for y in span(at.1) {
            for x in span(at.0) {
                let (mut count, mut sum) = (0, [0; 3]);
                for sub_y in OFFSETS {
                    let dy = (y * PIXEL + PIXEL / 2 + sub_y - at.1) as i64;
                    for sub_x in OFFSETS {
                        let dx = (x * PIXEL + PIXEL / 2 + sub_x - at.0) as i64;
                        let u = own(dx * turn.cos + dy * turn.sin, scale[0]);
                        let v = own(dy * turn.cos - dx * turn.sin, scale[1]);
                        // Far outside every shape, where the squares could overflow.
                        if u.abs().max(v.abs()) > 2 * UNIT || !shape.contains(u, v) {
                            continue;
                        }
                        let colour = colours[texture.second(u + phase.0, v + phase.1) as usize];
                        (0..3).for_each(|c| sum[c] += colour[c]);
                        count += 1;
                    }
                }
                if count > 0 {
                    let pixel = &mut self.pixels[(y * self.size as i32 + x) as usize];
                    (0..3).for_each(|c| pixel[c] = (pixel[c] * (SUBSAMPLES - count) + sum[c]) / SUBSAMPLES);
                }
                if 2 * count > SUBSAMPLES {
                    covered(x as usize, y as usize);
                }
            }
        }
    }

    /// Add noise of standard deviation `sigma` to every value.
    pub fn add_noise(&mut self, sigma: i32, random: &mut Stream) {
        for pixel in &mut self.pixels {
            *pixel = pixel.map(|value| value + noise(sigma, random));
        }
    }

    /// Clamped to bytes.
    pub fn into_image(self) -> Image {
        let rgb = self.pixels.iter().flat_map(|p| p.map(|v| v.clamp(0, 255) as u8)).collect();
        Image { width: self.size, height: self.size, rgb }
    }
}

/// Nearly normal, of standard deviation `sigma`: the sum of four bytes has mean 510 and deviation
/// sqrt(4 (256^2 - 1) / 12) = 147.8, and 443 / 65536 = 1 / 147.9.
pub fn noise(sigma: i32, random: &mut Stream) -> i32 {
    let sum: i32 = random.next_u32().to_le_bytes().iter().map(|b| i32::from(*b)).sum();
    ((sum - 510) * sigma * 443 + (1 << 15)) >> 16
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn turns_are_rotations_of_every_angle() {
        let mut random = Stream::new(1, 2, 3);
        let mut quadrants = [0; 4];
        for _ in 0..400 {
            let Turn { cos, sin } = Turn::any(&mut random);
            assert!((cos * cos + sin * sin - (1 << 28)).abs() < 1 << 16, "{cos} {sin}");
            quadrants[(cos < 0) as usize * 2 + (sin < 0) as usize] += 1;
        }
        assert!(quadrants.iter().all(|n| *n > 60), "{quadrants:?}");
        let slight: Vec<Turn> = (0..400).map(|_| Turn::slight(&mut random)).collect();
        // cos 30° = 0.866 = 14189 / 2^14
        assert!(slight.iter().all(|t| t.cos >= 14_180) && slight.iter().any(|t| t.sin < 0));
    }

    #[test]
    fn noise_has_its_deviation() {
        let mut random = Stream::new(1, 2, 3);
        let draws: Vec<f64> = (0..20_000).map(|_| f64::from(noise(20, &mut random))).collect();
        let mean = draws.iter().sum::<f64>() / draws.len() as f64;
        let deviation = (draws.iter().map(|d| (d - mean).powi(2)).sum::<f64>() / draws.len() as f64).sqrt();
        assert!(mean.abs() < 0.5 && (deviation - 20.0).abs() < 0.5, "{mean} {deviation}");
    }

    #[test]
    fn a_disc_covers_its_area_and_keeps_its_colour() {
        let mut canvas = Canvas::from_fn(64, |_, _| [0; 3]);
        let mut random = Stream::new(0, 0, 0);
        let mut area = 0;
        let disc = Sprite {
            shape: Shape::Disc,
            texture: Texture::Plain,
            at: (32 * PIXEL, 32 * PIXEL),
            radius: (20 * PIXEL, 20 * PIXEL),
            turn: Turn::slight(&mut random),
            phase: (0, 0),
            colours: [[200, 10, 90], [0; 3]],
        };
        canvas.paint(&disc, |_, _| area += 1);
        // pi (20 * 930 / 1024)^2 = 1036.5
        assert!((1015..1060).contains(&area), "{area}");
        assert_eq!(canvas.into_image().pixel(32, 32), [200, 10, 90]);
    }
}
