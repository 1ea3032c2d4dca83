//! A subject that is limited to some projects or classes reaches no object of others, whichever way it names it.

use prost::Message as _;

use super::*;
use crate::rpc::{GET_PREBUILD, GET_WARM_POOL, UPDATE_WARM_POOL};

/// Calls by id, and whether they are about a pool.
const CALLS: [(&MethodSpec, bool); 7] = [
    (&GET_PREBUILD, false),
    (&rpc::CANCEL_PREBUILD, false),
    (&rpc::CREATE_PREBUILD_LOGS_TOKEN, false),
    (&rpc::DELETE_PREBUILD, false),
    (&GET_WARM_POOL, true),
    (&UPDATE_WARM_POOL, true),
    (&rpc::DELETE_WARM_POOL, true),
];

/// A message that names an object: of every request its id is field 1.
fn naming(id: &str) -> pb::GetPrebuildRequest {
    pb::GetPrebuildRequest { prebuild_id: id.to_owned() }
}

#[tokio::test]
async fn what_is_limited_to_a_project_reaches_nothing_of_another() {
    for is_strict in STRICT {
        let bench = Bench::start(is_strict).await;
        let limits = projects(only([bench.project(0)]));
        for (method, is_pool) in CALLS {
            let [ours, other] = match is_pool {
                false => [bench.prebuild(0, 0).await, bench.prebuild(1, 0).await],
                true if method.name == "GetWarmPool" => [bench.pool(0, 0).await, bench.pool(1, 0).await],
                true => existing(&bench).await,
            };
            let (executed, since) = (bench.sandbox.executed(method.name), bench.sandbox.seen().len());
            let read = method.lookup.unwrap().method.name;
            let denied = bench.call(method, &naming(&other), &limits).await;
            let denied = refused(denied);
            assert_eq!(
                denied,
                (Some(Reason::PolicyDenied), Some("limits.projects".to_owned())),
                "{}",
                method.name
            );
            let asked = bench.asked(since);
            // Whose it is may be known from before, where that has to be known.
            let is_known = is_strict && asked.is_empty();
            assert!(asked == [read] || is_known, "{} strict: {is_strict} {asked:?}", method.name);
            if !method.is_look_up() {
                assert_eq!(bench.sandbox.executed(method.name), executed, "{}", method.name);
            }
            assert!(bench.call(method, &naming(&other), &Limits::default()).await.is_ok(), "{}", method.name);
            assert!(bench.call(method, &naming(&ours), &limits).await.is_ok(), "{}", method.name);
        }
    }
}

/// The pools of both projects: there is one of each.
async fn existing(bench: &Bench) -> [String; 2] {
    let all =
        bench.call(&rpc::LIST_WARM_POOLS, &pb::ListWarmPoolsRequest::default(), &Limits::default()).await;
    let all = all.unwrap().seen.objects;
    [0, 1].map(|index| {
        let project = bench.project(index).to_string();
        all.iter().find(|pool| pool.project == project).unwrap().id.clone()
    })
}

#[tokio::test]
async fn what_is_limited_to_a_class_reaches_nothing_of_another() {
    for is_strict in STRICT {
        let bench = Bench::start(is_strict).await;
        let limits = classes(only([bench.class(0)]));
        let [ours, other] = [bench.prebuild(0, 0).await, bench.prebuild(0, 1).await];
        for (method, _) in CALLS.iter().filter(|(_, is_pool)| !is_pool) {
            let denied = bench.call(method, &naming(&other), &limits).await;
            assert_eq!(refused(denied).1.as_deref(), Some("limits.environment_classes"), "{}", method.name);
            assert!(bench.call(method, &naming(&ours), &limits).await.is_ok(), "{}", method.name);
        }
    }
}

/// The rules are looked at only where there is something of the org's to look at.
#[tokio::test]
async fn foreign_and_absent_objects_look_alike_under_a_limit_and_as_without() {
    for is_strict in STRICT {
        let bench = Bench::start(is_strict).await;
        let limits = projects(only([bench.project(0)]));
        let (theirs, absent) = (bench.prebuild(0, 0).await, Uuid::from_u128(9).to_string());
        for (method, is_pool) in CALLS {
            // Of a pool there is no foreign one; absent is absent.
            let ids = if is_pool { vec![&absent] } else { vec![&theirs, &absent] };
            for id in ids {
                for limits in [&limits, &Limits::default()] {
                    let (result, context) = bench.tried("globex", method, &naming(id), limits).await;
                    let error = result.unwrap_err();
                    assert_eq!(
                        (error.code, error.rule),
                        (crate::error::Code::NotFound, None),
                        "{}",
                        method.name
                    );
                    assert!(context.rulings().is_empty());
                }
            }
            if !is_pool {
                let told = async |id: &str| {
                    let error = bench.tried("globex", method, &naming(id), &limits).await.0.unwrap_err();
                    (error.reason, error.message.clone(), error.details.len(), error.retry, error.sent)
                };
                assert_eq!(told(&theirs).await, told(&absent).await, "{}", method.name);
            }
        }
    }
}

#[tokio::test]
async fn without_a_rule_about_it_no_object_is_looked_up() {
    let bench = Bench::start(false).await;
    let id = bench.prebuild(0, 0).await;
    let page = Limits { max_page_size: applied("max_page_size", Mode::Enforce, 1), ..Limits::default() };
    for limits in [page, projects(Selection::default())] {
        let since = bench.sandbox.seen().len();
        assert!(bench.call(&GET_PREBUILD, &naming(&id), &limits).await.is_ok());
        assert_eq!(bench.asked(since), ["GetPrebuild"]);
    }
}

#[tokio::test]
async fn what_is_known_to_be_the_orgs_own_is_not_looked_up_again() {
    let bench = Bench::start(true).await;
    let id = bench.prebuild(0, 0).await;
    let limits = projects(only([bench.project(0)]));
    let since = bench.sandbox.seen().len();
    for _ in 0..2 {
        assert!(bench.call(&GET_PREBUILD, &naming(&id), &limits).await.is_ok());
    }
    assert_eq!(bench.asked(since), ["GetPrebuild"; 3], "the look-up, and both reads");
}

#[tokio::test]
async fn a_rule_that_is_only_looked_at_lets_the_call_pass_and_tells() {
    let bench = Bench::start(false).await;
    let other = bench.prebuild(1, 0).await;
    for mode in [Mode::Audit, Mode::Warn] {
        let limits =
            Limits { projects: applied("projects", mode, only([bench.project(0)])), ..Limits::default() };
        let (result, context) = bench.tried("acme", &GET_PREBUILD, &naming(&other), &limits).await;
        assert!(result.is_ok());
        let rulings = context.rulings();
        assert_eq!((rulings.len(), rulings[0].mode, rulings[0].is_broken()), (1, mode, true));
    }
}

#[tokio::test]
async fn a_pool_is_judged_by_the_sizes_that_it_will_have() {
    for is_strict in STRICT {
        let bench = Bench::start(is_strict).await;
        let id = bench.pool(0, 0).await;
        let limits =
            Limits { max_pool_size: applied("max_pool_size", Mode::Enforce, 5), ..Limits::default() };
        let update = |min_size, max_size| pb::UpdateWarmPoolRequest {
            warm_pool_id: id.clone(),
            min_size,
            max_size,
            ..pb::UpdateWarmPoolRequest::default()
        };
        // Its max_size is 9.
        for denied in [update(Some(2), None), update(None, None), update(None, Some(6))] {
            let denied = refused(bench.call(&UPDATE_WARM_POOL, &denied, &limits).await);
            assert_eq!(denied.1.as_deref(), Some("limits.max_pool_size"));
        }
        assert_eq!(bench.sandbox.executed("UpdateWarmPool"), 0);
        for passing in [update(None, Some(5)), update(Some(2), None), update(None, None)] {
            let passed = bench.call(&UPDATE_WARM_POOL, &passing, &limits).await;
            assert!(
                passed.is_ok(),
                "{passing:?} {:?}",
                passed.map(|_| ()).map_err(|error| error.to_string())
            );
        }
    }
}

/// What a refusal says of a pool's sizes is only for those who may reach the pool.
#[tokio::test]
async fn whoever_may_not_reach_a_pool_learns_nothing_of_its_sizes() {
    for is_strict in STRICT {
        let bench = Bench::start(is_strict).await;
        let other = bench.pool(1, 0).await;
        let max_pool_size = applied("max_pool_size", Mode::Enforce, 5);
        let limits = Limits { max_pool_size, ..projects(only([bench.project(0)])) };
        // Its sizes are 1 and 9: one crosses its maximum, the other keeps it beyond what is allowed.
        for min in [12, 2] {
            let request = pb::UpdateWarmPoolRequest {
                warm_pool_id: other.clone(),
                min_size: Some(min),
                ..pb::UpdateWarmPoolRequest::default()
            };
            let (result, context) = bench.tried("acme", &UPDATE_WARM_POOL, &request, &limits).await;
            let expected = (Some(Reason::PolicyDenied), Some("limits.projects".to_owned()));
            assert_eq!(refused(result), expected, "{min} strict: {is_strict}");
            assert_eq!(context.rulings().len(), 1, "{:?}", context.rulings());
        }
    }
}

/// Where it is known whose a pool is, a look-up that only shadows want may fail.
#[tokio::test]
async fn a_shadow_refuses_nothing_also_where_projects_part_the_orgs() {
    let bench = Bench::start(true).await;
    let id = bench.pool(0, 0).await;
    let max_pool_size = applied("max_pool_size", Mode::Audit, 5);
    let limits = Limits { max_pool_size, ..Limits::default() };
    let request = pb::UpdateWarmPoolRequest { warm_pool_id: id, ..pb::UpdateWarmPoolRequest::default() };
    assert!(bench.call(&UPDATE_WARM_POOL, &request, &limits).await.is_ok());
    bench.sandbox.revoke("acme-token");
    let since = bench.sandbox.seen().len();
    bench.call(&UPDATE_WARM_POOL, &request, &limits).await.unwrap_err();
    assert_eq!(bench.asked(since), ["GetWarmPool", "UpdateWarmPool"], "it is upstream that refuses");
}

/// Every request that is used here has its id in field 1.
#[test]
fn the_id_is_field_one() {
    for (method, _) in CALLS {
        let (_, facts) = method.decode(&naming("x").encode_to_vec()).unwrap();
        assert_eq!(facts.object(), Some("x"), "{}", method.name);
    }
}
