//! aarch64: baseline NEON, the dot product of ARMv8.2 (SDOT), and the 8-bit matrix product of ARMv8.6 (SMMLA).
//!
//! SDOT and SMMLA have no stable intrinsic in Rust 1.95 (`stdarch_neon_dotprod`, `stdarch_neon_i8mm`); one-instruction `asm!` blocks
//! take their place, and the compiler still allocates registers and schedules.

mod neon_add;
mod neon_depthwise;
mod neon_gemm;
mod neon_lanes;
mod neon_requantize;
mod sdot_gemm;
mod smmla_gemm;

pub(crate) use neon_add::add;

/// Every aarch64 CPU that Linux runs on has NEON.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Neon(());

/// The CPU has SDOT (Cortex-A55, A75, A76 and later).
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Sdot(Neon);

/// The CPU has SMMLA (Cortex-A510, A710, Neoverse V1 and later).
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Smmla(Neon);

impl Neon {
    pub(crate) fn detect() -> Option<Neon> {
        cfg!(target_feature = "neon").then_some(Neon(()))
    }
}

impl Sdot {
    pub(crate) fn detect() -> Option<Sdot> {
        #[cfg(feature = "std")]
        let found = std::arch::is_aarch64_feature_detected!("dotprod");
        #[cfg(not(feature = "std"))]
        let found = cfg!(target_feature = "dotprod");
        Neon::detect().filter(|_| found).map(Sdot)
    }

    pub(crate) fn neon(self) -> Neon {
        self.0
    }
}

impl Smmla {
    pub(crate) fn detect() -> Option<Smmla> {
        #[cfg(feature = "std")]
        let found = std::arch::is_aarch64_feature_detected!("i8mm");
        #[cfg(not(feature = "std"))]
        let found = cfg!(target_feature = "i8mm");
        Neon::detect().filter(|_| found).map(Smmla)
    }

    pub(crate) fn neon(self) -> Neon {
        self.0
    }
}
