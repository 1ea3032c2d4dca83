//! Where claims are found.

use serde_json::json;

use super::super::path::{ClaimPath, NotAPath};

#[test]
fn a_path_is_dotted_or_a_json_pointer() {
    let claims = json!({"a": {"b": "1", "c.d": "2"}, "x/y~z": "3", "l": ["4"], "": "5"});
    let claims = claims.as_object().unwrap();
    let found = |path: &str| {
        ClaimPath::try_from(path.to_owned()).unwrap().of(claims).and_then(|value| value.as_str())
    };
    assert_eq!(found("a.b"), Some("1"));
    assert_eq!(found("/a/b"), Some("1"));
    assert_eq!(found("/a/c.d"), Some("2"));
    assert_eq!(found("/x~1y~0z"), Some("3"));
    for none in ["b", "a", "a.b.c", "l.0", "/l/0", "a.c.d"] {
        assert_eq!(found(none), None, "{none}");
    }
    let long = "x".repeat(257);
    for bad in ["", ".", "a.", ".a", "a..b", "/", "//a", "a/b", "https://a.example/org", "/a~", "/a~2", &long]
    {
        assert_eq!(ClaimPath::try_from(bad.to_owned()), Err(NotAPath), "{bad}");
    }
}
