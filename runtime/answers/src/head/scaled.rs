//! i8 with a scale a channel: f16 scale\[C\], then i8\[C·P\].
//!
//! scale = the smallest f16 that is not below max_p |v_p - zero| / 127
//! q_p   = rne((v_p - zero) / scale), kept within ±127; 0 where the scale is 0

use half::f16;

/// Fill a record of `channels` channels with `v - zero`.
pub(super) fn emit(values: &[f32], channels: usize, zero: f32, record: &mut [u8]) {
    let (scales, codes) = record.split_at_mut(2 * channels);
    let pixels = values.len() / channels;
    let channels = values.chunks_exact(pixels).zip(codes.chunks_exact_mut(pixels));
    for ((values_c, codes_c), scale_c) in channels.zip(scales.chunks_exact_mut(2)) {
        let largest = values_c.iter().fold(0.0_f32, |m, v| m.max((v - zero).abs()));
        let scale = not_below(largest / 127.0);
        scale_c.copy_from_slice(&scale.to_le_bytes());
        let scale = scale.to_f32();
        for (v, code) in values_c.iter().zip(codes_c) {
            let q = if scale == 0.0 { 0.0 } else { ((v - zero) / scale).round_ties_even().clamp(-127.0, 127.0) };
            *code = (q as i8).to_le_bytes()[0];
        }
    }
}

pub(super) fn parse(record: &[u8], channels: usize, values: &mut [f32]) {
    let (scales, codes) = record.split_at(2 * channels);
    let pixels = values.len() / channels;
    let channels = values.chunks_exact_mut(pixels).zip(codes.chunks_exact(pixels));
    for ((values_c, codes_c), scale_c) in channels.zip(scales.chunks_exact(2)) {
        let scale = f16::from_le_bytes([scale_c[0], scale_c[1]]).to_f32();
        for (v, code) in values_c.iter_mut().zip(codes_c) {
            *v = f32::from(i8::from_le_bytes([*code])) * scale;
        }
    }
}

/// The smallest f16 that is not below a positive number; 65504 for all above that.
fn not_below(v: f32) -> f16 {
    let near = super::plain::nearest(v);
    // The next f16 up has the next bit pattern; the last one before infinity stays.
    if near.to_f32() < v && near < f16::MAX { f16::from_bits(near.to_bits() + 1) } else { near }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round_trip(values: &[f32], channels: usize, zero: f32) -> Vec<f32> {
        let (mut record, mut out) = (vec![0; 2 * channels + values.len()], vec![0.0; values.len()]);
        emit(values, channels, zero, &mut record);
        parse(&record, channels, &mut out);
        out
    }

    #[test]
    fn the_largest_magnitude_of_each_channel_is_127_steps() {
        let out = round_trip(&[127.0, -63.0, 0.0, 1270.0, -1270.0, 5.0], 2, 0.0);
        assert_eq!(out, [127.0, -63.0, 0.0, 1270.0, -1270.0, 0.0]);
    }

    #[test]
    fn zeros_tiny_and_huge_values_stay_finite_and_in_range() {
        assert_eq!(round_trip(&[0.0; 3], 1, 0.0), [0.0; 3]);
        let tiny = round_trip(&[1e-6, -5e-7], 1, 0.0);
        assert!(tiny[0] >= 0.9e-6 && tiny[0] <= 8e-6, "{tiny:?}");
        assert!(round_trip(&[1e30, -1e30], 1, 0.0).iter().all(|v| v.is_finite() && v.abs() > 8e6));
    }

    #[test]
    fn a_scale_is_never_rounded_down() {
        for v in [1e-9_f32, 1e-7, 0.1, 1.0 / 3.0, 0.7, 100.3, 65504.0] {
            let scale = not_below(v).to_f32();
            assert!(scale >= v && scale <= v * 1.001 + 6e-8, "{v}: {scale}");
        }
    }
}
