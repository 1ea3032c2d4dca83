//! Lists show what is allowed, and all of it, in both forms of an answer and under both ways of parting the orgs.

use std::collections::BTreeSet;

use serde_json::Value;

use super::*;
use crate::rpc::{LIST_PREBUILDS, LIST_WARM_POOLS};

fn list(projects: &[Uuid], page_size: i32, token: &str) -> pb::ListPrebuildsRequest {
    let filter = pb::list_prebuilds_request::Filter {
        project_ids: projects.iter().map(Uuid::to_string).collect(),
        ..Default::default()
    };
    pb::ListPrebuildsRequest {
        pagination: Some(pb::PaginationRequest { page_size, token: token.to_owned() }),
        filter: Some(filter),
    }
}

/// The ids on a page, which must be the same for JSON and for protobuf callers.
fn shown(method: &MethodSpec, reply: &Reply) -> Vec<String> {
    let json: Value = serde_json::from_slice(&reply.json).unwrap();
    let field = &method.listed().unwrap().json_name;
    let in_json = json[field].as_array().cloned().unwrap_or_default();
    let in_json: Vec<_> = in_json.iter().map(|item| item["id"].as_str().unwrap().to_owned()).collect();
    let in_wire = method.view(&reply.wire).unwrap();
    let next = json["pagination"]["nextToken"].as_str().map(str::to_owned);
    assert_eq!((&in_wire.next, &in_wire.objects), (&next, &reply.seen.objects));
    assert_eq!(in_wire.objects.iter().map(|object| object.id.clone()).collect::<Vec<_>>(), in_json);
    in_json
}

/// All pages of a list, as a client goes through them; none but the last is empty.
async fn walk(bench: &Bench, asked: &[Uuid], size: i32, limits: &Limits) -> BTreeSet<String> {
    let (mut all, mut token) = (BTreeSet::new(), String::new());
    for _ in 0..50 {
        let reply = bench.call(&LIST_PREBUILDS, &list(asked, size, &token), limits).await.unwrap();
        let page = shown(&LIST_PREBUILDS, &reply);
        assert!(page.len() <= usize::try_from(size).unwrap());
        let Some(next) = reply.seen.next else {
            all.extend(page);
            return all;
        };
        assert!(!page.is_empty(), "clients take an empty page for the end");
        all.extend(page);
        token = next;
    }
    panic!("the list does not end")
}

/// Prebuilds of both projects in both classes, by project and class; those that are not allowed come in runs.
async fn fill(bench: &Bench) -> Vec<(usize, usize, String)> {
    let mut made = Vec::new();
    for (project, class) in [(0, 0), (0, 1), (0, 0), (1, 0), (1, 1), (1, 0), (1, 0), (1, 1), (0, 1)] {
        made.push((project, class, bench.prebuild(project, class).await));
    }
    made
}

fn of(made: &[(usize, usize, String)], keep: impl Fn(usize, usize) -> bool) -> BTreeSet<String> {
    let kept = made.iter().filter(|(project, class, _)| keep(*project, *class));
    kept.map(|(.., id)| id.clone()).collect()
}

#[tokio::test]
async fn a_list_shows_all_of_what_is_allowed_and_nothing_else() {
    for is_strict in STRICT {
        let bench = Bench::start(is_strict).await;
        let made = fill(&bench).await;
        let (ours, other) = (bench.project(0), bench.project(1));
        let deny = |id| Selection { allow: None, deny: Arc::new([id].into()) };
        let many = (0..30).map(Uuid::from_u128).chain([ours]);
        let first = of(&made, |project, _| project == 0);
        for size in [1, 2, 100] {
            for selection in [only([ours]), deny(other), only(many.clone())] {
                let limits = projects(selection);
                assert_eq!(walk(&bench, &[], size, &limits).await, first, "{limits:?} strict: {is_strict}");
                assert_eq!(walk(&bench, &[ours, other], size, &limits).await, first);
                let since = bench.sandbox.seen().len();
                assert!(walk(&bench, &[other], size, &limits).await.is_empty());
                assert!(bench.asked(since).is_empty(), "there is nothing to ask for");
            }
            let everything = of(&made, |_, _| true);
            assert_eq!(walk(&bench, &[], size, &Limits::default()).await, everything);
            let of_a_class = of(&made, |_, class| class == 0);
            for selection in [only([bench.class(0)]), deny(bench.class(1))] {
                assert_eq!(walk(&bench, &[], size, &classes(selection)).await, of_a_class);
            }
            let both =
                Limits { projects: projects(only([ours])).projects, ..classes(only([bench.class(1)])) };
            let expected = of(&made, |project, class| (project, class) == (0, 1));
            assert_eq!(walk(&bench, &[], size, &both).await, expected);
        }
        assert!(walk(&bench, &[], 2, &projects(only([]))).await.is_empty());
    }
}

#[tokio::test]
async fn what_is_allowed_is_asked_for() {
    let bench = Bench::start(false).await;
    let made = fill(&bench).await;
    let since = bench.sandbox.seen().len();
    let limits = projects(only([bench.project(0)]));
    let first = of(&made, |project, _| project == 0);
    assert_eq!(walk(&bench, &[], 2, &limits).await, first);
    assert_eq!(bench.asked(since).len(), 2, "upstream narrows it: no page is read in vain");
    let body: Value = serde_json::from_slice(&bench.sandbox.seen().pop().unwrap().body).unwrap();
    assert_eq!(body["filter"]["projectIds"], serde_json::json!([bench.project(0).to_string()]));
}

#[tokio::test]
async fn pools_are_narrowed_by_project_and_class() {
    for is_strict in STRICT {
        let bench = Bench::start(is_strict).await;
        let mut pools = Vec::new();
        for (project, class) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
            pools.push((project, class, bench.pool(project, class).await));
        }
        let both = Limits {
            projects: projects(only([bench.project(0)])).projects,
            ..classes(only([bench.class(1)]))
        };
        for (limits, expected) in [
            (projects(only([bench.project(0)])), of(&pools, |project, _| project == 0)),
            (classes(only([bench.class(1)])), of(&pools, |_, class| class == 1)),
            (both, of(&pools, |project, class| (project, class) == (0, 1))),
            (classes(only([])), BTreeSet::new()),
        ] {
            let reply = bench.call(&LIST_WARM_POOLS, &pb::ListWarmPoolsRequest::default(), &limits).await;
            let found: BTreeSet<_> = shown(&LIST_WARM_POOLS, &reply.unwrap()).into_iter().collect();
            assert_eq!(found, expected, "{limits:?} strict: {is_strict}");
        }
        let body: Value = serde_json::from_slice(&bench.sandbox.seen().pop().unwrap().body).unwrap();
        assert_eq!(body["filter"]["environmentClassIds"], serde_json::json!([bench.class(1).to_string()]));
    }
}

#[tokio::test]
async fn a_selection_that_is_only_looked_at_narrows_nothing() {
    for is_strict in STRICT {
        let bench = Bench::start(is_strict).await;
        let made = fill(&bench).await;
        let limits = Limits {
            projects: applied("projects", Mode::Audit, only([bench.project(0)])),
            ..Limits::default()
        };
        assert_eq!(walk(&bench, &[], 2, &limits).await, of(&made, |_, _| true));
    }
}

/// It may count what is not shown.
#[tokio::test]
async fn what_nobody_knows_is_not_shown_of_a_list_that_is_narrowed() {
    let bench = Bench::start(false).await;
    let made = fill(&bench).await;
    bench.sandbox.witness(|_, answer| {
        answer["total"] = Value::from(9);
        http::StatusCode::OK
    });
    for (limits, is_shown) in [(projects(only([bench.project(0)])), false), (Limits::default(), true)] {
        let reply = bench.call(&LIST_PREBUILDS, &list(&[], 100, ""), &limits).await.unwrap();
        assert!(!shown(&LIST_PREBUILDS, &reply).is_empty() && !made.is_empty());
        let json: Value = serde_json::from_slice(&reply.json).unwrap();
        assert_eq!(json.get("total").is_some(), is_shown);
    }
}
