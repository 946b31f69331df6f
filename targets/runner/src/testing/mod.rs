//! What tests of this crate share.

#[path = "../../tests/loopback/mod.rs"]
pub(crate) mod loopback;
pub(crate) mod stand_in;

/// Leave a test out with the reason, on the real stderr. With `LIMBECK_STRICT=1` that is a failure.
pub(crate) fn skip(why: &str) {
    use std::io::Write;
    let is_strict = std::env::var("LIMBECK_STRICT").is_ok_and(|v| v == "1");
    let test = std::thread::current().name().unwrap_or("a test").to_owned();
    assert!(!is_strict, "{test} cannot run: {why} (LIMBECK_STRICT=1)");
    // `eprintln!` would be captured. A closed stderr has no one to tell.
    let _ = writeln!(std::io::stderr(), "skipped: {test}: {why}");
}

/// Write a program.
pub(crate) fn program(path: &std::path::Path, text: &str) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::write(path, text).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
}

/// Gone, or at most a zombie that its foster parent has yet to reap.
fn is_dead(pid: &str) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"));
    stat.map_or(true, |s| s.rsplit(')').next().is_some_and(|rest| rest.trim().starts_with('Z')))
}

/// Does a process end within five seconds?
pub(crate) fn dies(pid: &str) -> bool {
    (0..500).any(|_| {
        std::thread::sleep(std::time::Duration::from_millis(10));
        is_dead(pid)
    })
}
