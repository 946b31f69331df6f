//! What the frozen part of a model made of a sample, kept in a file so that it runs once per (sample, view) and not once per epoch.
//!
//! Little-endian. `N` records, `R` bytes each.
//!
//! ```text
//!        0       1       2       3       4       5       6       7
//!    +-------+-------+-------+-------+-------+-------+-------+-------+
//!  0 |  'L'     'B'     'C'     'U'     'T'     'S'     '0'     '1'  |  magic, version
//!  8 |    records N                                                  |
//! 16 |    bytes a record R (a multiple of 8)                         |
//! 24 |    format: 0 f32, 1 f16, 2 i8 |    crc-32 of bytes 0..28, 32..64
//! 32 |    sha-256 of what made it                           32 bytes |
//!    +---------------------------------------------------------------+
//! 64 |    record i: crc-32 of i (u64) and the payload | payload, zeros
//!    +---------------------------------------------------------------+
//!
//!    payload, one after the other for each value of the cut:
//!    f32, f16: its elements
//!    i8:       lowest (f32), step (f32), elements: lowest + q * step
//! ```
//!
//! The file is scratch: it starts empty (a hole), a record is written when its sample first runs, and one that was never written, or
//! only half before a power cut, has another checksum and is computed again. Training always sees what is *read back* from a record, the
//! first time too, so that a resumed run has the same bits.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use half::f16;
use limbeck_files::FileError;

const MAGIC: &[u8; 8] = b"LBCUTS01";
const HEADER: usize = 64;

/// How the values of a cut are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum CutFormat {
    /// As they are: 4 bytes an element.
    F32,
    /// Half precision: 2 bytes.
    #[default]
    F16,
    /// 256 steps between the lowest and the highest of each value: 1 byte (quantised latent replay, Ravaglia et al., 2021).
    I8,
}

impl CutFormat {
    fn value_bytes(self, len: usize) -> usize {
        match self {
            CutFormat::F32 => 4 * len,
            CutFormat::F16 => 2 * len,
            CutFormat::I8 => 8 + len,
        }
    }

    fn code(self) -> u32 {
        self as u32
    }

    /// Bytes of one record of values of these lengths.
    pub fn record_bytes(self, lens: &[usize]) -> u64 {
        let payload: usize = lens.iter().map(|&len| self.value_bytes(len)).sum();
        (4 + payload).next_multiple_of(8) as u64
    }

    fn emit(self, values: &[Vec<f32>], record: &mut Vec<u8>) {
        for value in values {
            match self {
                CutFormat::F32 => record.extend(value.iter().flat_map(|v| v.to_le_bytes())),
                CutFormat::F16 => record.extend(value.iter().flat_map(|&v| f16::from_f32(v).to_le_bytes())),
                CutFormat::I8 => {
                    let lowest = value.iter().copied().fold(f32::INFINITY, f32::min);
                    let highest = value.iter().copied().fold(f32::NEG_INFINITY, f32::max);
                    let step = (highest - lowest) / 255.0;
                    record.extend(lowest.to_le_bytes());
                    record.extend(step.to_le_bytes());
                    let level = |v: f32| if step > 0.0 { ((v - lowest) / step).round_ties_even() as u8 } else { 0 };
                    record.extend(value.iter().map(|&v| level(v)));
                }
            }
        }
    }

    fn parse(self, mut payload: &[u8], values: &mut [Vec<f32>]) {
        let float = |bytes: &[u8]| bytes.first_chunk().map_or(0.0, |b| f32::from_le_bytes(*b));
        for value in values {
            let (bytes, rest) = payload.split_at(self.value_bytes(value.len()));
            payload = rest;
            match self {
                CutFormat::F32 => value.iter_mut().zip(bytes.chunks_exact(4)).for_each(|(v, b)| *v = float(b)),
                CutFormat::F16 => {
                    let half = |b: &[u8]| f16::from_le_bytes([b[0], b[1]]).to_f32();
                    value.iter_mut().zip(bytes.chunks_exact(2)).for_each(|(v, b)| *v = half(b));
                }
                CutFormat::I8 => {
                    let (lowest, step) = (float(bytes), float(&bytes[4..]));
                    value.iter_mut().zip(&bytes[8..]).for_each(|(v, &q)| *v = lowest + f32::from(q) * step);
                }
            }
        }
    }
}

/// The file, open.
pub(crate) struct Cuts {
    file: File,
    path: PathBuf,
    format: CutFormat,
    lens: Vec<usize>,
    record_bytes: u64,
    /// The file takes nothing more: the disk is full.
    closed: AtomicBool,
    found: AtomicUsize,
    computed: AtomicUsize,
}

impl Cuts {
    /// Open the file that `identity` made, or begin it anew.
    pub(crate) fn open(
        path: &Path,
        identity: &[u8; 32],
        records: u64,
        lens: &[usize],
        format: CutFormat,
    ) -> Result<Cuts, FileError> {
        let at = |doing| move |source| FileError { path: path.to_owned(), doing, source };
        let record_bytes = format.record_bytes(lens);
        let header = header(identity, records, record_bytes, format);
        let length = record_bytes.checked_mul(records).and_then(|n| n.checked_add(HEADER as u64));
        let length = length.ok_or_else(|| at("create")(io::ErrorKind::FileTooLarge.into()))?;
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path);
        let file = file.map_err(at("create"))?;
        let mut found = [0; HEADER];
        let is_ours = file.read_exact_at(&mut found, 0).is_ok() && found == header;
        if !is_ours || file.metadata().map_err(at("read"))?.len() != length {
            file.set_len(0).and_then(|()| file.set_len(length)).map_err(at("create"))?;
            file.write_all_at(&header, 0).map_err(at("write"))?;
        }
        Ok(Cuts {
            file,
            path: path.to_owned(),
            format,
            lens: lens.to_vec(),
            record_bytes,
            closed: AtomicBool::new(false),
            found: AtomicUsize::new(0),
            computed: AtomicUsize::new(0),
        })
    }

    /// Record `index`, if it is there and whole.
    pub(crate) fn get(&self, index: u64) -> Option<Vec<Vec<f32>>> {
        let mut record = vec![0; self.record_bytes as usize];
        self.file.read_exact_at(&mut record, self.place(index)).ok()?;
        let (crc, payload) = record.split_first_chunk::<4>()?;
        let payload = &payload[..self.lens.iter().map(|&len| self.format.value_bytes(len)).sum()];
        if u32::from_le_bytes(*crc) != checksum(index, payload) {
            return None;
        }
        self.found.fetch_add(1, Ordering::Relaxed);
        Some(self.parsed(payload))
    }

    /// Keep `values` as record `index`, and give back what will be read from it.
    pub(crate) fn put(&self, index: u64, values: &[Vec<f32>]) -> Vec<Vec<f32>> {
        let mut payload = Vec::with_capacity(self.record_bytes as usize);
        self.format.emit(values, &mut payload);
        let kept = self.parsed(&payload);
        self.computed.fetch_add(1, Ordering::Relaxed);
        if !self.closed.load(Ordering::Relaxed) {
            let mut record = checksum(index, &payload).to_le_bytes().to_vec();
            record.append(&mut payload);
            if let Err(error) = self.file.write_all_at(&record, self.place(index))
                && !self.closed.swap(true, Ordering::Relaxed)
            {
                let path = self.path.display();
                log::warn!("{path}: {error}; the frozen part of the model runs again for what does not fit");
            }
        }
        kept
    }

    /// Records read, records computed.
    pub(crate) fn counts(&self) -> (usize, usize) {
        (self.found.load(Ordering::Relaxed), self.computed.load(Ordering::Relaxed))
    }

    fn parsed(&self, payload: &[u8]) -> Vec<Vec<f32>> {
        let mut values: Vec<Vec<f32>> = self.lens.iter().map(|&len| vec![0.0; len]).collect();
        self.format.parse(payload, &mut values);
        values
    }

    fn place(&self, index: u64) -> u64 {
        HEADER as u64 + index * self.record_bytes
    }
}

fn checksum(index: u64, payload: &[u8]) -> u32 {
    let mut crc = crc32fast::Hasher::new();
    crc.update(&index.to_le_bytes());
    crc.update(payload);
    crc.finalize()
}

fn header(identity: &[u8; 32], records: u64, record_bytes: u64, format: CutFormat) -> [u8; HEADER] {
    let mut header = [0; HEADER];
    header[..8].copy_from_slice(MAGIC);
    header[8..16].copy_from_slice(&records.to_le_bytes());
    header[16..24].copy_from_slice(&record_bytes.to_le_bytes());
    header[24..28].copy_from_slice(&format.code().to_le_bytes());
    header[32..].copy_from_slice(identity);
    let mut crc = crc32fast::Hasher::new();
    crc.update(&header[..28]);
    crc.update(&header[32..]);
    header[28..32].copy_from_slice(&crc.finalize().to_le_bytes());
    header
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(of: u64) -> Vec<Vec<f32>> {
        let value = |len: usize| (0..len).map(|i| (i as f32 - 3.0) * 0.37 + of as f32).collect();
        vec![value(12), value(5)]
    }

    fn open(path: &Path, identity: u8, format: CutFormat) -> Cuts {
        Cuts::open(path, &[identity; 32], 10, &[12, 5], format).unwrap()
    }

    #[test]
    fn what_is_put_is_got_as_it_was_given_back() {
        let dir = tempfile::tempdir().unwrap();
        for (format, error) in
            [(CutFormat::F32, 0.0), (CutFormat::F16, 4e-3), (CutFormat::I8, 0.5 * 11.0 * 0.37 / 255.0)]
        {
            let path = dir.path().join(format!("{format:?}"));
            let cuts = open(&path, 1, format);
            assert_eq!(cuts.get(3), None, "an empty record is no record");
            let kept = cuts.put(3, &values(3));
            drop(cuts);
            let cuts = open(&path, 1, format);
            assert_eq!(cuts.get(3).unwrap(), kept);
            assert_eq!((cuts.get(2), cuts.get(4)), (None, None));
            for (kept, given) in kept.iter().flatten().zip(values(3).iter().flatten()) {
                assert!((kept - given).abs() <= error * 1.001, "{format:?}: {kept} for {given}");
            }
            let records = std::fs::metadata(&path).unwrap().len() - HEADER as u64;
            assert_eq!(records, 10 * format.record_bytes(&[12, 5]));
        }
    }

    #[test]
    fn another_maker_or_a_flipped_bit_is_computed_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("cuts");
        open(&path, 1, CutFormat::F16).put(0, &values(0));
        let whole = std::fs::read(&path).unwrap();
        let record = HEADER..HEADER + 4 + 34;
        for place in record {
            for bit in [1, 128] {
                let mut bytes = whole.clone();
                bytes[place] ^= bit;
                std::fs::write(&path, &bytes).unwrap();
                assert_eq!(open(&path, 1, CutFormat::F16).get(0), None, "byte {place}");
            }
        }
        for place in 0..HEADER {
            let mut bytes = whole.clone();
            bytes[place] ^= 1;
            std::fs::write(&path, &bytes).unwrap();
            assert_eq!(open(&path, 1, CutFormat::F16).get(0), None, "header byte {place}");
        }
        std::fs::write(&path, &whole).unwrap();
        assert!(open(&path, 1, CutFormat::F16).get(0).is_some());
        assert_eq!(open(&path, 2, CutFormat::F16).get(0), None);
    }

    #[test]
    fn constant_and_extreme_values_survive_eight_bits() {
        let dir = tempfile::tempdir().unwrap();
        let cuts = Cuts::open(&dir.path().join("c"), &[0; 32], 2, &[3], CutFormat::I8).unwrap();
        assert_eq!(cuts.put(0, &[vec![2.5; 3]]), [[2.5; 3]]);
        let kept = cuts.put(1, &[vec![-1e30, 0.0, 1e30]]);
        assert_eq!((kept[0][0], kept[0][1].abs() < 1e28), (-1e30, true));
    }
}
