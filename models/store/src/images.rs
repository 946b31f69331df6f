//! An image folder in a store.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use limbeck_files::FileError;
use limbeck_images::{DataError, Files, FolderOptions, ImageFolder, Listing};

use crate::{Store, StoreError};

/// Open the image folder that `url` names. Samples, order, labels and hash are those of the same files in a local folder.
///
/// Everything is listed at once; files are fetched when their sample is asked for, and not kept.
pub fn open_images(url: &str, options: &FolderOptions) -> Result<ImageFolder, DataError> {
    let failed = |e: StoreError| data_error(PathBuf::from(url), "open", e);
    let store = Store::open(url).map_err(failed)?;
    let tree = Tree::of(store).map_err(failed)?;
    ImageFolder::open_in(Arc::new(tree), options)
}

/// A store, and what stands in its folders.
#[derive(Debug)]
struct Tree {
    store: Store,
    root: PathBuf,
    folders: BTreeMap<String, Listing>,
}

impl Tree {
    fn of(store: Store) -> Result<Tree, StoreError> {
        let mut folders = BTreeMap::from([(String::new(), Listing::default())]);
        // Keys come sorted, so those of one folder stand together.
        for entry in store.list()? {
            let (parents, name) = match entry.key.rsplit_once('/') {
                Some((parents, name)) => (parents, name),
                None => ("", entry.key.as_str()),
            };
            make_folder(&mut folders, parents);
            if let (false, Some(listing)) = (name.is_empty(), folders.get_mut(parents)) {
                listing.add(name.to_owned(), false);
            }
        }
        folders.values_mut().for_each(Listing::sort);
        Ok(Tree { root: PathBuf::from(store.url()), store, folders })
    }
}

/// Make sure that `path` and the folders above it are known, each to the one above.
fn make_folder(folders: &mut BTreeMap<String, Listing>, path: &str) {
    if folders.contains_key(path) {
        return;
    }
    let (above, name) = path.rsplit_once('/').unwrap_or(("", path));
    make_folder(folders, above);
    folders.insert(path.to_owned(), Listing::default());
    if let Some(listing) = folders.get_mut(above) {
        listing.add(name.to_owned(), true);
    }
}

impl Files for Tree {
    fn root(&self) -> &Path {
        &self.root
    }

    fn name(&self) -> String {
        let name = self.root.file_name().map(|n| n.to_string_lossy().into_owned());
        name.unwrap_or_else(|| self.store.url().to_owned())
    }

    fn list(&self, folder: &str) -> Result<Listing, DataError> {
        Ok(self.folders.get(folder).cloned().unwrap_or_default())
    }

    fn read(&self, id: &str) -> Result<Vec<u8>, DataError> {
        self.store.get(id).map_err(|e| data_error(self.root.join(id), "read", e))
    }
}

/// A store's error as the error of a file.
fn data_error(path: PathBuf, doing: &'static str, error: StoreError) -> DataError {
    match error {
        StoreError::File(error) => error.into(),
        other => FileError { path, doing, source: std::io::Error::other(other) }.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use image::RgbImage;
    use limbeck_images::Dataset;

    #[test]
    fn a_store_and_a_folder_of_the_same_files_are_the_same_data_set() {
        let root = tempfile::tempdir().unwrap();
        for (i, file) in ["cat/b.png", "cat/a.png", "cat/deep/x.png", "dog/1.png", ".git/x.png"].iter().enumerate() {
            let path = root.path().join(file);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            RgbImage::from_pixel(4, 4, image::Rgb([i as u8, 1, 2])).save(path).unwrap();
        }
        std::fs::write(root.path().join("cat/notes.txt"), "x").unwrap();
        let options = FolderOptions::default();
        let folder = ImageFolder::open(root.path(), &options).unwrap();
        let store = open_images(&format!("file://{}", root.path().display()), &options).unwrap();
        let ids = |d: &ImageFolder| (0..d.len()).map(|i| d.id(i)).collect::<Vec<_>>();
        assert_eq!(ids(&store), ["cat/a.png", "dog/1.png", "cat/b.png"]);
        assert_eq!((ids(&store), store.labels(), store.name()), (ids(&folder), folder.labels(), folder.name()));
        assert_eq!(store.sha256().unwrap(), folder.sha256().unwrap());
        assert_eq!(store.ignored(), folder.ignored());
        for i in 0..3 {
            assert_eq!(store.sample(i).unwrap(), folder.sample(i).unwrap());
        }
    }

    #[test]
    fn an_empty_store_says_so() {
        let root = tempfile::tempdir().unwrap();
        let url = format!("file://{}", root.path().display());
        let error = open_images(&url, &FolderOptions::default()).unwrap_err().to_string();
        assert!(error.contains("no images here"), "{error}");
    }
}
