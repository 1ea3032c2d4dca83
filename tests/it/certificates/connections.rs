//! Connections and the certificates that they are made with: none is known by an old one.

use http_body_util::{BodyExt as _, Full};
use rustls::{
    HandshakeKind,
    version::{TLS12, TLS13},
};

use super::*;
use crate::harness::connect_with;

/// A client that resumes shows no certificate: it would be known by the one that the session began with, for ever.
#[tokio::test]
async fn no_session_is_resumed_where_clients_may_show_certificates() {
    let known = Known::start().await;
    let shown = known.issue(&[spiffe(CI)]);
    for (version, shown) in [(&TLS13, Some(&shown)), (&TLS12, Some(&shown)), (&TLS13, None), (&TLS12, None)] {
        let config = known.certified.client_config(shown, &[version], &["h2"]);
        let key = shown.is_none().then_some(ACME_KEY);
        for _ in 0..3 {
            let stream = connect_with(config.clone(), known.gateway.address).await.unwrap();
            assert_eq!(stream.get_ref().1.handshake_kind(), Some(HandshakeKind::Full));
            // With TLS 1.3 tickets come after the handshake.
            let mut raw = Raw::over(stream, "https://localhost".to_owned()).await;
            assert_eq!(call(&mut raw, key).await.0, Code::Ok);
        }
    }
}

/// As GOAWAY is to HTTP/2: the answer says that there is no next one.
#[tokio::test]
async fn over_http_1_the_refusal_says_that_the_connection_closes() {
    let known = Known::start().await;
    let shown = known.issue(&[spiffe(CI)]);
    let stream =
        known.certified.connect_as(Some(&shown), known.gateway.address, &[&TLS13], &["http/1.1"]).await;
    let (mut send, connection) = hyper::client::conn::http1::handshake::<_, Full<bytes::Bytes>>(
        hyper_util::rt::TokioIo::new(stream.unwrap()),
    )
    .await
    .unwrap();
    let ended = tokio::spawn(connection);
    let mut list = async || {
        let request = http::Request::post(format!("/gitpod.v1.PrebuildService/{LIST}"))
            .header("host", "localhost")
            .header("content-type", "application/json")
            .body(Full::from("{}"))
            .unwrap();
        let answer = soon(send.send_request(request)).await.unwrap();
        let (head, body) = answer.into_parts();
        body.collect().await.unwrap();
        (head.status.as_u16(), head.headers.get("connection").cloned())
    };
    assert_eq!(list().await, (200, None));
    known.certified.trust(&ClientCa::new().pem());
    counted(&known, TAKEN, 1).await;
    assert_eq!(list().await, (401, Some("close".parse().unwrap())));
    soon(ended).await.unwrap().unwrap();
}

/// So that clients come back with their next certificate before calls fail.
#[tokio::test]
async fn a_connection_is_asked_to_go_before_its_certificate_ends() {
    let known = Known::start().await;
    let mut was_early = false;
    // A machine that stalls right then has more time with the next one.
    for lifetime in [5, 10, 20] {
        let seconds = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs() + lifetime;
        let short = known.ca.issue(&[spiffe(CI)], |params| {
            params.not_after = rcgen::date_time_ymd(1970, 1, 1) + Duration::from_secs(seconds);
        });
        let mut raw = known.raw(&short).await;
        assert_eq!(call(&mut raw, None).await.0, Code::Ok);
        raw.closes().await;
        was_early = SystemTime::now() < SystemTime::UNIX_EPOCH + Duration::from_secs(seconds + 1);
        if was_early {
            break;
        }
    }
    assert!(was_early);
    // By its age, which is half an hour otherwise.
    counted(&known, "prebuild_gateway_connections_closed_total{reason=\"aged\"}", 1).await;
}
