//! Lists of an org whose projects are not all of the upstream organization's.

use std::collections::BTreeSet;

use prebuild_gateway::{
    config::Credential,
    proto::gitpod::v1::{ListPrebuildsResponse, ListWarmPoolsResponse},
    sandbox::{Project, Rules},
};
use prost::Message as _;

use super::*;
use crate::harness::{ACME_TOKEN, GLOBEX_KEY, Sandboxed, sharing};

/// Three batches.
const PROJECTS: u128 = 60;

fn project(number: u128) -> String {
    Uuid::from_u128((0xac << 120) + number).to_string()
}

fn projects(range: std::ops::Range<u128>) -> Vec<String> {
    range.map(project).collect()
}

/// acme's come first, in disorder; globex has as many.
fn parted() -> [Vec<String>; 2] {
    let mut acme = projects(0..PROJECTS);
    acme.reverse();
    [acme, projects(PROJECTS..2 * PROJECTS)]
}

async fn scripted() -> Bench {
    Bench::with(|config| sharing(config, &parted())).await
}

fn item(id: u128, project: &str) -> Value {
    value!({"id": Uuid::from_u128(id).to_string(), "metadata": {"organizationId": ours(), "projectId": project}})
}

fn page(items: Vec<Value>, token: &str) -> Answer {
    Answer::Bytes(json(200, &value!({"prebuilds": items, "pagination": {"nextToken": token}})))
}

/// A page's ids, and the token that it leads on with.
pub(super) fn read(dialect: Dialect, method: &str, page: &[u8]) -> (Vec<String>, String) {
    if !dialect.is_json() {
        return match method {
            "ListPrebuilds" => {
                let page = ListPrebuildsResponse::decode(page).unwrap();
                let ids = page.prebuilds.into_iter().map(|item| item.id).collect();
                (ids, page.pagination.unwrap_or_default().next_token)
            }
            _ => {
                let page = ListWarmPoolsResponse::decode(page).unwrap();
                let ids = page.warm_pools.into_iter().map(|item| item.id).collect();
                (ids, page.pagination.unwrap_or_default().next_token)
            }
        };
    }
    let page: Value = serde_json::from_slice(page).unwrap();
    let items = page["prebuilds"].as_array().or(page["warmPools"].as_array()).cloned().unwrap_or_default();
    let ids = items.iter().map(|item| item["id"].as_str().unwrap().to_owned()).collect();
    (ids, page["pagination"]["nextToken"].as_str().unwrap_or_default().to_owned())
}

/// A page of a list, or how it is refused.
async fn list(raw: &mut Raw, key: &str, dialect: Dialect, method: &str, json: &Value) -> Spoken {
    let request = dialect.request_of(key, raw, method);
    dialect.read(raw.call(request, dialect.body(&encoded(dialect, method, json))).await)
}

#[tokio::test]
async fn a_list_is_narrowed_to_the_projects_that_are_the_callers() {
    let mut bench = scripted().await;
    let (own, foreign) = (project(7), project(PROJECTS + 1));
    let all: Vec<_> = projects(0..25);
    for (asked, expected) in [
        (vec![], all),
        (vec![own.clone()], vec![own.clone()]),
        (vec![foreign.clone(), own.to_ascii_uppercase(), own.clone(), OTHER.to_owned()], vec![own.clone()]),
    ] {
        for dialect in DIALECTS {
            let before = bench.upstream.seen().len();
            bench.upstream.then(page(vec![item(1, &own)], ""));
            let filter = value!({"projectIds": asked, "phases": ["PREBUILD_PHASE_FAILED"]});
            let request = value!({"filter": filter, "pagination": {"pageSize": 3}});
            let shown = list(&mut bench.raw, ACME_KEY, dialect, "ListPrebuilds", &request).await;
            let (ids, next) = read(dialect, "ListPrebuilds", &shown.result.unwrap());
            assert_eq!(ids, [Uuid::from_u128(1).to_string()]);
            assert_eq!(next.is_empty(), !asked.is_empty(), "a batch of three, or the only one");
            let seen = &bench.upstream.seen()[before];
            assert_eq!(seen.body["filter"]["projectIds"], value!(expected));
            assert_eq!(seen.body["filter"]["phases"], filter["phases"]);
            assert!(seen.target.ends_with("?pageSize=3"), "{}", seen.target);
        }
    }
    let audited = bench.gateway.end().await;
    assert_eq!(audited.0.last().unwrap()["facts"]["filter"]["projects"].as_array().unwrap().len(), 4);
}

#[tokio::test]
async fn who_asks_for_nothing_of_its_own_gets_an_empty_list_without_a_question() {
    let mut bench = scripted().await;
    let asked = value!({"filter": {"projectIds": [project(PROJECTS), OTHER]}});
    for method in ["ListPrebuilds", "ListWarmPools"] {
        for dialect in DIALECTS {
            let shown = list(&mut bench.raw, ACME_KEY, dialect, method, &asked).await.result.unwrap();
            assert_eq!(shown, if dialect.is_json() { "{}" } else { "" });
        }
    }
    assert!(bench.upstream.seen().is_empty());
    // The checks come first.
    let wrong = value!({"filter": {"projectIds": [OTHER]}, "pagination": {"pageSize": 101}});
    let wrong = list(&mut bench.raw, ACME_KEY, GRPC, "ListPrebuilds", &wrong).await.result.unwrap_err();
    assert_eq!(wrong.reason.as_deref(), Some("GUARDRAIL"));
    let audited = bench.gateway.end().await;
    assert_eq!(audited.0.len(), 2 * DIALECTS.len() + 1);
    assert!(audited.0.iter().all(|record| record["end"]["forwarded"] == "no"));
    assert_eq!((&audited.0[0]["stage"], &audited.0[0]["end"]["code"]), (&value!("outcome"), &value!("OK")));
}

/// Upstream ignores the filter: of the first page nothing is the caller's.
#[tokio::test]
async fn a_first_page_that_is_all_foreign_is_not_shown() {
    let mut bench = scripted().await;
    for dialect in DIALECTS {
        let before = bench.upstream.seen().len();
        let foreign: Vec<_> = (0..25).map(|id| item(id, &project(PROJECTS + id))).collect();
        let mut nowhere = item(30, &project(1));
        nowhere["metadata"]["organizationId"] = value!("");
        let mixed =
            vec![foreign[0].clone(), item(28, &project(1)), item(29, ""), nowhere, foreign[1].clone()];
        bench.upstream.then(page(foreign, "raw-1"));
        bench.upstream.then(page(vec![], "raw-2"));
        bench.upstream.then(page(mixed, "raw-3"));
        let shown = list(&mut bench.raw, ACME_KEY, dialect, "ListPrebuilds", &value!({})).await;
        let shown = shown.result.unwrap();
        let (ids, next) = read(dialect, "ListPrebuilds", &shown);
        assert_eq!(ids, [Uuid::from_u128(28).to_string()], "{dialect:?}");
        assert!(!String::from_utf8_lossy(&shown).contains("raw-"), "upstream's token shows");
        bench.upstream.then(page(vec![item(31, &project(2))], ""));
        let more = value!({"pagination": {"token": next}});
        let shown = list(&mut bench.raw, ACME_KEY, dialect, "ListPrebuilds", &more).await.result.unwrap();
        assert_eq!(read(dialect, "ListPrebuilds", &shown).0, [Uuid::from_u128(31).to_string()]);
        let tokens: Vec<_> = bench.upstream.seen()[before..]
            .iter()
            .map(|seen| seen.body["pagination"]["token"].clone())
            .collect();
        assert_eq!(tokens, [Value::Null, value!("raw-1"), value!("raw-2"), value!("raw-3")]);
    }
    let dialects = DIALECTS.len() as u64;
    assert_eq!(bench.mismatches("ListPrebuilds", "project").await, dialects);
    assert_eq!(bench.mismatches("ListPrebuilds", "organization").await, dialects);
    let audited = bench.gateway.end().await;
    let end = &audited.0[0]["end"];
    assert_eq!(
        (&end["pages"], &end["mismatch"]),
        (&value!(3), &value!({"kind": "organization", "objects": 29}))
    );
    assert!(!format!("{audited:?}").contains("raw-"));
}

#[tokio::test]
async fn ten_pages_in_vain_are_enough() {
    let mut bench = scripted().await;
    for number in 0..11 {
        bench.upstream.then(page(vec![item(number, OTHER)], &format!("raw-{number}")));
    }
    let wrong = list(&mut bench.raw, ACME_KEY, GRPC, "ListPrebuilds", &value!({})).await.result.unwrap_err();
    assert_eq!((wrong.code, wrong.reason.as_deref()), (14, Some("LIST_TOO_SPARSE")));
    assert_eq!(bench.upstream.seen().len(), 10);
}

#[tokio::test]
async fn a_later_page_that_fails_is_a_list_that_was_forwarded() {
    let mut bench = scripted().await;
    bench.upstream.then(page(vec![], "raw"));
    bench.upstream.then(Answer::Close(Vec::new()));
    let wrong = list(&mut bench.raw, ACME_KEY, GRPC, "ListPrebuilds", &value!({})).await.result.unwrap_err();
    assert_eq!((wrong.code, wrong.reason), (14, None));
    bench.upstream.then(page(vec![], "raw"));
    bench.upstream.then(Answer::silence());
    let request = GRPC.request(&bench.raw, "ListPrebuilds").header("grpc-timeout", "300m");
    let late = GRPC.read(bench.raw.call(request, GRPC.body(b"")).await).result.unwrap_err();
    assert_eq!((late.code, late.reason.as_deref()), (4, Some("DEADLINE_EXCEEDED")));
    assert_eq!(bench.upstream.seen().len(), 4);
}

#[tokio::test]
async fn a_token_is_good_for_its_own_list_alone() {
    let mut bench = scripted().await;
    let other_key = Gateway::with(bench.upstream.address, |config| {
        sharing(config, &parted());
        config.pages.as_mut().unwrap().key = Credential::Env("other-page-key".to_owned());
    })
    .await;
    let mut other_key = Raw::connect(other_key.address).await;
    bench.upstream.then(page(vec![item(1, &project(1))], "raw"));
    let shown = list(&mut bench.raw, ACME_KEY, JSON, "ListPrebuilds", &value!({})).await.result.unwrap();
    let token = read(JSON, "ListPrebuilds", &shown).1;
    let at = |token: &str| value!({"pagination": {"token": token}});
    let flipped: String = token.chars().map(|c| if c == 'A' { 'B' } else { c }).collect();
    let narrower = value!({"filter": {"projectIds": [project(1)]}, "pagination": {"token": token}});
    let phases = value!({"filter": {"phases": [60]}, "pagination": {"token": token}});
    for dialect in DIALECTS {
        for (key, method, request) in [
            (GLOBEX_KEY, "ListPrebuilds", at(&token)),
            (ACME_KEY, "ListWarmPools", at(&token)),
            (ACME_KEY, "ListPrebuilds", narrower.clone()),
            (ACME_KEY, "ListPrebuilds", phases.clone()),
            (ACME_KEY, "ListPrebuilds", at("raw")),
            (ACME_KEY, "ListPrebuilds", at(&token[..token.len() - 1])),
            (ACME_KEY, "ListPrebuilds", at(&flipped)),
        ] {
            let wrong = list(&mut bench.raw, key, dialect, method, &request).await.result.unwrap_err();
            assert_eq!((wrong.code, wrong.reason.as_deref()), (3, Some("PAGE_TOKEN")), "{request}");
            assert_eq!(
                (&*wrong.message, wrong.fields),
                ("not a page token of this list", vec!["pagination.token".to_owned()])
            );
        }
        let wrong = list(&mut other_key, ACME_KEY, dialect, "ListPrebuilds", &at(&token)).await;
        assert_eq!(wrong.result.unwrap_err().reason.as_deref(), Some("PAGE_TOKEN"));
    }
    assert_eq!(bench.upstream.seen().len(), 1, "nothing is forwarded");
    // Another page size is the same list.
    bench.upstream.then(page(vec![item(2, &project(1))], ""));
    let request = value!({"pagination": {"token": token, "pageSize": 2}});
    assert!(list(&mut bench.raw, ACME_KEY, GRPC, "ListPrebuilds", &request).await.result.is_ok());
}

/// A sandbox with both orgs' projects in one organization, and so many prebuilds of each.
async fn shared(prebuilds: u128) -> (Sandboxed, Gateway, [BTreeSet<String>; 2]) {
    let class = Uuid::from_u128(1);
    let of = |number| Project { id: project(number).parse().unwrap(), classes: vec![class] };
    let mut acme = Org::demo("acme", ACME_TOKEN.into());
    acme.projects = (0..2 * PROJECTS).map(of).collect();
    let globex = Org::demo("globex", String::new().into());
    let upstream = Sandboxed::with(Rules::Official, acme, globex).await;
    let gateway = replica(&upstream).await;
    let mut raw = Raw::connect(gateway.address).await;
    let mut made = [BTreeSet::new(), BTreeSet::new()];
    for number in 0..prebuilds {
        for (org, key) in [ACME_KEY, GLOBEX_KEY].into_iter().enumerate() {
            let project = project(number * 7 % PROJECTS + PROJECTS * org as u128);
            let request = value!({"projectId": project, "spec": {}});
            let request = JSON.body(&encoded(JSON, "CreatePrebuild", &request));
            let head = JSON.request_of(key, &raw, "CreatePrebuild");
            let shown = JSON.read(raw.call(head, request).await).result.unwrap();
            let shown: Value = serde_json::from_slice(&shown).unwrap();
            made[org].insert(shown["prebuild"]["id"].as_str().unwrap().to_owned());
        }
    }
    (upstream, gateway, made)
}

async fn replica(upstream: &Sandboxed) -> Gateway {
    Gateway::with(upstream.address, |config| sharing(config, &parted())).await
}

#[tokio::test]
async fn every_item_is_listed_once_by_each_dialect_and_page_size() {
    let (_upstream, gateway, made) = shared(130).await;
    let mut raw = Raw::connect(gateway.address).await;
    for dialect in DIALECTS {
        // Single items cost a call each: once by protobuf, once by JSON.
        let sizes: &[i32] = if [GRPC, JSON].contains(&dialect) { &[0, 1, 24, 25, 100] } else { &[7, 100] };
        for (size, key, own) in
            sizes.iter().flat_map(|size| [(*size, ACME_KEY, &made[0]), (*size, GLOBEX_KEY, &made[1])])
        {
            if size == 1 && key == GLOBEX_KEY {
                continue;
            }
            let (mut listed, mut token) = (Vec::new(), String::new());
            loop {
                let request = value!({"pagination": {"pageSize": size, "token": token}});
                let shown = list(&mut raw, key, dialect, "ListPrebuilds", &request).await.result.unwrap();
                let (ids, next) = read(dialect, "ListPrebuilds", &shown);
                assert!(!ids.is_empty() || next.is_empty(), "an empty page that leads on");
                listed.extend(ids);
                token = next;
                if token.is_empty() {
                    break;
                }
            }
            assert_eq!(listed.len(), own.len(), "{dialect:?}, {size}");
            assert_eq!(&listed.into_iter().collect::<BTreeSet<_>>(), own, "{dialect:?}, {size}");
        }
    }
}

/// As the first generation of the SDKs asks: the body stays what it was, and page after page another replica answers,
/// also one that was not there when the list was begun.
#[tokio::test]
async fn a_list_goes_on_by_the_url_and_on_any_replica() {
    let (upstream, gateway, made) = shared(40).await;
    let first = Raw::connect(gateway.address).await;
    let second = replica(&upstream).await;
    let mut replicas = [first, Raw::connect(second.address).await];
    let (mut listed, mut query) = (BTreeSet::new(), "pageSize=3".to_owned());
    let mut restarted = None;
    for page in 0..100 {
        if page == 5 {
            let later = restarted.insert(replica(&upstream).await);
            replicas[1] = Raw::connect(later.address).await;
        }
        let raw = &mut replicas[page % 2];
        let head = JSON.request(raw, &format!("ListPrebuilds?{query}"));
        let shown = JSON.read(raw.call(head, "{}").await).result.unwrap();
        let (ids, next) = read(JSON, "ListPrebuilds", &shown);
        assert!(ids.iter().all(|id| listed.insert(id.clone())), "an item twice");
        if next.is_empty() {
            assert!(page > 10, "{page}");
            assert_eq!(listed, made[0]);
            return;
        }
        query = format!("token={next}&pageSize=3");
    }
    panic!("the list has no end");
}
