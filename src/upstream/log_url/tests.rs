//! Which URLs are shown, and what is left of an answer without one.

use super::{LogHosts, LogUrls};
use crate::{
    call::{Reply, tests::reply},
    connect::json::{Duplicates, to_wire},
    rpc::{GET_PREBUILD, LIST_PREBUILDS, LIST_WARM_POOLS, MethodSpec},
    telemetry::Metrics,
    upstream::Base,
};

fn hosts(others: &[&str]) -> LogHosts {
    let others: Vec<_> = others.iter().map(|&host| host.to_owned()).collect();
    LogHosts::new(&Base::parse("https://app.gitpod.io/api").unwrap(), &others).unwrap()
}

fn admit(base: &str, url: &str) -> bool {
    LogHosts::new(&Base::parse(base).unwrap(), &[]).unwrap().admit(url)
}

#[test]
fn upstreams_own_host_those_below_it_and_the_listed_ones_are_known() {
    let hosts = hosts(&["logs.example.com", "*.runner.example.com", "192.0.2.7"]);
    for url in [
        "https://app.gitpod.io/logs/1?token=x#end",
        "https://APP.gitpod.io:8443",
        "https://eu.app.gitpod.io/",
        "https://a.b.app.gitpod.io/",
        "https://logs.example.com/",
        "https://a.runner.example.com/",
        "https://192.0.2.7/",
    ] {
        assert!(hosts.admit(url), "{url}");
    }
    for url in [
        "https://gitpod.io/",
        "https://evilapp.gitpod.io.example.net/",
        "https://evil-app.gitpod.io/",
        "https://runner.example.com/",
        "https://x.logs.example.com/",
        "https://192.0.2.8/",
        "https://[::1]/",
        "https://.app.gitpod.io/",
        "https://app.gitpod.io./",
    ] {
        assert!(!hosts.admit(url), "{url}");
    }
}

#[test]
fn what_can_be_read_in_two_ways_leads_nowhere() {
    for url in [
        "http://app.gitpod.io/",
        "//app.gitpod.io/",
        "/logs",
        "app.gitpod.io",
        "javascript:alert(1)",
        "data:text/html,x",
        "ftp://app.gitpod.io/",
        "https://user@app.gitpod.io/",
        "https://app.gitpod.io@evil.example/",
        "https://evil.example\\@app.gitpod.io/",
        "https://evil.example\\.app.gitpod.io/",
        "https://evil.example#.app.gitpod.io/",
        "https://evil.example?.app.gitpod.io/",
        "https://evil.example/.app.gitpod.io/",
        "https://app.gitpod.io%2eevil.example/",
        "https://evil.example%23.app.gitpod.io/",
        "https://app.gitpod.io \u{9}/",
        " https://app.gitpod.io/",
        "https://app.gitpod.io\n.evil.example/",
        "https://\u{430}pp.gitpod.io/",
        "https:///app.gitpod.io/",
        "https:app.gitpod.io/",
        "https://",
        "x",
    ] {
        assert!(!hosts(&[]).admit(url), "{url:?}");
    }
}

#[test]
fn plaintext_is_for_an_upstream_on_the_same_host() {
    assert!(admit("http://127.0.0.1:8080/api", "http://127.0.0.1:9/logs"));
    assert!(admit("http://[::1]:8080", "http://[::1]:9/logs"));
    assert!(admit("http://localhost:8080", "http://localhost:9/logs"));
    assert!(!admit("http://127.0.0.1:8080", "http://127.0.0.2/"));
    assert!(!admit("https://logs.example.com", "http://logs.example.com/"));
}

#[test]
fn a_host_is_a_name_or_an_address() {
    let base = Base::parse("https://app.gitpod.io").unwrap();
    for good in ["a", "a.b", "*.a", "*.a.b", "192.0.2.7", "2001:db8::7", "a-b.c1"] {
        LogHosts::new(&base, &[good.to_owned()]).unwrap();
    }
    for bad in [
        "",
        "*",
        "*.",
        "*a",
        "a.*",
        "A.b",
        "a..b",
        ".a",
        "a.",
        "a:1",
        "https://a",
        "a/b",
        "*.192:1",
        "a b",
        "*.2001:db8::7",
    ] {
        assert!(LogHosts::new(&base, &[bad.to_owned()]).is_err(), "{bad}");
    }
}

fn read(method: &'static MethodSpec, json: &str) -> Reply {
    let (wire, _) =
        to_wire((method.schema)(), method.output().unwrap(), json.as_bytes(), Duplicates::LastWins).unwrap();
    Reply { seen: method.view(&wire).unwrap(), json: json.to_owned().into(), wire, ..reply() }
}

/// What is left of the answer, in both forms, and how many URLs were counted.
fn cleared(method: &'static MethodSpec, json: &str) -> (String, u64) {
    let metrics = Metrics::new();
    let urls = LogUrls::new(hosts(&[]), metrics.clone());
    let cleared = urls.clear(method, read(method, json)).unwrap();
    let json = String::from_utf8(cleared.json.to_vec()).unwrap();
    let again = read(method, &json);
    assert_eq!(method.recode(&cleared.wire).unwrap(), method.recode(&again.wire).unwrap());
    assert_eq!(cleared.seen, again.seen);
    assert!(!String::from_utf8_lossy(&cleared.wire).contains("evil"));
    let series = format!("prebuild_gateway_log_urls_withheld_total{{method=\"{}\"}} ", method.name);
    let text = metrics.encode();
    let count = text.lines().find_map(|line| line.strip_prefix(&series)).map_or(0, |n| n.parse().unwrap());
    (json, count)
}

#[test]
fn another_url_is_emptied_and_the_rest_stays_as_it_came() {
    let json = r#"{"prebuild": {"id":"a", "new":[1, 2.50], "status" : {"logUrl":"https://evil.example/x", "phase":"NEWS"}}}"#;
    let (left, count) = cleared(&GET_PREBUILD, json);
    assert_eq!(left, r#"{"prebuild":{"id":"a","new":[1, 2.50],"status":{"logUrl":"","phase":"NEWS"}}}"#);
    assert_eq!(count, 1);
}

#[test]
fn of_a_list_only_the_bad_ones_go() {
    let good = r#"{"status":{"logUrl":"https://app.gitpod.io/x"}}"#;
    let bad = r#"{"status":{"log_url":"https://evil.example/x"}}"#;
    let (left, count) = cleared(&LIST_PREBUILDS, &format!(r#"{{"prebuilds":[{good},{bad},{{}},{bad}]}}"#));
    let gone = r#"{"status":{"log_url":""}}"#;
    assert_eq!(left, format!(r#"{{"prebuilds":[{good},{gone},{{}},{gone}]}}"#));
    assert_eq!(count, 2);
}

#[test]
fn nothing_is_touched_where_nothing_is_wrong() {
    for json in [
        r#" {"prebuild":{"status":{"logUrl":"https://app.gitpod.io/x"}} }"#,
        r#"{ "prebuild" : {"id":"a"}}"#,
        "{}",
    ] {
        assert_eq!(cleared(&GET_PREBUILD, json), (json.to_owned(), 0));
    }
    assert_eq!(cleared(&LIST_WARM_POOLS, r#"{"warmPools":[ ]}"#).1, 0);
}

#[test]
fn nulls_hide_nothing() {
    let bad = r#"{"id":"b","status":{"logUrl":"https://evil.example/x"}}"#;
    let (left, count) =
        cleared(&LIST_PREBUILDS, &format!(r#"{{"prebuilds":[{{"id":"a","status":null}},{bad}]}}"#));
    assert_eq!(left, r#"{"prebuilds":[{"id":"a"},{"id":"b","status":{"logUrl":""}}]}"#);
    assert_eq!(count, 1);
    // The order of the members is upstream's own.
    let bad = r#"{"status":{"logUrl":"https://evil.example/x"},"id":"b"}"#;
    let json = format!(r#"{{"prebuilds":[{{"status":null,"id":"a"}},{bad}]}}"#);
    assert_eq!(cleared(&LIST_PREBUILDS, &json), (left, count));
}
