//! A list with other orgs' objects in it: they are dropped, and what the rest says that the schema does not know.

use prebuild_gateway::rpc::PREBUILD_METHODS;

use super::*;

/// Foreign, own, silent, foreign, with a count of them all; and the page that was left of it.
fn mixed(field: &str) -> (String, String) {
    let ours = ours().to_ascii_uppercase();
    let first = format!(r#"{{ "id":"a", "metadata": {{"organizationId":"{ours}" }},"new":1e2}}"#);
    let (foreign, other) = (foreign(ID), foreign(OTHER));
    let sent = format!(
        r#"{{"total":4,"{field}":[{foreign} ,{first},{{"id" : "b"}},{other}],"pagination":{{"nextToken": "t","last":"{OTHER}"}}}}"#
    );
    let field = if field.starts_with("warm") { "warmPools" } else { field };
    let items = format!(r#"[{{"id":"a","metadata":{{"organizationId":"{ours}"}}}},{{"id":"b"}}]"#);
    (sent, format!(r#"{{"pagination":{{"nextToken":"t"}},"{field}":{items}}}"#))
}

#[tokio::test]
async fn foreign_items_are_dropped_with_all_that_came_of_them() {
    let mut bench = Bench::start().await;
    for (method, field) in
        [("ListPrebuilds", "prebuilds"), ("ListWarmPools", "warmPools"), ("ListWarmPools", "warm_pools")]
    {
        let (sent, kept) = mixed(field);
        let row = PREBUILD_METHODS.iter().find(|row| row.name == method).unwrap();
        let headers = format!("content-type: application/json\r\nx-shelf: {CANARY}\r\n");
        let plain = |body: &str| Answer::Bytes(http(200, &headers, body));
        for dialect in DIALECTS {
            let answered = bench.call(dialect, method, plain(&sent)).await;
            assert!(!answered.headers.contains_key("x-shelf") && !answered.trailers.contains_key("x-shelf"));
            let shown = dialect.read(answered).result.unwrap();
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
    for (dialect, empty) in [(GRPC, &b""[..]), (JSON, b"{}")] {
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
