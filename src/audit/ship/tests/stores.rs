//! Closed segments in stores of objects: in memory, on a disk, and over HTTP as S3 has them.

use std::{fs, path::Path, sync::Arc};

use bytes::Bytes;
use http::request::Parts;
use object_store::{ObjectStoreExt as _, memory::InMemory, path::Path as Key};

use super::{INSTANCE, Shipped, eventually, logged, position, secret, server::Server};
use crate::{
    audit::{
        read::{Instance, Segment},
        segment,
        ship::{
            Config, Shipping,
            config::{Sink, StoreConfig},
            store::Store,
        },
        verify::{Trust, verify},
    },
    file::Credential,
};

fn store(url: &str, endpoint: Option<String>) -> Config {
    let secret = Some(Credential::Env("SECRET".to_owned()));
    Config::ObjectStore(StoreConfig {
        name: "store".to_owned(),
        url: url.to_owned(),
        endpoint,
        region: None,
        access_key_id: secret.clone(),
        secret_access_key: secret,
    })
}

/// Some segments.
async fn fill(shipped: &Shipped) {
    let begun = std::time::Instant::now();
    while segment::list(&shipped.instance()).unwrap().len() < 4 {
        assert!(begun.elapsed() < super::PATIENCE, "no segments");
        shipped.call(4).await;
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
}

fn small(directory: tempfile::TempDir, sinks: Vec<Config>) -> Shipped {
    Shipped::in_directory(directory, sinks, |config| config.segment_bytes = 4096)
}

/// The segments that are closed: name and content.
fn closed(instance: &Path) -> Vec<(String, Vec<u8>)> {
    let mut segments = segment::list(instance).unwrap();
    segments.pop();
    let read =
        |path: &Path| (path.file_name().unwrap().to_str().unwrap().to_owned(), fs::read(path).unwrap());
    segments.iter().map(|segment| read(&segment.path)).collect()
}

#[tokio::test]
async fn closed_segments_are_put_in_a_store_and_verify_there() {
    let directory = tempfile::tempdir().unwrap();
    let bucket = directory.path().join("bucket");
    let url = format!("file://{}/logs", bucket.display());
    let shipped = small(directory, vec![store(&url, None)]);
    fill(&shipped).await;
    let expected = closed(&shipped.instance());
    let put = bucket.join("logs").join(INSTANCE);
    eventually("all are there", || expected.iter().all(|(name, _)| put.join(name).exists())).await;
    let instance = shipped.instance();
    let there = segment::list(&put).unwrap().len();
    assert!(there < segment::list(&instance).unwrap().len(), "the newest is written yet");
    let _directory = shipped.end().await;
    for (name, content) in &expected {
        assert_eq!(&fs::read(put.join(name)).unwrap(), content, "{name}");
    }
    // At an orderly end the last one is closed as well.
    let newest = segment::list(&instance).unwrap().pop().unwrap().path;
    assert_eq!(fs::read(put.join(newest.file_name().unwrap())).unwrap(), fs::read(newest).unwrap());
    let records = logged(instance.parent().unwrap());
    assert_eq!(position::read(&instance, "store").unwrap(), records.len() as u64);
    let log = Instance::all(&bucket.join("logs")).unwrap().remove(0);
    let report = verify(&log, &Trust::Beside, &[]).unwrap();
    assert!(report.is_good(), "{report:?}");
    assert_eq!(report.records, records.len() as u64);
}

/// What of a log had no time to go out at its end goes out after the next start, once.
#[tokio::test]
async fn a_last_segment_that_was_not_put_is_put_after_the_next_start() {
    let directory = tempfile::tempdir().unwrap();
    let bucket = directory.path().join("bucket");
    let sinks = || vec![store(&format!("file://{}/logs", bucket.display()), None)];
    // It cannot be put there yet.
    fs::write(&bucket, "").unwrap();
    let shipped = Shipped::in_directory(directory, sinks(), |_| {});
    shipped.intend(3).await;
    let instance = shipped.instance();
    let directory = shipped.end().await;
    assert_eq!(position::read(&instance, "store").unwrap(), 0);
    let last = segment::list(&instance).unwrap().remove(0).path;
    fs::remove_file(&bucket).unwrap();
    let shipped = Shipped::in_directory(directory, sinks(), |_| {});
    let there = bucket.join("logs").join(INSTANCE).join(last.file_name().unwrap());
    eventually("it is put", || there.exists()).await;
    let metrics = shipped.metrics.clone();
    let _directory = shipped.end().await;
    assert_eq!(fs::read(there).unwrap(), fs::read(last).unwrap());
    let records = logged(instance.parent().unwrap()).len();
    let count = format!("prebuild_gateway_audit_shipped_records_total{{sink=\"store\"}} {records}\n");
    assert!(metrics.encode().contains(&count), "{records}: {}", metrics.encode());
}

#[tokio::test]
async fn a_store_in_memory_has_the_same() {
    let shipped = small(tempfile::tempdir().unwrap(), Vec::new());
    fill(&shipped).await;
    let memory = Arc::new(InMemory::new());
    let store = Store { store: Arc::clone(&memory) as _, prefix: Key::from("logs") };
    let target = super::super::Target { name: "memory".to_owned(), sink: Sink::Store(store) };
    let shipping = Shipping::begin(&shipped.log, vec![target], &shipped.metrics);
    let expected = closed(&shipped.instance());
    let audit = shipped.instance();
    let _directory = shipped.end().await;
    shipping.end().await;
    for (name, content) in expected {
        let key = Key::from("logs").join(INSTANCE).join(name.as_str());
        let got = memory.get(&key).await.unwrap().bytes().await.unwrap();
        assert_eq!(got, content, "{name}");
    }
    assert!(position::read(&audit, "memory").unwrap() > 0);
}

/// What a store like S3 is sent: signed, and to the bucket's path.
#[tokio::test]
async fn s3_gets_signed_puts() {
    let server = Server::start().await;
    let endpoint = format!("http://{}", server.address);
    server.set_up(false);
    let sinks = vec![store("s3://audit/logs", Some(endpoint))];
    let shipped = small(tempfile::tempdir().unwrap(), sinks);
    fill(&shipped).await;
    server.set_up(true);
    let expected = closed(&shipped.instance());
    let paths = || {
        let came = server.came.lock().unwrap();
        came.iter().map(|(parts, _)| parts.uri.path().to_owned()).collect::<Vec<_>>()
    };
    let path = |name: &str| format!("/audit/logs/{INSTANCE}/{name}");
    eventually("all came", || expected.iter().all(|(name, _)| paths().contains(&path(name)))).await;
    let came = server.came.lock().unwrap().clone();
    for (name, content) in expected {
        let (parts, body) = came.iter().find(|(parts, _)| parts.uri.path() == path(&name)).unwrap();
        assert_eq!((parts.method.as_str(), &body[..]), ("PUT", &content[..]));
        let signed = parts.headers["authorization"].to_str().unwrap();
        assert!(signed.starts_with("AWS4-HMAC-SHA256 Credential=s3cret/"), "{signed}");
    }
    assert!(paths().contains(&path("key.pub")));
    shipped.end().await;
}

/// A segment of more than two parts, in a directory, and the S3 that it is put to.
fn large(directory: &Path, server: &Server) -> (Segment, String, Store) {
    let content = format!("{}\n", "x".repeat(60_000)).repeat(300);
    fs::write(directory.join("00000000000000000001.jsonl"), &content).unwrap();
    let segment = Instance::segment_after(directory, 0).unwrap().unwrap();
    let config = store("s3://audit/logs", Some(format!("http://{}", server.address)));
    let Sink::Store(store) = config.resolve(&secret).unwrap().sink else { unreachable!() };
    (segment, content, store)
}

#[tokio::test]
async fn s3_gets_a_large_segment_in_parts() {
    let (server, directory) = (Server::start().await, tempfile::tempdir().unwrap());
    let (segment, content, store) = large(directory.path(), &server);
    store.put(&segment, INSTANCE, "key".to_owned()).await.unwrap();
    let came = server.came.lock().unwrap().clone();
    let of = |method: &str, query: &str| {
        let is_it = |parts: &&(Parts, Bytes)| {
            parts.0.method == method && parts.0.uri.query().is_some_and(|has| has.contains(query))
        };
        came.iter().filter(is_it).collect::<Vec<_>>()
    };
    let parts = of("PUT", "uploadId=an-upload");
    assert_eq!(parts.len(), 3);
    for (number, (part, body)) in (1..).zip(&parts) {
        assert!(part.uri.query().unwrap().contains(&format!("partNumber={number}")), "{}", part.uri);
        assert!(number == 3 || body.len() >= 5 << 20, "S3 takes no smaller one");
        assert!(part.uri.path().ends_with(&format!("{INSTANCE}/00000000000000000001.jsonl")), "{}", part.uri);
    }
    assert!(parts.iter().flat_map(|(_, body)| &body[..]).eq(content.as_bytes()), "another content");
    let [(_, completed)] = of("POST", "uploadId=an-upload")[..] else { panic!("it is not completed") };
    assert_eq!(String::from_utf8_lossy(completed).matches("<PartNumber>").count(), 3);
}

/// Parts that nobody completes are paid for.
#[tokio::test]
async fn an_upload_that_fails_is_given_up_at_the_store_as_well() {
    let (server, directory) = (Server::start().await, tempfile::tempdir().unwrap());
    let (segment, _, store) = large(directory.path(), &server);
    server.answer(|manner| manner.refuses = Some("partNumber=2"));
    store.put(&segment, INSTANCE, "key".to_owned()).await.unwrap_err();
    let came = server.came.lock().unwrap().clone();
    let last = &came.last().unwrap().0;
    assert_eq!((last.method.as_str(), last.uri.query()), ("DELETE", Some("uploadId=an-upload")));
}
