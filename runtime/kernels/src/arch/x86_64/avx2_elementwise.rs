//! The element-wise ops on AVX2: the portable loops, compiled once more with vectors of eight.
//!
//! Rust never contracts a multiply and an add, so the same source gives the same bits.

use super::Avx2;
use crate::add::{self, Add};
use crate::average_pool::{self, AveragePool};
use crate::dequantize_f32::{self, Dequantize};
use crate::max_pool::{self, MaxPool};
use crate::mul::{self, Mul};

/// `fn op(Avx2, &Contract, &mut [T])` from `op::portable`.
macro_rules! again {
    ($($op:ident: $contract:ty => $y:ty;)*) => {$(
        pub(crate) fn $op(_have: Avx2, contract: &$contract, y: &mut [$y]) {
            #[target_feature(enable = "avx2")]
            fn with_avx2(contract: &$contract, y: &mut [$y]) {
                $op::portable(contract, y)
            }
            // SAFETY: holding an `Avx2` means that `Avx2::detect` saw the feature on this CPU.
            unsafe { with_avx2(contract, y) }
        }
    )*};
}

again! {
    add: Add<'_> => i8;
    average_pool: AveragePool<'_> => i8;
    max_pool: MaxPool<'_> => i8;
    mul: Mul<'_> => i8;
    dequantize_f32: Dequantize<'_> => f32;
}
