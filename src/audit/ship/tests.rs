//! Shipping to sinks that fail, stop and come back: what they have is what the log says, in its order.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use secrecy::SecretString;
use tempfile::TempDir;

use super::{Config, Shipping, config::FileConfig, position};
use crate::{
    audit::{
        self, Log, Record,
        read::{Instance, Joined},
        segment,
        tests::{create, end},
    },
    file::Credential,
    telemetry::Metrics,
};

mod collector;
mod grpc;
mod lines;
mod server;
mod stores;

const INSTANCE: &str = "gateway-0";
const PATIENCE: Duration = Duration::from_secs(20);

/// A log that is shipped.
struct Shipped {
    directory: TempDir,
    log: Log,
    metrics: Metrics,
    shipping: Shipping,
}

impl Shipped {
    fn to(sinks: Vec<Config>) -> Self {
        Self::in_directory(tempfile::tempdir().unwrap(), sinks, |_| {})
    }

    fn in_directory(directory: TempDir, sinks: Vec<Config>, change: impl FnOnce(&mut audit::Config)) -> Self {
        let targets = sinks.iter().map(|sink| sink.resolve(&secret).unwrap()).collect();
        let mut config = audit::Config {
            instance: INSTANCE.to_owned(),
            ship: sinks,
            ..audit::Config::at(directory.path().join("audit"))
        };
        change(&mut config);
        let metrics = Metrics::new();
        let log = Log::open(&config, metrics.clone()).unwrap();
        let shipping = Shipping::begin(&log, targets, &metrics);
        Self { directory, log, metrics, shipping }
    }

    fn audit(&self) -> PathBuf {
        self.directory.path().join("audit")
    }

    fn instance(&self) -> PathBuf {
        self.audit().join(INSTANCE)
    }

    async fn intend(&self, count: usize) {
        for _ in 0..count {
            self.log.intend(&Record::of(&create())).await.unwrap();
        }
    }

    /// Calls with their ends.
    async fn call(&self, count: usize) {
        for _ in 0..count {
            let intent = Record::of(&create());
            self.log.intend(&intent).await.unwrap();
            self.log.end(&end(&intent)).await.unwrap();
        }
    }

    /// Ends in order.
    async fn end(self) -> TempDir {
        self.log.close().await;
        self.shipping.end().await;
        self.directory
    }
}

/// Every secret is the same.
fn secret(_: &Credential) -> Result<SecretString, String> {
    Ok("s3cret".into())
}

fn file(name: &str, path: &Path) -> Config {
    Config::File(FileConfig { name: name.to_owned(), path: path.to_owned() })
}

/// The records that count, in order.
fn logged(audit: &Path) -> Vec<String> {
    let instances = Instance::all(audit).unwrap();
    let joined = Joined::of(&instances[..1], |_, _| true).unwrap();
    joined.map(|found| String::from_utf8(found.unwrap().record).unwrap()).collect()
}

fn lines(path: &Path) -> Vec<String> {
    fs::read_to_string(path).unwrap_or_default().lines().map(str::to_owned).collect()
}

async fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < PATIENCE, "{what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn a_second_file_has_the_log_line_by_line() {
    let directory = tempfile::tempdir().unwrap();
    let second = directory.path().join("second.jsonl");
    let shipped = Shipped::in_directory(directory, vec![file("second", &second)], |_| {});
    shipped.intend(30).await;
    let (audit, metrics) = (shipped.audit(), shipped.metrics.clone());
    let directory = shipped.end().await;
    let expected = logged(&audit);
    assert_eq!(lines(&second), expected);
    assert!(expected.last().unwrap().contains("checkpoint"), "the end of the log is shipped, too");
    assert_eq!(position::read(&audit.join(INSTANCE), "second").unwrap(), expected.len() as u64);
    assert_eq!(fs::metadata(&second).unwrap().permissions().mode() & 0o777, 0o600);
    let figures = metrics.encode();
    let count = format!("prebuild_gateway_audit_shipped_records_total{{sink=\"second\"}} {}", expected.len());
    assert!(figures.contains(&count), "{figures}");
    assert!(figures.contains("prebuild_gateway_audit_ship_lag_records{sink=\"second\"} 0"), "{figures}");
    drop(directory);
}

#[tokio::test]
async fn it_goes_on_where_it_was_left() {
    let directory = tempfile::tempdir().unwrap();
    let second = directory.path().join("second.jsonl");
    let mut directory = Some(directory);
    for _ in 0..3 {
        let sinks = vec![file("second", &second)];
        let shipped = Shipped::in_directory(directory.take().unwrap(), sinks, |_| {});
        shipped.intend(5).await;
        directory = Some(shipped.end().await);
    }
    let directory = directory.unwrap();
    assert_eq!(lines(&second), logged(&directory.path().join("audit")));
}

#[tokio::test]
async fn what_is_void_is_not_shipped() {
    let directory = tempfile::tempdir().unwrap();
    let second = directory.path().join("second.jsonl");
    let shipped = Shipped::in_directory(directory, vec![file("second", &second)], |_| {});
    shipped.intend(3).await;
    let newest = segment::list(&shipped.instance()).unwrap().pop().unwrap().path;
    fs::set_permissions(newest, fs::Permissions::from_mode(0o644)).unwrap();
    let begun = Instant::now();
    // What is written until it is noticed does not count, though it may stand there.
    while shipped.log.intend(&Record::of(&create())).await.is_err() {
        assert!(begun.elapsed() < PATIENCE);
        tokio::task::yield_now().await;
    }
    shipped.intend(3).await;
    let audit = shipped.audit();
    let directory = shipped.end().await;
    assert_eq!(segment::list(&audit.join(INSTANCE)).unwrap().len(), 2);
    let (expected, found) = (logged(&audit), lines(&second));
    // What was on stable storage until the file failed may have been shipped before; nothing is missing.
    assert!(expected.iter().all(|record| found.contains(record)));
    let extra = found.iter().filter(|record| !expected.contains(record)).count();
    let trusted = found.iter().position(|record| !expected.contains(record));
    assert!(extra <= 4, "{extra} from {trusted:?}");
    drop(directory);
}

#[tokio::test]
async fn a_sink_that_is_away_holds_up_nothing_and_gets_all_when_it_is_back() {
    let directory = tempfile::tempdir().unwrap();
    let (away, there) = (directory.path().join("away"), directory.path().join("there.jsonl"));
    let sinks = vec![file("away", &away.join("second.jsonl")), file("there", &there)];
    let shipped = Shipped::in_directory(directory, sinks, |_| {});
    shipped.intend(20).await;
    eventually("the other sink goes on", || lines(&there).len() > 20).await;
    let failures = "prebuild_gateway_audit_ship_failures_total{sink=\"away\"}";
    eventually("failures are counted", || shipped.metrics.encode().contains(failures)).await;
    assert_eq!(position::read(&shipped.instance(), "away").unwrap(), 0);
    fs::create_dir(&away).unwrap();
    eventually("it comes back", || lines(&away.join("second.jsonl")).len() > 20).await;
    let audit = shipped.audit();
    let directory = shipped.end().await;
    assert_eq!(lines(&away.join("second.jsonl")), logged(&audit));
    drop(directory);
}

/// Never lose what was not shipped, even past the cap (and say so); once it was shipped, remove it.
#[tokio::test]
async fn nothing_is_removed_that_a_sink_has_not_taken() {
    let directory = tempfile::tempdir().unwrap();
    let away = directory.path().join("away");
    let sinks = vec![file("away", &away.join("second.jsonl"))];
    let shipped = Shipped::in_directory(directory, sinks, |config| {
        config.segment_bytes = 2048;
        config.keep_bytes = Some(4096);
    });
    let first = || segment::list(&shipped.instance()).unwrap()[0].first;
    for _ in 0..6 {
        shipped.intend(4).await;
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    assert!(segment::list(&shipped.instance()).unwrap().len() > 4);
    assert_eq!(first(), 0);
    eventually("it is told", || shipped.log.fill().is_some_and(|warning| warning.figures.is_held)).await;
    fs::create_dir(&away).unwrap();
    eventually("it is removed", || first() > 0).await;
    let kept = lines(&away.join("second.jsonl"));
    assert!(kept[0].contains("\"sequence\":0,") && kept.len() as u64 >= first());
    eventually("it is counted", || {
        !shipped.metrics.encode().contains("prebuild_gateway_audit_segments_pruned_total 0")
    })
    .await;
    shipped.end().await;
}

#[tokio::test]
async fn a_line_that_a_crash_has_cut_is_ended_and_comes_again() {
    let directory = tempfile::tempdir().unwrap();
    let second = directory.path().join("second.jsonl");
    fs::write(&second, "{\"metadata\":{\"sequ").unwrap();
    let shipped = Shipped::in_directory(directory, vec![file("second", &second)], |_| {});
    shipped.intend(2).await;
    let audit = shipped.audit();
    let _directory = shipped.end().await;
    assert_eq!(lines(&second)[1..], logged(&audit));
}

#[test]
fn a_position_that_says_nothing_is_an_error_and_none_is_the_beginning() {
    let directory = tempfile::tempdir().unwrap();
    assert_eq!(position::read(directory.path(), "a").unwrap(), 0);
    for position in [0, 7, u64::MAX] {
        position::write(directory.path(), "a", position).unwrap();
        assert_eq!(position::read(directory.path(), "a").unwrap(), position);
    }
    fs::write(directory.path().join("position-a"), "x").unwrap();
    assert!(position::read(directory.path(), "a").is_err());
}
