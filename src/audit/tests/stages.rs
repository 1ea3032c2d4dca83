//! Both stages around a call: which records there are, and when.

use std::future::{Future, pending};

use futures_util::poll;
use tower::{Service as _, ServiceBuilder, service_fn};

use super::{Fixture, Level, create, fs, get, read};
use crate::{
    audit::{Audit, Intent},
    call::{Call, Reply, tests::reply},
    error::{Code, Error, Reason, Sent},
    policy::{Authorize, Permitted, tests::Unruled},
    rpc::{Class, Object, Seen},
    stack::stage,
};

/// An object that a mutation made.
const MADE: &str = "5ea04517-dbfd-42dc-881c-ef58b98f3bf5";

/// The audit stages with an upstream below.
pub(super) async fn through<U, F>(fixture: &Fixture, call: Call, upstream: U) -> Result<Reply, Error>
where
    U: Fn(Call) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Result<Reply, Error>> + Send + 'static,
{
    let audit = fixture.audit();
    let upstream = move |call: Permitted<Call>| {
        let call = call.into_inner();
        // No byte of it has left yet, and this is what stands on disk (promise P1).
        let id = call.context.id().to_string();
        let intended = read::records(&audit).iter().any(|record| record["request_id"] == id);
        assert_eq!(intended, call.method.class != Class::Read);
        upstream(call)
    };
    let mut stack = ServiceBuilder::new()
        .layer(stage(Audit::new(fixture.log.clone(), fixture.detail(Level::default()))))
        .layer(stage(Unruled))
        .layer(stage(Authorize::default()))
        .layer(stage(Intent::new(fixture.log.clone(), fixture.detail(Level::default()))))
        .service(service_fn(upstream));
    stack.call(call).await
}

#[tokio::test]
async fn a_mutation_has_an_intent_before_and_an_outcome_after() {
    let fixture = Fixture::new();
    through(&fixture, create(), |_| async {
        let objects = vec![Object { id: MADE.to_owned(), ..Default::default() }];
        Ok(Reply { seen: Seen { objects, next: None }, ..reply() })
    })
    .await
    .unwrap();
    // The answer is there, so the outcome is on disk (promise P2).
    let records = fixture.records();
    assert_eq!(fixture.stages(), ["intent", "outcome"]);
    assert_eq!(records[0]["request_id"], records[1]["request_id"]);
    let end = &records[1]["end"];
    assert_eq!((end["code"].as_str(), end["forwarded"].as_str()), (Some("OK"), Some("yes")));
    assert_eq!(end["objects"][0], MADE);
}

#[tokio::test]
async fn a_mutation_that_fails_upstream_has_an_outcome_that_says_so() {
    let fixture = Fixture::new();
    let unknown = |_| async { Err(Error::refuse(Reason::UpstreamOutcomeUnknown)) };
    through(&fixture, create(), unknown).await.unwrap_err();
    let end = &fixture.records()[1]["end"];
    assert_eq!(fixture.stages(), ["intent", "outcome"]);
    assert_eq!((end["code"].as_str(), end["forwarded"].as_str()), (Some("UNKNOWN"), Some("maybe")));
    assert_eq!(end["reason"], "UPSTREAM_OUTCOME_UNKNOWN");
}

#[tokio::test]
async fn an_intent_that_went_nowhere_still_has_its_outcome() {
    let fixture = Fixture::new();
    let unreachable = |_| async { Err(Error::refuse(Reason::UpstreamUnreachable)) };
    through(&fixture, create(), unreachable).await.unwrap_err();
    assert_eq!(fixture.stages(), ["intent", "outcome"]);
    assert_eq!(fixture.records()[1]["end"]["forwarded"], "no");
}

#[tokio::test]
async fn a_panic_is_recorded_and_answered() {
    let fixture = Fixture::new();
    let panics = |_| async { if true { panic!("on purpose") } else { Ok(reply()) } };
    let error = through(&fixture, create(), panics).await.unwrap_err();
    assert_eq!((error.code, error.sent), (Code::Internal, Sent::Maybe));
    assert_eq!(fixture.stages(), ["intent", "outcome"]);
}

#[tokio::test]
async fn a_panic_above_the_intent_is_a_refusal_that_sent_nothing() {
    let fixture = Fixture::new();
    let panics = |_: Call| async { if true { panic!("on purpose") } else { Ok::<_, Error>(reply()) } };
    let audit = stage(Audit::new(fixture.log.clone(), fixture.detail(Level::default())));
    for call in [create(), get("p".to_owned())] {
        let mut stack = ServiceBuilder::new().layer(audit.clone()).service(service_fn(panics));
        let error = stack.call(call).await.unwrap_err();
        assert_eq!((error.code, error.sent), (Code::Internal, Sent::No));
    }
    fixture.log.close().await;
    assert_eq!(fixture.stages(), ["reject", "reject"]);
}

#[tokio::test]
async fn a_read_has_an_outcome_and_no_intent() {
    let fixture = Fixture::new();
    through(&fixture, get("p".to_owned()), |_| async { Ok(reply()) }).await.unwrap();
    fixture.log.close().await;
    assert_eq!(fixture.stages(), ["outcome"]);
}

#[tokio::test]
async fn a_read_whose_caller_leaves_is_recorded() {
    let fixture = Fixture::new();
    let mut call = Box::pin(through(&fixture, get("p".to_owned()), |_| pending()));
    assert!(poll!(&mut call).is_pending());
    drop(call);
    // The record is handed over by a task, which has run once the runtime comes round.
    tokio::task::yield_now().await;
    fixture.log.close().await;
    let records = fixture.records();
    assert_eq!(fixture.stages(), ["outcome"]);
    assert_eq!(records[0]["end"]["reason"], "CALLER_GONE");
    assert_eq!(records[0]["end"]["forwarded"], "maybe");
}

#[tokio::test]
async fn without_a_disk_nothing_goes_upstream() {
    let fixture = Fixture::new();
    fs::remove_dir_all(fixture.audit()).unwrap();
    let never = |_| async { panic!("it went upstream") };
    for _ in 0..2 {
        let error = through(&fixture, create(), never).await.unwrap_err();
        assert_eq!((error.reason, error.sent), (Some(Reason::AuditUnavailable), Sent::No));
    }
}

#[tokio::test]
async fn an_answer_that_cannot_be_recorded_is_withheld() {
    let fixture = Fixture::new();
    let directory = fixture.audit();
    // The disk goes while upstream works: the call itself is told where by its own metadata.
    let mut call = create();
    call.metadata.insert("x-directory", directory.to_str().unwrap().parse().unwrap());
    let upstream = |call: Call| async move {
        fs::remove_dir_all(call.metadata["x-directory"].to_str().unwrap()).unwrap();
        Ok(reply())
    };
    let error = through(&fixture, call, upstream).await.unwrap_err();
    assert_eq!((error.reason, error.code), (Some(Reason::OutcomeNotRecorded), Code::Unknown));
}
