//! The decision, and what is left of a list.

use std::sync::Arc;

use http::HeaderValue;
use tracing::subscriber::with_default;
use tracing_subscriber::fmt;

use super::{Judgement, Mark, Tenancy, anew, judge, same};
use crate::{
    call::{
        MismatchKind, Reply,
        tests::{call, reply},
    },
    connect::json::{Duplicates, to_wire},
    error::Reason,
    proto::gitpod::v1::GetPrebuildRequest,
    rpc::{
        CANCEL_PREBUILD, CREATE_PREBUILD, GET_PREBUILD, LIST_PREBUILDS, LIST_WARM_POOLS, MethodSpec, Object,
    },
    telemetry::{Metrics, tests::Kept},
    upstream::{Holding, Organizations, PageKey, Parting},
};

const OURS: &str = "0198c0de-0000-7000-8000-00000000acce";
const THEIRS: &str = "0198c0de-0000-7000-8000-00000000610b";
const ID: &str = "0198c0de-0000-7000-8000-000000000abc";
const OTHER: &str = "0198c0de-0000-7000-8000-000000000def";

fn object(organization: &str, id: &str) -> Object {
    Object { organization: organization.to_owned(), id: id.to_owned(), ..Object::default() }
}

const ORGANIZATION: MismatchKind = MismatchKind::Organization;
const PROJECT: MismatchKind = MismatchKind::Project;

/// An org with a credential of its own.
fn alone() -> Mark<'static> {
    Mark { organization: OURS, holding: None }
}

#[test]
fn an_object_is_shown_if_it_is_the_orgs_and_the_one_asked_for() {
    let capitals = (OURS.to_ascii_uppercase(), ID.to_ascii_uppercase());
    for (organization, id, expected) in [
        (OURS, ID, Judgement::All),
        (&capitals.0, &capitals.1, Judgement::All),
        ("", ID, Judgement::All),
        (OURS, OTHER, Judgement::Other),
        (OURS, "", Judgement::Other),
        ("", OTHER, Judgement::Other),
        (THEIRS, ID, Judgement::Foreign(ORGANIZATION)),
        (THEIRS, OTHER, Judgement::Foreign(ORGANIZATION)),
        (THEIRS, "", Judgement::Foreign(ORGANIZATION)),
        ("acme", ID, Judgement::Foreign(ORGANIZATION)),
        (" ", ID, Judgement::Foreign(ORGANIZATION)),
    ] {
        let judged = judge(&GET_PREBUILD, Some(ID), alone(), &[object(organization, id)]);
        assert_eq!(judged, expected, "{organization:?} {id:?}");
    }
}

#[test]
fn where_orgs_share_an_organization_the_project_decides() {
    let held = "0198c0de-0000-7000-8000-0000000000aa";
    let other = "0198c0de-0000-7000-8000-0000000000bb";
    let projects = [held.parse().unwrap()].into();
    let holding = Holding { projects, ..Holding::default() };
    let sharing = Mark { organization: OURS, holding: Some(&holding) };
    let capitals = held.to_ascii_uppercase();
    for (organization, project, id, read, written) in [
        (OURS, held, ID, Judgement::All, Judgement::All),
        (OURS, &capitals, ID, Judgement::All, Judgement::All),
        (OURS, held, OTHER, Judgement::Other, Judgement::Other),
        (OURS, other, ID, Judgement::Neighbours(PROJECT), Judgement::Foreign(PROJECT)),
        (OURS, "", ID, Judgement::Neighbours(PROJECT), Judgement::Foreign(PROJECT)),
        (OURS, other, OTHER, Judgement::Foreign(PROJECT), Judgement::Foreign(PROJECT)),
        ("", held, ID, Judgement::Neighbours(ORGANIZATION), Judgement::Foreign(ORGANIZATION)),
        ("", other, ID, Judgement::Neighbours(ORGANIZATION), Judgement::Foreign(ORGANIZATION)),
        ("", held, OTHER, Judgement::Foreign(ORGANIZATION), Judgement::Foreign(ORGANIZATION)),
        (THEIRS, held, ID, Judgement::Foreign(ORGANIZATION), Judgement::Foreign(ORGANIZATION)),
    ] {
        let objects = [Object { project: project.to_owned(), ..object(organization, id) }];
        let case = format!("{organization:?} {project:?} {id:?}");
        assert_eq!(judge(&GET_PREBUILD, Some(ID), sharing, &objects), read, "{case}");
        assert_eq!(judge(&CANCEL_PREBUILD, Some(ID), sharing, &objects), written, "{case}");
    }
    let of = |organization: &str, project: &str| Object {
        project: project.to_owned(),
        ..object(organization, ID)
    };
    let mixed = [of(OURS, held), of(OURS, other), of("", held), of(OURS, "")];
    let kept = |kind| Judgement::These(vec![true, false, false, false], kind);
    assert_eq!(judge(&LIST_PREBUILDS, None, sharing, &mixed), kept(ORGANIZATION));
    let nothing = Mark { holding: Some(&Holding::default()), ..sharing };
    assert_eq!(judge(&LIST_PREBUILDS, None, nothing, &mixed[..1]), Judgement::These(vec![false], PROJECT));
}

#[test]
fn what_is_made_has_any_id_but_no_other_org() {
    for (organization, expected) in
        [(OURS, Judgement::All), ("", Judgement::All), (THEIRS, Judgement::Foreign(ORGANIZATION))]
    {
        assert_eq!(judge(&CREATE_PREBUILD, None, alone(), &[object(organization, OTHER)]), expected);
    }
}

#[test]
fn a_list_keeps_what_is_not_another_orgs() {
    let of = |organizations: &[&str]| {
        let objects: Vec<_> = organizations.iter().map(|organization| object(organization, ID)).collect();
        judge(&LIST_PREBUILDS, None, alone(), &objects)
    };
    assert_eq!(of(&[OURS, "", OURS]), Judgement::All);
    assert_eq!(of(&[THEIRS, OURS, ""]), Judgement::These(vec![false, true, true], ORGANIZATION));
    assert_eq!(of(&[THEIRS]), Judgement::These(vec![false], ORGANIZATION));
}

#[test]
fn ids_are_the_same_as_uuids_or_to_the_byte() {
    assert!(same(OURS, &OURS.to_ascii_uppercase()) && same("acme", "acme"));
    for (one, other) in [(OURS, THEIRS), ("acme", "ACME"), ("", OURS), (OURS, "acme")] {
        assert!(!same(one, other) && !same(other, one), "{one} {other}");
    }
}

fn read(method: &'static MethodSpec, json: &str) -> Reply {
    let (wire, _) =
        to_wire((method.schema)(), method.output().unwrap(), json.as_bytes(), Duplicates::LastWins).unwrap();
    Reply { seen: method.view(&wire).unwrap(), json: json.to_owned().into(), wire, ..reply() }
}

#[test]
fn the_rest_of_a_list_is_what_the_schema_knows() {
    let json = r#" {"total" : 3,"prebuilds": [ {"id":"a", "x":"\u0041"}, {"id" : "b"},{"id":"c","y":1e2}],
        "pagination":{"nextToken": "t","last":"b"} }"#;
    let mut reply = read(&LIST_PREBUILDS, json);
    reply.metadata.insert("x-total", HeaderValue::from_static("3"));
    reply.trailers.insert("x-last", HeaderValue::from_static("b"));
    let kept = anew::list(&LIST_PREBUILDS, reply, &[true, false, true]).unwrap();
    assert_eq!(kept.json, r#"{"pagination":{"nextToken":"t"},"prebuilds":[{"id":"a"},{"id":"c"}]}"#);
    assert!(kept.metadata.is_empty() && kept.trailers.is_empty());
    let again = read(&LIST_PREBUILDS, std::str::from_utf8(&kept.json).unwrap());
    assert_eq!((kept.seen, kept.wire), (again.seen, again.wire));
    let none = anew::list(&LIST_WARM_POOLS, read(&LIST_WARM_POOLS, r#"{"warm_pools":[{"id":"a"}]}"#), &[]);
    assert_eq!(none.unwrap().json, "{}");
}

fn strict() -> Tenancy {
    let organizations = Organizations::new([("acme".into(), OURS.to_owned())]);
    let holding = Holding { projects: [ID.parse().unwrap()].into(), ..Holding::default() };
    let holdings = Arc::new([("acme".into(), holding)].into());
    let key = PageKey::new(vec![7; 32]).unwrap();
    Tenancy::new(organizations, Parting::ByProject { holdings, key }, Metrics::new())
}

/// A line takes longer than none, and the answer waits for it.
#[test]
fn a_neighbours_object_is_logged_no_more_than_an_absent_one() {
    let text = |json: &str| {
        let lines = Kept::default();
        with_default(fmt().with_writer(lines.writer()).finish(), || {
            let tenancy = strict();
            let call = call(&GET_PREBUILD, &GetPrebuildRequest { prebuild_id: ID.to_owned() });
            let question = tenancy.question(&call, &GET_PREBUILD);
            let error = tenancy.judged(&question, Ok(read(&GET_PREBUILD, json))).unwrap_err();
            assert_eq!(error.reason, Some(Reason::NotFound));
        });
        lines.text()
    };
    let object = |organization: &str| {
        format!(
            r#"{{"prebuild":{{"id":"{ID}","metadata":{{"organizationId":"{organization}","projectId":"{OTHER}"}}}}}}"#
        )
    };
    assert_eq!((text(&object(OURS)), text(&object(""))), (String::new(), String::new()));
    assert!(text(&object(THEIRS)).contains("not the caller's"));
}
