//! x86-64: AVX2.

mod avx2_depthwise;
mod avx2_elementwise;
mod avx2_gemm;
mod avx2_quantize;
mod avx2_requantize;
mod avx2_table;

pub(crate) use avx2_elementwise::*;
pub(crate) use avx2_quantize::quantize_f32;
pub(crate) use avx2_table::table;

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
