//! Upstream, clients and log, side by side.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fs,
    path::{Path, PathBuf},
};

use prebuild_gateway::audit::{
    read::Instance,
    verify::{Report, Trust, verify},
};
use serde_json::Value;
use uuid::Uuid;

use super::load::Ended;

/// Answers of the gateway that disclose nothing of what upstream said (promise P2).
const SAYS_NOTHING: [&str; 6] = [
    "AUDIT_UNAVAILABLE",
    "DEADLINE_EXCEEDED",
    "OUTCOME_NOT_RECORDED",
    "UPSTREAM_OUTCOME_UNKNOWN",
    "UPSTREAM_UNREACHABLE",
    "OVERLOADED",
];

/// What the log says of one call.
#[derive(Debug, Default)]
pub(crate) struct Logged {
    pub(crate) intents: usize,
    pub(crate) ends: Vec<String>,
}

/// The log is good from end to end, by its own key: what has happened to it was told.
pub(crate) fn verified(audit: &Path) -> Report {
    let instances = Instance::all(audit).unwrap();
    assert_eq!(instances.len(), 1);
    let report = verify(&instances[0], &Trust::Beside, &[]).unwrap();
    assert!(report.is_good(), "{report:?}");
    assert!(report.signed.is_some());
    report
}

/// What the log says, by project. Void records do not count.
pub(crate) fn logged(audit: &Path) -> BTreeMap<Uuid, Logged> {
    let mut by_request: HashMap<String, (Option<Uuid>, Logged)> = HashMap::new();
    for record in records(&audit.join("gateway-0")) {
        let Some(request) = record["api"]["request"]["uid"].as_str() else { continue };
        let (project, logged) = by_request.entry(request.to_owned()).or_default();
        if let Some(id) = record["unmapped"]["facts"]["project"].as_str() {
            *project = id.parse().ok();
        }
        match record["unmapped"]["stage"].as_str().unwrap() {
            "intent" => logged.intents += 1,
            end @ ("outcome" | "reject" | "recovered") => logged.ends.push(end.to_owned()),
            other => panic!("{other} of a request"),
        }
    }
    by_request.into_values().filter_map(|(project, logged)| Some((project?, logged))).collect()
}

/// The records of a log that count, in order.
pub(crate) fn records(instance: &Path) -> Vec<Value> {
    let mut records: Vec<Value> = Vec::new();
    for file in segments(instance) {
        let text = fs::read_to_string(&file).unwrap();
        for line in text.lines() {
            let Ok(record) = serde_json::from_str::<Value>(line) else { continue };
            if record["unmapped"]["stage"] == "segment" {
                let trusted = record["unmapped"]["trusted"].as_u64().unwrap();
                while records
                    .last()
                    .is_some_and(|last| last["metadata"]["sequence"].as_u64().unwrap() >= trusted)
                {
                    records.pop();
                }
            }
            records.push(record);
        }
    }
    records
}

pub(crate) fn segments(instance: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(instance).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<_> =
        entries.filter(|path| path.extension().is_some_and(|end| end == "jsonl")).collect();
    files.sort();
    files
}

/// Every violation of P1, P2 and P3, in a line.
pub(crate) fn violations(
    seen: &BTreeSet<Uuid>,
    got: &BTreeMap<Uuid, Ended>,
    logged: &BTreeMap<Uuid, Logged>,
) -> Vec<String> {
    let nothing = Logged::default();
    let of = |project: &Uuid| logged.get(project).unwrap_or(&nothing);
    let mut found = Vec::new();
    for project in seen {
        if of(project).intents == 0 {
            found.push(format!("P1: upstream saw {project}, and there is no intent"));
        }
    }
    for (project, ended) in got {
        let tells = match ended {
            Ended::Made | Ended::Refused => true,
            Ended::Stopped(reason) => !SAYS_NOTHING.contains(&reason.as_str()),
            Ended::Broken => false,
        };
        if tells && !of(project).ends.iter().any(|end| end == "outcome") {
            found.push(format!("P2: a client got {ended:?} for {project}, and there is no outcome"));
        }
    }
    for (project, Logged { intents, ends }) in logged {
        if *intents > 1 || *intents == 1 && ends.len() != 1 {
            found.push(format!("P3: {project} has {intents} intents, and the ends {ends:?}"));
        }
    }
    found
}
