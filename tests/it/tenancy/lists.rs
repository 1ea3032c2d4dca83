//! A list with other orgs' objects in it: they are dropped, the rest stays as it came.

use prebuild_gateway::rpc::PREBUILD_METHODS;

use super::*;

/// Foreign, own, silent, foreign; spelled as no serializer of ours would.
fn mixed(field: &str) -> (String, String) {
    let kept = format!(
        r#"{{ "id":"a", "metadata": {{"organizationId":"{}" }},"new":1e2}},{{"id" : "b","old":[ 1 ]}}"#,
        ours().to_ascii_uppercase()
    );
    let (first, last) = (foreign(ID), foreign(OTHER));
    let around = |items: &str| {
        format!(r#"{{"also":{{"x" :1.50}},"{field}":[{items}],"pagination":{{"nextToken": "t"}}}}"#)
    };
    (around(&format!("{first} ,{kept},{last}")), around(&kept))
}

#[tokio::test]
async fn foreign_items_are_dropped_and_the_others_stay_as_they_came() {
    let mut bench = Bench::start().await;
    for (method, field) in
        [("ListPrebuilds", "prebuilds"), ("ListWarmPools", "warmPools"), ("ListWarmPools", "warm_pools")]
    {
        let (sent, kept) = mixed(field);
        let row = PREBUILD_METHODS.iter().find(|row| row.name == method).unwrap();
        let plain = |body: &str| Answer::Bytes(http(200, "content-type: application/json\r\n", body));
        for dialect in DIALECTS {
            let shown = bench.told(dialect, method, plain(&sent)).await.result.unwrap();
            // The same page without them, as upstream would have sent it.
            let honest = bench.told(dialect, method, plain(&kept)).await.result.unwrap();
            let canonical = |bytes: &[u8]| match dialect.is_json() {
                true => bytes.to_vec(),
                false => row.recode(bytes).unwrap().to_vec(),
            };
            assert_eq!(canonical(&shown), canonical(&honest), "{method} {dialect:?}");
            assert!(!String::from_utf8_lossy(&shown).contains(CANARY));
        }
        let shown = bench.told(JSON, method, plain(&sent)).await.result.unwrap();
        assert_eq!(shown, kept);
    }
    assert_eq!(bench.mismatches("ListPrebuilds", "organization").await, DIALECTS.len() as u64 + 1);
}

#[tokio::test]
async fn what_was_dropped_is_on_record_by_number() {
    let mut bench = Bench::start().await;
    let answered = bench
        .call(
            GRPC,
            "ListPrebuilds",
            Answer::Bytes(json(200, &value!({"prebuilds": [foreign(ID), own(OTHER), foreign(OTHER)]}))),
        )
        .await;
    let id = answered.id();
    assert!(GRPC.read(answered).result.is_ok());
    let audited = bench.gateway.end().await;
    let end = &audited.of(&id)[0]["end"];
    assert_eq!(end["mismatch"], value!({"kind": "organization", "objects": 2}));
    assert_eq!((&end["objects"], &end["code"]), (&value!([OTHER]), &value!("OK")));
}

#[tokio::test]
async fn a_list_that_is_all_foreign_is_empty() {
    let mut bench = Bench::start().await;
    for (dialect, empty) in [(GRPC, &b""[..]), (JSON, br#"{"prebuilds":[]}"#)] {
        let page = Answer::Bytes(json(200, &value!({"prebuilds": [foreign(ID), foreign(OTHER)]})));
        assert_eq!(bench.told(dialect, "ListPrebuilds", page).await.result.unwrap(), empty);
    }
}

/// Clients take an empty page for the end of the list.
#[tokio::test]
async fn a_page_that_is_all_foreign_is_not_shown_as_an_empty_one() {
    let mut bench = Bench::start().await;
    let page = |item: Value, token: &str| {
        Answer::Bytes(json(200, &value!({"prebuilds": [item], "pagination": {"nextToken": token}})))
    };
    for dialect in DIALECTS {
        let before = bench.upstream.seen().len();
        bench.upstream.then(page(foreign(ID), "a"));
        let shown = bench.told(dialect, "ListPrebuilds", page(own(ID), "b")).await.result.unwrap();
        let honest = bench.told(dialect, "ListPrebuilds", page(own(ID), "b")).await.result.unwrap();
        assert_eq!(shown, honest, "{dialect:?}");
        let seen = bench.upstream.seen().split_off(before);
        assert_eq!((seen.len(), seen[1].target.split_once('?').unwrap().1), (3, "token=a"));
        assert_eq!(seen[1].body["pagination"], value!({"token": "a"}));
    }
    // An empty page of upstream's own is its word.
    let empty = || Answer::Bytes(json(200, &value!({"pagination": {"nextToken": "a"}})));
    let shown = bench.told(JSON, "ListPrebuilds", empty()).await.result.unwrap();
    assert_eq!(shown, r#"{"pagination":{"nextToken":"a"}}"#);
    for token in 0..9 {
        bench.upstream.then(page(foreign(ID), &token.to_string()));
    }
    let before = bench.upstream.seen().len();
    let answered = bench.call(GRPC, "ListPrebuilds", page(foreign(ID), "9")).await;
    let id = answered.id();
    let wrong = GRPC.read(answered).result.unwrap_err();
    assert_eq!((wrong.code, wrong.reason.as_deref()), (14, Some("LIST_TOO_SPARSE")));
    assert_eq!(bench.upstream.seen().len(), before + 10);
    let audited = bench.gateway.end().await;
    let end = &audited.of(&id)[0]["end"];
    assert_eq!((&end["pages"], &end["forwarded"]), (&value!(10), &value!("yes")));
    assert_eq!(end["mismatch"], value!({"kind": "organization", "objects": 10}));
}
