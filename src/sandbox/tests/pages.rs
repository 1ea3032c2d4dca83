//! Lists: order, filters, pages.

use std::collections::HashSet;

use serde_json::{Value, json};

use super::{Bench, GLOBEX};

async fn fill(bench: &Bench, prebuilds: usize) -> Vec<Value> {
    let mut ids = Vec::new();
    for index in 0..prebuilds {
        let project = bench.acme.projects[index % 2].id.to_string();
        let prebuild = bench.ok("CreatePrebuild", json!({ "projectId": project, "spec": {} })).await;
        ids.push(prebuild["prebuild"]["id"].clone());
    }
    ids.reverse();
    ids
}

fn ids(list: &Value) -> Vec<Value> {
    let prebuilds = list["prebuilds"].as_array().cloned().unwrap_or_default();
    prebuilds.into_iter().map(|mut prebuild| prebuild["id"].take()).collect()
}

#[tokio::test]
async fn pages_lead_through_all_newest_first_while_more_are_made() {
    let bench = Bench::start().await;
    let all = fill(&bench, 7).await;
    let (mut seen, mut token, mut pages) = (Vec::new(), json!(null), 0);
    while pages < 10 {
        let pagination = json!({ "pageSize": 3, "token": token });
        let page = bench.ok("ListPrebuilds", json!({ "pagination": pagination })).await;
        seen.extend(ids(&page));
        pages += 1;
        fill(&bench, 1).await;
        token = page["pagination"]["nextToken"].clone();
        if token.is_null() {
            assert_eq!(page.get("pagination"), None);
            break;
        }
    }
    assert_eq!((seen, pages), (all, 3));
    bench.stop().await;
}

#[tokio::test]
async fn a_page_has_25_items_where_nothing_is_said_and_none_follows_a_full_last_one() {
    let bench = Bench::start().await;
    fill(&bench, 26).await;
    let page = bench.ok("ListPrebuilds", json!({ "pagination": { "pageSize": 0 } })).await;
    assert_eq!(ids(&page).len(), 25);
    let full = bench.ok("ListPrebuilds", json!({ "pagination": { "pageSize": 26 } })).await;
    assert_eq!((ids(&full).len(), full.get("pagination")), (26, None));
    bench.stop().await;
}

#[tokio::test]
async fn the_query_goes_before_the_body() {
    let bench = Bench::start().await;
    let all = fill(&bench, 4).await;
    let list = async |query: &str, body: Value| {
        let mut request = bench.request("ListPrebuilds").body(body.to_string().into()).unwrap();
        *request.uri_mut() =
            format!("{}/api/gitpod.v1.PrebuildService/ListPrebuilds{query}", bench.base).parse().unwrap();
        bench.send(request).await.unwrap().json()
    };
    let first = list("?pageSize=1", json!({ "pagination": { "pageSize": 3 } })).await;
    assert_eq!(ids(&first), all[..1]);
    let token = first["pagination"]["nextToken"].as_str().unwrap();
    let body = json!({ "pagination": { "pageSize": 2 } });
    assert_eq!(ids(&list(&format!("?token={token}"), body).await), all[1..3]);
    let body = json!({ "pagination": { "pageSize": 2, "token": token } });
    assert_eq!(ids(&list("?token=&other=1", body).await), all[1..3]);
    assert_eq!(list("?pageSize=many", json!({})).await["code"], "invalid_argument");
    assert_eq!(list("?pageSize=101", json!({})).await["code"], "invalid_argument");
    bench.stop().await;
}

#[tokio::test]
async fn a_token_is_good_for_one_list_of_one_organization() {
    let bench = Bench::start().await;
    fill(&bench, 2).await;
    let page = bench.ok("ListPrebuilds", json!({ "pagination": { "pageSize": 1 } })).await;
    let token = page["pagination"]["nextToken"].as_str().unwrap();
    let body = |token: &str| json!({ "pagination": { "token": token } });
    bench.refused("ListWarmPools", body(token), "invalid_argument").await;
    bench.refused("ListPrebuilds", body("!"), "invalid_argument").await;
    bench.refused("ListPrebuilds", body(&token[1..]), "invalid_argument").await;
    let mut request = bench.request("ListPrebuilds").body(body(token).to_string().into()).unwrap();
    request.headers_mut().insert("authorization", format!("Bearer {GLOBEX}").parse().unwrap());
    assert_eq!(bench.send(request).await.unwrap().json()["code"], "invalid_argument");
    bench.stop().await;
}

#[tokio::test]
async fn every_filter_that_is_set_must_match() {
    let bench = Bench::start().await;
    let old = fill(&bench, 2).await;
    bench.steps(4);
    let new = fill(&bench, 2).await;
    let subject = bench.ok("GetPrebuild", json!({ "prebuildId": old[0] })).await["prebuild"]["metadata"]["creator"]
        ["id"]
        .take();
    let (first, nobody) = (bench.project().id.to_string(), uuid::Uuid::nil().to_string());
    let both: Vec<_> = new.iter().chain(&old).cloned().collect();
    let cases = [
        (json!({}), both.clone()),
        (json!({ "projectIds": [first] }), vec![new[1].clone(), old[1].clone()]),
        (
            json!({ "project_ids": [first.to_uppercase()], "phases": ["PREBUILD_PHASE_COMPLETED"] }),
            vec![old[1].clone()],
        ),
        (json!({ "phases": [10, "PREBUILD_PHASE_FAILED"] }), new.clone()),
        (json!({ "triggeredBy": ["PREBUILD_TRIGGER_MANUAL"] }), both.clone()),
        (json!({ "triggered_by": [2] }), vec![]),
        (json!({ "creatorIds": [subject], "executorIds": [nobody, subject] }), both),
        (json!({ "creatorIds": [nobody] }), vec![]),
        (json!({ "executor_ids": [nobody], "phases": [], "projectIds": null }), vec![]),
    ];
    for (filter, expected) in cases {
        let list = bench.ok("ListPrebuilds", json!({ "filter": filter })).await;
        assert_eq!(ids(&list), expected, "{filter}");
    }
    bench.stop().await;
}

#[tokio::test]
async fn pools_are_listed_by_project_and_class() {
    let bench = Bench::start().await;
    for project in &bench.acme.projects {
        for class in &project.classes {
            let (project, class) = (project.id.to_string(), class.to_string());
            bench
                .ok(
                    "CreateWarmPool",
                    json!({ "projectId": project, "environmentClassId": class, "maxSize": 1 }),
                )
                .await;
        }
    }
    let list = async |filter: Value, size: u32| {
        let body = json!({ "filter": filter, "pagination": { "pageSize": size } });
        bench.ok("ListWarmPools", body).await
    };
    let (project, class) = (bench.project().id.to_string(), bench.project().classes[0].to_string());
    for (filter, expected) in [
        (json!({}), 4),
        (json!({ "projectIds": [project] }), 2),
        (json!({ "projectIds": [project], "environmentClassIds": [class] }), 1),
    ] {
        let pools = list(filter.clone(), 100).await;
        let ids: HashSet<_> =
            pools["warmPools"].as_array().unwrap().iter().map(|pool| pool["id"].to_string()).collect();
        assert_eq!(ids.len(), expected, "{filter}");
    }
    assert!(list(json!({}), 3).await["pagination"]["nextToken"].is_string());
    bench.stop().await;
}
