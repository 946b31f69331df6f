//! Files that are whole or absent.
//!
//! Every file Limbeck writes goes to a temporary name in the same folder, is synced, and only then takes its final
//! name ([`write_atomic`]). A crash, a full disk or Ctrl-C leaves the old file or none, never half of one.
//!
//! Errors name the file and what was being done to it ([`FileError`]). Many files have one name in [`merkle`]. What a file
//! has misspelt, [`nearest`] finds.

#![forbid(unsafe_code)]

pub mod disk;
pub mod merkle;
pub mod nearest;
pub mod positioned;

use std::fs::File;
use std::io::{self, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

pub use merkle::merkle_root;

/// What went wrong with which file.
#[derive(Debug, thiserror::Error)]
#[error("{}: {doing}: {source}", path.display())]
pub struct FileError {
    /// The file, as the caller named it.
    pub path: PathBuf,
    /// What was being done: "read", "write", …
    pub doing: &'static str,
    /// What the system said.
    #[source]
    pub source: io::Error,
}

impl FileError {
    /// The disk is full, or the quota is used up: a way out exists that is not a bug report.
    pub fn is_full_disk(&self) -> bool {
        matches!(self.source.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
    }
}

pub(crate) fn at(path: &Path, doing: &'static str) -> impl FnOnce(io::Error) -> FileError {
    let path = path.to_owned();
    move |source| FileError { path, doing, source }
}

/// Whole contents of a regular file.
///
/// Anything but a regular file is refused: opening a FIFO would block for ever.
pub fn read(path: impl AsRef<Path>) -> Result<Vec<u8>, FileError> {
    let path = path.as_ref();
    let meta = std::fs::metadata(path).map_err(at(path, "read"))?;
    if !meta.is_file() {
        let what = if meta.is_dir() { "is a folder" } else { "is not a regular file" };
        return Err(at(path, "read")(io::Error::new(io::ErrorKind::InvalidInput, what)));
    }
    std::fs::read(path).map_err(at(path, "read"))
}

/// Read a file that is small if it is what it should be; a larger one is refused before it is in memory.
pub fn read_at_most(path: impl AsRef<Path>, limit: u64) -> Result<Vec<u8>, FileError> {
    let path = path.as_ref();
    let bytes = std::fs::metadata(path).map(|meta| meta.len()).unwrap_or(0);
    if bytes > limit {
        let what = format!("is larger than it can be ({bytes} bytes, at most {limit})");
        let source = io::Error::new(io::ErrorKind::InvalidData, what);
        return Err(FileError { path: path.to_owned(), doing: "read", source });
    }
    read(path)
}

/// Whole contents of a UTF-8 text file.
pub fn read_to_string(path: impl AsRef<Path>) -> Result<String, FileError> {
    let path = path.as_ref();
    String::from_utf8(read(path)?)
        .map_err(|e| at(path, "read")(io::Error::new(io::ErrorKind::InvalidData, format!("not UTF-8 text: {e}"))))
}

/// Create a folder and its parents.
pub fn create_dir(path: impl AsRef<Path>) -> Result<(), FileError> {
    let path = path.as_ref();
    std::fs::create_dir_all(path).map_err(at(path, "create folder"))
}

/// Write `path` whole or not at all: temporary file beside it, `fill`, flush, sync, rename, sync the folder.
///
/// The folder must exist. When `fill` fails the temporary file is removed and `path` is as it was.
pub fn write_atomic(
    path: impl AsRef<Path>,
    fill: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> Result<(), FileError> {
    let mut staged = Staged::create(path)?;
    fill(&mut staged).map_err(at(&staged.path, "write"))?;
    staged.commit()
}

/// A file that is being written under a temporary name; it takes its final name in [`Staged::commit`], or vanishes
/// when dropped.
pub struct Staged {
    path: PathBuf,
    writer: BufWriter<tempfile::NamedTempFile>,
}

impl Staged {
    /// Start writing what will become `path`.
    pub fn create(path: impl AsRef<Path>) -> Result<Staged, FileError> {
        let path = path.as_ref().to_owned();
        let name = path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
        let temporary = tempfile::Builder::new()
            .prefix(&format!(".{name}."))
            .suffix(".limbeck-tmp")
            .tempfile_in(folder_of(&path))
            .map_err(at(&path, "create"))?;
        Ok(Staged { path, writer: BufWriter::with_capacity(1 << 16, temporary) })
    }

    /// Flush, sync, and give the file its final name.
    pub fn commit(self) -> Result<(), FileError> {
        let Staged { path, writer } = self;
        let temporary = writer.into_inner().map_err(|e| at(&path, "write")(e.into_error()))?;
        temporary.as_file().sync_all().map_err(at(&path, "sync"))?;
        readable(temporary.as_file()).map_err(at(&path, "write"))?;
        temporary.persist(&path).map_err(|e| at(&path, "rename into place")(e.error))?;
        sync_folder_of(&path)
    }

    /// Where the finished file will stand.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Write for Staged {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.writer.write(buf)
    }
    fn flush(&mut self) -> io::Result<()> {
        self.writer.flush()
    }
}

/// Create `path`, which must not be there, with `length` bytes: `parts` at their offsets, zeros elsewhere (a hole, where the
/// file system knows them). It has all of that on the disk before it has its name. False when another was faster.
pub fn create_sparse(path: impl AsRef<Path>, length: u64, parts: &[(u64, &[u8])]) -> Result<bool, FileError> {
    let path = path.as_ref();
    let Staged { writer, .. } = Staged::create(path)?;
    let temporary = writer.into_inner().map_err(|e| at(path, "write")(e.into_error()))?;
    let file = temporary.as_file();
    let fill = || {
        file.set_len(length)?;
        parts.iter().try_for_each(|(offset, bytes)| positioned::write_all_at(file, bytes, *offset))
    };
    fill().map_err(at(path, "write"))?;
    readable(file).map_err(at(path, "write"))?;
    file.sync_all().map_err(at(path, "sync"))?;
    match temporary.persist_noclobber(path) {
        Ok(_) => sync_folder_of(path).map(|()| true),
        Err(e) if e.error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
        Err(e) => Err(at(path, "rename into place")(e.error)),
    }
}

/// Give a file that is wholly on the disk its final name in the same folder, and make the name durable.
pub fn move_into_place(from: impl AsRef<Path>, to: impl AsRef<Path>) -> Result<(), FileError> {
    let (from, to) = (from.as_ref(), to.as_ref());
    std::fs::rename(from, to).map_err(at(to, "rename into place"))?;
    sync_folder_of(to)
}

/// tempfile makes files private (0600); what Limbeck writes is as readable as any other output.
fn readable(file: &File) -> io::Result<()> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        file.set_permissions(std::fs::Permissions::from_mode(0o644))?;
    }
    #[cfg(not(unix))]
    let _ = file;
    Ok(())
}

/// A rename is only durable once the folder is synced.
fn sync_folder_of(path: &Path) -> Result<(), FileError> {
    let folder = folder_of(path);
    File::open(folder).and_then(|f| f.sync_all()).map_err(at(folder, "sync"))
}

pub(crate) fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(p) if !p.as_os_str().is_empty() => p,
        _ => Path::new("."),
    }
}

/// SHA-256 of bytes, as 64 lower-case hex digits: the form in which every Limbeck file names another.
pub fn sha256_hex(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// SHA-256 of bytes.
pub fn sha256(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

/// SHA-256 of bytes that come in pieces.
#[derive(Default)]
pub struct Hasher(Sha256);

impl Hasher {
    /// The next piece.
    pub fn update(&mut self, piece: &[u8]) {
        self.0.update(piece);
    }

    /// The hash of all of them, in the form of [`sha256_hex`].
    pub fn finish(self) -> String {
        hex(&self.0.finalize())
    }
}

/// SHA-256 of a file's contents, streamed.
pub fn sha256_file(path: impl AsRef<Path>) -> Result<String, FileError> {
    let path = path.as_ref();
    let mut file = File::open(path).map_err(at(path, "read"))?;
    let mut hasher = Hasher::default();
    let mut buffer = vec![0; 1 << 16];
    loop {
        match file.read(&mut buffer).map_err(at(path, "read"))? {
            0 => return Ok(hasher.finish()),
            n => hasher.update(&buffer[..n]),
        }
    }
}

/// Lower-case hex.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_write_leaves_the_old_file_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("model.onnx");
        std::fs::write(&path, "old").unwrap();
        let result = write_atomic(&path, |w| {
            w.write_all(b"half of the new")?;
            Err(io::Error::from(io::ErrorKind::StorageFull))
        });
        assert!(result.unwrap_err().is_full_disk());
        assert_eq!(std::fs::read(&path).unwrap(), b"old");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_finished_write_replaces_the_old_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("model.onnx");
        std::fs::write(&path, "old").unwrap();
        write_atomic(&path, |w| w.write_all(b"new")).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"new");
        assert_eq!(sha256_file(&path).unwrap(), sha256_hex(b"new"));
    }

    #[test]
    fn a_sparse_file_has_its_parts_and_is_created_once() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.partial");
        assert!(create_sparse(&path, 10, &[(0, b"ab"), (7, b"c")]).unwrap());
        assert_eq!(std::fs::read(&path).unwrap(), b"ab\0\0\0\0\0c\0\0");
        assert!(!create_sparse(&path, 3, &[]).unwrap());
        assert_eq!(std::fs::read(&path).unwrap().len(), 10);
        move_into_place(&path, dir.path().join("x")).unwrap();
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn errors_name_the_file() {
        let error = read("/no/such/student.onnx").unwrap_err().to_string();
        assert!(error.contains("/no/such/student.onnx") && error.contains("read"), "{error}");
        assert!(read("/").unwrap_err().to_string().contains("is a folder"));
    }

    #[test]
    fn sha256_is_the_published_one() {
        // FIPS 180-2, appendix B.1.
        assert_eq!(sha256_hex(b"abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    }
}
