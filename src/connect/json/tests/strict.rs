//! What is refused, in which words, and what duplicates come to.

use super::{super::ReadProblem, Case, Duplicates};

fn refuse(rows: &[(&str, &str, ReadProblem)]) {
    for (field, value, problem) in rows {
        let error = Case::everything().read(&format!("{{\"{field}\":{value}}}")).unwrap_err();
        assert_eq!((error.problem, field.to_lowercase()), (*problem, error.path.replace('_', "")), "{value}");
    }
}

#[test]
fn wrong_numbers_are_refused_each_for_its_reason() {
    use ReadProblem::{Number, Range, Syntax, Type};
    refuse(&[
        ("fInt32", "2147483648", Range),
        ("fInt32", "-2147483649", Range),
        ("fInt32", "\"2147483648\"", Range),
        ("fInt32", "1.5", Number),
        ("fInt32", "\"1.5\"", Number),
        ("fInt32", "\"\"", Number),
        ("fInt32", "\" 1\"", Number),
        ("fInt32", "\"1 \"", Number),
        ("fInt32", "\"+1\"", Number),
        ("fInt32", "\"0x1\"", Number),
        ("fInt32", "\"01\"", Number),
        ("fInt32", "\"NaN\"", Number),
        ("fInt32", "true", Type),
        ("fInt32", "{}", Type),
        ("fInt32", "[1]", Type),
        ("fUint32", "-1", Range),
        ("fUint32", "4294967296", Range),
        ("fInt64", "9223372036854775808", Range),
        ("fInt64", "9223372036854775807.0", Range),
        ("fInt64", "\"9007199254740993.0\"", Range),
        ("fInt64", "9007199254740993.0", Range),
        ("fUint64", "18446744073709551616", Range),
        ("fUint64", "-1", Range),
        ("fUint64", "1e400", Syntax),
        ("fFloat", "3.5e38", Range),
        ("fFloat", "\"3.5e38\"", Range),
        ("fDouble", "\"inf\"", Number),
        ("fDouble", "\"nan\"", Number),
        ("fDouble", "NaN", Syntax),
        ("fDouble", "true", Type),
    ]);
}

#[test]
fn wrong_values_are_refused_each_for_its_reason() {
    use ReadProblem::{Base64, Duration, Number, Range, Syntax, Timestamp, Type};
    refuse(&[
        ("fString", "1", Type),
        ("fString", "{}", Type),
        ("fString", r#""\ud800""#, Syntax),
        ("fString", r#""\udc00x""#, Syntax),
        ("fString", "\"a\nb\"", Syntax),
        ("fBytes", "\"!\"", Base64),
        ("fBytes", "\"a\"", Base64),
        ("fBytes", "\"+_==\"", Base64),
        ("fBool", "\"true\"", Type),
        ("fBool", "1", Type),
        ("fMood", "1.5", Number),
        ("fMood", "2147483648", Range),
        ("fMood", "true", Type),
        ("fMood", "{}", Type),
        ("fDuration", "1", Type),
        ("fDuration", "{}", Type),
        ("fDuration", "\"1h\"", Duration),
        ("fTimestamp", "0", Type),
        ("fTimestamp", "\"\"", Timestamp),
        ("fChild", "\"\"", Type),
        ("fChild", "[]", Type),
        ("rInt32", "1", Type),
        ("rInt32", "{}", Type),
        ("rInt32", "[null]", Type),
        ("rInt32", "[[1]]", Type),
        ("rChild", "{}", Type),
        ("rChild", "[null]", Type),
        ("rString", "[1]", Type),
    ]);
}

#[test]
fn texts_that_are_no_message_are_refused() {
    use ReadProblem::{Syntax, Truncated, Type};
    let rows = [
        ("", Truncated),
        (" ", Truncated),
        ("{", Truncated),
        ("{\"id\"", Truncated),
        ("{\"id\":", Truncated),
        ("{\"id\":\"a", Truncated),
        ("{\"id\":\"a\"", Truncated),
        ("{\"unknown\":[1,", Truncated),
        ("null", Type),
        ("[]", Type),
        ("\"\"", Type),
        ("1", Type),
        ("true", Type),
        ("{}{}", Syntax),
        ("{} x", Syntax),
        ("{,}", Syntax),
        ("{\"id\":\"a\",}", Syntax),
        ("{\"id\" \"a\"}", Syntax),
        ("{id:1}", Syntax),
        ("{'id':1}", Syntax),
        ("{1:1}", Syntax),
        ("\u{feff}{}", Syntax),
        ("{\"unknown\":tru}", Syntax),
        ("{\"\\ud800\":1}", Syntax),
    ];
    for (text, problem) in rows {
        assert_eq!(Case::gitpod("Prebuild").problem(text), problem, "{text}");
    }
    let error = Case::gitpod("Prebuild").read_bytes(b"{\"x\":\"\xff\"}", Duplicates::LastWins).unwrap_err();
    assert_eq!(error.problem, ReadProblem::Utf8);
}

#[test]
fn errors_name_the_known_path_and_nothing_of_the_input() {
    let case = Case::gitpod("ListPrebuildsResponse");
    let error = case.read(r#"{"prebuilds":[{},{"status":{"snapshotSizeBytes":"s3cret"}}]}"#).unwrap_err();
    assert_eq!(error.path, "prebuilds.status.snapshot_size_bytes");
    assert_eq!(error.to_string(), "a number is malformed at prebuilds.status.snapshot_size_bytes");
    let error = case.read(r#"{"prebuilds":[{"s3cret":{"s3cret":tru"#).unwrap_err();
    assert_eq!(error.path, "prebuilds");
    assert!(!format!("{error} {error:?}").contains("s3cret"));
}

#[test]
fn the_last_duplicate_wins_whole() {
    let case = Case::everything();
    for (text, meaning) in [
        (r#"{"fString":"a","fString":"b"}"#, r#"{"fString":"b"}"#),
        (r#"{"fString":"a","f_string":""}"#, "{}"),
        (r#"{"fString":"a","fInt32":3,"fString":null}"#, r#"{"fInt32":3}"#),
        (r#"{"rInt32":[1,2],"r_int32":[3]}"#, r#"{"rInt32":[3]}"#),
        (r#"{"rString":["a","b"],"rString":[]}"#, "{}"),
        (r#"{"rChild":[{},{}],"rChild":[{"fInt32":1}]}"#, r#"{"rChild":[{"fInt32":1}]}"#),
        (r#"{"fChild":{"fInt32":1},"fChild":{"fBool":true}}"#, r#"{"fChild":{"fBool":true}}"#),
        (r#"{"fChild":{"fInt32":1,"fInt32":2,"fChild":{}}}"#, r#"{"fChild":{"fInt32":2,"fChild":{}}}"#),
        (r#"{"oMood":10,"oMood":0}"#, r#"{"oMood":"MOOD_UNSPECIFIED"}"#),
        (r#"{"rMood":[10],"rMood":[0]}"#, r#"{"rMood":["MOOD_UNSPECIFIED"]}"#),
        (r#"{"fDuration":"1s","fDuration":"2s"}"#, r#"{"fDuration":"2s"}"#),
    ] {
        assert_eq!(case.meaning(text), meaning, "{text}");
        let error = case.read_bytes(text.as_bytes(), Duplicates::Reject).unwrap_err();
        assert_eq!(error.problem, ReadProblem::Duplicate, "{text}");
    }
}

#[test]
fn an_unknown_enum_name_that_comes_last_wins_too() {
    let (wire, drift) = Case::everything().read(r#"{"fMood":10,"fMood":"MOOD_NEW"}"#).unwrap();
    assert!(wire.is_empty());
    assert_eq!(drift.enums.len(), 1);
}

#[test]
fn fields_beyond_the_bit_set_are_seen_too() {
    let mut seen = super::super::read::Seen::default();
    for index in [0, 127, 128, 129, 1_000] {
        assert!(seen.insert(index), "{index}");
        assert!(!seen.insert(index), "{index}");
    }
}

#[test]
fn many_duplicates_are_refused() {
    let text = |count| format!("{{{}}}", vec!["\"fInt32\":1"; count].join(","));
    assert_eq!(Case::everything().meaning(&text(33)), r#"{"fInt32":1}"#);
    assert_eq!(Case::everything().problem(&text(34)), ReadProblem::Duplicate);
}

#[test]
fn nesting_bombs_are_refused() {
    let bomb = |open: &str, close: &str, depth| open.repeat(depth) + "{}" + &close.repeat(depth);
    let case = Case::everything();
    assert!(case.read(&bomb("{\"fChild\":", "}", 99)).is_ok());
    assert_eq!(case.problem(&bomb("{\"fChild\":", "}", 101)), ReadProblem::Depth);
    for depth in [128, 1_000, 1_000_000] {
        assert_eq!(case.problem(&format!("{{\"unknown\":{}}}", bomb("[", "]", depth))), ReadProblem::Syntax);
        assert_eq!(case.problem(&format!("{{\"unknown\":{}", "[".repeat(depth))), ReadProblem::Truncated);
        assert!(case.read(&bomb("{\"fChild\":", "}", depth)).is_err());
        assert!(case.read(&bomb("{\"rChild\":[", "]}", depth)).is_err());
        assert!(case.read(&"{\"fChild\":".repeat(depth)).is_err());
    }
    let harmless = format!("{{\"unknown\":\"{}\\\"{}\"}}", "[".repeat(500), "{".repeat(500));
    assert!(case.read(&harmless).is_ok());
    assert!(case.read(&format!("{{\"unknown\":{}}}", bomb("[", "]", 126))).is_ok());
}

#[test]
fn kinds_without_a_json_form_say_so() {
    for text in [
        r#"{"text":"a"}"#,
        r#"{"text":{}}"#,
        r#"{"texts":["a"]}"#,
        r#"{"odd":{"text":""}}"#,
        r#"{"any":{"@type":"x/google.protobuf.StringValue","value":"a"}}"#,
        r#"{"any":{"@type":"x/google.protobuf.StringValue","value":{}}}"#,
    ] {
        assert_eq!(Case::odd().problem(text), ReadProblem::Unsupported, "{text}");
    }
    assert_eq!(Case::odd().meaning(r#"{"text":null,"any":null,"odd":{}}"#), r#"{"odd":{}}"#);
}
