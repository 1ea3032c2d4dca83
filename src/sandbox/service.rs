//! One request: who asks, what for, and what comes of it.

use std::time::Duration;

use bytes::Bytes;
use http::{
    HeaderMap, HeaderValue, Method, Request, StatusCode,
    header::{AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE},
    request::Parts,
};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::Incoming;
use serde_json::Value;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::{
    Sandbox,
    calls::{Call, RPCS, Rpc},
    fault::{Fault, Outcome, Reply},
    journal::Seen,
    pages::Query,
    refusal::{Code, Refusal},
};

/// The largest body that is read, in bytes: many times what any valid request needs.
const MAX_BODY: usize = 1 << 20;

/// The connection is to be reset instead of an answer.
#[derive(Debug, thiserror::Error)]
#[error("the connection is reset on demand")]
pub(super) struct Reset;

impl Sandbox {
    /// Answers a request that came on the connection `line`, whose end also ends a wait.
    pub(super) async fn answer(
        self,
        request: Request<Incoming>,
        line: CancellationToken,
    ) -> Result<Reply, Reset> {
        let (head, body) = request.into_parts();
        let body = read_body(body).await;
        let seen = Seen {
            method: head.method.clone(),
            version: head.version,
            path: head.uri.path().to_owned(),
            query: head.uri.query().unwrap_or_default().to_owned(),
            headers: head.headers.clone(),
            body: body.clone().unwrap_or_default(),
        };
        self.journal().record(seen.clone());
        let fault = match Fault::parse(&head.headers) {
            Ok(fault) => fault,
            Err(refusal) => return Ok(Reply::from_refusal(&refusal)),
        };
        wait(fault.delay, &line).await?;
        let mut outcome = if fault.executes() { self.execute(&head, body) } else { Outcome::Untouched };
        let said = match (&mut outcome, self.0.witness.get()) {
            (Outcome::Done(answer), Some(witness)) => Some(witness(&seen, answer)),
            _ => None,
        };
        wait(fault.delay_after, &line).await?;
        if fault.reset || fault.reset_after {
            return Err(Reset);
        }
        let reply = fault.spoil(head.uri.path(), outcome);
        // A fault is the request's own wish.
        let said = said.filter(|_| reply.status == StatusCode::OK);
        Ok(Reply { status: said.unwrap_or(reply.status), ..reply })
    }

    fn execute(&self, head: &Parts, body: Result<Bytes, Refusal>) -> Outcome {
        // The last two segments tell the call: any prefix of a base URL is accepted.
        let mut path = head.uri.path().rsplit('/');
        let (last, before) = (path.next().unwrap_or_default(), path.next().unwrap_or_default());
        if before == "logs" && head.method == Method::GET {
            return self.logs(&head.headers, last);
        }
        let Some(rpc) = RPCS.iter().find(|rpc| rpc.service == before && rpc.name == last) else {
            return Outcome::Plain(StatusCode::NOT_FOUND, "404 page not found\n");
        };
        if head.method != Method::POST {
            return Outcome::Plain(StatusCode::METHOD_NOT_ALLOWED, "only POST is served\n");
        }
        if !is_json(&head.headers) {
            return Outcome::Plain(StatusCode::UNSUPPORTED_MEDIA_TYPE, "only application/json is served\n");
        }
        match self.carry_out(rpc, head, body) {
            Ok(value) => {
                self.journal().count(rpc.name);
                Outcome::Done(value)
            }
            Err(refusal) => Outcome::Refused(refusal),
        }
    }

    fn carry_out(&self, rpc: &Rpc, head: &Parts, body: Result<Bytes, Refusal>) -> Result<Value, Refusal> {
        check_protocol(&head.headers)?;
        let holder = bearer(&head.headers).and_then(|token| self.holder(token)).ok_or_else(|| {
            Refusal::new(Code::UNAUTHENTICATED, "TOKEN_INVALID", "the bearer token is not valid")
        })?;
        let query = Query::parse(head.uri.query().unwrap_or_default());
        (rpc.carry_out)(&Call { sandbox: self.0.clone(), holder, body: body?, query })
    }

    /// The logs of a prebuild, for whoever holds a token for them.
    fn logs(&self, headers: &HeaderMap, prebuild: &str) -> Outcome {
        let now = self.0.clock.now();
        let admitted =
            bearer(headers).zip(Uuid::try_parse(prebuild).ok()).is_some_and(|(token, prebuild)| {
                self.0.tenants.iter().any(|tenant| tenant.world().logs.admits(token, prebuild, now))
            });
        if admitted {
            Outcome::Plain(StatusCode::OK, "cloning the repository\nrunning the prebuild task\n")
        } else {
            Outcome::Plain(StatusCode::UNAUTHORIZED, "the token does not open these logs\n")
        }
    }
}

async fn read_body(body: Incoming) -> Result<Bytes, Refusal> {
    match Limited::new(body, MAX_BODY).collect().await {
        Ok(body) => Ok(body.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => {
            Err(Refusal::plain(Code::RESOURCE_EXHAUSTED, "the message is larger than 1 MiB"))
        }
        Err(_) => Err(Refusal::plain(Code::CANCELED, "the message ended early")),
    }
}

async fn wait(delay: Duration, line: &CancellationToken) -> Result<(), Reset> {
    if delay.is_zero() {
        return Ok(());
    }
    tokio::select! {
        () = line.cancelled() => Err(Reset),
        () = tokio::time::sleep(delay) => Ok(()),
    }
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then_some(token)
}

fn is_json(headers: &HeaderMap) -> bool {
    let content_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let (essence, parameters) = content_type.split_once(';').unwrap_or((content_type, ""));
    let parameters = parameters.trim();
    essence.trim().eq_ignore_ascii_case("application/json")
        && (parameters.is_empty() || parameters.eq_ignore_ascii_case("charset=utf-8"))
}

/// What the Connect protocol lets a client say in headers. Nothing here takes time but a delay that was asked for,
/// so that a timeout has only to be well-formed.
fn check_protocol(headers: &HeaderMap) -> Result<(), Refusal> {
    let invalid = |message| Err(Refusal::plain(Code::INVALID_ARGUMENT, message));
    if headers.get("connect-protocol-version").is_some_and(|version| version != "1") {
        return invalid("connect-protocol-version must be \"1\"");
    }
    let timeout = headers.get("connect-timeout-ms").map(HeaderValue::as_bytes);
    if timeout.is_some_and(|ms| ms.is_empty() || ms.len() > 10 || !ms.iter().all(u8::is_ascii_digit)) {
        return invalid("connect-timeout-ms must be a number of at most ten digits");
    }
    if headers.get(CONTENT_ENCODING).is_some_and(|encoding| encoding != "identity") {
        return Err(Refusal::plain(Code::UNIMPLEMENTED, "compressed messages are not served"));
    }
    Ok(())
}
