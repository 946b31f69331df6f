//! The few scalar rules of `f32-rne/1` that every op ends with.
//!
//! ```text
//! requantize   y = fl(f32(acc) * M);  y = min(max(y, -128 - zy), 127 - zy);  q = int(rne(y)) + zy
//! ```

/// 1.5 * 2^23. Adding it to |y| <= 2^22 leaves `rne(y)` in the low mantissa bits (an f32 there has a spacing of 1).
pub(crate) const MAGIC: f32 = 12_582_912.0;

/// Nearest integer, ties to even, for |y| <= 2^22. `f32::round_ties_even` is not in `core`; this form is exact.
#[inline(always)]
pub fn round_half_even(y: f32) -> i32 {
    (y + MAGIC).to_bits() as i32 - MAGIC.to_bits() as i32
}

/// Saturates a real number in units of the output scale, still without its zero point, to a stored i8.
/// The clamp comes before the conversion, in f32, so that no core meets an out-of-range conversion. NaN cannot come here.
#[inline(always)]
pub fn saturate(y: f32, zero: i8) -> i8 {
    let (low, high) = ((-128 - zero as i32) as f32, (127 - zero as i32) as f32);
    // Comparisons and not `f32::max`: they are one instruction each, since NaN is out of the question.
    let y = if y > low { y } else { low };
    let y = if y < high { y } else { high };
    (round_half_even(y) + zero as i32) as i8
}

/// An accumulator to a stored i8; `scale` is M, `zero` the output's zero point.
#[inline(always)]
pub fn requantize(acc: i32, scale: f32, zero: i8) -> i8 {
    saturate(acc as f32 * scale, zero)
}

/// `M[c] = fl(fl(sx * sw[c]) / sy)`, in exactly this order.
#[inline]
pub fn multiplier(x_scale: f32, weight_scale: f32, y_scale: f32) -> f32 {
    x_scale * weight_scale / y_scale
}

/// True of the only multipliers allowed: positive, finite, not subnormal (cores that flush subnormals, and cores without an
/// FPU that emulate the multiply, then agree with the rest).
#[inline]
pub fn is_multiplier(m: f32) -> bool {
    m.is_normal() && m > 0.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::suite::Rng;

    #[test]
    fn the_magic_form_is_round_ties_even() {
        for half in -1024..=1024 {
            let y = half as f32 * 0.5;
            assert_eq!(round_half_even(y), y.round_ties_even() as i32, "{y}");
        }
        let mut rng = Rng::new(1);
        for _ in 0..1_000_000 {
            let y = (rng.next() as i32 as f32) * (1.0 / 1024.0);
            assert_eq!(round_half_even(y), y.round_ties_even() as i32, "{y}");
        }
    }

    #[test]
    fn requantize_clamps_rounds_and_shifts() {
        for (acc, m, zero, want) in [
            (0, 0.5, -128, -128),
            (1, 0.5, 0, 0),
            (3, 0.5, 0, 2),
            (5, 0.5, 0, 2),
            (-1, 0.5, 0, 0),
            (-3, 0.5, 0, -2),
            (i32::MAX, 1.0, -128, 127),
            (i32::MIN, 1.0, 127, -128),
            (300, 1.0, -128, 127),
            (255, 1.0, -128, 127),
            (254, 1.0, -128, 126),
        ] {
            assert_eq!(requantize(acc, m, zero), want, "acc {acc} m {m} zero {zero}");
        }
    }
}
