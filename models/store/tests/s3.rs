//! An S3 store against a small server of our own: ListObjectsV2 in pages, GET, HEAD, PUT, uploads in parts, a server that fails.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use limbeck_images::{Dataset, FolderOptions, ImageFolder};
use limbeck_store::{Store, StoreError, open_images};

#[derive(Default)]
struct Bucket {
    objects: BTreeMap<String, Vec<u8>>,
    parts: BTreeMap<usize, Vec<u8>>,
    requests: usize,
    /// Every n-th request is answered with 503.
    fails_every: usize,
}

type Shared = Arc<Mutex<Bucket>>;

/// Serve until the process ends.
fn server() -> (Shared, String) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let bucket = Shared::default();
    let shared = bucket.clone();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let bucket = shared.clone();
            std::thread::spawn(move || while answer(&stream, &bucket).is_some() {});
        }
    });
    (bucket, address)
}

fn answer(stream: &TcpStream, bucket: &Shared) -> Option<()> {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line).ok().filter(|n| *n > 0)?;
    let mut words = line.split(' ');
    let (method, target) = (words.next()?.to_owned(), words.next()?.to_owned());
    let (mut length, mut header) = (0, String::new());
    while reader.read_line(&mut header).ok()? > 2 {
        if let Some(value) = header.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().ok()?;
        }
        header.clear();
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    let (path, query) = target.split_once('?').unwrap_or((&target, ""));
    let query: BTreeMap<&str, &str> = query.split('&').map(|p| p.split_once('=').unwrap_or((p, ""))).collect();
    let key = decoded(path.strip_prefix("/bucket").unwrap_or(path).trim_start_matches('/'));
    let (status, reply) = reply(&method, &key, &query, body, &mut bucket.lock().unwrap());
    let length = reply.len();
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Length: {length}\r\nETag: \"e\"\r\nLast-Modified: Wed, 01 Jan 2025 00:00:00 GMT\r\n\r\n"
    );
    let mut stream = stream;
    stream.write_all(head.as_bytes()).ok()?;
    if method != "HEAD" {
        stream.write_all(&reply).ok()?;
    }
    Some(())
}

/// What stands in a request for it: `%20` for a space.
fn decoded(text: &str) -> String {
    let mut bytes = vec![];
    let mut rest = text.as_bytes();
    while let [first, more @ ..] = rest {
        let hex = more.get(..2).and_then(|hex| std::str::from_utf8(hex).ok());
        match hex.and_then(|hex| u8::from_str_radix(hex, 16).ok()).filter(|_| *first == b'%') {
            Some(byte) => {
                bytes.push(byte);
                rest = &more[2..];
            }
            None => {
                bytes.push(*first);
                rest = more;
            }
        }
    }
    String::from_utf8(bytes).unwrap()
}

fn reply(
    method: &str,
    key: &str,
    query: &BTreeMap<&str, &str>,
    body: Vec<u8>,
    bucket: &mut Bucket,
) -> (&'static str, Vec<u8>) {
    bucket.requests += 1;
    if bucket.fails_every > 0 && bucket.requests.is_multiple_of(bucket.fails_every) {
        return ("503 Slow Down", vec![]);
    }
    let ok = "200 OK";
    match method {
        "GET" if query.contains_key("list-type") => (ok, list(query, bucket).into_bytes()),
        "GET" | "HEAD" if key.starts_with("data/secret") => ("403 Forbidden", b"<Error/>".to_vec()),
        "GET" | "HEAD" => match bucket.objects.get(key) {
            Some(object) => (ok, object.clone()),
            None => ("404 Not Found", vec![]),
        },
        "PUT" => match query.get("partNumber") {
            Some(number) => {
                bucket.parts.insert(number.parse().unwrap(), body);
                (ok, vec![])
            }
            None => {
                bucket.objects.insert(key.to_owned(), body);
                (ok, vec![])
            }
        },
        "POST" if query.contains_key("uploads") => {
            (ok, b"<InitiateMultipartUploadResult><UploadId>1</UploadId></InitiateMultipartUploadResult>".to_vec())
        }
        "POST" => {
            let parts = std::mem::take(&mut bucket.parts);
            bucket.objects.insert(key.to_owned(), parts.into_values().flatten().collect());
            (ok, b"<CompleteMultipartUploadResult><ETag>\"e\"</ETag></CompleteMultipartUploadResult>".to_vec())
        }
        _ => ("405 Method Not Allowed", vec![]),
    }
}

/// Pages of two, so that a reader which stops after the first is found out.
fn list(query: &BTreeMap<&str, &str>, bucket: &Bucket) -> String {
    let prefix = query.get("prefix").map(|p| decoded(p)).unwrap_or_default();
    let after = query.get("continuation-token").map(|t| decoded(t)).unwrap_or_default();
    let mut rest = bucket.objects.iter().filter(|(k, _)| k.starts_with(&prefix) && k.as_str() > after.as_str());
    let page: Vec<_> = rest.by_ref().take(2).collect();
    let mut xml = "<ListBucketResult>".to_owned();
    for (key, object) in &page {
        let size = object.len();
        let date = "2025-01-01T00:00:00.000Z";
        xml += &format!(
            "<Contents><Key>{key}</Key><LastModified>{date}</LastModified><ETag>e</ETag><Size>{size}</Size></Contents>"
        );
    }
    if let (Some(_), Some((last, _))) = (rest.next(), page.last()) {
        xml += &format!("<IsTruncated>true</IsTruncated><NextContinuationToken>{last}</NextContinuationToken>");
    }
    xml + "</ListBucketResult>"
}

#[test]
fn an_s3_bucket_is_a_store() {
    // Variables of a process cannot be set in safe code once it runs: the test runs itself again with them, and serves it.
    if std::env::var("LIMBECK_STORE_S3_TEST").is_err() {
        let (bucket, address) = server();
        let environment =
            [("AWS_ENDPOINT", address.as_str()), ("AWS_SKIP_SIGNATURE", "true"), ("AWS_REGION", "us-east-1")];
        let me = std::env::current_exe().unwrap();
        let mut again = std::process::Command::new(me);
        let output = again.arg("--exact").arg("an_s3_bucket_is_a_store").env("LIMBECK_STORE_S3_TEST", "1");
        bucket.lock().unwrap().fails_every = 7;
        let output = output.envs(environment).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
        let bucket = bucket.lock().unwrap();
        assert_eq!(bucket.objects.get("data/answers").map(Vec::len), Some(40 << 20));
        assert!(bucket.requests > 10);
        return;
    }
    let local = tempfile::tempdir().unwrap();
    let store = Store::open("s3://bucket/data").unwrap();
    images_are_those_of_a_folder(local.path(), &store);
    // Large enough for three parts.
    let large: Vec<u8> = (0..40u32 << 20).map(|i| (i ^ i >> 11) as u8).collect();
    let file = local.path().join("answers");
    std::fs::write(&file, &large).unwrap();
    store.upload(&file, "answers").unwrap();
    assert_eq!(store.size("answers").unwrap(), Some(40 << 20));
    let copy = local.path().join("copy");
    store.download("answers", &copy).unwrap();
    assert!(std::fs::read(&copy).unwrap() == large);
    assert_eq!(store.size("none").unwrap(), None);
    let missing = store.get("none").unwrap_err();
    assert!(matches!(&missing, StoreError::NotFound { url } if url == "s3://bucket/data/none"), "{missing}");
    let denied = store.get("secret/a.png").unwrap_err().to_string();
    assert!(denied.contains("s3://bucket/data/secret/a.png") && denied.contains("AWS_ACCESS_KEY_ID"), "{denied}");
}

fn images_are_those_of_a_folder(local: &std::path::Path, store: &Store) {
    let root = local.join("data");
    for (i, file) in ["cat/b.png", "cat/a a.png", "cat/c.png", "dog/1.png", "dog/2.png"].iter().enumerate() {
        let path = root.join(file);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        image::RgbImage::from_pixel(4, 4, image::Rgb([i as u8, 1, 2])).save(&path).unwrap();
        store.upload(&path, file).unwrap();
    }
    let options = FolderOptions::default();
    let folder = ImageFolder::open(&root, &options).unwrap();
    let remote = open_images("s3://bucket/data/", &options).unwrap();
    assert_eq!((remote.len(), remote.labels(), remote.name()), (5, folder.labels(), folder.name()));
    assert_eq!(remote.sha256().unwrap(), folder.sha256().unwrap());
    for i in 0..5 {
        assert_eq!((remote.id(i), remote.sample(i).unwrap()), (folder.id(i), folder.sample(i).unwrap()));
    }
}
