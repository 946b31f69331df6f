//! What a URL names.

use std::path::PathBuf;

use crate::StoreError;

/// Where a store is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Location {
    /// A folder of this machine.
    Folder(PathBuf),
    /// An object store; the URL has no slash at its end.
    Cloud(String),
}

/// The schemes of object stores.
const CLOUD: [&str; 5] = ["s3", "gs", "az", "http", "https"];

/// Is this a URL (`scheme://…`), and not a path?
pub fn is_url(text: &str) -> bool {
    split(text).is_some()
}

/// Scheme and rest. One letter is no scheme, but a drive.
fn split(text: &str) -> Option<(&str, &str)> {
    let (scheme, rest) = text.split_once("://")?;
    let known = scheme.len() > 1 && scheme.chars().all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c));
    known.then_some((scheme, rest))
}

pub(crate) fn parse(text: &str) -> Result<Location, StoreError> {
    let wrong = |why: &str| Err(StoreError::Url { url: text.into(), why: why.into() });
    match split(text) {
        None if text.is_empty() => wrong("is empty"),
        None => Ok(Location::Folder(text.into())),
        Some(("file", path)) if path.starts_with('/') => Ok(Location::Folder(path.into())),
        Some(("file", _)) => wrong("a file URL has three slashes and a path from the root"),
        Some((scheme, rest)) if CLOUD.contains(&scheme) => match rest.trim_end_matches('/') {
            "" => wrong("names no bucket"),
            rest if rest.contains(['?', '#']) => wrong("a query or fragment is not read"),
            rest => Ok(Location::Cloud(format!("{scheme}://{rest}"))),
        },
        Some((scheme, _)) => wrong(&format!("`{scheme}` is not known")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_and_paths_are_told_apart() {
        let folder = |path: &str| Location::Folder(path.into());
        let cloud = |url: &str| Location::Cloud(url.into());
        let cases = [
            ("data/train", folder("data/train")),
            ("C://data", folder("C://data")),
            ("file:///mnt/data", folder("/mnt/data")),
            ("s3://bucket/a/b/", cloud("s3://bucket/a/b")),
            ("gs://bucket", cloud("gs://bucket")),
            ("az://container/a", cloud("az://container/a")),
        ];
        for (text, location) in cases {
            assert_eq!(parse(text).unwrap(), location, "{text}");
        }
    }

    #[test]
    fn what_is_no_store_says_what_would_be() {
        for text in ["", "file://host/a", "s3://", "s3:///", "ftp://server/a", "s3://bucket/a?b=1"] {
            let error = parse(text).unwrap_err().to_string();
            assert!(error.contains("s3://bucket/prefix"), "{error}");
        }
    }
}
