//! Strict reading of a board file.

use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};

use limbeck_files::FileError;
use serde::Deserialize;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::board::{Board, Libc, Transport, host_triple};
use limbeck_files::nearest::nearest;

/// Why there is no such board.
#[derive(Debug, thiserror::Error)]
pub enum BoardError {
    /// No board of this name.
    #[error("no board `{name}`{}; known boards: {}", did_you_mean(nearest), known.join(", "))]
    Unknown {
        /// The name asked for.
        name: String,
        /// The most similar name there is.
        nearest: Option<String>,
        /// All names there are.
        known: Vec<String>,
    },
    /// A key that a board file does not have.
    #[error("{file}:{line}: unknown key `{key}`{}; keys here: {}", did_you_mean(nearest), known.join(", "))]
    UnknownKey {
        /// The file.
        file: String,
        /// Its line, from 1.
        line: usize,
        /// The key, with the table it stands in.
        key: String,
        /// The most similar key there is.
        nearest: Option<String>,
        /// All keys of this table.
        known: Vec<String>,
    },
    /// Not TOML, a missing key, or a value of the wrong kind.
    #[error("{file}:{line}: {why}")]
    Bad {
        /// The file.
        file: String,
        /// Its line, from 1.
        line: usize,
        /// What is wrong and what would be right.
        why: String,
    },
    /// The file cannot be read.
    #[error(transparent)]
    File(#[from] FileError),
    /// `~` stands for nothing here.
    #[error("board `{board}`: no home folder to put `{workdir}` in; set HOME or LIMBECK_HOME")]
    NoHome {
        /// The board.
        board: String,
        /// Its working folder, as written.
        workdir: String,
    },
}

fn did_you_mean(nearest: &Option<String>) -> String {
    nearest.as_ref().map(|n| format!(", did you mean `{n}`?")).unwrap_or_default()
}

/// Keys of each table of a board file, by the path of the table.
const KEYS: &[(&str, &[&str])] = &[
    ("", &["title", "triple", "libc", "cpu", "transport", "workdir", "timeout_s"]),
    ("transport", &["local", "exec"]),
    ("transport.exec", &["runner"]),
];

#[derive(Deserialize)]
struct BoardFile {
    title: String,
    triple: Spanned<String>,
    libc: Libc,
    cpu: Option<String>,
    transport: Spanned<Transport>,
    workdir: Spanned<String>,
    timeout_s: Spanned<u64>,
}

/// Read the text of a board file; `file` is how errors name it, `name` how the board is called.
pub(crate) fn parse(name: &str, file: &Path, text: &str) -> Result<Board, BoardError> {
    let source = Source { file, text };
    let table = DeTable::parse(text).map_err(|e| source.bad(e.span(), e.message()))?;
    check_keys(&source, "", table.get_ref())?;
    let BoardFile { title, triple, libc, cpu, transport, workdir, timeout_s } =
        toml::from_str(text).map_err(|e: toml::de::Error| source.bad(e.span(), e.message()))?;

    if let Transport::Exec { runner } = transport.get_ref()
        && runner.first().is_none_or(|program| program.is_empty())
    {
        return Err(source.bad(Some(transport.span()), "`runner` is empty; name the emulator and its arguments"));
    }
    let below_home = workdir.get_ref().strip_prefix("~/").is_some_and(|rest| !rest.is_empty());
    if !below_home && !Path::new(workdir.get_ref()).is_absolute() {
        let why = "`workdir` must be absolute or start with `~/`, or it would depend on where limbeck is started";
        return Err(source.bad(Some(workdir.span()), why));
    }
    if *timeout_s.get_ref() == 0 {
        return Err(source.bad(Some(timeout_s.span()), "`timeout_s` must be at least 1"));
    }
    let resolved = if triple.get_ref() == "host" { host_triple() } else { triple.get_ref().clone() };
    let arch = match resolved.split_once('-') {
        Some((arch, rest)) if !arch.is_empty() && !rest.is_empty() && is_plain(&resolved) => arch.to_owned(),
        _ => {
            let why = "`triple` must be a Rust target such as `aarch64-unknown-linux-musl`, or `host`";
            return Err(source.bad(Some(triple.span()), why));
        }
    };
    Ok(Board {
        name: name.to_owned(),
        title,
        triple: resolved,
        arch,
        libc,
        cpu,
        transport: transport.into_inner(),
        workdir: workdir.into_inner(),
        timeout_s: timeout_s.into_inner(),
    })
}

/// Every key of every table is known. serde's `deny_unknown_fields` would not say which one was meant.
fn check_keys(source: &Source<'_>, path: &str, table: &DeTable<'_>) -> Result<(), BoardError> {
    let known = KEYS.iter().find(|(p, _)| *p == path).map_or(&[][..], |(_, keys)| keys);
    for (key, value) in table {
        let name = key.get_ref().as_ref();
        let here = if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
        if !known.contains(&name) {
            return Err(BoardError::UnknownKey {
                file: source.file.display().to_string(),
                line: source.line(Some(key.span())),
                key: here,
                nearest: nearest(name, known.iter().copied()).map(str::to_owned),
                known: known.iter().map(|k| k.to_string()).collect(),
            });
        }
        if let DeValue::Table(inner) = value.get_ref() {
            check_keys(source, &here, inner)?;
        }
    }
    Ok(())
}

/// A triple becomes an argument of cargo and part of the names of environment variables.
fn is_plain(triple: &str) -> bool {
    triple.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'))
}

struct Source<'a> {
    file: &'a Path,
    text: &'a str,
}

impl Source<'_> {
    fn line(&self, span: Option<Range<usize>>) -> usize {
        let end = span.map_or(0, |s| s.start.min(self.text.len()));
        1 + self.text.as_bytes()[..end].iter().filter(|&&b| b == b'\n').count()
    }

    fn bad(&self, span: Option<Range<usize>>, why: impl fmt::Display) -> BoardError {
        // toml's own messages may have several lines.
        let why = why.to_string().trim().replace('\n', "; ");
        BoardError::Bad { file: self.file.display().to_string(), line: self.line(span), why }
    }
}

/// A board file of the user's, by its path.
pub(crate) fn read(path: &Path) -> Result<Board, BoardError> {
    let text = limbeck_files::read_to_string(path)?;
    let name = path.file_stem().map(|s| s.to_string_lossy().into_owned()).unwrap_or_default();
    if !name.is_empty() && is_plain(&name) && name != ".." {
        return parse(&name, path, &text);
    }
    let why = format!("a board is named after its file, and `{name}` is no name; use letters, digits, `-`, `_`, `.`");
    Err(BoardError::Bad { file: path.display().to_string(), line: 1, why })
}

/// Names and paths of the board files in a folder; none when there is no such folder.
pub(crate) fn in_folder(folder: &Path) -> Vec<(String, PathBuf)> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let mut found: Vec<_> = entries
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|e| e == "toml"))
        .filter_map(|path| Some((path.file_stem()?.to_str()?.to_owned(), path)))
        .collect();
    found.sort();
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "title = \"A board\"\ntriple = \"aarch64-unknown-linux-musl\"\nlibc = \"static\"\n\
                        transport = \"local\"\nworkdir = \"~/b\"\ntimeout_s = 5\n";

    fn parse_text(text: &str) -> Result<Board, BoardError> {
        parse("b", Path::new("boards/b.toml"), text)
    }

    /// The board file `GOOD` with one line replaced must fail with all of `expected` in the message.
    fn refuse(from: &str, to: &str, expected: &[&str]) {
        assert!(GOOD.contains(from));
        let message = parse_text(&GOOD.replace(from, to)).unwrap_err().to_string();
        for part in expected {
            assert!(message.contains(part), "`{part}` is not in `{message}`");
        }
    }

    #[test]
    fn a_good_file_is_read_whole() {
        let board = parse_text(GOOD).unwrap();
        assert_eq!((board.name.as_str(), board.arch.as_str(), board.timeout_s), ("b", "aarch64", 5));
        assert_eq!(board.cpu, None);
        let exec = GOOD.replace("transport = \"local\"\n", "") + "[transport.exec]\nrunner = [\"emu\", \"-x\"]\n";
        assert_eq!(parse_text(&exec).unwrap().transport, Transport::Exec { runner: vec!["emu".into(), "-x".into()] });
    }

    #[test]
    fn an_unknown_key_names_file_line_and_the_nearest() {
        refuse("triple =", "tripple =", &["boards/b.toml:2", "unknown key `tripple`", "did you mean `triple`?"]);
        refuse("timeout_s = 5", "timeout_s = 5\ncolour = 1", &["boards/b.toml:7", "`colour`"]);
        refuse(
            "transport = \"local\"",
            "transport.exec = { runer = [\"q\"] }",
            &[":4", "`transport.exec.runer`", "`runner`"],
        );
        refuse("transport = \"local\"", "transport.exce = { runner = [\"q\"] }", &[":4", "did you mean `exec`?"]);
        refuse("libc = \"static\"", "libc = { static = 1 }", &[":3", "libc.static"]);
    }

    #[test]
    fn a_bad_value_names_file_and_line() {
        refuse("libc = \"static\"", "libc = \"musl\"", &["boards/b.toml:3", "musl", "static"]);
        refuse("transport = \"local\"", "transport = \"ssh\"", &["boards/b.toml:4", "ssh"]);
        refuse("transport = \"local\"", "transport.exec = { runner = [] }", &["boards/b.toml:4", "emulator"]);
        refuse("timeout_s = 5", "timeout_s = 0", &["boards/b.toml:6", "at least 1"]);
        refuse("timeout_s = 5", "timeout_s = -5", &["boards/b.toml:6"]);
        refuse("workdir = \"~/b\"", "workdir = \"b\"", &["boards/b.toml:5", "absolute"]);
        refuse("aarch64-unknown-linux-musl", "arm board; rm", &["boards/b.toml:2", "Rust target"]);
        refuse("title = \"A board\"\n", "", &["boards/b.toml:1", "title"]);
        refuse("title = \"A board\"", "title = \"A board", &["boards/b.toml:1"]);
        refuse("libc", "triple = 1\nlibc", &["boards/b.toml:3", "duplicate"]);
    }

    #[test]
    fn any_text_is_an_error_and_never_a_panic() {
        for end in 0..GOOD.len() {
            let _ = parse_text(&GOOD[..end]);
            let _ = parse_text(&GOOD[end..]);
        }
        for text in ["", "\u{0}", "=", "[[transport]]", "[transport]\n[transport]", "a.b.c.d = 1", "é = 1"] {
            assert!(parse_text(text).is_err(), "{text:?}");
        }
    }
}
