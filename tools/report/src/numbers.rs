//! Numbers as people read them, and the one interval the views add to the record.
//!
//! Rounding never turns a number into a claim: 1999 of 2000 is "99.9 %", not "100.0 %".

use crate::spread::Spread;

/// The space between a number and its unit: the two stay on one line.
const NBSP: char = '\u{a0}';

/// A 95 % confidence interval of a rate; both ends in 0..=1.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Interval {
    /// Lower end.
    pub low: f64,
    /// Upper end.
    pub high: f64,
}

/// Wilson's score interval at 95 % for `hits` of `n`; absent when nothing was asked.
///
/// E. B. Wilson, "Probable inference, the law of succession, and statistical inference", JASA 22 (1927). Unlike the
/// textbook `p ± 1.96 σ` it stays inside 0..=1 and is honest at 0 % and 100 %.
pub fn wilson95(hits: u64, n: u64) -> Option<Interval> {
    /// 97.5 % point of the normal distribution.
    const Z: f64 = 1.959_963_984_540_054;
    if n == 0 {
        return None;
    }
    let n_f = n as f64;
    let p = (hits.min(n)) as f64 / n_f;
    let z2_n = Z * Z / n_f;
    let centre = (p + z2_n / 2.0) / (1.0 + z2_n);
    let half = Z * (p * (1.0 - p) / n_f + z2_n / (4.0 * n_f)).sqrt() / (1.0 + z2_n);
    Some(Interval { low: (centre - half).max(0.0), high: (centre + half).min(1.0) })
}

/// At most `keep` of the samples with the same distribution: an even pick in sorted order, fastest and slowest kept.
///
/// Up to `keep` are all kept, in their order; the order carries no meaning in a report. Rounded to nanoseconds, which
/// is what clocks count in, so that the JSON stays short.
pub fn thin_samples(samples_us: &[f64], keep: usize) -> Vec<f64> {
    let rounded = samples_us.iter().map(|us| (us * 1e3).round() / 1e3);
    if samples_us.len() <= keep {
        return rounded.collect();
    }
    let mut sorted: Vec<f64> = rounded.collect();
    sorted.sort_by(f64::total_cmp);
    let last = sorted.len() - 1;
    (0..keep).map(|i| sorted[if keep > 1 { i * last / (keep - 1) } else { last / 2 }]).collect()
}

/// The middle of the finite values, or the mean of the middle two; absent without any.
pub(crate) fn median(values: &[f64]) -> Option<f64> {
    let mut sorted: Vec<f64> = values.iter().copied().filter(|v| v.is_finite()).collect();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    let upper = *sorted.get(middle)?;
    Some(if sorted.len() % 2 == 1 { upper } else { (sorted[middle - 1] + upper) / 2.0 })
}

/// "81.5 %" of a rate in 0..=1. Only all is "100.0 %" and only none is "0.0 %".
pub(crate) fn percent(rate: f64) -> String {
    percent_to(rate, 1)
}

/// "81.55 %": for tables, where half a point matters.
pub(crate) fn percent_fine(rate: f64) -> String {
    percent_to(rate, 2)
}

/// "85.62 ± 0.13 %" of rates; "85.62 %" of one run.
pub(crate) fn spread(of: Spread) -> String {
    let mean = percent_fine(of.mean);
    match (of.sd.filter(|sd| (sd * 100.0).is_finite()), mean.strip_suffix('%')) {
        (Some(sd), Some(number)) => format!("{}{NBSP}±{NBSP}{:.2}{NBSP}%", number.trim_end(), sd * 100.0),
        _ => mean,
    }
}

/// "+0.62", "-0.10": a difference of rates in percentage points.
pub(crate) fn points(by: f64) -> String {
    let by = by * 100.0;
    if by.is_finite() { format!("{by:+.2}") } else { "–".into() }
}

/// "9.50", "10.4": minutes of seconds.
pub(crate) fn minutes(s: f64) -> String {
    if s.is_finite() && s >= 0.0 { significant(s / 60.0) } else { "–".into() }
}

fn percent_to(rate: f64, decimals: usize) -> String {
    if !(rate * 100.0).is_finite() {
        return "–".into();
    }
    let step = 0.1_f64.powi(decimals as i32);
    let rounded = match rate * 100.0 {
        p if rate > 0.0 && rate < 1.0 => p.clamp(step, 100.0 - step),
        p => p,
    };
    format!("{rounded:.decimals$}{NBSP}%")
}

/// "79.7 – 83.2 %".
pub(crate) fn interval(i: Interval) -> String {
    format!("{:.1} – {:.1}{NBSP}%", i.low * 100.0, i.high * 100.0)
}

/// "1.17 ms – 1.19 ms": low and high in µs.
pub(crate) fn interval_of_times([low, high]: [f64; 2]) -> String {
    format!("{} – {}", micros(low), micros(high))
}

/// "512 µs", "8.31 ms", "1.20 s": three significant digits.
pub(crate) fn micros(us: f64) -> String {
    match us.abs() {
        a if !a.is_finite() => "–".into(),
        a if a < 0.999_5 => format!("{}{NBSP}ns", significant(us * 1e3)),
        a if a < 999.5 => format!("{}{NBSP}µs", significant(us)),
        a if a < 999.5e3 => format!("{}{NBSP}ms", significant(us / 1e3)),
        _ => format!("{}{NBSP}s", significant(us / 1e6)),
    }
}

/// "94.0 s", "6 min 05 s", "2 h 03 min".
pub(crate) fn seconds(s: f64) -> String {
    match s {
        s if !s.is_finite() || s < 0.0 => "–".into(),
        s if s < 99.95 => format!("{}{NBSP}s", significant(s)),
        s if s < 3599.5 => {
            let s = s.round() as u64;
            format!("{}{NBSP}min {:02}{NBSP}s", s / 60, s % 60)
        }
        s => {
            let minutes = (s / 60.0).round() as u64;
            format!("{}{NBSP}h {:02}{NBSP}min", minutes / 60, minutes % 60)
        }
    }
}

/// "398 kB", "12.9 kB", "19.2 MB": decimal units, as in file listings.
pub(crate) fn bytes(n: u64) -> String {
    match scaled(n as f64) {
        (value, "") => format!("{value}{NBSP}bytes"),
        (value, unit) => format!("{value}{NBSP}{}B", unit.replace('K', "k")),
    }
}

/// A figure in the unit of a record: "share", "us", "ms", "bytes", "uJ"; any other unit is written behind the number.
pub(crate) fn figure(value: f64, unit: &str) -> String {
    match unit {
        "share" => percent_fine(value),
        "us" => micros(value),
        "ms" => micros(value * 1e3),
        "bytes" if value.is_finite() && value >= 0.0 => bytes(value.round() as u64),
        "uJ" => microjoules(value),
        "" => plain(value),
        other => format!("{}{NBSP}{other}", plain(value)),
    }
}

/// "840 nJ", "512 µJ", "8.31 mJ", "1.20 J": three significant digits.
pub(crate) fn microjoules(uj: f64) -> String {
    micros(uj).replace('s', "J")
}

/// "+12.3 %", "−4.0 %": a relative change; "–" from nothing.
pub(crate) fn change(before: f64, after: f64) -> String {
    let by = (after / before - 1.0) * 100.0;
    if by.is_finite() { format!("{by:+.1}{NBSP}%").replace('-', "−") } else { "–".into() }
}

/// "12.5 M": for counts too long to read.
pub(crate) fn short_count(n: u64) -> String {
    match scaled(n as f64) {
        (value, "") => value,
        (value, unit) => format!("{value}{NBSP}{unit}"),
    }
}

fn scaled(n: f64) -> (String, &'static str) {
    match n {
        n if n < 1e3 => (format!("{n:.0}"), ""),
        n if n < 999.5e3 => (significant(n / 1e3), "K"),
        n if n < 999.5e6 => (significant(n / 1e6), "M"),
        n => (significant(n / 1e9), "G"),
    }
}

/// "78,666".
pub(crate) fn count(n: u64) -> String {
    let digits = n.to_string();
    let mut grouped = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

/// A plain number of unknown magnitude: four significant digits, scientific where it would be long.
pub(crate) fn plain(x: f64) -> String {
    match x.abs() {
        a if !a.is_finite() => "–".into(),
        0.0 => "0".into(),
        a if !(1e-4..1e6).contains(&a) => format!("{x:.2e}"),
        a => {
            let decimals = (3 - a.log10().floor() as i32).max(0) as usize;
            let text = format!("{x:.decimals$}");
            if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').into() } else { text }
        }
    }
}

/// Three significant digits of a number whose unit was chosen so that it lies in 1..1000 (or just below).
pub(crate) fn significant(x: f64) -> String {
    match x.abs() {
        a if a < 9.995 => format!("{x:.2}"),
        a if a < 99.95 => format!("{x:.1}"),
        _ => format!("{x:.0}"),
    }
}

/// The first 12 characters of a hash: enough to tell two apart by eye.
pub(crate) fn short_hash(hash: &str) -> String {
    hash.chars().take(12).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wilson_agrees_with_published_values() {
        // R. G. Newcombe, Statistics in Medicine 17 (1998), table I, method 3; four digits are printed there.
        let cases =
            [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)];
        for (hits, n, low, high) in cases {
            let got = wilson95(hits, n).unwrap();
            assert!((got.low - low).abs() < 6e-5 && (got.high - high).abs() < 6e-5, "{hits}/{n}: {got:?}");
        }
        assert_eq!(wilson95(0, 0), None);
        assert!(wilson95(u64::MAX, 3).unwrap().high <= 1.0);
    }

    #[test]
    fn the_median_is_the_middle() {
        assert_eq!(median(&[3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(&[4.0, 1.0, f64::NAN, 2.0, 3.0]), Some(2.5));
        assert_eq!((median(&[]), median(&[f64::NAN])), (None, None));
    }

    #[test]
    fn numbers_read_well() {
        let nbsp_free = |s: String| s.replace(NBSP, " ");
        let cases = [
            (percent(0.815), "81.5 %"),
            (percent(1.0), "100.0 %"),
            (percent(0.999_99), "99.9 %"),
            (percent(1e-9), "0.1 %"),
            (percent(0.0), "0.0 %"),
            (percent_fine(0.815_5), "81.55 %"),
            (percent(f64::NAN), "–"),
            (spread(Spread { n: 3, mean: 0.856_2, sd: Some(0.001_3) }), "85.62 ± 0.13 %"),
            (spread(Spread { n: 1, mean: 0.856_2, sd: None }), "85.62 %"),
            (points(0.006_2), "+0.62"),
            (points(-0.001), "-0.10"),
            (minutes(570.0), "9.50"),
            (minutes(f64::NAN), "–"),
            (micros(0.25), "250 ns"),
            (micros(512.3), "512 µs"),
            (micros(999.6), "1.00 ms"),
            (micros(8_312.0), "8.31 ms"),
            (micros(1.2e6), "1.20 s"),
            (seconds(94.0), "94.0 s"),
            (seconds(365.2), "6 min 05 s"),
            (seconds(7_380.0), "2 h 03 min"),
            (bytes(999), "999 bytes"),
            (bytes(12_900), "12.9 kB"),
            (bytes(398_000), "398 kB"),
            (bytes(19_200_000), "19.2 MB"),
            (figure(0.815_5, "share"), "81.55 %"),
            (figure(8_312.0, "us"), "8.31 ms"),
            (figure(8.312, "ms"), "8.31 ms"),
            (figure(398_000.0, "bytes"), "398 kB"),
            (figure(840.0, "uJ"), "840 µJ"),
            (figure(1.2e6, "uJ"), "1.20 J"),
            (figure(3.0, "allocations"), "3 allocations"),
            (figure(f64::NAN, "bytes"), "– bytes"),
            (change(100.0, 112.3), "+12.3 %"),
            (change(100.0, 96.0), "−4.0 %"),
            (change(0.0, 1.0), "–"),
            (count(78_666), "78,666"),
            (count(7), "7"),
            (count(1_000_000), "1,000,000"),
            (short_count(12_501_632), "12.5 M"),
            (plain(0.05), "0.05"),
            (plain(1.234_56), "1.235"),
            (plain(1e-7), "1.00e-7"),
            (plain(0.0), "0"),
            (plain(100.0), "100"),
        ];
        for (got, want) in cases {
            assert_eq!(nbsp_free(got), want);
        }
    }

    #[test]
    fn thinning_keeps_the_ends_and_the_median() {
        let samples: Vec<f64> = (0..1001).rev().map(f64::from).collect();
        let thin = thin_samples(&samples, 101);
        assert_eq!((thin.len(), thin[0], thin[50], thin[100]), (101, 0.0, 500.0, 1000.0));
        assert_eq!(thin_samples(&samples[..5], 10), samples[..5]);
        assert_eq!(thin_samples(&samples, 1), [500.0]);
        assert!(thin_samples(&samples, 0).is_empty());
    }
}
