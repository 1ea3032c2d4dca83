//! What spends, and what does not, in front of a service that answers as told.

use std::{net::SocketAddr, num::NonZeroU32, time::Instant};

use futures_util::FutureExt as _;
use tower::service_fn;

use super::*;
use crate::call::{Identity, Recorder, RequestId, Scopes};

fn one() -> Peers {
    Peers::new(Rate { per_second: NonZeroU32::MIN, burst: NonZeroU32::MIN }, Metrics::new())
}

fn request() -> (HttpRequest, Context) {
    let peer = SocketAddr::from(([192, 0, 2, 1], 40_000));
    let context = Context::new(RequestId::new(), Instant::now(), Some(peer));
    let mut request = HttpRequest::default();
    request.extensions_mut().insert(Peer(peer));
    request.extensions_mut().insert(context.clone());
    (request, context)
}

/// How a request ends that the rest refuses for this reason; whether the rest was told that the peer is limited.
async fn refused(peers: &Peers, reason: Reason, is_call: bool) -> (Option<Reason>, bool) {
    let (request, context) = request();
    if is_call {
        context.claim(Recorder::CallPlane);
    }
    let (told, heard) = tokio::sync::oneshot::channel();
    let told = std::sync::Mutex::new(Some(told));
    let told = std::sync::Arc::new(told);
    let rest = service_fn(move |request: HttpRequest| {
        let is_limited = request.extensions().get::<Limited>().is_some();
        told.lock().unwrap().take().unwrap().send(is_limited).unwrap();
        async move { Err::<HttpResponse, _>(Error::refuse(reason)) }
    });
    let error = peers.call(request, rest).await.unwrap_err();
    (error.reason, heard.await.unwrap())
}

#[tokio::test]
async fn refusals_of_the_caller_before_the_call_spend() {
    for reason in Reason::ALL.iter().copied() {
        let spends = reason.origin() == Origin::Caller;
        let peers = one();
        assert_eq!(refused(&peers, reason, false).await, (Some(reason), false));
        let second = refused(&peers, reason, false).await.0;
        assert_eq!(second, Some(if spends { Reason::PeerLimited } else { reason }));
        assert_eq!(refused(&peers, reason, true).await, (Some(reason), spends), "a call is told as it is");
    }
}

#[tokio::test]
async fn what_is_refused_for_it_says_when_to_come_back() {
    let peers = one();
    assert_eq!(refused(&peers, Reason::Unauthenticated, false).await.0, Some(Reason::Unauthenticated));
    let (request, _) = request();
    let rest = service_fn(async |_| Err::<HttpResponse, _>(Error::refuse(Reason::Unauthenticated)));
    let error = peers.call(request, rest).await.unwrap_err();
    assert_eq!((error.reason, error.rule.as_deref()), (Some(Reason::PeerLimited), Some("limits.refusals")));
    assert!(matches!(error.retry, Retry::After(wait) if wait.as_millis() <= 1000), "{:?}", error.retry);
}

#[tokio::test]
async fn who_hangs_up_unknown_is_not_spared() {
    for known in [false, true] {
        let (peers, (request, context)) = (one(), request());
        if known {
            context.set_identity(Identity {
                subject: "ci".into(),
                org: "acme".into(),
                credential: "ci-1".into(),
                scopes: Scopes::all(),
                passed: None,
            });
        }
        let rest = service_fn(async |_| std::future::pending::<Result<HttpResponse, Error>>().await);
        let call = peers.call(request, rest);
        assert!(call.now_or_never().is_none());
        let next = refused(&peers, Reason::Unauthenticated, false).await.0;
        assert_eq!(next, Some(if known { Reason::Unauthenticated } else { Reason::PeerLimited }));
    }
}
