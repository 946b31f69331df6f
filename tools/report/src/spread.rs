//! Mean and spread of a few runs, and whether two means differ by more than their noise.
//!
//! x (n)   mean = Σ x / n   sd = √(Σ (x − mean)² / (n − 1))
//!
//! Welch's test, which does not suppose that both recipes are equally noisy:
//! t = (mean₁ − mean₀) / √(sd₁²/n₁ + sd₀²/n₀), against Student's t at the degrees of freedom
//! ν = (sd₁²/n₁ + sd₀²/n₀)² / ((sd₁²/n₁)²/(n₁ − 1) + (sd₀²/n₀)²/(n₀ − 1)).
//!
//! B. L. Welch, "The generalization of 'Student's' problem when several different population variances are involved",
//! Biometrika 34 (1947); ν after F. E. Satterthwaite, Biometrics Bulletin 2 (1946). With three runs a side, "two
//! standard errors" would claim far too often: Student's t asks for 2.8 to 4.3 of them there.

/// Mean and sample standard deviation of `n` values.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Spread {
    /// Values; at least 1.
    pub n: usize,
    /// Their mean, in their unit.
    pub mean: f64,
    /// Sample standard deviation (over `n − 1`), in their unit; absent for one value.
    pub sd: Option<f64>,
}

impl Spread {
    /// Of the finite values; absent without any, and where the sum is too large for a float.
    pub fn of(values: impl IntoIterator<Item = f64>) -> Option<Spread> {
        let values: Vec<f64> = values.into_iter().filter(|v| v.is_finite()).collect();
        let n = values.len() as f64;
        // Counted from the first value, so that equal values have a spread of exactly zero.
        let first = *values.first()?;
        let mean = first + values.iter().map(|v| v - first).sum::<f64>() / n;
        let squares: f64 = values.iter().map(|v| (v - mean) * (v - mean)).sum();
        let sd = (squares / (n - 1.0)).sqrt();
        let sd = Some(sd).filter(|sd| values.len() > 1 && sd.is_finite());
        mean.is_finite().then_some(Spread { n: values.len(), mean, sd })
    }
}

/// What noise allows to say of a difference.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Finding {
    /// Higher by more than noise explains, at 95 %.
    Higher,
    /// Lower by more than noise explains, at 95 %.
    Lower,
    /// Noise explains the difference.
    WithinNoise,
    /// Fewer than two runs on a side, or runs that all gave the same: nothing tells how large the noise is.
    NoClaim,
}

/// A mean less the baseline's, and what to make of it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Difference {
    /// In the values' unit.
    pub by: f64,
    /// By Welch's test, two-sided, at 95 %.
    pub finding: Finding,
}

impl Spread {
    /// This mean less the mean of `baseline`, by the test that the module describes.
    pub fn less(&self, baseline: &Spread) -> Difference {
        let by = self.mean - baseline.mean;
        let finding = match (self.sd, baseline.sd) {
            (Some(sd), Some(sd_0)) => welch(by, (sd, self.n), (sd_0, baseline.n)),
            _ => Finding::NoClaim,
        };
        Difference { by, finding }
    }
}

/// Standard deviation and number of runs on either side.
fn welch(by: f64, (sd_1, n_1): (f64, usize), (sd_0, n_0): (f64, usize)) -> Finding {
    let (n_1, n_0) = (n_1 as f64, n_0 as f64);
    let (v_1, v_0) = (sd_1 * sd_1 / n_1, sd_0 * sd_0 / n_0);
    let t = by / (v_1 + v_0).sqrt();
    let freedom = (v_1 + v_0) * (v_1 + v_0) / (v_1 * v_1 / (n_1 - 1.0) + v_0 * v_0 / (n_0 - 1.0));
    match t {
        t if !t.is_finite() || !freedom.is_finite() => Finding::NoClaim,
        t if t.abs() <= student_975(freedom) => Finding::WithinNoise,
        t if t > 0.0 => Finding::Higher,
        _ => Finding::Lower,
    }
}

/// 97.5 % point of Student's t with 1, 2, … 30 degrees of freedom: NIST/SEMATECH e-Handbook of Statistical Methods,
/// section 1.3.6.7.2.
const STUDENT_975: [f64; 30] = [
    12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145, 2.131, 2.120,
    2.110, 2.101, 2.093, 2.086, 2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042,
];

/// Broken degrees are rounded down, and more than 30 are taken for 30: both ask for slightly more than needed.
fn student_975(freedom: f64) -> f64 {
    // 3.9999999 is a rounded 4.
    let whole = (freedom + 1e-9).floor().clamp(1.0, STUDENT_975.len() as f64);
    STUDENT_975[whole as usize - 1]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spread(values: &[f64]) -> Spread {
        Spread::of(values.iter().copied()).unwrap()
    }

    fn finding(values: &[f64], baseline: &[f64]) -> Finding {
        spread(values).less(&spread(baseline)).finding
    }

    #[test]
    fn mean_and_deviation_are_those_computed_by_hand() {
        // Mean 5; squares 9 + 1 + 1 + 1 + 0 + 0 + 4 + 16 = 32; 32 / 7.
        let got = spread(&[2.0, 4.0, 4.0, 4.0, 5.0, 5.0, 7.0, 9.0]);
        assert_eq!((got.n, got.mean), (8, 5.0));
        assert!((got.sd.unwrap() - (32.0f64 / 7.0).sqrt()).abs() < 1e-15);
        assert_eq!(spread(&[0.3]), Spread { n: 1, mean: 0.3, sd: None });
        assert_eq!(spread(&[0.1; 3]), Spread { n: 3, mean: 0.1, sd: Some(0.0) });
    }

    #[test]
    fn what_is_not_a_number_is_not_counted() {
        assert_eq!(spread(&[f64::NAN, 0.5, f64::INFINITY]), Spread { n: 1, mean: 0.5, sd: None });
        assert_eq!(Spread::of([f64::NAN]), None);
        assert_eq!(Spread::of([]), None);
        assert_eq!(Spread::of([f64::MAX, -f64::MAX]), None);
        assert_eq!(spread(&[0.0, 1e300]).sd, None);
    }

    #[test]
    fn a_difference_counts_from_the_t_that_student_asks_for() {
        // sd 1 and n 3 on both sides: standard error √(2/3) = 0.8165, ν = 4, so 2.776 · 0.8165 = 2.2666 is the edge.
        let baseline = [9.0, 10.0, 11.0];
        let at = |by: f64| [9.0 + by, 10.0 + by, 11.0 + by];
        assert_eq!(finding(&at(2.27), &baseline), Finding::Higher);
        assert_eq!(finding(&at(2.26), &baseline), Finding::WithinNoise);
        assert_eq!(finding(&at(-2.26), &baseline), Finding::WithinNoise);
        assert_eq!(finding(&at(-2.27), &baseline), Finding::Lower);
        assert_eq!(finding(&baseline, &baseline), Finding::WithinNoise);
        assert!((spread(&at(2.27)).less(&spread(&baseline)).by - 2.27).abs() < 1e-12);
    }

    #[test]
    fn unequal_noise_costs_degrees_of_freedom() {
        // sd 0 against sd 1, n 3 each: standard error √(1/3) = 0.5774, ν = 2, so 4.303 · 0.5774 = 2.4843 is the edge.
        let baseline = [9.0, 10.0, 11.0];
        assert_eq!(finding(&[12.49; 3], &baseline), Finding::Higher);
        assert_eq!(finding(&[12.48; 3], &baseline), Finding::WithinNoise);
        // Two runs against three: v 0.5 and 1/3, ν = (5/6)² / (1/4 + 1/18) = 25/11, so 4.303 · 0.9129 = 3.9281.
        let two = |mean: f64| [mean - 0.5f64.sqrt(), mean + 0.5f64.sqrt()];
        assert_eq!(finding(&two(13.94), &baseline), Finding::Higher);
        assert_eq!(finding(&two(13.92), &baseline), Finding::WithinNoise);
    }

    #[test]
    fn without_two_runs_or_without_any_spread_nothing_is_claimed() {
        assert_eq!(finding(&[99.0], &[9.0, 10.0, 11.0]), Finding::NoClaim);
        assert_eq!(finding(&[9.0, 10.0, 11.0], &[99.0]), Finding::NoClaim);
        assert_eq!(finding(&[0.9; 3], &[0.1; 3]), Finding::NoClaim);
        assert_eq!(finding(&[0.0, 1e300], &[0.1, 0.2]), Finding::NoClaim);
    }

    /// P(|T| ≤ t) for whole degrees of freedom: Abramowitz and Stegun, 26.7.3 and 26.7.4.
    fn two_sided(t: f64, freedom: usize) -> f64 {
        let angle = (t / (freedom as f64).sqrt()).atan();
        let (sin, cos) = angle.sin_cos();
        let (mut term, mut sum) = if freedom.is_multiple_of(2) { (1.0, 1.0) } else { (cos, cos) };
        let mut k = if freedom.is_multiple_of(2) { 2 } else { 3 };
        while k < freedom {
            term *= cos * cos * (k - 1) as f64 / k as f64;
            sum += term;
            k += 2;
        }
        let odd = |sum: f64| std::f64::consts::FRAC_2_PI * (angle + sin * sum);
        match freedom {
            1 => odd(0.0),
            _ if freedom.is_multiple_of(2) => sin * sum,
            _ => odd(sum),
        }
    }

    #[test]
    fn the_table_of_students_t_leaves_five_percent_outside() {
        for freedom in 1..=30 {
            let t = student_975(freedom as f64);
            assert!(two_sided(t - 6e-4, freedom) < 0.95 && two_sided(t + 6e-4, freedom) > 0.95, "{freedom}: {t}");
        }
        assert_eq!((student_975(2.99), student_975(3.0 - 1e-12)), (4.303, 3.182));
        assert_eq!((student_975(0.5), student_975(1e9)), (12.706, 2.042));
    }
}
