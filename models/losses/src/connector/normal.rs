//! Normal numbers by counter, the same bits on every machine.
//!
//! element i of `name` under `seed`: u, v from the two words of pair ⌊i/2⌋ of the stream (seed ⊕ hash(name), pair)
//! z = √(-2 ln u) · cos 2πv for even i, sin 2πv for odd i;  u = (word + ½) / 2³², v = word / 2³²
//!
//! Box, Muller, "A note on the generation of random normal deviates", 1958. |z| < 6.77. The standard library's `ln`, `sin` and `cos` are the
//! platform's and differ in the last bit; the ones here are sums and products (and IEEE square roots) in a fixed order.

use limbeck_answers::rng::Stream;

/// Keeps initial weights apart from everything else that is drawn from a seed.
const STREAM: u32 = 0x636f_6e6e;

/// `count` numbers of mean 0 and this deviation.
pub(super) fn normal(seed: u64, name: &str, count: usize, deviation: f64) -> Vec<f64> {
    let key = seed ^ hash(name);
    let pair = |pair: u64| {
        let mut random = Stream::new(key, pair, STREAM);
        let u = (random.next_u32() as f64 + 0.5) / 2f64.powi(32);
        let v = random.next_u32();
        let radius = (-2.0 * ln(u)).sqrt() * deviation;
        let (sin, cos) = sin_cos_turns(v);
        [radius * cos, radius * sin]
    };
    (0..count.div_ceil(2) as u64).flat_map(pair).take(count).collect()
}

/// FNV-1a, 64 bits.
fn hash(name: &str) -> u64 {
    name.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, b| (hash ^ b as u64).wrapping_mul(0x0100_0000_01b3))
}

/// ln x of a normal number x > 0: x = m·2^e with m from √½ to √2, ln m = 2 artanh((m - 1) / (m + 1)).
fn ln(x: f64) -> f64 {
    let bits = x.to_bits();
    let mut exponent = (bits >> 52) as i32 - 1023;
    let mut m = f64::from_bits(bits & (u64::MAX >> 12) | 1023 << 52);
    if m > std::f64::consts::SQRT_2 {
        m /= 2.0;
        exponent += 1;
    }
    let z = (m - 1.0) / (m + 1.0);
    // |z| < 0.172: the last term is below 1e-19 of the first
    let series = (0..12).rev().fold(0.0, |sum, k| sum * (z * z) + 1.0 / (2 * k + 1) as f64);
    exponent as f64 * std::f64::consts::LN_2 + 2.0 * z * series
}

/// Sine and cosine of v / 2³² of a turn.
fn sin_cos_turns(v: u32) -> (f64, f64) {
    let angle = (v << 2) as f64 / 2f64.powi(32) * std::f64::consts::FRAC_PI_2;
    let square = angle * angle;
    // 1 - x²/(1·2) (1 - x²/(3·4) (1 - ...)), and x - x³/(2·3) (...): the last term is below 1e-18
    let fraction = |first: f64| {
        (0..11).rev().fold(1.0, |sum, k| {
            let n = first + 2.0 * k as f64;
            1.0 - square / (n * (n + 1.0)) * sum
        })
    };
    let (cos, sin) = (fraction(1.0), angle * fraction(2.0));
    match v >> 30 {
        0 => (sin, cos),
        1 => (cos, -sin),
        2 => (-sin, -cos),
        _ => (-cos, sin),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn functions_are_those_of_the_platform_to_the_last_bits() {
        let mut random = Stream::new(1, 0, 0);
        for _ in 0..20_000 {
            let (a, v) = (random.next_u32(), random.next_u32());
            let u = (a as f64 + 0.5) / 2f64.powi(32);
            assert!((ln(u) - u.ln()).abs() <= 4e-16 * u.ln().abs().max(1.0), "ln {u}");
            let (sin, cos) = sin_cos_turns(v);
            let angle = v as f64 / 2f64.powi(32) * std::f64::consts::TAU;
            assert!((sin - angle.sin()).abs() < 2e-15 && (cos - angle.cos()).abs() < 2e-15, "{angle}");
        }
        for u in [0.5 / 2f64.powi(32), 0.5, 1.0 - 0.5 / 2f64.powi(32)] {
            assert!((ln(u) - u.ln()).abs() <= 4e-16 * u.ln().abs().max(1.0), "ln {u}");
        }
        assert_eq!(sin_cos_turns(1 << 30), (1.0, 0.0));
    }

    #[test]
    fn numbers_are_normal() {
        let count = 200_000;
        let z = normal(3, "a", count, 1.0);
        let moment = |p: i32| z.iter().map(|z| z.powi(p)).sum::<f64>() / count as f64;
        // Five deviations of each mean: of z^p it is sqrt((E z^2p - (E z^p)^2) / n)
        let bound = |variance: f64| 5.0 * (variance / count as f64).sqrt();
        for (p, expected, variance) in [(1, 0.0, 1.0), (2, 1.0, 2.0), (3, 0.0, 15.0), (4, 3.0, 96.0)] {
            assert!((moment(p) - expected).abs() < bound(variance), "moment {p}: {}", moment(p));
        }
        let neighbours = z.windows(2).map(|z| z[0] * z[1]).sum::<f64>() / count as f64;
        assert!(neighbours.abs() < bound(1.0), "{neighbours}");
        let beyond = z.iter().filter(|z| z.abs() > 2.0).count() as f64 / count as f64;
        assert!((beyond - 0.0455).abs() < bound(0.0455), "{beyond}");
    }

    #[test]
    fn an_element_depends_on_seed_name_and_index_only() {
        let long = normal(1, "hint", 101, 2.0);
        assert_eq!(normal(1, "hint", 7, 2.0), long[..7]);
        assert_ne!(normal(2, "hint", 7, 2.0), long[..7]);
        assert_ne!(normal(1, "tint", 7, 2.0), long[..7]);
    }
}
