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
        refuse("transport = \"local\"", "transport = \"ssh\"", &["boards/b.toml:4", "[transport.ssh]"]);
        refuse("transport = \"local\"", "transport.exec = { runner = [] }", &["boards/b.toml:4", "emulator"]);
        refuse("timeout_s = 5", "timeout_s = 0", &["boards/b.toml:6", "at least 1"]);
        refuse("timeout_s = 5", "timeout_s = 99999999", &["boards/b.toml:6", "a week"]);
        refuse("~/b", "~/b/../..", &["boards/b.toml:5", "`..`"]);
        refuse("~/b", "/", &["boards/b.toml:5", "absolute"]);
        refuse("timeout_s = 5", "timeout_s = -5", &["boards/b.toml:6"]);
        refuse("workdir = \"~/b\"", "workdir = \"b\"", &["boards/b.toml:5", "absolute"]);
        refuse("aarch64-unknown-linux-musl", "arm board; rm", &["boards/b.toml:2", "Rust target"]);
        refuse("title = \"A board\"\n", "", &["boards/b.toml:1", "title"]);
        refuse("title = \"A board\"", "title = \"A board", &["boards/b.toml:1"]);
        refuse("libc", "triple = 1\nlibc", &["boards/b.toml:3", "duplicate"]);
    }

    /// `GOOD` over ssh, with these lines in its table, and with these above it.
    fn over_ssh(above: &str, lines: &str) -> String {
        GOOD.replace("transport = \"local\"\n", above) + "[transport.ssh]\n" + lines
    }

    #[test]
    fn a_board_behind_ssh_is_read_whole_and_may_lack_its_host() {
        let text =
            "host = \"192.168.1.20\"\nuser = \"pi\"\nport = 2222\nidentity = \"~/.ssh/id\"\nrunner = [\"emu\"]\n";
        let ssh = parse_text(&over_ssh("", text)).unwrap().transport;
        let (host, user, identity) = (Some("192.168.1.20".into()), Some("pi".into()), Some("~/.ssh/id".into()));
        assert_eq!(ssh, Transport::Ssh { host, user, port: Some(2222), identity, runner: vec!["emu".into()] });
        let ssh = parse_text(&over_ssh("", "")).unwrap().transport;
        let (host, user, identity) = (None, None, None);
        assert_eq!(ssh, Transport::Ssh { host, user, port: None, identity, runner: Vec::new() });
    }

    #[test]
    fn what_ssh_could_take_for_an_option_or_a_shell_for_syntax_is_refused() {
        for (lines, expected) in [
            ("host = \"-oProxyCommand=x\"", "`host` must be"),
            ("host = \"a b\"", "`host` must be"),
            ("host = \"$(x)\"", "`host` must be"),
            ("host = \"a;b\"", "`host` must be"),
            ("host = \"%h\"", "`host` must be"),
            ("host = \"\"", "`host` must be"),
            ("host = \"pi@board\"", "write `host = \"board\"` and `user = \"pi\"`"),
            ("user = \"-l\"", "`user` must be"),
            ("user = \"a'b\"", "`user` must be"),
            ("port = 0", "`port` must be"),
            ("port = 65536", "65536"),
            ("identity = \"key\"", "`identity` must be"),
            ("identity = \"~/%h\"", "`identity` must not"),
            ("runner = [\"\"]", "`runner` must begin"),
            ("runner = [\"a\\nb\"]", "`runner` must begin"),
            ("hots = \"a\"", "did you mean `host`?"),
        ] {
            let message = parse_text(&over_ssh("", lines)).unwrap_err().to_string();
            assert!(message.starts_with("boards/b.toml:7") && message.contains(expected), "{lines}: {message}");
        }
        for host in ["board", "pi.local", "10.0.0.2", "fe80::1%eth0", "my_board-2"] {
            assert!(parse_text(&over_ssh("", &format!("host = \"{host}\""))).is_ok(), "{host}");
        }
    }

    #[test]
    fn what_a_measurement_wants_is_read_and_its_ranges_checked() {
        let all = "libc = \"gnu\"\nglibc = \"2.28\"\nmodel = \"Raspberry Pi 4\"\nfeatures = [\"asimd\", \"crc32\"]\n\
                   memory_mib = 1024\ncpus = \"0-3\"\ngovernor = \"performance\"\nmax_temp_c = 80\n";
        let text = GOOD.replace("libc = \"static\"\n", all).replace("musl", "gnu");
        let board = parse_text(&text).unwrap();
        assert_eq!(board.glibc, Some(crate::Glibc { major: 2, minor: 28 }));
        assert_eq!((board.memory_mib, board.max_temp_c, board.features.len()), (Some(1024), Some(80.0), 2));
        assert_eq!((board.cpus.as_deref(), board.governor.as_deref()), (Some("0-3"), Some("performance")));
        assert_eq!(board.model.as_deref(), Some("Raspberry Pi 4"));

        refuse("libc = \"static\"", "libc = \"static\"\nglibc = \"2.28\"", &["boards/b.toml:4", "libc = \"gnu\""]);
        refuse("libc = \"static\"", "libc = \"gnu\"", &["boards/b.toml:3", "contradict"]);
        for (from, to, line, why) in [
            ("2.28", "2.5", 4, "from 2.17"),
            ("2.28", "2.x", 4, "no version"),
            ("Raspberry Pi 4", "", 5, "`model`"),
            ("crc32", "CRC", 6, "CRC"),
            ("crc32", "asimd", 6, "twice"),
            ("1024", "0", 7, "`memory_mib`"),
            ("0-3", "3-0", 8, "`cpus`"),
            ("performance", "fast mode", 9, "`governor`"),
            ("= 80", "= 800", 10, "`max_temp_c`"),
            ("= 80", "= nan", 10, "`max_temp_c`"),
        ] {
            let message = parse_text(&text.replace(from, to)).unwrap_err().to_string();
            assert!(message.starts_with(&format!("boards/b.toml:{line}")) && message.contains(why), "{to}: {message}");
        }
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
