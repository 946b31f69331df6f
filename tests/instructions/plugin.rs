//! A plugin of the emulator QEMU: guest instructions by class, between marker system calls.
//!
//! ```text
//! rustc -O --edition 2024 --crate-type cdylib -o libplugin.so plugin.rs
//! qemu-aarch64 -plugin ./libplugin.so,out=counts.csv PROGRAM ...
//! ```
//! counts.csv has a head (`insns`, then the names of the classes) and a row for each pair of neighbouring markers: what was
//! executed between them. The marker is `getppid`. For single-threaded aarch64 guests and version 1 of the plugin interface,
//! that of QEMU 7.2; a QEMU that has left it behind refuses the plugin and says so.
//!
//! Counting is one addition a class and translated block, done inline by the emulator: a block is executed whole or, at an
//! exception, counted whole all the same. Counts of one program repeat exactly.
//!
//! This is the one file outside `runtime/kernels` with `unsafe` in it: the interface is C. It is compiled by the test that
//! needs it, belongs to no crate, and is linked to no program of ours.

use std::ffi::{CStr, c_char, c_int, c_uint, c_void};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock};

#[path = "../src/instruction_class.rs"]
#[allow(dead_code)]
mod instruction_class;

use instruction_class::{NAMES, class};

/// `__NR_getppid` of Linux on aarch64 (`include/uapi/asm-generic/unistd.h`).
const MARKER: i64 = 173;

/// All instructions, then one counter a class.
const COUNTERS: usize = 1 + NAMES.len();

/// Written by the emulator, which adds to them as plain u64: the guest has one thread, and so has all of this.
static COUNTS: [AtomicU64; COUNTERS] = [const { AtomicU64::new(0) }; COUNTERS];

/// The counters at each marker.
static MARKS: Mutex<Vec<[u64; COUNTERS]>> = Mutex::new(Vec::new());

/// Where the result goes.
static OUT: OnceLock<PathBuf> = OnceLock::new();

/// Names as in `qemu-plugin.h`.
mod qemu {
    use super::*;

    #[repr(C)]
    pub struct Block {
        _private: [u8; 0],
    }

    #[repr(C)]
    pub struct Instruction {
        _private: [u8; 0],
    }

    /// `QEMU_PLUGIN_INLINE_ADD_U64`
    pub const ADD_U64: c_int = 0;

    pub type OnBlock = extern "C" fn(u64, *mut Block);
    pub type OnExit = extern "C" fn(u64, *mut c_void);
    pub type OnSystemCall = extern "C" fn(u64, c_uint, i64, u64, u64, u64, u64, u64, u64, u64, u64);

    unsafe extern "C" {
        pub fn qemu_plugin_register_vcpu_tb_trans_cb(id: u64, callback: OnBlock);
        pub fn qemu_plugin_register_vcpu_syscall_cb(id: u64, callback: OnSystemCall);
        pub fn qemu_plugin_register_atexit_cb(id: u64, callback: OnExit, user: *mut c_void);
        pub fn qemu_plugin_register_vcpu_tb_exec_inline(block: *mut Block, op: c_int, to: *mut c_void, value: u64);
        pub fn qemu_plugin_tb_n_insns(block: *const Block) -> usize;
        pub fn qemu_plugin_tb_get_insn(block: *const Block, index: usize) -> *mut Instruction;
        pub fn qemu_plugin_insn_data(instruction: *const Instruction) -> *const c_void;
        pub fn qemu_plugin_insn_size(instruction: *const Instruction) -> usize;
    }
}

/// The version of the interface that this speaks.
#[unsafe(no_mangle)]
#[allow(non_upper_case_globals)]
pub static qemu_plugin_version: c_int = 1;

/// Called once, when the plugin is loaded; anything but 0 ends the emulator.
///
/// # Safety
/// QEMU passes `count` pointers to C strings.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qemu_plugin_install(
    id: u64,
    _info: *const c_void,
    count: c_int,
    arguments: *const *const c_char,
) -> c_int {
    for i in 0..usize::try_from(count).unwrap_or(0) {
        // SAFETY: this function's contract.
        let argument = unsafe { CStr::from_ptr(*arguments.add(i)) }.to_string_lossy();
        match argument.split_once('=') {
            Some(("out", path)) => drop(OUT.set(path.into())),
            _ => {
                eprintln!("plugin: unknown argument {argument}; there is out=FILE");
                return 1;
            }
        }
    }
    if OUT.get().is_none() {
        eprintln!("plugin: out=FILE is missing");
        return 1;
    }
    // SAFETY: `id` is ours, and the callbacks live as long as the library, which is never unloaded.
    unsafe {
        qemu::qemu_plugin_register_vcpu_tb_trans_cb(id, on_block);
        qemu::qemu_plugin_register_vcpu_syscall_cb(id, on_system_call);
        qemu::qemu_plugin_register_atexit_cb(id, on_exit, std::ptr::null_mut());
    }
    0
}

/// A block is translated: tell the emulator what to add each time it runs.
extern "C" fn on_block(_id: u64, block: *mut qemu::Block) {
    // SAFETY: QEMU lends a block for the time of this call; indices stay below its length; an instruction's bytes are as
    // many as it says, at any address. `COUNTS` is static, and a u64 wide each.
    unsafe {
        let length = qemu::qemu_plugin_tb_n_insns(block);
        let mut of_block = [0u64; COUNTERS];
        of_block[0] = length as u64;
        for i in 0..length {
            let instruction = qemu::qemu_plugin_tb_get_insn(block, i);
            if qemu::qemu_plugin_insn_size(instruction) != 4 {
                continue;
            }
            let word = qemu::qemu_plugin_insn_data(instruction).cast::<u32>().read_unaligned();
            if let Some(count) = of_block.get_mut(1 + class(u32::from_le(word)) as usize) {
                *count += 1;
            }
        }
        for (count, total) in of_block.into_iter().zip(&COUNTS).filter(|(count, _)| *count > 0) {
            qemu::qemu_plugin_register_vcpu_tb_exec_inline(block, qemu::ADD_U64, total.as_ptr().cast(), count);
        }
    }
}

#[allow(clippy::too_many_arguments)]
extern "C" fn on_system_call(
    _id: u64,
    _cpu: c_uint,
    number: i64,
    _: u64,
    _: u64,
    _: u64,
    _: u64,
    _: u64,
    _: u64,
    _: u64,
    _: u64,
) {
    if number == MARKER {
        let now = std::array::from_fn(|i| COUNTS[i].load(Ordering::Relaxed));
        MARKS.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).push(now);
    }
}

extern "C" fn on_exit(_id: u64, _user: *mut c_void) {
    let marks = MARKS.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    let mut text = format!("insns,{}\n", NAMES.join(","));
    for pair in marks.windows(2) {
        let row: Vec<String> =
            pair[1].iter().zip(pair[0]).map(|(after, before)| (after - before).to_string()).collect();
        text += &format!("{}\n", row.join(","));
    }
    if let Some(path) = OUT.get()
        && let Err(e) = std::fs::write(path, text)
    {
        eprintln!("plugin: {}: {e}", path.display());
    }
}
