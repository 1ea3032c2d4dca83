//! The log on a real disk: what is there when, what becomes of odd input, and of a disk that goes and comes back.

use std::{
    collections::HashMap,
    fs,
    path::{Path, PathBuf},
    time::Instant,
};

use serde_json::Value;
use tempfile::TempDir;
use tokio::{task::JoinSet, time::timeout};

use super::{Audit, Client, Config, Detail, Log, PATIENCE, Record, Unavailable, level::Level, segment};
use crate::{
    call::{Call, Context, RequestId, UnknownField, tests::call},
    error::{Error, Reason},
    proto::gitpod::v1 as pb,
    rpc::{CREATE_PREBUILD, GET_PREBUILD},
    telemetry::Metrics,
};

mod disk;
mod policy;
pub(super) mod read;
mod stages;
mod waits;

const INSTANCE: &str = "gateway-0";

fn config(directory: &Path) -> Config {
    Config { instance: INSTANCE.to_owned(), ..Config::at(directory) }
}

/// A log in a directory of its own.
struct Fixture {
    directory: TempDir,
    log: Log,
}

impl Fixture {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let log = Log::open(&config(&directory.path().join("audit")), Metrics::new()).unwrap();
        Self { directory, log }
    }

    /// What its records tell, at this level.
    fn detail(&self, level: Level) -> Detail {
        let mut config = Config::at(self.directory.path().join("keys"));
        config.level.default = level;
        Detail::of(&config).unwrap()
    }

    fn audit(&self) -> PathBuf {
        self.directory.path().join("audit")
    }

    fn instance(&self) -> PathBuf {
        self.audit().join(INSTANCE)
    }

    /// The segment that is written.
    fn file(&self) -> PathBuf {
        segment::list(&self.instance()).unwrap().pop().unwrap().path
    }

    /// What all segments hold.
    fn text(&self) -> String {
        read::text(&self.audit())
    }

    /// The records on disk but for those of the log's own.
    fn records(&self) -> Vec<Value> {
        read::records(&self.audit())
    }

    fn stages(&self) -> Vec<String> {
        self.records().iter().map(|record| record["stage"].as_str().unwrap().to_owned()).collect()
    }
}

pub(super) fn create() -> Call {
    call(&CREATE_PREBUILD, &pb::CreatePrebuildRequest { project_id: "p".to_owned(), ..Default::default() })
}

/// The call of an intent has ended.
pub(super) fn end(intent: &Record) -> Record {
    let mut end = intent.clone();
    let context = create().context;
    context.set_intended();
    end.ends(&Err(Error::refuse(Reason::UpstreamOutcomeUnknown)), &context, Client::There);
    end
}

fn get(prebuild_id: String) -> Call {
    call(&GET_PREBUILD, &pb::GetPrebuildRequest { prebuild_id })
}

#[tokio::test]
async fn a_record_is_on_disk_before_append_returns() {
    let fixture = Fixture::new();
    for count in 1..=20 {
        let record = Record::of(&create());
        let id = record.request_id().unwrap().to_string();
        fixture.log.intend(&record).await.unwrap();
        let records = fixture.records();
        assert_eq!(records.len(), count);
        assert_eq!(records[count - 1]["request_id"], id);
        assert_eq!(records[count - 1]["stage"], "intent");
        assert_eq!(records[count - 1]["org"], "acme");
        assert_eq!(records[count - 1]["method"], "gitpod.v1.PrebuildService/CreatePrebuild");
    }
}

/// At least every second in which there is something new.
#[tokio::test]
async fn a_checkpoint_is_kept_elsewhere_within_a_second() {
    let directory = tempfile::tempdir().unwrap();
    let kept = directory.path().join("kept");
    let audit = Config { checkpoints: Some(kept.clone()), ..config(&directory.path().join("audit")) };
    let log = Log::open(&audit, Metrics::new()).unwrap();
    let mut last = String::new();
    for _ in 0..2 {
        log.intend(&Record::of(&create())).await.unwrap();
        let is_told = async {
            loop {
                let note = fs::read_to_string(kept.join(INSTANCE)).unwrap_or_default();
                if note != last {
                    break note;
                }
                tokio::time::sleep(std::time::Duration::from_millis(10)).await;
            }
        };
        // Of a machine that is busy with other things, somewhat more.
        last = timeout(std::time::Duration::from_millis(1500), is_told).await.expect("told in time");
    }
    log.close().await;
}

#[tokio::test]
async fn a_thousand_at_once_are_all_there_once() {
    let fixture = Fixture::new();
    let mut tasks = JoinSet::new();
    for _ in 0..1000 {
        let (log, record) = (fixture.log.clone(), Record::of(&create()));
        tasks.spawn(async move {
            let id = record.request_id().unwrap().to_string();
            log.intend(&record).await.map(|()| id)
        });
    }
    let mut expected = HashMap::new();
    while let Some(id) = tasks.join_next().await {
        expected.insert(id.unwrap().unwrap(), 1);
    }
    let mut found = HashMap::new();
    for record in fixture.records() {
        *found.entry(record["request_id"].as_str().unwrap().to_owned()).or_insert(0) += 1;
    }
    assert_eq!(found, expected);
}

#[tokio::test]
async fn a_record_is_one_short_line_whatever_is_in_it() {
    let fixture = Fixture::new();
    let huge = "x".repeat(64 << 10);
    let odd = [
        "two\nlines",
        "two\r\nlines",
        "quo\"te",
        "back\\slash",
        "nul\0",
        "\u{1b}[31mred",
        "\u{2028}\u{2029}\u{85}",
        "{\"stage\":\"outcome\"}",
        "é漢🦀",
        "\u{202e}",
        "",
        &huge,
    ];
    for value in odd {
        let call = get(value.to_owned());
        let unknown = UnknownField { place: value.to_owned(), name: Some(value.to_owned()) };
        call.context.set_unknown(vec![unknown; 100]);
        fixture.log.intend(&Record::of(&call)).await.unwrap();
    }
    let records = fixture.records();
    assert_eq!(records.len(), odd.len());
    for (record, value) in records.iter().zip(odd) {
        let cut: String = value.chars().take(64).collect();
        // What is no id may be anything, also a secret.
        let id = if value.is_empty() { "" } else { "invalid" };
        assert_eq!(record["facts"]["prebuild"].as_str().unwrap_or_default(), id);
        assert_eq!(record["unknown_fields"][0], cut);
        assert_eq!(record["unknown_fields"].as_array().unwrap().len(), 16);
    }
    let text = fixture.text();
    assert!(text.lines().all(|line| line.len() < 16 << 10), "a line is long");
    assert!(text.bytes().all(|byte| byte == b'\n' || (b' '..=b'~').contains(&byte)), "the rest is escaped");
}

#[tokio::test]
async fn what_a_filter_names_is_bounded() {
    let fixture = Fixture::new();
    let filter = pb::list_prebuilds_request::Filter {
        project_ids: vec!["y".repeat(64 << 10); 100],
        phases: vec![1; 10_000],
        triggered_by: vec![1; 10_000],
        ..Default::default()
    };
    let request = pb::ListPrebuildsRequest { filter: Some(filter), ..Default::default() };
    fixture.log.intend(&Record::of(&call(&crate::rpc::LIST_PREBUILDS, &request))).await.unwrap();
    let text = fixture.text();
    assert!(text.len() < 8 << 10, "{}", text.len());
    assert_eq!(fixture.records()[0]["facts"]["filter"]["projects"].as_array().unwrap().len(), 25);
}

#[tokio::test]
async fn close_writes_everything_and_ends_the_writer() {
    let fixture = Fixture::new();
    let context = Context::new(RequestId::new(), Instant::now(), None);
    let audit = Audit::new(fixture.log.clone(), fixture.detail(Level::default()));
    for _ in 0..500 {
        fixture.log.room().await.unwrap().take(&Record::of(&create()));
        audit.refused(&context, &Error::refuse(Reason::IdentityConflict));
    }
    fixture.log.close().await;
    assert_eq!(fixture.records().len(), 1000);
    let late = fixture.log.intend(&Record::of(&create())).await;
    assert_eq!(late, Err(Unavailable::Closed));
    // A second time there is nothing left to do.
    timeout(PATIENCE, fixture.log.close()).await.unwrap();
}

#[test]
fn a_directory_that_cannot_be_made_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("file");
    fs::write(&file, "").unwrap();
    let error = Log::open(&config(&file), Metrics::new()).unwrap_err();
    assert!(error.to_string().contains("/file`"), "{error}");
}
