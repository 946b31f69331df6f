//! The record of instructions an inference (`tests/instructions/record.csv`), and the gate.
//!
//! One row a CPU, model and kernel path, in millions of instructions. Lines with `#` in front say where the numbers are from.

use std::collections::BTreeMap;
use std::fmt;

use crate::counts::Counts;
use crate::instruction_class::NAMES;

/// Part of a count by which it may grow before it is worse, or shrink before the record is out of date. Counts repeat
/// exactly; this is room for a compiler's whim, not for noise.
pub const LIMIT: f64 = 0.01;

/// What was counted.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key {
    /// As the emulator names it.
    pub cpu: String,
    /// Name of the model.
    pub model: String,
    /// Kernel path that the guest took by itself.
    pub path: String,
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} on {} by {}", self.model, self.cpu, self.path)
    }
}

/// The count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Row {
    /// Multiply-accumulates of one inference.
    pub macs: u64,
    /// Its instructions.
    pub counts: Counts,
}

impl Row {
    /// Instructions a multiply-accumulate.
    pub fn per_mac(&self) -> f64 {
        self.counts.insns as f64 / self.macs as f64
    }
}

/// All rows, and what is known about their making.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Record {
    /// Lines of the head, without `# `.
    pub head: Vec<String>,
    /// The rows, by CPU, model and path.
    pub rows: BTreeMap<Key, Row>,
}

/// A count against its row.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Verdict {
    /// Within [`LIMIT`].
    Same,
    /// More instructions: this part more.
    Worse(f64),
    /// Fewer: this part fewer.
    Better(f64),
    /// There is no row for it.
    Unknown,
}

fn columns() -> String {
    format!("cpu,model,path,mmac,minsn,insn_per_mac,{}", NAMES.join(","))
}

fn millions(n: u64) -> String {
    format!("{}.{:06}", n / 1_000_000, n % 1_000_000)
}

fn from_millions(cell: &str) -> Option<u64> {
    let (whole, part) = cell.split_once('.')?;
    let (whole, part): (u64, u64) = (whole.parse().ok()?, (part.len() == 6).then_some(part)?.parse().ok()?);
    whole.checked_mul(1_000_000)?.checked_add(part)
}

impl Record {
    /// Read what [`Record::emit`] wrote.
    ///
    /// # Errors
    /// The line that is none of it.
    pub fn parse(text: &str) -> Result<Record, String> {
        let mut record = Record::default();
        let mut lines = text.lines().enumerate();
        for (at, line) in &mut lines {
            match line.strip_prefix('#') {
                Some(said) => record.head.push(said.trim().to_owned()),
                None if line == columns() => break,
                None => return Err(format!("line {}: not the columns {}: {line}", at + 1, columns())),
            }
        }
        for (at, line) in lines {
            let (key, row) = row(line).ok_or_else(|| format!("line {}: not a row: {line}", at + 1))?;
            if record.rows.insert(key, row).is_some() {
                return Err(format!("line {}: there is such a row already: {line}", at + 1));
            }
        }
        Ok(record)
    }

    /// As a file.
    pub fn emit(&self) -> String {
        let mut text: String = self.head.iter().map(|line| format!("# {line}\n")).collect();
        text += &format!("{}\n", columns());
        for (Key { cpu, model, path }, row) in &self.rows {
            let classes: Vec<String> = row.counts.classes.iter().map(|&n| millions(n)).collect();
            let (mmac, minsn) = (millions(row.macs), millions(row.counts.insns));
            text += &format!("{cpu},{model},{path},{mmac},{minsn},{:.3},{}\n", row.per_mac(), classes.join(","));
        }
        text
    }

    /// Is `row` what was recorded under `key`?
    pub fn judge(&self, key: &Key, row: &Row) -> Verdict {
        let Some(recorded) = self.rows.get(key) else { return Verdict::Unknown };
        let change = row.counts.insns as f64 / recorded.counts.insns as f64 - 1.0;
        match change {
            change if change > LIMIT => Verdict::Worse(change),
            change if change < -LIMIT => Verdict::Better(-change),
            _ => Verdict::Same,
        }
    }
}

fn row(line: &str) -> Option<(Key, Row)> {
    let cells: Vec<&str> = line.split(',').collect();
    let [cpu, model, path, mmac, minsn, _, classes @ ..] = &cells[..] else { return None };
    let classes: Option<Vec<u64>> = classes.iter().map(|cell| from_millions(cell)).collect();
    let counts = Counts { insns: from_millions(minsn)?, classes: classes?.try_into().ok()? };
    let key = Key { cpu: (*cpu).to_owned(), model: (*model).to_owned(), path: (*path).to_owned() };
    let macs = from_millions(mmac)?;
    (macs > 0 && counts.insns > 0).then_some((key, Row { macs, counts }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(path: &str) -> Key {
        Key { cpu: "cortex-a53".into(), model: "net".into(), path: path.into() }
    }

    fn of(insns: u64) -> Row {
        Row { macs: 2_000_000, counts: Counts { insns, classes: [1, 0, 0, 999_999, 0, 5_000_000, 7] } }
    }

    fn record() -> Record {
        let head = vec!["counted by hand".to_owned()];
        Record { head, rows: [(key("portable"), of(10_000_000))].into() }
    }

    #[test]
    fn a_record_reads_back() {
        let text = record().emit();
        let line = "cortex-a53,net,portable,2.000000,10.000000,5.000,0.000001,0.000000,0.000000,0.999999,";
        assert!(text.starts_with("# counted by hand\ncpu,model,") && text.contains(line), "{text}");
        assert_eq!(Record::parse(&text), Ok(record()));
    }

    #[test]
    fn one_percent_more_is_worse_and_one_percent_less_is_out_of_date() {
        let judge = |insns| record().judge(&key("portable"), &of(insns));
        assert_eq!((judge(10_099_000), judge(9_901_000)), (Verdict::Same, Verdict::Same));
        assert!(matches!(judge(10_101_000), Verdict::Worse(part) if (0.01..0.0102).contains(&part)));
        assert!(matches!(judge(9_000_000), Verdict::Better(part) if (0.0999..0.1001).contains(&part)));
        assert_eq!(record().judge(&key("sdot"), &of(1)), Verdict::Unknown);
    }

    #[test]
    fn a_damaged_record_is_refused_by_its_line() {
        let text = record().emit();
        let refused = |damaged: String, says: &str| {
            let error = Record::parse(&damaged).unwrap_err();
            assert!(error.contains(says), "{error}");
        };
        refused(text.replace("cpu,model", "model,cpu"), "line 2: not the columns");
        refused(text.replace("10.000000", "10.00000"), "line 3: not a row");
        refused(text.replace("2.000000", "0.000000"), "line 3: not a row");
        refused(format!("{text}{}\n", text.lines().last().unwrap()), "line 4: there is such a row");
    }
}
