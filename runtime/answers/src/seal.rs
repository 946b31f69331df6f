//! What ends an answers file: the block table and the footer, made while the bytes before them pass by.

use sha2::{Digest, Sha256};
use xxhash_rust::xxh3::{Xxh3, xxh3_64};

use crate::format::{BLOCK, END, FOOTER};

/// Takes all bytes before the block table, in order.
pub(crate) struct Seal {
    whole: Sha256,
    block: Xxh3,
    in_block: usize,
    table: Vec<u8>,
    length: u64,
}

/// The end of a file.
pub(crate) struct Sealed {
    /// Block table and footer.
    pub end: Vec<u8>,
    /// The footer's SHA-256, as hex.
    pub sha256: String,
}

impl Seal {
    pub fn new() -> Seal {
        Seal { whole: Sha256::new(), block: Xxh3::new(), in_block: 0, table: vec![], length: 0 }
    }

    pub fn update(&mut self, mut bytes: &[u8]) {
        self.whole.update(bytes);
        self.length += bytes.len() as u64;
        while !bytes.is_empty() {
            let (now, later) = bytes.split_at(bytes.len().min(BLOCK - self.in_block));
            self.in_block += now.len();
            if now.len() == BLOCK {
                self.table.extend(xxh3_64(now).to_le_bytes());
                self.in_block = 0;
            } else {
                self.block.update(now);
                self.end_block(BLOCK);
            }
            bytes = later;
        }
    }

    /// Write down the block's sum if it has `full` bytes.
    fn end_block(&mut self, full: usize) {
        if self.in_block == full {
            self.table.extend(self.block.digest().to_le_bytes());
            self.block.reset();
            self.in_block = 0;
        }
    }

    pub fn finish(mut self) -> Sealed {
        if self.in_block > 0 {
            self.end_block(self.in_block);
        }
        self.whole.update(&self.table);
        let digest: [u8; 32] = self.whole.finalize().into();
        let length = self.length + self.table.len() as u64 + FOOTER as u64;
        let mut end = self.table;
        end.extend(digest);
        end.extend(length.to_le_bytes());
        end.extend(xxh3_64(&end).to_le_bytes());
        end.extend(END);
        Sealed { end, sha256: limbeck_files::hex(&digest) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_the_bytes_are_cut_does_not_matter() {
        let bytes: Vec<u8> = (0..2 * BLOCK as u32 + 8).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
        let sealed = |size: usize| {
            let mut seal = Seal::new();
            bytes.chunks(size).for_each(|c| seal.update(c));
            seal.finish().end
        };
        let whole = sealed(bytes.len());
        assert_eq!(whole.len(), 3 * 8 + FOOTER);
        assert_eq!(whole[..8], xxh3_64(&bytes[..BLOCK]).to_le_bytes());
        assert_eq!(whole[16..24], xxh3_64(&bytes[2 * BLOCK..]).to_le_bytes());
        for size in [7, 4096, BLOCK, BLOCK + 1] {
            assert_eq!(sealed(size), whole, "{size}");
        }
    }
}
