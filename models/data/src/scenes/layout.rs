//! What stands where: background, clutter, the main object, light.

use limbeck_answers::rng::Stream;

use super::draw::{Canvas, PIXEL, Rgb, Shape, Sprite, Texture, Turn, UNIT};

/// A scene before noise and shift.
pub struct Scene {
    pub canvas: Canvas,
    /// (H, W): 0, or class + 1 where the object is not hidden.
    pub mask: Vec<u8>,
    /// x0, y0, x1, y1 of the whole object, hidden parts included.
    pub bounds: (u16, u16, u16, u16),
    /// Standard deviation of the noise still to be added.
    pub noise: i32,
}

/// Draw a scene whose main object is of `class`.
pub fn draw(class: u16, size: u32, random: &mut Stream) -> Scene {
    let mut canvas = background(size, random);
    for _ in 0..random.between(0, 3) {
        let clutter = if random.below(4) == 0 { line(size, random) } else { blob(size, random) };
        canvas.paint(&clutter, |_, _| ());
    }
    let side = size as usize;
    let mut mask = vec![0; side * side];
    let (mut x0, mut y0, mut x1, mut y1) = (side, side, 0, 0);
    let main = main_object(class, size, canvas.mean(), random);
    canvas.paint(&main, |x, y| {
        mask[y * side + x] = class as u8 + 1;
        (x0, y0, x1, y1) = (x0.min(x), y0.min(y), x1.max(x + 1), y1.max(y + 1));
    });
    for _ in 0..random.between(0, 1) {
        canvas.paint(&line(size, random), |x, y| mask[y * side + x] = 0);
    }
    light(&mut canvas, random);
    let bounds = (x0 as u16, y0 as u16, x1 as u16, y1 as u16);
    Scene { canvas, mask, bounds, noise: random.between(2, 9) }
}

/// `n` 32nds of the picture's side, in 1/256 pixel: all lengths grow with the picture.
fn length(n: i32, size: u32) -> i32 {
    n * size as i32 * (PIXEL / 32)
}

/// Any colour, for clutter.
fn colour(random: &mut Stream) -> Rgb {
    std::array::from_fn(|_| random.between(10, 245))
}

/// A colour of the bright half, for the main object.
fn bright(random: &mut Stream) -> Rgb {
    std::array::from_fn(|_| random.between(90, 245))
}

/// A colour of the dark half, for the background.
fn dark(random: &mut Stream) -> Rgb {
    std::array::from_fn(|_| random.between(20, 150))
}

/// Sum of the differences of the channels.
fn difference(a: Rgb, b: Rgb) -> i32 {
    (0..3).map(|c| (a[c] - b[c]).abs()).sum()
}

/// A bright colour that differs from all of `others` by `least` or more, or the best of 16 draws.
fn bright_unlike(others: &[Rgb], least: i32, random: &mut Stream) -> Rgb {
    let (mut best, mut best_difference) = ([0; 3], -1);
    for _ in 0..16 {
        let draw = bright(random);
        let closest = others.iter().map(|o| difference(draw, *o)).min().unwrap_or(i32::MAX);
        if closest >= least {
            return draw;
        }
        if closest > best_difference {
            (best, best_difference) = (draw, closest);
        }
    }
    best
}

/// The object that the label is about.
fn main_object(class: u16, size: u32, around: Rgb, random: &mut Stream) -> Sprite {
    let stripe = random.between(330, 480);
    let field = random.between(420, 560);
    let (shape, texture) = match class {
        0 => (Shape::Disc, Texture::Plain),
        1 => (Shape::Ring(random.between(420, 640)), Texture::Plain),
        2 => (Shape::Square, Texture::Plain),
        3 => (Shape::Triangle, Texture::Plain),
        4 => (Shape::Cross(random.between(220, 340)), Texture::Plain),
        5 => (Shape::Star, Texture::Plain),
        6 => (Shape::Disc, Texture::Stripes(stripe)),
        7 => (Shape::Square, Texture::Stripes(stripe)),
        8 => (Shape::Disc, Texture::Checker(field)),
        _ => (Shape::Square, Texture::Checker(field)),
    };
    // Of the side 0.23 to 0.39, so the finest stripe at 32 pixels is 330 / 1024 * 7.5 = 2.4 pixels wide.
    let radius = random.between(length(15, size) / 2, length(25, size) / 2);
    let squeeze = random.between(218, 256);
    let margin = radius * 7 / 8;
    let last = size as i32 * PIXEL - margin;
    let first = bright_unlike(&[around], random.between(120, 260), random);
    let second = bright_unlike(&[first], random.between(150, 280), random);
    Sprite {
        shape,
        texture,
        at: (random.between(margin, last), random.between(margin, last)),
        radius: (radius, radius * squeeze / 256),
        turn: Turn::slight(random),
        phase: (random.between(0, 2 * UNIT), random.between(0, 2 * UNIT)),
        colours: [first, second],
    }
}

/// Clutter that is no class: long ellipses, rods and half discs, some of them striped, smaller than the main object.
fn blob(size: u32, random: &mut Stream) -> Sprite {
    let shape = [Shape::Disc, Shape::Square, Shape::HalfDisc][random.below(3) as usize];
    let texture = if random.below(3) == 0 { Texture::Stripes(random.between(300, 600)) } else { Texture::Plain };
    let long = random.between(length(5, size) / 2, length(6, size));
    let whole = size as i32 * PIXEL;
    let narrow = if shape == Shape::HalfDisc { long } else { long * random.between(80, 130) / 256 };
    Sprite {
        shape,
        texture,
        at: (random.between(0, whole), random.between(0, whole)),
        radius: (long, narrow),
        turn: Turn::any(random),
        phase: (random.between(0, UNIT), 0),
        colours: [colour(random), colour(random)],
    }
}

/// A thin line, part or all of the way across.
fn line(size: u32, random: &mut Stream) -> Sprite {
    let whole = size as i32 * PIXEL;
    let one = colour(random);
    Sprite {
        shape: Shape::Square,
        texture: Texture::Plain,
        at: (random.between(0, whole), random.between(0, whole)),
        radius: (random.between(whole / 5, whole), random.between(length(1, size) / 3, length(1, size) * 2 / 3)),
        turn: Turn::any(random),
        phase: (0, 0),
        colours: [one, one],
    }
}

/// Two colours flowing into each other, uneven like cloth; every third one with faint stripes or fields besides.
fn background(size: u32, random: &mut Stream) -> Canvas {
    let from = dark(random);
    let to = from.map(|value| (value + random.between(-50, 50)).clamp(0, 255));
    let (gx, gy) = (random.between(-256, 256), random.between(-256, 256));
    let rough = random.between(0, 24);
    // Corners of the uneven patches: 8 x 8 of them over the picture, whatever its size.
    let corners: [[i32; 9]; 9] = std::array::from_fn(|_| std::array::from_fn(|_| random.between(-rough, rough)));
    let pattern = match random.below(6) {
        0 => Texture::Stripes(random.between(120, 330)),
        1 => Texture::Checker(random.between(150, 330)),
        _ => Texture::Plain,
    };
    let faint = random.between(8, 30);
    let whole = Sprite {
        shape: Shape::Square,
        texture: pattern,
        at: (size as i32 * PIXEL / 2, size as i32 * PIXEL / 2),
        radius: (size as i32 * PIXEL, size as i32 * PIXEL),
        turn: Turn::any(random),
        phase: (random.between(0, UNIT), random.between(0, UNIT)),
        colours: [[0; 3], [faint; 3]],
    };
    let side = size as i32;
    let mut canvas = Canvas::from_fn(size, |_, _| [0; 3]);
    if pattern != Texture::Plain {
        canvas.paint(&whole, |_, _| ());
    }
    canvas.map(|x, y, faint| {
        // Along the gradient, -256..=256.
        let along = (gx * (2 * x - side) + gy * (2 * y - side)) / (2 * side);
        let (px, py) = (x * 8 * 256 / side, y * 8 * 256 / side);
        let (cx, cy, fx, fy) = ((px / 256) as usize, (py / 256) as usize, px % 256, py % 256);
        let across = |row: &[i32; 9]| row[cx] * (256 - fx) + row[cx + 1] * fx;
        let cloth = (across(&corners[cy]) * (256 - fy) + across(&corners[cy + 1]) * fy) / 65536;
        std::array::from_fn(|c| from[c] + (to[c] - from[c]) * (along + 256) / 512 + cloth + faint[c])
    });
    canvas
}

/// Brighter on one side than on the other, by up to 40 % of the middle, and brighter or darker as a whole.
fn light(canvas: &mut Canvas, random: &mut Stream) {
    let (gx, gy) = (random.between(-100, 100), random.between(-100, 100));
    let overall = random.between(170, 290);
    let side = canvas.size as i32;
    canvas.map(|x, y, pixel| {
        let gain = overall + (gx * (2 * x - side) + gy * (2 * y - side)) / (2 * side);
        pixel.map(|value| value.clamp(0, 255) * gain / 256)
    });
}
