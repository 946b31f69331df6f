//! x86-64: AVX2 for integers, VNNI in its two encodings, AVX2 and FMA for floats.

mod avx2_depthwise;
mod avx2_elementwise;
mod avx2_gemm;
mod avx2_quantize;
mod avx2_requantize;
mod avx2_table;
mod fma_lanes;
mod vnni_gemm;

pub(crate) use avx2_elementwise::*;
pub(crate) use avx2_quantize::quantize_f32;
pub(crate) use avx2_table::table;
pub(crate) use vnni_gemm::{Avx512Vnni, AvxVnni};

/// The CPU has AVX2, and the operating system keeps its registers.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Avx2(());

impl Avx2 {
    pub(crate) fn detect() -> Option<Avx2> {
        #[cfg(feature = "std")]
        let found = std::arch::is_x86_feature_detected!("avx2");
        #[cfg(not(feature = "std"))]
        let found = cfg!(target_feature = "avx2");
        found.then_some(Avx2(()))
    }
}

impl AvxVnni {
    pub(crate) fn detect() -> Option<AvxVnni> {
        #[cfg(feature = "std")]
        let found = std::arch::is_x86_feature_detected!("avxvnni");
        #[cfg(not(feature = "std"))]
        let found = cfg!(target_feature = "avxvnni");
        Avx2::detect().filter(|_| found).map(AvxVnni)
    }

    pub(crate) fn avx2(self) -> Avx2 {
        self.0
    }
}

impl Avx512Vnni {
    pub(crate) fn detect() -> Option<Avx512Vnni> {
        #[cfg(feature = "std")]
        let found =
            std::arch::is_x86_feature_detected!("avx512vnni") && std::arch::is_x86_feature_detected!("avx512vl");
        #[cfg(not(feature = "std"))]
        let found = cfg!(all(target_feature = "avx512vnni", target_feature = "avx512vl"));
        Avx2::detect().filter(|_| found).map(Avx512Vnni)
    }

    pub(crate) fn avx2(self) -> Avx2 {
        self.0
    }
}

/// The CPU has AVX2 and FMA. For floats only: no integer kernel may fuse the one product that it rounds.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Fma(());

impl Fma {
    pub(crate) fn detect() -> Option<Fma> {
        #[cfg(feature = "std")]
        let found = std::arch::is_x86_feature_detected!("fma");
        #[cfg(not(feature = "std"))]
        let found = cfg!(target_feature = "fma");
        Avx2::detect().filter(|_| found).map(|_| Fma(()))
    }
}
