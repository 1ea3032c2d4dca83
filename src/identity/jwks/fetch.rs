//! One fetch of an issuer's keys.

use std::{io, net::IpAddr, path::Path, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{
    HeaderValue, Request, StatusCode, Uri,
    header::{ACCEPT, USER_AGENT},
    uri::Scheme,
};
use http_body_util::{BodyExt as _, Empty, LengthLimitError, Limited};
use hyper_rustls::{ConfigBuilderExt as _, HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use rustls::{
    ClientConfig, RootCertStore,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, pem::PemObject as _},
};

use super::keys::{KeySet, NotAKeySet};
use crate::file::{self, Access, Fault};

/// From the resolver to the last byte. Callers with new keys wait for it.
pub(super) const TIMEOUT: Duration = Duration::from_secs(5);

/// A hundred keys with their certificates are some 300 KiB.
const MAX_ANSWER: usize = 1 << 20;

const AGENT: HeaderValue = HeaderValue::from_static(concat!("prebuild-gateway/", env!("CARGO_PKG_VERSION")));
const JSON: HeaderValue = HeaderValue::from_static("application/jwk-set+json, application/json");

/// Where the keys are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Url(Uri);

/// Fetches them from there, and from nowhere else: no redirect is followed.
#[derive(Clone, Debug)]
pub struct Fetch {
    http: Client<HttpsConnector<HttpConnector>, Empty<Bytes>>,
    url: Url,
}

/// What the URL must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UrlError {
    #[error("must be an absolute URL like https://issuer.example.com/jwks.json")]
    Url,
    #[error("must be https, or http to a loopback address")]
    Plaintext,
    #[error("must have no user name or password")]
    UserInfo,
}

/// Why nothing can be fetched at all.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    #[error("`{path}` {fault}")]
    CaFile { path: String, fault: Fault },
    #[error("`{0}` holds no usable CA certificate")]
    NoCertificate(String),
    #[error("the platform's root certificates cannot be read: {0}")]
    PlatformRoots(io::Error),
    #[error("TLS cannot be set up: {0}")]
    Tls(#[from] rustls::Error),
}

/// Why there are no keys.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    #[error("the issuer's keys cannot be fetched: no answer")]
    NoAnswer(#[source] Box<dyn std::error::Error + Send + Sync>),
    #[error("the issuer's keys cannot be fetched: no answer within 5 s")]
    Timeout,
    #[error("the issuer's keys cannot be fetched: HTTP status {0}")]
    Status(StatusCode),
    #[error("the issuer's answer is larger than 1 MiB")]
    TooLarge,
    #[error("the issuer's answer {0}")]
    Content(NotAKeySet),
}

impl Url {
    /// # Errors
    /// The URL is not absolute, would fetch keys over a network in the clear, or holds a password.
    pub fn parse(url: &str) -> Result<Self, UrlError> {
        let uri: Uri = url.parse().map_err(|_| UrlError::Url)?;
        let authority = uri.authority().ok_or(UrlError::Url)?;
        if authority.as_str().contains('@') {
            return Err(UrlError::UserInfo);
        }
        if authority.host().is_empty() {
            return Err(UrlError::Url);
        }
        match uri.scheme() {
            Some(scheme) if *scheme == Scheme::HTTPS => Ok(Self(uri)),
            Some(scheme) if *scheme == Scheme::HTTP && is_loopback(authority.host()) => Ok(Self(uri)),
            Some(scheme) if *scheme == Scheme::HTTP => Err(UrlError::Plaintext),
            _ => Err(UrlError::Url),
        }
    }

    pub fn is_https(&self) -> bool {
        self.0.scheme() == Some(&Scheme::HTTPS)
    }
}

fn is_loopback(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']');
    address == "localhost" || address.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

impl Fetch {
    /// # Errors
    /// The trusted certificates cannot be read.
    pub fn new(url: Url, ca_file: Option<&Path>) -> Result<Self, SetupError> {
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        let https = HttpsConnectorBuilder::new().with_tls_config(tls(&url, ca_file)?).https_or_http();
        let https = https.enable_all_versions().wrap_connector(tcp);
        // A connection that is kept is of no use for a fetch in ten minutes.
        let http = Client::builder(TokioExecutor::new()).pool_max_idle_per_host(0).build(https);
        Ok(Self { http, url })
    }

    pub(super) async fn get(&self) -> Result<KeySet, FetchError> {
        tokio::time::timeout(TIMEOUT, self.exchange()).await.unwrap_or(Err(FetchError::Timeout))
    }

    async fn exchange(&self) -> Result<KeySet, FetchError> {
        let mut request = Request::new(Empty::new());
        *request.uri_mut() = self.url.0.clone();
        request.headers_mut().insert(ACCEPT, JSON);
        request.headers_mut().insert(USER_AGENT, AGENT);
        let response =
            self.http.request(request).await.map_err(|error| FetchError::NoAnswer(error.into()))?;
        if response.status() != StatusCode::OK {
            return Err(FetchError::Status(response.status()));
        }
        let body = Limited::new(response.into_body(), MAX_ANSWER).collect().await;
        let body = body.map_err(|error| match error.is::<LengthLimitError>() {
            true => FetchError::TooLarge,
            false => FetchError::NoAnswer(error),
        })?;
        KeySet::parse(&body.to_bytes()).map_err(FetchError::Content)
    }
}

fn tls(url: &Url, ca_file: Option<&Path>) -> Result<ClientConfig, SetupError> {
    let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()?;
    let builder = match ca_file {
        Some(path) => builder.with_root_certificates(roots(path)?),
        // Plain HTTP on loopback also works where no certificates are installed.
        None if !url.is_https() => builder.with_root_certificates(RootCertStore::empty()),
        None => builder.with_native_roots().map_err(SetupError::PlatformRoots)?,
    };
    Ok(builder.with_no_client_auth())
}

fn roots(path: &Path) -> Result<RootCertStore, SetupError> {
    let shown = path.display().to_string();
    let pem = file::read(path, Access::Guarded)
        .map_err(|fault| SetupError::CaFile { path: shown.clone(), fault })?;
    let mut roots = RootCertStore::empty();
    let (added, _) = roots.add_parsable_certificates(CertificateDer::pem_slice_iter(&pem).flatten());
    if added == 0 { Err(SetupError::NoCertificate(shown)) } else { Ok(roots) }
}
