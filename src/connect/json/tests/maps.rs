//! Maps.

use super::{
    super::{Duplicates, ReadProblem, WireError, WriteProblem, unknown_fields},
    Case,
};

#[test]
fn every_kind_of_key_and_value_goes_both_ways() {
    let text = concat!(
        r#"{"texts":{"":"","a\"b":"c","b":""},"flags":{"false":true,"true":false},"#,
        r#""longs":{"-9223372036854775808":"18446744073709551615"},"ints":{"-1":0,"2147483647":-2},"#,
        r#""zigzags":{"-3":-4},"fixed":{"4294967295":-0.5},"moreFixed":{"-7":1.5},"blobs":{"7":"AQI="},"#,
        r#""moods":{"a":"MOOD_GOOD","b":"MOOD_UNSPECIFIED","c":77},"times":{"a":"1970-01-01T00:00:00Z"},"#,
        r#""holders":{"a":{},"b":{"texts":{"c":"d"},"number":3}}}"#,
    );
    assert_eq!(Case::holder().meaning(text), text);
    assert_eq!(Case::holder().meaning(r#"{"texts":{},"ints":null}"#), "{}");
}

#[test]
fn other_spellings_of_keys_are_read() {
    let spelt = r#"{"ints":{"1e1":"3"},"more_fixed":{"\u0037":"1.5"}}"#;
    assert_eq!(Case::holder().meaning(spelt), r#"{"ints":{"10":3},"moreFixed":{"7":1.5}}"#);
}

#[test]
fn what_an_entry_leaves_out_is_its_default() {
    for (wire, text) in [
        (&b"\x0a\x00"[..], r#"{"texts":{"":""}}"#),
        (b"\x12\x00", r#"{"flags":{"false":false}}"#),
        (b"\x1a\x00", r#"{"longs":{"0":"0"}}"#),
        (b"\x32\x00", r#"{"fixed":{"0":0.0}}"#),
        (b"\x3a\x00", r#"{"moreFixed":{"0":0.0}}"#),
        (b"\x4a\x00", r#"{"moods":{"":"MOOD_UNSPECIFIED"}}"#),
        (b"\x52\x00", r#"{"times":{"":"1970-01-01T00:00:00Z"}}"#),
        (b"\x5a\x00", r#"{"holders":{"":{}}}"#),
        (b"\x62\x00", r#"{"anys":{"":{}}}"#),
        (b"\x0a\x06\x12\x01v\x0a\x01k", r#"{"texts":{"k":"v"}}"#),
    ] {
        assert_eq!(Case::holder().write(wire).unwrap(), text);
    }
}

#[test]
fn what_is_no_map_is_refused() {
    let problem = |text| Case::holder().problem(text);
    for text in [
        r#"{"texts":[]}"#,
        r#"{"texts":"a"}"#,
        r#"{"texts":{"a":null}}"#,
        r#"{"texts":{"a":1}}"#,
        r#"{"texts":{"a":["b"]}}"#,
        r#"{"flags":{"TRUE":true}}"#,
        r#"{"flags":{"1":true}}"#,
        r#"{"holders":{"a":1}}"#,
    ] {
        assert_eq!(problem(text), ReadProblem::Type, "{text}");
    }
    assert_eq!(problem(r#"{"ints":{"a":1}}"#), ReadProblem::Number);
    assert_eq!(problem(r#"{"ints":{"2147483648":1}}"#), ReadProblem::Range);
    let error =
        Case::holder().read(r#"{"holders":{"secret":{"holders":{"k":{"ints":{"k":1}}}}}}"#).unwrap_err();
    assert_eq!(error.path, "holders.value.holders.value.ints.value");
}

#[test]
fn a_key_given_twice_is_refused_or_the_last_one_wins() {
    for text in [r#"{"texts":{"a":"1","b":"","a":"2"}}"#, r#"{"ints":{"1":1,"1.0":2}}"#] {
        let error = Case::holder().read_bytes(text.as_bytes(), Duplicates::Reject).unwrap_err();
        assert_eq!(error.problem, ReadProblem::Duplicate);
        assert!(Case::holder().read_bytes(text.as_bytes(), Duplicates::LastWins).is_ok());
    }
    let twice = r#"{"texts":{"a":"1"},"texts":{"b":"2"}}"#;
    assert_eq!(Case::holder().meaning(twice), r#"{"texts":{"b":"2"}}"#);
    let error = Case::holder().read_bytes(twice.as_bytes(), Duplicates::Reject).unwrap_err();
    assert_eq!(error.problem, ReadProblem::Duplicate);
}

#[test]
fn unknown_things_in_maps_are_named() {
    let text = r#"{"moods":{"a":"MOOD_NEW","b":"MOOD_GOOD"},"holders":{"k":{"new":1}}}"#;
    let (wire, drift) = Case::holder().read(text).unwrap();
    assert_eq!(Case::holder().write(&wire).unwrap(), r#"{"moods":{"b":"MOOD_GOOD"},"holders":{"k":{}}}"#);
    assert_eq!((drift.enums[0].path.as_str(), drift.enums[0].name.as_str()), ("moods.value", "MOOD_NEW"));
    assert_eq!((drift.fields[0].path.as_str(), drift.fields[0].name.as_str()), ("holders.value", "new"));

    let case = Case::holder();
    let wire = b"\x0a\x02\x48\x05\x5a\x04\x12\x02\x78\x05";
    let found = unknown_fields(case.schema, case.message, wire).unwrap();
    assert_eq!(found, ["texts.#9", "holders.value.#15"]);
}

#[test]
fn broken_entries_say_so() {
    let malformed = WriteProblem::Wire(WireError::Malformed);
    for (wire, problem, path) in [
        (&b"\x0a\x02\x08\x01"[..], malformed, "texts"),
        (b"\x08\x01", malformed, "texts"),
        (b"\x0a\x02\x12\x05", malformed, "texts"),
        (b"\x0a\x03\x12\x01\xff", WriteProblem::Utf8, "texts.value"),
        (b"\x5a\x05\x12\x03\x0a\x01\x08", malformed, "holders.value.texts"),
    ] {
        let error = Case::holder().write(wire).unwrap_err();
        assert_eq!((error.problem, error.path.as_str()), (problem, path), "{wire:x?}");
    }
}

#[test]
fn nested_maps_are_bounded() {
    let text = |depth| format!("{}{}", "{\"holders\":{\"\":".repeat(depth), "}}".repeat(depth));
    let nested = |depth: usize| text(depth).replace(":}}", ":{}}}");
    assert!(Case::holder().read(&nested(50)).is_ok());
    for depth in [51, 1_000, 100_000] {
        assert!(Case::holder().read(&nested(depth)).is_err());
    }
    let (wire, _) = Case::holder().read(&nested(50)).unwrap();
    assert_eq!(Case::holder().write(&wire).unwrap(), nested(50));
    let deeper = [&[0x5a, 0x80 | 100, 2, 0x12, 0x80 | 97, 2][..], &[0; 353]].concat();
    assert!(Case::holder().write(&deeper).is_err());
}
