//! Compression there and back, its bound, and who reads it.

use super::*;

const LIMIT: usize = 1024;

fn reason(deflated: &[u8]) -> Option<Reason> {
    inflate(deflated, LIMIT).unwrap_err().reason
}

#[test]
fn what_is_deflated_is_inflated_to_the_limit_and_no_further() {
    for size in [0, 1, LIMIT] {
        assert_eq!(inflate(&deflate(&vec![7; size]).unwrap(), LIMIT).unwrap(), vec![7; size]);
    }
    assert_eq!(reason(&deflate(&vec![7; LIMIT + 1]).unwrap()), Some(Reason::MessageTooLarge));
    let bomb = deflate(&vec![0; 64 << 20]).unwrap();
    assert!(bomb.len() < 1 << 20);
    assert_eq!(reason(&bomb), Some(Reason::MessageTooLarge));
}

#[test]
fn a_second_member_and_garbage_are_malformed() {
    let one = deflate(b"one").unwrap();
    for garbage in [
        &[&one[..], &one[..]].concat(),
        &b"{}"[..],
        &one[..one.len() - 1],
        &[&one[..], b"tail"].concat(),
        b"\x1f\x8b",
    ] {
        assert_eq!(reason(garbage), Some(Reason::MalformedMessage), "{garbage:?}");
    }
}

#[test]
fn only_who_says_so_is_sent_gzip() {
    for (value, expected) in [
        ("gzip", true),
        ("GZip", true),
        ("deflate, gzip;q=0.5, br", true),
        ("gzip; q=1.0", true),
        ("*", true),
        ("*;q=0", false),
        ("*;q=0, gzip", true),
        ("gzip;q=0, *", false),
        ("gzip;q=0.000", false),
        ("gzip;q=x", false),
        ("gzip;Q=0", false),
        ("gzip ; Q = 0.1", true),
        ("identity", false),
        ("gzipped", false),
        ("", false),
    ] {
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static(value));
        assert_eq!(is_accepted(&headers), expected, "{value}");
    }
    assert!(!is_accepted(&HeaderMap::new()));
}
