//! Object stores over the network, behind calls that block.

use std::future::Future;
use std::io::{Read, Write};
use std::path::Path;
use std::time::Duration;

use futures_util::{StreamExt, TryStreamExt};
use limbeck_files::{FileError, Staged};
use object_store::aws::AmazonS3Builder;
use object_store::azure::MicrosoftAzureBuilder;
use object_store::gcp::GoogleCloudStorageBuilder;
use object_store::http::HttpBuilder;
use object_store::path::Path as Key;
use object_store::{ClientOptions, Error, ObjectStore, ObjectStoreExt, RetryConfig};

use crate::{Entry, StoreError};

/// One request, all its bytes included.
const REQUEST: Duration = Duration::from_secs(60);
/// One call, all its requests and retries included; what moves many parts has this time for each of them.
const CALL: Duration = Duration::from_secs(300);
/// How often a request that failed for a passing reason is tried again.
const RETRIES: usize = 6;
/// Larger objects are written in parts of this size. S3 wants 5 MiB at least, and at most 10 000 parts.
const PART: u64 = 16 << 20;
const PARTS: u64 = 9_000;

/// A bucket's prefix, and the threads that talk to it.
#[derive(Debug)]
pub(crate) struct Cloud {
    url: String,
    prefix: Key,
    store: Box<dyn ObjectStore>,
    runtime: tokio::runtime::Runtime,
}

impl Cloud {
    /// `url` is one of [`crate::location`]'s, without a slash at its end.
    pub(crate) fn open(url: &str) -> Result<Cloud, StoreError> {
        let wrong = |why: String| StoreError::Url { url: url.into(), why };
        // An error only says that somebody chose before us.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let (scheme, rest) = url.split_once("://").unwrap_or_default();
        let (bucket, path) = rest.split_once('/').unwrap_or((rest, ""));
        let prefix = Key::parse(path).map_err(|e| wrong(e.to_string()))?;
        let retry = RetryConfig { max_retries: RETRIES, retry_timeout: CALL, ..RetryConfig::default() };
        let client = ClientOptions::new().with_timeout(REQUEST).with_connect_timeout(Duration::from_secs(10));
        // S3's look-alikes on one's own machines often have no TLS.
        let plain = |name: &str| std::env::var(name).is_ok_and(|v| v.starts_with("http://"));
        let store: Result<Box<dyn ObjectStore>, Error> = match scheme {
            "s3" => AmazonS3Builder::from_env()
                .with_bucket_name(bucket)
                .with_retry(retry)
                .with_client_options(client)
                .with_allow_http(plain("AWS_ENDPOINT") || plain("AWS_ENDPOINT_URL"))
                .build()
                .map(|s| Box::new(s) as _),
            "gs" => GoogleCloudStorageBuilder::from_env()
                .with_bucket_name(bucket)
                .with_retry(retry)
                .with_client_options(client)
                .build()
                .map(|s| Box::new(s) as _),
            "az" => MicrosoftAzureBuilder::from_env()
                .with_container_name(bucket)
                .with_retry(retry)
                .with_client_options(client)
                .build()
                .map(|s| Box::new(s) as _),
            _ => HttpBuilder::new()
                .with_url(format!("{scheme}://{bucket}"))
                .with_retry(retry)
                .with_client_options(client.with_allow_http(scheme == "http"))
                .build()
                .map(|s| Box::new(s) as _),
        };
        let store = store.map_err(|e| failure(url, "open", e))?;
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
        let runtime = runtime.map_err(|e| wrong(format!("no threads for it: {e}")))?;
        Ok(Cloud { url: url.into(), prefix, store, runtime })
    }

    pub(crate) fn list(&self) -> Result<Vec<Entry>, StoreError> {
        let all = self.store.list(Some(&self.prefix)).map_ok(|meta| (meta.location, meta.size)).try_collect::<Vec<_>>();
        // A bucket of millions takes thousands of requests; each has its own deadline.
        let all = self.runtime.block_on(all).map_err(|e| failure(&self.url, "list", e))?;
        let above = if self.prefix.as_ref().is_empty() { 0 } else { self.prefix.as_ref().len() + 1 };
        let entry = |(key, bytes): (Key, u64)| {
            let key = key.as_ref().get(above..).filter(|key| !key.is_empty())?;
            Some(Entry { key: key.to_owned(), bytes })
        };
        Ok(all.into_iter().filter_map(entry).collect())
    }

    pub(crate) fn size(&self, key: &str) -> Result<Option<u64>, StoreError> {
        match self.call(key, "read", CALL, self.store.head(&self.key(key)?)) {
            Ok(meta) => Ok(Some(meta.size)),
            Err(StoreError::NotFound { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    pub(crate) fn get(&self, key: &str) -> Result<Vec<u8>, StoreError> {
        let at = self.key(key)?;
        let bytes = self.call(key, "read", CALL, async { self.store.get(&at).await?.bytes().await })?;
        Ok(bytes.into())
    }

    pub(crate) fn download(&self, key: &str, to: &Path) -> Result<(), StoreError> {
        let at = self.key(key)?;
        let mut chunks = self.call(key, "read", CALL, async { Ok(self.store.get(&at).await?.into_stream()) })?;
        let mut file = Staged::create(to)?;
        while let Some(chunk) = self.call(key, "read", CALL, async { chunks.next().await.transpose() })? {
            file.write_all(&chunk).map_err(|source| FileError { path: to.to_owned(), doing: "write", source })?;
        }
        Ok(file.commit()?)
    }

    pub(crate) fn upload(&self, from: &Path, key: &str) -> Result<(), StoreError> {
        let at = self.key(key)?;
        let failed = |source| FileError { path: from.to_owned(), doing: "read", source };
        let mut file = std::fs::File::open(from).map_err(failed)?;
        let bytes = file.metadata().map_err(failed)?.len();
        let mut part = |size: u64| {
            let mut part = vec![];
            (&mut file).take(size).read_to_end(&mut part).map(|_| part).map_err(failed)
        };
        if bytes <= PART {
            let all = part(PART)?;
            return self.call(key, "write", CALL, self.store.put(&at, all.into())).map(|_| ());
        }
        // The object appears when all parts are there.
        let size = PART.max(bytes.div_ceil(PARTS));
        let mut upload = self.call(key, "write", CALL, self.store.put_multipart(&at))?;
        let mut send = || {
            for _ in 0..bytes.div_ceil(size) {
                let part = part(size)?;
                self.call(key, "write", CALL, upload.put_part(part.into()))?;
            }
            self.call(key, "write", CALL, upload.complete()).map(|_| ())
        };
        let sent = send();
        if sent.is_err() {
            // What the store keeps of it would cost money; that it cannot be dropped is not what went wrong.
            let _ = self.call(key, "write", CALL, upload.abort());
        }
        sent
    }

    fn key(&self, key: &str) -> Result<Key, StoreError> {
        let all = if self.prefix.as_ref().is_empty() { key.to_owned() } else { format!("{}/{key}", self.prefix) };
        Key::parse(all).map_err(|e| StoreError::Url { url: format!("{}/{key}", self.url), why: e.to_string() })
    }

    /// Wait for an answer about `key`, until the deadline.
    fn call<T>(
        &self,
        key: &str,
        doing: &'static str,
        deadline: Duration,
        answer: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, StoreError> {
        let url = format!("{}/{key}", self.url);
        match self.runtime.block_on(async { tokio::time::timeout(deadline, answer).await }) {
            Ok(answer) => answer.map_err(|e| failure(&url, doing, e)),
            Err(_) => Err(StoreError::Deadline { url, doing, seconds: deadline.as_secs() }),
        }
    }
}

/// What object_store says, with the way out.
fn failure(url: &str, doing: &'static str, error: Error) -> StoreError {
    let url = url.to_owned();
    let scheme = url.split("://").next().unwrap_or_default();
    let way_out = match scheme {
        "s3" => {
            "look at AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_REGION (the bucket's) and AWS_ENDPOINT; AWS_SKIP_SIGNATURE=true for public buckets"
        }
        "gs" => "look at GOOGLE_SERVICE_ACCOUNT (a key file); GOOGLE_SKIP_SIGNATURE=true for public buckets",
        "az" => "look at AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCOUNT_KEY",
        _ => "look at the address and the server's log",
    };
    match error {
        Error::NotFound { .. } => StoreError::NotFound { url },
        Error::PermissionDenied { .. } | Error::Unauthenticated { .. } => {
            StoreError::Denied { url, doing, why: causes(&error), way_out }
        }
        other => StoreError::Failed { url, doing, why: causes(&other), way_out },
    }
}

/// All causes, each said once.
fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        cause = error.source();
    }
    text
}
