//! TLS under the gateway's listener, with the runner's certificate.

use std::{io, sync::Arc};

use http::Extensions;
use prebuild_gateway::server::Transport;
use rustls::{
    ServerConfig,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
};
use tokio::net::TcpStream;
use tokio_rustls::{TlsAcceptor, server::TlsStream};

use super::{BoxError, pipe::Credentials};

pub struct Tls(TlsAcceptor);

impl Tls {
    pub fn new(credentials: &Credentials) -> Result<Self, BoxError> {
        let chain = CertificateDer::pem_slice_iter(&credentials.cert).collect::<Result<_, _>>()?;
        let key = PrivateKeyDer::from_pem_slice(&credentials.key)?;
        let mut config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(chain, key)?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Self(TlsAcceptor::from(Arc::new(config))))
    }
}

impl Transport for Tls {
    type Stream = TlsStream<TcpStream>;

    async fn open(&self, tcp: TcpStream) -> io::Result<(Self::Stream, Extensions)> {
        Ok((self.0.accept(tcp).await?, Extensions::new()))
    }
}
