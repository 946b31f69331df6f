//! Data sets and answers where a cluster's machines reach them: a folder, or an object store.
//!
//! | URL | what | credentials |
//! |---|---|---|
//! | a path, `file:///path` | a folder that this machine sees (NFS and Lustre too) | none |
//! | `s3://bucket/prefix` | S3 and what speaks it | `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`, `AWS_REGION`, `AWS_ENDPOINT`, or the instance's role |
//! | `gs://bucket/prefix` | Google Cloud Storage | `GOOGLE_SERVICE_ACCOUNT`, or the instance's account |
//! | `az://container/prefix` | Azure Blob Storage | `AZURE_STORAGE_ACCOUNT_NAME`, `AZURE_STORAGE_ACCOUNT_KEY`, or a managed identity |
//! | `https://server/path` | a WebDAV server | none |
//!
//! All but folders need the feature `cloud`; without it a [`Store`] of theirs cannot be opened, and the error says how to
//! build what can. Calls block; requests are retried, and have a deadline. An object is there whole or not at all.

#![forbid(unsafe_code)]

#[cfg(feature = "cloud")]
mod cloud;
mod error;
mod folder;
mod images;
mod location;
mod store;

// What went wrong
pub use error::StoreError;
// Image folders in a store
pub use images::open_images;
// Where things lie
pub use location::is_url;
pub use store::{Entry, Store};
