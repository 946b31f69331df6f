//! What only some CPUs have. The same names in every folder: a token for each path, `gemm`, `depthwise`, `elementwise`.

#[cfg(target_arch = "aarch64")]
pub(crate) mod aarch64;
#[cfg(target_arch = "arm")]
pub(crate) mod arm;
#[cfg(target_arch = "x86_64")]
pub(crate) mod x86_64;
