//! What tests of this crate share.

/// Leave a test out with the reason, on the real stderr. With `LIMBECK_STRICT=1` that is a failure.
pub(crate) fn skip(why: &str) {
    use std::io::Write;
    let is_strict = std::env::var("LIMBECK_STRICT").is_ok_and(|v| v == "1");
    let test = std::thread::current().name().unwrap_or("a test").to_owned();
    assert!(!is_strict, "{test} cannot run: {why} (LIMBECK_STRICT=1)");
    // `eprintln!` would be captured. A closed stderr has no one to tell.
    let _ = writeln!(std::io::stderr(), "skipped: {test}: {why}");
}
