//! x86-64: AVX2 for integers, AVX2 and FMA for floats.

mod avx2_depthwise;
mod avx2_elementwise;
mod avx2_gemm;
mod avx2_requantize;
mod fma_lanes;

pub(crate) use avx2_elementwise::*;

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
