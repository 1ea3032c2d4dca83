//! What needs no server. What does is in `tests/redis.rs`.

use super::{Config, Fault, Store, key};
use crate::telemetry::Metrics;

fn config(text: &str) -> Config {
    toml::from_str(text).unwrap()
}

#[test]
fn all_keys_of_an_org_are_in_one_slot() {
    assert_eq!(key(&"acme".into(), "rates"), "prebuild-gateway:{acme}:rates");
}

#[test]
fn the_ways_to_a_server() {
    for good in [
        "url = \"redis://127.0.0.1:6379\"",
        "url = \"redis://[::1]:6379/3\"",
        "url = \"redis://localhost\"",
        "url = \"redis://redis.example.com:6379\"\nplaintext = true",
        "url = \"rediss://redis.example.com\"",
        "url = \"unix:///run/redis/redis.sock\"",
        "url = \"rediss://a\"\nnodes = [\"rediss://b\", \"rediss://c:7000\"]\ncluster = true",
    ] {
        assert!(config(good).resolve(None).is_ok(), "{good}");
    }
}

#[test]
fn no_password_is_shown() {
    let config = config("url = \"rediss://a\"\nusername = \"u\"\npassword = { env = \"P\" }");
    let server = config.resolve(Some("s3cret")).unwrap();
    assert!(!format!("{server:?}").contains("s3cret") && format!("{server:?}").contains('a'));
}

#[tokio::test]
async fn without_a_server_there_is_an_answer_at_once() {
    let server = config("url = \"unix:///nowhere/at/all\"").resolve(None).unwrap();
    let store = Store::open(server, Metrics::new());
    assert_eq!(store.trouble(), Some(Fault::Down));
    let answer = store.run(&redis::Script::new("return 1"), &"acme".into(), "rates", &[], |_| Ok(())).await;
    assert_eq!(answer, Err(Fault::Down));
}
