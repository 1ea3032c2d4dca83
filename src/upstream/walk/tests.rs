//! The page as it goes on to the caller.

use std::{collections::HashMap, sync::Arc};

use super::{course::Course, lead, token::Place};
use crate::{
    call::{
        Reply,
        tests::{call, reply},
    },
    connect::json::{Duplicates, to_wire},
    proto::gitpod::v1::ListPrebuildsRequest,
    rpc::LIST_PREBUILDS,
    upstream::{Holding, PageKey, Parting},
};

fn course() -> Course {
    let projects = [uuid::Uuid::from_u128(1)].into();
    let holding = Holding { projects, ..Holding::default() };
    let key = PageKey::new(vec![7; 32]).unwrap();
    let parting = Parting::ByProject { holdings: Arc::new(HashMap::from([("acme".into(), holding)])), key };
    Course::of(&call(&LIST_PREBUILDS, &ListPrebuildsRequest::default()), &parting).unwrap()
}

fn page(json: &str) -> Reply {
    let method = &LIST_PREBUILDS;
    let output = method.output().unwrap();
    let (wire, _) = to_wire((method.schema)(), output, json.as_bytes(), Duplicates::LastWins).unwrap();
    let seen = method.view(&wire).unwrap();
    Reply { json: json.to_owned().into(), wire, seen, ..reply() }
}

#[test]
fn the_token_stands_in_place_of_upstreams_and_the_rest_stays() {
    let (course, next) = (course(), Place { batch: 0, token: Some("raw".to_owned()) });
    let sealed = course.seal(&next).unwrap();
    for (sent, led, ended) in [
        (
            r#"{"prebuilds":[{"id":"a", "new":1e2}],"pagination":{"nextToken":"raw","more" : 1}}"#.to_owned(),
            format!(
                r#"{{"prebuilds":[{{"id":"a", "new":1e2}}],"pagination":{{"nextToken":"{sealed}","more":1}}}}"#
            ),
            r#"{"prebuilds":[{"id":"a", "new":1e2}],"pagination":{"more":1}}"#,
        ),
        (
            r#"{"pagination":{"next_token":"raw"}}"#.to_owned(),
            format!(r#"{{"pagination":{{"nextToken":"{sealed}"}}}}"#),
            r#"{"pagination":{}}"#,
        ),
    ] {
        let shown = lead::on(&LIST_PREBUILDS, page(&sent), &course, Some(&next)).unwrap();
        let json = String::from_utf8_lossy(&shown.json).replace("next_token", "nextToken");
        assert_eq!(json, led);
        assert_eq!(shown.seen.next.as_ref(), Some(&sealed));
        let last = lead::on(&LIST_PREBUILDS, page(&sent), &course, None).unwrap();
        assert_eq!((&*last.json, last.seen.next), (ended.as_bytes(), None));
    }
}

#[test]
fn a_batch_that_ends_leads_to_the_next_one() {
    let (course, next) = (course(), Place { batch: 1, token: None });
    let sealed = course.seal(&next).unwrap();
    for sent in ["{}", r#"{"pagination":null}"#, r#"{"pagination":{"nextToken":""}}"#] {
        let shown = lead::on(&LIST_PREBUILDS, page(sent), &course, Some(&next)).unwrap();
        assert_eq!(shown.json, format!(r#"{{"pagination":{{"nextToken":"{sealed}"}}}}"#));
        let last = lead::on(&LIST_PREBUILDS, page(sent), &course, None).unwrap();
        assert_eq!(last.json, sent, "nothing is to be said");
    }
}

#[test]
fn upstreams_token_never_stays_in_a_text_that_hides_it() {
    let (course, next) = (course(), Place { batch: 0, token: None });
    for sent in [
        r#"{"pagination":{"nextToken":"raw","next_token":"raw"}}"#,
        r#"{"pagination":{"nextToken":"raw","next\u0054oken":"raw"}}"#,
    ] {
        let shown = lead::on(&LIST_PREBUILDS, page(sent), &course, Some(&next)).unwrap();
        assert!(!String::from_utf8_lossy(&shown.json).contains("raw"), "{:?}", shown.json);
    }
}

#[test]
fn a_list_that_is_not_narrowed_is_left_alone() {
    let sent = r#"{"pagination":{"nextToken":"raw"}}"#;
    let asked = call(&LIST_PREBUILDS, &ListPrebuildsRequest::default());
    let course = Course::of(&asked, &Parting::ByOrganization).unwrap();
    assert_eq!(lead::on(&LIST_PREBUILDS, page(sent), &course, None).unwrap().json, sent);
}
