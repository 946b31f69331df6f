//! What can go wrong with a store.

use limbeck_files::FileError;

/// Why a store did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// A file or folder of this machine.
    #[error(transparent)]
    File(#[from] FileError),
    /// Not the URL of a store.
    #[error(
        "{url}: {why}; write a folder, file:///folder, s3://bucket/prefix, gs://bucket/prefix, az://container/prefix \
         or https://server/path"
    )]
    Url {
        /// As it was given.
        url: String,
        /// What is wrong with it.
        why: String,
    },
    /// A network store, in a build without them.
    #[error(
        "{url}: this build reads folders only; build one with network stores \
         (`cargo build --release -p limbeck-cli --features cloud`), or copy the data into a folder"
    )]
    NoCloud {
        /// As it was given.
        url: String,
    },
    /// There is no such object.
    #[error("{url}: there is no such object; check bucket, prefix and region")]
    NotFound {
        /// The object.
        url: String,
    },
    /// The store refused: credentials.
    #[error("{url}: {doing}: not allowed: {why}; {way_out}")]
    Denied {
        /// The object or prefix.
        url: String,
        /// "list", "read", "write".
        doing: &'static str,
        /// What the store said.
        why: String,
        /// Which variables hold the credentials.
        way_out: &'static str,
    },
    /// Anything else that the store or the way to it said, after all retries.
    #[error("{url}: {doing}: {why}; {way_out}")]
    Failed {
        /// The object or prefix.
        url: String,
        /// "list", "read", "write".
        doing: &'static str,
        /// What was said.
        why: String,
        /// What to look at.
        way_out: &'static str,
    },
    /// Nothing came in time.
    #[error("{url}: {doing}: not done after {seconds} s; run it again, and look at the network if this stays")]
    Deadline {
        /// The object or prefix.
        url: String,
        /// "list", "read", "write".
        doing: &'static str,
        /// How long was waited.
        seconds: u64,
    },
}
