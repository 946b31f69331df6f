//! NumPy's archive of arrays: a ZIP of stored `.npy` members, written from beginning to end.
//!
//! Every member uses the 64-bit fields (ZIP64) and has its checksum after its data (flag bit 3), so that neither sizes nor
//! the way back to a header limit it. Formats: PKWARE APPNOTE 6.3.9, sections 4.3.7-4.3.16 and 4.5.3; NumPy NEP 1 (format 1.0).

use std::io::{self, Write};

/// Writes arrays one after the other.
pub(crate) struct Npz<W: Write> {
    out: W,
    at: u64,
    members: Vec<Member>,
}

struct Member {
    name: String,
    offset: u64,
    crc: u32,
    bytes: u64,
}

/// "Version needed" of ZIP64.
const ZIP64: u16 = 45;
/// Sizes and checksum follow the data; the name is UTF-8.
const FLAGS: u16 = 1 << 3 | 1 << 11;
/// 1980-01-01, the first date there is: the same array has the same bytes on every day.
const DATE: u16 = 1 << 5 | 1;

impl<W: Write> Npz<W> {
    pub fn new(out: W) -> Npz<W> {
        Npz { out, at: 0, members: vec![] }
    }

    /// One array: `descr` is NumPy's type (`<f4`), `fill` writes its elements in C order.
    pub fn array(
        &mut self,
        name: &str,
        descr: &str,
        shape: &[u64],
        fill: impl FnOnce(&mut dyn FnMut(&[u8]) -> io::Result<()>) -> io::Result<()>,
    ) -> io::Result<()> {
        let (name, offset) = (format!("{name}.npy"), self.at);
        let mut header = vec![];
        header.extend(0x0403_4b50_u32.to_le_bytes());
        [ZIP64, FLAGS, 0, 0, DATE].iter().for_each(|v| header.extend(v.to_le_bytes()));
        header.extend(0_u32.to_le_bytes());
        header.extend([0xFF; 8]);
        header.extend((name.len() as u16).to_le_bytes());
        header.extend(20_u16.to_le_bytes());
        header.extend(name.as_bytes());
        // ZIP64: tag, length, both sizes; unknown yet.
        header.extend(1_u16.to_le_bytes());
        header.extend(16_u16.to_le_bytes());
        header.extend([0; 16]);
        self.put(&header)?;

        let (mut crc, begin) = (crc32fast::Hasher::new(), self.at);
        let mut put = |bytes: &[u8]| {
            crc.update(bytes);
            self.out.write_all(bytes)?;
            self.at += bytes.len() as u64;
            Ok(())
        };
        put(&npy_header(descr, shape))?;
        fill(&mut put)?;
        let (crc, bytes) = (crc.finalize(), self.at - begin);

        let mut descriptor = 0x0807_4b50_u32.to_le_bytes().to_vec();
        descriptor.extend(crc.to_le_bytes());
        descriptor.extend(bytes.to_le_bytes());
        descriptor.extend(bytes.to_le_bytes());
        self.put(&descriptor)?;
        self.members.push(Member { name, offset, crc, bytes });
        Ok(())
    }

    /// The directory; without it there is no archive.
    pub fn finish(mut self) -> io::Result<W> {
        let directory = self.at;
        for member in std::mem::take(&mut self.members) {
            let mut entry = 0x0201_4b50_u32.to_le_bytes().to_vec();
            [ZIP64, ZIP64, FLAGS, 0, 0, DATE].iter().for_each(|v| entry.extend(v.to_le_bytes()));
            entry.extend(member.crc.to_le_bytes());
            entry.extend([0xFF; 8]);
            entry.extend((member.name.len() as u16).to_le_bytes());
            entry.extend(28_u16.to_le_bytes());
            // No comment, disk 0, no attributes, offset in the ZIP64 field.
            entry.extend([0; 10]);
            entry.extend([0xFF; 4]);
            entry.extend(member.name.as_bytes());
            entry.extend(1_u16.to_le_bytes());
            entry.extend(24_u16.to_le_bytes());
            [member.bytes, member.bytes, member.offset].iter().for_each(|v| entry.extend(v.to_le_bytes()));
            self.members.push(member);
            self.put(&entry)?;
        }
        let (end, count) = (self.at, self.members.len() as u64);
        let mut last = 0x0606_4b50_u32.to_le_bytes().to_vec();
        last.extend(44_u64.to_le_bytes());
        last.extend(ZIP64.to_le_bytes());
        last.extend(ZIP64.to_le_bytes());
        last.extend([0; 8]);
        [count, count, end - directory, directory].iter().for_each(|v| last.extend(v.to_le_bytes()));
        last.extend(0x0706_4b50_u32.to_le_bytes());
        last.extend(0_u32.to_le_bytes());
        last.extend(end.to_le_bytes());
        last.extend(1_u32.to_le_bytes());
        last.extend(0x0605_4b50_u32.to_le_bytes());
        last.extend([0; 4]);
        last.extend([0xFF; 12]);
        last.extend([0; 2]);
        self.put(&last)?;
        Ok(self.out)
    }

    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.at += bytes.len() as u64;
        self.out.write_all(bytes)
    }
}

/// Magic, version 1.0, length, and a Python dictionary, padded with spaces so that the elements begin at a multiple of 64.
fn npy_header(descr: &str, shape: &[u64]) -> Vec<u8> {
    let shape: String = shape.iter().map(|n| format!("{n}, ")).collect();
    let mut text = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': ({}), }}", shape.trim_end());
    while (10 + text.len() + 1) % 64 != 0 {
        text.push(' ');
    }
    text.push('\n');
    let mut header = b"\x93NUMPY\x01\x00".to_vec();
    header.extend((text.len() as u16).to_le_bytes());
    header.extend(text.into_bytes());
    header
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_is_what_numpy_writes() {
        // numpy.save of numpy.zeros((2, 3), '<f4') and of numpy.zeros(5, '<u2'), NumPy 1 and 2.
        let two = npy_header("<f4", &[2, 3]);
        assert_eq!(two.len(), 128);
        assert_eq!(two[..10], *b"\x93NUMPY\x01\x00v\x00");
        assert!(two[10..].starts_with(b"{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3,), }"));
        assert!(
            npy_header("<u2", &[5])[10..].starts_with(b"{'descr': '<u2', 'fortran_order': False, 'shape': (5,), }")
        );
    }
}
