//! Retention, as the real writer has it: what it leaves of a log is good.

use std::{fs, path::Path, time::Duration};

use prebuild_gateway::{
    audit::{
        self, Detail, Log,
        read::{Instance, Line},
        verify::{Trust, verify},
    },
    telemetry::Metrics,
};
use tempfile::tempdir;
use tokio::time::timeout;

use super::calls::{Calls, policies};

/// More than twice what is kept.
const CALLS: usize = 800;
const PATIENCE: Duration = Duration::from_secs(60);

fn has_pruned(audit: &Path) -> bool {
    let instance = Instance::all(audit).unwrap().remove(0);
    let mut is = false;
    for segment in instance.segments() {
        // It may be removed meanwhile.
        let Ok(mut lines) = segment.lines() else { continue };
        while let Ok(Line::Record(record)) = lines.next() {
            is |= audit::read::View::of(record).unwrap().stage() == "pruned";
        }
    }
    is
}

/// It is left here for those who read logs by the page: tests/interop/test_audit_stages.py.
#[tokio::test(flavor = "multi_thread")]
async fn what_retention_leaves_of_a_log_is_good() {
    let audit = Path::new(env!("CARGO_TARGET_TMPDIR")).join("pruned");
    let _not_there = fs::remove_dir_all(&audit);
    let directory = tempdir().unwrap();
    let [policy, _] = policies(directory.path());
    let config = audit::Config {
        instance: "gateway-0".to_owned(),
        segment_bytes: 64 << 10,
        keep_bytes: Some(256 << 10),
        ..audit::Config::at(&audit)
    };
    let (log, detail) = (Log::open(&config, Metrics::new()).unwrap(), Detail::of(&config).unwrap());
    Calls::random(CALLS).record_into(&policy, &log, &detail).await;
    let prunes = async {
        while !has_pruned(&audit) {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    timeout(PATIENCE, prunes).await.expect("pruned in time");
    log.close().await;
    let report = verify(&Instance::all(&audit).unwrap()[0], &Trust::Beside, &[]).unwrap();
    assert!(report.is_good() && report.first > 0, "{report:?}");
}
