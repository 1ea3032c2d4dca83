//! Trace context without an exporter: ids exist, are continued and passed on all the same.

use std::io;

use http::HeaderMap;
use tracing::{Span, subscriber::with_default};

use super::{
    super::{
        Config, Inbound, System, build, server_span,
        tests::{TRACE_ID, TRACEPARENT, env},
    },
    inject, trace_id,
};

fn traced<T>(test: impl FnOnce() -> T) -> T {
    let (subscriber, _telemetry) = build(&Config::default(), &env(&[]), io::sink).unwrap();
    with_default(subscriber, test)
}

fn span(headers: &[(&'static str, &str)]) -> Span {
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        map.append(*name, value.parse().unwrap());
    }
    server_span(&map, &Inbound { system: System::Connect, peer: None, local: None, request_id: 1 })
}

fn injected(span: &Span) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert("traceparent", "of somebody else".parse().unwrap());
    headers.insert("tracestate", "of=somebody-else".parse().unwrap());
    inject(span, &mut headers);
    headers
}

#[test]
fn a_trace_is_continued_without_an_exporter() {
    traced(|| {
        let span = span(&[
            ("traceparent", TRACEPARENT),
            ("tracestate", "a=1"),
            ("tracestate", "b=2"),
            ("baggage", "x=y"),
        ]);
        assert_eq!(trace_id(&span).as_deref(), Some(TRACE_ID));
        let headers = injected(&span);
        let traceparent = headers["traceparent"].to_str().unwrap();
        assert_ne!(traceparent, TRACEPARENT, "upstream's parent is the gateway, not the caller");
        assert!(traceparent.starts_with(&TRACEPARENT[..36]) && traceparent.ends_with("-01"), "{traceparent}");
        assert_eq!(headers["tracestate"], "a=1,b=2");
        assert!(!headers.contains_key("baggage"));
    });
}

#[test]
fn without_trace_context_a_new_trace_begins_that_nobody_records() {
    traced(|| {
        let (one, two) = (span(&[]), span(&[]));
        assert_ne!(trace_id(&one), trace_id(&two));
        let headers = injected(&one);
        assert!(headers["traceparent"].to_str().unwrap().ends_with("-00"));
        assert!(!headers.contains_key("tracestate"));
    });
}

#[test]
fn malformed_trace_context_begins_a_new_trace() {
    let id = TRACE_ID;
    let malformed = [
        String::new(),
        "00".into(),
        format!("00-{id}-00f067aa0ba902b7"),
        format!("00-{id}-00f067aa0ba902b7-01-more"),
        format!("ff-{id}-00f067aa0ba902b7-01"),
        format!("00-{}-00f067aa0ba902b7-01", id.to_uppercase()),
        format!("00-{}-00f067aa0ba902b7-01", "0".repeat(32)),
        format!("00-{id}-0000000000000000-01"),
        format!("00-{id}-+0f067aa0ba902b7-01"),
        format!("00-{}-0f067aa0ba902b7-001", id),
        format!("00_{id}_00f067aa0ba902b7_01"),
        format!("01-{id}-00f067aa0ba902b7-01x"),
    ];
    traced(|| {
        for traceparent in &malformed {
            let found = trace_id(&span(&[("traceparent", traceparent)]));
            assert!(found.is_some_and(|found| found != id), "{traceparent}");
        }
        let twice = span(&[("traceparent", TRACEPARENT), ("traceparent", TRACEPARENT)]);
        assert_ne!(trace_id(&twice).as_deref(), Some(id));
    });
}

#[test]
fn a_later_version_is_continued_and_an_endless_list_is_dropped() {
    traced(|| {
        let later = format!("01-{TRACE_ID}-00f067aa0ba902b7-01-what-is-to-come");
        let list = format!("a={}", "x".repeat(250));
        let span = span(&[
            ("traceparent", &later),
            ("tracestate", &list),
            ("tracestate", &list),
            ("tracestate", &list),
        ]);
        assert_eq!(trace_id(&span).as_deref(), Some(TRACE_ID));
        assert!(!injected(&span).contains_key("tracestate"));
    });
}

#[test]
fn without_a_subscriber_there_is_no_trace_and_no_stale_header() {
    let span = span(&[("traceparent", TRACEPARENT)]);
    assert_eq!(trace_id(&span), None);
    assert!(injected(&span).is_empty());
}
