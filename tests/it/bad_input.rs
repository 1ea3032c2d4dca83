//! What no well-behaved client sends: each with the code that the gRPC specification names, in constant words, and
//! none of it reaches upstream.

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::request::Builder;
use prebuild_gateway::{
    audit,
    call::{Call, Handle, Reply},
    config::Config,
    error::Error,
    front::{self, Front, Unknown, deadline},
    gateway::Wire,
    identity::{Identities, api_key::Keys},
    limit,
    proto::gitpod::v1::CreatePrebuildRequest,
    rpc::{Class, PREBUILD_METHODS},
    server::{self, Server},
    telemetry::Metrics,
};
use prost::Message as _;
use serde_json::json as value;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tonic::{Code, codec::CompressionEncoding};

use crate::harness::{
    ACME_KEY, Answer, Gateway, ID, Told, Upstream, create, get,
    raw::{Answered, Raw, frame, framed},
    shown,
};

const MAX: usize = 64 << 10;

/// A gateway before an upstream that nothing may reach.
struct Bench {
    upstream: Upstream,
    gateway: Gateway,
    raw: Raw,
}

impl Bench {
    async fn start() -> Self {
        let upstream = Upstream::start([]).await;
        let gateway = Gateway::start(upstream.address).await;
        let raw = Raw::connect(gateway.address).await;
        Self { upstream, gateway, raw }
    }

    /// Refused like this; the connection and the process live on.
    async fn refuses(
        &mut self,
        request: Builder,
        body: impl Into<Bytes>,
        (code, reason): (Code, &str),
    ) -> Answered {
        let answered = self.raw.call(request, body).await;
        let status = answered.grpc();
        assert_eq!((status.code(), status.reason().as_deref()), (code, Some(reason)), "{status:?}");
        assert_eq!(status.pushback(), Some("-1"), "it will not be better the next time");
        for leak in ["tonic", "h2", "prost", "hyper", "flate", "varint", "wire type", ACME_KEY] {
            assert!(!format!("{status:?}").contains(leak), "`{leak}`: {status:?}");
        }
        assert!(self.upstream.seen().is_empty(), "it reached upstream");
        answered
    }

    /// The same for a body of CreatePrebuild.
    async fn refuses_body(&mut self, body: impl Into<Bytes>, told: (Code, &str)) {
        self.refuses(self.raw.grpc("CreatePrebuild"), body, told).await;
    }
}

const FRAME: (Code, &str) = (Code::Internal, "MALFORMED_FRAME");
const COUNT: (Code, &str) = (Code::Unimplemented, "MESSAGE_COUNT");
const LARGE: (Code, &str) = (Code::ResourceExhausted, "MESSAGE_TOO_LARGE");
const MESSAGE: (Code, &str) = (Code::InvalidArgument, "MALFORMED_MESSAGE");
const UNAUTHENTICATED: (Code, &str) = (Code::Unauthenticated, "UNAUTHENTICATED");

#[tokio::test]
async fn unknown_methods_and_services() {
    let mut bench = Bench::start().await;
    let paths = [
        "/gitpod.v1.PrebuildService/StartPrebuild",
        "/gitpod.v1.PrebuildService/createprebuild",
        "/gitpod.v1.PrebuildService/CreatePrebuild/",
        "/gitpod.v1.PrebuildService/../PrebuildService/CreatePrebuild",
        "/gitpod.v1.PrebuildService/Create%50rebuild",
        "/gitpod.v1.PrebuildService",
        "/gitpod.v1.IdentityService/GetIDToken",
        "/gitpod.v1.IdentityService",
        "/gitpod.v1.SecretService/ListSecrets",
        "/apis/gitpod.v1.PrebuildService/CreatePrebuild",
        "/",
    ];
    for path in paths {
        let request = bench
            .raw
            .bare(path)
            .header("content-type", "application/grpc")
            .header("authorization", format!("Bearer {ACME_KEY}"));
        bench.refuses(request, framed(&create()), (Code::Unimplemented, "UNKNOWN_METHOD")).await;
    }
}

/// A request of exactly so many bytes.
fn request_of(size: usize) -> CreatePrebuildRequest {
    // Tag and a length of three bytes.
    let request = CreatePrebuildRequest { project_id: "x".repeat(size - 4), ..Default::default() };
    assert_eq!(request.encoded_len(), size);
    request
}

#[tokio::test]
async fn the_size_limit_is_exact() {
    let mut bench = Bench::start().await;
    // It passes the framing, and is found to be no UUID.
    bench.refuses_body(framed(&request_of(MAX)), (Code::InvalidArgument, "GUARDRAIL")).await;
    bench.refuses_body(framed(&request_of(MAX + 1)), LARGE).await;
}

#[tokio::test]
async fn a_length_that_is_not_meant() {
    let mut bench = Bench::start().await;
    bench.refuses_body(Bytes::from_static(&[0, 0xff, 0xff, 0xff, 0xff, 1, 2, 3]), LARGE).await;
}

/// 16 MiB of the same letter are some 16 KiB on the wire.
#[tokio::test]
async fn a_gzip_bomb() {
    let bench = Bench::start().await;
    let mut client = bench.gateway.client().await.send_compressed(CompressionEncoding::Gzip);
    let bomb = CreatePrebuildRequest { project_id: "x".repeat(16 << 20), ..Default::default() };
    let status = client.create_prebuild(bomb).await.unwrap_err();
    assert_eq!((status.code(), status.reason().as_deref()), (LARGE.0, Some(LARGE.1)), "{status:?}");
    // What inflates to the limit is no bomb.
    let status = client.create_prebuild(request_of(MAX)).await.unwrap_err();
    assert_eq!(status.reason().as_deref(), Some("GUARDRAIL"), "{status:?}");
    assert!(bench.upstream.seen().is_empty());
}

#[tokio::test]
async fn garbage_frames() {
    let mut bench = Bench::start().await;
    let message = create().encode_to_vec();
    for flag in [2, 0x80, 0xff] {
        bench.refuses_body(frame(flag, &message), FRAME).await;
    }
    let whole = framed(&create());
    for end in [1, 4, 5, whole.len() - 1] {
        bench.refuses_body(whole.slice(..end), FRAME).await;
    }
    for rest in [&[0][..], &[0, 0, 0, 0, 9], &[0, 0, 0, 0, 9, 1]] {
        bench.refuses_body([&whole[..], rest].concat(), FRAME).await;
    }
}

#[tokio::test]
async fn compression_that_is_none() {
    let mut bench = Bench::start().await;
    // The flag without an encoding to go with it.
    let message = create().encode_to_vec();
    bench.refuses_body(frame(1, &message), FRAME).await;
    for (encoding, body) in [("identity", frame(1, &message)), ("gzip", frame(1, &message))] {
        let request = bench.raw.grpc("CreatePrebuild").header("grpc-encoding", encoding);
        bench.refuses(request, body, FRAME).await;
    }
    for encoding in ["br", "deflate", "GZIP ", "gzip,gzip", ""] {
        let request = bench.raw.grpc("CreatePrebuild").header("grpc-encoding", encoding);
        let told = (Code::Unimplemented, "UNSUPPORTED_ENCODING");
        let answered = bench.refuses(request, framed(&create()), told).await;
        assert_eq!(answered.headers["grpc-accept-encoding"], "identity,gzip", "{encoding:?}");
    }
}

#[tokio::test]
async fn no_message_and_two() {
    let mut bench = Bench::start().await;
    bench.refuses_body(Bytes::new(), COUNT).await;
    bench.refuses_body([framed(&create()), framed(&create())].concat(), COUNT).await;
}

#[tokio::test]
async fn other_content_types() {
    let mut bench = Bench::start().await;
    let path = "/gitpod.v1.PrebuildService/CreatePrebuild";
    for name in
        ["application/grpcfoo", "application/grpc+thrift", "application/connect+proto", "text/html", ""]
    {
        let request = bench.raw.bare(path).header("authorization", format!("Bearer {ACME_KEY}"));
        let answered = bench.raw.call(request.header("content-type", name), framed(&create())).await;
        assert_eq!(answered.status, 415, "{name:?}");
        assert!(answered.headers.contains_key("accept-post"), "{name:?}");
    }
    for name in ["application/grpc+proto", "Application/GRPC; charset=utf-8"] {
        let request = bench.raw.bare(path).header("authorization", format!("Bearer {ACME_KEY}"));
        bench.refuses(request.header("content-type", name), Bytes::new(), COUNT).await;
    }
    assert!(bench.upstream.seen().is_empty());
}

#[tokio::test]
async fn other_http_methods() {
    let mut bench = Bench::start().await;
    for (rpc, method, status, allow) in [
        ("GetPrebuild", "GET", 415, None),
        ("GetPrebuild", "PUT", 405, Some("GET, POST")),
        ("CreatePrebuild", "GET", 405, Some("POST")),
        ("CreatePrebuild", "DELETE", 405, Some("POST")),
        ("CreatePrebuild", "OPTIONS", 405, Some("POST")),
    ] {
        let request = bench.raw.grpc(rpc).method(method);
        let answered = bench.raw.call(request, Bytes::new()).await;
        assert_eq!(answered.status, status, "{method} {rpc}");
        let told = answered.headers.get("allow").map(|value| value.to_str().unwrap());
        assert_eq!(told, allow, "{method} {rpc}");
    }
    assert!(bench.upstream.seen().is_empty());
}

/// An answer without what differs from request to request.
fn anonymous(answered: &Answered) -> String {
    let id = answered.id();
    let status = answered.grpc();
    let mut headers = answered.headers.clone();
    for own in ["date", "grpc-status-details-bin"] {
        headers.remove(own);
    }
    let details = status.all_details();
    format!("{headers:?} {:?} {details:?}", answered.body)
        .replace(&id, "ID")
        .replace(&format!("{:?}", id.as_bytes()).replace(['[', ']'], ""), "ID")
}

#[tokio::test]
async fn strangers_all_look_alike() {
    let mut bench = Bench::start().await;
    let path = "/gitpod.v1.PrebuildService/CreatePrebuild";
    let long = format!("Bearer {}", "x".repeat(8_000));
    let credentials: [&[&str]; 12] = [
        &[],
        &[""],
        &["Bearer"],
        &["Bearer "],
        &["Bearer pgw_unknown"],
        &["Bearer pgw_acme-ke"],
        &["Bearer pgw_acme-key2"],
        &["Bearer PGW_ACME-KEY"],
        &["Basic pgw_acme-key"],
        &["pgw_acme-key"],
        &["Bearer pgw_acme-key", "Bearer pgw_acme-key"],
        &[&long],
    ];
    let mut answers = Vec::new();
    for values in credentials {
        let mut request = bench.raw.bare(path).header("content-type", "application/grpc");
        for value in values {
            request = request.header("authorization", *value);
        }
        let answered = bench.refuses(request, framed(&create()), UNAUTHENTICATED).await;
        answers.push(anonymous(&answered));
    }
    assert!(answers[0].contains("ID"), "{}", answers[0]);
    for answer in &answers {
        assert_eq!(*answer, answers[0]);
    }
}

#[tokio::test]
async fn bytes_that_are_no_message() {
    let mut bench = Bench::start().await;
    // A cut-off length, a wire type of the wrong kind, a field number 0, an endless varint, text that is not UTF-8.
    let bodies: [&[u8]; 5] =
        [&[0x0a, 0x24, b'x'], &[0x08, 1], &[0x02, 0], &[0xff; 12], &[0x0a, 2, 0xc3, 0x28]];
    for body in bodies {
        bench.refuses_body(frame(0, body), MESSAGE).await;
    }
}

/// A field 99 beside the project, and a field 88 in the spec.
fn with_unknown_fields() -> Bytes {
    let mut message = CreatePrebuildRequest { spec: None, ..create() }.encode_to_vec();
    message.extend([0x1a, 3, 0xc0, 0x05, 1]);
    message.extend([0x9a, 0x06, 6]);
    message.extend(b"CANARY");
    frame(0, &message)
}

#[tokio::test]
async fn unknown_fields_are_rejected_by_path() {
    let mut bench = Bench::start().await;
    let told = (Code::InvalidArgument, "UNKNOWN_FIELD");
    let request = bench.raw.grpc("CreatePrebuild");
    let answered = bench.refuses(request, with_unknown_fields(), told).await;
    let mut fields = answered.grpc().fields();
    fields.sort();
    assert_eq!(fields, ["#99", "spec.#88"], "{fields:?}");
    assert!(!format!("{answered:?}").contains("CANARY"));
}

#[tokio::test]
async fn unknown_fields_are_dropped_and_named() {
    let upstream = Upstream::start([Answer::Bytes(shown())]).await;
    let change = |config: &mut Config| config.requests.unknown_fields = Unknown::Drop;
    let gateway = Gateway::with(upstream.address, change).await;
    let mut raw = Raw::connect(gateway.address).await;
    let answered = raw.call(raw.grpc("CreatePrebuild"), with_unknown_fields()).await;
    assert_eq!(answered.grpc().code(), Code::Ok);
    let mut dropped: Vec<_> = answered.headers["x-dropped-fields"].to_str().unwrap().split(", ").collect();
    dropped.sort_unstable();
    assert_eq!(dropped, ["#99", "spec.#88"]);
    assert_eq!(upstream.seen()[0].body, value!({"projectId": ID, "spec": {}}));
    assert_eq!(gateway.end().await.only("intent")["unknown_fields"].as_array().unwrap().len(), 2);
}

/// Panics on changes, and finds nothing on reads.
#[derive(Clone)]
struct Panics;

impl Handle for Panics {
    fn handle(&self, call: Call) -> BoxFuture<'static, Result<Reply, Error>> {
        Box::pin(async move {
            assert!(call.method.class == Class::Read, "CANARY: a handler panics");
            Err(Error::upstream(Code::NotFound, "nothing"))
        })
    }
}

#[tokio::test]
async fn a_handler_that_panics() {
    let directory = tempfile::tempdir().unwrap();
    let metrics = Metrics::new();
    let config = audit::Config::at(directory.path());
    let log = audit::Log::open(&config, metrics.clone()).unwrap();
    let key = value!([{"id": "ci", "subject": "ci", "org": "acme",
        "sha256": prebuild_gateway::identity::api_key::KeyHash::of(ACME_KEY).to_string()}]);
    let keys: Vec<prebuild_gateway::identity::Config> = serde_json::from_value(key).unwrap();
    let wire = Wire {
        audit: audit::Audit::new(log.clone(), audit::Detail::of(&config).unwrap()),
        metrics: metrics.clone(),
        in_flight: 8,
        peers: front::Peers::new(limit::Config::default().refusals, metrics.clone()),
        deadline: deadline::Config::default(),
        identities: Identities::new(Keys::new(&keys).unwrap()),
        reflect: front::Reflect::default(),
        explains: true,
    };
    let methods = PREBUILD_METHODS.iter().copied();
    let front = Front::new(Panics, methods, front::Config::default(), Default::default(), metrics);
    let server = Server::new(server::Config::default(), server::Shutdown::default()).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let stop = CancellationToken::new();
    tokio::spawn(server.serve(listener, wire.around(front), stop.clone()));

    let mut raw = Raw::connect(address).await;
    let panicked = raw.call(raw.grpc("CreatePrebuild"), framed(&create())).await.grpc();
    assert_eq!((panicked.code(), panicked.message()), (Code::Internal, "internal error"));
    assert_eq!(panicked.reason().as_deref(), Some("INTERNAL"));
    // The very connection lives on.
    let found = raw.call(raw.grpc("GetPrebuild"), framed(&get())).await.grpc();
    assert_eq!((found.code(), found.message()), (Code::NotFound, "nothing"));
    stop.cancel();
    log.close().await;
    let audit = crate::harness::audit::text(directory.path());
    assert!(audit.contains(&panicked.id()) && !audit.contains("CANARY"), "{audit}");
}
