//! What belongs to what: the rows of a report name each other by words ("int8 on qemu-aarch64").

use crate::board::Board;
use crate::schema::{Accuracy, Model, Report};

impl Report {
    /// Is there anything that PASS, FAIL or INVALID is about? Not where recipes were compared and nothing else.
    pub fn has_verdict(&self) -> bool {
        self.comparison.is_none() || !self.accuracy.is_empty() || !self.boards.is_empty()
    }

    /// The model that an accuracy row is of: its role is the subject, or the subject up to " on ".
    ///
    /// "int8 on host" finds the role "int8 student" as well as "int8".
    pub fn model_of(&self, row: &Accuracy) -> Option<&Model> {
        let words = row.subject.split_once(" on ").map_or(row.subject.as_str(), |(words, _)| words);
        let is = |model: &&Model| model.role == words;
        let begins = |model: &&Model| model.role.strip_prefix(words).is_some_and(|rest| rest.starts_with(' '));
        let is_int8 = |model: &&Model| words.starts_with("int8") && model.role.starts_with("int8");
        let models = || self.models.iter();
        models().find(is).or_else(|| models().find(begins)).or_else(|| models().find(is_int8))
    }

    /// The board that an accuracy row was made on: the subject after " on ".
    pub fn board_of(&self, row: &Accuracy) -> Option<&Board> {
        let (_, id) = row.subject.split_once(" on ")?;
        self.boards.iter().find(|board| board.board == id)
    }

    /// Whether every place that hashed the student's integers got the same; absent with fewer than two places.
    pub fn integers_are_equal(&self) -> Option<bool> {
        let mut hashes = self.accuracy.iter().filter_map(|row| row.integers_hash.as_deref());
        let first = hashes.next()?;
        let mut others = hashes.peekable();
        others.peek()?;
        Some(others.all(|hash| hash == first))
    }
}

impl Accuracy {
    /// The row is of the int8 student, the one that a board's latency is of.
    pub fn is_int8(&self) -> bool {
        self.integers_hash.is_some() || self.subject.starts_with("int8")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(subject: &str, hash: Option<&str>) -> Accuracy {
        Accuracy { subject: subject.into(), integers_hash: hash.map(Into::into), ..Accuracy::default() }
    }

    #[test]
    fn rows_find_their_model_and_board() {
        let mut report = Report::new("t", "c", "v");
        for role in ["teacher", "student before", "student after", "int8 student"] {
            report.models.push(Model { role: role.into(), ..Model::default() });
        }
        report.boards.push(Board { board: "host".into(), ..Board::default() });
        let role = |subject| report.model_of(&row(subject, None)).map(|m| m.role.as_str());
        assert_eq!(role("teacher"), Some("teacher"));
        assert_eq!(role("student after"), Some("student after"));
        assert_eq!(role("int8 on host"), Some("int8 student"));
        assert_eq!(role("teach"), None);
        assert_eq!(report.board_of(&row("int8 on host", None)).map(|b| b.board.as_str()), Some("host"));
        assert!(report.board_of(&row("int8 on moon", None)).is_none());
        assert!(report.board_of(&row("teacher", None)).is_none());
    }

    #[test]
    fn equal_integers_need_two_places() {
        let mut report = Report::new("t", "c", "v");
        report.accuracy = vec![row("int8 on host", Some("aa")), row("teacher", None)];
        assert_eq!(report.integers_are_equal(), None);
        report.accuracy.push(row("int8 on pi", Some("aa")));
        assert_eq!(report.integers_are_equal(), Some(true));
        report.accuracy.push(row("int8 on zero", Some("ab")));
        assert_eq!(report.integers_are_equal(), Some(false));
    }
}
