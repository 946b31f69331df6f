//! The keys by which boards are known again.
//!
//! They lie in `known_hosts` in limbeck's folder, in OpenSSH's format (sshd(8), "SSH_KNOWN_HOSTS FILE FORMAT"), one line a
//! board: `limbeck-<board> <algorithm> <base64>`. [`trust`] is the only way in, and only for a board that has none.

use std::path::Path;
use std::time::Duration;

use limbeck_boards::{Board, Transport as Way};
use limbeck_files::FileError;
use serde::Serialize;

use crate::error::RunnerError;
use crate::process::{self, RunError};

use super::client::{Client, SshClient, here, host_key_alias, known_hosts};
use super::{Ssh, failure};

/// Longest that a board may take to show its key.
const KEY_DEADLINE: Duration = Duration::from_secs(30);

/// The public key of a board.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct HostKey {
    /// Such as `ssh-ed25519`.
    pub algorithm: String,
    /// As OpenSSH prints it: `SHA256:` and 43 characters.
    pub fingerprint: String,
    /// The line of `known_hosts` behind the name.
    #[serde(skip)]
    line: String,
}

/// What [`trust`] did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Trusted {
    /// The board's key.
    pub key: HostKey,
    /// It was stored now, and nobody has compared it with the board's own.
    pub is_new: bool,
}

/// Store the key that `board` shows, if it has none yet; from then on, only this key is accepted. A board that shows another
/// key than the stored one is refused. `None`: not a board behind ssh.
///
/// Whoever asked for it should be shown the fingerprint, to compare it with what `ssh-keygen -lf` says on the board.
pub fn trust(board: &Board) -> Result<Option<Trusted>, RunnerError> {
    match board.transport {
        Way::Ssh { .. } => Ssh::new(board, SshClient::of_this_user()?)?.trust().map(Some),
        Way::Local | Way::Exec { .. } => Ok(None),
    }
}

/// The same, if the board shows the key of this fingerprint (`SHA256:…`); another one is refused, and nothing is stored.
pub fn trust_only(board: &Board, fingerprint: &str) -> Result<Option<Trusted>, RunnerError> {
    match board.transport {
        Way::Ssh { .. } => {
            trust_with_key(&Client::new(board, SshClient::of_this_user()?)?, Some(fingerprint)).map(Some)
        }
        Way::Local | Way::Exec { .. } => Ok(None),
    }
}

/// Forget the key of `board`; was there one?
pub fn forget(board: &Board) -> Result<bool, RunnerError> {
    forget_in(&known_hosts(&SshClient::of_this_user()?.home), &host_key_alias(&board.name))
}

pub(crate) fn trust_with(client: &Client) -> Result<Trusted, RunnerError> {
    trust_with_key(client, None)
}

fn trust_with_key(client: &Client, fingerprint: Option<&str>) -> Result<Trusted, RunnerError> {
    let (file, alias) = (client.known_hosts(), host_key_alias(&client.board));
    let key = offered(client)?;
    if let Some(expected) = fingerprint.filter(|expected| *expected != key.fingerprint) {
        return Err(failure::changed(client, expected, Some(&key.fingerprint)));
    }
    let known = stored(&file, &alias)?;
    if known.contains(&key) {
        return Ok(Trusted { key, is_new: false });
    }
    if !known.is_empty() {
        return Err(failure::changed(client, &fingerprints(&known), Some(&key.fingerprint)));
    }
    let mut text = read(&file)?;
    if !text.is_empty() && !text.ends_with('\n') {
        text.push('\n');
    }
    text += &format!("{alias} {}\n", key.line);
    limbeck_files::write_atomic(&file, |w| w.write_all(text.as_bytes()))?;
    Ok(Trusted { key, is_new: true })
}

pub(crate) fn forget_in(file: &Path, alias: &str) -> Result<bool, RunnerError> {
    let text = read(file)?;
    let kept: String = text.split_inclusive('\n').filter(|line| !is_of(line, alias)).collect();
    if kept.len() == text.len() {
        return Ok(false);
    }
    limbeck_files::write_atomic(file, |w| w.write_all(kept.as_bytes()))?;
    Ok(true)
}

/// The key that the board shows now.
fn offered(client: &Client) -> Result<HostKey, RunnerError> {
    let file = client.known_hosts().with_file_name(format!(".known_hosts.{}.limbeck-tmp", std::process::id()));
    let mut command = client.key_fetch(&file)?;
    let fetched = process::run(&mut command, KEY_DEADLINE, |_| {}, &mut |_| {});
    let keys = stored(&file, &host_key_alias(&client.board));
    let _ = std::fs::remove_file(&file);
    let output = match fetched {
        Ok(output) => output,
        Err(RunError::Timeout) => {
            let what = format!("asking {} for its key", client.place());
            return Err(RunnerError::Timeout { what, after_s: KEY_DEADLINE.as_secs_f64() });
        }
        Err(RunError::Interrupted) => return Err(RunnerError::Interrupted),
        Err(RunError::Spawn(e)) => return Err(client.no_client(&e)),
    };
    // That we were not let in is as it should be: we showed no key of ours.
    keys?.into_iter().next().ok_or_else(|| failure::no_answer(client, output.status, &output.stderr_tail))
}

/// The keys that a file has under a name.
pub(crate) fn stored(file: &Path, alias: &str) -> Result<Vec<HostKey>, RunnerError> {
    let text = read(file)?;
    Ok(text.lines().filter(|line| is_of(line, alias)).filter_map(parse).collect())
}

/// Their fingerprints, for people.
pub(crate) fn fingerprints(keys: &[HostKey]) -> String {
    keys.iter().map(|key| key.fingerprint.as_str()).collect::<Vec<_>>().join(", ")
}

fn read(file: &Path) -> Result<String, FileError> {
    match std::fs::read(file) {
        Ok(bytes) => Ok(String::from_utf8_lossy(&bytes).into_owned()),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(String::new()),
        Err(e) => Err(here(file, "read")(e)),
    }
}

fn is_of(line: &str, alias: &str) -> bool {
    line.split_ascii_whitespace().next() == Some(alias)
}

fn parse(line: &str) -> Option<HostKey> {
    let mut words = line.split_ascii_whitespace().skip(1);
    let (algorithm, key) = (words.next()?, words.next()?);
    let hash = limbeck_files::sha256(&from_base64(key)?);
    Some(HostKey {
        algorithm: algorithm.to_owned(),
        fingerprint: format!("SHA256:{}", to_base64(&hash)),
        line: format!("{algorithm} {key}"),
    })
}

/// RFC 4648, section 4.
const BASE64: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// Without padding, as fingerprints are written.
fn to_base64(bytes: &[u8]) -> String {
    let sextets = |chunk: &[u8]| {
        let value = (0..3).fold(0u32, |value, i| value << 8 | u32::from(chunk.get(i).copied().unwrap_or(0)));
        let digits = [18, 12, 6, 0].map(|shift| char::from(BASE64[(value >> shift) as usize & 63]));
        digits.into_iter().take(chunk.len() + 1)
    };
    bytes.chunks(3).flat_map(sextets).collect()
}

fn from_base64(text: &str) -> Option<Vec<u8>> {
    let (mut value, mut bits, mut bytes) = (0u32, 0, Vec::new());
    for digit in text.trim_end_matches('=').bytes() {
        let sextet = BASE64.iter().position(|d| *d == digit)?;
        value = (value << 6 | sextet as u32) & 0xFFFF;
        bits += 6;
        if bits >= 8 {
            bits -= 8;
            bytes.push((value >> bits) as u8);
        }
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A key made for this test by `ssh-keygen -t ed25519`, and what `ssh-keygen -lf` says of it.
    const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHQRQDD2g87yUgzhZPRTtEtkraH0FjJHbr6TEhRMKvAN";
    const FINGERPRINT: &str = "SHA256:J20WcpgDHwRemKKbi1T4SC1pp5V07sHS7fOr4cKsgOI";

    #[test]
    fn a_fingerprint_is_what_ssh_keygen_prints() {
        let key = parse(&format!("limbeck-b {KEY}")).unwrap();
        assert_eq!((key.algorithm.as_str(), key.fingerprint.as_str()), ("ssh-ed25519", FINGERPRINT));
        // RFC 4648, section 10.
        for (plain, coded) in
            [("", ""), ("f", "Zg"), ("fo", "Zm8"), ("foo", "Zm9v"), ("foob", "Zm9vYg"), ("fooba", "Zm9vYmE")]
        {
            assert_eq!((to_base64(plain.as_bytes()).as_str(), from_base64(coded)), (coded, Some(plain.into())));
        }
        assert_eq!(from_base64("Zm9*"), None);
    }

    #[test]
    fn forgetting_a_board_leaves_the_others() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("known_hosts");
        assert!(!forget_in(&file, "limbeck-a").unwrap());
        std::fs::write(&file, format!("# mine\nlimbeck-a {KEY}\nlimbeck-ab {KEY}\nlimbeck-a {KEY}")).unwrap();
        assert_eq!(stored(&file, "limbeck-a").unwrap().len(), 2);
        assert!(forget_in(&file, "limbeck-a").unwrap());
        assert_eq!(std::fs::read_to_string(&file).unwrap(), format!("# mine\nlimbeck-ab {KEY}\n"));
    }
}
