//! The bytes of an answers file in blocks of 1 MiB, each checked against the block table when it is first touched.
//!
//! Files are read at positions, not mapped into memory: a map needs `unsafe`, which stands in `limbeck-kernels` alone,
//! and turns a file that another process cuts short into a signal that ends this one. A read gives an error.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use limbeck_files::{FileError, positioned};
use xxhash_rust::xxh3::xxh3_64;

use crate::error::AnswersError;
use crate::format::BLOCK;

/// Where bytes come from.
#[derive(Debug)]
pub(crate) enum Source {
    Memory(Vec<u8>),
    File(File),
}

impl Source {
    /// Fill `out` from `at`, unchecked.
    pub fn read(&self, at: u64, out: &mut [u8]) -> io::Result<()> {
        match self {
            Source::File(file) => positioned::read_exact_at(file, out, at),
            Source::Memory(bytes) => {
                let at = usize::try_from(at).unwrap_or(usize::MAX);
                let found = bytes.get(at..).and_then(|rest| rest.get(..out.len()));
                out.copy_from_slice(found.ok_or(io::ErrorKind::UnexpectedEof)?);
                Ok(())
            }
        }
    }
}

/// Bytes `0..length` of a file and the sums of their blocks. Shared between threads without a lock: two that touch a block at
/// the same time both check it.
#[derive(Debug)]
pub(crate) struct Blocks {
    path: PathBuf,
    source: Source,
    length: u64,
    sums: Vec<u8>,
    checked: Vec<AtomicU64>,
}

impl Blocks {
    /// `sums` has 8 bytes a block of `length` bytes.
    pub fn new(path: &Path, source: Source, length: u64, sums: Vec<u8>) -> Blocks {
        let words = (sums.len() / 8).div_ceil(64);
        Blocks { path: path.to_owned(), source, length, sums, checked: (0..words).map(|_| AtomicU64::new(0)).collect() }
    }

    /// Fill `out` from byte `at`, checking what was not checked before.
    pub fn read(&self, at: u64, out: &mut [u8]) -> Result<(), AnswersError> {
        let mut done = 0;
        while done < out.len() {
            let at = at + done as u64;
            let (block, inside) = (at / BLOCK as u64, (at % BLOCK as u64) as usize);
            let count = (out.len() - done).min(BLOCK - inside);
            let part = &mut out[done..done + count];
            if self.is_checked(block) {
                self.source.read(at, part).map_err(|source| self.failed(source))?;
            } else {
                self.check(block, |bytes| match bytes.get(inside..inside + count) {
                    Some(found) => {
                        part.copy_from_slice(found);
                        Ok(())
                    }
                    None => Err(self.failed(io::ErrorKind::UnexpectedEof.into())),
                })?;
            }
            done += count;
        }
        Ok(())
    }

    /// Check every block anew, whatever was checked before, and hand their bytes out in order.
    pub fn each(&self, mut take: impl FnMut(&[u8])) -> Result<(), AnswersError> {
        for block in 0..self.length.div_ceil(BLOCK as u64) {
            self.check(block, |bytes| {
                take(bytes);
                Ok(())
            })?;
        }
        Ok(())
    }

    fn is_checked(&self, block: u64) -> bool {
        let word = self.checked.get((block / 64) as usize);
        word.is_some_and(|word| word.load(Ordering::Acquire) >> (block % 64) & 1 == 1)
    }

    /// Read a block, compare its sum, use its bytes.
    fn check(&self, block: u64, take: impl FnOnce(&[u8]) -> Result<(), AnswersError>) -> Result<(), AnswersError> {
        let from = block * BLOCK as u64;
        let count = self.length.saturating_sub(from).min(BLOCK as u64) as usize;
        let mut read = Vec::new();
        let bytes = match &self.source {
            Source::Memory(bytes) => bytes.get(from as usize..from as usize + count).unwrap_or(&[]),
            Source::File(_) => {
                read.resize(count, 0);
                self.source.read(from, &mut read).map_err(|source| self.failed(source))?;
                &read
            }
        };
        let sum = self.sums.get(8 * block as usize..8 * block as usize + 8);
        if sum != Some(&xxh3_64(bytes).to_le_bytes()) {
            let what = format!("the checksum of bytes {from}..{} is wrong", from + count as u64);
            return Err(AnswersError::Damaged { path: self.path.clone(), what });
        }
        take(bytes)?;
        if let Some(word) = self.checked.get((block / 64) as usize) {
            word.fetch_or(1 << (block % 64), Ordering::Release);
        }
        Ok(())
    }

    fn failed(&self, source: io::Error) -> AnswersError {
        FileError { path: self.path.clone(), doing: "read", source }.into()
    }
}
