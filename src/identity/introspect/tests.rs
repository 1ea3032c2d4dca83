//! One question per token, within bounds, and answers that count for their time.

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::Instant,
};

use futures_util::{FutureExt as _, future::BoxFuture, future::join_all};
use tokio::sync::watch;

use super::{look_up::WAITING, *};
use crate::call::{Introspected, NotIntrospected, OrgId};

const LONG: Duration = Duration::from_secs(60);
const SHORT: Duration = Duration::from_millis(50);
/// For questions to upstream at a time, but for those that are kept for tokens that were good.
const PLACES: usize = 15;

type Said = Result<Introspected, NotIntrospected>;

/// An upstream that answers when it is let.
#[derive(Debug)]
struct Upstream {
    asked: AtomicUsize,
    running: watch::Sender<usize>,
    open: watch::Sender<bool>,
    says: std::sync::Mutex<Said>,
    /// What acme is now.
    acme: std::sync::Mutex<&'static str>,
}

/// Where a question comes from.
#[derive(Debug, Default)]
struct Peer {
    is_barred: bool,
    in_vain: AtomicUsize,
}

impl Peer {
    fn barred() -> Self {
        Self { is_barred: true, ..Self::default() }
    }

    fn in_vain(&self) -> usize {
        self.in_vain.load(Ordering::Relaxed)
    }
}

impl Asker for Peer {
    fn may_ask(&self) -> bool {
        !self.is_barred
    }

    fn asked_in_vain(&self) {
        self.in_vain.fetch_add(1, Ordering::Relaxed);
    }
}

/// Counts a question for as long as it is asked.
struct Running(Arc<Upstream>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.running.send_modify(|running| *running -= 1);
    }
}

#[derive(Debug)]
struct Handle(Arc<Upstream>);

impl Introspect for Handle {
    fn introspect(&self, _: Token, _: Deadline) -> BoxFuture<'static, Said> {
        let upstream = self.0.clone();
        async move {
            upstream.asked.fetch_add(1, Ordering::Relaxed);
            upstream.running.send_modify(|running| *running += 1);
            let _running = Running(upstream.clone());
            upstream.open.subscribe().wait_for(|open| *open).await.unwrap();
            upstream.says.lock().unwrap().clone()
        }
        .boxed()
    }

    fn stands(&self, org: &OrgId, organization: &str) -> bool {
        org.as_str() == "acme" && organization == *self.0.acme.lock().unwrap()
    }
}

impl Upstream {
    fn says(&self, said: Said) {
        *self.says.lock().unwrap() = said;
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::Relaxed)
    }

    async fn runs(&self, count: usize) {
        self.running.subscribe().wait_for(|running| *running == count).await.unwrap();
    }
}

fn known() -> Said {
    Ok(Introspected {
        org: "acme".into(),
        subject: "jane".into(),
        principal: 1,
        organization: "one".to_owned(),
        tier: "free".to_owned(),
    })
}

fn bench(ttl: Duration, refused_ttl: Duration, open: bool) -> (UpstreamTokens, Arc<Upstream>) {
    let upstream = Arc::new(Upstream {
        asked: AtomicUsize::new(0),
        running: watch::Sender::new(0),
        open: watch::Sender::new(open),
        says: std::sync::Mutex::new(known()),
        acme: std::sync::Mutex::new("one"),
    });
    let config = Config { enabled: true, ttl, refused_ttl, ..Config::default() };
    let tokens = UpstreamTokens::new(&config, Arc::new(Handle(upstream.clone())), Metrics::new());
    (tokens, upstream)
}

async fn by(tokens: &UpstreamTokens, text: &str) -> Outcome {
    tokens.identify(text, &Peer::default(), Deadline::at(Instant::now() + LONG)).await
}

#[tokio::test]
async fn who_it_is_is_what_upstream_says() {
    let (tokens, _) = bench(LONG, LONG, true);
    let identity = by(&tokens, "token").await.unwrap();
    assert_eq!((identity.subject.as_str(), identity.org.as_str()), ("jane", "acme"));
    // SHA-256 of `token`.
    assert_eq!(identity.credential.as_str(), "upstream-token-3c469e9d6c5875d3");
    let passed = identity.passed.as_deref().unwrap();
    assert_eq!(passed.token().authorization(), "Bearer token");
    assert_eq!((passed.principal(), passed.tier()), (1, "free"));
    assert!(!format!("{identity:?} {tokens:?}").contains("Bearer"));
}

#[tokio::test]
async fn a_hundred_first_calls_are_one_question() {
    let (tokens, upstream) = bench(LONG, LONG, false);
    let calls = (0..100).map(|_| by(&tokens, "token"));
    let ((), outcomes) = tokio::join!(
        async {
            upstream.runs(1).await;
            upstream.open.send_replace(true);
        },
        join_all(calls)
    );
    assert!(outcomes.iter().all(|outcome| outcome.as_ref().unwrap().subject.as_str() == "jane"));
    assert!(by(&tokens, "token").await.is_ok());
    assert_eq!(upstream.asked(), 1);
}

#[tokio::test]
async fn who_leaves_takes_the_question_from_nobody_and_with_the_last_it_ends() {
    let (tokens, upstream) = bench(LONG, LONG, false);
    let (first, second) = (tokens.clone(), tokens.clone());
    let first = tokio::spawn(async move { by(&first, "token").await });
    upstream.runs(1).await;
    let mut second = Box::pin(by(&second, "token"));
    assert!(futures_util::poll!(&mut second).is_pending());
    first.abort();
    assert!(first.await.unwrap_err().is_cancelled());
    upstream.open.send_replace(true);
    assert!(second.await.is_ok());
    assert_eq!(upstream.asked(), 1);

    upstream.open.send_replace(false);
    let peer = Peer::default();
    let late = tokens.identify("other", &peer, Deadline::at(Instant::now() + SHORT)).await;
    assert_eq!((late, peer.in_vain()), (Err(Refused::Late), 1), "or it would be a way to ask without end");
    upstream.runs(0).await;
    upstream.open.send_replace(true);
    assert!(by(&tokens, "other").await.is_ok(), "it is asked anew");
    assert_eq!(upstream.asked(), 3);
}

#[tokio::test]
async fn each_answer_counts_for_its_time() {
    let (tokens, upstream) = bench(SHORT * 4, SHORT, true);
    let begun = Instant::now();
    assert!(by(&tokens, "token").await.is_ok());
    upstream.says(Err(NotIntrospected::Nobodys("revoked")));
    while by(&tokens, "token").await.is_ok() {
        assert!(begun.elapsed() < LONG);
        tokio::task::yield_now().await;
    }
    assert!(begun.elapsed() >= SHORT * 4 && upstream.asked() == 2, "{:?}", begun.elapsed());
}

#[tokio::test]
async fn a_refusal_counts_for_less_time() {
    let (tokens, upstream) = bench(LONG, SHORT, true);
    upstream.says(Err(NotIntrospected::Nobodys("not yet")));
    let begun = Instant::now();
    assert!(by(&tokens, "token").await.is_err());
    upstream.says(known());
    while by(&tokens, "token").await.is_err() {
        assert!(begun.elapsed() < LONG);
        tokio::task::yield_now().await;
    }
    assert!(begun.elapsed() >= SHORT && upstream.asked() == 2, "{:?}", begun.elapsed());
}

#[tokio::test]
async fn a_failure_is_told_as_such_and_does_not_count() {
    let (tokens, upstream) = bench(LONG, LONG / 2, true);
    upstream.says(Err(NotIntrospected::Unsaid("no answer")));
    for _ in 0..2 {
        assert_eq!(by(&tokens, "token").await, Err(Refused::Unavailable("no answer")));
    }
    upstream.says(Err(NotIntrospected::Nobodys("no org")));
    for _ in 0..2 {
        assert_eq!(by(&tokens, "token").await, Err(Refused::Unauthenticated("no org")));
    }
    assert_eq!(upstream.asked(), 3);
}

#[tokio::test]
async fn made_up_tokens_are_asked_for_fifteen_at_a_time_and_known_ones_are_not_touched() {
    let (tokens, upstream) = bench(LONG, LONG, true);
    assert!(by(&tokens, "known").await.is_ok());
    upstream.open.send_replace(false);
    let begin = |name: String| {
        let tokens = tokens.clone();
        tokio::spawn(async move { by(&tokens, &name).await })
    };
    // The burst is spent by the known one and 14 of them: the last place waits for the rate.
    let mut waiting: Vec<_> = (0..PLACES - 1).map(|number| begin(format!("made-up-{number}"))).collect();
    upstream.runs(PLACES - 1).await;
    let begun = Instant::now();
    while *upstream.running.borrow() < PLACES {
        assert!(begun.elapsed() < Duration::from_secs(10), "not as many are let");
        let last = begin("last".to_owned());
        while !last.is_finished() && *upstream.running.borrow() < PLACES {
            tokio::task::yield_now().await;
        }
        waiting.extend((!last.is_finished()).then_some(last));
    }
    assert_eq!(upstream.asked(), 1 + PLACES);
    // Until the rate has room again, as the places have none.
    let full = Instant::now();
    while full.elapsed() < SHORT {
        tokio::task::yield_now().await;
    }
    for number in 0..100 {
        let refused = by(&tokens, &format!("more-{number}")).now_or_never();
        assert_eq!(refused, Some(Err(Refused::Unavailable("too many tokens are looked up"))));
    }
    assert_eq!((*upstream.running.borrow(), upstream.asked()), (PLACES, 1 + PLACES));
    assert!(by(&tokens, "known").await.is_ok());
    // Places are kept for it where it has to be asked for again.
    *upstream.acme.lock().unwrap() = "two";
    waiting.push(begin("known".to_owned()));
    upstream.runs(PLACES + 1).await;
    *upstream.acme.lock().unwrap() = "one";
    upstream.open.send_replace(true);
    for waiter in waiting {
        assert!(waiter.await.unwrap().is_ok());
    }
    assert!(by(&tokens, "made-up-0").await.is_ok());
}

#[tokio::test]
async fn made_up_tokens_are_asked_for_35_times_a_second() {
    let (tokens, upstream) = bench(LONG, LONG, true);
    let begun = Instant::now();
    let mut capped = 0;
    for number in 0..2_000 {
        capped += usize::from(by(&tokens, &format!("made-up-{number}")).await.is_err());
    }
    let allowed = 15.0 + 35.0 * begun.elapsed().as_secs_f64();
    assert!(upstream.asked() >= PLACES && upstream.asked() as f64 <= allowed + 1.0, "{}", upstream.asked());
    assert_eq!(upstream.asked() + capped, 2_000);
}

#[tokio::test]
async fn no_more_wait_for_one_question_than_there_is_room_for() {
    let (tokens, upstream) = bench(LONG, LONG, false);
    let mut waiting: Vec<_> = (0..WAITING).map(|_| Box::pin(by(&tokens, "token"))).collect();
    for waiter in &mut waiting {
        assert!(futures_util::poll!(waiter).is_pending());
    }
    let full = Err(Refused::Unavailable("too many wait for the token"));
    assert_eq!(by(&tokens, "token").now_or_never(), Some(full));
    waiting.pop();
    let mut last = Box::pin(by(&tokens, "token"));
    assert!(futures_util::poll!(&mut last).is_pending(), "one has left");
    upstream.open.send_replace(true);
    assert!(join_all(waiting).await.iter().all(Result::is_ok) && last.await.is_ok());
    assert_eq!(upstream.asked(), 1);
}

#[tokio::test]
async fn a_token_that_upstream_has_refused_since_is_asked_for_once_in_a_while() {
    let (tokens, upstream) = bench(LONG, SHORT * 4, true);
    let begun = Instant::now();
    let refuse = async || by(&tokens, "token").await.map(|identity| identity.passed.unwrap().refuse());
    assert!(refuse().await.is_ok());
    // Upstream says that the token is good, and refuses every call by it.
    while begun.elapsed() < SHORT * 10 {
        let _refused = refuse().await;
        tokio::task::yield_now().await;
    }
    assert!((2..=3).contains(&upstream.asked()), "{}", upstream.asked());
}

#[tokio::test]
async fn upstream_is_not_asked_for_what_cannot_be_its_token_nor_where_nobody_may_ask() {
    let (tokens, upstream) = bench(LONG, LONG, true);
    let long = "x".repeat((8 << 10) + 1);
    for text in ["", "two words", "t\u{e9}", &long] {
        assert!(matches!(by(&tokens, text).await, Err(Refused::Unauthenticated(_))));
    }
    let (peer, deadline) = (Peer::barred(), Deadline::at(Instant::now() + LONG));
    let waits = Err(Refused::Unavailable("too many tokens of this address were nobody's"));
    assert_eq!(tokens.identify("token", &peer, deadline).await, waits);
    assert_eq!(upstream.asked(), 0);
    assert!(by(&tokens, "token").await.is_ok());
    assert!(tokens.identify("token", &peer, deadline).await.is_ok(), "it is known");
}

#[tokio::test]
async fn a_token_that_was_good_is_asked_for_whoever_else_is_at_the_address() {
    let (tokens, upstream) = bench(SHORT, SHORT / 2, true);
    let (peer, deadline) = (Peer::barred(), Deadline::at(Instant::now() + LONG));
    assert!(by(&tokens, "token").await.is_ok());
    while upstream.asked() < 3 {
        assert!(tokens.identify("token", &peer, deadline).await.is_ok());
        tokio::task::yield_now().await;
    }
    upstream.says(Err(NotIntrospected::Nobodys("revoked")));
    while !matches!(tokens.identify("token", &peer, deadline).await, Err(Refused::Unauthenticated(_))) {
        tokio::task::yield_now().await;
    }
    upstream.says(known());
    while !matches!(tokens.identify("token", &peer, deadline).await, Err(Refused::Unavailable(_))) {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn only_questions_in_vain_are_told_to_the_asker() {
    let (tokens, upstream) = bench(LONG, LONG / 2, true);
    let (peer, deadline) = (Peer::default(), Deadline::at(Instant::now() + LONG));
    assert!(tokens.identify("good", &peer, deadline).await.is_ok());
    upstream.says(Err(NotIntrospected::Unsaid("no answer")));
    assert!(tokens.identify("unanswered", &peer, deadline).await.is_err());
    assert_eq!(peer.in_vain(), 0);
    upstream.says(Err(NotIntrospected::Nobodys("made up")));
    for _ in 0..3 {
        assert!(tokens.identify("made-up", &peer, deadline).await.is_err());
        assert_eq!(peer.in_vain(), 1, "upstream was asked once");
    }
    upstream.open.send_replace(false);
    assert!(tokens.identify("left", &peer, deadline).now_or_never().is_none());
    assert_eq!(peer.in_vain(), 2);
}

#[tokio::test]
async fn a_token_whose_org_is_another_organization_since_is_asked_for_anew() {
    let (tokens, upstream) = bench(LONG, LONG, true);
    assert!(by(&tokens, "token").await.is_ok() && by(&tokens, "token").await.is_ok());
    assert_eq!(upstream.asked(), 1);
    *upstream.acme.lock().unwrap() = "two";
    upstream.says(Err(NotIntrospected::Nobodys("no org")));
    assert!(by(&tokens, "token").await.is_err());
    assert_eq!(upstream.asked(), 2);
}
