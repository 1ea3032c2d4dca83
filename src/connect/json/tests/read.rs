//! What may be said in JSON, and what it means.

use prost::Message;

use super::Case;
use crate::proto::gitpod::v1 as pb;

/// Texts of one field's value, and the canonical text that each stands for (`""`: the field is absent).
fn table(field: &str, rows: &[(&str, &str)]) {
    for (value, canonical) in rows {
        let expected =
            if canonical.is_empty() { "{}".to_owned() } else { format!("{{\"{field}\":{canonical}}}") };
        assert_eq!(
            Case::everything().meaning(&format!("{{\"{field}\":{value}}}")),
            expected,
            "{field}: {value}"
        );
    }
}

#[test]
fn integers_come_as_numbers_or_strings() {
    for field in ["fInt32", "fSint32", "fSfixed32"] {
        let rows = [
            ("7", "7"),
            ("\"7\"", "7"),
            ("1.0", "1"),
            ("\"1.0\"", "1"),
            ("1e3", "1000"),
            ("\"1e3\"", "1000"),
            ("0", ""),
            ("-0", ""),
            ("-2147483648", "-2147483648"),
            ("2.147483647e9", "2147483647"),
            ("null", ""),
        ];
        table(field, &rows);
    }
    for field in ["fUint32", "fFixed32"] {
        table(field, &[("4294967295", "4294967295"), ("4.294967295e9", "4294967295"), ("\"0\"", "")]);
    }
    for field in ["fInt64", "fSint64", "fSfixed64"] {
        let rows = [
            ("9223372036854775807", "\"9223372036854775807\""),
            ("\"-9223372036854775808\"", "\"-9223372036854775808\""),
            ("9007199254740991.0", "\"9007199254740991\""),
            ("0", ""),
        ];
        table(field, &rows);
    }
    for field in ["fUint64", "fFixed64"] {
        table(field, &[("18446744073709551615", "\"18446744073709551615\""), ("\"1\"", "\"1\"")]);
    }
}

#[test]
fn floats_come_as_numbers_or_strings() {
    let rows = [
        ("1.5", "1.5"),
        ("\"1.5\"", "1.5"),
        ("3", "3.0"),
        ("-1", "-1.0"),
        ("\"NaN\"", "\"NaN\""),
        ("\"Infinity\"", "\"Infinity\""),
        ("\"-Infinity\"", "\"-Infinity\""),
        ("0.0", ""),
        ("-0.0", "-0.0"),
        ("null", ""),
    ];
    table("fDouble", &rows);
    table("fFloat", &rows);
    table("fDouble", &[("1.7976931348623157e308", "1.7976931348623157e+308"), ("5e-324", "5e-324")]);
    table(
        "fFloat",
        &[("3.4028234663852886e38", "3.4028235e+38"), ("\"1e-45\"", "1e-45"), ("16777217", "16777216.0")],
    );
}

#[test]
fn strings_bytes_and_booleans() {
    table(
        "fString",
        &[
            (r#""""#, ""),
            (r#""\u00e9\n\/\"""#, "\"é\\n/\\\"\""),
            (r#""\ud83d\ude00""#, "\"😀\""),
            ("null", ""),
        ],
    );
    table(
        "fBytes",
        &[
            (r#""+/8=""#, r#""+/8=""#),
            (r#""+/8""#, r#""+/8=""#),
            (r#""-_8=""#, r#""+/8=""#),
            (r#""-_8""#, r#""+/8=""#),
            (r#""""#, ""),
        ],
    );
    table("fBool", &[("true", "true"), ("false", ""), ("null", "")]);
}

#[test]
fn enums_come_by_name_or_number() {
    let rows = [
        ("\"MOOD_GOOD\"", "\"MOOD_GOOD\""),
        ("10", "\"MOOD_GOOD\""),
        ("1e1", "\"MOOD_GOOD\""),
        ("-1", "\"MOOD_BAD\""),
        ("77", "77"),
        ("0", ""),
        ("\"MOOD_UNSPECIFIED\"", ""),
        ("null", ""),
    ];
    table("fMood", &rows);
    table("oMood", &[("0", "\"MOOD_UNSPECIFIED\"")]);
    table("rMood", &[("[10,\"MOOD_BAD\",5,0]", "[\"MOOD_GOOD\",\"MOOD_BAD\",5,\"MOOD_UNSPECIFIED\"]")]);
}

#[test]
fn explicit_zeros_survive_where_there_is_presence() {
    for (field, zero) in [
        ("oInt32", "0"),
        ("oInt64", "\"0\""),
        ("oUint64", "\"0\""),
        ("oBool", "false"),
        ("oString", "\"\""),
        ("oBytes", "\"\""),
        ("oDouble", "0.0"),
        ("oFloat", "0.0"),
        ("oDuration", "\"0s\""),
        ("oTimestamp", "\"1970-01-01T00:00:00Z\""),
        ("fDuration", "\"0s\""),
        ("fChild", "{}"),
        ("pickText", "\"\""),
        ("pickNumber", "0"),
    ] {
        table(field, &[(zero, zero), ("null", "")]);
    }
}

#[test]
fn an_explicit_zero_size_of_a_pool_is_not_an_absent_one() {
    let (wire, _) = Case::gitpod("UpdateWarmPoolRequest").read(r#"{"minSize":0,"maxSize":null}"#).unwrap();
    let request = pb::UpdateWarmPoolRequest::decode(&wire[..]).unwrap();
    assert_eq!((request.min_size, request.max_size), (Some(0), None));
}

#[test]
fn lists_keep_their_elements() {
    table(
        "rInt32",
        &[("[]", ""), ("null", ""), ("[0,-1,\"2\",1e2]", "[0,-1,2,100]"), ("[2147483647]", "[2147483647]")],
    );
    table("rString", &[("[\"\",\"a\"]", "[\"\",\"a\"]")]);
    table("rChild", &[("[{},{\"fBool\":true},{}]", "[{},{\"fBool\":true},{}]")]);
    table("rDuration", &[("[\"0s\",\"-1.5s\"]", "[\"0s\",\"-1.500s\"]")]);
    table("rBool", &[("[false,true]", "[false,true]")]);
}

#[test]
fn keys_come_in_both_spellings_and_any_order() {
    let text =
        r#"{ "status" : {"snapshot_size_bytes":"5","log_url":"u","phase":60} , "id":"a","metadata":null}"#;
    assert_eq!(
        Case::gitpod("Prebuild").read(text).unwrap().0,
        pb::Prebuild {
            id: "a".to_owned(),
            status: Some(pb::PrebuildStatus {
                phase: 60,
                log_url: "u".to_owned(),
                snapshot_size_bytes: 5,
                ..Default::default()
            }),
            ..Default::default()
        }
        .encode_to_vec()
        .rotate_records()
    );
}

/// The text names `status` first, and so do its bytes; inside, `snapshot_size_bytes` comes first.
trait RotateRecords {
    fn rotate_records(self) -> Vec<u8>;
}

impl RotateRecords for Vec<u8> {
    fn rotate_records(self) -> Vec<u8> {
        let (id, status) = self.split_at(3);
        let (head, inner) = status.split_at(2);
        let (phase_and_url, size) = inner.split_at(inner.len() - 2);
        let (phase, url) = phase_and_url.split_at(2);
        [head, size, url, phase, id].concat()
    }
}

#[test]
fn the_longest_lengths_are_patched_in() {
    for length in [0, 1, 127, 128, 129, 16_383, 16_384, 70_000] {
        let text = format!("{{\"fChild\":{{\"fChild\":{{\"fString\":\"{}\"}}}}}}", "x".repeat(length));
        let expected = if length == 0 { r#"{"fChild":{"fChild":{}}}"#.to_owned() } else { text.clone() };
        assert_eq!(Case::everything().meaning(&text), expected);
    }
}

#[test]
fn an_empty_object_is_an_empty_message() {
    for text in ["{}", " {\n} ", "{\"prebuild\":null}"] {
        assert_eq!(Case::gitpod("GetPrebuildResponse").read(text).unwrap().0, b"", "{text}");
    }
}
