//! Where everything lies in an answers file. The layout is drawn in the crate's front page.

use crate::manifest::Manifest;

/// First bytes of an answers file.
pub const MAGIC: [u8; 8] = *b"LBANSWER";
/// Last bytes of an answers file.
pub const END: [u8; 8] = *b"LBANSEND";
/// The version this build reads and writes.
pub const VERSION: u32 = 2;
/// Bytes of the header; the manifest follows.
pub const HEADER: usize = 80;
/// Bytes of the footer: SHA-256, length, xxh3-64, [`END`].
pub const FOOTER: usize = 32 + 8 + 8 + END.len();
/// Bytes that one xxh3-64 of the block table covers.
pub const BLOCK: usize = 1 << 20;

/// Bit of the header's flags: the file is a shard.
const FLAG_SHARD: u32 = 1;

const AT_VERSION: usize = MAGIC.len();
const AT_FLAGS: usize = AT_VERSION + 4;
const AT_FIRST: usize = AT_FLAGS + 4;
const AT_SAMPLES: usize = AT_FIRST + 8;
const AT_VIEWS: usize = AT_SAMPLES + 8;
const AT_HEADS: usize = AT_VIEWS + 4;
const AT_MANIFEST: usize = AT_HEADS + 4;
const AT_RECORDS: usize = AT_MANIFEST + 8;
const AT_TABLE: usize = AT_RECORDS + 8;
const AT_LENGTH: usize = AT_TABLE + 8;
const AT_ZERO: usize = AT_LENGTH + 8;
const AT_CRC: usize = AT_ZERO + 4;
const _: () = assert!(AT_CRC + 4 == HEADER);

/// Offsets of a file's parts, from its manifest alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    /// S, samples with records here.
    pub samples: u64,
    /// Number of the first of them.
    pub first: u64,
    /// V
    pub views: u32,
    /// Bytes of the manifest, without padding.
    pub manifest: u64,
    /// Of each head: where its records begin, and the bytes of one.
    pub heads: Vec<(u64, u64)>,
    /// Answers that are in the probe, and where it has them; ascending.
    pub probes: Vec<(u64, u64)>,
    /// Bytes of one answer of the probe.
    pub probe_stride: u64,
    /// Where a shard's leaves begin.
    pub leaves_at: u64,
    /// Where the bitmap of answers begins.
    pub done_at: u64,
    /// Where the block table begins; all before it is covered by it.
    pub table_at: u64,
    /// Where the footer begins.
    pub footer_at: u64,
    /// Bytes of the whole file.
    pub length: u64,
    shard: bool,
}

impl Layout {
    /// Of a valid manifest that is `json` bytes long; none when the file would not fit 63 bits.
    pub fn of(manifest: &Manifest, json: usize) -> Option<Layout> {
        let range = manifest.range();
        let (samples, views) = (range.end - range.start, manifest.views.len() as u64);
        let answers = samples.checked_mul(views)?;
        let after = |at: u64, bytes: u64| at.checked_add(bytes)?.checked_next_multiple_of(8);
        let mut at = after(HEADER as u64, json as u64)?;
        let mut heads = Vec::with_capacity(manifest.heads.len());
        for head in &manifest.heads {
            heads.push((at, head.stride()));
            at = after(at, answers.checked_mul(head.stride())?)?;
        }
        let probe = manifest.probe.as_ref().and_then(|p| manifest.heads.get(manifest.head(&p.head)?));
        let probe_stride = match probe {
            Some(head) => (head.len() as u64).checked_mul(4)?,
            None => 0,
        };
        let mut probes = vec![];
        for sample in manifest.probed() {
            probes.push((sample - range.start, at));
            at = at.checked_add(probe_stride)?;
        }
        let leaves_at = at.checked_next_multiple_of(8)?;
        let leaves = if manifest.shard.is_some() { samples.checked_mul(32)? } else { 0 };
        let done_at = after(leaves_at, leaves)?;
        let table_at = after(done_at, answers.div_ceil(8))?;
        let footer_at = after(table_at, table_at.div_ceil(BLOCK as u64).checked_mul(8)?)?;
        let length = footer_at.checked_add(FOOTER as u64).filter(|l| i64::try_from(*l).is_ok())?;
        Some(Layout {
            samples,
            first: range.start,
            views: views as u32,
            manifest: json as u64,
            heads,
            probes,
            probe_stride,
            leaves_at,
            done_at,
            table_at,
            footer_at,
            length,
            shard: manifest.shard.is_some(),
        })
    }

    /// Answers there are: S V.
    pub fn answers(&self) -> u64 {
        self.samples * u64::from(self.views)
    }

    /// Where head `h` keeps answer `index`, and how long it is.
    pub fn record(&self, h: usize, index: u64) -> (u64, u64) {
        let (at, stride) = self.heads[h];
        (at + index * stride, stride)
    }

    /// Where the probe has answer `index`, if it has it.
    pub fn probe(&self, index: u64) -> Option<u64> {
        let found = self.probes.binary_search_by_key(&index, |p| p.0).ok()?;
        Some(self.probes[found].1)
    }

    /// The header and the manifest, up to the first record.
    pub fn front(&self, json: &[u8]) -> Vec<u8> {
        let mut bytes = self.header().to_vec();
        bytes.extend(json);
        bytes.resize(bytes.len().next_multiple_of(8), 0);
        bytes
    }

    fn header(&self) -> [u8; HEADER] {
        let mut bytes = [0; HEADER];
        let mut put = |at: usize, value: &[u8]| bytes[at..at + value.len()].copy_from_slice(value);
        put(0, &MAGIC);
        put(AT_VERSION, &VERSION.to_le_bytes());
        put(AT_FLAGS, &(u32::from(self.shard) * FLAG_SHARD).to_le_bytes());
        put(AT_FIRST, &self.first.to_le_bytes());
        put(AT_SAMPLES, &self.samples.to_le_bytes());
        put(AT_VIEWS, &self.views.to_le_bytes());
        put(AT_HEADS, &(self.heads.len() as u32).to_le_bytes());
        put(AT_MANIFEST, &self.manifest.to_le_bytes());
        put(AT_RECORDS, &self.heads.first().map_or(0, |h| h.0).to_le_bytes());
        put(AT_TABLE, &self.table_at.to_le_bytes());
        put(AT_LENGTH, &self.length.to_le_bytes());
        let crc = crc32fast::hash(&bytes[..AT_CRC]);
        bytes[AT_CRC..].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// The header says the same as the manifest.
    pub fn agrees(&self, header: &[u8; HEADER]) -> bool {
        self.header() == *header
    }
}

/// What a reader must know before it has the manifest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Bytes of JSON.
    pub manifest: u64,
    /// Where the block table begins.
    pub table_at: u64,
    /// Bytes of the whole file.
    pub length: u64,
}

/// Why bytes are no header. The reader adds the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeaderError {
    /// The magic is missing.
    NotAnswers,
    /// Written by a newer build.
    TooNew {
        /// Version of the file.
        found: u32,
    },
    /// Written by an older build.
    TooOld {
        /// Version of the file.
        found: u32,
    },
    /// The checksum or the arithmetic is wrong.
    Damaged,
    /// There are fewer bytes than a header has.
    Truncated,
}

impl Header {
    /// Read the header of a file that begins with `bytes`. Offsets are in order; nothing is said of the file's length.
    pub fn parse(bytes: &[u8]) -> Result<Header, HeaderError> {
        if !bytes.starts_with(&MAGIC) {
            return Err(HeaderError::NotAnswers);
        }
        let u32_at = |at: usize| bytes.get(at..at + 4).map(|b| u32::from_le_bytes([b[0], b[1], b[2], b[3]]));
        let u64_at = |at: usize| Some(u64::from(u32_at(at)?) | u64::from(u32_at(at + 4)?) << 32);
        let version = u32_at(AT_VERSION).ok_or(HeaderError::Truncated)?;
        let intact = bytes.get(..AT_CRC).is_some_and(|b| u32_at(AT_CRC) == Some(crc32fast::hash(b)));
        // Another version may keep its checksum elsewhere, so it is named first, but only if it can be true.
        if version > VERSION && (intact || version < 1000) {
            return Err(HeaderError::TooNew { found: version });
        }
        if version == 1 {
            return Err(HeaderError::TooOld { found: version });
        }
        if bytes.len() < HEADER {
            return Err(HeaderError::Truncated);
        }
        if !intact || version == 0 {
            return Err(HeaderError::Damaged);
        }
        if u32_at(AT_FLAGS).unwrap_or(0) & !FLAG_SHARD != 0 {
            return Err(HeaderError::TooNew { found: version });
        }
        let [Some(manifest), Some(table_at), Some(length)] = [AT_MANIFEST, AT_TABLE, AT_LENGTH].map(u64_at) else {
            return Err(HeaderError::Truncated);
        };
        let footer_at = table_at.checked_add(table_at.div_ceil(BLOCK as u64) * 8);
        let in_order = (HEADER as u64).checked_add(manifest).is_some_and(|end| end <= table_at)
            && footer_at.and_then(|f| f.checked_add(FOOTER as u64)) == Some(length);
        if in_order { Ok(Header { manifest, table_at, length }) } else { Err(HeaderError::Damaged) }
    }

    /// Where the footer begins.
    pub fn footer_at(&self) -> u64 {
        self.length - FOOTER as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::head::HeadKind;
    use crate::manifest::Shard;
    use crate::manifest::tests::manifest;

    #[test]
    fn every_part_follows_the_one_before() {
        let mut m = manifest(HeadKind::DenseF16);
        m.heads.push(crate::Head { key: "pooled".into(), dims: vec![7], kind: HeadKind::VecI8, ..m.heads[0].clone() });
        m.shard = Some(Shard { first: 1, count: 3, of: 5 });
        let layout = Layout::of(&m, 333).unwrap();
        // 80 + 333, 3 samples × 2 views × 6 bytes, × 9 bytes, probe 3 × 12 bytes, 3 leaves, 6 bits.
        assert_eq!(layout.heads, [(416, 6), (456, 9)]);
        let rest =
            (layout.probes[0].1, layout.leaves_at, layout.done_at, layout.table_at, layout.footer_at, layout.length);
        assert_eq!(rest, (512, 552, 648, 656, 664, 720));
        assert_eq!(layout.record(1, 5), (501, 9));
        assert_eq!((layout.probe(2), layout.probe(3)), (Some(536), None));
    }

    #[test]
    fn a_header_reads_back_and_says_what_it_is_not() {
        let layout = Layout::of(&manifest(HeadKind::DenseF16), 333).unwrap();
        let bytes = layout.header();
        let header = Header::parse(&bytes).unwrap();
        assert_eq!((header.manifest, header.table_at, header.length), (333, layout.table_at, layout.length));
        assert!(layout.agrees(&bytes));
        assert_eq!(header.footer_at(), layout.footer_at);
        for length in 8..HEADER {
            assert_eq!(Header::parse(&bytes[..length]), Err(HeaderError::Truncated), "{length}");
        }
        assert_eq!(Header::parse(b"PK"), Err(HeaderError::NotAnswers));
        for (version, expected) in [(1, HeaderError::TooOld { found: 1 }), (3, HeaderError::TooNew { found: 3 })] {
            let mut bytes = bytes;
            bytes[AT_VERSION] = version;
            assert_eq!(Header::parse(&bytes), Err(expected));
        }
    }

    #[test]
    fn sizes_that_overflow_are_none() {
        for samples in [u64::MAX, u64::MAX / 8, 1 << 61] {
            let mut m = manifest(HeadKind::DenseF16);
            m.dataset.samples = samples;
            assert_eq!(Layout::of(&m, 1), None);
        }
    }
}
