//! Strict reading of a board file.

use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};

use limbeck_files::FileError;
use serde::Deserialize;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::board::{Board, Libc, Transport, host_triple};
use crate::values;
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
    /// The description of a kind of board; no board of this kind was named yet.
    #[error(
        "board `{board}` describes a kind of board and has no address; give yours a name and its address: limbeck board \
         add NAME --like {board} --host pi@192.168.1.20"
    )]
    NoHost {
        /// The board.
        board: String,
    },
    /// A board of this name is there already.
    #[error("{}: a board `{name}` is there already; remove the file, or replace it with --force", file.display())]
    Exists {
        /// The name.
        name: String,
        /// Its file.
        file: PathBuf,
    },
    /// A new board cannot have this.
    #[error("{option}: {why}")]
    Argument {
        /// The option, or the name of the argument.
        option: &'static str,
        /// What is wrong and what would be right.
        why: String,
    },
    /// A path on another machine was asked for as one of this machine.
    #[error("board `{board}`: its working folder `{workdir}` is on the board, not on this machine")]
    Elsewhere {
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
    (
        "",
        &[
            "title",
            "triple",
            "libc",
            "glibc",
            "cpu",
            "model",
            "features",
            "memory_mib",
            "cpus",
            "governor",
            "max_temp_c",
            "transport",
            "workdir",
            "timeout_s",
        ],
    ),
    ("transport", &["local", "exec", "ssh"]),
    ("transport.exec", &["runner"]),
    ("transport.ssh", &["host", "user", "port", "identity", "runner"]),
];

#[derive(Deserialize)]
struct BoardFile {
    title: Spanned<String>,
    triple: Spanned<String>,
    libc: Spanned<Libc>,
    glibc: Option<Spanned<String>>,
    cpu: Option<Spanned<String>>,
    model: Option<Spanned<String>>,
    features: Option<Spanned<Vec<String>>>,
    memory_mib: Option<Spanned<u64>>,
    cpus: Option<Spanned<String>>,
    governor: Option<Spanned<String>>,
    max_temp_c: Option<Spanned<f64>>,
    transport: Spanned<TransportFile>,
    workdir: Spanned<String>,
    timeout_s: Spanned<u64>,
}

/// [`Transport`], with the places of its values.
#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum TransportFile {
    Local,
    Exec {
        runner: Spanned<Vec<String>>,
    },
    Ssh {
        host: Option<Spanned<String>>,
        user: Option<Spanned<String>>,
        port: Option<Spanned<u16>>,
        identity: Option<Spanned<String>>,
        runner: Option<Spanned<Vec<String>>>,
    },
}

/// Read the text of a board file; `file` is how errors name it, `name` how the board is called.
pub(crate) fn parse(name: &str, file: &Path, text: &str) -> Result<Board, BoardError> {
    let source = Source { file, text };
    let table = DeTable::parse(text).map_err(|e| source.bad(e.span(), e.message()))?;
    check_keys(&source, "", table.get_ref())?;
    check_transport_is_a_table(&source, table.get_ref())?;
    let board: BoardFile = toml::from_str(text).map_err(|e: toml::de::Error| source.bad(e.span(), e.message()))?;

    let is_host = board.triple.get_ref() == "host";
    let triple = if is_host { host_triple() } else { board.triple.get_ref().clone() };
    let arch = source.checked(&board.triple, |_| values::arch_of(&triple))?;
    let libc = *board.libc.get_ref();
    if libc == Libc::Gnu && !is_host && triple.contains("musl") {
        let why =
            format!("`libc = \"gnu\"` and the target `{triple}` contradict each other; use a gnu target, or `static`");
        return Err(source.bad(Some(board.libc.span()), why));
    }
    let glibc = source.optional(board.glibc, |text| match libc {
        Libc::Gnu => values::glibc(text, &arch),
        Libc::Static => Err("`glibc` needs `libc = \"gnu\"`: a static program asks for none".to_owned()),
    })?;
    Ok(Board {
        name: name.to_owned(),
        title: source.value(board.title, |text| values::line("title", text))?,
        triple,
        libc,
        glibc,
        cpu: source.some(board.cpu, |text| values::line("cpu", text))?,
        model: source.some(board.model, |text| values::line("model", text))?,
        features: source.some(board.features, |names| values::features(names))?.unwrap_or_default(),
        memory_mib: source.some(board.memory_mib, |mib| values::memory_mib(*mib))?,
        cpus: source.some(board.cpus, |list| values::cpus(list))?,
        governor: source.some(board.governor, |name| values::governor(name))?,
        max_temp_c: source.some(board.max_temp_c, |celsius| values::max_temp_c(*celsius))?,
        transport: transport(&source, board.transport)?,
        workdir: source.value(board.workdir, |path| values::workdir(path))?,
        timeout_s: source.value(board.timeout_s, |seconds| values::timeout_s(*seconds))?,
        arch,
    })
}

fn transport(source: &Source<'_>, transport: Spanned<TransportFile>) -> Result<Transport, BoardError> {
    let span = transport.span();
    Ok(match transport.into_inner() {
        TransportFile::Local => Transport::Local,
        TransportFile::Exec { runner } => {
            let runner = source.value(runner, |words| values::runner(words))?;
            if runner.is_empty() {
                return Err(source.bad(Some(span), "`runner` is empty; name the emulator and its arguments"));
            }
            Transport::Exec { runner }
        }
        TransportFile::Ssh { host, user, port, identity, runner } => Transport::Ssh {
            host: source.some(host, |host| values::host(host))?,
            user: source.some(user, |name| values::user(name))?,
            port: source.some(port, |port| values::port(*port))?,
            identity: source.some(identity, |path| values::identity(path))?,
            runner: source.some(runner, |words| values::runner(words))?.unwrap_or_default(),
        },
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

/// `transport = "ssh"` is a likely slip, and serde's words for it help nobody.
fn check_transport_is_a_table(source: &Source<'_>, table: &DeTable<'_>) -> Result<(), BoardError> {
    match table.get("transport").map(|value| (value.span(), value.get_ref())) {
        Some((span, DeValue::String(way))) if matches!(way.as_ref(), "exec" | "ssh") => {
            let why = format!("transport `{way}` has keys of its own; write them in a table `[transport.{way}]`");
            Err(source.bad(Some(span), why))
        }
        _ => Ok(()),
    }
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

    /// What `check` makes of a value, or the line where the value is wrong.
    fn checked<T, U>(&self, value: &Spanned<T>, check: impl Fn(&T) -> Result<U, String>) -> Result<U, BoardError> {
        check(value.get_ref()).map_err(|why| self.bad(Some(value.span()), why))
    }

    /// The same for a key that may be left out.
    fn optional<T, U>(
        &self,
        value: Option<Spanned<T>>,
        check: impl Fn(&T) -> Result<U, String>,
    ) -> Result<Option<U>, BoardError> {
        value.map(|value| self.checked(&value, check)).transpose()
    }

    /// The value itself, once it was found good.
    fn value<T>(&self, value: Spanned<T>, check: impl Fn(&T) -> Result<(), String>) -> Result<T, BoardError> {
        self.checked(&value, check).map(|()| value.into_inner())
    }

    /// The same for a key that may be left out.
    fn some<T>(
        &self,
        value: Option<Spanned<T>>,
        check: impl Fn(&T) -> Result<(), String>,
    ) -> Result<Option<T>, BoardError> {
        value.map(|value| self.value(value, check)).transpose()
    }
}

/// A board file of the user's, by its path.
pub(crate) fn read(path: &Path) -> Result<Board, BoardError> {
    let text = limbeck_files::read_to_string(path)?;
    let name = path.file_stem().map(|s| s.to_string_lossy().into_owned()).unwrap_or_default();
    if !name.is_empty() && values::is_plain(&name) {
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
