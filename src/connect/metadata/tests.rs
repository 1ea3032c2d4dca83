//! What a list lets through, and what can never be on one.

use http::{HeaderMap, HeaderValue};

use super::{AllowList, AllowListError};

fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in pairs {
        headers.append(*name, HeaderValue::from_static(value));
    }
    headers
}

#[test]
fn only_what_is_named_crosses_with_all_its_values() {
    let list = AllowList::new(["x-team", "X-Blob-Bin"]).unwrap();
    let all = headers(&[
        ("x-team", "a"),
        ("x-team", "b"),
        ("x-other", "c"),
        ("x-blob-bin", "AAEC"),
        ("authorization", "Bearer secret"),
    ]);
    let expected = headers(&[("x-team", "a"), ("x-team", "b"), ("x-blob-bin", "AAEC")]);
    assert_eq!(list.filter(&all), expected);
}

#[test]
fn binary_metadata_must_be_base64_padded_or_not() {
    let list = AllowList::new(["x-bin"]).unwrap();
    for good in ["AA==", "AA", "AAEC, AA"] {
        assert_eq!(list.filter(&headers(&[("x-bin", good)])).len(), 1, "{good}");
    }
    assert_eq!(list.filter(&headers(&[("x-bin", "*")])).len(), 0);
}

#[test]
fn trailers_lose_their_prefix() {
    let list = AllowList::new(["x-cost"]).unwrap();
    let all = headers(&[("trailer-x-cost", "3"), ("trailer-x-other", "4"), ("x-cost", "5")]);
    assert_eq!(list.filter_trailers(&all), headers(&[("x-cost", "3")]));
}

#[test]
fn upstreams_retry_control_always_reaches_the_caller() {
    let all = headers(&[("retry-after", "7"), ("retry-after-ms", "7"), ("ratelimit-retryafter", "7")]);
    assert_eq!(AllowList::for_responses([]).unwrap().filter(&all), all);
}

#[test]
fn names_of_the_protocols_and_of_the_gateway_are_refused() {
    let of_protocols = ["Authorization", "host", "grpc-timeout", "content-type", "connect-timeout-ms"];
    let of_callers = [
        "X-Org-Id",
        "x-organization-id",
        "x-real-ip",
        "x-forwarded-for",
        "x-forwarded-user",
        "x-original-url",
        "x-original-forwarded-for",
        "impersonate-user",
        "x-remote-user",
    ];
    for reserved in of_protocols.into_iter().chain(of_callers) {
        assert_eq!(AllowList::new([reserved]).unwrap_err(), AllowListError::Reserved(reserved.to_owned()));
    }
    assert_eq!(AllowList::new(["a b"]).unwrap_err(), AllowListError::Name("a b".to_owned()));
}

#[test]
fn a_name_that_is_listed_twice_crosses_once() {
    let list = AllowList::for_responses(["x-a", "X-A", "retry-after"]).unwrap();
    let picked = list.filter(&headers(&[("x-a", "1"), ("retry-after", "7")]));
    assert_eq!(picked.get_all("x-a").iter().count(), 1);
    assert_eq!(picked.get_all("retry-after").iter().count(), 1);
}

#[test]
fn leading_and_trailing_values_of_one_name_both_cross() {
    let list = AllowList::new(["x-a"]).unwrap();
    let picked = list.filter_all(&headers(&[("x-a", "1"), ("trailer-x-a", "2")]));
    assert_eq!(picked.get_all("x-a").iter().collect::<Vec<_>>(), ["1", "2"]);
}
