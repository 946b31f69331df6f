//! A board of one's own, made from one that there is.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use crate::board::{Board, Libc, Transport};
use crate::find::own_boards;
use crate::parse::{self, BoardError};
use crate::values;

/// The working folder on a board behind ssh, unless another is asked for.
const REMOTE_WORKDIR: &str = "~/.limbeck/board";

/// What makes a board one's own. Everything that is `None` stays as it is in `like`.
#[derive(Debug, Clone, Copy, Default)]
pub struct NewBoard<'a> {
    /// How it shall be called: the name of its file.
    pub name: &'a str,
    /// Name or path of the board that it is like.
    pub like: &'a str,
    /// Name or address, with the user before an `@` if it is not ssh's own choice: `pi@192.168.1.20`. A board that was
    /// emulated here is then emulated there.
    pub host: Option<&'a str>,
    /// Port of its ssh server.
    pub port: Option<u16>,
    /// Key file on this machine.
    pub identity: Option<&'a str>,
    /// Working folder on the board.
    pub workdir: Option<&'a str>,
}

/// Write the board's file to the folder of the user's own boards; the file. One that is there already is an error.
pub fn add(new: &NewBoard<'_>) -> Result<PathBuf, BoardError> {
    add_in(&folder()?, new)
}

/// The same, in place of a board of this name that may be there.
pub fn replace(new: &NewBoard<'_>) -> Result<PathBuf, BoardError> {
    replace_in(&folder()?, new)
}

/// [`add`], with the folder of the user's own boards given.
pub fn add_in(folder: &Path, new: &NewBoard<'_>) -> Result<PathBuf, BoardError> {
    let file = file_of(folder, new)?;
    if file.symlink_metadata().is_ok() {
        return Err(BoardError::Exists { name: new.name.to_owned(), file });
    }
    replace_in(folder, new)
}

/// [`replace`], with the folder of the user's own boards given.
pub fn replace_in(folder: &Path, new: &NewBoard<'_>) -> Result<PathBuf, BoardError> {
    let file = file_of(folder, new)?;
    let board = made(new, Board::find_in(new.like, Some(folder))?)?;
    let text = format!("# Made with: {}\n{}", command(new), emit(&board));
    // What is written is what will be read.
    parse::parse(new.name, &file, &text)?;
    limbeck_files::create_dir(folder)?;
    limbeck_files::write_atomic(&file, |out| out.write_all(text.as_bytes()))?;
    Ok(file)
}

fn folder() -> Result<PathBuf, BoardError> {
    own_boards().ok_or_else(|| argument("NAME", "there is no home folder to put boards in; set HOME or LIMBECK_HOME"))
}

fn argument(option: &'static str, why: impl Into<String>) -> BoardError {
    BoardError::Argument { option, why: why.into() }
}

fn file_of(folder: &Path, new: &NewBoard<'_>) -> Result<PathBuf, BoardError> {
    if new.name.is_empty() || !values::is_plain(new.name) || new.name.ends_with(".toml") {
        return Err(argument("NAME", format!("`{}` is no name; use letters, digits, `-`, `_`", new.name)));
    }
    Ok(folder.join(format!("{}.toml", new.name)))
}

/// `like`, with what `new` changes, every value checked where its option is known.
fn made(new: &NewBoard<'_>, like: Board) -> Result<Board, BoardError> {
    let check = |option, checked: Result<(), String>| checked.map_err(|why| argument(option, why));
    let mut board = Board { name: new.name.to_owned(), ..like };
    if let Some(host) = new.host {
        let was_here = !matches!(board.transport, Transport::Ssh { .. });
        let runner = match &board.transport {
            Transport::Local => Vec::new(),
            Transport::Exec { runner } | Transport::Ssh { runner, .. } => runner.clone(),
        };
        let (user, host) = host.rsplit_once('@').map_or((None, host), |(user, host)| (Some(user), host));
        check("--host", user.map_or(Ok(()), values::user).and_then(|()| values::host(host)))?;
        let (host, user) = (Some(host.to_owned()), user.map(str::to_owned));
        board.transport = Transport::Ssh { host, user, port: None, identity: None, runner };
        if was_here {
            board.workdir = REMOTE_WORKDIR.to_owned();
        }
    }
    match &mut board.transport {
        Transport::Ssh { host: None, .. } => return Err(BoardError::NoHost { board: new.like.to_owned() }),
        Transport::Ssh { port, identity, .. } => {
            check("--port", new.port.map_or(Ok(()), values::port))?;
            check("--identity", new.identity.map_or(Ok(()), values::identity))?;
            *port = new.port.or(*port);
            *identity = new.identity.map(str::to_owned).or(identity.take());
        }
        Transport::Local | Transport::Exec { .. } => {
            let needs_host = "is for a board behind ssh; give its --host too";
            check("--port", new.port.map_or(Ok(()), |_| Err(needs_host.to_owned())))?;
            check("--identity", new.identity.map_or(Ok(()), |_| Err(needs_host.to_owned())))?;
        }
    }
    if let Some(workdir) = new.workdir {
        check("--workdir", values::workdir(workdir))?;
        board.workdir = workdir.to_owned();
    }
    Ok(board)
}

/// The command that asked for it, on one line.
fn command(new: &NewBoard<'_>) -> String {
    let options = [
        ("like", Some(new.like.to_owned())),
        ("host", new.host.map(str::to_owned)),
        ("port", new.port.map(|port| port.to_string())),
        ("identity", new.identity.map(str::to_owned)),
        ("workdir", new.workdir.map(str::to_owned)),
    ];
    let mut line = format!("limbeck board add {}", new.name);
    for (option, value) in options.into_iter().filter_map(|(option, value)| Some((option, value?))) {
        // In a comment: a control character could end it.
        let value: String = value.chars().filter(|c| !c.is_control()).collect();
        line += &format!(" --{option} {value}");
    }
    line
}

/// A board as the text of its file.
pub(crate) fn emit(board: &Board) -> String {
    let quoted = |text: &str| toml::Value::from(text).to_string();
    let words = |words: &[String]| toml::Value::from(words.to_vec()).to_string();
    let libc = match board.libc {
        Libc::Static => "static",
        Libc::Gnu => "gnu",
    };
    let mut text = String::new();
    let mut line = |key: &str, value: Option<String>| {
        if let Some(value) = value {
            // Writing to a string does not fail.
            let _ = writeln!(text, "{key} = {value}");
        }
    };
    line("title", Some(quoted(&board.title)));
    line("triple", Some(quoted(&board.triple)));
    line("libc", Some(quoted(libc)));
    line("glibc", board.glibc.map(|floor| quoted(&floor.to_string())));
    line("cpu", board.cpu.as_deref().map(quoted));
    line("model", board.model.as_deref().map(quoted));
    line("features", (!board.features.is_empty()).then(|| words(&board.features)));
    line("memory_mib", board.memory_mib.map(|mib| mib.to_string()));
    line("cpus", board.cpus.as_deref().map(quoted));
    line("governor", board.governor.as_deref().map(quoted));
    line("max_temp_c", board.max_temp_c.map(|celsius| toml::Value::from(celsius).to_string()));
    line("workdir", Some(quoted(&board.workdir)));
    line("timeout_s", Some(board.timeout_s.to_string()));
    match &board.transport {
        Transport::Local => line("transport", Some(quoted("local"))),
        Transport::Exec { runner } => line("\n[transport.exec]\nrunner", Some(words(runner))),
        Transport::Ssh { host, user, port, identity, runner } => {
            line("\n[transport.ssh]\nrunner", Some(words(runner)));
            line("host", host.as_deref().map(quoted));
            line("user", user.as_deref().map(quoted));
            line("port", port.map(|port| port.to_string()));
            line("identity", identity.as_deref().map(quoted));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pi4() -> NewBoard<'static> {
        NewBoard { name: "kitchen", like: "rpi4", host: Some("pi@192.168.1.20"), ..NewBoard::default() }
    }

    #[test]
    fn every_board_is_the_same_after_it_was_written_and_read() {
        for board in Board::builtin() {
            let text = emit(&board);
            assert_eq!(parse::parse(&board.name, Path::new("x"), &text).unwrap(), board, "{text}");
        }
    }

    #[test]
    fn a_board_is_made_of_a_description_and_an_address() {
        let folder = tempfile::tempdir().unwrap();
        let folder = &folder.path().join("boards");
        let new = NewBoard { port: Some(2222), identity: Some("~/.ssh/pi"), workdir: Some("~/lb"), ..pi4() };
        let file = add_in(folder, &new).unwrap();
        assert_eq!(file, folder.join("kitchen.toml"));
        let text = std::fs::read_to_string(&file).unwrap();
        let made = "# Made with: limbeck board add kitchen --like rpi4 --host pi@192.168.1.20 --port 2222";
        assert!(text.starts_with(made), "{text}");
        let board = Board::find_in("kitchen", Some(folder)).unwrap();
        let (host, user) = (Some("192.168.1.20".to_owned()), Some("pi".to_owned()));
        let identity = Some("~/.ssh/pi".to_owned());
        assert_eq!(board.transport, Transport::Ssh { host, user, port: Some(2222), identity, runner: Vec::new() });
        assert_eq!((board.workdir.as_str(), board.model.as_deref()), ("~/lb", Some("Raspberry Pi 4")));
    }

    #[test]
    fn a_board_that_is_there_is_replaced_only_when_asked() {
        let folder = tempfile::tempdir().unwrap();
        let file = add_in(folder.path(), &pi4()).unwrap();
        let message = add_in(folder.path(), &pi4()).unwrap_err().to_string();
        assert!(message.contains("kitchen.toml") && message.contains("--force"), "{message}");
        replace_in(folder.path(), &NewBoard { host: Some("pi5.local"), ..pi4() }).unwrap();
        assert!(std::fs::read_to_string(file).unwrap().contains("host = \"pi5.local\""));
        // Its own file may be what it is like.
        replace_in(folder.path(), &NewBoard { like: "kitchen", host: None, port: Some(23), ..pi4() }).unwrap();
        assert_eq!(Board::find_in("kitchen", Some(folder.path())).unwrap().ssh_host().unwrap(), Some("pi5.local"));
    }

    #[test]
    fn an_emulated_board_with_a_host_is_emulated_there() {
        let folder = tempfile::tempdir().unwrap();
        add_in(folder.path(), &NewBoard { like: "qemu-aarch64", ..pi4() }).unwrap();
        let board = Board::find_in("kitchen", Some(folder.path())).unwrap();
        assert!(matches!(&board.transport, Transport::Ssh { runner, .. } if runner[0] == "qemu-aarch64-static"));
        assert_eq!(board.workdir, REMOTE_WORKDIR);
    }

    #[test]
    fn what_cannot_be_a_board_is_refused_by_its_option_and_nothing_is_written() {
        let folder = tempfile::tempdir().unwrap();
        for (new, expected) in [
            (NewBoard { name: "../x", ..pi4() }, "NAME: "),
            (NewBoard { name: "", ..pi4() }, "NAME: "),
            (NewBoard { name: "a.toml", ..pi4() }, "NAME: "),
            (NewBoard { like: "rpi44", ..pi4() }, "no board `rpi44`"),
            (NewBoard { host: Some("-x"), ..pi4() }, "--host"),
            (NewBoard { host: Some("a b@c"), ..pi4() }, "--host"),
            (NewBoard { host: Some("a\nb"), ..pi4() }, "--host"),
            (NewBoard { host: None, ..pi4() }, "limbeck board add NAME --like rpi4 --host"),
            (NewBoard { port: Some(0), ..pi4() }, "--port"),
            (NewBoard { identity: Some("key"), ..pi4() }, "--identity"),
            (NewBoard { workdir: Some("x"), ..pi4() }, "--workdir"),
            (NewBoard { like: "host", host: None, port: Some(22), ..pi4() }, "--port: is for a board behind ssh"),
        ] {
            let message = add_in(folder.path(), &new).unwrap_err().to_string();
            assert!(message.contains(expected), "{new:?}: {message}");
        }
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
