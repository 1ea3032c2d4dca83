//! A CA, the files of a server certificate that it signs anew again and again, and clients that trust it.

use std::{
    fs::{self, Permissions},
    net::SocketAddr,
    os::unix::fs::PermissionsExt as _,
    sync::Arc,
    time::Duration,
};

use prebuild_gateway::server::tls;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::{
    ClientConfig, RootCertStore, SupportedProtocolVersion,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, ServerName},
    version::{TLS12, TLS13},
};
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint};

/// Short, so that a test sees many changes.
const RELOAD_INTERVAL: Duration = Duration::from_millis(10);

pub(crate) struct Certified {
    ca: CertifiedIssuer<'static, KeyPair>,
    folder: TempDir,
}

impl Certified {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let ca = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let certified = Self { ca, folder: tempfile::tempdir().unwrap() };
        certified.rotate();
        certified
    }

    pub(crate) fn config(&self) -> tls::Config {
        let file = |name: &str| self.folder.path().join(name);
        tls::Config {
            reload_interval: RELOAD_INTERVAL,
            ..tls::Config::of(file("server.crt"), file("server.key"))
        }
    }

    /// Writes a new pair, one file after the other, as programs do that know of no better way.
    pub(crate) fn rotate(&self) -> CertificateDer<'static> {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec!["localhost".to_owned(), "127.0.0.1".to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &self.ca).unwrap();
        let config = self.config();
        fs::write(&config.certificate, certificate.pem()).unwrap();
        fs::write(&config.key, key.serialize_pem()).unwrap();
        fs::set_permissions(&config.key, Permissions::from_mode(0o600)).unwrap();
        certificate.der().clone()
    }

    /// Makes the pair one that cannot be used: a key of something else.
    pub(crate) fn spoil(&self) {
        fs::write(self.config().key, KeyPair::generate().unwrap().serialize_pem()).unwrap();
    }

    /// A connection to the gateway, with these versions and ALPN names.
    pub(crate) async fn connect(
        &self,
        address: SocketAddr,
        versions: &[&'static SupportedProtocolVersion],
        alpn: &[&str],
    ) -> std::io::Result<TlsStream<TcpStream>> {
        let mut roots = RootCertStore::empty();
        roots.add(self.ca.der().clone()).unwrap();
        let mut config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_protocol_versions(versions)
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        let tcp = TcpStream::connect(address).await?;
        let name = ServerName::try_from("localhost").unwrap();
        TlsConnector::from(Arc::new(config)).connect(name, tcp).await
    }

    /// The certificate that a new connection gets.
    pub(crate) async fn shown(&self, address: SocketAddr) -> CertificateDer<'static> {
        let stream = self.connect(address, &[&TLS13, &TLS12], &["h2"]).await.unwrap();
        stream.get_ref().1.peer_certificates().unwrap()[0].clone()
    }

    /// A gRPC client's connection.
    pub(crate) async fn channel(&self, address: SocketAddr) -> Channel {
        let tls = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(self.ca.pem()));
        let endpoint = Endpoint::from_shared(format!("https://{address}")).unwrap();
        endpoint.tls_config(tls).unwrap().connect().await.unwrap()
    }
}
