//! A data set as a folder of PNG files, which every program and every board reads as an image folder.

use std::io::Cursor;
use std::path::Path;

use image::{ExtendedColorType, ImageFormat};
use limbeck_images::{DataError, Dataset};

/// Write `<folder>/<label>/<number>.png`, or `<folder>/<number>.png` for what has no label. PNG keeps every pixel.
///
/// # Errors
/// A sample that cannot be read, or a file that cannot be written.
pub fn export(dataset: &dyn Dataset, folder: &Path, progress: &dyn Fn(usize)) -> Result<(), DataError> {
    for i in 0..dataset.len() {
        let sample = dataset.sample(i)?;
        let label = sample.label.and_then(|l| dataset.labels().get(l as usize));
        let into = label.map_or_else(|| folder.to_owned(), |label| folder.join(label));
        limbeck_files::create_dir(&into)?;
        let (width, height) = (sample.image.width, sample.image.height);
        let mut png = Cursor::new(vec![]);
        let colour = ExtendedColorType::Rgb8;
        image::write_buffer_with_format(&mut png, &sample.image.rgb, width, height, colour, ImageFormat::Png)
            .map_err(|e| DataError::Setting { what: "the PNG", why: format!("{}: {e}", dataset.id(i)) })?;
        limbeck_files::write_atomic(into.join(format!("{i:06}.png")), |w| w.write_all(png.get_ref()))?;
        progress(i + 1);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{FolderOptions, ImageFolder, SceneConfig, Scenes, Shift};

    #[test]
    fn an_exported_folder_has_the_same_pixels_and_labels() {
        let scenes = Scenes::new(SceneConfig { seed: 3, size: 32, samples: 20, shift: Shift::strong() }).unwrap();
        let folder = tempfile::tempdir().unwrap();
        export(&scenes, folder.path(), &|_| ()).unwrap();
        let options = FolderOptions { labels: Some(scenes.labels().to_vec()), ..FolderOptions::default() };
        let read = ImageFolder::open(folder.path(), &options).unwrap();
        assert_eq!(read.len(), 20);
        for i in 0..20 {
            let number = read.id(i).rsplit('/').next().unwrap().trim_end_matches(".png").parse::<usize>().unwrap();
            let (a, b) = (read.sample(i).unwrap(), scenes.sample(number).unwrap());
            assert_eq!((a.image, a.label), (b.image, b.label), "{}", read.id(i));
        }
    }
}
