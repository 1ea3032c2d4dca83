//! The suite's service on the gateway's own fronts, wire plane and listener.

use std::{
    convert::Infallible,
    fs,
    io::{stdin, stdout},
    num::NonZeroU32,
    os::unix::fs::PermissionsExt as _,
    time::Duration,
};

use futures_util::future::BoxFuture;
use http::{HeaderValue, header::AUTHORIZATION};
use prebuild_gateway::{
    audit,
    call::{Call, Handle, Line, OrgId, Reply},
    connect::{json::to_json, metadata::append},
    error::{Code, Error},
    front::{self, Front, HttpRequest, HttpResponse, deadline},
    gateway::Wire,
    identity::{Identities, api_key},
    rule::Rate,
    server::{self, Config, Server, Shutdown, Tls},
    telemetry::Metrics,
};
use prost::Message as _;
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
};
use tokio_util::sync::CancellationToken;
use tower::{Service, ServiceBuilder};

use super::{
    BoxError,
    messages::{
        Answer, Definition, GetInfo, Header, IDEMPOTENT_UNARY, Payload, RequestInfo, RpcError, UNARY,
        UnaryRequest, UnaryResponse, allowed, any, headers, metadata, schema,
    },
    pipe::{Credentials, ServerRequest, ServerResponse, receive, send},
};

/// More refusals a second than a suite is after.
const ENOUGH: NonZeroU32 = NonZeroU32::new(1_000_000).expect("not zero");

/// The key that the suite, which knows of none, is given at the door.
const KEY: &str = "conformance";

/// A call does not carry its URL: this header, made at the door, brings a GET's query to the service.
const QUERY: &str = "x-conformance-query";

/// The deadline of a call that has none of its own. The suite's longest is some seconds, so the two can be told apart.
const NO_DEADLINE: Duration = Duration::from_secs(3600);

/// The suite's limit where it sets none: some cases send 200 KiB.
const MAX_REQUEST: usize = 4 << 20;

/// What the runner calls.
#[derive(Clone, Copy, Debug)]
struct Conformance;

pub async fn run() -> Result<(), BoxError> {
    let request: ServerRequest = receive(&mut stdin().lock())?.ok_or("no request on stdin")?;
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let port = listener.local_addr()?.port();
    let folder = tempfile::tempdir()?;
    let metrics = Metrics::new();
    let config = audit::Config::at(folder.path());
    let log = audit::Log::open(&config, metrics.clone())?;
    let service = service(&request, audit::Audit::new(log, audit::Detail::of(&config)?), metrics)?;
    let server = Server::new(Config::default(), Shutdown { grace: Duration::from_secs(1) })?;
    let drain = CancellationToken::new();
    let stop = drain.clone();
    let mut terminated = signal(SignalKind::terminate())?;
    tokio::spawn(async move {
        terminated.recv().await;
        stop.cancel();
    });
    let mut response =
        ServerResponse { host: "127.0.0.1".to_owned(), port: port.into(), pem_cert: Vec::new() };
    match request.server_creds.filter(|_| request.use_tls) {
        None => {
            send(&mut stdout().lock(), &response)?;
            server.serve(listener, service, drain).await;
        }
        Some(credentials) => {
            let tls = tls(&credentials)?;
            response.pem_cert = credentials.cert;
            send(&mut stdout().lock(), &response)?;
            server.with_transport(tls).serve(listener, service, drain).await;
        }
    }
    Ok(())
}

/// The gateway's own TLS, with the runner's certificate.
fn tls(credentials: &Credentials) -> Result<Tls, BoxError> {
    let folder = tempfile::tempdir()?;
    let (certificate, key) = (folder.path().join("server.crt"), folder.path().join("server.key"));
    fs::write(&certificate, &credentials.cert)?;
    fs::write(&key, &credentials.key)?;
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600))?;
    Ok(Tls::load(server::tls::Config::of(certificate, key))?)
}

/// The wire plane as it is shipped, behind a door that gives every request a key.
fn service(
    request: &ServerRequest,
    audit: audit::Audit,
    metrics: Metrics,
) -> Result<
    impl Service<HttpRequest, Response = HttpResponse, Error = Infallible, Future: Send> + Clone + Send + use<>,
    BoxError,
> {
    let limit = usize::try_from(request.message_receive_limit)?;
    let config =
        front::Config { max_bytes: if limit == 0 { MAX_REQUEST } else { limit }, ..front::Config::default() };
    let suite =
        api_key::Config::new("suite".into(), "suite".into(), OrgId::from("suite"), api_key::KeyHash::of(KEY));
    let keys = api_key::Keys::new(&[suite])?;
    let front =
        Front::new(Conformance, [&UNARY, &IDEMPOTENT_UNARY], config, allowed(Some(QUERY)), metrics.clone());
    let wire = Wire {
        audit,
        // A suite is refused on purpose, again and again.
        peers: front::Peers::new(Rate::per_second(ENOUGH, ENOUGH), metrics.clone()),
        metrics,
        in_flight: 1024,
        deadline: deadline::Config { default: NO_DEADLINE, max: NO_DEADLINE },
        identities: Identities::new(keys),
        reflect: front::Reflect::default(),
        // The suite wants the details of its cases and no others.
        explains: false,
    };
    Ok(ServiceBuilder::new().map_request(let_in).service(wire.around(front)))
}

fn let_in(mut request: HttpRequest) -> HttpRequest {
    let query = request.uri().query().and_then(|query| HeaderValue::try_from(query).ok());
    let headers = request.headers_mut();
    headers.insert(AUTHORIZATION, HeaderValue::from_str(&format!("Bearer {KEY}")).expect("a token"));
    match query {
        Some(query) => headers.insert(QUERY, query),
        None => headers.remove(QUERY),
    };
    request
}

impl Handle for Conformance {
    fn handle(&self, call: Call) -> BoxFuture<'static, Result<Reply, Error>> {
        Box::pin(answer(call))
    }
}

async fn answer(call: Call) -> Result<Reply, Error> {
    let request = UnaryRequest::decode(call.request.clone()).expect("the front has decoded it");
    let info = info(&call);
    let definition = request.response_definition.unwrap_or_default();
    tokio::time::sleep(Duration::from_millis(definition.response_delay_ms.into())).await;
    match definition.response {
        Some(Answer::Error(ref error)) => Err(refusal(&definition, error, &info)),
        Some(Answer::Data(ref data)) => Ok(reply(&call, &definition, data.clone(), info)),
        None => Ok(reply(&call, &definition, Vec::new(), info)),
    }
}

fn info(call: &Call) -> RequestInfo {
    let mut seen = call.metadata.clone();
    let query = seen.remove(QUERY);
    let query_params = query.map(|query| GetInfo { query_params: query_params(query.as_bytes()) });
    let left = call.deadline.remaining().unwrap_or_default();
    let timeout = (left < NO_DEADLINE / 2).then(|| i64::try_from(left.as_millis()).expect("an hour at most"));
    RequestInfo {
        request_headers: headers(&seen),
        timeout_ms: timeout,
        requests: vec![any(call.method.input, call.request.to_vec())],
        connect_get_info: query_params,
    }
}

fn query_params(query: &[u8]) -> Vec<Header> {
    let pairs = form_urlencoded::parse(query);
    pairs.map(|(name, value)| Header { name: name.into_owned(), value: vec![value.into_owned()] }).collect()
}

fn reply(call: &Call, definition: &Definition, data: Vec<u8>, info: RequestInfo) -> Reply {
    let response = UnaryResponse { payload: Some(Payload { data, request_info: Some(info) }) };
    let wire = response.encode_to_vec();
    let output = call.method.output().expect("the row names it");
    Reply {
        json: to_json(schema(), output, &wire).expect("the message can be written").into(),
        wire: wire.into(),
        seen: Default::default(),
        drift: Vec::new(),
        metadata: metadata(&definition.response_headers),
        trailers: metadata(&definition.response_trailers),
        line: Line::default(),
    }
}

fn refusal(definition: &Definition, error: &RpcError, info: &RequestInfo) -> Error {
    let mut refusal = Error::upstream(Code::from_i32(error.code), error.message.clone().unwrap_or_default());
    refusal.details = error.details.clone();
    refusal.details.push(any(RequestInfo::NAME, info.encode_to_vec()));
    let mut both = metadata(&definition.response_headers);
    append(&mut both, metadata(&definition.response_trailers));
    *refusal.metadata = both;
    refusal
}
