//! `Any`.

use super::{
    super::{Duplicates, ReadProblem, WireError, WriteProblem, unknown_fields},
    Case,
};

const DURATION: &str = r#"{"any":{"@type":"type.googleapis.com/google.protobuf.Duration","value":"1.500s"}}"#;

/// An `Any` of this type and these bytes, in the field `any`.
fn held(name: &str, value: &[u8]) -> Vec<u8> {
    let record =
        |number: u8, bytes: &[u8]| [&[number << 3 | 2, u8::try_from(bytes.len()).unwrap()], bytes].concat();
    let any = [record(1, format!("t/{name}").as_bytes()), record(2, value)].concat();
    [&[0xaa, 1, u8::try_from(any.len()).unwrap()], &any[..]].concat()
}

#[test]
fn what_it_holds_goes_both_ways() {
    for text in [
        DURATION,
        r#"{"any":{}}"#,
        r#"{"any":{"@type":"t/test.Holder"}}"#,
        r#"{"any":{"@type":"t/test.Holder","ints":{"1":2},"any":{"@type":"t/test.Everything","fInt32":1}}}"#,
        r#"{"list":[{"@type":"t/google.protobuf.Timestamp","value":"1970-01-01T00:00:00Z"},{}]}"#,
        r#"{"anys":{"a":{"@type":"t/google.protobuf.Any","value":{"@type":"t/test.Holder","number":1}}}}"#,
        r#"{"any":{"@type":"t/google.protobuf.Any","value":{}}}"#,
    ] {
        assert_eq!(Case::holder().meaning(text), text);
    }
    let known = held("google.protobuf.Duration", b"\x08\x01");
    assert_eq!(
        Case::holder().write(&known).unwrap(),
        r#"{"any":{"@type":"t/google.protobuf.Duration","value":"1s"}}"#
    );
}

#[test]
fn the_type_may_stand_anywhere() {
    let expected = r#"{"any":{"@type":"t/test.Holder","texts":{"a":"b"},"number":5}}"#;
    for text in [
        r#"{"any":{"texts":{"a":"b"},"@type":"t/test.Holder","number":5}}"#,
        r#"{"any":{"number":5,"texts":{"a":"b"},"@type":"t/test.Holder"}}"#,
        r#"{"any":{"\u0040type":"t/test.Holder","number":5,"texts":{"a":"b"}}}"#,
    ] {
        assert_eq!(Case::holder().meaning(text), expected);
    }
    let last = r#"{"any":{"value":"1.5s","@type":"type.googleapis.com/google.protobuf.Duration"}}"#;
    assert_eq!(Case::holder().meaning(last), DURATION);
}

#[test]
fn what_it_holds_is_written_in_any_order() {
    // number, a holder, texts, and the holder and the number again.
    let content = b"\xc0\x01\x07\xba\x01\x03\xc0\x01\x01\x0a\x00\xba\x01\x02\x0a\x00\xc0\x01\x08";
    assert_eq!(
        Case::holder().write(&held("test.Holder", content)).unwrap(),
        r#"{"any":{"@type":"t/test.Holder","texts":{"":""},"holder":{"texts":{"":""},"number":1},"number":8}}"#
    );
    // Around it the order is kept to.
    let twice = held("test.Holder", b"").repeat(2);
    assert_eq!(Case::holder().write(&twice).unwrap_err().problem, WriteProblem::Order);
}

#[test]
fn a_type_that_is_not_known_is_a_problem_of_its_own() {
    for text in [
        r#"{"any":{"@type":"t/test.Nothing"}}"#,
        r#"{"any":{"@type":"test.Holder"}}"#,
        r#"{"any":{"@type":""}}"#,
        r#"{"any":{"number":1}}"#,
    ] {
        let error = Case::holder().read(text).unwrap_err();
        assert_eq!((error.problem, error.path.as_str()), (ReadProblem::AnyType, "any"), "{text}");
    }
    for wire in [held("test.Nothing", b""), b"\xaa\x01\x03\x12\x01a".to_vec()] {
        let error = Case::holder().write(&wire).unwrap_err();
        assert_eq!((error.problem, error.path.as_str()), (WriteProblem::AnyType, "any"));
    }
}

#[test]
fn what_is_no_any_is_refused() {
    for (text, problem) in [
        (r#"{"any":"a"}"#, ReadProblem::Type),
        (r#"{"any":[]}"#, ReadProblem::Type),
        (r#"{"any":{"@type":1}}"#, ReadProblem::Type),
        (r#"{"any":{"@type":"t/google.protobuf.Duration"}}"#, ReadProblem::Type),
        (r#"{"any":{"@type":"t/google.protobuf.Duration","value":1}}"#, ReadProblem::Type),
        (r#"{"any":{"@type":"t/google.protobuf.Duration","value":{}}}"#, ReadProblem::Type),
        (r#"{"any":{"@type":"t/google.protobuf.Duration","value":"1h"}}"#, ReadProblem::Duration),
        (r#"{"any":{"number":"a","@type":"t/test.Holder"}}"#, ReadProblem::Number),
        (r#"{"any":{"@type":"t/test.Holder","number":1,"#, ReadProblem::Truncated),
    ] {
        assert_eq!(Case::holder().problem(text), problem, "{text}");
    }
}

#[test]
fn nothing_in_it_may_come_twice() {
    for text in [
        r#"{"any":{"@type":"t/test.Holder","@type":"t/test.Holder"}}"#,
        r#"{"any":{"@type":"t/google.protobuf.Duration","value":"1s","@type":"t/test.Holder"}}"#,
        r#"{"any":{"value":"1s","@type":"t/google.protobuf.Duration","value":"2s"}}"#,
    ] {
        assert_eq!(Case::holder().problem(text), ReadProblem::Duplicate, "{text}");
    }
    let number = r#"{"any":{"number":1,"@type":"t/test.Holder","number":2}}"#;
    let error = Case::holder().read_bytes(number.as_bytes(), Duplicates::Reject).unwrap_err();
    assert_eq!(error.problem, ReadProblem::Duplicate);
    assert_eq!(Case::holder().meaning(number), r#"{"any":{"@type":"t/test.Holder","number":2}}"#);
}

#[test]
fn unknown_things_in_it_are_named() {
    let text = r#"{"any":{"new":1,"@type":"t/test.Holder","newer":2},
        "list":[{"@type":"t/google.protobuf.Duration","value":"1s","newest":[]}]}"#;
    let (_, drift) = Case::holder().read(text).unwrap();
    let named: Vec<_> = drift.fields.iter().map(|item| (item.path.as_str(), item.name.as_str())).collect();
    assert_eq!(named, [("any", "new"), ("any", "newer"), ("list", "newest")]);

    let case = Case::holder();
    let unknown = |wire: &[u8]| unknown_fields(case.schema, case.message, wire);
    assert_eq!(unknown(&held("test.Holder", b"\xf8\x01\x01")).unwrap(), ["any.#31"]);
    assert_eq!(unknown(&held("test.Holder", b"\x0a")), Err(WireError::Malformed));
    assert_eq!(unknown(&held("test.Nothing", b"\x0a")).unwrap(), [""; 0]);
}

#[test]
fn it_nests_so_deep_and_no_deeper() {
    let first = |depth: usize| {
        format!("{{\"any\":{}{{}}{}}}", r#"{"@type":"t/test.Holder","any":"#.repeat(depth), "}".repeat(depth))
    };
    let (wire, _) = Case::holder().read(&first(98)).unwrap();
    assert_eq!(Case::holder().write(&wire).unwrap(), first(98));
    assert_eq!(unknown_fields(Case::holder().schema, Case::holder().message, &wire), Ok(vec![]));
    for depth in [101, 1_000, 100_000] {
        assert!(Case::holder().read(&first(depth)).is_err());
    }
    let last = |depth: usize| {
        format!(
            "{{\"any\":{}{{}}{}}}",
            r#"{"any":"#.repeat(depth),
            r#","@type":"t/test.Holder"}"#.repeat(depth)
        )
    };
    assert!(Case::holder().read(&last(4)).is_ok());
    for depth in [5, 100] {
        assert_eq!(Case::holder().problem(&last(depth)), ReadProblem::Depth);
    }
}

#[test]
fn broken_content_says_where() {
    let malformed = WriteProblem::Wire(WireError::Malformed);
    for (wire, problem, path) in [
        (held("test.Holder", b"\xc0"), malformed, "any"),
        (held("test.Holder", b"\x0a\x03\x12\x01\xff"), WriteProblem::Utf8, "any.texts.value"),
        (held("google.protobuf.Duration", b"\x08\x01\x10\x01\x10"), malformed, "any.value"),
        (b"\xaa\x01\x02\x08\x01".to_vec(), malformed, "any"),
    ] {
        let error = Case::holder().write(&wire).unwrap_err();
        assert_eq!((error.problem, error.path.as_str()), (problem, path), "{wire:x?}");
    }
}
