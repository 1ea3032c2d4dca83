//! Nothing unknown fails a call, and nothing unknown vanishes.

use prost::Message;

use super::{
    super::{Drift, DriftItem, WireError, unknown_fields},
    Case,
};
use crate::proto::gitpod::v1 as pb;

fn item(path: &str, name: &str, count: usize) -> DriftItem {
    DriftItem { path: path.to_owned(), name: name.to_owned(), count }
}

#[test]
fn unknown_keys_and_enum_names_are_named() {
    let text = r#"{
        "new": {"a": [1, {"b": null}], "c": 1e999, "d": "\ud800"},
        "prebuilds": [
            {"id": "a", "status": {"phase": "PREBUILD_PHASE_NEW", "newer": 1}, "metadata": {"triggeredBy": "X"}},
            {"id": "b", "status": {"phase": "PREBUILD_PHASE_NEW", "newer": 2, "logUrl": "u"}}
        ]}"#;
    let (wire, drift) = Case::gitpod("ListPrebuildsResponse").read(text).unwrap();
    let expected = Drift {
        fields: vec![item("", "new", 1), item("prebuilds.status", "newer", 2)],
        enums: vec![
            item("prebuilds.status.phase", "PREBUILD_PHASE_NEW", 2),
            item("prebuilds.metadata.triggered_by", "X", 1),
        ],
        rest: 0,
        repeats: 0,
    };
    assert_eq!(drift, expected);
    let response = pb::ListPrebuildsResponse::decode(&wire[..]).unwrap();
    assert_eq!(response.prebuilds.len(), 2);
    assert_eq!(response.prebuilds[1].status.as_ref().unwrap().log_url, "u");
    assert_eq!(response.prebuilds[1].status.as_ref().unwrap().phase, 0);
}

#[test]
fn unknown_elements_are_dropped_from_lists() {
    let (wire, drift) = Case::gitpod("ListPrebuildsRequest.Filter")
        .read(r#"{"phases":["NEW",10,"PREBUILD_PHASE_FAILED","NEW"]}"#)
        .unwrap();
    assert_eq!(wire, [0x12, 2, 10, 70]);
    assert_eq!(drift.enums, [item("phases", "NEW", 2)]);
    let (wire, drift) = Case::gitpod("ListPrebuildsRequest.Filter").read(r#"{"phases":["NEW"]}"#).unwrap();
    assert!(wire.is_empty() && !drift.is_empty());
}

#[test]
fn drift_is_bounded() {
    let keys: Vec<_> = (0..40).map(|key| format!("\"key{key}\":{{}}")).collect();
    let text = format!("{{{},\"key0\":1,\"key39\":1,\"phase\":\"NEW\"}}", keys.join(","));
    let (_, drift) = Case::gitpod("PrebuildStatus").read(&text).unwrap();
    assert_eq!((drift.fields.len(), drift.enums.len(), drift.rest), (32, 0, 10));
    assert_eq!(drift.fields[0].count, 2);

    let long = "é".repeat(100);
    let (_, drift) = Case::gitpod("PrebuildStatus").read(&format!("{{\"{long}\":1}}")).unwrap();
    assert_eq!(drift.fields[0].name, "é".repeat(64));
}

#[test]
fn unknown_numbers_are_named_by_their_path() {
    let unknown = |name, wire: &[u8]| {
        let case = Case::gitpod(name);
        unknown_fields(case.schema, case.message, wire)
    };
    assert_eq!(unknown("CreatePrebuildRequest", b""), Ok(vec![]));
    let request = pb::CreatePrebuildRequest {
        project_id: "p".to_owned(),
        spec: Some(pb::PrebuildSpec { spec_version: 1, ..Default::default() }),
        ..Default::default()
    };
    assert_eq!(unknown("CreatePrebuildRequest", &request.encode_to_vec()), Ok(vec![]));
    // #9 as a varint, twice; spec { #17: "ab"; #18 a group with a field in it; timeout { #3 } }
    let wire: &[u8] = &[
        0x48, 5, 0x48, 6, //
        0x1a, 13, 0x8a, 1, 2, b'a', b'b', 0x93, 1, 0x08, 1, 0x94, 1, 0x1a, 0, //
        0x1a, 4, 0x1a, 2, 0x18, 7,
    ];
    let expected = ["#9", "spec.#17", "spec.#18", "spec.timeout.#3"].map(str::to_owned).to_vec();
    assert_eq!(unknown("CreatePrebuildRequest", wire), Ok(expected));
    // Lists of numbers come packed or not.
    assert_eq!(unknown("ListPrebuildsRequest", &[0x12, 5, 0x12, 1, 10, 0x10, 20]), Ok(vec![]));
}

#[test]
fn malformed_bytes_are_told_from_unknown_ones() {
    let case = Case::gitpod("CreatePrebuildRequest");
    for wire in [
        &b"\x08"[..],                                        // a key without a value
        b"\x0a\x05ab",                                       // a length beyond the end
        b"\x08\x01",                                         // a varint where a string should be
        b"\x00\x01",                                         // field 0
        b"\x4f",                                             // wire type 7
        b"\x4c",                                             // the end of no group
        b"\x4b\x08\x01",                                     // a group without an end
        b"\x4b\x54",                                         // a group with another's end
        b"\x49\x01",                                         // a short 64-bit value
        b"\x4d\x01",                                         // a short 32-bit value
        b"\x1a\x02\x0a",                                     // inside a message
        b"\x48\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", // a varint of 11 bytes
    ] {
        assert_eq!(unknown_fields(case.schema, case.message, wire), Err(WireError::Malformed), "{wire:x?}");
    }
}

#[test]
fn the_list_of_unknown_numbers_is_bounded() {
    let case = Case::gitpod("DeletePrebuildRequest");
    let wire: Vec<u8> = (16..1_000_u32)
        .flat_map(|number| {
            let mut key = Vec::new();
            prost::encoding::encode_key(number, prost::encoding::WireType::Varint, &mut key);
            key.push(1);
            key
        })
        .collect();
    assert_eq!(unknown_fields(case.schema, case.message, &wire).unwrap().len(), 32);
}
