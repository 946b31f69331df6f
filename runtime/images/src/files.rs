//! Where the files of an image folder lie: on a disk, or in a store that another crate reaches.

use std::fmt::Debug;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use limbeck_files::FileError;

use crate::DataError;

/// A tree of files that [`ImageFolder`](crate::ImageFolder) can be opened on.
///
/// Order, labels and hash of a data set follow from names and bytes alone, so the same files make the same data set
/// wherever they lie.
pub trait Files: Debug + Send + Sync {
    /// The folder as the user named it; messages name files below it.
    fn root(&self) -> &Path;

    /// For people, without the way there.
    fn name(&self) -> String;

    /// What stands directly in `folder`, relative to the root; `""` is the root itself.
    fn list(&self, folder: &str) -> Result<Listing, DataError>;

    /// All bytes of the file `id`, relative to the root, with `/`.
    fn read(&self, id: &str) -> Result<Vec<u8>, DataError>;
}

/// What stands directly in a folder.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listing {
    /// Names of image files, in byte order.
    pub images: Vec<String>,
    /// Names of folders, in byte order.
    pub folders: Vec<String>,
    /// Everything else.
    pub ignored: usize,
}

impl Listing {
    /// Count one entry, by its name and what it is. Hidden entries, and files that are no images by name, are ignored.
    pub fn add(&mut self, name: String, is_folder: bool) {
        match (name.starts_with('.'), is_folder, is_image(&name)) {
            (false, true, _) => self.folders.push(name),
            (false, false, true) => self.images.push(name),
            _ => self.ignored += 1,
        }
    }

    /// Bring names into their order.
    pub fn sort(&mut self) {
        self.images.sort_unstable();
        self.folders.sort_unstable();
    }
}

fn is_image(name: &str) -> bool {
    let extension = Path::new(name).extension().and_then(|e| e.to_str()).unwrap_or_default();
    ["jpg", "jpeg", "png"].iter().any(|known| extension.eq_ignore_ascii_case(known))
}

/// A folder of this machine.
#[derive(Debug)]
pub(crate) struct Local {
    root: PathBuf,
}

impl Local {
    pub(crate) fn open(root: &Path) -> Result<Local, DataError> {
        match root.exists() {
            true => Ok(Local { root: root.to_owned() }),
            false => Err(DataError::Missing { path: root.to_owned() }),
        }
    }
}

impl Files for Local {
    fn root(&self) -> &Path {
        &self.root
    }

    fn name(&self) -> String {
        let name = self.root.canonicalize().ok().and_then(|p| Some(p.file_name()?.to_string_lossy().into_owned()));
        name.unwrap_or_else(|| self.root.display().to_string())
    }

    /// Links are followed.
    fn list(&self, folder: &str) -> Result<Listing, DataError> {
        let path = if folder.is_empty() { self.root.clone() } else { self.root.join(folder) };
        let at = |source: io::Error| FileError { path: path.clone(), doing: "list", source };
        let mut listing = Listing::default();
        for entry in fs::read_dir(&path).map_err(at)? {
            let entry = entry.map_err(at)?;
            let Ok(name) = entry.file_name().into_string() else {
                log::warn!("{}: passed over: the name is not UTF-8", entry.path().display());
                listing.ignored += 1;
                continue;
            };
            let mut kind = entry.file_type().map_err(at)?;
            if kind.is_symlink() {
                // A link to nothing counts as a file that is no image.
                match fs::metadata(entry.path()) {
                    Ok(meta) => kind = meta.file_type(),
                    Err(error) => log::warn!("{}: passed over: {error}", entry.path().display()),
                }
            }
            match kind.is_dir() || kind.is_file() {
                true => listing.add(name, kind.is_dir()),
                false => listing.ignored += 1,
            }
        }
        listing.sort();
        Ok(listing)
    }

    fn read(&self, id: &str) -> Result<Vec<u8>, DataError> {
        Ok(limbeck_files::read(self.root.join(id))?)
    }
}
