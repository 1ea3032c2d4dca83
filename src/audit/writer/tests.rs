//! The pace of the writer.

use tempfile::TempDir;

use super::{Arc, AtomicBool, Fill, Journal, Metrics, RETRY, Told, Writer};
use crate::audit::{Config, open, reach::Positions};

#[test]
fn a_disk_that_is_gone_is_tried_at_intervals_however_many_groups_come() {
    let directory = TempDir::new().unwrap();
    let audit = directory.path().join("audit");
    let journal: Journal = open::journal(&Config::at(&audit), Positions::default()).unwrap();
    let told = Told {
        missed: Arc::default(),
        fold: Arc::default(),
        healthy: Arc::new(AtomicBool::new(true)),
        fill: Fill::default(),
    };
    let mut writer = Writer::new(journal, told, Metrics::new());
    std::fs::remove_dir_all(&audit).unwrap();
    writer.probe().unwrap_err();
    writer.reopen();
    std::fs::create_dir(&audit).unwrap();
    writer.reopen();
    assert!(!writer.journal.is_open(), "it was tried just now");
    writer.tried = writer.tried.map(|tried| tried - RETRY);
    writer.reopen();
    assert!(writer.journal.is_open());
}
