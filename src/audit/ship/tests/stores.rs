//! Closed segments in stores of objects: in memory, on a disk, and over HTTP as S3 has them.

use std::{fs, path::Path, sync::Arc};

use object_store::{ObjectStoreExt as _, memory::InMemory, path::Path as Key};

use super::{INSTANCE, Shipped, eventually, position, server::Server};
use crate::{
    audit::{
        read::Instance,
        segment,
        ship::{Config, Shipping, config::StoreConfig, store::Store},
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
        shipped.intend(4).await;
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
    let _directory = shipped.end().await;
    for (name, content) in &expected {
        assert_eq!(&fs::read(put.join(name)).unwrap(), content, "{name}");
    }
    assert!(position::read(&instance, "store").unwrap() > 0);
    // What is open is not there, and the rest is a log by itself.
    let newest = segment::list(&instance).unwrap().pop().unwrap().path;
    assert!(!put.join(newest.file_name().unwrap()).exists());
    let log = Instance::all(&bucket.join("logs")).unwrap().remove(0);
    let report = verify(&log, &Trust::Beside, &[]).unwrap();
    assert!(report.fault.is_none(), "{:?}", report.fault);
}

#[tokio::test]
async fn a_store_in_memory_has_the_same() {
    let shipped = small(tempfile::tempdir().unwrap(), Vec::new());
    fill(&shipped).await;
    let memory = Arc::new(InMemory::new());
    let store = Store { store: Arc::clone(&memory) as _, prefix: Key::from("logs") };
    let target =
        super::super::Target { name: "memory".to_owned(), sink: super::super::config::Sink::Store(store) };
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
