//! The beginning is read as it is written, and not otherwise.

use super::Begin;
use crate::audit::{
    line::{self, Place},
    tree::Hash,
};

#[test]
fn it_is_read_as_it_is_written() {
    for (sequence, log, tail) in [
        (0, "gateway-0", r#""stage":"gap"}}"#),
        (u64::MAX, "gateway-0-2", r#""stage":"intent","more":1},"api":{}}"#),
    ] {
        let prev = Hash::leaf(b"before");
        let mut written = Vec::new();
        line::write(Place { log, sequence, prev }, tail.as_bytes(), &mut written);
        let stage = tail.split('"').nth(3).unwrap();
        assert_eq!(
            Begin::parse(written.strip_suffix(b"\n").unwrap()),
            Some(Begin { sequence, log, prev, stage })
        );
    }
}

#[test]
fn what_begins_otherwise_is_none() {
    let mut good = Vec::new();
    let place = Place { log: "gateway-0", sequence: 7, prev: Hash::default() };
    line::write(place, br#""stage":"gap","count":1}}"#, &mut good);
    let good = String::from_utf8(good).unwrap();
    assert!(Begin::parse(good.as_bytes()).is_some());
    for (what, other) in [
        ("{\"metadata\"", " {\"metadata\""),
        ("\"sequence\":7", "\"sequence\": 7"),
        ("\"sequence\":7", "\"sequence\":07"),
        ("\"sequence\":7", "\"sequence\":-7"),
        ("\"sequence\":7", "\"sequence\":"),
        ("\"sequence\":7", "\"sequence\":18446744073709551616"),
        ("gateway-0\"", "\""),
        ("gateway-0\"", "gateway\\u002d0\""),
        ("\"log_version\":\"1\"", "\"log_version\":\"2\""),
        ("\"version\":\"1.6.0\"", "\"version\":\"1.7.0\""),
        ("\"prev\":\"0", "\"prev\":\""),
        ("\"prev\":\"0", "\"prev\":\"A"),
        ("\"stage\":\"gap\"", "\"stage\":\"\""),
        ("\"stage\":\"gap\",", "\"stage\":\"gap\" ,"),
        (",\"count\":1}}\n", ""),
    ] {
        let bad = good.replacen(what, other, 1);
        assert_ne!(bad, good, "{what}");
        assert_eq!(Begin::parse(bad.as_bytes()), None, "{bad}");
    }
}
