//! The one log line per call.
//!
//! Method, protocol, code and reason are constants, and the org comes from the config. So does the subject, or it is a
//! token's text, in printable ASCII. All text is written escaped and in quotes: no value can begin a line or a field of its
//! own.

use std::{error::Error, fmt, net::SocketAddr, time::Duration};

use tonic::Code;

use super::{Decision, is_server_fault};
use crate::{
    error::{Origin, Reason, Sent, code_name},
    rpc::MethodSpec,
};

#[cfg(test)]
mod tests;

/// What is told of a call, to operators only.
#[derive(Clone, Copy, Debug)]
pub struct CallLine<'a, I> {
    pub request_id: I,
    pub trace_id: Option<&'a str>,
    pub org: Option<&'a str>,
    pub subject: Option<&'a str>,
    /// `None` if the path names no method that the gateway serves.
    pub method: Option<&'static MethodSpec>,
    pub protocol: &'static str,
    pub code: Code,
    pub reason: Option<Reason>,
    pub decision: Decision,
    /// It is one of too many refusals of the peer's.
    pub limited: bool,
    pub forwarded: Sent,
    pub latency: Duration,
    pub peer: Option<SocketAddr>,
    /// The internal cause, with all of its own causes.
    pub source: Option<&'a (dyn Error + 'static)>,
}

/// Field `method` of a call whose path names none; the same in metrics.
pub(super) const UNKNOWN: &str = "unknown";

/// Room for a chain of library errors; the rest is cut off, so that a line stays below 2 KiB.
const MAX_SOURCE: usize = 1024;

/// Errors have no more causes than this, unless they go round in circles.
const MAX_CAUSES: usize = 16;

/// Writes the line of one call: at `warn` if the gateway or what it depends on failed, else at `info`. Its target is
/// `prebuild_gateway::call`.
pub fn log_call<I: fmt::Display>(line: &CallLine<'_, I>) {
    let source = line.source.map(chain);
    let latency_ms = (line.latency.as_secs_f64() * 1e6).round() / 1e3;
    macro_rules! write {
        ($level:expr) => {
            tracing::event!(
                target: "prebuild_gateway::call",
                $level,
                request_id = %line.request_id,
                trace_id = line.trace_id,
                org = line.org,
                subject = line.subject,
                method = line.method.map_or(UNKNOWN, |method| method.name),
                protocol = line.protocol,
                code = code_name(line.code),
                reason = line.reason.map(Reason::as_str),
                decision = line.decision.as_str(),
                forwarded = forwarded(line.forwarded),
                latency_ms,
                peer = line.peer.map(tracing::field::display),
                source = source.as_deref(),
                "call"
            )
        };
    }
    if line.limited {
        // A flood must not fill the log.
        write!(tracing::Level::DEBUG);
    } else if is_gateway_fault(line.code, line.reason) {
        write!(tracing::Level::WARN);
    } else {
        write!(tracing::Level::INFO);
    }
}

/// A refusal is no fault: the gateway does its work.
fn is_gateway_fault(code: Code, reason: Option<Reason>) -> bool {
    is_server_fault(code) && reason.is_some_and(|reason| reason.origin() == Origin::Gateway)
}

const fn forwarded(sent: Sent) -> &'static str {
    match sent {
        Sent::No => "no",
        Sent::Maybe => "maybe",
        Sent::Yes => "yes",
    }
}

/// An error and its causes, `outer: inner: innermost`, cut off at [`MAX_SOURCE`] bytes.
pub fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    for _ in 0..MAX_CAUSES {
        let Some(error) = cause else { break };
        if text.len() >= MAX_SOURCE {
            break;
        }
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    if text.len() > MAX_SOURCE {
        let cut = (0..=MAX_SOURCE).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
        text.truncate(cut);
    }
    text
}
