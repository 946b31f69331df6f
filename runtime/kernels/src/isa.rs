//! Which instruction set path computes, decided once and carried as a token.
//!
//! An [`Isa`] other than [`Isa::PORTABLE`] exists only where detection saw the instructions, so that a safe function may take
//! one as its proof. All paths give the same integers; they differ in time.
//!
//! | name | needs | found on |
//! |---|---|---|
//! | `portable` | nothing | everything |
//! | `avx2` | AVX2 | x86-64 since 2013 |
//! | `avxvnni` | AVX-VNNI | Alder Lake, Zen 5 |
//! | `avx512vnni` | AVX-512 VNNI, VL | Cascade Lake, Zen 4 |
//! | `neon` | NEON | aarch64: all (Cortex-A53, A72); armv7: all but a few (Cortex-A7, A9, A15) |
//! | `sdot` | FEAT_DotProd | Cortex-A55, A76 |
//! | `smmla` | FEAT_I8MM | Cortex-A510, A710, Neoverse V1 |
//!
//! Detection asks the operating system (feature `std`). Without it only what the build promises (`-C target-feature`) is seen.

use core::fmt;

#[cfg(target_arch = "aarch64")]
use crate::arch::aarch64::{Neon, Sdot, Smmla};
#[cfg(target_arch = "arm")]
use crate::arch::arm::ArmNeon;
#[cfg(target_arch = "x86_64")]
use crate::arch::x86_64::{Avx2, Avx512Vnni, AvxVnni};

/// A path that this CPU has.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Isa(pub(crate) Path);

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Path {
    Portable,
    #[cfg(target_arch = "x86_64")]
    Avx2(Avx2),
    #[cfg(target_arch = "x86_64")]
    AvxVnni(AvxVnni),
    #[cfg(target_arch = "x86_64")]
    Avx512Vnni(Avx512Vnni),
    #[cfg(target_arch = "arm")]
    ArmNeon(ArmNeon),
    #[cfg(target_arch = "aarch64")]
    Neon(Neon),
    #[cfg(target_arch = "aarch64")]
    Sdot(Sdot),
    #[cfg(target_arch = "aarch64")]
    Smmla(Smmla),
}

impl Isa {
    /// Plain Rust; always there.
    pub const PORTABLE: Isa = Isa(Path::Portable);

    /// The fastest path of this CPU.
    pub fn detect() -> Isa {
        Isa::available().last().unwrap_or(Isa::PORTABLE)
    }

    /// All paths of this CPU, slowest first.
    pub fn available() -> impl Iterator<Item = Isa> {
        let paths = [
            Some(Path::Portable),
            #[cfg(target_arch = "x86_64")]
            Avx2::detect().map(Path::Avx2),
            #[cfg(target_arch = "x86_64")]
            AvxVnni::detect().map(Path::AvxVnni),
            #[cfg(target_arch = "x86_64")]
            Avx512Vnni::detect().map(Path::Avx512Vnni),
            #[cfg(target_arch = "arm")]
            ArmNeon::detect().map(Path::ArmNeon),
            #[cfg(target_arch = "aarch64")]
            Neon::detect().map(Path::Neon),
            #[cfg(target_arch = "aarch64")]
            Sdot::detect().map(Path::Sdot),
            #[cfg(target_arch = "aarch64")]
            Smmla::detect().map(Path::Smmla),
        ];
        paths.into_iter().flatten().map(Isa)
    }

    /// The path of this CPU with a name, or `None` when there is none of that name here.
    pub fn named(name: &str) -> Option<Isa> {
        Isa::available().find(|isa| isa.name() == name)
    }

    /// The path on which ops without weights run here (`add`, `mul`, the pools, `quantize_f32`, `dequantize_f32`): AVX2 has their
    /// loops compiled for it, everywhere else the portable ones are compiled for what the build promises.
    pub fn without_weights(self) -> Isa {
        match self.0 {
            #[cfg(target_arch = "x86_64")]
            Path::Avx2(_) => self,
            _ => Isa::PORTABLE,
        }
    }

    /// Its name, see the module.
    pub fn name(self) -> &'static str {
        match self.0 {
            Path::Portable => "portable",
            #[cfg(target_arch = "x86_64")]
            Path::Avx2(_) => "avx2",
            #[cfg(target_arch = "x86_64")]
            Path::AvxVnni(_) => "avxvnni",
            #[cfg(target_arch = "x86_64")]
            Path::Avx512Vnni(_) => "avx512vnni",
            #[cfg(target_arch = "arm")]
            Path::ArmNeon(_) => "neon",
            #[cfg(target_arch = "aarch64")]
            Path::Neon(_) => "neon",
            #[cfg(target_arch = "aarch64")]
            Path::Sdot(_) => "sdot",
            #[cfg(target_arch = "aarch64")]
            Path::Smmla(_) => "smmla",
        }
    }
}

/// Names of the paths that every program for an architecture has in it, slowest first; `arch` is the first part of a Rust
/// target. Which of them runs, the CPU decides.
pub fn names_for(arch: &str) -> &'static [&'static str] {
    match arch {
        "x86_64" => &["portable", "avx2", "avxvnni", "avx512vnni"],
        "aarch64" => &["portable", "neon", "sdot", "smmla"],
        arch if arch.starts_with("arm") || arch.starts_with("thumb") => &["portable", "neon"],
        _ => &["portable"],
    }
}

#[cfg(target_arch = "x86_64")]
impl Isa {
    /// AVX2, which every path but the portable one has.
    pub(crate) fn avx2(self) -> Option<Avx2> {
        match self.0 {
            Path::Portable => None,
            Path::Avx2(have) => Some(have),
            Path::AvxVnni(have) => Some(have.avx2()),
            Path::Avx512Vnni(have) => Some(have.avx2()),
        }
    }
}

#[cfg(target_arch = "aarch64")]
impl Isa {
    /// NEON, which every path but the portable one has.
    pub(crate) fn neon(self) -> Option<Neon> {
        match self.0 {
            Path::Portable => None,
            Path::Neon(have) => Some(have),
            Path::Sdot(have) => Some(have.neon()),
            Path::Smmla(have) => Some(have.neon()),
        }
    }
}

impl fmt::Debug for Isa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_path_is_found_by_its_name() {
        for isa in Isa::available() {
            assert_eq!(Isa::named(isa.name()), Some(isa));
        }
        assert_eq!(Isa::named("no such path"), None);
        assert_eq!(Isa::available().next(), Some(Isa::PORTABLE));
    }

    #[test]
    fn every_path_of_this_cpu_is_one_of_its_architectures() {
        let names = names_for(std::env::consts::ARCH);
        for isa in Isa::available() {
            assert!(names.contains(&isa.name()), "{isa:?} is not in {names:?}");
        }
    }
}
