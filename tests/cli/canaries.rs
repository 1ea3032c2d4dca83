//! No secret at rest (promise P6): words that stand where a secret could, in everything that callers and upstream can
//! say, are then looked for in everything that the gateway writes, at every level of its records.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    path::Path,
};

use serde_json::Value;
use sha2::{Digest as _, Sha256};
use tempfile::TempDir;

use super::{
    listening::{Came, answering, answering_with},
    upstream_tokens::{ended, metrics},
};
use crate::{GOOD, Running, audit, command, run, text, write_closed};

/// In whatever case: HTTP changes that of names.
const CANARY: &str = "canary";
/// The same, where it is the value of a detail.
const CANARY_IN_BASE64: &str = "q0foqvjz";
const KEY: &str = "pgw_CANARY-of-a-valid-key";
const CREDENTIAL: &str = "CANARY-of-a-credential";
const ID: &str = "0198c0de-0000-7000-8000-000000000001";
/// To any call: every field that is not kept, and one that no schema knows.
const ANSWER: &str = r#"{
    "subject": {"id": "0198c0de-0000-7000-8000-000000000001", "principal": "PRINCIPAL_USER"},
    "organizationId": "0198c0de-0000-7000-8000-00000000acce",
    "organizationTier": "CANARY-of-a-tier",
    "accessToken": "CANARY-of-a-log-token",
    "pagination": {"nextToken": "CANARY-of-a-page"},
    "prebuild": PREBUILD, "prebuilds": [PREBUILD],
    "warmPool": POOL, "warmPools": [POOL],
    "novelty": "CANARY-of-an-unknown-field"
}"#;
const PREBUILD: &str = r#"{
    "id": "0198c0de-0000-7000-8000-000000000001",
    "metadata": {"organizationId": "0198c0de-0000-7000-8000-00000000acce",
        "creator": {"id": "CANARY-of-a-creator"}, "executor": {"id": "CANARY-of-an-executor"}},
    "status": {"phase": "PREBUILD_PHASE_FAILED", "failureMessage": "CANARY-of-a-failure",
        "warningMessage": "CANARY-of-a-warning", "environmentId": "CANARY-of-an-environment",
        "logUrl": "https://logs.example.com/CANARY?token=CANARY-of-a-log-url", "novelty": {"deep": "CANARY"}}
}"#;
const POOL: &str = r#"{
    "id": "0198c0de-0000-7000-8000-000000000001",
    "metadata": {"organizationId": "0198c0de-0000-7000-8000-00000000acce", "runnerId": "CANARY-of-a-runner"},
    "spec": {"desiredSize": 1, "snapshotId": "CANARY-of-a-snapshot"},
    "status": {"failureMessage": "CANARY-of-a-failure"}
}"#;

/// Errors of upstream, with all that can be in one.
const ERRORS: [(&str, &str); 3] = [
    (
        "400 Bad Request",
        r#"{"code": "failed_precondition", "message": "CANARY-of-a-message", "CANARY": "CANARY", "details": [
            {"type": "google.rpc.ErrorInfo", "value": "Q0FOQVJZ", "debug": {"reason": "CANARY"}},
            {"type": "CANARY.of.a.Type", "value": "Q0FOQVJZ"}]}"#,
    ),
    ("403 Forbidden", r#"{"CANARY": "CANARY-of-a-refusal"}"#),
    ("502 Bad Gateway", "<html>CANARY-of-a-page</html>"),
];

/// What is said to the gateway: over Connect with these headers, and over gRPC.
const CALLS: [(&str, &str); 12] = [
    ("ListPrebuilds", r#"{"pagination": {"token": "CANARY-of-a-page"}}"#),
    ("ListWarmPools", r#"{"pagination": {"token": "CANARY-of-a-page"}}"#),
    (
        "ListPrebuilds",
        r#"{"filter": {"projectIds": ["CANARY-of-an-id"], "creatorIds": ["CANARY-of-an-id"]}}"#,
    ),
    ("GetPrebuild", r#"{"prebuildId": "0198c0de-0000-7000-8000-000000000001"}"#),
    ("GetWarmPool", r#"{"warmPoolId": "0198c0de-0000-7000-8000-000000000001"}"#),
    ("GetPrebuild", r#"{"prebuildId": "CANARY-of-an-id"}"#),
    ("CreatePrebuild", r#"{"projectId": "CANARY-of-an-id", "environmentClassId": "CANARY", "spec": {}}"#),
    ("CreatePrebuild", r#"{"projectId": "0198c0de-0000-7000-8000-000000000001", "spec": {}}"#),
    ("CreatePrebuildLogsToken", r#"{"prebuildId": "0198c0de-0000-7000-8000-000000000001"}"#),
    (
        "UpdateWarmPool",
        r#"{"warmPoolId": "0198c0de-0000-7000-8000-000000000001", "minSize": 1, "maxSize": 2}"#,
    ),
    (
        "CancelPrebuild",
        r#"{"prebuildId": "0198c0de-0000-7000-8000-000000000001", "CANARY-of-a-name": "CANARY"}"#,
    ),
    (
        "DeletePrebuild",
        r#"{"prebuildId": "0198c0de-0000-7000-8000-000000000001", "spec": {"CANARY": ["CANARY"]}}"#,
    ),
];

/// A gateway that writes all that it can, at this level of records.
fn config(directory: &Path, upstream: &str, sink: &str, level: &str, unknown: &str) -> String {
    let good = GOOD.replace("AUDIT", directory.join("audit").to_str().unwrap());
    let hash: String = Sha256::digest(KEY).iter().map(|byte| format!("{byte:02x}")).collect();
    let (before, after) = good.split_once("sha256 = \"").unwrap();
    let good = format!("{before}sha256 = \"{hash}{}", &after[hash.len()..]);
    let good = good.replace("http://127.0.0.1:1/api", upstream).replace(
        r#"credential = { env = "TOKEN" }"#,
        r#"credential = { env = "TOKEN" }, upstream_organization_id = "0198c0de-0000-7000-8000-00000000acce""#,
    );
    let path = directory.join("gateway.toml");
    let more = format!(
        "audit.level.default = '{level}'\nrequests.unknown_fields = '{unknown}'\ntelemetry.level = 'trace'\n\
         upstream.log_url_hosts = ['logs.example.com']\nupstream.request_metadata = ['x-kept']\n\
         audit.ship = [{{ name = 'second', kind = 'file', path = '{}' }},\n\
         {{ name = 'collector', kind = 'otlp', endpoint = 'http://{sink}/v1/logs' }}]\n",
        directory.join("second").display(),
    );
    write_closed(&path, format!("{more}{good}"));
    path.to_str().unwrap().to_owned()
}

/// One Connect call.
fn post(gateway: &str, target: &str, key: &str, body: &str) -> String {
    let mut stream = TcpStream::connect(gateway).unwrap();
    let length = body.len();
    // One that is none, or one with all that comes along.
    let parent = if length.is_multiple_of(2) {
        "CANARY"
    } else {
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    };
    let request = format!(
        "POST {target} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\nconnection: close\r\n\
         authorization: Bearer {key}\r\nx-kept: CANARY-of-metadata\r\nx-other: CANARY-of-a-header\r\n\
         cookie: CANARY\r\nuser-agent: CANARY\r\nbaggage: CANARY=CANARY\r\ntracestate: canary=CANARY\r\n\
         traceparent: {parent}\r\ncontent-length: {length}\r\n\r\n{body}"
    );
    stream.write_all(request.as_bytes()).unwrap();
    let mut said = String::new();
    stream.read_to_string(&mut said).unwrap();
    said
}

fn say_it_all(gateway: &str) -> String {
    let mut said = String::new();
    for (method, body) in CALLS {
        said += &post(gateway, &format!("/gitpod.v1.PrebuildService/{method}"), KEY, body);
        let at = format!("http://{gateway}");
        let called = run(&["call", method, body, "--address", &at, "--key", KEY]);
        said += &text(&called.stdout);
    }
    let get = "/gitpod.v1.PrebuildService/GetPrebuild";
    said += &post(gateway, get, "CANARY-of-a-key", "{}");
    said += &post(gateway, &format!("{get}?CANARY=CANARY&token=CANARY"), KEY, "{}");
    said += &post(gateway, "/CANARY.v1.Service/CANARY", KEY, "{}");
    said += &post(gateway, get, KEY, "CANARY-that-is-no-json");
    said += &post(gateway, get, KEY, r#"{"prebuildId": {"CANARY": 1}}"#);
    said += &post(gateway, "/gitpod.v1.IdentityService/GetAuthenticatedIdentity", KEY, "{}");
    let at = format!("http://{gateway}");
    run(&["call", "GetPrebuild", "{}", "--address", &at, "--key", "CANARY-of-a-key"]);
    said
}

/// A gateway that was told everything, and all that was written of it, by places.
struct Told {
    said: String,
    came: String,
    spans: String,
    shipped: String,
    places: Vec<(&'static str, String)>,
    directory: TempDir,
}

impl Told {
    fn by(upstream: (SocketAddr, Came), level: &str, unknown: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let (upstream, came) = upstream;
        let ((collector, spans), (sink, shipped)) = (answering(""), answering(""));
        let base = format!("http://{upstream}/api");
        let config = config(directory.path(), &base, &sink.to_string(), level, unknown);
        let mut serve = command(&["serve", "--config", &config]);
        serve.env("OTEL_EXPORTER_OTLP_ENDPOINT", format!("http://{collector}")).env("TOKEN", CREDENTIAL);
        let serve = Running::start(serve, true);
        let mut lines = serve.lines_to("\"serving\"");
        let line: Value = serde_json::from_str(lines.last().unwrap()).unwrap();
        let told = |name: &str| line[name].as_str().or(line["fields"][name].as_str()).unwrap().to_owned();
        let said = say_it_all(&told("gateway"));
        let counted = metrics(&told("admin"));
        lines.extend(ended(&serve));
        let text = |came: Came| String::from_utf8_lossy(&came.lock().unwrap()).into_owned();
        let (came, spans, shipped) = (text(came), text(spans), text(shipped));
        let audit = directory.path().join("audit");
        let files: String = fs::read_dir(&audit).unwrap().map(|entry| file(&entry.unwrap().path())).collect();
        let places = vec![
            ("log", lines.join("\n")),
            ("metrics", counted),
            ("audit", files + &audit::text(&audit)),
            ("traces", spans.clone()),
            ("file of a sink", file(&directory.path().join("second"))),
            ("collector of logs", shipped.clone()),
        ];
        Self { said, came, spans, shipped, places, directory }
    }

    fn has_no_canary(&self, what: &str) {
        assert!(self.spans.contains("GetPrebuild"), "spans were exported");
        assert!(self.shipped.contains("GetPrebuild"), "records were shipped");
        for (place, written) in &self.places {
            let written = written.to_lowercase();
            for canary in [CANARY, CANARY_IN_BASE64] {
                let at = written
                    .find(canary)
                    .map(|at| written[at.saturating_sub(200)..].chars().take(400).collect());
                assert_eq!(at, None::<String>, "{what}: {place}");
            }
        }
    }
}

#[test]
fn no_secret_is_in_anything_that_is_written() {
    let answer = ANSWER
        .replace(": PREBUILD,", &format!(": {PREBUILD},"))
        .replace("[PREBUILD]", &format!("[{PREBUILD}]"));
    let answer = answer.replace(": POOL,", &format!(": {POOL},")).replace("[POOL]", &format!("[{POOL}]"));
    let answer: &'static str = Box::leak(answer.into_boxed_str());
    for (level, unknown) in [("metadata", "reject"), ("request", "drop"), ("request_response", "drop")] {
        let told = Told::by(answering(answer), level, unknown);
        // The words did go where they were meant to go, or this tries nothing.
        for word in ["log-token", "log-url", "failure", "snapshot", "page"] {
            assert!(told.said.contains(&format!("CANARY-of-a-{word}")), "{level}: {word}: {}", told.said);
        }
        let came = &told.came;
        assert!(came.contains("x-kept: CANARY-of-metadata") && came.contains(CREDENTIAL), "{came}");
        let directory = told.directory.path().join("audit");
        let records = audit::records(&directory);
        let of = |method: &str| records.iter().filter(|record| record["method"] == method).count();
        assert!(of("gitpod.v1.PrebuildService/CreatePrebuildLogsToken") >= 4, "{level}: {records:#?}");
        let shows = |part: &str| audit::text(&directory).contains(part);
        assert_eq!(shows(r#""data":{"pagination":{"token":"hmac:"#), level != "metadata", "{level}");
        assert_eq!(shows(r#""snapshotId":"hmac:"#), level == "request_response", "{level}");
        assert!(shows(r#""names":["hmac:"#), "{level}, {unknown}");
        assert!(shows(ID), "{level}");
        told.has_no_canary(level);
    }
}

#[test]
fn no_word_of_an_upstream_that_fails_is_in_anything_that_is_written() {
    for (status, answer) in ERRORS {
        let told = Told::by(answering_with(status, answer), "request_response", "drop");
        assert!(told.came.contains(CREDENTIAL), "{}", told.came);
        assert_eq!(
            told.said.contains("CANARY-of-a-message"),
            answer.contains("CANARY-of-a-message"),
            "{status}"
        );
        told.has_no_canary(status);
    }
}

fn file(path: &Path) -> String {
    fs::read(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
}
