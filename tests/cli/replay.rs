//! `audit replay` of the log of a gateway that ran.

use std::path::Path;

use serde_json::Value;

use super::policy::configured;
use crate::{Running, run, text, write_closed};

/// What the gateway runs under.
const PRESENT: &str = "
[limits]
max_timeout = '1h'
default_timeout = '40min'
";
const PERMISSION_DENIED: i32 = 64 + 7;

/// A gateway that judges by [`PRESENT`], with what it has told of itself.
fn dev(directory: &Path) -> (Running, Value) {
    configured(directory, PRESENT);
    let dev = Running::dev(&["--print", "json", "--policy", directory.join("policy.toml").to_str().unwrap()]);
    let told = serde_json::from_str(&dev.line()).unwrap();
    (dev, told)
}

fn replay(directory: &Path, told: &Value, policy: &str, arguments: &[&str]) -> (Option<i32>, String) {
    let candidate = directory.join("candidate");
    std::fs::create_dir_all(&candidate).unwrap();
    let config = configured(&candidate, policy);
    // The demo's first org; nothing of it but its name is looked at.
    let org = told["orgs"][0]["id"].as_str().unwrap();
    let good = std::fs::read_to_string(&config).unwrap().replace("id = \"acme\"", &format!("id = \"{org}\""));
    write_closed(config.as_ref(), good);
    let (audit, policy) = (told["audit"].as_str().unwrap(), candidate.join("policy.toml"));
    let command = ["audit", "replay", audit, "--config", &config, "--policy", policy.to_str().unwrap()];
    let output = run(&[&command, arguments].concat());
    assert_eq!(text(&output.stderr), "");
    (output.status.code(), text(&output.stdout))
}

#[test]
fn a_gateways_calls_flip_where_a_candidate_decides_otherwise() {
    let directory = tempfile::tempdir().unwrap();
    let (dev, told) = dev(directory.path());
    let (gateway, key) = (told["gateway"].as_str().unwrap(), told["orgs"][0]["key"].as_str().unwrap());
    let address = format!("http://{gateway}");
    let call = |method: &str, json: &str| {
        run(&["call", method, json, "--address", &address, "--key", key]).status.code().unwrap()
    };
    let project = told["orgs"][0]["projects"][0].as_str().unwrap();
    let create =
        |spec: &str| call("CreatePrebuild", &format!(r#"{{"projectId":"{project}","spec":{spec}}}"#));
    assert_eq!(create(r#"{"timeout":"1800s"}"#), 0);
    assert_eq!(create(r#"{"timeout":"3600s"}"#), 0);
    // As the policy has it: 40 min.
    assert_eq!(create("{}"), 0);
    assert_eq!(create(r#"{"timeout":"7200s"}"#), PERMISSION_DENIED);
    assert_eq!(call("ListPrebuilds", "{}"), 0);
    assert_ne!(create(r#"{"timeout":"7201s"}"#), 0);
    assert_eq!(dev.stop(), Some(0));

    let replay = |policy: &str, arguments: &[&str]| replay(directory.path(), &told, policy, arguments);
    let (code, said) = replay(PRESENT, &[]);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains(": 5 calls judged, 5 as before, 0 refused now, 0 allowed now\n"), "{said}");
    assert!(said.contains("not judged:        1  GUARDRAIL, before the rules\n"), "{said}");

    // Stricter: an hour is too long, and so is what counts as an hour.
    let (code, said) = replay("limits.max_timeout = '50min'", &[]);
    assert_eq!(code, Some(1), "{said}");
    let lines: Vec<Vec<_>> = said.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(lines[0], ["now", "org", "rule", "caller", "calls", "first", "last", "example"]);
    assert_eq!(lines[1][..2], ["refused", told["orgs"][0]["id"].as_str().unwrap()], "{said}");
    assert_eq!((lines[1][2], lines[1][4]), ("limits.max_timeout", "2"), "{said}");
    assert!(said.contains(": 5 calls judged, 3 as before, 2 refused now, 0 allowed now\n"), "{said}");

    // Looser.
    let (code, said) = replay("limits.max_timeout = '2h'", &["--json"]);
    assert_eq!(code, Some(1), "{said}");
    let lines: Vec<Value> = said.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((lines.len(), &lines[0]["flip"]["now"]), (2, &"allowed".into()), "{said}");
    assert_eq!(lines[1]["flips"], serde_json::json!({ "refused": 0, "allowed": 1 }));
}
