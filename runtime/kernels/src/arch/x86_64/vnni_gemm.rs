//! Inner loop of packed convolutions on x86-64 with VNNI: `vpdpbusd`, four products a lane and thirty-two an instruction, exact.
//!
//! `vpdpbusd` multiplies unsigned with signed bytes. Activations are brought to u8 by flipping their sign bit, which adds 128; the
//! packed biases have `128 * sum(w)` taken off. Tile: 4 pixels x 16 channels.
//!
//! The instruction comes in two encodings of their own (AVX-VNNI, and AVX-512 VNNI with VL); the loop is written once. Tests run it on
//! AVX2 as well, with the instruction replaced by its definition: what only a CPU with VNNI can show is the instruction itself.

use core::arch::x86_64::*;

use super::Avx2;
use super::avx2_requantize::Rails;
use crate::packed_conv::{Gemm, Line};

/// The CPU has AVX-VNNI (Alder Lake, Zen 5 and later), and with it AVX2.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct AvxVnni(pub(super) Avx2);

/// The CPU has AVX-512 VNNI and VL (Cascade Lake, Zen 4 and later), and with it AVX2.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Avx512Vnni(pub(super) Avx2);

/// AVX2 in the clothes of VNNI, for the tests.
#[cfg(test)]
#[derive(Clone, Copy, PartialEq, Eq)]
struct Modelled(Avx2);

/// `acc[i] + sum_j u8(x[4i + j]) * i8(w[4i + j])`, as AVX2 can say it.
#[cfg(test)]
#[inline]
#[target_feature(enable = "avx2")]
fn modelled(acc: __m256i, x: __m256i, w: __m256i) -> __m256i {
    let (even, ones) = (_mm256_set1_epi16(0xff), _mm256_set1_epi16(1));
    let x_even = _mm256_and_si256(x, even);
    let x_odd = _mm256_srli_epi16::<8>(x);
    let w_even = _mm256_srai_epi16::<8>(_mm256_slli_epi16::<8>(w));
    let w_odd = _mm256_srai_epi16::<8>(w);
    let pairs = |x, w| {
        let product = _mm256_mullo_epi16(x, w);
        _mm256_madd_epi16(product, ones)
    };
    _mm256_add_epi32(acc, _mm256_add_epi32(pairs(x_even, w_even), pairs(x_odd, w_odd)))
}

/// The loop for one encoding: a token, its features, its instruction.
macro_rules! gemm {
    ($token:ident, $loops:ident, $features:literal, $dot:path) => {
        impl Gemm for $token {
            type X = u8;
            const NR: usize = 16;
            const KR: usize = 4;
            const ROWS: usize = 4;
            /// 24 KiB of a first cache of 32.
            const BAND: usize = 24 << 10;

            fn channel_of_lane(self, width: usize, lane: usize) -> usize {
                self.0.channel_of_lane(width, lane)
            }

            fn bring(self, from: &[i8], to: &mut [u8]) {
                // SAFETY: the token means that detection saw the features on this CPU.
                unsafe { $loops::flip(from, to) }
            }

            unsafe fn line(self, width: usize, line: &Line<u8>) {
                // SAFETY: the features as in `bring`; the rest is the caller's promise, handed on.
                unsafe {
                    match width {
                        16 => $loops::line_of::<2>(line),
                        _ => $loops::line_of::<1>(line),
                    }
                }
            }
        }

        mod $loops {
            use super::*;

            #[target_feature(enable = $features)]
            pub(super) fn flip(from: &[i8], to: &mut [u8]) {
                assert_eq!(from.len(), to.len());
                for (to, &from) in to.iter_mut().zip(from) {
                    *to = from as u8 ^ 0x80;
                }
            }

            /// # Safety
            /// Those of [`Gemm::line`], with `width` = `8 * V`.
            #[target_feature(enable = $features)]
            pub(super) unsafe fn line_of<const V: usize>(line: &Line<u8>) {
                // SAFETY: the caller's promise, handed on.
                unsafe {
                    line.tiles::<4>(
                        |whole| tile::<4, V>(whole),
                        |rest| match rest.pixels {
                            1 => tile::<1, V>(rest),
                            2 => tile::<2, V>(rest),
                            _ => tile::<3, V>(rest),
                        },
                    );
                }
            }

            /// `R` pixels x `8 * V` channels.
            ///
            /// # Safety
            /// Those of [`Gemm::line`], with `pixels` = `R` and `width` = `8 * V`.
            #[inline]
            #[target_feature(enable = $features)]
            unsafe fn tile<const R: usize, const V: usize>(t: &Line<u8>) {
                // SAFETY: all pointers stay inside what the caller promised: weights advance by one step of one panel at a time,
                // and each of the `runs` of `steps` reads the fours of its own run.
                unsafe {
                    let bias = t.head.cast::<__m256i>();
                    let mut acc = [[_mm256_setzero_si256(); V]; R];
                    for v in 0..V {
                        let bias_v = _mm256_loadu_si256(bias.add(v));
                        for row in &mut acc {
                            row[v] = bias_v;
                        }
                    }
                    let mut w = t.weights;
                    for outer in 0..t.runs[0] {
                        for inner in 0..t.runs[1] {
                            let mut x = t.x.add(outer * t.run_step[0] + inner * t.run_step[1]);
                            for _ in 0..t.steps {
                                let mut w_v = [_mm256_setzero_si256(); V];
                                for (v, w_v) in w_v.iter_mut().enumerate() {
                                    *w_v = _mm256_loadu_si256(w.cast::<__m256i>().add(v));
                                }
                                for (r, row) in acc.iter_mut().enumerate() {
                                    let four = x.add(r * t.x_step).cast::<i32>().read_unaligned();
                                    for (sum, &w_v) in row.iter_mut().zip(&w_v) {
                                        *sum = $dot(*sum, _mm256_set1_epi32(four), w_v);
                                    }
                                }
                                x = x.add(4);
                                w = w.add(32 * V);
                            }
                        }
                    }
                    Rails::new(t.y_zero).finish(acc, t);
                }
            }
        }
    };
}

gemm!(AvxVnni, avx_vnni, "avx2,avxvnni", _mm256_dpbusd_avx_epi32);
gemm!(Avx512Vnni, avx512_vnni, "avx2,avx512vnni,avx512vl", _mm256_dpbusd_epi32);
#[cfg(test)]
gemm!(Modelled, modelled_vnni, "avx2", modelled);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::suite;

    #[test]
    fn the_loop_agrees_with_reference_when_the_instruction_is_modelled() {
        if let Some(have) = Avx2::detect() {
            suite::packed_conv_of(Modelled(have));
        }
    }
}
