//! The page of the URL over that of the body.

use http::Uri;
use prost::Message as _;

use super::merge;
use crate::{
    error::Reason,
    front::message::Message,
    front::protocol::Codec,
    proto::gitpod::v1::{ListPrebuildsRequest, PaginationRequest},
    rpc::{GET_PREBUILD, LIST_PREBUILDS, LIST_WARM_POOLS},
};

/// Page size and token after the merge, and the projects, which must not change.
fn page(query: &str, body: &'static str) -> (i32, String, Vec<String>) {
    let message = Message::read(&LIST_PREBUILDS, Codec::Json, body.into()).unwrap();
    let uri: Uri = format!("/x{query}").parse().unwrap();
    let wire = merge(&LIST_PREBUILDS, &uri, message.wire).unwrap();
    let request = ListPrebuildsRequest::decode(wire).unwrap();
    let PaginationRequest { page_size, token } = request.pagination.unwrap_or_default();
    (page_size, token, request.filter.unwrap_or_default().project_ids)
}

#[test]
fn what_stands_in_the_url_wins_and_the_rest_stays() {
    let body = r#"{"pagination": {"pageSize": 5, "token": "body"}, "filter": {"projectIds": ["p"]}}"#;
    for (query, size, token) in [
        ("", 5, "body"),
        ("?", 5, "body"),
        ("?token=", 5, "body"),
        ("?pageSize=", 5, "body"),
        ("?token=url+1%2B", 5, "url 1+"),
        ("?pageSize=7", 7, "body"),
        ("?pageSize=0", 0, "body"),
        ("?pageSize=-1&token=t", -1, "t"),
        ("?other=1&token=t&pageSize=3", 3, "t"),
    ] {
        assert_eq!(page(query, body), (size, token.to_owned(), vec!["p".to_owned()]), "{query}");
    }
    assert_eq!(page("?token=t", "{}"), (0, "t".to_owned(), vec![]));
}

#[test]
fn lists_alone_have_pages() {
    let uri: Uri = "/x?token=t".parse().unwrap();
    assert!(merge(&GET_PREBUILD, &uri, "".into()).unwrap().is_empty());
    assert!(!merge(&LIST_WARM_POOLS, &uri, "".into()).unwrap().is_empty());
}

#[test]
fn what_cannot_be_read_is_named() {
    for query in
        ["pageSize=x", "pageSize=1.5", "pageSize=4294967296", "pageSize=%ff", "token=%ff", "token=a&token=a"]
    {
        let uri: Uri = format!("/x?{query}").parse().unwrap();
        let error = merge(&LIST_PREBUILDS, &uri, "".into()).unwrap_err();
        assert_eq!(error.reason, Some(Reason::MalformedMessage), "{query}");
    }
}
