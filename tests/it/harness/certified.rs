//! A CA, the files of a server certificate that it signs anew again and again, and clients that trust it.

use std::{
    fs::{self, Permissions},
    net::SocketAddr,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use prebuild_gateway::server::tls;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    SanType,
};
use rustls::{
    ClientConfig, RootCertStore, SupportedProtocolVersion,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject as _},
    version::{TLS12, TLS13},
};
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint};

use super::raw::Raw;

/// Short, so that a test sees many changes.
const RELOAD_INTERVAL: Duration = Duration::from_millis(10);

pub(crate) struct Certified {
    ca: CertifiedIssuer<'static, KeyPair>,
    folder: TempDir,
}

/// A CA of client certificates, or one below another.
pub(crate) struct ClientCa(CertifiedIssuer<'static, KeyPair>);

/// What a client shows, and its key.
#[derive(Clone)]
pub(crate) struct ClientCertificate {
    pub(crate) chain: Vec<CertificateDer<'static>>,
    pub(crate) key: String,
}

impl ClientCa {
    pub(crate) fn new() -> Self {
        Self(CertifiedIssuer::self_signed(authority(), KeyPair::generate().unwrap()).unwrap())
    }

    /// One that this one has signed.
    pub(crate) fn below(&self) -> Self {
        Self(CertifiedIssuer::signed_by(authority(), KeyPair::generate().unwrap(), &self.0).unwrap())
    }

    pub(crate) fn pem(&self) -> String {
        self.0.pem()
    }

    pub(crate) fn der(&self) -> CertificateDer<'static> {
        self.0.der().clone()
    }

    /// A certificate with these names, changed.
    pub(crate) fn issue(
        &self,
        names: &[SanType],
        change: impl FnOnce(&mut CertificateParams),
    ) -> ClientCertificate {
        let key = KeyPair::generate().unwrap();
        let mut params = leaf(names);
        change(&mut params);
        let certificate = params.signed_by(&key, &self.0).unwrap();
        ClientCertificate { chain: vec![certificate.der().clone()], key: key.serialize_pem() }
    }
}

impl ClientCertificate {
    /// The files for programs.
    pub(crate) fn write(&self, folder: &Path) -> (PathBuf, PathBuf) {
        let (certificate, key) = (folder.join("client.crt"), folder.join("client.key"));
        let pem = |der: &CertificateDer<'_>| {
            let lines = STANDARD.encode(der);
            format!("-----BEGIN CERTIFICATE-----\n{lines}\n-----END CERTIFICATE-----\n")
        };
        fs::write(&certificate, self.chain.iter().map(pem).collect::<String>()).unwrap();
        fs::write(&key, &self.key).unwrap();
        (certificate, key)
    }

    pub(crate) fn self_signed(names: &[SanType]) -> Self {
        let key = KeyPair::generate().unwrap();
        let certificate = leaf(names).self_signed(&key).unwrap();
        Self { chain: vec![certificate.der().clone()], key: key.serialize_pem() }
    }
}

fn authority() -> CertificateParams {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    // Two CAs of one name would be one to clients.
    params.distinguished_name.push(DnType::CommonName, uuid::Uuid::new_v4().to_string());
    params
}

fn leaf(names: &[SanType]) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.subject_alt_names = names.to_vec();
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    params
}

pub(crate) async fn connect_with(
    config: Arc<ClientConfig>,
    address: SocketAddr,
) -> std::io::Result<TlsStream<TcpStream>> {
    let tcp = TcpStream::connect(address).await?;
    let name = ServerName::try_from("localhost").unwrap();
    TlsConnector::from(config).connect(name, tcp).await
}

pub(crate) fn spiffe(id: &str) -> SanType {
    SanType::URI(id.try_into().unwrap())
}

pub(crate) fn dns(name: &str) -> SanType {
    SanType::DnsName(name.try_into().unwrap())
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

    /// The same, with the CAs of client certificates.
    pub(crate) fn config_for(&self, ca: &ClientCa) -> tls::Config {
        self.trust(&ca.pem());
        tls::Config { client_ca: Some(self.client_ca()), ..self.config() }
    }

    fn client_ca(&self) -> PathBuf {
        self.folder.path().join("client-ca.crt")
    }

    /// The file with the CA of the server's certificate.
    pub(crate) fn ca_file(&self) -> PathBuf {
        let file = self.folder.path().join("ca.crt");
        fs::write(&file, self.ca.pem()).unwrap();
        file
    }

    /// Writes the file with the CAs of client certificates.
    pub(crate) fn trust(&self, pem: &str) {
        fs::write(self.client_ca(), pem).unwrap();
        fs::set_permissions(self.client_ca(), Permissions::from_mode(0o644)).unwrap();
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
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
        self.connect_as(None, address, versions, alpn).await
    }

    /// The same, with a certificate to show.
    pub(crate) async fn connect_as(
        &self,
        shown: Option<&ClientCertificate>,
        address: SocketAddr,
        versions: &[&'static SupportedProtocolVersion],
        alpn: &[&str],
    ) -> std::io::Result<TlsStream<TcpStream>> {
        connect_with(self.client_config(shown, versions, alpn), address).await
    }

    /// A client that trusts the CA, and resumes its own sessions.
    pub(crate) fn client_config(
        &self,
        shown: Option<&ClientCertificate>,
        versions: &[&'static SupportedProtocolVersion],
        alpn: &[&str],
    ) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(self.ca.der().clone()).unwrap();
        let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_protocol_versions(versions)
            .unwrap()
            .with_root_certificates(roots);
        let mut config = match shown {
            None => config.with_no_client_auth(),
            Some(ClientCertificate { chain, key }) => {
                let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
                config.with_client_auth_cert(chain.clone(), key).unwrap()
            }
        };
        config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        Arc::new(config)
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

    /// An HTTP/2 connection of whoever shows this.
    pub(crate) async fn raw(
        &self,
        shown: Option<&ClientCertificate>,
        address: SocketAddr,
    ) -> std::io::Result<Raw> {
        let stream = self.connect_as(shown, address, &[&TLS13, &TLS12], &["h2"]).await?;
        Ok(Raw::over(stream, "https://localhost".to_owned()).await)
    }
}
