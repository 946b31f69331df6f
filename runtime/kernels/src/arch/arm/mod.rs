//! armv7: NEON, in whole loops of `asm!`.
//!
//! `std::arch::arm` and its NEON intrinsics are not stable (Rust 1.95), nor is the detection macro, and the target's C ABI promises only
//! `d0`..`d15`. A block therefore loads what it needs, works in all sixteen `q` registers, and stores what it found: `d16`..`d31` do
//! not exist for the compiler, so it keeps nothing there, and `d0`..`d15` are named as overwritten.
//!
//! NEON flushes subnormal numbers. It cannot matter: a product that small rounds to 0 either way.

mod neon_depthwise;
mod neon_gemm;

/// The CPU has NEON.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct ArmNeon(());

impl ArmNeon {
    pub(crate) fn detect() -> Option<ArmNeon> {
        has_neon().then_some(ArmNeon(()))
    }
}

#[cfg(all(feature = "std", target_os = "linux"))]
fn has_neon() -> bool {
    /// `AT_HWCAP` of `<elf.h>`.
    const AT_HWCAP: core::ffi::c_ulong = 16;
    /// `HWCAP_NEON` of `<asm/hwcap.h>`.
    const HWCAP_NEON: core::ffi::c_ulong = 1 << 12;
    unsafe extern "C" {
        safe fn getauxval(kind: core::ffi::c_ulong) -> core::ffi::c_ulong;
    }
    getauxval(AT_HWCAP) & HWCAP_NEON != 0
}

#[cfg(not(all(feature = "std", target_os = "linux")))]
fn has_neon() -> bool {
    cfg!(target_feature = "neon")
}

/// What the requantization of four lanes needs, in the order in which the blocks load it: both rails without zero point, the
/// number that rounds (see `arithmetic::round_half_even`), the zero point.
#[repr(C, align(16))]
struct Rails {
    low: [f32; 4],
    high: [f32; 4],
    magic: [f32; 4],
    zero: [i32; 4],
}

impl Rails {
    fn new(y_zero: i8) -> Rails {
        let zero = y_zero as i32;
        Rails {
            low: [(-128 - zero) as f32; 4],
            high: [(127 - zero) as f32; 4],
            magic: [crate::arithmetic::MAGIC; 4],
            zero: [zero; 4],
        }
    }
}
