//! Durations and timestamps.

use super::{
    super::{ReadProblem, WriteProblem, time::Seconds},
    Case,
};

fn duration(value: &str) -> String {
    let json = Case::everything().meaning(&format!("{{\"fDuration\":\"{value}\"}}"));
    json.trim_start_matches("{\"fDuration\":\"").trim_end_matches("\"}").to_owned()
}

fn timestamp(value: &str) -> String {
    let json = Case::everything().meaning(&format!("{{\"fTimestamp\":\"{value}\"}}"));
    json.trim_start_matches("{\"fTimestamp\":\"").trim_end_matches("\"}").to_owned()
}

#[test]
fn durations() {
    for (value, canonical) in [
        ("3600s", "3600s"),
        ("3600.5s", "3600.500s"),
        ("+9125115.360s", "9125115.360s"),
        ("0s", "0s"),
        ("-0s", "0s"),
        ("1.s", "1s"),
        ("0.1s", "0.100s"),
        ("-0.5s", "-0.500s"),
        ("-1.5s", "-1.500s"),
        ("1.000001s", "1.000001s"),
        ("1.00000100s", "1.000001s"),
        ("1.000000001s", "1.000000001s"),
        ("1.120000000s", "1.120s"),
        ("7200.000000001s", "7200.000000001s"),
        ("0000000000000000000000001s", "1s"),
        ("315576000000s", "315576000000s"),
        ("-315576000000s", "-315576000000s"),
        ("-0.000000001s", "-0.000000001s"),
    ] {
        assert_eq!(duration(value), canonical);
    }
    for value in [
        "",
        "s",
        "1",
        "1h",
        "1m",
        "1ms",
        ".5s",
        "-s",
        "+-1s",
        "--1s",
        "1s ",
        " 1s",
        "1 s",
        "1.0000000001s",
        "1..0s",
        "1,5s",
        "1e3s",
        "0x1s",
        "315576000001s",
        "-315576000001s",
        "99999999999999999999s",
        "Infinitys",
        "1S",
        "١s",
    ] {
        let text = format!("{{\"fDuration\":\"{value}\"}}");
        assert_eq!(Case::everything().problem(&text), ReadProblem::Duration, "{value}");
    }
}

#[test]
fn timestamps() {
    for (value, canonical) in [
        ("1970-01-01T00:00:00Z", "1970-01-01T00:00:00Z"),
        ("2024-02-29T23:59:59.5Z", "2024-02-29T23:59:59.500Z"),
        ("2000-02-29T00:00:00.000001Z", "2000-02-29T00:00:00.000001Z"),
        ("2024-05-06T07:08:09.123456789Z", "2024-05-06T07:08:09.123456789Z"),
        ("2024-05-06T07:08:09.120Z", "2024-05-06T07:08:09.120Z"),
        ("2024-05-06T07:08:09+02:00", "2024-05-06T05:08:09Z"),
        ("2024-01-01T00:00:00+00:01", "2023-12-31T23:59:00Z"),
        ("2023-12-31T23:30:00-01:00", "2024-01-01T00:30:00Z"),
        ("1969-12-31T23:59:59.999Z", "1969-12-31T23:59:59.999Z"),
        ("0001-01-01T00:00:00Z", "0001-01-01T00:00:00Z"),
        ("9999-12-31T23:59:59.999999999Z", "9999-12-31T23:59:59.999999999Z"),
        ("1900-02-28T00:00:00Z", "1900-02-28T00:00:00Z"),
    ] {
        assert_eq!(timestamp(value), canonical);
    }
    for value in [
        "",
        "2024-05-06",
        "2024-05-06T07:08:09",
        "2024-05-06 07:08:09Z",
        "2024-05-06t07:08:09Z",
        "2024-05-06T07:08:09z",
        "2024-05-06T07:08:09.Z",
        "2024-05-06T07:08:09.1234567890Z",
        "2024-5-6T07:08:09Z",
        "2024-00-06T07:08:09Z",
        "2024-13-06T07:08:09Z",
        "2024-05-00T07:08:09Z",
        "2024-04-31T07:08:09Z",
        "2023-02-29T00:00:00Z",
        "1900-02-29T00:00:00Z",
        "2024-05-06T24:00:00Z",
        "2024-05-06T23:60:00Z",
        "2024-05-06T23:59:60Z",
        "2024-05-06T07:08:09+2:00",
        "2024-05-06T07:08:09+24:00",
        "2024-05-06T07:08:09+0200",
        "2024-05-06T07:08:09ZZ",
        "02024-05-06T07:08:09Z",
        "0000-12-31T23:59:59Z",
        "0001-01-01T00:00:00+00:01",
        "9999-12-31T23:59:59-00:01",
        "10000-01-01T00:00:00Z",
        "+2024-05-06T07:08:09Z",
        "2024-05-06T07:08:09,5Z",
    ] {
        let text = format!("{{\"fTimestamp\":\"{value}\"}}");
        assert_eq!(Case::everything().problem(&text), ReadProblem::Timestamp, "{value}");
    }
}

#[test]
fn every_day_of_four_centuries_is_told_right() {
    // The calendar itself is the oracle: each day follows the one before.
    let (mut year, mut month, mut day) = (1800, 1, 1);
    let first = Seconds::from_timestamp("1800-01-01T00:00:00Z").unwrap().seconds;
    for index in 0..146_097 {
        let time = Seconds { seconds: first + index * 86_400, nanos: 0 };
        let mut text = Vec::new();
        time.write_timestamp(&mut text).unwrap();
        let text = String::from_utf8(text).unwrap();
        assert_eq!(text, format!("{year:04}-{month:02}-{day:02}T00:00:00Z"));
        assert_eq!(Seconds::from_timestamp(&text).unwrap(), time);
        let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
        let last = [31, if leap { 29 } else { 28 }, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31][month - 1];
        (year, month, day) = match (month, day) {
            (12, 31) => (year + 1, 1, 1),
            (_, day) if day == last => (year, month + 1, 1),
            _ => (year, month, day + 1),
        };
    }
    assert_eq!((year, month, day), (2200, 1, 1));
}

#[test]
fn times_that_json_cannot_hold_are_not_written() {
    for (seconds, nanos) in [
        (1, -1),
        (-1, 1),
        (0, 1_000_000_000),
        (0, -1_000_000_000),
        (315_576_000_001, 0),
        (-315_576_000_001, 0),
        (i64::MIN, i32::MIN),
    ] {
        let written = Seconds { seconds, nanos }.write_duration(&mut Vec::new());
        assert_eq!(written, Err(WriteProblem::Duration), "{seconds} {nanos}");
    }
    for (seconds, nanos) in [
        (-62_135_596_801, 0),
        (253_402_300_800, 0),
        (0, -1),
        (0, 1_000_000_000),
        (i64::MAX, 0),
        (i64::MIN, 0),
    ] {
        let written = Seconds { seconds, nanos }.write_timestamp(&mut Vec::new());
        assert_eq!(written, Err(WriteProblem::Timestamp), "{seconds} {nanos}");
    }
}
