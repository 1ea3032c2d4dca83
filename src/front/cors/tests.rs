//! What counts as an origin.

use super::{Config, NoOrigin, Origin};
use crate::connect::metadata::AllowList;

#[test]
fn an_origin_is_what_a_browser_sends() {
    for origin in [
        "https://console.example.com",
        "http://localhost:3000",
        "http://127.0.0.1:8443",
        "https://[::1]:8443",
        "http://a.example:443",
        "capacitor://localhost",
    ] {
        assert_eq!(origin.parse(), Ok(Origin::One(origin.parse().unwrap())), "{origin}");
    }
    assert_eq!("*".parse(), Ok(Origin::Any));
}

#[test]
fn any_other_spelling_is_refused_because_it_would_never_match() {
    for text in [
        "",
        "null",
        "console.example.com",
        "console.example.com:443",
        "//console.example.com",
        "https://",
        "https://:8443",
        "https://console.example.com/",
        "https://console.example.com/app",
        "https://console.example.com?x=1",
        "https://console.example.com#x",
        "https://console.example.com:",
        "https://console.example.com:443",
        "http://console.example.com:80",
        "https://console.example.com:08443",
        "https://console.example.com:99999",
        "https://Console.example.com",
        "HTTPS://console.example.com",
        "https://user@console.example.com",
        "https://*.example.com",
        "https://bücher.example",
        "https://console.example.com ",
    ] {
        assert_eq!(text.parse::<Origin>(), Err(NoOrigin), "{text}");
    }
}

#[test]
fn any_stands_alone() {
    let of = |origins: &[&str]| Config { origins: origins.iter().map(|one| one.parse().unwrap()).collect() };
    assert!(
        of(&[]).is_plain()
            && of(&["*"]).is_plain()
            && of(&["https://a.example", "https://b.example"]).is_plain()
    );
    assert!(!of(&["*", "https://a.example"]).is_plain() && !of(&["*", "*"]).is_plain());
    assert!(of(&[]).layer(&AllowList::default()).is_none());
    assert!(of(&["*"]).layer(&AllowList::default()).is_some());
}
