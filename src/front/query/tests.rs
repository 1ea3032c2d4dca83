//! Queries as clients write them.

use super::*;

fn get(query: &'static str, name: &str) -> Option<Vec<u8>> {
    Query(query).get(name).unwrap()
}

#[test]
fn a_value_is_decoded_to_bytes() {
    for (query, expected) in [
        ("token=a+b%20c%2Bd", &b"a b c+d"[..]),
        ("x=1&token=%ff%00", b"\xff\x00"),
        ("%74oken=abc", b"abc"),
        ("token", b""),
        ("token=", b""),
        ("token=a=b", b"a=b"),
        ("token=%zz%", b"%zz%"),
    ] {
        assert_eq!(get(query, "token").as_deref(), Some(expected), "{query}");
    }
    for query in ["", "&&", "tokens=1", "Token=1", "x=token"] {
        assert_eq!(get(query, "token"), None, "{query}");
    }
}

#[test]
fn a_parameter_that_stands_twice_is_malformed() {
    let error = Query("token=a&x=1&%74oken=a").get("token").unwrap_err();
    assert_eq!(error.reason, Some(Reason::MalformedMessage));
}
