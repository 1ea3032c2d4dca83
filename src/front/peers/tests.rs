//! What spends, and what does not, in front of a service that answers as told.

use std::{net::SocketAddr, num::NonZeroU32, time::Instant};

use futures_util::FutureExt as _;
use tower::service_fn;

use super::*;
use crate::{
    call::{Identity, Recorder, RequestId, Scopes},
    error::Retry,
};

fn one() -> Peers {
    Peers::new(Rate::per_second(NonZeroU32::MIN, NonZeroU32::MIN), Metrics::new())
}

fn request() -> (HttpRequest, Context) {
    let peer = SocketAddr::from(([192, 0, 2, 1], 40_000));
    let context = Context::new(RequestId::new(), Instant::now(), Some(peer));
    let mut request = HttpRequest::default();
    request.extensions_mut().insert(Peer(peer));
    request.extensions_mut().insert(context.clone());
    (request, context)
}

fn acme() -> Identity {
    Identity {
        subject: "ci".into(),
        org: "acme".into(),
        credential: "ci-1".into(),
        scopes: Scopes::all(),
        passed: None,
    }
}

/// How a request of this context ends that the rest refuses for this reason; whether it is only counted.
async fn refused_of(
    peers: &Peers,
    (request, context): (HttpRequest, Context),
    reason: Reason,
) -> (Option<Reason>, bool) {
    let rest = service_fn(move |_| async move { Err::<HttpResponse, _>(Error::refuse(reason)) });
    let error = peers.call(request, rest).await.unwrap_err();
    (error.reason, context.is_limited())
}

async fn refused(peers: &Peers, reason: Reason) -> (Option<Reason>, bool) {
    refused_of(peers, request(), reason).await
}

#[tokio::test]
async fn whatever_is_refused_before_somebody_is_known_spends() {
    for reason in Reason::ALL.iter().copied() {
        let peers = one();
        assert_eq!(refused(&peers, reason).await, (Some(reason), false));
        let expected = match reason {
            Reason::Overloaded | Reason::Internal | Reason::IdentityConflict => (Some(reason), false),
            _ if reason.origin() == Origin::Caller => (Some(Reason::PeerLimited), true),
            // It may be a caller's that could not be known in time.
            _ => (Some(reason), true),
        };
        assert_eq!(refused(&peers, reason).await, expected);
        let call = request();
        call.1.claim(Recorder::CallPlane);
        assert_eq!(refused_of(&peers, call, reason).await, (Some(reason), false), "a call is told as it is");
    }
}

#[tokio::test]
async fn who_is_known_spends_by_what_cannot_be_read_and_apart_from_strangers() {
    let peers = one();
    let known = || {
        let (request, context) = request();
        context.set_identity(acme());
        (request, context)
    };
    for _ in 0..3 {
        refused(&peers, Reason::Unauthenticated).await;
    }
    let unreadable = Reason::MalformedMessage;
    assert!(!refused_of(&peers, known(), Reason::DeadlineExceeded).await.1);
    assert_eq!(refused_of(&peers, known(), unreadable).await, (Some(unreadable), false));
    assert_eq!(refused_of(&peers, known(), unreadable).await, (Some(Reason::PeerLimited), true));
    assert!(!refused_of(&peers, known(), Reason::DeadlineExceeded).await.1);
}

/// Credentials do not become good by waiting, nor messages.
#[tokio::test]
async fn what_is_refused_for_it_is_not_to_be_tried_again() {
    let peers = one();
    refused(&peers, Reason::Unauthenticated).await;
    let rest = service_fn(async |_| Err::<HttpResponse, _>(Error::refuse(Reason::Unauthenticated)));
    let error = peers.call(request().0, rest).await.unwrap_err();
    assert_eq!((error.reason, error.rule.as_deref()), (Some(Reason::PeerLimited), Some("limits.refusals")));
    assert_eq!(error.retry, Retry::Never);
}

#[tokio::test]
async fn look_ups_in_vain_have_a_bucket_of_their_own() {
    let peers = one();
    let asks = async |in_vain: usize| {
        let (request, _) = request();
        let (told, heard) = tokio::sync::oneshot::channel();
        let told = std::sync::Mutex::new(Some(told));
        let rest = service_fn(move |request: HttpRequest| {
            let asker: LookUps = request.extensions().get().cloned().unwrap();
            let _heard = told.lock().unwrap().take().unwrap().send(asker.may_ask());
            (0..in_vain).for_each(|_| asker.asked_in_vain());
            async { Err::<HttpResponse, _>(Error::refuse(Reason::Unauthenticated)) }
        });
        let told = peers.call(request, rest).await.unwrap_err().reason;
        (heard.await.unwrap(), told)
    };
    assert_eq!(asks(0).await, (true, Some(Reason::Unauthenticated)));
    assert_eq!(asks(2).await, (true, Some(Reason::PeerLimited)), "other refusals bar nobody from it");
    assert_eq!(asks(0).await, (false, Some(Reason::PeerLimited)));
}

#[tokio::test]
async fn who_hangs_up_unknown_is_not_spared() {
    for known in [false, true] {
        let (peers, (request, context)) = (one(), request());
        if known {
            context.set_identity(acme());
        }
        let rest = service_fn(async |_| std::future::pending::<Result<HttpResponse, Error>>().await);
        let call = peers.call(request, rest);
        assert!(call.now_or_never().is_none());
        let next = refused(&peers, Reason::Unauthenticated).await.0;
        assert_eq!(next, Some(if known { Reason::Unauthenticated } else { Reason::PeerLimited }));
    }
}
