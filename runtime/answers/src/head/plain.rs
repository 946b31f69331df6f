//! Values one after the other: f32, f16, one bit.

use half::f16;

pub(super) fn emit_f32(values: &[f32], record: &mut [u8]) {
    for (v, out) in values.iter().zip(record.chunks_exact_mut(4)) {
        out.copy_from_slice(&v.to_le_bytes());
    }
}

pub(super) fn parse_f32(record: &[u8], values: &mut [f32]) {
    for (v, bytes) in values.iter_mut().zip(record.chunks_exact(4)) {
        *v = f32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
    }
}

/// f16 of `v - zero`.
pub(super) fn emit_f16(values: &[f32], zero: f32, record: &mut [u8]) {
    for (v, out) in values.iter().zip(record.chunks_exact_mut(2)) {
        out.copy_from_slice(&nearest(v - zero).to_le_bytes());
    }
}

pub(super) fn parse_f16(record: &[u8], values: &mut [f32]) {
    for (v, bytes) in values.iter_mut().zip(record.chunks_exact(2)) {
        *v = f16::from_le_bytes([bytes[0], bytes[1]]).to_f32();
    }
}

/// Bit i is `v_i > 0`, lowest bit of the first byte first.
pub(super) fn emit_sign(values: &[f32], record: &mut [u8]) {
    for (eight, byte) in values.chunks(8).zip(record) {
        *byte = eight.iter().enumerate().fold(0, |bits, (i, v)| bits | u8::from(*v > 0.0) << i);
    }
}

pub(super) fn parse_sign(record: &[u8], values: &mut [f32]) {
    for (eight, byte) in values.chunks_mut(8).zip(record) {
        for (i, v) in eight.iter_mut().enumerate() {
            *v = if byte >> i & 1 == 1 { 1.0 } else { -1.0 };
        }
    }
}

/// The nearest f16, ties to even; finite for every number.
pub(super) fn nearest(v: f32) -> f16 {
    f16::from_f32(v.clamp(f16::MIN.to_f32(), f16::MAX.to_f32()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signs_are_one_bit_each_and_zero_is_not_above_zero() {
        let values = [1.0, 0.0, -0.0, f32::MIN_POSITIVE, -3.0, 2.0, -1.0, 1.0, 5.0, -5.0];
        let mut record = [0; 2];
        emit_sign(&values, &mut record);
        assert_eq!(record, [0b1010_1001, 0b01]);
    }

    #[test]
    fn f16_never_overflows() {
        assert_eq!([1e9, -1e9, 65519.0, 65520.0].map(|v| nearest(v).to_f32()), [65504.0, -65504.0, 65504.0, 65504.0]);
    }
}
