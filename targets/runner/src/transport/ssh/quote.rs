//! Words for a shell on the board.
//!
//! ssh hands one string to the login shell of the board. Everything that gets there goes through here: between single
//! quotes nothing has a meaning, and a single quote itself is written `'\''`.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

/// One word that a POSIX shell reads back as exactly `word`.
pub(crate) fn quote(word: &OsStr) -> OsString {
    quote_with(word, b"\n")
}

/// The same on one line: for a shell in which `nl` is a line break.
pub(crate) fn quote_on_a_line(word: &OsStr) -> OsString {
    quote_with(word, b"'\"$nl\"'")
}

fn quote_with(word: &OsStr, line_break: &[u8]) -> OsString {
    let mut quoted = vec![b'\''];
    for byte in word.as_bytes() {
        match byte {
            b'\'' => quoted.extend(b"'\\''"),
            b'\n' => quoted.extend(line_break),
            byte => quoted.push(*byte),
        }
    }
    quoted.push(b'\'');
    OsString::from_vec(quoted)
}

/// Words with a space between each two, every one quoted by `quote`.
pub(crate) fn join<'a>(words: impl Iterator<Item = &'a OsStr>, quote: fn(&OsStr) -> OsString) -> OsString {
    let mut line = OsString::new();
    for word in words {
        if !line.is_empty() {
            line.push(" ");
        }
        line.push(quote(word));
    }
    line
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use proptest::prelude::*;

    use super::*;

    /// What a real shell makes of `words`, as one string with a byte 0 after each.
    fn through_sh(script: OsString) -> Vec<u8> {
        let output = Command::new("sh").arg("-c").arg(script).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        output.stdout
    }

    fn expected(words: &[Vec<u8>]) -> Vec<u8> {
        words.iter().flat_map(|word| word.iter().copied().chain([0])).collect()
    }

    fn both_ways(words: &[Vec<u8>]) {
        let os = || words.iter().map(|word| OsStr::from_bytes(word));
        let mut script = OsString::from("printf '%s\\0' ");
        script.push(join(os(), quote));
        assert_eq!(through_sh(script), expected(words));

        // As a session does it: one line, read by `read` and evaluated.
        let line = join(os(), quote_on_a_line);
        assert!(!line.as_bytes().contains(&b'\n'));
        let mut script = OsString::from("nl='\n'; eval \"set -- $1\"; printf '%s\\0' \"$@\"");
        script = [OsString::from("exec sh -c "), quote(&script), " sh ".into(), quote(&line)].into_iter().collect();
        assert_eq!(through_sh(script), expected(words));
    }

    #[test]
    fn what_shells_trip_over_comes_through() {
        let words = [
            "", " ", "'", "''", "\\", "\\'", "\n", "\n\n", "a\nb", "$HOME", "`id`", "$(id)", "*", "~", "!!", "-n", "é",
            "\t", "\r",
        ];
        both_ways(&words.map(|word| word.as_bytes().to_vec()));
        both_ways(&[(1..=255).collect()]);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(128))]
        #[test]
        fn any_words_come_through_a_real_shell(
            words in proptest::collection::vec(proptest::collection::vec(1..=255u8, 0..40), 1..6)
        ) {
            both_ways(&words);
        }
    }
}
