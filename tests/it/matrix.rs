//! The translation matrix: what upstream answers, and what the caller is told. One test per row, named by the tuple.

use std::time::Duration;

use prebuild_gateway::proto::gitpod::v1::CreatePrebuildLogsTokenRequest;
use serde_json::json as value;
use tonic::{Code, Status};

use crate::harness::{Answer, Audited, Gateway, ID, Told, Upstream, create, get, http, json};

mod connect_errors;
mod drift;
mod no_answer;

/// Stands in every body that must not reach a caller.
const SECRET: &str = "SECRET-OF-UPSTREAM";
/// Words of libraries, of the contract's errors and of this test's own upstream.
const LEAKS: [&str; 9] =
    [SECRET, "127.0.0.1", "<html", "hyper", "h2", "serde", "expected value", "os error", "tcp"];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Read,
    Mutate,
    /// Returns a secret, and counts as a mutation.
    Secret,
}

/// What a caller must be told, and what must be on record.
#[derive(Clone, Debug)]
struct Expect {
    code: Code,
    message: &'static str,
    /// The gateway's own reason, or that upstream speaks.
    reason: Option<&'static str>,
    pushback: Option<&'static str>,
    wait: Option<Duration>,
    forwarded: &'static str,
    /// Requests that upstream sees.
    requests: usize,
}

/// Upstream's own words.
fn says(code: Code, message: &'static str) -> Expect {
    Expect { code, message, reason: None, pushback: None, wait: None, forwarded: "yes", requests: 1 }
}

/// The gateway's, about a call that will not be better the next time.
fn ours(code: Code, reason: &'static str, message: &'static str) -> Expect {
    Expect { reason: Some(reason), ..says(code, message).never() }
}

fn outcome_unknown() -> Expect {
    let message = "upstream gave no usable answer; the outcome is unknown";
    ours(Code::Unknown, "UPSTREAM_OUTCOME_UNKNOWN", message).forwarded("maybe")
}

fn invalid() -> Expect {
    ours(Code::Internal, "UPSTREAM_INVALID_RESPONSE", "upstream sent an invalid response")
}

fn credential() -> Expect {
    ours(Code::Internal, "UPSTREAM_CREDENTIAL", "upstream refused the gateway's credential")
}

impl Expect {
    fn never(self) -> Self {
        Self { pushback: Some("-1"), ..self }
    }

    fn forwarded(self, forwarded: &'static str) -> Self {
        Self { forwarded, ..self }
    }

    fn wait(self, seconds: u64, pushback: &'static str) -> Self {
        Self { wait: Some(Duration::from_secs(seconds)), pushback: Some(pushback), ..self }
    }
}

fn html(status: u16) -> Answer {
    let body = format!("<html><body>{SECRET}</body></html>");
    Answer::Bytes(http(status, "content-type: text/html\r\n", &body))
}

fn text(status: u16, headers: &str) -> Answer {
    Answer::Bytes(http(status, &format!("content-type: text/plain\r\n{headers}"), SECRET))
}

/// A body that claims to be JSON.
fn claims(status: u16, body: &str) -> Answer {
    Answer::Bytes(http(status, "content-type: application/json\r\n", body))
}

async fn call(gateway: &Gateway, kind: Kind) -> Result<(), Status> {
    let mut client = gateway.client().await;
    match kind {
        Kind::Read => client.get_prebuild(get()).await.map(drop),
        Kind::Mutate => client.create_prebuild(create()).await.map(drop),
        Kind::Secret => {
            let request = CreatePrebuildLogsTokenRequest { prebuild_id: ID.to_owned() };
            client.create_prebuild_logs_token(request).await.map(drop)
        }
    }
}

/// Plays one row.
async fn row(kind: Kind, answer: Answer, expect: Expect) {
    play(kind, vec![(answer, expect)]).await;
}

/// Plays rows one after the other, through one gateway.
async fn play(kind: Kind, rows: Vec<(Answer, Expect)>) {
    let (answers, expected): (Vec<_>, Vec<_>) = rows.into_iter().unzip();
    let upstream = Upstream::start(answers).await;
    let gateway = Gateway::start(upstream.address).await;
    let mut ended = Vec::new();
    for (before, expect) in expected.into_iter().enumerate() {
        let status = call(&gateway, kind).await.expect_err("upstream does not say OK");
        Expect { requests: before + 1, ..expect.clone() }.met(kind, &status, &upstream);
        ended.push((status, expect));
    }
    let audited = gateway.end().await;
    for (status, expect) in ended {
        expect.on_record(kind, &status, &audited);
    }
}

impl Expect {
    fn met(&self, kind: Kind, status: &Status, upstream: &Upstream) {
        assert_eq!((status.code(), status.message()), (self.code, self.message), "{status:?}");
        assert_eq!(status.reason().as_deref(), self.reason, "{status:?}");
        assert_eq!(status.pushback(), self.pushback, "{status:?}");
        assert_eq!(status.wait(), self.wait, "{status:?}");
        // The one promise that a caller may build a retry on.
        if status.code() == Code::Unavailable && status.reason().is_some() {
            assert_eq!(self.forwarded, "no", "our own UNAVAILABLE says that nothing was forwarded");
        }
        let shown = format!("{status:?} {}", String::from_utf8_lossy(status.details()));
        for leak in LEAKS {
            assert!(!shown.contains(leak), "`{leak}` reaches the caller: {shown}");
        }
        let (seen, wanted) = (upstream.seen(), self.requests);
        assert_eq!(seen.len(), wanted, "{kind:?}: a double send, or none: {seen:#?}");
    }

    fn on_record(&self, kind: Kind, status: &Status, audited: &Audited) {
        let stages = match kind {
            Kind::Mutate | Kind::Secret => vec!["intent", "outcome"],
            Kind::Read if self.forwarded == "no" => vec!["reject"],
            Kind::Read => vec!["outcome"],
        };
        assert_eq!(audited.stages(&status.id()), stages);
        let end = &audited.of(&status.id())[stages.len() - 1]["end"];
        assert_eq!(end["forwarded"], self.forwarded, "{end}");
        assert_eq!(end["reason"].as_str(), self.reason, "{end}");
        assert_eq!(end["code"], prebuild_gateway::error::code_name(self.code), "{end}");
    }
}

macro_rules! rows {
    ($($name:ident: $kind:ident, $answer:expr => $expect:expr;)*) => {$(
        #[tokio::test]
        async fn $name() {
            row(Kind::$kind, $answer, $expect).await;
        }
    )*};
}
use rows;

rows! {
    read_500_html: Read, html(500) => says(Code::Unknown, "upstream answered with HTTP status 500");
    read_502_html: Read, html(502) => says(Code::Unavailable, "upstream answered with HTTP status 502");
    read_503_text: Read, text(503, "") => says(Code::Unavailable, "upstream answered with HTTP status 503");
    read_504_html: Read, html(504) => says(Code::Unavailable, "upstream answered with HTTP status 504");
    mutate_500_html: Mutate, html(500) => outcome_unknown();
    mutate_502_html: Mutate, html(502) => outcome_unknown();
    mutate_503_text: Mutate, text(503, "") => outcome_unknown();
    mutate_504_html: Mutate, html(504) => outcome_unknown();
    secret_503_text: Secret, text(503, "") => outcome_unknown();
    mutate_503_html_that_wants_a_retry: Mutate, text(503, "x-should-retry: true\r\n") => outcome_unknown();

    read_429_retry_after: Read, text(429, "retry-after: 7\r\n")
        => says(Code::ResourceExhausted, "upstream answered with HTTP status 429").wait(7, "7000");
    mutate_429_retry_after: Mutate, text(429, "retry-after: 7\r\n")
        => says(Code::ResourceExhausted, "upstream answered with HTTP status 429").wait(7, "7000");
    read_429_alone: Read, text(429, "")
        => says(Code::Unavailable, "upstream answered with HTTP status 429");
    mutate_429_alone: Mutate, text(429, "")
        => says(Code::Unavailable, "upstream answered with HTTP status 429").never();

    read_401_html: Read, html(401) => credential();
    mutate_401_html: Mutate, html(401) => credential();
    read_401_connect: Read, claims(401, r#"{"code":"unauthenticated","message":"SECRET-OF-UPSTREAM"}"#)
        => credential();
    mutate_403_unauthenticated: Mutate, claims(403, r#"{"code":"unauthenticated"}"#) => credential();

    read_403_json_without_code: Read, claims(403, r#"{"error":"SECRET-OF-UPSTREAM"}"#)
        => says(Code::PermissionDenied, "upstream answered with HTTP status 403");
    mutate_403_json_without_code: Mutate, claims(403, r#"{"error":"SECRET-OF-UPSTREAM"}"#)
        => says(Code::PermissionDenied, "upstream answered with HTTP status 403").never();
    read_404_html: Read, html(404) => says(Code::Unimplemented, "upstream answered with HTTP status 404");
    mutate_404_html: Mutate, html(404)
        => says(Code::Unimplemented, "upstream answered with HTTP status 404").never();

    read_unknown_code_404: Read, claims(404, r#"{"code":"teapot","message":"short and stout"}"#)
        => says(Code::Unimplemented, "short and stout");
    mutate_unknown_code_403: Mutate, claims(403, r#"{"code":"teapot","message":"short and stout"}"#)
        => says(Code::PermissionDenied, "short and stout").never();
    mutate_unknown_code_503: Mutate, claims(503, r#"{"code":"teapot"}"#) => outcome_unknown();
    read_json_that_is_none_503: Read, claims(503, "SECRET-OF-UPSTREAM")
        => says(Code::Unavailable, "upstream answered with HTTP status 503");

    read_200_empty: Read, claims(200, "") => invalid();
    mutate_200_empty: Mutate, claims(200, "") => invalid();
    read_200_not_json: Read, claims(200, "SECRET-OF-UPSTREAM") => invalid();
    mutate_200_not_json: Mutate, claims(200, "SECRET-OF-UPSTREAM") => invalid();
    mutate_200_half_json: Mutate, claims(200, r#"{"prebuild":{"id":"SECRET-OF-UPSTREAM""#) => invalid();
    mutate_200_list: Mutate, claims(200, r#"["SECRET-OF-UPSTREAM"]"#) => invalid();
    mutate_200_wrong_kind: Mutate, claims(200, r#"{"prebuild":{"id":{"SECRET-OF-UPSTREAM":1}}}"#) => invalid();
    read_200_html: Read, html(200) => invalid();
    mutate_200_html: Mutate, html(200) => invalid();
    mutate_204: Mutate, Answer::Bytes(b"HTTP/1.1 204 Said\r\n\r\n".to_vec()) => invalid();
}

#[tokio::test]
async fn the_refused_credential_is_counted_for_its_org() {
    let upstream = Upstream::start([html(401)]).await;
    let gateway = Gateway::start(upstream.address).await;
    call(&gateway, Kind::Read).await.unwrap_err();
    let series = r#"prebuild_gateway_upstream_credential_refused_total{org="acme"}"#;
    assert_eq!(gateway.counted(series).await, 1, "{}", gateway.metrics().await);
}

/// `200` with parameters on the content type is OK.
async fn charset(kind: Kind) {
    let body = value!({"prebuild": {"id": ID}}).to_string();
    let answer = http(200, "content-type: application/json; charset=utf-8\r\n", &body);
    let upstream = Upstream::start([Answer::Bytes(answer)]).await;
    let gateway = Gateway::start(upstream.address).await;
    call(&gateway, kind).await.unwrap();
    assert_eq!(upstream.seen().len(), 1);
}

#[tokio::test]
async fn read_200_charset() {
    charset(Kind::Read).await;
}

#[tokio::test]
async fn mutate_200_charset() {
    charset(Kind::Mutate).await;
}

async fn redirect(kind: Kind, status: u16) {
    let elsewhere = Upstream::start([Answer::Bytes(json(200, &value!({})))]).await;
    let to = format!("location: http://{}/api/elsewhere\r\n", elsewhere.address);
    let expect = ours(Code::Internal, "UPSTREAM_REDIRECT", "upstream sent a redirect");
    row(kind, Answer::Bytes(http(status, &to, SECRET)), expect).await;
    assert!(elsewhere.seen().is_empty(), "the redirect was followed");
}

#[tokio::test]
async fn read_redirect_302() {
    redirect(Kind::Read, 302).await;
}

#[tokio::test]
async fn mutate_redirect_307() {
    redirect(Kind::Mutate, 307).await;
}

#[tokio::test]
async fn mutate_redirect_308() {
    redirect(Kind::Mutate, 308).await;
}
