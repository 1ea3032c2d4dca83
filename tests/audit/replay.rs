//! `audit replay`: what another policy would make of the calls on record.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use serde_json::{Value, json};
use tempfile::{TempDir, tempdir};

use super::{
    calls::{Calls, Said, configure, policies},
    forge::{Forge, request_id},
};

const PROGRAM: &str = env!("CARGO_BIN_EXE_prebuild-gateway");
/// In seconds, unoptimised. `PREBUILD_GATEWAY_REPLAY_CALLS=125000` has more than a hundred thousand that are judged.
const CALLS: usize = 2_000;

fn count() -> usize {
    std::env::var("PREBUILD_GATEWAY_REPLAY_CALLS").map_or(CALLS, |count| count.parse().unwrap())
}

/// A log, and the policies that it is replayed under.
struct Fixture {
    directory: TempDir,
    present: PathBuf,
    candidate: PathBuf,
}

/// What a replay has said.
struct Told {
    code: i32,
    /// What would become of the calls that flip, by request id.
    flips: BTreeMap<String, String>,
    sums: Value,
}

impl Fixture {
    fn new() -> Self {
        let directory = tempdir().unwrap();
        let [present, candidate] = policies(directory.path());
        configure(&directory.path().join("gateway.toml"));
        Self { directory, present, candidate }
    }

    fn at(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn command(&self, policy: &Path, arguments: &[&str]) -> (i32, String, String) {
        let mut command = Command::new(PROGRAM);
        command.args(["audit", "replay"]).arg(self.at("audit")).arg("--config").arg(self.at("gateway.toml"));
        let output =
            command.arg("--policy").arg(policy).args(arguments).stdin(Stdio::null()).output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
    }

    fn replay(&self, policy: &Path, arguments: &[&str]) -> Told {
        let (code, out, err) = self.command(policy, &[&["--json"], arguments].concat());
        assert_eq!(err, "", "{out}");
        let mut lines: Vec<Value> = out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let sums = lines.pop().unwrap();
        let of = |flip: &Value, name: &str| flip["flip"][name].as_str().unwrap().to_owned();
        let flips: BTreeMap<_, _> =
            lines.iter().map(|flip| (of(flip, "request_id"), of(flip, "now"))).collect();
        assert_eq!(flips.len(), lines.len(), "a call flips once");
        Told { code, flips, sums }
    }
}

impl Told {
    fn judged(&self) -> u64 {
        self.sums["judged"].as_u64().unwrap()
    }

    /// Of every reason.
    fn not_judged(&self) -> u64 {
        let left = self.sums["not_judged"].as_object().unwrap();
        let before = left["before_rules"].as_object().unwrap().values();
        left.values().chain(before).filter_map(Value::as_u64).sum()
    }
}

/// Which calls the two policies decide otherwise, as the gateway's stages have it.
fn differing(present: &[Said], candidate: &[Said]) -> BTreeMap<String, String> {
    let both = present.iter().zip(candidate);
    let flips = both.filter_map(|(one, other)| {
        assert_eq!(one.request, other.request);
        let now = match (one.passed, other.passed) {
            (Some(true), Some(false)) => "refused",
            (Some(false), Some(true)) => "allowed",
            _ => return None,
        };
        Some((one.request.clone(), now.to_owned()))
    });
    flips.collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_policy_flips_nothing_and_another_one_what_it_decides_otherwise() {
    let fixture = Fixture::new();
    let count = count();
    let calls = Calls::random(count);
    let present = calls.record(&fixture.present, &fixture.at("audit")).await;
    let candidate = calls.record(&fixture.candidate, &fixture.at("elsewhere")).await;
    let passed = present.iter().filter(|said| said.passed == Some(true)).count();
    let refused = present.iter().filter(|said| said.passed == Some(false)).count();
    assert!(passed > count / 4 && refused > count / 10, "{passed} and {refused}");

    let same = fixture.replay(&fixture.present, &[]);
    assert_eq!((same.code, &same.flips), (0, &BTreeMap::new()), "{}", same.sums);
    assert_eq!(same.judged() + same.not_judged(), count as u64, "every call counts once: {}", same.sums);
    let ruled = present.iter().filter(|said| said.passed.is_some()).count() as u64;
    let folded = same.sums["not_judged"]["folded"].as_u64().unwrap();
    assert!(same.judged() <= ruled && ruled <= same.judged() + folded, "{ruled}: {}", same.sums);
    for never in ["missing", "object_not_on_record", "org_not_in_config", "unreadable"] {
        assert_eq!(same.sums["not_judged"][never], 0, "{}", same.sums);
    }
    let before = same.sums["not_judged"]["before_rules"].as_object().unwrap();
    let reasons: BTreeSet<_> = before.keys().map(String::as_str).collect();
    assert_eq!(reasons, BTreeSet::from(["GUARDRAIL", "NOT_FOUND", "RATE_LIMITED", "SCOPE_MISSING"]));

    let expected = differing(&present, &candidate);
    // What is planted, and nothing else.
    for (request, now) in &expected {
        let said = present.iter().find(|said| said.request == *request).unwrap();
        assert_eq!(said.subject, if now == "refused" { "planted" } else { "janitor" });
    }
    let other = fixture.replay(&fixture.candidate, &[]);
    println!(
        "{} calls, {} judged: none flips under the same policy, {} of {} planted under the other",
        count,
        same.judged(),
        other.flips.len(),
        expected.len()
    );
    assert_eq!((other.code, &other.flips), (1, &expected), "{}", other.sums);
    let groups = other.sums["groups"].as_array().unwrap();
    let told: Vec<_> = groups
        .iter()
        .map(|group| (group["rule"].as_str().unwrap(), group["now"].as_str().unwrap()))
        .collect();
    assert_eq!(told, [("rules.added", "refused"), ("rules.dropped", "allowed")]);
    let counted: u64 = groups.iter().map(|group| group["count"].as_u64().unwrap()).sum();
    assert_eq!(counted, expected.len() as u64);

    // Only a part of them.
    let part = fixture.replay(&fixture.candidate, &["--org", "globex"]);
    assert_eq!((part.code, part.flips.len()), (0, 0));
    assert!(0 < part.judged() && part.judged() < other.judged());
    let [since, until] = ["2026-09-25T00:00:00Z", "2026-09-28T00:00:00Z"];
    let within = fixture.replay(&fixture.candidate, &["--since", since, "--until", until]);
    let around = ["--until", since, "--since", until];
    let before = fixture.replay(&fixture.candidate, &around[..2]);
    let after = fixture.replay(&fixture.candidate, &around[2..]);
    let judged = within.judged() + before.judged() + after.judged();
    assert_eq!((judged, within.judged() > 0), (other.judged(), true));
}

/// Another default is judged, too: what was written into a request is told from what was said in it.
#[tokio::test(flavor = "multi_thread")]
async fn a_candidate_writes_its_own_defaults() {
    let fixture = Fixture::new();
    let text = fs::read_to_string(&fixture.present).unwrap();
    let bounds = "max_timeout = { value = \"90min\", share = 0.5, candidate = \"30min\" }\ndefault_timeout = \"45min\"";
    assert!(text.contains(bounds));
    // With a shorter default what says no timeout passes; without one it counts as an hour.
    let bounded = |bound: &str| text.replace(bounds, bound);
    fs::write(&fixture.present, bounded("max_timeout = \"50min\"\ndefault_timeout = \"45min\"")).unwrap();
    fs::write(&fixture.candidate, bounded("max_timeout = \"50min\"")).unwrap();
    let rules = |policy: &Path| policy.with_file_name("rules.cedar");
    fs::copy(rules(&fixture.present), rules(&fixture.candidate)).unwrap();
    let calls = Calls::random(500);
    let present = calls.record(&fixture.present, &fixture.at("audit")).await;
    let candidate = calls.record(&fixture.candidate, &fixture.at("elsewhere")).await;
    let expected = differing(&present, &candidate);
    assert!(!expected.is_empty());
    let told = fixture.replay(&fixture.candidate, &[]);
    assert_eq!((told.code, told.flips), (1, expected));
}

#[test]
fn what_is_asked_wrongly_is_no_flip() {
    let fixture = Fixture::new();
    let (code, _, err) = fixture.command(&fixture.present, &[]);
    assert_eq!(code, 2, "there is no log: {err}");
    fs::create_dir(fixture.at("audit")).unwrap();
    let (code, _, err) = fixture.command(&fixture.present, &[]);
    assert_eq!((code, err.contains("there is no audit log")), (2, true), "{err}");
    let (code, ..) = fixture.command(&fixture.present, &["--since", "yesterday"]);
    assert_eq!(code, 2);
    fs::write(&fixture.candidate, "limits.max_timeout = '3h'").unwrap();
    let (code, _, err) = fixture.command(&fixture.candidate, &[]);
    assert_eq!((code, err.contains("limits.max_timeout: must be from 1s to 2h")), (78, true), "{err}");
    let (code, _, err) = fixture.command(&fixture.at("nothing.toml"), &[]);
    assert_eq!(code, 78, "{err}");
}

/// One record of a call of acme's that rules let pass.
fn told(call: u64) -> (Value, Value) {
    let unmapped = json!({
        "time": "2026-11-30T00:53:20Z",
        "decided": "2026-11-30T00:53:20Z",
        "protocol": "grpc",
        "scopes": ["read"],
        "facts": {},
    });
    let beside = json!({
        "actor": { "user": { "uid": "ci", "org": { "uid": if call == 9 { "gone" } else { "acme" } } } },
        "api": { "operation": "gitpod.v1.PrebuildService/ListPrebuilds", "request": { "uid": request_id(call) } },
    });
    (unmapped, beside)
}

/// A call counts once, by its intent or its end, whatever else became of it; and what is not there is counted as such.
#[test]
fn every_call_counts_once_and_what_is_missing_is_told() {
    let fixture = Fixture::new();
    let mut forge = Forge::new("gateway-0");
    let record = |forge: &mut Forge, stage: &str, call: u64| {
        let (unmapped, beside) = told(call);
        forge.record(stage, &unmapped, beside);
    };
    for (stage, call) in
        [("intent", 1), ("outcome", 1), ("intent", 2), ("recovered", 2), ("intent", 3), ("outcome", 4)]
    {
        record(&mut forge, stage, call);
    }
    record(&mut forge, "outcome", 9);
    forge.record("gap", &json!({ "count": 7, "reason": "lost" }), json!({}));
    forge.record("aggregate", &json!({ "count": 5 }), told(5).1);
    // Of nobody in particular.
    forge.record("aggregate", &json!({ "count": 3 }), json!({}));
    // In a newer form, perhaps.
    forge.record("outcome", &json!({ "facts": { "novelty": 1 } }), told(6).1);
    // The file failed: what it had last is void, and was told again.
    let trusted = forge.next();
    record(&mut forge, "outcome", 7);
    forge.segment_after_failure(trusted);
    record(&mut forge, "outcome", 7);
    forge.store(&fixture.at("audit"));

    let told = fixture.replay(&fixture.present, &[]);
    assert_eq!((told.code, told.judged()), (0, 5), "{}", told.sums);
    let expected = json!({
        "before_rules": {},
        "folded": 8,
        "missing": 7,
        "dry_run": 0,
        "object_not_on_record": 0,
        "org_not_in_config": 1,
        "unreadable": 1,
    });
    assert_eq!(told.sums["not_judged"], expected);
    let (_, out, _) = fixture.command(&fixture.present, &["--json", "--org", "globex"]);
    let globex: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(globex["not_judged"]["folded"], 3, "{globex}");
    let (code, out, _) = fixture.command(&fixture.present, &["--until", "2026-01-01T00:00:00Z"]);
    assert_eq!((code, out.contains(": 0 calls judged,")), (0, true), "{out}");
}
