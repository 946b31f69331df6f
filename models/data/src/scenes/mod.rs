//! The `scenes` set: shapes and textures in clutter, drawn from a seed.
//!
//! Ten classes, of which six can only be told apart by shape *and* texture (a disc or a square that is plain, striped
//! or a checkerboard). One main object an image, anywhere, turned by up to 30 degrees, in any bright
//! colours, over a darker, textured background with clutter in front and behind, under uneven light and with noise.
//! Box and mask are kept.
//!
//! How hard it is: trained on 20,000 scenes of 32 x 32 and tested on 2,000 of another seed, a convolutional net of
//! 16,000 parameters is right on 86 % after 8 epochs (77 % under [`Shift::strong`]), one of 129,000 on 98 % after 4
//! (90 %). Most of what is missed is a disc taken for a square of the same texture. The ranges in `layout` were chosen
//! for this; with any angle and any colours the small net stayed below 50 %.
//!
//! Sample `i` depends on (seed, i) alone: numbers come from [`limbeck_answers::rng`], drawing is integer arithmetic,
//! so it is the same on every thread and architecture. Every ten samples in a row hold each class once. A [`Shift`]
//! changes only how the finished picture is seen, not what is in it: the same seed with and without a shift is a
//! paired domain shift. Train and test sets are two seeds.

mod draw;
mod layout;
mod shift;

use limbeck_answers::rng::Stream;

use crate::{DataError, Dataset, Object, Sample};

pub use shift::Shift;

/// Class names, in the order of the labels.
pub const LABELS: [&str; 10] = [
    "disc",
    "ring",
    "square",
    "triangle",
    "cross",
    "star",
    "striped_disc",
    "striped_square",
    "checker_disc",
    "checker_square",
];

/// Changes whenever a seed would give other pixels; part of the hash.
const GENERATOR: &str = "scenes/1";

/// Purposes that draw from streams of their own.
#[derive(Clone, Copy)]
enum Purpose {
    Label = 0,
    Layout = 1,
    Noise = 2,
    Shift = 3,
}

fn stream(seed: u64, index: u64, purpose: Purpose) -> Stream {
    Stream::new(seed, index, purpose as u32)
}

/// What to draw.
#[derive(Clone, Debug, PartialEq)]
pub struct SceneConfig {
    /// Decides everything.
    pub seed: u64,
    /// Width and height, 32 to 1024.
    pub size: u32,
    /// How many.
    pub samples: usize,
    /// How the finished pictures are spoiled.
    pub shift: Shift,
}

/// The set itself; samples are drawn when asked for.
#[derive(Clone, Debug)]
pub struct Scenes {
    config: SceneConfig,
    name: String,
    labels: Vec<String>,
}

impl Scenes {
    /// Refuses sizes and shifts that cannot be drawn.
    pub fn new(config: SceneConfig) -> Result<Scenes, DataError> {
        let bad = |what, why: String| Err(DataError::Setting { what, why });
        if !(32..=1024).contains(&config.size) {
            return bad("scene size", format!("is {}; it must be 32 to 1024", config.size));
        }
        if config.samples == 0 {
            return bad("scene samples", "is 0; ask for at least one".into());
        }
        config.shift.validate()?;
        let shift = match config.shift == Shift::default() {
            true => String::new(),
            false => format!(" shift {}", config.shift),
        };
        let name = format!("scenes seed {} {}x{}{shift}", config.seed, config.size, config.size);
        Ok(Scenes { config, name, labels: LABELS.map(String::from).to_vec() })
    }

    /// What was asked for.
    pub fn config(&self) -> &SceneConfig {
        &self.config
    }

    /// The class of sample `i`: each ten in a row are a permutation of the classes.
    pub fn label(&self, i: usize) -> u16 {
        let n = LABELS.len();
        let mut random = stream(self.config.seed, (i / n) as u64, Purpose::Label);
        let mut classes: [u16; LABELS.len()] = std::array::from_fn(|c| c as u16);
        for left in (1..n).rev() {
            classes.swap(left, random.below(left as u32 + 1) as usize);
        }
        classes[i % n]
    }
}

impl Dataset for Scenes {
    fn name(&self) -> &str {
        &self.name
    }
    fn labels(&self) -> &[String] {
        &self.labels
    }
    fn len(&self) -> usize {
        self.config.samples
    }
    fn id(&self, i: usize) -> String {
        format!("scene {i}")
    }

    fn sample(&self, i: usize) -> Result<Sample, DataError> {
        let SceneConfig { seed, size, samples, shift } = &self.config;
        if i >= *samples {
            return Err(DataError::NoSample { name: self.name.clone(), index: i, len: *samples });
        }
        let class = self.label(i);
        let index = i as u64;
        let mut scene = layout::draw(class, *size, &mut stream(*seed, index, Purpose::Layout));
        scene.canvas.add_noise(scene.noise, &mut stream(*seed, index, Purpose::Noise));
        let image = shift.apply(scene.canvas.into_image(), &mut stream(*seed, index, Purpose::Shift))?;
        let (x0, y0, x1, y1) = scene.bounds;
        let objects = vec![Object { class, x0, y0, x1, y1 }];
        Ok(Sample { image, label: Some(class), objects, mask: Some(scene.mask) })
    }

    /// Of the generator's version, the settings and the number, which decide every pixel.
    fn leaf(&self, i: usize) -> Result<[u8; 32], DataError> {
        let SceneConfig { seed, size, samples: _, shift } = &self.config;
        let text = format!("{GENERATOR} seed={seed} size={size} shift={shift} sample={i}");
        Ok(limbeck_files::merkle::leaf(text.as_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scenes(seed: u64, size: u32, samples: usize, shift: Shift) -> Scenes {
        Scenes::new(SceneConfig { seed, size, samples, shift }).unwrap()
    }

    #[test]
    fn every_architecture_draws_these_pixels() {
        let hash = |set: Scenes| {
            let bytes: Vec<u8> = (0..set.len())
                .flat_map(|i| {
                    let sample = set.sample(i).unwrap();
                    [sample.image.rgb, sample.mask.unwrap()].concat()
                })
                .collect();
            limbeck_files::sha256_hex(&bytes)
        };
        assert_eq!(
            hash(scenes(7, 32, 40, Shift::default())),
            "b06afed0133a06815dfd5635659f41828ab82ea9be5615cb918c54d69ba99857"
        );
        assert_eq!(
            hash(scenes(7, 96, 10, Shift::default())),
            "e61ecca5f9165d85d0567ada06b9158bb739997aaa1bdbf1ac1cbd6e288087c9"
        );
        // Through image's JPEG encoder and zune's decoder as well.
        assert_eq!(
            hash(scenes(7, 32, 40, Shift::strong())),
            "7994346ac427f79a7551b75c14f1de01067ed43d4bc24683ae23dd50ea73cc1a"
        );
    }

    #[test]
    fn labels_are_balanced_in_every_ten() {
        let set = scenes(3, 32, 100, Shift::default());
        for block in 0..10 {
            let mut found: Vec<u16> = (0..10).map(|k| set.label(10 * block + k)).collect();
            found.sort_unstable();
            assert_eq!(found, (0..10).collect::<Vec<_>>());
        }
    }

    #[test]
    fn a_sample_depends_on_seed_and_index_alone() {
        let (few, many) = (scenes(5, 32, 3, Shift::default()), scenes(5, 32, 3000, Shift::default()));
        assert_eq!(few.sample(2).unwrap(), many.sample(2).unwrap());
        assert_ne!(few.sample(2).unwrap(), scenes(6, 32, 3, Shift::default()).sample(2).unwrap());
        assert_ne!(few.sample(0).unwrap().image, few.sample(1).unwrap().image);
        assert_ne!(few.sha256().unwrap(), many.sha256().unwrap());
    }

    #[test]
    fn box_and_mask_belong_to_the_label() {
        for size in [32, 50] {
            let set = scenes(9, size, 200, Shift::default());
            for i in 0..set.len() {
                let sample = set.sample(i).unwrap();
                let (o, mask) = (sample.objects[0], sample.mask.unwrap());
                assert_eq!(Some(o.class), sample.label);
                assert!(o.x0 < o.x1 && o.y0 < o.y1 && u32::from(o.x1.max(o.y1)) <= size, "{i}: {o:?}");
                let inside =
                    |x: usize, y: usize| (o.x0..o.x1).contains(&(x as u16)) && (o.y0..o.y1).contains(&(y as u16));
                let mut area = 0;
                for (at, m) in mask.iter().enumerate().filter(|(_, m)| **m != 0) {
                    assert_eq!(u16::from(*m), o.class + 1);
                    assert!(inside(at % size as usize, at / size as usize), "{i}: mask outside its box");
                    area += 1;
                }
                assert!(area * 60 > size * size, "{i}: only {area} pixels of the object are left");
            }
        }
    }

    #[test]
    fn a_shift_spoils_the_picture_and_nothing_else() {
        let (plain, shifted) = (scenes(5, 32, 20, Shift::default()), scenes(5, 32, 20, Shift::strong()));
        for i in 0..20 {
            let (a, b) = (plain.sample(i).unwrap(), shifted.sample(i).unwrap());
            assert_eq!((a.label, &a.objects, &a.mask), (b.label, &b.objects, &b.mask));
            assert_ne!(a.image, b.image);
        }
        assert_ne!(plain.sha256().unwrap(), shifted.sha256().unwrap());
    }

    #[test]
    fn settings_that_cannot_be_drawn_are_refused() {
        for (size, samples) in [(31, 1), (1025, 1), (32, 0)] {
            let config = SceneConfig { seed: 0, size, samples, shift: Shift::default() };
            assert!(matches!(Scenes::new(config), Err(DataError::Setting { .. })));
        }
        assert!(scenes(0, 32, 5, Shift::default()).sample(5).is_err());
    }
}
