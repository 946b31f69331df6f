//! A store: objects by key below one prefix.

use std::path::Path;

use crate::StoreError;
#[cfg(feature = "cloud")]
use crate::cloud::Cloud;
use crate::folder::Folder;
use crate::location::{Location, parse};

/// An object of a store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Relative to the store, with `/`.
    pub key: String,
    /// Its size.
    pub bytes: u64,
}

/// A folder, or a prefix in an object store. Cheap to share between threads.
#[derive(Debug)]
pub struct Store {
    url: String,
    backend: Backend,
}

#[derive(Debug)]
enum Backend {
    Folder(Folder),
    #[cfg(feature = "cloud")]
    Cloud(Cloud),
}

impl Store {
    /// Open what `url` names: a path or one of the URLs in the crate's table. No request is made yet.
    pub fn open(url: &str) -> Result<Store, StoreError> {
        match parse(url)? {
            Location::Folder(path) => {
                Ok(Store { url: path.display().to_string(), backend: Backend::Folder(Folder::new(path)) })
            }
            #[cfg(feature = "cloud")]
            Location::Cloud(url) => Ok(Store { backend: Backend::Cloud(Cloud::open(&url)?), url }),
            #[cfg(not(feature = "cloud"))]
            Location::Cloud(url) => Err(StoreError::NoCloud { url }),
        }
    }

    /// Where it is, for messages.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// All objects, in byte order of their keys.
    pub fn list(&self) -> Result<Vec<Entry>, StoreError> {
        let mut entries = match &self.backend {
            Backend::Folder(folder) => folder.list()?,
            #[cfg(feature = "cloud")]
            Backend::Cloud(cloud) => cloud.list()?,
        };
        entries.sort_unstable_by(|a, b| a.key.cmp(&b.key));
        Ok(entries)
    }

    /// The size of an object, or none if there is none.
    pub fn size(&self, key: &str) -> Result<Option<u64>, StoreError> {
        match &self.backend {
            Backend::Folder(folder) => folder.size(key),
            #[cfg(feature = "cloud")]
            Backend::Cloud(cloud) => cloud.size(key),
        }
    }

    /// All bytes of an object.
    pub fn get(&self, key: &str) -> Result<Vec<u8>, StoreError> {
        match &self.backend {
            Backend::Folder(folder) => folder.get(key),
            #[cfg(feature = "cloud")]
            Backend::Cloud(cloud) => cloud.get(key),
        }
    }

    /// Copy an object into a file of this machine, which is there whole or not at all.
    pub fn download(&self, key: &str, to: &Path) -> Result<(), StoreError> {
        match &self.backend {
            Backend::Folder(folder) => folder.download(key, to),
            #[cfg(feature = "cloud")]
            Backend::Cloud(cloud) => cloud.download(key, to),
        }
    }

    /// Copy a file of this machine to an object, which is there whole or not at all; an object of this key is replaced.
    pub fn upload(&self, from: &Path, key: &str) -> Result<(), StoreError> {
        match &self.backend {
            Backend::Folder(folder) => folder.upload(from, key),
            #[cfg(feature = "cloud")]
            Backend::Cloud(cloud) => cloud.upload(from, key),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_a_store_of_its_files() {
        let root = tempfile::tempdir().unwrap();
        let store = Store::open(&format!("file://{}", root.path().display())).unwrap();
        let file = root.path().join("file");
        std::fs::write(&file, b"answers").unwrap();
        for key in ["out/b", "out/a", "z"] {
            assert_eq!(store.size(key).unwrap(), None);
            store.upload(&file, key).unwrap();
            assert_eq!((store.size(key).unwrap(), store.get(key).unwrap()), (Some(7), b"answers".to_vec()));
        }
        let keys: Vec<String> = store.list().unwrap().into_iter().map(|e| e.key).collect();
        assert_eq!(keys, ["file", "out/a", "out/b", "z"]);
        store.download("z", &root.path().join("copy")).unwrap();
        assert_eq!(std::fs::read(root.path().join("copy")).unwrap(), b"answers");
    }

    #[test]
    fn what_is_not_there_is_named() {
        let root = tempfile::tempdir().unwrap();
        let store = Store::open(&root.path().display().to_string()).unwrap();
        let error = store.get("no/such").unwrap_err().to_string();
        assert!(error.contains("no/such"), "{error}");
        assert!(Store::open("/no/such/folder").unwrap().list().is_err());
    }

    #[cfg(not(feature = "cloud"))]
    #[test]
    fn a_build_without_network_stores_says_how_to_make_one_with_them() {
        let error = Store::open("s3://bucket/data").unwrap_err().to_string();
        assert!(error.contains("s3://bucket/data") && error.contains("--features cloud"), "{error}");
    }
}
