//! The export of a meter beside the board: a CSV file with a header.
//!
//! | column | names | |
//! |---|---|---|
//! | time | `time` `time_s` `time_ms` `time_us` | seconds where no unit is named; ascending |
//! | power | `watts` `power` `power_w` `power_mw` `power_uw` | or the two below |
//! | voltage | `volts` `voltage` `voltage_v` `voltage_mv` | |
//! | current | `amperes` `current` `current_a` `current_ma` `current_ua` | |
//! | mark | `window` `mark` `gpio` | see below |
//!
//! The mark says which rows belong to a window: `0` or nothing outside, anything else inside (the level of a pin, or the number of the
//! window), `idle` where the board did nothing. Each stretch of equal marks is a window, in order. A name may start with `#`, and
//! case does not matter. A column of another name is an error: a figure of energy is not guessed out of a file.

use std::path::{Path, PathBuf};

use super::{Energy, EnergyError, PowerPoint, PowerTrace, Span, WindowEnergy, inferences};
use crate::latency::Latency;

/// A column's quantity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Column {
    Time,
    Power,
    Volts,
    Amperes,
    Mark,
}

/// Names of columns, and what one of their units is in seconds, watts, volts or amperes.
const NAMES: [(&str, Column, f64); 20] = [
    ("time", Column::Time, 1.0),
    ("time_s", Column::Time, 1.0),
    ("time_ms", Column::Time, 1e-3),
    ("time_us", Column::Time, 1e-6),
    ("watts", Column::Power, 1.0),
    ("power", Column::Power, 1.0),
    ("power_w", Column::Power, 1.0),
    ("power_mw", Column::Power, 1e-3),
    ("power_uw", Column::Power, 1e-6),
    ("volts", Column::Volts, 1.0),
    ("voltage", Column::Volts, 1.0),
    ("voltage_v", Column::Volts, 1.0),
    ("voltage_mv", Column::Volts, 1e-3),
    ("amperes", Column::Amperes, 1.0),
    ("current", Column::Amperes, 1.0),
    ("current_a", Column::Amperes, 1.0),
    ("current_ma", Column::Amperes, 1e-3),
    ("current_ua", Column::Amperes, 1e-6),
    ("window", Column::Mark, 1.0),
    ("mark", Column::Mark, 1.0),
];

/// The level of a pin is a mark too.
const PIN: &str = "gpio";

/// A part of a window's length by which marks and measurement may differ.
const SAME_LENGTH: f64 = 0.1;

/// A meter's export.
#[derive(Debug, Clone, PartialEq)]
pub struct Imported {
    path: PathBuf,
    /// Power over time.
    pub trace: PowerTrace,
    /// Marked windows, in order.
    pub windows: Vec<Span>,
    /// Mean power of the rows marked `idle`.
    pub idle_watts: Option<f64>,
}

/// Read a meter's export strictly: an error names file and line.
pub fn import_csv(path: &Path) -> Result<Imported, EnergyError> {
    let text = std::fs::read_to_string(path).map_err(|source| EnergyError::Read { path: path.to_owned(), source })?;
    parse(path, &text)
}

/// The file's text.
fn parse(path: &Path, text: &str) -> Result<Imported, EnergyError> {
    let wrong = |line: usize, what: String| EnergyError::Line { path: path.to_owned(), line, what };
    let mut lines = (1..).zip(text.lines()).filter(|(_, line)| !line.trim().is_empty());
    let (at, header) = lines.next().ok_or_else(|| wrong(1, "empty; a header with column names belongs here".into()))?;
    let columns = header.split(',').map(column).collect::<Result<Vec<_>, _>>().map_err(|what| wrong(at, what))?;
    complete(&columns).map_err(|what| wrong(at, what))?;
    let mut imported =
        Imported { path: path.to_owned(), trace: PowerTrace::default(), windows: vec![], idle_watts: None };
    let mut stretches: Vec<(String, Span)> = Vec::new();
    for (at, line) in lines {
        let row = row(&columns, line).map_err(|what| wrong(at, what))?;
        let seconds = row.point.seconds;
        if !imported.trace.push(row.point) {
            return Err(wrong(at, format!("time {seconds} s is not later than the row before; sort by time")));
        }
        match stretches.last_mut() {
            Some((mark, span)) if *mark == row.mark => span.end = seconds,
            _ => stretches.push((row.mark, Span { start: seconds, end: seconds })),
        }
    }
    let is_inside = |mark: &str| !matches!(mark, "" | "0" | "idle");
    imported.windows = stretches.iter().filter(|(mark, _)| is_inside(mark)).map(|(_, span)| *span).collect();
    let idle: Vec<Span> = stretches.iter().filter(|(mark, _)| mark == "idle").map(|(_, span)| *span).collect();
    let seconds: f64 = idle.iter().map(Span::seconds).sum();
    let joules: Option<f64> = idle.iter().map(|span| imported.trace.joules(*span)).sum();
    imported.idle_watts = joules.filter(|_| seconds > 0.0).map(|joules| joules / seconds);
    Ok(imported)
}

/// Quantity and unit of a header's name.
fn column(name: &str) -> Result<(Column, f64), String> {
    let plain = name.trim().trim_start_matches('#').trim().trim_matches('"').to_ascii_lowercase();
    if plain == PIN {
        return Ok((Column::Mark, 1.0));
    }
    let known = NAMES.iter().find(|(known, ..)| *known == plain);
    known.map(|(_, column, unit)| (*column, *unit)).ok_or_else(|| {
        let names: Vec<&str> = NAMES.iter().map(|(name, ..)| *name).chain([PIN]).collect();
        format!("unknown column {:?}; known are {}", name.trim(), names.join(" "))
    })
}

/// Is there everything that a figure needs, and nothing twice?
fn complete(columns: &[(Column, f64)]) -> Result<(), String> {
    let count = |column| columns.iter().filter(|(c, _)| *c == column).count();
    for column in [Column::Time, Column::Power, Column::Volts, Column::Amperes, Column::Mark] {
        if count(column) > 1 {
            return Err(format!("two columns of {column:?}; keep one"));
        }
    }
    if count(Column::Time) == 0 {
        return Err("no column of time".into());
    }
    if count(Column::Power) == 0 && count(Column::Volts) + count(Column::Amperes) < 2 {
        return Err("no column of power, nor one of voltage and one of current".into());
    }
    if count(Column::Mark) == 0 {
        return Err("no column that marks the windows (window, mark or gpio)".into());
    }
    Ok(())
}

/// A row's figures.
struct Row {
    point: PowerPoint,
    mark: String,
}

fn row(columns: &[(Column, f64)], line: &str) -> Result<Row, String> {
    let fields: Vec<&str> = line.split(',').map(str::trim).collect();
    if fields.len() != columns.len() {
        return Err(format!("{} fields; the header has {} columns", fields.len(), columns.len()));
    }
    let (mut seconds, mut power, mut volts, mut amperes, mut mark) = (0.0, None, 0.0, 0.0, String::new());
    for (&(column, unit), field) in columns.iter().zip(fields) {
        if column == Column::Mark {
            mark = field.to_ascii_lowercase();
            continue;
        }
        let number = field.parse::<f64>().ok().filter(|v| v.is_finite());
        let number = number.ok_or_else(|| format!("{field:?} is no number"))? * unit;
        match column {
            Column::Time => seconds = number,
            Column::Power => power = Some(number),
            Column::Volts => volts = number,
            Column::Amperes => amperes = number,
            Column::Mark => {}
        }
    }
    Ok(Row { point: PowerPoint { seconds, watts: power.unwrap_or(volts * amperes) }, mark })
}

impl Imported {
    /// Energy of the windows of `latency`, which ran while this was recorded.
    ///
    /// Idle power is that of the rows marked `idle`, or else `idle_watts`, where somebody measured it.
    pub fn energy(&self, latency: &Latency, idle_watts: Option<f64>) -> Result<Energy, EnergyError> {
        let other = |what: String| EnergyError::OtherMeasurement { path: self.path.clone(), what };
        let (marked, measured) = (self.windows.len(), latency.windows.len());
        if marked != measured {
            return Err(other(format!("{marked} windows are marked, {measured} were measured")));
        }
        let mut windows = Vec::new();
        for (i, (span, inferences)) in self.windows.iter().zip(inferences(latency)).enumerate() {
            let (seconds, ran) = (span.seconds(), latency.windows[i].mean_us * inferences as f64 / 1e6);
            if (seconds - ran).abs() > SAME_LENGTH * ran {
                let window = i + 1;
                return Err(other(format!(
                    "window {window} is marked for {seconds:.3} s, and was measured for {ran:.3} s"
                )));
            }
            let joules = self.trace.joules(*span).ok_or_else(|| other(format!("window {} has no readings", i + 1)))?;
            windows.push(WindowEnergy { seconds, joules, inferences });
        }
        let points = self.trace.points();
        let length = points.first().zip(points.last()).map(|(a, b)| b.seconds - a.seconds).filter(|s| *s > 0.0);
        let sampling_hz = length.map(|seconds| (points.len() - 1) as f64 / seconds);
        let source = format!("import of {}", self.path.file_name().unwrap_or_default().to_string_lossy());
        let energy = Energy::of(source, sampling_hz, self.idle_watts.or(idle_watts), windows);
        energy.ok_or_else(|| other("there is no window".into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Protocol, measure};

    /// A measurement of three windows of 1 s, 100 runs each.
    fn latency() -> Latency {
        let now = std::cell::Cell::new(0u64);
        let mut run = || -> Result<(), ()> {
            now.set(now.get() + 10_000_000);
            Ok(())
        };
        measure(&mut || now.get(), &mut run, &Protocol::quick(1.0)).unwrap()
    }

    fn of(text: &str) -> Result<Imported, String> {
        parse(Path::new("js220.csv"), text).map_err(|e| e.to_string())
    }

    /// Three marked seconds, a reading every 10 ms: idle 1 W, windows 3 W.
    fn export() -> String {
        let mut text = "#time_ms, voltage, current_mA, gpio\n".to_owned();
        for ms in (0..9000).step_by(10) {
            let (second, inside) = (ms / 1000, ms / 1000 % 2 == 1 && ms / 1000 < 6);
            let mark = if second == 0 {
                "idle"
            } else if inside {
                "1"
            } else {
                "0"
            };
            text += &format!("{ms}, 5.0, {}, {mark}\n", if inside { 600 } else { 200 });
        }
        text
    }

    #[test]
    fn a_marked_export_gives_microjoules() {
        let imported = of(&export()).unwrap();
        assert_eq!(imported.windows.len(), 3);
        let energy = imported.energy(&latency(), None).unwrap();
        assert!((energy.idle_watts.unwrap() - 1.0).abs() < 1e-9);
        assert!((energy.uj_per_inference - 29_700.0).abs() < 1.0, "0.99 s at 3 W over 100 runs: {energy:?}");
        assert!((energy.uj_above_idle.unwrap() - 19_800.0).abs() < 1.0);
        assert!((energy.sampling_hz.unwrap() - 100.0).abs() < 1e-6);
        assert_eq!(energy.source, "import of js220.csv");
    }

    #[test]
    fn numbered_windows_may_touch() {
        let imported = of("time,watts,window\n0,1,\n1,2,1\n2,2,1\n3,2,2\n4,2,2\n5,1,0\n").unwrap();
        assert_eq!(imported.windows, [Span { start: 1.0, end: 2.0 }, Span { start: 3.0, end: 4.0 }]);
        assert_eq!(imported.idle_watts, None);
    }

    #[test]
    fn what_is_wrong_is_named_with_its_line() {
        let cases = [
            ("", "js220.csv:1: empty"),
            ("time,watt,mark\n", "js220.csv:1: unknown column \"watt\""),
            ("watts,mark\n", "js220.csv:1: no column of time"),
            ("time,volts,mark\n", "js220.csv:1: no column of power"),
            ("time,power,watts,mark\n", "js220.csv:1: two columns of Power"),
            ("time,watts\n", "js220.csv:1: no column that marks"),
            ("time,watts,mark\n0,1,0\n\n1,x,0\n", "js220.csv:4: \"x\" is no number"),
            ("time,watts,mark\n0,nan,0\n", "js220.csv:2: \"nan\" is no number"),
            ("time,watts,mark\n0,1\n", "js220.csv:2: 2 fields"),
            ("time,watts,mark\n1,1,0\n1,1,0\n", "js220.csv:3: time 1 s is not later"),
        ];
        for (text, expected) in cases {
            let error = of(text).unwrap_err();
            assert!(error.starts_with(expected), "{error} and not {expected}");
        }
        let missing = import_csv(Path::new("no/such.csv")).unwrap_err().to_string();
        assert!(missing.starts_with("no/such.csv: "), "{missing}");
    }

    #[test]
    fn an_export_of_another_measurement_is_refused() {
        let energy = |text: &str| of(text).unwrap().energy(&latency(), None).unwrap_err().to_string();
        assert!(energy("time,watts,mark\n0,1,1\n1,1,1\n2,1,0\n").contains("1 windows are marked, 3 were measured"));
        let longer = "time,watts,mark\n0,1,1\n2,1,1\n3,1,2\n4,1,2\n5,1,3\n6,1,3\n";
        assert!(energy(longer).contains("window 1 is marked for 2.000 s, and was measured for 1.000 s"));
    }
}
