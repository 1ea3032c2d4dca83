//! What goes upstream is what was judged; and what is denied causes nothing there.

use std::time::SystemTime;

use serde_json::{Value, json as value};

use super::*;
use crate::{
    error::Detail as _,
    policy::{
        Bind, Policy, Texts,
        applied::{Defaults, Methods},
    },
    rpc::{CANCEL_PREBUILD, LIST_PREBUILDS, LIST_WARM_POOLS},
    rule::Need,
};

fn last_body(bench: &Bench) -> (Value, String) {
    let seen = bench.sandbox.seen().pop().unwrap();
    (serde_json::from_slice(&seen.body).unwrap(), seen.query)
}

#[tokio::test]
async fn defaults_go_upstream() {
    for is_strict in STRICT {
        let bench = Bench::start(is_strict).await;
        let (project, class) = (bench.project(0), bench.class(1));
        let limits = Limits {
            max_timeout: applied("max_timeout", Mode::Enforce, Duration::from_secs(2700)),
            max_page_size: applied("max_page_size", Mode::Enforce, 3),
            defaults: Defaults {
                timeout: Some(Duration::from_secs(2700)),
                environment_classes: Arc::new([(project, class)].into()),
            },
            ..classes(only([class]))
        };
        let made = bench.call(&CREATE_PREBUILD, &create(project, None), &limits).await.unwrap();
        assert_eq!(made.seen.objects[0].class, class.to_string());
        let (body, _) = last_body(&bench);
        assert_eq!(
            (&body["environmentClassId"], &body["spec"]),
            (&value!(class.to_string()), &value!({"timeout": "2700s"}))
        );
        // Of the other project no class is known.
        let denied = bench.call(&CREATE_PREBUILD, &create(bench.project(1), None), &limits).await;
        assert_eq!(refused(denied).1.as_deref(), Some("limits.environment_classes"));
        for (method, request) in [
            (&LIST_PREBUILDS, pb::ListPrebuildsRequest::default().encode_to_vec()),
            (&LIST_WARM_POOLS, pb::ListWarmPoolsRequest::default().encode_to_vec()),
        ] {
            assert!(request.is_empty());
            assert!(bench.call(method, &pb::ListPrebuildsRequest::default(), &limits).await.is_ok());
            let (body, query) = last_body(&bench);
            assert_eq!((&body["pagination"], query.as_str()), (&value!({"pageSize": 3}), "pageSize=3"));
        }
    }
}

#[tokio::test]
async fn a_method_that_is_not_allowed_causes_no_read() {
    for is_strict in STRICT {
        let bench = Bench::start(is_strict).await;
        let id = bench.prebuild(0, 0).await;
        let methods = Methods { allow: None, deny: Arc::new(["CancelPrebuild"].into()) };
        let limits = Limits {
            methods: applied("methods", Mode::Enforce, methods),
            ..projects(only([bench.project(1)]))
        };
        let since = bench.sandbox.seen().len();
        let cancel = pb::CancelPrebuildRequest { prebuild_id: id };
        let (denied, context) = bench.tried("acme", &CANCEL_PREBUILD, &cancel, &limits).await;
        assert_eq!(refused(denied), (Some(Reason::PolicyDenied), Some("limits.methods".to_owned())));
        assert!(bench.asked(since).is_empty());
        assert_eq!(context.rulings().len(), 1);
    }
}

#[tokio::test]
async fn all_that_is_broken_is_said_at_once_and_nothing_is_made() {
    let bench = Bench::start(false).await;
    let limits = Limits {
        max_timeout: applied("max_timeout", Mode::Enforce, Duration::from_secs(60)),
        projects: applied("projects", Mode::Warn, only([])),
        ..classes(only([bench.class(0)]))
    };
    let (result, context) =
        bench.tried("acme", &CREATE_PREBUILD, &create(bench.project(0), None), &limits).await;
    let error = result.unwrap_err();
    let found = error.details.iter().find(|any| tonic_types::pb::BadRequest::is(any)).unwrap();
    let found = tonic_types::pb::BadRequest::decode(&found.value[..]).unwrap();
    let fields: Vec<_> = found.field_violations.iter().map(|violation| violation.field.as_str()).collect();
    assert_eq!(fields, ["spec.timeout", "environment_class_id"]);
    assert_eq!(context.rulings().len(), 3, "the one that only warns is known, too");
    assert!(!context.is_permitted());
    assert_eq!(bench.sandbox.executed("CreatePrebuild"), 0);
}

#[tokio::test]
async fn an_hour_is_what_an_absent_timeout_counts_as() {
    let bench = Bench::start(false).await;
    for (max, is_ok) in [(3599, false), (3600, true)] {
        let max_timeout = applied("max_timeout", Mode::Enforce, Duration::from_secs(max));
        let limits = Limits { max_timeout, ..Limits::default() };
        let result = bench.call(&CREATE_PREBUILD, &create(bench.project(0), None), &limits).await;
        assert_eq!(result.is_ok(), is_ok);
    }
}

#[tokio::test]
async fn what_no_policy_was_bound_to_goes_nowhere() {
    let reached = |_: super::super::Permitted<Call>| async { Ok(call::tests::reply()) };
    let stack = ServiceBuilder::new().layer(stage(Authorize::default()));
    let mut stack = stack.service(tower::service_fn(reached));
    let call = call::tests::call(&LIST_PREBUILDS, &pb::ListPrebuildsRequest::default());
    let error = stack.call(call).await.unwrap_err();
    assert_eq!(error.reason, Some(Reason::Internal));
}

#[tokio::test]
async fn rules_are_judged_after_the_limits_by_the_clock_that_is_set_and_refused_at_once() {
    let text = "@id(\"epoch\") forbid(principal, action, resource) when { context.hour == 0 };";
    let texts = Texts {
        policy: "rules.files = [\"a.cedar\"]".to_owned(),
        rules: vec![("a.cedar".to_owned(), text.to_owned())],
    };
    let edition = Arc::new(Edition::of(&texts, &Ground::default()).unwrap());
    let limits = Limits { max_page_size: applied("max_page_size", Mode::Enforce, 3), ..Limits::default() };
    let noon = SystemTime::UNIX_EPOCH + Duration::from_secs(12 * 3600);
    for (time, rules) in [(noon, 1), (SystemTime::UNIX_EPOCH, 2)] {
        let reached = |_: super::super::Permitted<Call>| async { Ok(call::tests::reply()) };
        let stack = ServiceBuilder::new().layer(stage(Authorize { at: Some(time) }));
        let mut stack = stack.service(tower::service_fn(reached));
        let mut call = call::tests::call(&LIST_PREBUILDS, &pb::ListPrebuildsRequest::default());
        call.left.insert(Arc::new(limits.clone()));
        call.left.insert(edition.clone());
        let context = call.context.clone();
        let error = stack.call(call).await.unwrap_err();
        assert_eq!(error.rule.as_deref(), Some("limits.max_page_size"));
        let broken: Vec<_> = context.rulings().iter().map(|ruling| ruling.rule.to_string()).collect();
        assert_eq!(broken, ["limits.max_page_size", "rules.epoch"][..rules]);
    }
}

/// Going over all rules is not for what is refused by its rate.
#[tokio::test]
async fn whether_rules_look_at_the_object_is_found_out_below_the_rate() {
    let text = "@id(\"a\") forbid(principal, action in Action::\"mutate\", resource) when { resource in Project::\"x\" };";
    let text = text.replace("\"x\"", &format!("\"{}\"", Uuid::from_u128(1)));
    let texts =
        Texts { policy: "rules.files = [\"a.cedar\"]".to_owned(), rules: vec![("a.cedar".to_owned(), text)] };
    let policy = Policy::new(Edition::of(&texts, &Ground::default()).unwrap());
    let seen = |expected| {
        move |call: Call| async move {
            assert_eq!(call.bound.needs_object, expected);
            Ok(call::tests::reply())
        }
    };
    let call = || call::tests::call(&CANCEL_PREBUILD, &pb::CancelPrebuildRequest::default());
    let stack = || ServiceBuilder::new().layer(stage(Bind(policy.clone())));
    let mut bound = stack().service(tower::service_fn(seen(Need::Not)));
    bound.call(call()).await.unwrap();
    let mut written = stack().layer(stage(WriteDefaults)).service(tower::service_fn(seen(Need::Required)));
    written.call(call()).await.unwrap();
}
