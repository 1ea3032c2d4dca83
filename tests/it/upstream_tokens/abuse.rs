//! Many at once, and tokens that are made up: upstream sees a bounded number of questions, and known callers see nothing
//! of it.

use std::{
    num::NonZeroU32,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use prebuild_gateway::rule::Rate;

use super::*;
use crate::harness::Client;

const MADE_UP: usize = 5_000;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_first_calls_at_once_are_one_look_up() {
    let mut bench = Bench::start().await;
    let mut pending = Vec::new();
    for _ in 0..100 {
        let request = by(&bench.raw, "ListPrebuilds", TOKEN);
        pending.push(bench.raw.begin(request, Some(frame(0, b""))).await);
    }
    let answers = join_all(pending.into_iter().map(|pending| pending.answered())).await;
    assert!(answers.iter().all(|answered| answered.grpc().code() == tonic::Code::Ok));
    assert_eq!(bench.asked(), 1);
}

#[tokio::test]
async fn a_caller_that_leaves_takes_the_look_up_from_nobody() {
    let acme = Org::demo("acme", ACME_TOKEN.into()).organization_id.to_string();
    let said = json(200, &value!({"subject": {"id": "jane"}, "organizationId": acme}));
    let (gate, held) = Answer::held(said);
    let upstream = Upstream::start([held]).await;
    let gateway = Gateway::with(upstream.address, enabled).await;
    let (mut one, mut other) = (Raw::connect(gateway.address).await, Raw::connect(gateway.address).await);
    let request = by(&one, "ListPrebuilds", TOKEN);
    let mut first = one.begin(request, Some(frame(0, b""))).await;
    upstream.arrived(1).await;
    let request = by(&other, "ListPrebuilds", TOKEN);
    let second = other.begin(request, Some(frame(0, b""))).await;
    // Both are there once a third one, on the second's connection, was answered.
    let request = by(&other, "NoSuchMethod", ACME_KEY);
    other.call(request, frame(0, b"")).await;
    first.stream.send_reset(h2::Reason::CANCEL);
    let request = by(&one, "NoSuchMethod", ACME_KEY);
    one.call(request, frame(0, b"")).await;
    upstream.then(Answer::Bytes(json(200, &value!({}))));
    gate.cancel();
    assert_eq!(second.answered().await.grpc().code(), tonic::Code::Ok);
    assert_eq!(upstream.seen().len(), 2, "one look-up and one call");
}

#[tokio::test]
async fn a_look_up_ends_with_the_deadline_of_the_last_that_waits() {
    let upstream = Upstream::start([Answer::silence()]).await;
    let gateway = Gateway::with(upstream.address, enabled).await;
    let mut raw = Raw::connect(gateway.address).await;
    let request = by(&raw, "ListPrebuilds", TOKEN).header("grpc-timeout", "200m");
    let late = raw.call(request, frame(0, b"")).await.grpc();
    assert_eq!(late.reason().as_deref(), Some("DEADLINE_EXCEEDED"));
    upstream.abandoned(1).await;
    let abandoned = format!("{LOOK_UPS}{{result=\"abandoned\"}}");
    soon(async { while gateway.counted(&abandoned).await < 1 {} }).await;
}

#[tokio::test]
async fn a_peer_that_is_refused_too_often_causes_no_look_ups() {
    let mut bench = Bench::with(|config| {
        let one = NonZeroU32::MIN;
        config.limits.refusals = Rate::per_second(one, one);
    })
    .await;
    assert_eq!(bench.list(TOKEN).await, Ok(()));
    let begun = Instant::now();
    for number in 0..20 {
        assert!(bench.list(&format!("made-up-{number}")).await.is_err());
        assert_eq!(bench.list(TOKEN).await, Ok(()), "who is known is not touched");
    }
    // Two where one comes in: the second finds that there was one only.
    let allowed = 3 + 2 * usize::try_from(begun.elapsed().as_secs()).unwrap();
    assert!(bench.asked() <= allowed, "{}", bench.asked());
    // Who comes with a new one waits.
    bench.upstream.sandbox.issue(bench.upstream.acme.organization_id, "new", Some(JANE));
    let mut waited = false;
    soon(async {
        while let Err(reason) = bench.list("new").await {
            assert_eq!(reason, "IDENTITY_UNAVAILABLE");
            waited = true;
        }
    })
    .await;
    assert!(waited || begun.elapsed() > Duration::from_secs(1));
}

/// Somebody with no token at all shares the address.
#[tokio::test]
async fn a_neighbour_without_tokens_keeps_no_new_token_out() {
    let mut bench = Bench::with(|config| {
        let one = NonZeroU32::MIN;
        config.limits.refusals = Rate::per_second(one, one);
    })
    .await;
    for number in 0..15 {
        let token = format!("good-{number}");
        bench.upstream.sandbox.issue(bench.upstream.acme.organization_id, &token, Some(JANE));
        for _ in 0..5 {
            let request = bench.raw.bare("/gitpod.v1.PrebuildService/ListPrebuilds");
            bench.raw.call(request.header("content-type", GRPC.0), frame(0, b"")).await;
        }
        assert_eq!(bench.list(&token).await, Ok(()), "{number}");
    }
}

/// Who does not wait for the answer has asked all the same.
#[tokio::test]
async fn strangers_that_leave_before_the_answer_are_not_spared() {
    let upstream = Upstream::start([Answer::silence(), Answer::silence(), Answer::silence()]).await;
    let gateway = Gateway::with(upstream.address, |config| {
        enabled(config);
        let one = NonZeroU32::MIN;
        config.limits.refusals = Rate::per_second(one, one);
    })
    .await;
    let (mut raw, begun) = (Raw::connect(gateway.address).await, Instant::now());
    for number in 0..30 {
        let request = by(&raw, "ListPrebuilds", &format!("made-up-{number}")).header("grpc-timeout", "20m");
        let reason = raw.call(request, frame(0, b"")).await.grpc().reason().unwrap();
        assert!(["DEADLINE_EXCEEDED", "IDENTITY_UNAVAILABLE"].contains(&&*reason), "{reason}");
    }
    let allowed = 2 + 2 * (1 + usize::try_from(begun.elapsed().as_secs()).unwrap());
    assert!(upstream.seen().len() <= allowed, "{}", upstream.seen().len());
    assert!(gateway.counted("prebuild_gateway_peer_limited_total").await > 0);
}

/// Calls one after the other until it is told to stop; how many there were.
fn calling(mut client: Client, stop: Arc<AtomicBool>) -> tokio::task::JoinHandle<usize> {
    tokio::spawn(async move {
        let mut made = 0;
        while !stop.load(Ordering::Relaxed) || made == 0 {
            client
                .list_prebuilds(ListPrebuildsRequest::default())
                .await
                .expect("who is known is not touched");
            made += 1;
        }
        made
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_made_up_tokens_is_no_load_upstream_and_touches_nobody_who_is_known() {
    let mut bench = Bench::start().await;
    assert_eq!(bench.list(TOKEN).await, Ok(()));
    let stop = Arc::new(AtomicBool::new(false));
    let known = [
        calling(bench.gateway.client_of(TOKEN).await, stop.clone()),
        calling(bench.gateway.client_of(ACME_KEY).await, stop.clone()),
    ];
    let begun = Instant::now();
    let next = Arc::new(AtomicUsize::new(0));
    let floods = (0..4).map(|_| {
        let (address, next) = (bench.gateway.address, next.clone());
        tokio::spawn(async move {
            let mut raw = Raw::connect(address).await;
            let mut capped = 0;
            loop {
                let from = next.fetch_add(50, Ordering::Relaxed);
                if from >= MADE_UP {
                    return capped;
                }
                let mut pending = Vec::new();
                for number in from..from + 50 {
                    let request = by(&raw, "ListPrebuilds", &format!("made-up-{number}"));
                    pending.push(raw.begin(request, Some(frame(0, b""))).await);
                }
                for answered in join_all(pending.into_iter().map(|pending| pending.answered())).await {
                    match answered.grpc().reason().as_deref() {
                        Some("UNAUTHENTICATED") => {}
                        Some("IDENTITY_UNAVAILABLE") => capped += 1,
                        other => panic!("{other:?}"),
                    }
                }
            }
        })
    });
    let capped: usize = join_all(floods).await.into_iter().map(Result::unwrap).sum();
    let allowed = 20.0 + 50.0 * begun.elapsed().as_secs_f64() + 1.0;
    stop.store(true, Ordering::Relaxed);
    for caller in known {
        caller.await.expect("who is known is not touched");
    }
    let asked = bench.asked();
    assert!((asked as f64) <= allowed, "{asked} of {allowed}");
    assert_eq!(asked + capped, MADE_UP + 1);
    assert_eq!(bench.gateway.counted(&format!("{LOOK_UPS}{{result=\"capped\"}}")).await, capped as u64);
    assert_eq!(bench.gateway.counted(ALARM).await, 0);
}
