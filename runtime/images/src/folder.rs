//! A folder of images: `<root>/<class>/*.jpg`, or images only.
//!
//! Class folders sorted by name are the labels, unless the card's labels are given: then every class folder must be
//! one of them, and labels count in the card's order. Files are sorted by name within their class and classes take
//! turns (the first file of each class, then the second of each, …), so that the first n samples are as balanced as n
//! allows; a limit takes exactly those. Hidden files, files that are no images by name, and folders without images are
//! passed over and counted.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::decode;
use crate::files::{Files, Local};
use crate::parallel::{self, Progress};
use crate::{DataError, Dataset, Sample};

/// How to open an [`ImageFolder`].
#[derive(Clone, Debug, Default)]
pub struct FolderOptions {
    /// What [`ImageFolder::verify`] does with a file that does not decode.
    pub on_corrupt: OnCorrupt,
    /// The card's labels, in order.
    pub labels: Option<Vec<String>>,
    /// At most this many samples, balanced over the classes.
    pub limit: Option<usize>,
}

/// What to do with a file that does not decode.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnCorrupt {
    /// Stop, naming it.
    #[default]
    Refuse,
    /// Leave it out, and say so.
    Skip,
}

/// A file that [`ImageFolder::verify`] left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Skipped {
    /// The file, relative to the folder.
    pub id: String,
    /// What the decoder said.
    pub why: String,
}

/// One size that occurs in a folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SizeExample {
    /// Columns.
    pub width: u32,
    /// Rows.
    pub height: u32,
    /// Images of this size.
    pub count: usize,
    /// The first of them, relative to the folder.
    pub id: String,
}

/// A folder of JPEG and PNG files.
#[derive(Clone, Debug)]
pub struct ImageFolder {
    files: Arc<dyn Files>,
    name: String,
    labels: Vec<String>,
    on_corrupt: OnCorrupt,
    entries: Vec<Entry>,
    ignored: usize,
}

#[derive(Clone, Debug)]
struct Entry {
    /// Relative to the root, with `/`.
    id: String,
    path: PathBuf,
    label: Option<u16>,
}

impl ImageFolder {
    /// List `path`, a folder of this machine; nothing is decoded yet.
    pub fn open(path: &Path, options: &FolderOptions) -> Result<ImageFolder, DataError> {
        ImageFolder::open_in(Arc::new(Local::open(path)?), options)
    }

    /// The same, wherever the files lie.
    pub fn open_in(files: Arc<dyn Files>, options: &FolderOptions) -> Result<ImageFolder, DataError> {
        let path = files.root();
        let top = files.list("")?;
        let mut ignored = top.ignored;
        let mut classes: Vec<(&str, Vec<String>)> = Vec::new();
        for folder in &top.folders {
            let inside = files.list(folder)?;
            ignored += inside.ignored + inside.folders.len();
            match inside.images.is_empty() {
                true => log::warn!("{}: no images in `{folder}`; passed over", path.display()),
                false => classes.push((folder, inside.images)),
            }
        }
        if let (Some(image), Some((folder, _))) = (top.images.first(), classes.first()) {
            let (image, folder) = (image.clone(), (*folder).to_owned());
            return Err(DataError::Mixed { path: path.to_owned(), image, folder });
        }
        if top.images.is_empty() && classes.is_empty() || options.limit == Some(0) {
            return Err(DataError::Empty { path: path.to_owned(), ignored });
        }
        if classes.len() > u16::MAX as usize {
            return Err(DataError::TooManyClasses { path: path.to_owned(), classes: classes.len() });
        }
        let sorted = || classes.iter().map(|(folder, _)| (*folder).to_owned()).collect();
        let labels = options.labels.clone().unwrap_or_else(sorted);
        let mut entries: Vec<Entry> = Vec::new();
        if classes.is_empty() {
            entries.extend(top.images.iter().map(|id| Entry { path: path.join(id), id: id.clone(), label: None }));
        }
        let mut turns: Vec<(usize, Entry)> = Vec::new();
        for (folder, files) in &classes {
            let label = labels.iter().take(u16::MAX as usize).position(|l| l == folder);
            let Some(label) = label else {
                let (path, folder) = (path.to_owned(), (*folder).to_owned());
                return Err(DataError::UnknownClass { path, folder, labels });
            };
            turns.extend(files.iter().enumerate().map(|(turn, file)| {
                let path = path.join(folder).join(file);
                (turn, Entry { id: format!("{folder}/{file}"), path, label: Some(label as u16) })
            }));
        }
        // Stable: within a turn the classes stay in the order of their names.
        turns.sort_by_key(|(turn, _)| *turn);
        entries.extend(turns.into_iter().map(|(_, entry)| entry));
        entries.truncate(options.limit.unwrap_or(usize::MAX));
        Ok(ImageFolder { name: files.name(), files, labels, on_corrupt: options.on_corrupt, entries, ignored })
    }

    /// The folder, as it was named.
    pub fn root(&self) -> &Path {
        self.files.root()
    }

    /// Files and folders that were passed over.
    pub fn ignored(&self) -> usize {
        self.ignored
    }

    /// Every sample has a label.
    pub fn is_labeled(&self) -> bool {
        self.entries.iter().all(|e| e.label.is_some())
    }

    /// The label of sample `i`, without reading its file; none past the end.
    pub fn label(&self, i: usize) -> Option<u16> {
        self.entries.get(i)?.label
    }

    /// The file of sample `i`; panics past the end.
    pub fn file(&self, i: usize) -> &Path {
        &self.entries[i].path
    }

    /// Decode every file on all cores. Returns the folder without the files that are corrupt and a list of those, or,
    /// with [`OnCorrupt::Refuse`], the first of them as an error. A file that cannot be read at all is always an error.
    pub fn verify(self, progress: Progress<'_>) -> Result<(ImageFolder, Vec<Skipped>), DataError> {
        let verdicts = parallel::try_map(self.entries.len(), progress, |i| match self.image(i) {
            Ok(_) => Ok(None),
            Err(DataError::Corrupt { why, .. }) if self.on_corrupt == OnCorrupt::Skip => Ok(Some(why)),
            Err(error) => Err(error),
        })?;
        let ImageFolder { entries, .. } = self;
        let (mut good, mut skipped) = (Vec::new(), Vec::new());
        for (entry, verdict) in entries.into_iter().zip(verdicts) {
            match verdict {
                None => good.push(entry),
                Some(why) => skipped.push(Skipped { id: entry.id, why }),
            }
        }
        if good.is_empty() {
            return Err(DataError::Empty { path: self.files.root().to_owned(), ignored: self.ignored + skipped.len() });
        }
        Ok((ImageFolder { entries: good, ..self }, skipped))
    }

    /// The sizes that occur, most frequent first, from the headers of all files. A corrupt header is an error: skip such
    /// files with [`ImageFolder::verify`] first.
    pub fn sizes(&self) -> Result<Vec<SizeExample>, DataError> {
        let sizes = parallel::try_map(self.entries.len(), &|_| (), |i| {
            decode::size(&self.files.read(&self.entries[i].id)?, self.file(i))
        })?;
        let mut found: BTreeMap<(u32, u32), (usize, usize)> = BTreeMap::new();
        for (i, size) in sizes.into_iter().enumerate() {
            found.entry(size).or_insert((0, i)).0 += 1;
        }
        let example = |((width, height), (count, first)): ((u32, u32), (usize, usize))| SizeExample {
            width,
            height,
            count,
            id: self.entries[first].id.clone(),
        };
        let mut sizes: Vec<SizeExample> = found.into_iter().map(example).collect();
        sizes.sort_by_key(|s| std::cmp::Reverse(s.count));
        Ok(sizes)
    }

    fn entry(&self, i: usize) -> Result<&Entry, DataError> {
        let none = || DataError::NoSample { name: self.name.clone(), index: i, len: self.entries.len() };
        self.entries.get(i).ok_or_else(none)
    }

    fn image(&self, i: usize) -> Result<limbeck_answers::Image, DataError> {
        let entry = self.entry(i)?;
        decode::decode(&self.files.read(&entry.id)?, &entry.path)
    }
}

impl Dataset for ImageFolder {
    fn name(&self) -> &str {
        &self.name
    }
    fn labels(&self) -> &[String] {
        &self.labels
    }
    fn len(&self) -> usize {
        self.entries.len()
    }
    fn id(&self, i: usize) -> String {
        self.entries.get(i).map_or_else(|| format!("sample {i}"), |e| e.id.clone())
    }
    fn sample(&self, i: usize) -> Result<Sample, DataError> {
        Ok(Sample { image: self.image(i)?, label: self.entry(i)?.label, objects: vec![], mask: None })
    }

    /// Length of the id (u64, little-endian), id, file. The id holds the name of the class, so answers are bound to labels too.
    fn leaf(&self, i: usize) -> Result<[u8; 32], DataError> {
        let id = &self.entry(i)?.id;
        let length = (id.len() as u64).to_le_bytes();
        let file = self.files.read(id)?;
        Ok(limbeck_files::merkle::leaf(&[&length, id.as_bytes(), &file].concat()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    use image::{ImageFormat, RgbImage};

    fn put(root: &Path, file: &str, side: u32) {
        let path = root.join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let format = ImageFormat::from_path(&path).unwrap();
        let seed = file.bytes().map(u32::from).sum::<u32>();
        RgbImage::from_fn(side, side, |x, y| image::Rgb([(seed + x) as u8, y as u8, 7]))
            .save_with_format(&path, format)
            .unwrap();
    }

    fn folder(files: &[&str]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for file in files {
            put(root.path(), file, 8);
        }
        root
    }

    fn open(root: &Path) -> Result<ImageFolder, DataError> {
        ImageFolder::open(root, &FolderOptions::default())
    }

    fn ids(folder: &ImageFolder) -> Vec<String> {
        (0..folder.len()).map(|i| folder.id(i)).collect()
    }

    #[test]
    fn classes_take_turns_and_a_limit_keeps_the_balance() {
        let root = folder(&["cat/b.png", "cat/a.JPG", "cat/c.jpeg", "dog/1.png", "emu/1.png", "emu/2.png"]);
        fs::write(root.path().join("cat/notes.txt"), "x").unwrap();
        fs::write(root.path().join(".hidden.png"), "x").unwrap();
        fs::create_dir(root.path().join("empty")).unwrap();
        let all = open(root.path()).unwrap();
        assert_eq!(all.labels(), ["cat", "dog", "emu"]);
        assert_eq!(ids(&all), ["cat/a.JPG", "dog/1.png", "emu/1.png", "cat/b.png", "emu/2.png", "cat/c.jpeg"]);
        assert_eq!((all.ignored(), all.is_labeled(), all.sample(4).unwrap().label), (2, true, Some(2)));
        let limited = ImageFolder::open(root.path(), &FolderOptions { limit: Some(4), ..Default::default() }).unwrap();
        assert_eq!(ids(&limited), ids(&all)[..4]);
        assert_ne!(limited.sha256().unwrap(), all.sha256().unwrap());
    }

    #[test]
    fn the_cards_order_of_labels_counts() {
        let root = folder(&["cat/a.png", "dog/b.png"]);
        let labels = |l: &[&str]| FolderOptions {
            labels: Some(l.iter().map(|l| l.to_string()).collect()),
            ..Default::default()
        };
        let with = |l: &[&str]| ImageFolder::open(root.path(), &labels(l));
        let turned = with(&["dog", "emu", "cat"]).unwrap();
        let found: Vec<_> = (0..2).map(|i| (turned.id(i), turned.sample(i).unwrap().label.unwrap())).collect();
        assert_eq!(found, [("cat/a.png".to_owned(), 2), ("dog/b.png".to_owned(), 0)]);
        assert_eq!(turned.sha256().unwrap(), with(&["cat", "dog"]).unwrap().sha256().unwrap());
        let error = with(&["cat", "frog"]).unwrap_err().to_string();
        assert!(error.contains("`dog`") && error.contains("cat, frog"), "{error}");
    }

    #[test]
    fn a_flat_folder_is_unlabeled() {
        let root = folder(&["b.png", "a.jpg"]);
        let flat = open(root.path()).unwrap();
        assert_eq!(
            (ids(&flat), flat.labels().len(), flat.is_labeled()),
            (vec!["a.jpg".to_owned(), "b.png".to_owned()], 0, false)
        );
        assert_eq!(flat.sample(0).unwrap().label, None);
    }

    #[test]
    fn folders_that_cannot_be_used_say_why() {
        let mixed = folder(&["cat/a.png", "b.png"]);
        let empty = tempfile::tempdir().unwrap();
        fs::write(empty.path().join("readme.md"), "x").unwrap();
        let file = folder(&["b.png"]);
        let cases = [
            (mixed.path().to_owned(), "images (b.png) and class folders (cat)"),
            (empty.path().to_owned(), "no images here or in the folders directly inside (1 other entries)"),
            (PathBuf::from("/no/such/folder"), "/no/such/folder: no such image folder"),
            (file.path().join("b.png"), "b.png: list: "),
        ];
        for (path, expected) in cases {
            let error = open(&path).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
        let none = ImageFolder::open(mixed.path(), &FolderOptions { limit: Some(0), ..Default::default() });
        assert!(none.is_err());
    }

    #[test]
    fn corrupt_files_are_refused_or_skipped_by_name() {
        let root = folder(&["cat/a.png", "cat/b.png", "dog/c.jpg"]);
        fs::write(root.path().join("cat/b.png"), "not a picture").unwrap();
        let error = open(root.path()).unwrap().verify(&|_| ()).unwrap_err().to_string();
        assert!(error.contains("b.png") && error.contains("skip"), "{error}");
        let skip = FolderOptions { on_corrupt: OnCorrupt::Skip, ..Default::default() };
        let (good, skipped) = ImageFolder::open(root.path(), &skip).unwrap().verify(&|_| ()).unwrap();
        assert_eq!(ids(&good), ["cat/a.png", "dog/c.jpg"]);
        assert_eq!((skipped.len(), skipped[0].id.as_str()), (1, "cat/b.png"));
        for file in ["cat/a.png", "dog/c.jpg"] {
            fs::write(root.path().join(file), "").unwrap();
        }
        let all_bad = ImageFolder::open(root.path(), &skip).unwrap().verify(&|_| ());
        assert!(matches!(all_bad, Err(DataError::Empty { ignored: 3, .. })));
    }

    #[test]
    fn mixed_sizes_are_listed_with_an_example() {
        let root = folder(&["cat/a.png", "cat/b.jpg"]);
        put(root.path(), "dog/big.jpg", 20);
        let sizes = open(root.path()).unwrap().sizes().unwrap();
        let found: Vec<_> = sizes.iter().map(|s| (s.width, s.height, s.count, s.id.as_str())).collect();
        assert_eq!(found, [(8, 8, 2, "cat/a.png"), (20, 20, 1, "dog/big.jpg")]);
    }

    #[test]
    fn the_hash_follows_content_and_names() {
        let root = folder(&["cat/a.png", "dog/b.png", "cat/c.png"]);
        let hash = || open(root.path()).unwrap().sha256().unwrap();
        let before = hash();
        assert_eq!(before, hash());
        fs::rename(root.path().join("cat/c.png"), root.path().join("cat/d.png")).unwrap();
        let renamed = hash();
        assert_ne!(before, renamed);
        fs::rename(root.path().join("cat/d.png"), root.path().join("dog/d.png")).unwrap();
        let relabelled = hash();
        assert_ne!(renamed, relabelled, "the same pictures in the same order, one of another class");
        let mut bytes = fs::read(root.path().join("cat/a.png")).unwrap();
        bytes.push(0);
        fs::write(root.path().join("cat/a.png"), bytes).unwrap();
        assert_ne!(relabelled, hash());
    }
}
