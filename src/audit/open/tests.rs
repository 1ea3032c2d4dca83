//! Logs beside the own one: closed if nobody else will, and let alone otherwise.

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path};

use serde_json::Map;
use tempfile::TempDir;

use super::{Config, Instance, Journal, Positions, Signer, journal};
use crate::{
    audit::{
        record::Record,
        segment,
        verify::{Trust, verify},
    },
    call::RequestId,
    telemetry::metrics::AuditStage,
};

fn config(directory: &Path, instance: &str) -> Config {
    Config { instance: instance.to_owned(), ..Config::at(directory) }
}

fn start(directory: &Path, instance: &str) -> Journal {
    journal(&config(directory, instance), Positions::default()).unwrap()
}

/// A log with a call under way, whose process was killed.
fn crash(directory: &Path, instance: &str) {
    let mut journal = start(directory, instance);
    let intent = Record::own(AuditStage::Intent, Map::new()).with_request(RequestId::new()).draft();
    journal.append(&[intent], true).unwrap();
}

fn text(directory: &Path, instance: &str) -> String {
    let files = segment::list(&directory.join(instance)).unwrap();
    files.iter().map(|file| fs::read_to_string(&file.path).unwrap()).collect()
}

fn files(directory: &Path, instance: &str) -> usize {
    segment::list(&directory.join(instance)).unwrap().len()
}

#[test]
fn what_a_crash_left_open_beside_it_is_closed() {
    let directory = TempDir::new().unwrap();
    let audit = directory.path().join("new/audit");
    crash(&audit, "gone");
    let log = start(&audit, "gateway-0");
    let gone = text(&audit, "gone");
    for stage in ["intent", "recovered", "shutdown"] {
        assert_eq!(gone.matches(&format!(r#""stage":"{stage}""#)).count(), 1, "{stage}");
    }
    let last = segment::list(&audit.join("gone")).unwrap().pop().unwrap();
    assert!(fs::metadata(last.path).unwrap().permissions().readonly());
    // It is ended now: nothing is added at the next start.
    log.close().unwrap();
    start(&audit, "gateway-0").close().unwrap();
    assert_eq!(text(&audit, "gone"), gone);
    for log in crate::audit::read::Instance::all(&audit).unwrap() {
        assert_eq!(verify(&log, &Trust::Beside, &[]).unwrap().fault, None);
    }
}

#[test]
fn a_log_that_another_process_writes_is_let_alone() {
    let directory = TempDir::new().unwrap();
    let other = start(directory.path(), "other");
    start(directory.path(), "gateway-0").close().unwrap();
    assert_eq!(files(directory.path(), "other"), 1);
    other.close().unwrap();
    assert_eq!(Instance::others(directory.path(), "gateway-0").unwrap(), ["other"]);
}

#[test]
fn what_is_no_log_is_none_beside_it() {
    let directory = TempDir::new().unwrap();
    start(directory.path(), "other").close().unwrap();
    fs::create_dir(directory.path().join("empty")).unwrap();
    std::os::unix::fs::symlink(directory.path().join("other"), directory.path().join("link")).unwrap();
    assert_eq!(Instance::others(directory.path(), "gateway-0").unwrap(), ["other"]);
}

/// Neither is any reason not to start.
#[test]
fn what_was_altered_or_is_signed_by_another_key_is_left_as_it_is() {
    let directory = TempDir::new().unwrap();
    let audit = directory.path();
    crash(audit, "altered");
    let file = segment::list(&audit.join("altered")).unwrap().pop().unwrap().path;
    fs::write(&file, fs::read_to_string(&file).unwrap().replacen("metadata", "Metadata", 1)).unwrap();
    let altered = text(audit, "altered");
    crash(audit, "other-key");
    fs::remove_file(audit.join("signing-key.pem")).unwrap();
    start(audit, "gateway-0").close().unwrap();
    assert_eq!(text(audit, "altered"), altered);
    assert_eq!((files(audit, "altered"), files(audit, "other-key")), (1, 1));
    // With the key that the log has, it is closed; the own log may have a new one.
    let own = Signer::of(&config(audit, "gateway-0")).unwrap();
    assert!(own.named("gateway-0").unwrap().is_of(&audit.join("gateway-0")));
    assert!(!own.named("other-key").unwrap().is_of(&audit.join("other-key")));
    start(audit, "other-key").close().unwrap();
    assert_eq!(files(audit, "other-key"), 2);
    assert!(own.named("other-key").unwrap().is_of(&audit.join("other-key")));
    let mode = fs::metadata(audit.join("other-key/key.pub")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}
