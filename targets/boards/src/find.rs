//! Finding boards: by name, by path, or all of them.

use std::path::{Path, PathBuf};

use crate::board::{Board, limbeck_home};
use crate::builtin::{BUILTIN, named};
use crate::parse::{self, BoardError};
use limbeck_files::nearest::nearest;

/// A board that Limbeck knows by name.
#[derive(Debug)]
pub struct Listed {
    /// Its name.
    pub name: String,
    /// The user's file; `None` for one that comes with Limbeck.
    pub file: Option<PathBuf>,
    /// The board, or what is wrong with its file.
    pub board: Result<Board, BoardError>,
}

/// The folder of the user's own boards; `None` without a home folder.
pub fn own_boards() -> Option<PathBuf> {
    limbeck_home().map(|home| home.join("boards"))
}

/// All boards by name: those that come with Limbeck, in the order of their list, then the user's own. One of the
/// user's own that has a built-in one's name stands in its place.
pub fn list() -> Vec<Listed> {
    list_in(own_boards().as_deref())
}

/// The same, with the folder of the user's own boards given.
pub fn list_in(user_boards: Option<&Path>) -> Vec<Listed> {
    let mut own = user_boards.map(parse::in_folder).unwrap_or_default();
    let of_file = |(name, path): (String, PathBuf)| Listed { name, board: parse::read(&path), file: Some(path) };
    let mut listed = Vec::new();
    for (name, text) in BUILTIN {
        let replaced = own.iter().position(|(own, _)| own == name);
        listed.push(match replaced {
            Some(i) => of_file(own.remove(i)),
            None => Listed { name: (*name).to_owned(), file: None, board: parse_builtin(name, text) },
        });
    }
    listed.extend(own.into_iter().map(of_file));
    listed
}

impl Board {
    /// The board of a name (a user's own before a built-in one, both before an alias such as `rpi4`) or of a path:
    /// something with a `/` or ending in `.toml`.
    pub fn find(name_or_path: &str) -> Result<Board, BoardError> {
        Board::find_in(name_or_path, own_boards().as_deref())
    }

    /// The same, with the folder of the user's own boards given.
    pub fn find_in(name_or_path: &str, user_boards: Option<&Path>) -> Result<Board, BoardError> {
        if name_or_path.contains(['/', '\\']) || name_or_path.ends_with(".toml") {
            return parse::read(Path::new(name_or_path));
        }
        let own = user_boards.map(parse::in_folder).unwrap_or_default();
        if let Some((_, path)) = own.iter().find(|(name, _)| name == name_or_path) {
            return parse::read(path);
        }
        if let Some((name, text)) = named(name_or_path) {
            return parse_builtin(name, text);
        }
        let mut known: Vec<String> = BUILTIN.iter().map(|(name, _)| name.to_string()).collect();
        known.extend(own.into_iter().map(|(name, _)| name));
        known.sort();
        known.dedup();
        let nearest = nearest(name_or_path, known.iter().map(String::as_str)).map(str::to_owned);
        Err(BoardError::Unknown { name: name_or_path.to_owned(), nearest, known })
    }

    /// The board in a text; `name` is how it is called, `file` how errors name the text.
    pub fn parse(name: &str, file: &Path, text: &str) -> Result<Board, BoardError> {
        parse::parse(name, file, text)
    }

    /// The boards that come with Limbeck.
    pub fn builtin() -> Vec<Board> {
        // Their text is part of the program and a test reads every one, so none is dropped here.
        BUILTIN.iter().filter_map(|(name, text)| parse_builtin(name, text).ok()).collect()
    }
}

fn parse_builtin(name: &str, text: &str) -> Result<Board, BoardError> {
    parse::parse(name, Path::new(&format!("<built-in>/{name}.toml")), text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::board::Transport;

    #[test]
    fn every_built_in_board_is_good_and_listed() {
        let files = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/boards")).unwrap().count();
        assert_eq!(files, BUILTIN.len(), "a board file is not listed in BUILTIN");
        for (name, text) in BUILTIN {
            let board = parse_builtin(name, text).unwrap_or_else(|e| panic!("{e}"));
            let workdir = match board.transport {
                // One machine is one folder and one lock, whatever it is called.
                Transport::Ssh { .. } => "~/.limbeck/board".to_owned(),
                Transport::Local | Transport::Exec { .. } => format!("~/.limbeck/work/{name}"),
            };
            assert_eq!(board.workdir, workdir, "{name}");
        }
        assert_eq!(Board::builtin().len(), BUILTIN.len());
    }

    #[test]
    fn every_built_in_board_behind_ssh_says_what_it_is_and_lacks_only_a_host() {
        for board in Board::builtin().into_iter().filter(|b| matches!(b.transport, Transport::Ssh { .. })) {
            assert!(board.ssh_host().unwrap_err().to_string().contains(&format!("--like {}", board.name)));
            assert!(board.cpu.is_some() && board.memory_mib.is_some(), "{}", board.name);
            assert_eq!(board.governor.as_deref(), Some("performance"), "{}", board.name);
        }
    }

    #[test]
    fn host_is_this_machine_and_qemu_is_not() {
        let none = None;
        let host = Board::find_in("host", none).unwrap();
        assert!(host.is_host_triple() && host.transport == Transport::Local);
        let qemu = Board::find_in("qemu-aarch64", none).unwrap();
        assert_eq!(qemu.triple, "aarch64-unknown-linux-musl");
        assert!(!qemu.is_host_triple());
    }

    #[test]
    fn an_unknown_board_lists_the_known_and_the_nearest() {
        let message = Board::find_in("qemu-aarch", None).unwrap_err().to_string();
        let start =
            "no board `qemu-aarch`, did you mean `qemu-aarch64`?; known boards: beaglebone-black, host, imx8m, ";
        assert!(message.starts_with(start), "{message}");
    }

    #[test]
    fn an_alias_is_another_way_to_say_a_name() {
        assert_eq!(Board::find_in("rpi4", None).unwrap(), Board::find_in("raspberry-pi-4", None).unwrap());
    }

    #[test]
    fn own_boards_come_from_a_folder_or_a_path_and_win() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("host.toml");
        std::fs::write(&path, BUILTIN[0].1.replace("This machine", "Mine")).unwrap();
        assert_eq!(Board::find_in("host", Some(folder.path())).unwrap().title, "Mine");
        assert_eq!(Board::find_in(path.to_str().unwrap(), None).unwrap().title, "Mine");
        let message = Board::find_in("./none.toml", None).unwrap_err().to_string();
        assert!(message.contains("none.toml"), "{message}");
        let message = Board::find_in("hots", Some(folder.path())).unwrap_err().to_string();
        assert!(message.contains("did you mean `host`?"), "{message}");
    }

    #[test]
    fn a_list_says_where_each_comes_from_and_what_is_wrong_with_it() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("host.toml"), BUILTIN[0].1).unwrap();
        std::fs::write(folder.path().join("mine.toml"), "titel = \"x\"").unwrap();
        let listed = list_in(Some(folder.path()));
        assert_eq!(listed.len(), BUILTIN.len() + 1);
        assert_eq!((listed[0].name.as_str(), listed[0].file.is_some()), ("host", true));
        assert!(listed[1].file.is_none() && listed[1].board.is_ok());
        let mine = listed.last().unwrap();
        assert!(mine.name == "mine" && mine.board.as_ref().unwrap_err().to_string().contains("did you mean `title`?"));
    }
}
