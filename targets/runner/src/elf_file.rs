//! The parts of an ELF file that decide where it runs.
//!
//! Layouts: "Tool Interface Standard: ELF", for 64 bits "ELF-64 Object File Format"; symbol versions: "Linux Standard Base
//! Core", chapter "Symbol Versioning". Everything is found as the loader finds it, by program headers: section headers
//! may have been stripped. The bytes are not trusted: a place outside them is `None`.

use limbeck_boards::Glibc;

/// Program header types.
const PT_LOAD: u64 = 1;
const PT_DYNAMIC: u64 = 2;
const PT_INTERP: u64 = 3;
/// Entries of the dynamic section.
const DT_NULL: u64 = 0;
const DT_STRTAB: u64 = 5;
const DT_VERNEED: u64 = 0x6fff_fffe;
const DT_VERNEEDNUM: u64 = 0x6fff_ffff;
/// Bytes of a `Verneed` or `Vernaux`; those of 32 and 64 bits are alike.
const VERSION_ENTRY: u64 = 16;
/// Longest name of a version that is read.
const MAX_NAME: usize = 64;

/// Little-endian ELF file of 32 or 64 bits.
pub(crate) struct Elf<'a> {
    bytes: &'a [u8],
    /// `e_machine`.
    pub machine: u16,
    /// Word size.
    pub bits: u8,
    segments: Vec<Segment>,
}

struct Segment {
    kind: u64,
    offset: u64,
    address: u64,
    size: u64,
}

impl<'a> Elf<'a> {
    /// The headers; `None` for anything else, however broken.
    pub(crate) fn parse(bytes: &'a [u8]) -> Option<Elf<'a>> {
        let little_endian = 1;
        if !bytes.starts_with(b"\x7fELF") || at(bytes, 5, 1)? != little_endian {
            return None;
        }
        let bits: u8 = match at(bytes, 4, 1)? {
            1 => 32,
            2 => 64,
            _ => return None,
        };
        let (table, entry_size, entries) = match bits {
            64 => (at(bytes, 32, 8)?, at(bytes, 54, 2)?, at(bytes, 56, 2)?),
            _ => (at(bytes, 28, 4)?, at(bytes, 42, 2)?, at(bytes, 44, 2)?),
        };
        let mut segments = Vec::new();
        for i in 0..entries {
            let here = table.checked_add(i * entry_size)?;
            let field = |offset: u64, size| at(bytes, here.checked_add(offset)?, size);
            let kind = field(0, 4)?;
            segments.push(match bits {
                64 => Segment { kind, offset: field(8, 8)?, address: field(16, 8)?, size: field(32, 8)? },
                _ => Segment { kind, offset: field(4, 4)?, address: field(8, 4)?, size: field(16, 4)? },
            });
        }
        Some(Elf { bytes, machine: at(bytes, 18, 2)? as u16, bits, segments })
    }

    /// Does it ask for a dynamic loader?
    pub(crate) fn needs_loader(&self) -> bool {
        self.segments.iter().any(|segment| segment.kind == PT_INTERP)
    }

    /// The newest glibc that it asks for, with the name by which it does; `Ok(None)` when for none, an error when its
    /// dynamic section is broken.
    pub(crate) fn glibc_needed(&self) -> Result<Option<(Glibc, String)>, Broken> {
        let mut newest: Option<(Glibc, String)> = None;
        for name in self.versions_needed()? {
            let Some(version) = glibc_of(&name) else { continue };
            if newest.as_ref().is_none_or(|(known, _)| *known < version) {
                newest = Some((version, name));
            }
        }
        Ok(newest)
    }

    /// Names of the symbol versions that it asks other libraries for.
    fn versions_needed(&self) -> Result<Vec<String>, Broken> {
        let Some(dynamic) = self.segments.iter().find(|segment| segment.kind == PT_DYNAMIC) else {
            return Ok(Vec::new());
        };
        let entries = self.dynamic(dynamic).ok_or(Broken)?;
        let value = |tag| entries.iter().find(|(t, _)| *t == tag).map(|(_, value)| *value);
        let (Some(needed), Some(count)) = (value(DT_VERNEED), value(DT_VERNEEDNUM)) else { return Ok(Vec::new()) };
        let strings = value(DT_STRTAB).ok_or(Broken)?;
        self.version_names(needed, count, strings).ok_or(Broken)
    }

    /// Tags and values of the dynamic section.
    fn dynamic(&self, section: &Segment) -> Option<Vec<(u64, u64)>> {
        let word = u64::from(self.bits / 8);
        let mut entries = Vec::new();
        for i in 0..section.size / (2 * word) {
            let here = section.offset.checked_add(i * 2 * word)?;
            let tag = at(self.bytes, here, word)?;
            if tag == DT_NULL {
                break;
            }
            entries.push((tag, at(self.bytes, here.checked_add(word)?, word)?));
        }
        Some(entries)
    }

    /// The names in a list of `Verneed`, each with a list of `Vernaux`; addresses as the loader has them.
    fn version_names(&self, needed: u64, count: u64, strings: u64) -> Option<Vec<String>> {
        // Lists that overlap could be longer than the file.
        let mut left = self.bytes.len() as u64 / VERSION_ENTRY;
        let mut names = Vec::new();
        let mut library = self.offset_of(needed)?;
        for _ in 0..count {
            let mut version = library.checked_add(at(self.bytes, library.checked_add(8)?, 4)?)?;
            for _ in 0..at(self.bytes, library.checked_add(2)?, 2)? {
                left = left.checked_sub(1)?;
                let name = at(self.bytes, version.checked_add(8)?, 4)?;
                names.push(self.string(self.offset_of(strings.checked_add(name)?)?)?);
                version = version.checked_add(at(self.bytes, version.checked_add(12)?, 4)?)?;
            }
            left = left.checked_sub(1)?;
            library = library.checked_add(at(self.bytes, library.checked_add(12)?, 4)?)?;
        }
        Some(names)
    }

    /// Where in the file an address is loaded from.
    fn offset_of(&self, address: u64) -> Option<u64> {
        let loaded = self.segments.iter().filter(|segment| segment.kind == PT_LOAD);
        let from = |segment: &Segment| {
            let inside = address.checked_sub(segment.address)?;
            (inside < segment.size).then(|| segment.offset.checked_add(inside)).flatten()
        };
        loaded.filter_map(from).next()
    }

    fn string(&self, offset: u64) -> Option<String> {
        let rest = self.bytes.get(usize::try_from(offset).ok()?..)?;
        let end = rest.iter().take(MAX_NAME).position(|&byte| byte == 0)?;
        Some(String::from_utf8_lossy(&rest[..end]).into_owned())
    }
}

/// A dynamic section that no loader could follow.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Broken;

/// The version of glibc that has a symbol version: `GLIBC_2.28`, `GLIBC_2.2.5`.
fn glibc_of(name: &str) -> Option<Glibc> {
    let version = name.strip_prefix("GLIBC_")?;
    if version == "ABI_DT_RELR" {
        // Relative relocations packed; the loader of 2.36 was the first to know them.
        return Some(Glibc { major: 2, minor: 36 });
    }
    let mut parts = version.splitn(3, '.');
    format!("{}.{}", parts.next()?, parts.next()?).parse().ok()
}

/// The little-endian number of `size` bytes at `offset`.
fn at(bytes: &[u8], offset: u64, size: u64) -> Option<u64> {
    let start = usize::try_from(offset).ok()?;
    let field = bytes.get(start..start.checked_add(usize::try_from(size).ok()?)?)?;
    Some(field.iter().rev().fold(0, |value, &byte| value << 8 | u64::from(byte)))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// The smallest header with one program header of the type given.
    pub(crate) fn elf(bits: u8, machine: u16, segment: u32) -> Vec<u8> {
        let mut bytes = vec![0; 128];
        bytes[..6].copy_from_slice(&[0x7f, b'E', b'L', b'F', bits / 32, 1]);
        bytes[18..20].copy_from_slice(&machine.to_le_bytes());
        let (table_at, size_at) = if bits == 64 { (32, 54) } else { (28, 42) };
        bytes[table_at] = 64;
        bytes[size_at] = 56;
        bytes[size_at + 2] = 1;
        bytes[64..68].copy_from_slice(&segment.to_le_bytes());
        bytes
    }

    /// An aarch64 program that asks one library for versions of symbols: headers, dynamic section, versions, names.
    pub(crate) fn elf_needing(versions: &[&str]) -> Vec<u8> {
        const BASE: u64 = 0x10000;
        let (dynamic, needed) = (64 + 2 * 56, 64 + 2 * 56 + 4 * 16);
        let strings = needed + 16 + 16 * versions.len();
        let mut bytes = elf(64, 183, PT_LOAD as u32);
        bytes.resize(strings, 0);
        let mut put =
            |at: usize, value: u64, size: usize| bytes[at..at + size].copy_from_slice(&value.to_le_bytes()[..size]);
        put(56, 2, 2);
        let mut names = vec![0];
        for (i, version) in versions.iter().enumerate() {
            let aux = needed + 16 + 16 * i;
            put(aux + 8, names.len() as u64, 4);
            put(aux + 12, 16, 4);
            names.extend(version.bytes().chain([0]));
        }
        put(needed + 2, versions.len() as u64, 2);
        put(needed + 8, 16, 4);
        for (i, (tag, value)) in
            [(DT_STRTAB, strings), (DT_VERNEED, needed), (DT_VERNEEDNUM, 1), (DT_NULL, 0)].into_iter().enumerate()
        {
            let value = if matches!(tag, DT_STRTAB | DT_VERNEED) { BASE + value as u64 } else { value as u64 };
            put(dynamic + 16 * i, tag, 8);
            put(dynamic + 16 * i + 8, value, 8);
        }
        let size = (strings + names.len()) as u64;
        for (header, kind, offset, size) in [(64, PT_LOAD, 0, size), (120, PT_DYNAMIC, dynamic as u64, 64)] {
            put(header, kind, 4);
            put(header + 8, offset, 8);
            put(header + 16, BASE + offset, 8);
            put(header + 32, size, 8);
        }
        bytes.extend(names);
        bytes
    }

    fn needed(bytes: &[u8]) -> Result<Option<String>, Broken> {
        Elf::parse(bytes)
            .unwrap()
            .glibc_needed()
            .map(|newest| newest.map(|(version, name)| format!("{version} {name}")))
    }

    #[test]
    fn the_newest_version_of_glibc_is_found_by_number() {
        let some = |text: &str| Ok(Some(text.to_owned()));
        assert_eq!(needed(&elf_needing(&["GLIBC_2.4", "GLIBC_2.28", "GLIBC_2.17"])), some("2.28 GLIBC_2.28"));
        assert_eq!(needed(&elf_needing(&["GLIBC_2.2.5", "GCC_9.9"])), some("2.2 GLIBC_2.2.5"));
        assert_eq!(needed(&elf_needing(&["GLIBC_2.34", "GLIBC_ABI_DT_RELR"])), some("2.36 GLIBC_ABI_DT_RELR"));
        assert_eq!(needed(&elf_needing(&["GLIBC_PRIVATE", "GCC_3.0"])), Ok(None));
        assert_eq!(needed(&elf(64, 183, 1)), Ok(None));
    }

    #[test]
    fn no_byte_that_is_wrong_makes_it_panic_or_run_for_ever() {
        let good = elf_needing(&["GLIBC_2.4", "GLIBC_2.28"]);
        for end in 0..good.len() {
            let _ = Elf::parse(&good[..end]).map(|elf| elf.glibc_needed());
        }
        for i in 0..good.len() {
            for value in [0, 1, 0x7f, 0xff] {
                let mut bad = good.clone();
                bad[i] = value;
                let _ = Elf::parse(&bad).map(|elf| elf.glibc_needed());
            }
        }
        // A list that leads to itself, counted as long as can be.
        let mut endless = good.clone();
        let needed_at = 64 + 2 * 56 + 4 * 16;
        endless[needed_at + 2..needed_at + 4].copy_from_slice(&[0xff, 0xff]);
        endless[needed_at + 16 + 12..needed_at + 16 + 16].fill(0);
        assert_eq!(needed(&endless), Err(Broken));
    }
}
