//! Keys over TLS: by the CA that the entry names, and by no other.

use std::{convert::Infallible, io::Write as _, sync::Arc};

use http::{Request, Response, Version};
use hyper::{body::Incoming, server::conn::http2, service::service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::{ServerConfig, crypto::aws_lc_rs, pki_types::PrivateKeyDer};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::{Fetch, Signer, Url, jwks};
use crate::telemetry;

type Ca = CertifiedIssuer<'static, KeyPair>;

fn ca() -> Ca {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

/// Serves the keys over HTTP/2 alone, with a certificate of that CA.
async fn serve(ca: &Ca, keys: String) -> Url {
    let key = KeyPair::generate().unwrap();
    let certificate =
        CertificateParams::new(vec!["localhost".to_owned()]).unwrap().signed_by(&key, ca).unwrap();
    let mut config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![certificate.der().clone()],
            PrivateKeyDer::try_from(key.serialize_der()).unwrap(),
        )
        .unwrap();
    config.alpn_protocols = vec![b"h2".to_vec()];
    let (acceptor, listener) =
        (TlsAcceptor::from(Arc::new(config)), TcpListener::bind("127.0.0.1:0").await.unwrap());
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((tcp, _)) = listener.accept().await {
            // Who trusts another CA goes.
            let Ok(tls) = acceptor.accept(tcp).await else { continue };
            let answer = service_fn(|request: Request<Incoming>| {
                assert_eq!((request.version(), request.uri().path()), (Version::HTTP_2, "/keys"));
                let keys = keys.clone();
                async move { Ok::<_, Infallible>(Response::new(keys)) }
            });
            let _ended =
                http2::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(tls), answer).await;
        }
    });
    Url::parse(&format!("https://localhost:{port}/keys")).unwrap()
}

fn trusting(ca: &Ca, url: &Url) -> Fetch {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(ca.pem().as_bytes()).unwrap();
    Fetch::new(url.clone(), Some(file.path())).unwrap()
}

#[tokio::test]
async fn keys_are_fetched_from_an_issuer_of_the_ca_that_is_trusted() {
    let (theirs, other) = (ca(), ca());
    let url = serve(&theirs, jwks(&[Signer::p256().jwk("es")])).await;
    assert_eq!(trusting(&theirs, &url).get().await.unwrap().len(), 1);
    let error = trusting(&other, &url).get().await.unwrap_err();
    // An operator has to see what is wrong.
    let said = telemetry::chain(&error);
    assert!(said.starts_with("the issuer's keys cannot be fetched: no answer: "), "{said}");
    assert!(said.contains("certificate"), "{said}");
}
