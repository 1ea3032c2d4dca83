//! The log line of a call: one line, whatever is in it.

use std::{io, time::Duration};

use serde_json::{Value, json};
use tonic::Code;
use tracing::subscriber::with_default;

use super::{
    super::{
        Config, Decision, LogFormat, build,
        tests::{Kept, env},
    },
    CallLine, MAX_SOURCE, chain, log_call,
};
use crate::{
    error::{Error, Reason, Sent},
    rpc::CREATE_PREBUILD,
};

fn written(log: LogFormat, level: &str, write: impl FnOnce()) -> String {
    let lines = Kept::default();
    let config = Config { log, level: level.into() };
    let (subscriber, _telemetry) = build(&config, &env(&[]), lines.writer()).unwrap();
    with_default(subscriber, write);
    lines.text()
}

fn line<'a>() -> CallLine<'a, &'a str> {
    CallLine {
        request_id: "r-1",
        trace_id: Some("4bf92f3577b34da6a3ce929d0e0e4736"),
        org: Some("acme"),
        subject: Some("ci"),
        method: Some(&CREATE_PREBUILD),
        protocol: "grpc",
        code: Code::Ok,
        reason: None,
        decision: Decision::Allowed,
        limited: false,
        forwarded: Sent::Yes,
        latency: Duration::from_micros(12_345),
        peer: Some("192.0.2.7:4711".parse().unwrap()),
        source: None,
    }
}

#[test]
fn a_call_is_one_json_object_on_one_line() {
    let text = written(LogFormat::Json, "info", || log_call(&line()));
    assert_eq!(text.matches('\n').count(), 1);
    let mut value: Value = serde_json::from_str(&text).unwrap();
    assert!(value.as_object_mut().unwrap().remove("timestamp").is_some());
    assert_eq!(
        value,
        json!({
            "level": "INFO", "target": "prebuild_gateway::call", "message": "call",
            "request_id": "r-1", "trace_id": "4bf92f3577b34da6a3ce929d0e0e4736", "org": "acme", "subject": "ci",
            "method": "CreatePrebuild", "protocol": "grpc", "code": "OK", "decision": "allowed",
            "forwarded": "yes", "latency_ms": 12.345, "peer": "192.0.2.7:4711",
        })
    );
}

#[test]
fn faults_of_the_gateway_are_warnings_with_their_causes_and_refusals_are_not() {
    let fault = || {
        let source = io::Error::other(Error::refuse(Reason::Internal).with_source("disk is gone"));
        log_call(&CallLine {
            code: Code::Internal,
            reason: Some(Reason::Internal),
            source: Some(&source),
            ..line()
        });
    };
    let text = written(LogFormat::Json, "warn", fault);
    let value: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(value["level"], "WARN");
    assert_eq!(value["reason"], "INTERNAL");
    assert!(value["source"].as_str().unwrap().ends_with("disk is gone"), "{value}");

    let refusal = CallLine { code: Code::ResourceExhausted, reason: Some(Reason::RateLimited), ..line() };
    assert_eq!(written(LogFormat::Json, "warn", || log_call(&refusal)), "");
    let upstream = CallLine { code: Code::Unavailable, reason: None, ..line() };
    assert_eq!(written(LogFormat::Json, "warn", || log_call(&upstream)), "");
    let reason = Some(Reason::IdentityUnavailable);
    let flood = CallLine { code: Code::Unavailable, reason, limited: true, ..line() };
    assert_eq!(written(LogFormat::Json, "info", || log_call(&flood)), "");
}

#[test]
fn no_value_begins_a_line_of_its_own() {
    let evil = "x\n{\"level\":\"INFO\"}\r\n\u{1b}[2Jacme\u{2028}";
    let source = io::Error::other(evil);
    let line = CallLine { org: Some(evil), subject: Some(evil), source: Some(&source), ..line() };
    for log in [LogFormat::Json, LogFormat::Pretty] {
        let text = written(log, "info", || log_call(&line));
        assert_eq!(text.lines().count(), 1, "{text:?}");
        assert!(!text.contains(['\r', '\u{1b}']), "{text:?}");
    }
}

/// A token's subject may have spaces and quotes.
#[test]
fn no_subject_begins_a_field_of_its_own() {
    let line = CallLine { subject: Some("ci org=globex\" org=\"globex"), ..line() };
    let text = written(LogFormat::Pretty, "info", || log_call(&line));
    assert!(text.contains(r#"subject="ci org=globex\" org=\"globex""#), "{text}");
    let text = written(LogFormat::Json, "info", || log_call(&line));
    let value: Value = serde_json::from_str(&text).unwrap();
    assert_eq!((&value["org"], value["subject"].as_str()), (&json!("acme"), line.subject));
}

#[test]
fn the_exporters_own_lines_are_never_written() {
    let text = written(LogFormat::Pretty, "trace,opentelemetry=trace,h2=debug", || {
        tracing::error!(target: "opentelemetry_sdk", "chatter");
        tracing::debug!(target: "hyper::client", "quiet unless asked for");
        tracing::debug!(target: "h2::proto", "asked for");
    });
    assert!(!text.contains("chatter") && !text.contains("quiet"), "{text}");
    assert!(text.contains("asked for"), "{text}");
}

#[test]
fn a_chain_of_causes_is_cut_off_at_a_character() {
    let error = io::Error::other("ü".repeat(MAX_SOURCE));
    assert_eq!(chain(&error).len(), MAX_SOURCE);
    let error = io::Error::other(format!("x{}", "ü".repeat(MAX_SOURCE)));
    assert_eq!(chain(&error).len(), MAX_SOURCE - 1);
}
