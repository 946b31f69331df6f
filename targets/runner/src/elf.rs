//! Is this program one that the board can start? Read from the file, before anything is copied.

use std::path::Path;

use limbeck_boards::{Board, Glibc, Libc};

use crate::elf_file::Elf;
use crate::error::RunnerError;

/// Refuse a program whose machine is not the board's, that asks for a dynamic loader on a board that wants static ones, or
/// for a newer glibc than the board's floor.
pub fn static_check(path: &Path, board: &Board) -> Result<(), RunnerError> {
    check(&limbeck_files::read(path)?, board).map_err(|why| wrong(path, board, why))
}

/// The newest glibc that a program asks for; `None` when for none, because it is static.
pub fn glibc_needed(path: &Path, board: &Board) -> Result<Option<Glibc>, RunnerError> {
    let bytes = limbeck_files::read(path)?;
    let elf = Elf::parse(&bytes).ok_or_else(|| wrong(path, board, NOT_ELF.to_owned()))?;
    let newest = elf.glibc_needed().map_err(|_| wrong(path, board, BROKEN.to_owned()))?;
    Ok(newest.map(|(version, _)| version))
}

const NOT_ELF: &str = "not an ELF program; build it for the board's target";
const BROKEN: &str = "its dynamic section is broken; build it again";

fn wrong(path: &Path, board: &Board, why: String) -> RunnerError {
    RunnerError::WrongProgram { path: path.to_owned(), board: board.name.clone(), why }
}

fn check(bytes: &[u8], board: &Board) -> Result<(), String> {
    let elf = Elf::parse(bytes).ok_or(NOT_ELF)?;
    let Some((machine, bits)) = machine_of(&board.arch) else {
        return Err(format!("`{}` is an architecture that limbeck does not know yet", board.arch));
    };
    if (elf.machine, elf.bits) != (machine, bits) {
        let is = name_of(elf.machine);
        return Err(format!("it is for {is} ({} bits), the board is {} ({bits} bits)", elf.bits, board.arch));
    }
    if board.libc == Libc::Static && elf.needs_loader() {
        return Err("it needs a dynamic loader and the board wants static programs; build for a musl target".into());
    }
    match (board.glibc, elf.glibc_needed().map_err(|_| BROKEN)?) {
        (Some(floor), Some((newest, name))) if newest > floor => Err(format!(
            "it asks for {name}, and the board's floor is glibc {floor}; link it with zig (unset \
             CARGO_TARGET_{}_LINKER), or raise `glibc` of the board to {newest} if it has that",
            board.triple.to_uppercase().replace(['-', '.'], "_")
        )),
        _ => Ok(()),
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::elf_file::tests::{elf, elf_needing};

    /// Program header type of a request for a dynamic loader (ELF specification).
    const PT_INTERP: u32 = 3;

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
    fn a_newer_glibc_than_the_boards_floor_is_refused_by_name() {
        let program = elf_needing(&["GLIBC_2.17", "GLIBC_2.34"]);
        let with = |minor| Board {
            glibc: Some(Glibc { major: 2, minor }),
            triple: "aarch64-unknown-linux-gnu".into(),
            ..board("aarch64", Libc::Gnu)
        };
        assert_eq!(check(&program, &with(34)), Ok(()));
        assert_eq!(check(&program, &board("aarch64", Libc::Gnu)), Ok(()));
        let why = check(&program, &with(28)).unwrap_err();
        for part in
            ["asks for GLIBC_2.34", "floor is glibc 2.28", "unset CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER"]
        {
            assert!(why.contains(part), "{why}");
        }
    }

    #[test]
    fn this_very_test_is_a_program_for_the_host() {
        if cfg!(target_os = "linux") {
            let host = Board::find_in("host", None).unwrap();
            let this = std::env::current_exe().unwrap();
            static_check(&this, &host).unwrap();
            let dynamic = cfg!(all(target_env = "gnu", not(target_feature = "crt-static")));
            assert_eq!(glibc_needed(&this, &host).unwrap().is_some(), dynamic);
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
