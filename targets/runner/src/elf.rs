//! Is this program one that the board can start? Read from its ELF header, before anything is copied.

use std::path::Path;

use limbeck_boards::{Board, Libc};

use crate::error::RunnerError;

/// Program header type of a request for a dynamic loader (ELF specification, `PT_INTERP`).
const PT_INTERP: u32 = 3;

/// Refuse a program whose machine is not the board's, or that asks for a dynamic loader on a board that wants static
/// ones.
pub fn static_check(path: &Path, board: &Board) -> Result<(), RunnerError> {
    check(&limbeck_files::read(path)?, board).map_err(|why| RunnerError::WrongProgram {
        path: path.to_owned(),
        board: board.name.clone(),
        why,
    })
}

fn check(bytes: &[u8], board: &Board) -> Result<(), String> {
    let elf = Elf::parse(bytes).ok_or("not an ELF program; build it for the board's target")?;
    let Some((machine, bits)) = machine_of(&board.arch) else {
        return Err(format!("`{}` is an architecture that limbeck does not know yet", board.arch));
    };
    if (elf.machine, elf.bits) != (machine, bits) {
        let is = name_of(elf.machine);
        return Err(format!("it is for {is} ({} bits), the board is {} ({bits} bits)", elf.bits, board.arch));
    }
    if board.libc == Libc::Static && elf.needs_loader {
        return Err("it needs a dynamic loader and the board wants static programs; build for a musl target".into());
    }
    Ok(())
}

/// `e_machine` and word size of an architecture, by its name in a Rust target.
fn machine_of(arch: &str) -> Option<(u16, u8)> {
    Some(match arch {
        "x86_64" => (62, 64),
        "i586" | "i686" => (3, 32),
        "aarch64" => (183, 64),
        arch if arch.starts_with("arm") || arch.starts_with("thumb") => (40, 32),
        arch if arch.starts_with("riscv64") => (243, 64),
        arch if arch.starts_with("riscv32") => (243, 32),
        _ => return None,
    })
}

fn name_of(machine: u16) -> String {
    match machine {
        3 => "x86".to_owned(),
        40 => "arm".to_owned(),
        62 => "x86_64".to_owned(),
        183 => "aarch64".to_owned(),
        243 => "riscv".to_owned(),
        other => format!("machine {other}"),
    }
}

struct Elf {
    machine: u16,
    bits: u8,
    needs_loader: bool,
}

impl Elf {
    /// Little-endian ELF of 32 or 64 bits; `None` for anything else, however broken.
    fn parse(bytes: &[u8]) -> Option<Elf> {
        let at = |offset: usize, size: usize| -> Option<u64> {
            let field = bytes.get(offset..offset.checked_add(size)?)?;
            Some(field.iter().rev().fold(0, |value, &byte| value << 8 | u64::from(byte)))
        };
        let little_endian = 1;
        if !bytes.starts_with(b"\x7fELF") || at(5, 1)? != little_endian {
            return None;
        }
        let bits: u8 = match at(4, 1)? {
            1 => 32,
            2 => 64,
            _ => return None,
        };
        let (table, entry_size, entries) = match bits {
            64 => (at(32, 8)?, at(54, 2)?, at(56, 2)?),
            _ => (at(28, 4)?, at(42, 2)?, at(44, 2)?),
        };
        let mut needs_loader = false;
        for i in 0..entries {
            let offset = table.checked_add(i * entry_size)?;
            needs_loader |= at(usize::try_from(offset).ok()?, 4)? == u64::from(PT_INTERP);
        }
        Some(Elf { machine: at(18, 2)? as u16, bits, needs_loader })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The smallest header with one program header of the type given.
    fn elf(bits: u8, machine: u16, segment: u32) -> Vec<u8> {
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

    fn board(arch: &str, libc: Libc) -> Board {
        Board { arch: arch.into(), libc, ..Board::find_in("qemu-aarch64", None).unwrap() }
    }

    #[test]
    fn machine_and_loader_are_checked() {
        let aarch64 = board("aarch64", Libc::Static);
        assert_eq!(check(&elf(64, 183, 1), &aarch64), Ok(()));
        assert!(check(&elf(64, 62, 1), &aarch64).unwrap_err().contains("it is for x86_64"));
        assert!(check(&elf(64, 183, PT_INTERP), &aarch64).unwrap_err().contains("dynamic loader"));
        assert_eq!(check(&elf(64, 183, PT_INTERP), &board("aarch64", Libc::Gnu)), Ok(()));
        assert_eq!(check(&elf(32, 40, 1), &board("armv7", Libc::Static)), Ok(()));
        assert!(check(&elf(32, 243, 1), &board("riscv64gc", Libc::Static)).unwrap_err().contains("32 bits"));
        assert!(check(&elf(64, 183, 1), &board("m68k", Libc::Static)).unwrap_err().contains("m68k"));
    }

    #[test]
    fn this_very_test_is_a_program_for_the_host() {
        if cfg!(target_os = "linux") {
            let host = Board::find_in("host", None).unwrap();
            static_check(&std::env::current_exe().unwrap(), &host).unwrap();
        }
    }

    #[test]
    fn broken_headers_are_refused_and_never_panic() {
        let good = elf(64, 183, 1);
        let aarch64 = board("aarch64", Libc::Static);
        for end in 0..good.len() {
            let _ = check(&good[..end], &aarch64);
        }
        for i in 0..good.len() {
            let mut bad = good.clone();
            bad[i] = 0xff;
            let _ = check(&bad, &aarch64);
        }
        assert!(check(b"#!/bin/sh\n", &aarch64).unwrap_err().contains("not an ELF"));
    }
}
