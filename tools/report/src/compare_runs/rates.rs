//! Whether two shares differ by more than the draw of samples explains.
//!
//! d = p₁ − p₀, and with Wilson's intervals (l₀, u₀), (l₁, u₁) of the two shares its 95 % interval is
//! d − √((p₁ − l₁)² + (u₀ − p₀)²)  …  d + √((u₁ − p₁)² + (p₀ − l₀)²)
//!
//! R. G. Newcombe, "Interval estimation for the difference between independent proportions", Statistics in Medicine 17
//! (1998), method 10. Runs over the same samples are not independent: for them it asks for more than needed.

use crate::numbers::wilson95;

/// Hits among those asked.
#[derive(Debug, Clone, Copy)]
pub(super) struct Counts {
    pub(super) hits: u64,
    pub(super) n: u64,
}

/// From the difference `after − before` to the end of its interval that is nearer to zero: a difference that is larger
/// than this is more than chance. Absent where nothing was asked.
pub(super) fn noise(before: Counts, after: Counts) -> Option<f64> {
    let (i_0, i_1) = (wilson95(before.hits, before.n)?, wilson95(after.hits, after.n)?);
    let share = |counts: Counts| counts.hits.min(counts.n) as f64 / counts.n as f64;
    let (p_0, p_1) = (share(before), share(after));
    Some(if p_1 >= p_0 { (p_1 - i_1.low).hypot(i_0.high - p_0) } else { (i_1.high - p_1).hypot(p_0 - i_0.low) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_interval_is_the_published_one() {
        // Newcombe's table II, method 10: the end nearer to zero, of 56/70 − 48/80 and so on.
        let cases = [
            ((56, 70), (48, 80), 0.0524),
            ((9, 10), (3, 10), 0.1705),
            ((6, 7), (2, 7), 0.0582),
            ((5, 56), (0, 29), -0.0381),
            ((10, 10), (0, 10), 0.6075),
        ];
        for ((hits_1, n_1), (hits_0, n_0), low) in cases {
            let (before, after) = (Counts { hits: hits_0, n: n_0 }, Counts { hits: hits_1, n: n_1 });
            let d = hits_1 as f64 / n_1 as f64 - hits_0 as f64 / n_0 as f64;
            for (got, want) in [(d - noise(before, after).unwrap(), low), (noise(after, before).unwrap() - d, -low)] {
                assert!((got - want).abs() < 6e-5, "{hits_1}/{n_1} - {hits_0}/{n_0}: {got} {want}");
            }
        }
        assert!(noise(Counts { hits: 0, n: 0 }, Counts { hits: 1, n: 2 }).is_none());
    }
}
