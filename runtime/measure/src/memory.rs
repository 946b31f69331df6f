//! What a process holds: resident memory, its own program, and the record of a memory pass.
//!
//! Memory is measured in a process of its own, which times nothing: whoever counts allocations or walks page tables disturbs a clock.

use std::path::Path;

use serde::{Deserialize, Serialize};

/// What one inference takes from the heap after the warm-up, and the most that was live.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct PerInference {
    /// Inferences that were counted.
    pub inferences: u64,
    /// Allocations per inference; an allocation that grows counts as one.
    pub allocations: f64,
    /// Bytes per inference.
    pub bytes: f64,
}

/// The record of a memory pass. Bytes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MemoryRecord {
    /// What the system says of the process, after its last inference.
    pub process: ProcessMemory,
    /// Activations of the plans, in a worker; `None`: no part of the student is a plan.
    pub arena_bytes: Option<u64>,
    /// Bytes of the plans.
    pub plan_bytes: Option<u64>,
    /// Weights, packed for the path that runs.
    pub packed_bytes: Option<u64>,
    /// The file that was loaded.
    pub model_bytes: u64,
    /// Heap taken by each inference.
    pub per_inference: PerInference,
    /// Most of the heap that was live at any time, from the start of the program to here.
    pub peak_heap_bytes: u64,
    /// Heap that is live once the student is loaded and has run.
    pub live_heap_bytes: u64,
    /// The running program's sections; `None`: its file cannot be read.
    pub program: Option<Sections>,
}

/// What the system says of a process. Bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessMemory {
    /// The most that was ever resident (VmHWM).
    pub peak_rss_bytes: Option<u64>,
    /// What is resident now (VmRSS).
    pub rss_bytes: Option<u64>,
    /// The same, with pages that several processes share counted in parts (Pss).
    pub pss_bytes: Option<u64>,
}

impl ProcessMemory {
    /// Of this process.
    pub fn read() -> ProcessMemory {
        ProcessMemory::read_from(Path::new("/"))
    }

    /// The same with the file systems found under `root`.
    pub fn read_from(root: &Path) -> ProcessMemory {
        ProcessMemory {
            peak_rss_bytes: kib_in(&root.join("proc/self/status"), "VmHWM:"),
            rss_bytes: kib_in(&root.join("proc/self/status"), "VmRSS:"),
            pss_bytes: kib_in(&root.join("proc/self/smaps_rollup"), "Pss:"),
        }
    }
}

/// The most memory this process ever had resident (VmHWM), in bytes; `None` where the system does not say.
pub fn peak_rss_bytes() -> Option<u64> {
    peak_rss_bytes_in(Path::new("/"))
}

/// The same with the file systems found under `root`.
pub fn peak_rss_bytes_in(root: &Path) -> Option<u64> {
    ProcessMemory::read_from(root).peak_rss_bytes
}

fn kib_in(file: &Path, key: &str) -> Option<u64> {
    let text = std::fs::read_to_string(file).ok()?;
    let value = text.lines().find_map(|line| line.strip_prefix(key))?;
    let kib: u64 = value.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1024)
}

/// How a program's file divides, as `size` prints it. Bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sections {
    /// Code and constants: what is mapped and never written.
    pub text: u64,
    /// Variables with a value in the file.
    pub data: u64,
    /// Variables that start as zero; they are not in the file.
    pub bss: u64,
}

impl Sections {
    /// Of the running program.
    pub fn of_this_program() -> Option<Sections> {
        Sections::of(&std::fs::read(std::env::current_exe().ok()?).ok()?)
    }

    /// Of an ELF file, 32 or 64 bits, little-endian; `None`: it is something else, or its section table is missing.
    pub fn of(elf: &[u8]) -> Option<Sections> {
        // ELF-64 Object File Format and the ELF specification 1.2: offsets in the file header and in a section header.
        let wide = match (elf.get(..4)?, elf.get(4)?, elf.get(5)?) {
            (b"\x7fELF", 2, 1) => true,
            (b"\x7fELF", 1, 1) => false,
            _ => return None,
        };
        let word = |at: usize| if wide { number(elf, at, 8) } else { number(elf, at, 4) };
        let table = usize::try_from(word(if wide { 0x28 } else { 0x20 })?).ok()?;
        let (size, count) = if wide { (0x3a, 0x3c) } else { (0x2e, 0x30) };
        let (size, count) = (number(elf, size, 2)? as usize, number(elf, count, 2)? as usize);
        if table == 0 || count == 0 {
            return None;
        }
        let (flags_at, size_at) = if wide { (8, 0x20) } else { (8, 0x14) };
        let mut sections = Sections::default();
        for i in 0..count {
            let at = table.checked_add(size.checked_mul(i)?)?;
            let (kind, flags, bytes) = (number(elf, at + 4, 4)?, word(at + flags_at)?, word(at + size_at)?);
            let (is_written, is_loaded, is_zero) = (flags & 1 != 0, flags & 2 != 0, kind == NOBITS);
            let part = match (is_loaded, is_written, is_zero) {
                (false, ..) => continue,
                (_, _, true) => &mut sections.bss,
                (_, true, _) => &mut sections.data,
                _ => &mut sections.text,
            };
            *part = part.checked_add(bytes)?;
        }
        Some(sections)
    }
}

/// Section type of what takes no room in the file (SHT_NOBITS).
const NOBITS: u64 = 8;

/// A little-endian number of `len` bytes at `at`.
fn number(bytes: &[u8], at: usize, len: usize) -> Option<u64> {
    let field = bytes.get(at..at.checked_add(len)?)?;
    Some(field.iter().rev().fold(0, |value, &byte| value << 8 | u64::from(byte)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_has_a_peak_and_a_broken_status_has_none() {
        if cfg!(target_os = "linux") {
            let here = ProcessMemory::read();
            assert!(here.peak_rss_bytes.unwrap() > 100_000 && here.pss_bytes <= here.peak_rss_bytes);
        }
        let root = tempfile::tempdir().unwrap();
        assert_eq!(ProcessMemory::read_from(root.path()), ProcessMemory::default());
        std::fs::create_dir_all(root.path().join("proc/self")).unwrap();
        let write = |text| std::fs::write(root.path().join("proc/self/status"), text).unwrap();
        write("Name:\tx\nVmHWM:\t   2048 kB\n");
        assert_eq!(peak_rss_bytes_in(root.path()), Some(2 << 20));
        write("VmHWM:\tmany kB\n");
        assert_eq!(peak_rss_bytes_in(root.path()), None);
        std::fs::write(root.path().join("proc/self/smaps_rollup"), "Rss:  9 kB\nPss:   7 kB\nPss_Dirty: 1 kB\n")
            .unwrap();
        assert_eq!(ProcessMemory::read_from(root.path()).pss_bytes, Some(7 << 10));
    }

    #[test]
    fn a_program_has_code_and_a_damaged_one_has_none() {
        let own = std::fs::read(std::env::current_exe().unwrap()).unwrap();
        let sections = Sections::of(&own).unwrap();
        assert!(sections.text > 100_000 && sections.data > 0 && sections.text < own.len() as u64, "{sections:?}");
        assert_eq!(Sections::of_this_program(), Some(sections));
        assert_eq!(Sections::of(&own[..own.len() / 2]), None, "the table is at the end");
        assert_eq!(Sections::of(b"#!/bin/sh"), None);
        for n in 0..64 {
            assert_eq!(Sections::of(&own[..n]), None, "{n} bytes");
        }
    }

    #[test]
    fn both_widths_are_read() {
        // A header and three sections: code of 16 bytes, variables of 8, zeros of 32.
        let elf = |wide: bool| {
            let (header, section) = if wide { (64usize, 64usize) } else { (52, 40) };
            let mut elf = vec![0u8; header + 3 * section];
            elf[..6].copy_from_slice(&[0x7f, b'E', b'L', b'F', if wide { 2 } else { 1 }, 1]);
            elf[if wide { 0x28 } else { 0x20 }] = header as u8;
            elf[if wide { 0x3a } else { 0x2e }] = section as u8;
            elf[if wide { 0x3c } else { 0x30 }] = 3;
            for (i, (kind, flags, bytes)) in [(1, 2, 16), (1, 3, 8), (8, 3, 32)].into_iter().enumerate() {
                let at = header + i * section;
                (elf[at + 4], elf[at + 8], elf[at + if wide { 0x20 } else { 0x14 }]) = (kind, flags, bytes);
            }
            elf
        };
        let expected = Some(Sections { text: 16, data: 8, bss: 32 });
        assert_eq!((Sections::of(&elf(true)), Sections::of(&elf(false))), (expected, expected));
    }
}
