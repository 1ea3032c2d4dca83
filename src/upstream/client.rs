//! One HTTP exchange with upstream.

use std::{
    error::Error as StdError,
    io,
    net::IpAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Request, Uri,
    header::{AUTHORIZATION, CONTENT_TYPE, USER_AGENT},
    uri::{Authority, PathAndQuery, Scheme},
};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper_rustls::{ConfigBuilderExt, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{
        self,
        connect::{CaptureConnection, HttpConnector, capture_connection},
    },
    rt::{TokioExecutor, TokioTimer},
};
use rustls::{
    ClientConfig, RootCertStore,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, pem::PemObject},
};
use tracing::Span;

use self::{
    connector::Connector,
    gate::{Gate, Gated, Shut},
};
use super::{
    Config, Protocol,
    answer::{Answer, BodyError},
    credentials::{By, Credentials},
};
use crate::{
    call::Line,
    file::{self, Access, Fault},
    rpc::MethodSpec,
    telemetry,
};

mod connector;
pub(super) mod gate;
#[cfg(test)]
mod tests;

const JSON: HeaderValue = HeaderValue::from_static("application/json");
const CONNECT_PROTOCOL_VERSION: HeaderName = HeaderName::from_static("connect-protocol-version");
const CONNECT_TIMEOUT_MS: HeaderName = HeaderName::from_static("connect-timeout-ms");
const AGENT: HeaderValue = HeaderValue::from_static(concat!("prebuild-gateway/", env!("CARGO_PKG_VERSION")));
/// Connect allows at most ten digits.
const MAX_TIMEOUT_MS: u128 = 9_999_999_999;
/// Over HTTP/2 a connection that does not answer a PING in this time is given up.
const KEEP_ALIVE: Duration = Duration::from_secs(20);

/// Where upstream is.
#[derive(Clone, Debug)]
pub struct Base {
    scheme: Scheme,
    authority: Authority,
    /// Path prefix, without a slash at the end.
    prefix: String,
}

/// One request, before it has a credential.
#[derive(Debug)]
pub(super) struct Post<'c> {
    pub(super) method: &'static MethodSpec,
    /// Whose credential it gets.
    pub(super) by: By<'c>,
    /// What stands behind the path, `application/x-www-form-urlencoded`; often empty.
    pub(super) query: String,
    pub(super) metadata: HeaderMap,
    pub(super) json: Vec<u8>,
}

/// The client: one connection pool for all orgs, as the credential travels with each request.
#[derive(Clone, Debug)]
pub struct Client {
    http: legacy::Client<Connector, Gated>,
    base: Base,
    credentials: Credentials,
    max_response: usize,
}

/// What a base URL must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BaseError {
    #[error("must be an absolute URL like https://app.gitpod.io/api")]
    Url,
    #[error("must be https, or http to a loopback address")]
    Plaintext,
    #[error("must have no query")]
    Query,
    #[error("must have no user name or password; the credential belongs into [[orgs]]")]
    UserInfo,
}

/// Why the client cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    #[error("`{}` {fault}", path.display())]
    CaFile { path: PathBuf, fault: Fault },
    #[error("`{}` holds no usable CA certificate", path.display())]
    NoCertificate { path: PathBuf },
    #[error("the platform's root certificates cannot be read")]
    PlatformRoots(#[source] io::Error),
    #[error("TLS cannot be set up")]
    Tls(#[from] rustls::Error),
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    /// The request provably never left.
    #[error("no connection to upstream")]
    Unsent(#[source] Box<dyn StdError + Send + Sync>),
    /// Nobody waited any more before it could leave.
    #[error("the request was too late")]
    Late(#[source] Shut),
    /// Some of it may have left.
    #[error("the connection to upstream broke")]
    Broken(#[source] Box<dyn StdError + Send + Sync>),
    /// No answer in time.
    #[error("upstream did not answer in time")]
    Timeout,
    /// The request cannot be built.
    #[error("the request cannot be made")]
    Request(#[source] http::Error),
}

impl Base {
    /// # Errors
    /// The URL is not absolute, has a query, or would send credentials in the clear over a network.
    pub fn parse(url: &str) -> Result<Self, BaseError> {
        let uri: Uri = url.parse().map_err(|_| BaseError::Url)?;
        if uri.query().is_some() {
            return Err(BaseError::Query);
        }
        let parts = uri.into_parts();
        let (Some(scheme), Some(authority)) = (parts.scheme, parts.authority) else {
            return Err(BaseError::Url);
        };
        if authority.as_str().contains('@') {
            return Err(BaseError::UserInfo);
        }
        if authority.host().is_empty() {
            return Err(BaseError::Url);
        }
        if scheme != Scheme::HTTP && scheme != Scheme::HTTPS {
            return Err(BaseError::Url);
        }
        let prefix =
            parts.path_and_query.as_ref().map_or("", PathAndQuery::path).trim_end_matches('/').to_owned();
        let base = Self { scheme, authority, prefix };
        if base.scheme == Scheme::HTTP && !base.is_loopback() { Err(BaseError::Plaintext) } else { Ok(base) }
    }

    pub fn host(&self) -> &str {
        self.authority.host()
    }

    /// The host as a resolver takes it: an IPv6 address without its brackets.
    pub fn address(&self) -> &str {
        self.host().trim_start_matches('[').trim_end_matches(']')
    }

    pub fn port(&self) -> u16 {
        self.authority.port_u16().unwrap_or(if self.scheme == Scheme::HTTPS { 443 } else { 80 })
    }

    fn is_loopback(&self) -> bool {
        let address = self.address();
        address == "localhost" || address.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
    }

    fn uri(&self, method: &MethodSpec, query: &str) -> Result<Uri, http::Error> {
        let mark = if query.is_empty() { "" } else { "?" };
        Uri::builder()
            .scheme(self.scheme.clone())
            .authority(self.authority.clone())
            .path_and_query(format!("{}{}{mark}{query}", self.prefix, method.path))
            .build()
    }
}

impl ClientError {
    /// The key of the config that is to blame.
    pub const fn key(&self) -> &'static str {
        match self {
            Self::CaFile { .. } | Self::NoCertificate { .. } => "upstream.ca_file",
            Self::PlatformRoots(_) | Self::Tls(_) => "upstream",
        }
    }
}

impl Client {
    /// # Errors
    /// The trusted certificates cannot be read.
    pub fn new(config: &Config, base: Base, credentials: Credentials) -> Result<Self, ClientError> {
        let mut tcp = HttpConnector::new();
        tcp.set_nodelay(true);
        tcp.set_connect_timeout(Some(config.connect_timeout));
        tcp.enforce_http(false);
        let https = HttpsConnectorBuilder::new().with_tls_config(tls(config, &base)?).https_or_http();
        let https = match config.protocol {
            Protocol::Auto => https.enable_all_versions().wrap_connector(tcp),
            Protocol::Http1 => https.enable_http1().wrap_connector(tcp),
            Protocol::Http2 => https.enable_http2().wrap_connector(tcp),
        };
        // A pooled connection that closes before it takes a request hands the request back unsent, and the pool then
        // sends it on another: that is the only second try there is.
        let http = legacy::Client::builder(TokioExecutor::new())
            .timer(TokioTimer::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(config.idle_timeout)
            .http2_only(config.protocol == Protocol::Http2)
            .http2_keep_alive_interval(KEEP_ALIVE)
            .http2_keep_alive_timeout(KEEP_ALIVE)
            .build(Connector::new(https, config.connect_timeout));
        Ok(Self { http, base, credentials, max_response: config.max_response_bytes })
    }

    pub fn credentials(&self) -> &Credentials {
        &self.credentials
    }

    pub fn base(&self) -> &Base {
        &self.base
    }

    /// Sends one request through its gate and reads the whole answer, for at most `patience`.
    pub(super) async fn exchange(
        &self,
        post: Post<'_>,
        gate: &Gate,
        patience: Duration,
    ) -> Result<Answer, Failure> {
        let bearer = Some(post.by.bearer());
        let mut request = self.request(post, gate).map_err(Failure::Request)?;
        let captured = capture_connection(&mut request);
        let bearer = bearer.filter(|_| request.headers().contains_key(AUTHORIZATION));
        let answer = async {
            let response = self.http.request(request).await.map_err(|error| Failure::of(error, gate))?;
            let (head, body) = response.into_parts();
            let body = Limited::new(body, self.max_response).collect().await;
            let body =
                body.map(|body| body.to_bytes()).map_err(|error| match error.is::<LengthLimitError>() {
                    true => BodyError::TooLarge,
                    false => BodyError::Broken(error),
                });
            Ok(Answer { status: head.status, headers: head.headers, bearer, line: line(captured), body })
        };
        tokio::select! {
            answer = tokio::time::timeout(patience, answer) => {
                answer.unwrap_or_else(|_| Err(Failure::timeout(gate)))
            }
            shut = gate.shuts() => Err(Failure::Late(shut)),
        }
    }

    fn request(&self, post: Post<'_>, gate: &Gate) -> Result<Request<Gated>, http::Error> {
        let Post { method, by, query, metadata, json } = post;
        let mut request = Request::builder()
            .method(Method::POST)
            .uri(self.base.uri(method, &query)?)
            .body(Gated::new(json, gate.clone()))?;
        let headers = request.headers_mut();
        // The caller's first: what the gateway says stands.
        *headers = metadata;
        headers.insert(CONTENT_TYPE, JSON);
        headers.insert(USER_AGENT, AGENT);
        headers.insert(CONNECT_PROTOCOL_VERSION, HeaderValue::from_static("1"));
        let millis = gate.left().as_millis().clamp(1, MAX_TIMEOUT_MS);
        headers.insert(CONNECT_TIMEOUT_MS, HeaderValue::try_from(millis.to_string())?);
        let token = match by {
            By::Org(org) => self.credentials.get(org),
            By::Caller(passed) => Some(passed.token().clone()),
            By::Token(token) => Some(token.clone()),
        };
        if let Some(token) = token {
            headers.insert(AUTHORIZATION, token.authorization());
        }
        telemetry::inject(&Span::current(), headers);
        Ok(request)
    }
}

impl Failure {
    /// A request that did not pass its gate never left: that covers a failed connect, TLS or HTTP handshake, and a
    /// connection that closed before it took the request. Past it, only upstream can say that it did nothing.
    fn of(error: legacy::Error, gate: &Gate) -> Self {
        match gate.shut() {
            Err(Shut::GivenUp) => Self::Unsent(error.into()),
            Err(late @ (Shut::Deadline | Shut::Gone)) => Self::Late(late),
            Ok(()) if is_unprocessed(&error) => Self::Unsent(error.into()),
            Ok(()) => Self::Broken(error.into()),
        }
    }

    fn timeout(gate: &Gate) -> Self {
        match gate.shut() {
            Err(Shut::GivenUp) => Self::Unsent(Shut::GivenUp.into()),
            Err(late @ (Shut::Deadline | Shut::Gone)) => Self::Late(late),
            Ok(()) => Self::Timeout,
        }
    }
}

/// The pool hands a poisoned connection to no further request, and drops it.
fn line(captured: CaptureConnection) -> Line {
    Line::new(move || {
        if let Some(connection) = captured.connection_metadata().as_ref() {
            connection.poison();
        }
    })
}

/// Upstream guarantees that it did not process the request (RFC 9113, section 8.7): it refused the stream, or its
/// GOAWAY names an earlier one as the last. h2 ends only the streams above that one with the GOAWAY (`recv_go_away`);
/// those below go on, and end with the connection's I/O error.
fn is_unprocessed(error: &legacy::Error) -> bool {
    let mut source = error.source();
    while let Some(error) = source {
        if let Some(h2) = error.downcast_ref::<h2::Error>() {
            let refused = h2.is_reset() && h2.reason() == Some(h2::Reason::REFUSED_STREAM);
            return h2.is_remote() && (refused || h2.is_go_away());
        }
        source = error.source();
    }
    false
}

fn tls(config: &Config, base: &Base) -> Result<ClientConfig, ClientError> {
    let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()?;
    let builder = match &config.ca_file {
        Some(path) => builder.with_root_certificates(roots(path)?),
        // A plain upstream on loopback also works where no certificates are installed.
        None if base.scheme == Scheme::HTTP => builder.with_root_certificates(RootCertStore::empty()),
        None => builder.with_native_roots().map_err(ClientError::PlatformRoots)?,
    };
    Ok(builder.with_no_client_auth())
}

fn roots(path: &Path) -> Result<RootCertStore, ClientError> {
    let pem = file::read(path, Access::Guarded);
    let pem = pem.map_err(|fault| ClientError::CaFile { path: path.to_owned(), fault })?;
    let mut roots = RootCertStore::empty();
    let (added, _) = roots.add_parsable_certificates(CertificateDer::pem_slice_iter(&pem).flatten());
    if added == 0 { Err(ClientError::NoCertificate { path: path.to_owned() }) } else { Ok(roots) }
}
