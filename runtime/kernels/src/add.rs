//! Sum of two tensors of one shape and three scales, int8 in and out, in integers only.
//!
//! ```text
//! ra = fl(sa/sy)   rb = fl(sb/sy)   e = floor(log2 max(ra, rb))   shift = 20 - e   ma = rne(ra * 2^shift)   mb = rne(rb * 2^shift)
//! y[i] = clamp((((a[i] - za) * ma + (b[i] - zb) * mb + 2^(shift-1)) >> shift) + zy)
//! ```
//!
//! With 1 <= shift <= 31 no i32 overflows: ma, mb <= 2^21, so |sum| <= 2 * 255 * 2^21 + 2^30 < 2^31.
//! Versions: `reference`; `portable`, the same in one pass of lanes.

#[cfg(target_arch = "aarch64")]
use crate::arch::aarch64;
#[cfg(target_arch = "x86_64")]
use crate::arch::x86_64;
use crate::isa::Isa;

/// How to bring two scales to a third.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AddScales {
    /// Multiplier of `a`, 0 ..= 2^21.
    pub ma: i32,
    /// Multiplier of `b`, 0 ..= 2^21.
    pub mb: i32,
    /// Right shift, 1 ..= 31.
    pub shift: u32,
}

impl AddScales {
    /// From the three scales, or `None` when the shift would leave 1 ..= 31 or a scale is not positive and normal.
    /// Integer arithmetic on the f32 fields, hence exact everywhere.
    pub fn new(a_scale: f32, b_scale: f32, y_scale: f32) -> Option<AddScales> {
        if ![a_scale, b_scale, y_scale].into_iter().all(crate::arithmetic::is_multiplier) {
            return None;
        }
        let (ra, rb) = (a_scale / y_scale, b_scale / y_scale);
        let exponent = (if ra > rb { ra } else { rb }).to_bits() as i32 >> 23;
        let shift = 20 - (exponent - 127);
        if !(1..=31).contains(&shift) {
            return None;
        }
        Some(AddScales { ma: scaled(ra, shift), mb: scaled(rb, shift), shift: shift as u32 })
    }
}

/// rne(r * 2^shift) for 0 <= r < 2^(21 - shift).
fn scaled(r: f32, shift: i32) -> i32 {
    let exponent = r.to_bits() as i32 >> 23;
    let mantissa = (r.to_bits() & 0x007f_ffff | 0x0080_0000) as i32;
    // r = mantissa * 2^(exponent - 150), so the value is mantissa >> drop; drop >= 3 because r < 2^(21 - shift).
    let drop = 150 - exponent - shift;
    if exponent == 0 || drop >= 25 {
        return 0;
    }
    let (whole, rest, half) = (mantissa >> drop, mantissa & ((1 << drop) - 1), 1 << (drop - 1));
    whole + (rest > half || (rest == half && whole & 1 == 1)) as i32
}

/// What an addition is asked to do. All three slices have one length.
#[derive(Clone, Copy, Debug)]
pub struct Add<'a> {
    /// First term.
    pub a: &'a [i8],
    /// Its zero point.
    pub a_zero: i8,
    /// Second term.
    pub b: &'a [i8],
    /// Its zero point.
    pub b_zero: i8,
    /// Multipliers and shift.
    pub scales: AddScales,
    /// Zero point of the output.
    pub y_zero: i8,
}

impl Add<'_> {
    pub(crate) fn check(&self, y: &[i8]) {
        assert_eq!(self.a.len(), y.len(), "a against y");
        assert_eq!(self.b.len(), y.len(), "b against y");
    }

    /// The rounding term and both zero points, as one term of the sum. It may pass 2^31; the whole comes back.
    #[inline(always)]
    pub(crate) fn constant(&self) -> i32 {
        let AddScales { ma, mb, shift } = self.scales;
        (1i32 << (shift - 1))
            .wrapping_sub((self.a_zero as i32).wrapping_mul(ma))
            .wrapping_sub((self.b_zero as i32).wrapping_mul(mb))
    }
}

/// The definition; every faster version is tested against it.
pub fn reference(add: &Add<'_>, y: &mut [i8]) {
    add.check(y);
    let AddScales { ma, mb, shift } = add.scales;
    for ((&a, &b), y) in add.a.iter().zip(add.b).zip(y) {
        let (a, b) = (a as i32 - add.a_zero as i32, b as i32 - add.b_zero as i32);
        let sum = (a * ma + b * mb + (1 << (shift - 1))) >> shift;
        *y = (sum + add.y_zero as i32).clamp(-128, 127) as i8;
    }
}

/// The zero points and the rounding term folded into one constant, so that two multiplies, one shift and the clamp remain.
/// The folded form may pass 2^31 on the way; wrapping sums come back, since the whole does not.
#[inline(always)]
pub fn portable(add: &Add<'_>, y: &mut [i8]) {
    add.check(y);
    let AddScales { ma, mb, shift } = add.scales;
    let constant = add.constant();
    let (low, high) = (-128 - add.y_zero as i32, 127 - add.y_zero as i32);
    for ((&a, &b), y) in add.a.iter().zip(add.b).zip(y) {
        let sum = (a as i32).wrapping_mul(ma).wrapping_add((b as i32).wrapping_mul(mb)).wrapping_add(constant);
        *y = ((sum >> shift).clamp(low, high) + add.y_zero as i32) as i8;
    }
}

/// The same on a path: the fastest version that it has.
pub fn run(isa: Isa, add: &Add<'_>, y: &mut [i8]) {
    #[cfg(target_arch = "x86_64")]
    if let Some(have) = isa.avx2() {
        return x86_64::add(have, add, y);
    }
    #[cfg(target_arch = "aarch64")]
    if let Some(have) = isa.neon() {
        return aarch64::add(have, add, y);
    }
    let _ = isa;
    portable(add, y)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::suite;

    #[test]
    fn every_path_agrees_with_reference() {
        for isa in Isa::available() {
            suite::add(|contract, y| run(isa, contract, y));
        }
    }

    #[test]
    fn portable_agrees_with_reference() {
        suite::add(portable);
    }

    /// The text of the rule, in f64, where ra * 2^shift is exact.
    fn by_the_text(sa: f32, sb: f32, sy: f32) -> Option<AddScales> {
        let (ra, rb) = ((sa / sy) as f64, (sb / sy) as f64);
        let shift = 20 - ra.max(rb).log2().floor() as i32;
        let m = |r: f64| (r * 2f64.powi(shift)).round_ties_even() as i32;
        (1..=31).contains(&shift).then(|| AddScales { ma: m(ra), mb: m(rb), shift: shift as u32 })
    }

    #[test]
    fn scales_follow_the_text() {
        let mut rng = suite::Rng::new(3);
        for _ in 0..200_000 {
            let mut scale = || f32::from_bits(((90 + rng.below(70)) << 23 | rng.next() as usize & 0x007f_ffff) as u32);
            let (sa, sb, sy) = (scale(), scale(), scale());
            assert_eq!(AddScales::new(sa, sb, sy), by_the_text(sa, sb, sy), "{sa} {sb} {sy}");
        }
    }

    #[test]
    fn scales_out_of_range_are_refused() {
        assert_eq!(AddScales::new(1.0, 1.0, 0.0), None);
        assert_eq!(AddScales::new(f32::NAN, 1.0, 1.0), None);
        assert_eq!(AddScales::new(1.0, -1.0, 1.0), None);
        assert_eq!(AddScales::new(1e30, 1.0, 1e-30), None);
        assert_eq!(AddScales::new(1.0, 1.0, 1e6), None);
        assert_eq!(AddScales::new(1e-30, 1.0, 1e9), None);
        assert_eq!(AddScales::new(1.0, 2e-38, 1.0), Some(AddScales { ma: 1 << 20, mb: 0, shift: 20 }));
    }
}
