//! Data sets: the procedural `scenes` set here, image folders and what a set is in `limbeck-images`.
//!
//! Pixels are the same on every architecture: scenes are drawn in integers, JPEG is decoded without SIMD.

#![forbid(unsafe_code)]

mod export;
pub mod scenes;

pub use export::export;
pub use limbeck_images::{
    DataError, Dataset, Files, FolderOptions, ImageFolder, Labels, Listing, MemoryDataset, Mixed, Object, OnCorrupt,
    Sample, SizeExample, Skipped, Unwatched, Viewed, Watch, folder, memory, merkle, parallel,
};
pub use scenes::{SceneConfig, Scenes, Shift};

/// Index of the largest value, the first of equals; 0 when there is none. NaN is never the largest.
pub fn argmax(values: &[f32]) -> usize {
    let best = |best: (usize, f32), (i, &value): (usize, &f32)| if value > best.1 { (i, value) } else { best };
    values.iter().enumerate().fold((0, f32::NEG_INFINITY), best).0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn argmax_is_the_first_of_the_largest() {
        let cases: [(&[f32], usize); 5] =
            [(&[], 0), (&[-3.0], 0), (&[1.0, 5.0, 5.0], 1), (&[f32::NAN, -1.0], 1), (&[f32::NEG_INFINITY; 2], 0)];
        for (values, expected) in cases {
            assert_eq!(argmax(values), expected, "{values:?}");
        }
    }

    #[test]
    fn memory_holds_what_the_set_gives() {
        let config = SceneConfig { seed: 1, size: 32, samples: 23, shift: Shift::default() };
        let scenes = Scenes::new(config).unwrap();
        let memory = MemoryDataset::load(&scenes, &|_| ()).unwrap();
        assert_eq!((memory.len(), memory.labels(), memory.name()), (23, scenes.labels(), scenes.name()));
        assert_eq!(memory.sha256().unwrap(), scenes.sha256().unwrap());
        for i in 0..23 {
            assert_eq!(memory.get(i), &scenes.sample(i).unwrap());
            assert_eq!(memory.id(i), scenes.id(i));
        }
        assert!(memory.bytes() > 23 * 4 * 32 * 32);
        assert!(memory.sample(23).unwrap_err().to_string().contains("no sample 23"));
    }
}
