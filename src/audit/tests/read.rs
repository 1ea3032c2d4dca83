//! Reads an audit directory as tests look at it: every record as one flat object. Integration tests include this file,
//! too.

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde_json::{Map, Value, json};

/// What the log tells of itself, call or no call.
const OF_ITSELF: [&str; 3] = ["segment", "checkpoint", "shutdown"];

/// The records of calls, and gaps, of all instances.
pub(crate) fn records(directory: &Path) -> Vec<Value> {
    let records = whole(directory).into_iter().map(|record| flat(&record));
    records.filter(|record| !OF_ITSELF.contains(&record["stage"].as_str().unwrap())).collect()
}

/// Every record as it stands in the files. Half a line at the end of one is being written.
pub(crate) fn whole(directory: &Path) -> Vec<Value> {
    let mut records = Vec::new();
    for file in files(directory) {
        let text = fs::read_to_string(file).unwrap_or_default();
        let end = text.rfind('\n').unwrap_or_default();
        let lines = text[..end].split('\n').filter(|line| !line.is_empty());
        // Of a file that was cut there may be a part of a line.
        records.extend(lines.filter_map(|line| serde_json::from_str::<Value>(line).ok()));
    }
    records
}

/// The log's files, in the order of their records.
pub(crate) fn files(directory: &Path) -> Vec<PathBuf> {
    let mut found: Vec<_> = below(directory).iter().flat_map(|path| below(path)).collect();
    found.extend(below(directory));
    found.retain(|path| path.extension().is_some_and(|extension| extension == "jsonl"));
    found.sort();
    found
}

/// All of them, one after the other.
pub(crate) fn text(directory: &Path) -> String {
    files(directory).iter().map(|file| fs::read_to_string(file).unwrap_or_default()).collect()
}

fn below(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).into_iter().flatten();
    entries.flatten().map(|entry| entry.path()).collect()
}

/// One object without levels but for `facts` and `end`; what is absent is not there.
pub(crate) fn flat(record: &Value) -> Value {
    let unmapped = &record["unmapped"];
    let method = &record["api"]["operation"];
    let no_method = method == "unknown" || method.as_str().is_some_and(|name| name.starts_with("audit."));
    let peer = &record["src_endpoint"];
    let port = peer["port"].as_u64().map(|port| format!(":{port}")).unwrap_or_default();
    let peer = peer["ip"].as_str().map(|ip| format!("{ip}{port}"));
    present(json!({
        "stage": unmapped["stage"],
        "time": unmapped["time"],
        "request_id": record["api"]["request"]["uid"],
        "trace_id": unmapped["trace_id"],
        "org": record["actor"]["user"]["org"]["uid"],
        "subject": record["actor"]["user"]["uid"],
        "credential": record["actor"]["user"]["credential_uid"],
        "scopes": unmapped["scopes"],
        "method": if no_method { &Value::Null } else { method },
        "protocol": unmapped["protocol"],
        "peer": peer,
        "dry_run": unmapped["dry_run"],
        "decided": unmapped["decided"],
        "policy": record["actor"]["authorizations"][0]["policy"]["version"],
        "rulings": unmapped["rulings"],
        "facts": unmapped["facts"],
        "attempts": look_ups(&unmapped["attempts"]),
        "tried": unmapped["attempts"],
        "unknown_fields": unmapped["unknown_fields"]["places"],
        "unknown": unmapped["unknown_fields"],
        "request": record["api"]["request"]["data"],
        "end": end(record),
        "count": unmapped["count"],
        "first": unmapped["first"],
        "last": unmapped["last"],
        "truncated": unmapped["truncated"],
    }))
}

fn end(record: &Value) -> Value {
    let (unmapped, response) = (&record["unmapped"], &record["api"]["response"]);
    if response.is_null() {
        return Value::Null;
    }
    let objects = record["resources"].as_array().into_iter().flatten();
    let objects: Vec<_> = objects.map(|object| object["uid"].clone()).collect();
    present(json!({
        "decision": unmapped["decision"],
        "code": response["message"],
        "reason": response["error"],
        "rule": unmapped["rule"],
        "forwarded": unmapped["forwarded"],
        "client": unmapped["client"],
        "latency_us": unmapped["latency_us"]["recorded"],
        "objects": objects,
        "drift": unmapped["drift"],
        "bounds_crossed": unmapped["bounds_crossed"],
        "pages": unmapped["pages"],
        "mismatch": unmapped["mismatch"],
        "response": response["data"],
    }))
}

/// What was read upstream before the call itself.
fn look_ups(attempts: &Value) -> Value {
    let before = attempts.as_array().into_iter().flatten();
    let before =
        before.filter(|attempt| ["organization", "lookup"].contains(&attempt["kind"].as_str().unwrap()));
    let found: Vec<_> = before
        .map(|attempt| present(json!({"kind": attempt["kind"], "object": attempt["object"]})))
        .collect();
    if found.is_empty() { Value::Null } else { found.into() }
}

fn present(object: Value) -> Value {
    let Value::Object(members) = object else { return object };
    let is_there = |value: &Value| !value.is_null() && value.as_array().is_none_or(|list| !list.is_empty());
    members.into_iter().filter(|(_, value)| is_there(value)).collect::<Map<_, _>>().into()
}
