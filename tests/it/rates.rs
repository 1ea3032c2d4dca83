//! Request rates as callers meet them: told in every protocol, and one org's of no consequence for another's.

use std::time::{Duration, Instant};

use http::HeaderMap;
use prebuild_gateway::sandbox::Rules;
use tokio::{task::JoinSet, time::sleep};
use tokio_util::sync::CancellationToken;
use tonic::Code;

use crate::harness::{
    ACME_KEY, GLOBEX_KEY, Gateway, Sandboxed, Told as _,
    policy::LOOSE,
    raw::{Raw, frame},
    spoken::{DIALECTS, Dialect},
};

fn said<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    Some(headers.get(name)?.to_str().unwrap())
}

/// A message without fields.
fn body(dialect: Dialect) -> bytes::Bytes {
    dialect.body(if dialect.is_json() { b"{}" } else { b"" })
}

/// So slow that nothing comes back meanwhile: as many calls as there are dialects, twice.
#[tokio::test]
async fn what_is_left_is_told_on_answers_and_refusals_in_every_protocol() {
    let upstream = Sandboxed::start(Rules::default()).await;
    let burst = u32::try_from(DIALECTS.len()).unwrap();
    let policy = format!("{LOOSE}orgs.acme.rates.org.all = {{ per_hour = 1, burst = {burst} }}\n");
    let gateway = Gateway::with_policy(upstream.address, &policy, |_| {}).await;
    let mut raw = Raw::connect(gateway.address).await;
    let policy = format!("\"rates.org.all\";q={burst};w={}", burst * 3_600);
    for (dialect, left) in DIALECTS.into_iter().zip((0..burst).rev()) {
        let answered = raw.call(dialect.request(&raw, "ListPrebuilds"), body(dialect)).await;
        let spoken = dialect.read(answered);
        let headers = spoken.metadata;
        spoken.result.unwrap();
        assert_eq!(said(&headers, "ratelimit-policy"), Some(&*policy), "{dialect:?}");
        let told = format!("\"rates.org.all\";r={left};t=");
        assert!(said(&headers, "ratelimit").unwrap().starts_with(&told), "{dialect:?} {headers:?}");
        assert_eq!(said(&headers, "ratelimit-retryafter"), None);
    }
    for dialect in DIALECTS {
        let answered = raw.call(dialect.request(&raw, "ListPrebuilds"), body(dialect)).await;
        let spoken = dialect.read(answered);
        let (headers, wrong) = (spoken.metadata, spoken.result.unwrap_err());
        assert_eq!((wrong.code, wrong.reason.as_deref()), (8, Some("RATE_LIMITED")), "{dialect:?}");
        assert!(wrong.details.iter().any(|name| name.ends_with("QuotaFailure")), "{dialect:?}");
        assert!(wrong.details.iter().any(|name| name.ends_with("RetryInfo")), "{dialect:?}");
        assert_eq!(said(&headers, "ratelimit-policy"), Some(&*policy), "{dialect:?}");
        assert!(said(&headers, "ratelimit").unwrap().starts_with("\"rates.org.all\";r=0;t="));
        let wait: u64 = said(&headers, "ratelimit-retryafter").unwrap().parse().unwrap();
        assert!((3_000..=3_600).contains(&wait), "{wait}");
        assert_eq!(said(&headers, "retry-after"), said(&headers, "ratelimit-retryafter"));
    }
}

async fn list(raw: &mut Raw, key: &str) -> Code {
    let request = raw.bare("/gitpod.v1.PrebuildService/ListPrebuilds");
    let request = request.header("content-type", "application/grpc");
    let request = request.header("authorization", format!("Bearer {key}"));
    raw.call(request, frame(0, b"")).await.grpc().code()
}

/// The slowest hundredth of a caller's calls; none is refused.
async fn slowest(raw: &mut Raw) -> Duration {
    let mut took = Vec::new();
    for _ in 0..300 {
        let begun = Instant::now();
        assert_eq!(list(raw, GLOBEX_KEY).await, Code::Ok);
        took.push(begun.elapsed());
        sleep(Duration::from_millis(2)).await;
    }
    took.sort();
    took[took.len() * 99 / 100]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_org_at_fifty_times_its_rate_is_no_other_orgs_trouble() {
    const RATE: u32 = 1;
    let upstream = Sandboxed::start(Rules::default()).await;
    let policy = format!("{LOOSE}orgs.acme.rates.org.all = {{ per_second = {RATE}, burst = {RATE} }}\n");
    let gateway = Gateway::with_policy(upstream.address, &policy, |_| {}).await;
    let mut quiet = Raw::connect(gateway.address).await;
    let alone = slowest(&mut quiet).await;

    let (stop, begun) = (CancellationToken::new(), Instant::now());
    let mut noise = JoinSet::new();
    for _ in 0..8 {
        let (stop, mut raw) = (stop.clone(), Raw::connect(gateway.address).await);
        noise.spawn(async move {
            let mut codes = Vec::new();
            while !stop.is_cancelled() {
                codes.push(list(&mut raw, ACME_KEY).await);
                sleep(Duration::from_millis(8)).await;
            }
            codes
        });
    }
    let beside = slowest(&mut quiet).await;
    stop.cancel();
    let codes: Vec<Code> = noise.join_all().await.into_iter().flatten().collect();
    let seconds = begun.elapsed().as_secs_f64();
    assert!(codes.len() as f64 >= 50.0 * f64::from(RATE) * seconds, "{} in {seconds} s", codes.len());
    let passed = codes.iter().filter(|code| **code == Code::Ok).count();
    assert!(passed as f64 <= f64::from(RATE) * (1.0 + seconds), "{passed} in {seconds} s");
    assert!(codes.iter().all(|code| matches!(code, Code::Ok | Code::ResourceExhausted)));
    // On an idle machine the two are alike; a busy one may stall either for a while.
    assert!(beside <= alone * 4 + Duration::from_millis(50), "{alone:?} alone, {beside:?} beside the noise");
    eprintln!(
        "{alone:?} alone, {beside:?} beside {} calls, {passed} let through, in {seconds} s",
        codes.len()
    );
}

/// As many streams as there are places, none of which sends its message: the rest of the places are still the others'.
#[tokio::test]
async fn an_org_that_sends_no_bodies_takes_no_other_orgs_places() {
    let upstream = Sandboxed::start(Rules::default()).await;
    let gateway = Gateway::with_policy(upstream.address, LOOSE, |config| config.limits.in_flight = 8).await;
    let mut raw = Raw::connect(gateway.address).await;
    let mut streams = Vec::new();
    for _ in 0..9 {
        let request = raw.grpc("ListPrebuilds");
        streams.push(raw.begin(request, None).await);
    }
    // In the order in which they were begun: what is not refused is held by then.
    let held: Vec<_> = streams.drain(..2).collect();
    for stream in streams {
        let status = stream.answered().await.grpc();
        assert_eq!((status.code(), status.reason().as_deref()), (Code::ResourceExhausted, Some("ORG_BUSY")));
    }
    let mut other = Raw::connect(gateway.address).await;
    assert_eq!(list(&mut other, GLOBEX_KEY).await, Code::Ok);
    for mut stream in held {
        stream.stream.send_data(frame(0, b""), true).unwrap();
        assert_eq!(stream.answered().await.grpc().code(), Code::Ok);
    }
    assert_eq!(list(&mut raw, ACME_KEY).await, Code::Ok, "and they were given back");
}
