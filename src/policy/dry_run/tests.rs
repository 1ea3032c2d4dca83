//! Both ends of a dry run, with a judge between them.

use std::sync::atomic::{AtomicBool, Ordering};

use tower::{ServiceBuilder, ServiceExt as _, service_fn};

use super::*;
use crate::{
    call::{Scope, Scopes, tests},
    error::{Detail as _, Retry},
    policy::{Authorize, tests::Unruled},
    proto::gitpod::v1::{CreatePrebuildRequest, PrebuildSpec},
    rpc::CREATE_PREBUILD,
    rule::Applied,
    stack::stage,
};

const PROJECT: &str = "0198c0de-0000-7000-8000-000000000001";

fn create(dry: bool, scopes: &[Scope]) -> Call {
    let request = CreatePrebuildRequest {
        project_id: PROJECT.to_owned(),
        spec: Some(PrebuildSpec::default()),
        ..Default::default()
    };
    let mut call = tests::call(&CREATE_PREBUILD, &request);
    call.identity.scopes = Scopes::new(scopes);
    if dry {
        call.context.set_dry_run();
    }
    call
}

/// Runs a call through both stages, with a judge between them. Says whether it went on below.
async fn run<J>(call: Call, judge: J) -> (Result<Reply, Error>, bool)
where
    J: Fn(&Call) -> Result<(), Error> + Clone + Send + Sync + 'static,
{
    #[derive(Clone)]
    struct Judge<J>(J);
    impl<J: Fn(&Call) -> Result<(), Error> + Send + Sync + 'static> Stage<Call> for Judge<J> {
        type Passes = Call;
        type Response = Reply;

        async fn call<S: Next<Call, Reply>>(&self, call: Call, next: S) -> Result<Reply, Error> {
            (self.0)(&call)?;
            next.run(call).await
        }
    }
    let id = call.context.id();
    let forwarded = Arc::new(AtomicBool::new(false));
    let seen = forwarded.clone();
    let stack = ServiceBuilder::new()
        .layer(stage(DryRun))
        .layer(stage(Judge(judge)))
        .layer(stage(Unruled))
        .layer(stage(Authorize::default()))
        .layer(stage(Halt))
        .service(service_fn(move |call: Permitted<Call>| {
            assert_eq!(call.get().context.id(), id);
            seen.store(true, Ordering::Relaxed);
            async { Ok(tests::reply()) }
        }));
    let result = stack.oneshot(call).await;
    (result, forwarded.load(Ordering::Relaxed))
}

fn verdict(error: &Error) -> Verdict {
    assert_eq!(error.reason, Some(Reason::DryRun));
    assert_eq!((error.code, error.retry), (Code::FailedPrecondition, Retry::Never));
    let any = error.details.iter().find(|any| Verdict::is(any)).unwrap();
    Verdict::decode(&any.value[..]).unwrap()
}

#[tokio::test]
async fn a_dry_run_that_would_pass_says_what_would_be_sent_and_sends_nothing() {
    let (result, forwarded) = run(create(true, &[Scope::Explain]), |_| Ok(())).await;
    let verdict = verdict(&result.unwrap_err());
    assert!(!forwarded);
    assert!(verdict.allowed && verdict.refusal.is_none());
    assert_eq!(verdict.method, "gitpod.v1.PrebuildService/CreatePrebuild");
    assert_eq!(verdict.request_json, format!(r#"{{"projectId":"{PROJECT}","spec":{{}}}}"#));
}

#[tokio::test]
async fn a_dry_run_that_would_be_refused_says_why_with_the_refusals_own_details() {
    let (result, forwarded) = run(create(true, &[Scope::Explain]), |call| {
        let limit =
            |rule: &str, mode| Applied { rule: rule.into(), mode, candidate: false, value: (), link: None };
        call.context.add_rulings([
            limit("limits.max_timeout", Mode::Enforce)
                .ruling(Outcome::Broken)
                .on("spec.timeout")
                .within("1h"),
            limit("limits.methods", Mode::Warn).ruling(Outcome::Kept),
        ]);
        let details = tonic_types::pb::BadRequest::default();
        Err(Error::refuse(Reason::PolicyDenied).with_rule("limits.max_timeout").with_detail(&details))
    })
    .await;
    let error = result.unwrap_err();
    let verdict = verdict(&error);
    assert!(!forwarded && !verdict.allowed && verdict.request_json.is_empty());
    let refusal = verdict.refusal.unwrap();
    assert_eq!((refusal.code.as_str(), refusal.reason.as_str()), ("PERMISSION_DENIED", "POLICY_DENIED"));
    assert_eq!(refusal.rule, "limits.max_timeout");
    // In a dry run those that are kept are told, too.
    let told: Vec<_> =
        verdict.rulings.iter().map(|ruling| (ruling.rule.as_str(), ruling.outcome())).collect();
    let expected =
        [("limits.max_timeout", verdict::Outcome::Broken), ("limits.methods", verdict::Outcome::Kept)];
    assert_eq!(told, expected);
    assert!(error.details.iter().any(tonic_types::pb::BadRequest::is));
}

#[tokio::test]
async fn whoever_may_not_ask_learns_nothing() {
    let every = Scopes::all();
    let scopes: Vec<_> = every.names().map(|name| Scope::try_from(name.to_owned()).unwrap()).collect();
    let (result, forwarded) = run(create(true, &scopes), |_| Ok(())).await;
    let error = result.unwrap_err();
    assert_eq!((error.reason, error.rule.as_deref()), (Some(Reason::ScopeMissing), Some(RULE)));
    assert!(!forwarded && error.details.is_empty());
}

#[tokio::test]
async fn what_cannot_be_told_now_is_no_verdict() {
    for reason in [Reason::UpstreamUnreachable, Reason::DeadlineExceeded, Reason::BudgetUnknown] {
        let (result, _) = run(create(true, &[Scope::Explain]), move |_| Err(Error::refuse(reason))).await;
        assert_eq!(result.unwrap_err().reason, Some(reason));
    }
}

#[tokio::test]
async fn any_other_call_passes_as_if_there_were_no_dry_runs() {
    let (result, forwarded) = run(create(false, &[]), |_| Ok(())).await;
    assert!(result.is_ok() && forwarded);
}

#[test]
fn a_verdict_has_room_over_grpc_and_loses_what_is_kept_first() {
    let ruling = |outcome: verdict::Outcome| verdict::Ruling {
        rule: format!("rules.{}", "x".repeat(64)),
        outcome: outcome.into(),
        ..Default::default()
    };
    let mut rulings = vec![ruling(verdict::Outcome::Kept); 100];
    rulings.insert(50, ruling(verdict::Outcome::Broken));
    let verdict = Verdict { rulings, request_json: "{}".to_owned(), ..Verdict::default() };
    let fitted = fitted(verdict.clone());
    assert!(fitted.encoded_len() <= ROOM);
    assert_eq!(fitted.rulings.len() + fitted.kept_left_out as usize, 101);
    assert!(fitted.rulings.iter().any(|ruling| ruling.outcome() == verdict::Outcome::Broken));
    assert!(!fitted.request_left_out && fitted.request_json == "{}");
    let large = Verdict { request_json: "x".repeat(ROOM), ..verdict };
    let fitted = super::fitted(large);
    assert!(fitted.request_left_out && fitted.encoded_len() <= ROOM);
}

#[test]
fn a_verdict_has_room_whatever_is_broken() {
    let ruling = |mode: verdict::Mode| verdict::Ruling {
        rule: format!("rules.{}", "x".repeat(64)),
        mode: mode.into(),
        outcome: verdict::Outcome::Broken.into(),
        message: "m".repeat(256),
        link: "l".repeat(512),
        ..Default::default()
    };
    let told = |warning: usize, refusing: usize| {
        let rulings = vec![ruling(verdict::Mode::Warn); warning];
        let rulings = [rulings, vec![ruling(verdict::Mode::Enforce); refusing]].concat();
        let fitted = fitted(Verdict { rulings, ..Verdict::default() });
        assert!(fitted.encoded_len() <= ROOM, "{warning} {refusing}: {}", fitted.encoded_len());
        assert_eq!(fitted.rulings.len() + fitted.broken_left_out as usize, warning + refusing);
        fitted
    };
    let texts = |verdict: &Verdict| {
        let first = &verdict.rulings[0];
        (!first.message.is_empty(), !first.link.is_empty())
    };
    assert_eq!(texts(&told(1, 2)), (true, true));
    assert_eq!(texts(&told(1, 5)), (true, false));
    assert_eq!(texts(&told(1, 15)), (false, false));
    let most = told(64, 16);
    let refusing = most.rulings.iter().filter(|ruling| ruling.mode() == verdict::Mode::Enforce);
    assert_eq!(refusing.count(), 16, "those that refuse are the last to go");
    assert!(told(0, 256).broken_left_out > 0);
}
