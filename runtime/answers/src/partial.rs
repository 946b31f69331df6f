//! An unfinished answers file, `<name>.partial`: the finished file's bytes in place, then a journal.
//!
//! ```text
//!    +---------------------------------------------------------------+
//!  0 |    as in the finished file, up to its length L                |
//!    |    (bitmap, block table and footer are zero until the end)    |
//!    +---------------------------------------------------------------+
//!  L |    u64 for each answer, in file order: 0 = not there, else    |
//!    |    xxh3-64 of its records in every head and in the probe     |
//!    |    (1 for a sum of 0)                                         |
//!    +---------------------------------------------------------------+
//! ```
//!
//! Order of writing: records, sync, their journal entries, sync. So an entry never promises what is not on the disk; and an
//! entry whose sum is not that of its records (a torn or a damaged one) is no entry. The file gets its name only with header,
//! manifest and all of its length on the disk. To finish: bitmap, table and footer, sync, cut the journal off, sync, rename.
//! Whatever happens in between, what is left is a partial that resumes, or a whole file that waits for its name.

use std::fs::{File, OpenOptions};
use std::io;

use limbeck_files::positioned;
use xxhash_rust::xxh3::Xxh3;

use crate::format::{BLOCK, Layout};
use crate::seal::{Seal, Sealed};

/// The operations that a partial needs of a file; a test can lose power between them.
pub(crate) trait Storage: Send {
    fn length(&self) -> io::Result<u64>;
    fn read(&self, at: u64, bytes: &mut [u8]) -> io::Result<()>;
    fn write(&mut self, at: u64, bytes: &[u8]) -> io::Result<()>;
    fn set_length(&mut self, length: u64) -> io::Result<()>;
    fn sync(&mut self) -> io::Result<()>;
}

impl Storage for File {
    fn length(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }
    fn read(&self, at: u64, bytes: &mut [u8]) -> io::Result<()> {
        positioned::read_exact_at(self, bytes, at)
    }
    fn write(&mut self, at: u64, bytes: &[u8]) -> io::Result<()> {
        positioned::write_all_at(self, bytes, at)
    }
    fn set_length(&mut self, length: u64) -> io::Result<()> {
        self.set_len(length)
    }
    fn sync(&mut self) -> io::Result<()> {
        self.sync_all()
    }
}

/// Open for reading and writing; nothing is created or cut.
pub(crate) fn open(path: &std::path::Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).open(path)
}

/// One bit an answer.
#[derive(Debug, Clone)]
pub(crate) struct Bits(Vec<u64>);

impl Bits {
    /// All zero; none when they do not fit in memory.
    pub fn zeros(count: u64) -> Option<Bits> {
        let words = usize::try_from(count.div_ceil(64)).ok()?;
        let mut bits = Vec::new();
        bits.try_reserve_exact(words).ok()?;
        bits.resize(words, 0);
        Some(Bits(bits))
    }
    /// Set bits `0..count`.
    pub fn set_all(&mut self, count: u64) {
        self.0.fill(u64::MAX);
        if let Some(last) = self.0.last_mut().filter(|_| !count.is_multiple_of(64)) {
            *last = (1 << (count % 64)) - 1;
        }
    }
    pub fn get(&self, i: u64) -> bool {
        self.0[(i / 64) as usize] >> (i % 64) & 1 == 1
    }
    pub fn set(&mut self, i: u64) {
        self.0[(i / 64) as usize] |= 1 << (i % 64);
    }
    pub fn count(&self) -> u64 {
        self.0.iter().map(|w| u64::from(w.count_ones())).sum()
    }
    pub fn first_zero(&self, count: u64) -> Option<u64> {
        let word = self.0.iter().position(|w| *w != u64::MAX)?;
        let zero = word as u64 * 64 + u64::from(self.0[word].trailing_ones());
        (zero < count).then_some(zero)
    }
}

/// The sum of one answer's records, head by head; never 0.
pub(crate) fn sum<'a>(index: u64, records: impl Iterator<Item = &'a [u8]>) -> u64 {
    let mut hash = Xxh3::with_seed(index);
    records.for_each(|record| hash.update(record));
    hash.digest().max(1)
}

/// Bytes of a partial: the finished file and a journal entry for each answer.
pub(crate) fn length(layout: &Layout) -> Option<u64> {
    layout.length.checked_add(layout.answers().checked_mul(8)?).filter(|l| i64::try_from(*l).is_ok())
}

/// Where the journal entry of answer `index` stands.
pub(crate) fn entry(layout: &Layout, index: u64) -> u64 {
    layout.length + 8 * index
}

/// The answers whose journal entry is true of their records.
pub(crate) fn resume(storage: &dyn Storage, layout: &Layout, done: &mut Bits) -> io::Result<()> {
    let largest = layout.heads.iter().map(|h| h.1).max().unwrap_or(1).max(8);
    let at_once = (BLOCK as u64 / largest).max(1);
    let mut entries = Vec::new();
    let mut records = vec![Vec::new(); layout.heads.len()];
    let mut probe = Vec::new();
    let mut from = 0;
    while from < layout.answers() {
        let count = at_once.min(layout.answers() - from);
        entries.resize(8 * count as usize, 0);
        storage.read(entry(layout, from), &mut entries)?;
        if entries.iter().any(|b| *b != 0) {
            for (h, bytes) in records.iter_mut().enumerate() {
                let (at, stride) = layout.record(h, from);
                bytes.resize((stride * count) as usize, 0);
                storage.read(at, bytes)?;
            }
            for (i, entry) in entries.chunks_exact(8).enumerate().filter(|(_, entry)| *entry != [0; 8]) {
                let index = from + i as u64;
                let parts = records.iter().zip(&layout.heads);
                let parts = parts.map(|(bytes, (_, stride))| &bytes[i * *stride as usize..][..*stride as usize]);
                probe.clear();
                if let Some(at) = layout.probe(index) {
                    probe.resize(layout.probe_stride as usize, 0);
                    storage.read(at, &mut probe)?;
                }
                if entry == sum(index, parts.chain([&probe[..]])).to_le_bytes() {
                    done.set(index);
                }
            }
        }
        from += count;
    }
    Ok(())
}

/// Block table and footer of the finished file, from all that stands before them.
pub(crate) fn seal(storage: &dyn Storage, layout: &Layout) -> io::Result<Sealed> {
    let (mut seal, mut bytes, mut at) = (Seal::new(), vec![0; BLOCK], 0);
    while at < layout.table_at {
        let count = (layout.table_at - at).min(BLOCK as u64) as usize;
        storage.read(at, &mut bytes[..count])?;
        seal.update(&bytes[..count]);
        at += count as u64;
    }
    Ok(seal.finish())
}

/// Write what is neither record nor probe nor leaf: the bitmap, in which every answer is there, and the zeros between parts.
pub(crate) fn mark_all(storage: &mut dyn Storage, layout: &Layout) -> io::Result<()> {
    for h in 0..layout.heads.len() {
        let end = layout.record(h, layout.answers()).0;
        storage.write(end, &[0; 8][..(end.next_multiple_of(8) - end) as usize])?;
    }
    if let Some((_, last)) = layout.probes.last() {
        let end = last + layout.probe_stride;
        storage.write(end, &[0; 8][..(end.next_multiple_of(8) - end) as usize])?;
    }
    let (whole, rest) = (layout.answers() / 8, layout.answers() % 8);
    let ones = vec![0xFF; whole.min(BLOCK as u64) as usize];
    let mut done = 0;
    while done < whole {
        let count = (whole - done).min(BLOCK as u64);
        storage.write(layout.done_at + done, &ones[..count as usize])?;
        done += count;
    }
    let mut tail = vec![0; (layout.table_at - layout.done_at - whole) as usize];
    if let Some(first) = tail.first_mut() {
        *first = (1 << rest) - 1;
    }
    storage.write(layout.done_at + whole, &tail)
}
