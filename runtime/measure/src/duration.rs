//! Lengths of time as people write them: `45s`, `30m`, `1.5h`.

use std::time::Duration;

/// A length of time with its unit (`s`, `m` or `h`); what is wrong with it otherwise.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("{text:?} is no length of time; write 45s, 30m or 1.5h");
    let unit = text.chars().last().ok_or_else(wrong)?;
    let factor = match unit {
        's' => 1.0,
        'm' => 60.0,
        'h' => 3600.0,
        _ => return Err(wrong()),
    };
    let number: f64 = text[..text.len() - 1].parse().map_err(|_| wrong())?;
    Duration::try_from_secs_f64(number * factor).map_err(|_| wrong())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_length_of_time_has_a_unit() {
        let seconds = |text| parse_duration(text).unwrap().as_secs_f64();
        assert_eq!((seconds("45s"), seconds("30m"), seconds("1.5h")), (45.0, 1800.0, 5400.0));
        for bad in ["", "30", "m", "-1s", "1d", "nanm", "1e400h", "3 m m"] {
            assert!(parse_duration(bad).unwrap_err().contains("30m"), "{bad}");
        }
    }
}
