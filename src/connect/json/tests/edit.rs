//! What is changed, and what stays as it came.

use std::borrow::Cow;

use crate::{
    connect::json::{items, member},
    rpc::{Field, LIST_PREBUILDS},
};

fn field(name: &str) -> &'static Field {
    let output = LIST_PREBUILDS.output().unwrap();
    output.fields.iter().find(|field| field.name == name).unwrap()
}

fn set(text: &str, name: &str, value: Option<&'static str>) -> Option<String> {
    member(text, field(name), |_| Ok(value.map(Cow::Borrowed))).ok()
}

#[test]
fn a_member_is_set_added_and_left_out() {
    let text = r#" { "new" : [1,  2.50, "\u0041"], "pagination":{"nextToken":"t"}, "a\"b":1e2 } "#;
    for (value, expected) in [
        (
            Some(r#"{"nextToken":"u"}"#),
            r#"{"new":[1,  2.50, "\u0041"],"pagination":{"nextToken":"u"},"a\"b":1e2}"#,
        ),
        (None, r#"{"new":[1,  2.50, "\u0041"],"a\"b":1e2}"#),
    ] {
        assert_eq!(set(text, "pagination", value).unwrap(), expected);
    }
    assert_eq!(set(r#"{"x":1}"#, "pagination", Some("{}")).unwrap(), r#"{"x":1,"pagination":{}}"#);
    assert_eq!(set("{}", "pagination", Some("{}")).unwrap(), r#"{"pagination":{}}"#);
    assert_eq!(set("{}", "pagination", None).unwrap(), "{}");
    assert_eq!(set(r#"{"pagination":{}}"#, "pagination", None).unwrap(), "{}");
}

#[test]
fn a_change_sees_what_is_there_in_any_spelling() {
    for text in [r#"{"pagination":7}"#, r#"{"pagin\u0061tion": 7 }"#] {
        let mut seen = None;
        member(text, field("pagination"), |value| {
            seen = value;
            Ok(None)
        })
        .unwrap();
        assert_eq!(seen, Some("7"), "{text}");
    }
}

#[test]
fn what_stands_twice_or_is_no_object_is_not_changed() {
    for text in
        [r#"{"pagination":1,"pagination":2}"#, r#"{"pagination":1,"p\u0061gination":2}"#, "[]", "1", "", "{"]
    {
        assert_eq!(set(text, "pagination", None), None, "{text}");
    }
}

#[test]
fn items_are_changed_by_position() {
    let change = |index: usize, item: &'static str| {
        Ok(match index {
            0 => Some(Cow::Borrowed(item)),
            1 => None,
            _ => Some(Cow::Owned(format!("<{item}>"))),
        })
    };
    assert_eq!(items(r#"[ {"a" : 1}, 2, [3 , 4] ]"#, change).unwrap(), r#"[{"a" : 1},<[3 , 4]>]"#);
    assert_eq!(items("[]", change).unwrap(), "[]");
    assert_eq!(items("[1,2]", |_, _| Ok(None)).unwrap(), "[]");
    assert!(items("{}", change).is_err());
    assert!(items("null", change).is_err());
}
