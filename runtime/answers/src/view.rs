//! Which way of showing a sample is meant: a name, never the pixels.
//!
//! `identity`, `flip`, and `drawn:N` for the N-th view that a recipe ([`crate::views::Augment`]) draws.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// One way of showing a sample. Teacher and student must be shown the same one; answers are kept per (sample, view).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum View {
    /// The image as it is.
    Identity,
    /// Mirrored left to right, after the resize.
    Flip,
    /// The N-th view that the recipe of the answers file draws for each sample, below [`View::MOST`].
    Drawn(u32),
}

impl View {
    /// The views that need no recipe.
    pub const ALL: [View; 2] = [View::Identity, View::Flip];

    /// Drawn views are numbered below this, and no list has more views.
    pub const MOST: u32 = 1 << 20;

    /// Must a recipe draw it?
    pub fn is_drawn(self) -> bool {
        matches!(self, View::Drawn(_))
    }

    /// The views of a list as on the command line: `identity,flip,drawn:0..8`, where `a..b` means a, a + 1, …, b - 1.
    ///
    /// # Errors
    /// A name that is no view, a range that is empty, a view that is listed twice, too many views.
    pub fn list(text: &str) -> Result<Vec<View>, ViewError> {
        let mut views = vec![];
        let mut seen = std::collections::BTreeSet::new();
        for item in text.split(',').map(str::trim) {
            let (from, to) = match item.strip_prefix(DRAWN).and_then(|numbers| numbers.split_once("..")) {
                None => {
                    let view = item.parse()?;
                    views.push(view);
                    if !seen.insert(view) {
                        return Err(ViewError::Twice { view });
                    }
                    continue;
                }
                Some((from, to)) => {
                    let number = |n: &str| number(n).ok_or_else(|| ViewError::Unknown { name: item.to_owned() });
                    (number(from)?, number(to)?)
                }
            };
            if from >= to {
                return Err(ViewError::EmptyRange { range: item.to_owned() });
            }
            if to > View::MOST {
                return Err(ViewError::TooMany { name: item.to_owned() });
            }
            for view in (from..to).map(View::Drawn) {
                views.push(view);
                if !seen.insert(view) {
                    return Err(ViewError::Twice { view });
                }
            }
        }
        Ok(views)
    }
}

/// What the name of a drawn view begins with.
const DRAWN: &str = "drawn:";

/// Digits as a number that is written in one way only: no sign, no leading zero.
fn number(digits: &str) -> Option<u32> {
    let plain = digits.bytes().all(|b| b.is_ascii_digit()) && (digits == "0" || !digits.starts_with('0'));
    digits.parse().ok().filter(|_| plain)
}

impl FromStr for View {
    type Err = ViewError;

    fn from_str(name: &str) -> Result<View, ViewError> {
        match name {
            "identity" => Ok(View::Identity),
            "flip" => Ok(View::Flip),
            _ => match name.strip_prefix(DRAWN).and_then(number) {
                Some(n) if n < View::MOST => Ok(View::Drawn(n)),
                Some(_) => Err(ViewError::TooMany { name: name.to_owned() }),
                None => Err(ViewError::Unknown { name: name.to_owned() }),
            },
        }
    }
}

impl fmt::Display for View {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            View::Identity => f.write_str("identity"),
            View::Flip => f.write_str("flip"),
            View::Drawn(n) => write!(f, "{DRAWN}{n}"),
        }
    }
}

impl TryFrom<String> for View {
    type Error = ViewError;

    fn try_from(name: String) -> Result<View, ViewError> {
        name.parse()
    }
}

impl From<View> for String {
    fn from(view: View) -> String {
        view.to_string()
    }
}

/// Why text names no view.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ViewError {
    /// No view has this name.
    #[error("`{name}` is no view; use identity, flip, drawn:N (N = 0, 1, 2, …), or in a list drawn:0..8")]
    Unknown {
        /// As it was given.
        name: String,
    },
    /// `a..b` without `a < b`.
    #[error("`{range}` names no view; drawn:a..b means a to b - 1, so write drawn:0..8 for eight views")]
    EmptyRange {
        /// As it was given.
        range: String,
    },
    /// Listed twice.
    #[error("the view {view} is listed twice; list each view once")]
    Twice {
        /// The view.
        view: View,
    },
    /// A number that is too large.
    #[error("`{name}` goes too far; drawn views are numbered below {}", View::MOST)]
    TooMany {
        /// As it was given.
        name: String,
    },
}

#[cfg(test)]
mod tests {
    use super::*;
    use View::{Drawn, Flip, Identity};

    #[test]
    fn a_name_is_the_same_in_files_and_on_the_command_line() {
        for (view, name) in [(Identity, "identity"), (Flip, "flip"), (Drawn(0), "drawn:0"), (Drawn(49), "drawn:49")] {
            assert_eq!(view.to_string(), name);
            assert_eq!(name.parse(), Ok(view));
            assert_eq!(serde_json::to_string(&view).unwrap(), format!("\"{name}\""));
            assert_eq!(serde_json::from_str::<View>(&format!("\"{name}\"")).unwrap(), view);
        }
    }

    #[test]
    fn lists_are_read_in_order() {
        assert_eq!(View::list("identity,flip"), Ok(vec![Identity, Flip]));
        assert_eq!(
            View::list("drawn:5, identity ,drawn:0..3"),
            Ok(vec![Drawn(5), Identity, Drawn(0), Drawn(1), Drawn(2)])
        );
        assert_eq!(View::list("drawn:0..50").unwrap().len(), 50);
    }

    #[test]
    fn a_wrong_list_is_told_what_is_allowed() {
        let last = format!("drawn:{}", View::MOST);
        let cases = [
            ("", "`` is no view; use identity, flip, drawn:N"),
            ("identity,,flip", "`` is no view"),
            ("mirror", "`mirror` is no view; use identity, flip, drawn:N"),
            ("drawn", "`drawn` is no view"),
            ("drawn:", "`drawn:` is no view"),
            ("drawn:-1", "is no view"),
            ("drawn:+1", "is no view"),
            ("drawn:01", "is no view"),
            ("drawn:1..x", "`drawn:1..x` is no view"),
            ("drawn:3..3", "`drawn:3..3` names no view; drawn:a..b means"),
            ("drawn:4..2", "names no view"),
            ("flip,flip", "flip is listed twice"),
            ("drawn:0..4,drawn:3", "drawn:3 is listed twice"),
            ("drawn:0..2000000", "goes too far"),
            ("drawn:99999999999", "is no view"),
            (&last, "goes too far"),
        ];
        for (text, expected) in cases {
            let said = View::list(text).unwrap_err().to_string();
            assert!(said.contains(expected), "{text}: {said}");
        }
        assert!(serde_json::from_str::<View>("\"turned\"").unwrap_err().to_string().contains("drawn:N"));
    }
}
