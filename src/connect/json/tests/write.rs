//! What canonical JSON looks like, byte by byte.

use prost::Message;

use super::{
    super::{WireError, WriteProblem, unknown_fields},
    Case,
};
use crate::proto::gitpod::v1 as pb;

fn nested(depth: usize) -> Vec<u8> {
    let mut wire = Vec::new();
    for _ in 0..depth {
        let mut outer = vec![0x9a, 1]; // f_child = 19
        prost::encoding::encode_varint(wire.len() as u64, &mut outer);
        outer.append(&mut wire);
        wire = outer;
    }
    wire
}

#[test]
fn a_prebuild() {
    let prebuild = pb::Prebuild {
        id: "p\"1".to_owned(),
        metadata: Some(pb::PrebuildMetadata {
            creator: Some(pb::Subject { id: "u".to_owned(), principal: 2 }),
            created_at: Some(prost_types::Timestamp { seconds: 1_700_000_000, nanos: 5_000_000 }),
            triggered_by: 99,
            ..Default::default()
        }),
        spec: Some(pb::PrebuildSpec {
            spec_version: u64::MAX,
            desired_phase: 60,
            timeout: Some(prost_types::Duration { seconds: 3600, nanos: 0 }),
        }),
        status: Some(pb::PrebuildStatus {
            snapshot_completion_percentage: -3,
            snapshot_size_bytes: i64::MIN,
            ..Default::default()
        }),
    };
    let json = concat!(
        r#"{"id":"p\"1","metadata":{"creator":{"id":"u","principal":"PRINCIPAL_USER"},"#,
        r#""createdAt":"2023-11-14T22:13:20.005Z","triggeredBy":99},"#,
        r#""spec":{"specVersion":"18446744073709551615","desiredPhase":"PREBUILD_PHASE_COMPLETED","timeout":"3600s"},"#,
        r#""status":{"snapshotCompletionPercentage":-3,"snapshotSizeBytes":"-9223372036854775808"}}"#,
    );
    assert_eq!(Case::gitpod("Prebuild").write(&prebuild.encode_to_vec()).unwrap(), json);
}

#[test]
fn defaults_are_left_out_and_explicit_zeros_are_not() {
    #[expect(deprecated, reason = "desired_size is still part of the API")]
    let request = pb::CreateWarmPoolRequest { desired_size: 0, min_size: Some(0), ..Default::default() };
    assert_eq!(
        Case::gitpod("CreateWarmPoolRequest").write(&request.encode_to_vec()).unwrap(),
        r#"{"minSize":0}"#
    );
    let response =
        pb::ListPrebuildsResponse { pagination: Some(pb::PaginationResponse::default()), prebuilds: vec![] };
    assert_eq!(
        Case::gitpod("ListPrebuildsResponse").write(&response.encode_to_vec()).unwrap(),
        r#"{"pagination":{}}"#
    );
    assert_eq!(Case::gitpod("DeletePrebuildResponse").write(b"").unwrap(), "{}");
    // A default that is on the wire all the same, and an empty packed list.
    assert_eq!(Case::everything().write(&[0x28, 0, 0xaa, 5, 0]).unwrap(), "{}");
}

#[test]
fn lists_are_read_packed_or_not() {
    // r_int32 = 85
    for wire in
        [&[0xaa, 5, 3, 1, 2, 3][..], &[0xa8, 5, 1, 0xa8, 5, 2, 0xa8, 5, 3], &[0xaa, 5, 2, 1, 2, 0xa8, 5, 3]]
    {
        assert_eq!(Case::everything().write(wire).unwrap(), r#"{"rInt32":[1,2,3]}"#);
    }
}

#[test]
fn unknown_fields_are_left_out() {
    assert_eq!(
        Case::gitpod("DeletePrebuildRequest").write(&[0x0a, 1, b'a', 0x48, 5]).unwrap(),
        r#"{"prebuildId":"a"}"#
    );
}

#[test]
fn what_cannot_be_written_says_why_and_where() {
    use WriteProblem::{Duration, Order, Unsupported, Utf8, Wire};
    let case = Case::gitpod("Prebuild");
    for (wire, problem, path) in [
        (&b"\x0a\x01\xff"[..], Utf8, "id"),
        (b"\x0a\x02a", Wire(WireError::Malformed), ""),
        (b"\x08\x01", Wire(WireError::Malformed), "id"),
        (b"\x12\x02\x0a\x05", Wire(WireError::Malformed), "metadata"),
        (b"\x1a\x06\x1a\x04\x08\x01\x10\xff", Wire(WireError::Malformed), "spec.timeout"),
        (b"\x1a\x0a\x1a\x08\x10\x80\x94\xeb\xdc\x03\x08\x01", Duration, "spec.timeout"),
        (b"\x1a\x00\x12\x00", Order, "metadata"),
        (b"\x0a\x01a\x0a\x01b", Order, "id"),
    ] {
        let error = case.write(wire).unwrap_err();
        assert_eq!((error.problem, error.path.as_str()), (problem, path), "{wire:x?}");
    }
    for (wire, path) in
        [(&b"\x0a\x00"[..], "text"), (b"\x12\x00", "texts"), (b"\x1a\x02\x0a\x00", "odd.text")]
    {
        let error = Case::odd().write(wire).unwrap_err();
        assert_eq!((error.problem, error.path.as_str()), (Unsupported, path));
    }
}

#[test]
fn nesting_on_the_wire_is_bounded() {
    let case = Case::everything();
    assert!(case.write(&nested(100)).is_ok());
    assert_eq!(unknown_fields(case.schema, case.message, &nested(100)), Ok(vec![]));
    for depth in [101, 5_000] {
        assert_eq!(case.write(&nested(depth)).unwrap_err().problem, WriteProblem::Wire(WireError::Depth));
        assert_eq!(unknown_fields(case.schema, case.message, &nested(depth)), Err(WireError::Depth));
    }
    let groups = [vec![0xcb, 0x3e]; 1].concat().repeat(100_000);
    assert_eq!(unknown_fields(case.schema, case.message, &groups), Err(WireError::Malformed));
}
