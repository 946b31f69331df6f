//! A pretend root folder for tests.

use std::path::Path;

/// A root with these files, gone when dropped.
pub(crate) struct Fake(tempfile::TempDir);

impl Fake {
    pub fn with(files: &[(&str, &str)]) -> Fake {
        let fake = Fake(tempfile::tempdir().unwrap());
        files.iter().for_each(|(path, text)| fake.write(path, text));
        fake
    }

    pub fn write(&self, path: &str, text: &str) {
        let path = self.root().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    pub fn root(&self) -> &Path {
        self.0.path()
    }
}
