//! A policy gives an org a budget, or takes it away, while its calls are under way.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use futures_util::poll;

use super::{Fixture, create, made, never, running};
use crate::{
    budget::{
        Ledger as _, Local,
        claim::{Claim, End},
        ledger::Begin,
    },
    call::OrgId,
    error::{Error, Reason},
    rule::Mode,
};

/// A policy is replaced: what was made while no budget was about it is there when one is.
#[tokio::test]
async fn what_no_budget_was_about_counts_for_the_next_policys() {
    let fixture = Fixture::counted(&[]).await;
    fixture.through(create(Vec::new()), made).await.unwrap();
    assert_eq!(fixture.used().await, 1);
    let refused = fixture.through(create(vec![running(1, Mode::Enforce)]), never).await.unwrap_err();
    assert_eq!(refused.reason, Some(Reason::BudgetExceeded));
}

/// A policy gives the org its first budget: what is under way was sent when there were no books, and the first count does
/// not show it yet.
#[tokio::test]
async fn what_is_under_way_as_an_org_gets_its_first_budget_counts_for_it() {
    let fixture = Fixture::new();
    let mut hanging = Box::pin(fixture.through(create(Vec::new()), |_| std::future::pending()));
    assert!(poll!(&mut hanging).is_pending());
    let lost = |_| async { Err(Error::refuse(Reason::UpstreamOutcomeUnknown)) };
    fixture.through(create(Vec::new()), lost).await.unwrap_err();
    fixture.through(create(Vec::new()), made).await.unwrap();
    assert!(!fixture.ledger.keeps(&"acme".into()));
    fixture.ledger.open(&"acme".into());
    fixture.census.say(&["made"]);
    fixture.count().await;
    assert_eq!(fixture.used().await, 3);
    let refused = fixture.through(create(vec![running(3, Mode::Enforce)]), never).await.unwrap_err();
    assert_eq!(refused.reason, Some(Reason::BudgetExceeded));
    // It is as any other from now on.
    drop(hanging);
    fixture.seconds.fetch_add(61, Ordering::Relaxed);
    fixture.count().await;
    assert_eq!(fixture.used().await, 1);
}

/// A budget is taken out and put back.
#[tokio::test]
async fn what_is_made_while_there_is_no_budget_counts_when_it_is_back() {
    let fixture = Fixture::counted(&[]).await;
    fixture.ledger.close(&"acme".into());
    let mut hanging = Box::pin(fixture.through(create(Vec::new()), |_| std::future::pending()));
    assert!(poll!(&mut hanging).is_pending());
    fixture.ledger.open(&"acme".into());
    let refused = fixture.through(create(vec![running(1, Mode::Enforce)]), never).await.unwrap_err();
    assert_eq!(refused.reason, Some(Reason::BudgetUnknown));
    fixture.count().await;
    assert_eq!(fixture.used().await, 1);
    drop(hanging);
}

/// A list may be older than the answer of a call that has ended just before.
#[tokio::test]
async fn what_has_just_ended_is_counted_by_a_list_that_shows_it() {
    let (org, lag) = (OrgId::from("acme"), Duration::from_secs(2));
    let seconds = Arc::<AtomicU64>::default();
    let clock = Arc::clone(&seconds);
    let ledger = Local::by(Arc::new(move || Duration::from_secs(clock.load(Ordering::Relaxed))), lag);
    let claim = Claim::of(&create(Vec::new())).unwrap();
    seconds.store(10, Ordering::Relaxed);
    ledger.pass(&org, &claim, lag).await;
    ledger.settle(&org, claim.request, End::Unknown, Duration::ZERO);
    seconds.store(11, Ordering::Relaxed);
    ledger.open(&org);
    let again_in = Duration::from_secs(1);
    assert!(
        matches!(ledger.begin(&org).await, Some(Begin::Later { again_in: wait, .. }) if wait == again_in)
    );
    seconds.store(12, Ordering::Relaxed);
    assert!(matches!(ledger.begin(&org).await, Some(Begin::Now(_))));
    // Nothing of globex's was under way, and nothing has ended of late.
    seconds.store(20, Ordering::Relaxed);
    ledger.open(&"globex".into());
    assert!(matches!(ledger.begin(&"globex".into()).await, Some(Begin::Now(_))));
}
