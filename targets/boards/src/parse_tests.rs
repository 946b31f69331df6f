//! Board files, good and bad.

use std::path::Path;

use proptest::prelude::*;

use crate::parse::{BoardError, parse};
use crate::{Board, Transport};

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
    let text = "host = \"192.168.1.20\"\nuser = \"pi\"\nport = 2222\nidentity = \"~/.ssh/id\"\nrunner = [\"emu\"]\n";
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

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn no_change_to_a_built_in_file_makes_it_panic(
        which in 0..crate::builtin::BUILTIN.len(),
        at in any::<prop::sample::Index>(),
        length in 0_usize..20,
        text in ".{0,12}",
    ) {
        let (name, good) = crate::builtin::BUILTIN[which];
        let places: Vec<usize> = good.char_indices().map(|(i, _)| i).collect();
        let start = at.index(places.len());
        let end = (start + length).min(places.len() - 1);
        let bad = format!("{}{text}{}", &good[..places[start]], &good[places[end]..]);
        // What is still a board can be written and read again.
        if let Ok(board) = parse(name, Path::new("x"), &bad) {
            let again = crate::add::emit(&board);
            prop_assert_eq!(parse(name, Path::new("x"), &again).unwrap(), board, "{}", again);
        }
    }

    #[test]
    fn no_text_makes_it_panic(text in "\\PC*", key in "[a-z_]{1,12}", value in "[-\"\\[\\]{}.0-9a-z~/]{0,20}") {
        let _ = parse("x", Path::new("x"), &text);
        let _ = parse("x", Path::new("x"), &format!("{GOOD}{key} = {value}"));
        let _ = parse("x", Path::new("x"), &over_ssh("", &format!("{key} = {value}")));
    }
}
