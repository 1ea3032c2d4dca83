//! W3C trace context: continued from the caller, passed on to upstream. Baggage is not: it is the caller's free text.

use http::HeaderMap;
use opentelemetry::{
    Context,
    propagation::{Extractor, TextMapPropagator},
    trace::TraceContextExt,
};
use opentelemetry_http::HeaderInjector;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt;

#[cfg(test)]
mod tests;

const TRACEPARENT: &str = "traceparent";
const TRACESTATE: &str = "tracestate";

/// What the specification asks every hop to be able to pass on (W3C Trace Context, 3.3.1.5). A longer list is the
/// caller's problem, not upstream's.
const MAX_TRACESTATE: usize = 512;

/// `version-traceid-parentid-flags` of version 00.
const TRACEPARENT_LEN: usize = 55;

/// The two headers, checked.
struct Incoming<'a> {
    traceparent: &'a str,
    tracestate: Option<String>,
}

impl Extractor for Incoming<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        match key {
            TRACEPARENT => Some(self.traceparent),
            TRACESTATE => self.tracestate.as_deref(),
            _ => None,
        }
    }

    fn keys(&self) -> Vec<&str> {
        vec![TRACEPARENT, TRACESTATE]
    }
}

/// Tells upstream which span its work belongs to. What the headers said before is replaced; a span that is no part of
/// a trace leaves them without trace context.
pub fn inject(span: &Span, headers: &mut HeaderMap) {
    headers.remove(TRACEPARENT);
    headers.remove(TRACESTATE);
    TraceContextPropagator::new().inject_context(&span.context(), &mut HeaderInjector(headers));
    // The SDK writes an empty list, too.
    if headers.get(TRACESTATE).is_some_and(|value| value.is_empty()) {
        headers.remove(TRACESTATE);
    }
}

/// The trace that a span belongs to, as 32 lowercase hexadecimal digits, for log lines and audit records.
pub fn trace_id(span: &Span) -> Option<String> {
    let context = span.context();
    let span = context.span();
    let context = span.span_context();
    context.is_valid().then(|| context.trace_id().to_string())
}

/// The caller's trace context. Empty if there is none or it is malformed: a new trace begins then.
pub(super) fn extract(headers: &HeaderMap) -> Context {
    let mut values = headers.get_all(TRACEPARENT).iter();
    let traceparent = match (values.next(), values.next()) {
        (Some(value), None) => value.to_str().ok().filter(|value| is_well_formed(value.as_bytes())),
        _ => None,
    };
    match traceparent {
        None => Context::new(),
        Some(traceparent) => {
            let incoming = Incoming { traceparent, tracestate: tracestate(headers) };
            TraceContextPropagator::new().extract_with_context(&Context::new(), &incoming)
        }
    }
}

/// The SDK's parser is laxer than the specification: it takes short ids and signs.
fn is_well_formed(value: &[u8]) -> bool {
    let Some((known, rest)) = value.split_at_checked(TRACEPARENT_LEN) else { return false };
    let shaped = known.iter().enumerate().all(|(at, byte)| match at {
        2 | 35 | 52 => *byte == b'-',
        _ => matches!(byte, b'0'..=b'9' | b'a'..=b'f'),
    });
    // Later versions may be longer, version ff is forbidden.
    shaped && !known.starts_with(b"ff") && (rest.is_empty() || (!known.starts_with(b"00") && rest[0] == b'-'))
}

/// Several headers are one list (RFC 9110, 5.3).
fn tracestate(headers: &HeaderMap) -> Option<String> {
    let mut list = String::new();
    for value in headers.get_all(TRACESTATE) {
        let value = value.to_str().ok()?;
        if !list.is_empty() {
            list.push(',');
        }
        list.push_str(value);
        if list.len() > MAX_TRACESTATE {
            return None;
        }
    }
    (!list.is_empty()).then_some(list)
}
