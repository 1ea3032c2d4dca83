//! The example of callers with upstream's own tokens, run as it is shipped; and where such a token is not to be found.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    path::Path,
    process::Command,
};

use serde_json::Value;

use super::listening::answering;
use crate::{PATIENCE, Running, UNAUTHENTICATED, audit, command, run, text, write_closed};

const EXAMPLE: &str = include_str!("../../deploy/identity-upstream-tokens.example.toml");
const CANARY: &str = "CANARY-token-of-jane";
/// To any call.
const ANSWER: &str = r#"{"subject":{"id":"jane","principal":"PRINCIPAL_USER"},
    "organizationId":"0198c0de-0000-7000-8000-00000000acce","organizationTier":"enterprise",
    "prebuild":{"id":"0198c0de-0000-7000-8000-000000000001"}}"#;

/// The example in a folder of its own, in front of this upstream.
fn installed(directory: &Path, upstream: &str) -> String {
    let token = directory.join("acme-token");
    write_closed(&token, "acme-token\n");
    let config = directory.join("gateway.toml");
    let mut text = EXAMPLE.to_owned();
    for (shipped, here) in [
        ("127.0.0.1:8080", "127.0.0.1:0"),
        ("127.0.0.1:9090", "127.0.0.1:0"),
        ("https://app.gitpod.io/api", upstream),
        ("/run/secrets/acme-token", token.to_str().unwrap()),
        ("/var/lib/prebuild-gateway/audit", directory.join("audit").to_str().unwrap()),
    ] {
        assert!(text.contains(shipped), "{shipped}");
        text = text.replace(shipped, here);
    }
    write_closed(&config, format!("{text}\n[telemetry]\nlevel = 'trace'\n"));
    config.to_str().unwrap().to_owned()
}

pub(crate) fn metrics(admin: &str) -> String {
    let mut stream = TcpStream::connect(admin).unwrap();
    stream.write_all(b"GET /metrics HTTP/1.1\r\nhost: admin\r\nconnection: close\r\n\r\n").unwrap();
    let mut said = String::new();
    stream.read_to_string(&mut said).unwrap();
    said
}

/// Ends it by SIGTERM, and returns all that it has printed since.
pub(crate) fn ended(serve: &Running) -> Vec<String> {
    let id = serve.child.id().to_string();
    assert!(Command::new("kill").args(["-TERM", &id]).status().unwrap().success());
    let mut lines = Vec::new();
    while let Ok(line) = serve.lines.recv_timeout(PATIENCE) {
        lines.push(line);
    }
    lines
}

#[test]
fn the_example_serves_and_its_callers_tokens_are_nowhere() {
    let directory = tempfile::tempdir().unwrap();
    let (upstream, came) = answering(ANSWER);
    let (collector, spans) = answering("");
    let config = installed(directory.path(), &format!("http://{upstream}/api"));

    let said = text(&run(&["check", "--config", &config]).stdout);
    let takes = "  org acme, upstream tokens of its organization (0198c0de-0000-7000-8000-00000000acce): read, mutate; \
                 for 1m each\n";
    assert!(said.ends_with(takes) && said.contains("ok (1 orgs, 0 keys,"), "{said}");

    let mut serve = command(&["serve", "--config", &config]);
    serve.env("OTEL_EXPORTER_OTLP_ENDPOINT", format!("http://{collector}"));
    let serve = Running::start(serve, true);
    let mut lines = serve.lines_to("\"serving\"");
    let line: Value = serde_json::from_str(lines.last().unwrap()).unwrap();
    let told = |name: &str| line[name].as_str().or(line["fields"][name].as_str()).unwrap().to_owned();
    let address = format!("http://{}", told("gateway"));
    let call = |method: &str, json: &str, token: &str| {
        run(&["call", method, json, "--address", &address, "--key", token])
    };
    let who: Value = serde_json::from_slice(&call("GetAuthenticatedIdentity", "{}", CANARY).stdout).unwrap();
    assert_eq!(who["subject"]["id"], "jane");
    let list = call("ListPrebuilds", "{}", CANARY);
    assert_eq!(list.status.code(), Some(0), "{}", text(&list.stderr));
    let id = r#"{"prebuildId": "0198c0de-0000-7000-8000-000000000001"}"#;
    let cancelled = call("CancelPrebuild", id, CANARY);
    assert_eq!(cancelled.status.code(), Some(0), "{}", text(&cancelled.stderr));
    let secret = call("CreatePrebuildLogsToken", id, CANARY);
    assert!(text(&secret.stderr).contains("SCOPE_MISSING"), "{}", text(&secret.stderr));
    assert_eq!(call("ListPrebuilds", "{}", "pgw_made-up").status.code(), Some(UNAUTHENTICATED));

    let counted = metrics(&told("admin"));
    assert!(counted.contains("upstream_token_lookups_total{result=\"known\"} 1"), "{counted}");
    lines.extend(ended(&serve));
    let audit = audit::text(&directory.path().join("audit"));
    assert!(audit.contains(r#""user":{"uid":"jane""#), "{audit}");
    let spans = String::from_utf8_lossy(&spans.lock().unwrap()).into_owned();
    assert!(spans.contains("CancelPrebuild"), "spans were exported");
    for place in [lines.join("\n"), counted, audit, spans] {
        assert!(!place.contains(CANARY) && !place.contains("acme-token"), "{place}");
    }
    let came = String::from_utf8_lossy(&came.lock().unwrap()).into_owned();
    // Its look-up and two calls; by the org's own credential, the question at start.
    assert_eq!(came.matches(&format!("authorization: Bearer {CANARY}\r\n")).count(), 3, "{came}");
    assert_eq!(came.matches("authorization: Bearer acme-token\r\n").count(), 1, "{came}");
}
