//! The decision, and what is left of a list.

use super::{Judgement, Mark, judge, list, same};
use crate::{
    call::{MismatchKind, Reply, tests::reply},
    connect::json::{Duplicates, to_wire},
    rpc::{
        CANCEL_PREBUILD, CREATE_PREBUILD, GET_PREBUILD, LIST_PREBUILDS, LIST_WARM_POOLS, MethodSpec, Object,
    },
    upstream::Holding,
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
        (OURS, other, ID, Judgement::Neighbours, Judgement::Foreign(PROJECT)),
        (OURS, "", ID, Judgement::Neighbours, Judgement::Foreign(PROJECT)),
        (OURS, other, OTHER, Judgement::Foreign(PROJECT), Judgement::Foreign(PROJECT)),
        ("", held, ID, Judgement::Foreign(ORGANIZATION), Judgement::Foreign(ORGANIZATION)),
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
fn the_rest_of_a_list_stays_as_it_came() {
    let json = r#" {"new" : [1, 2.50],"prebuilds": [ {"id":"a", "x":"\u0041"}, {"id" : "b"},{"id":"c","y":1e2}],
        "pagination":{"nextToken": "t"} }"#;
    let kept = list::retain(&LIST_PREBUILDS, read(&LIST_PREBUILDS, json), &[true, false, true]).unwrap();
    assert_eq!(
        kept.json,
        r#"{"new":[1, 2.50],"prebuilds":[{"id":"a", "x":"\u0041"},{"id":"c","y":1e2}],"pagination":{"nextToken": "t"}}"#
    );
    let again = read(&LIST_PREBUILDS, std::str::from_utf8(&kept.json).unwrap());
    let ids = |reply: &Reply| reply.seen.objects.iter().map(|object| object.id.clone()).collect::<Vec<_>>();
    assert_eq!((ids(&kept), ids(&again)), (vec!["a".to_owned(), "c".to_owned()], ids(&kept)));
    assert_eq!(LIST_PREBUILDS.recode(&kept.wire).unwrap(), LIST_PREBUILDS.recode(&again.wire).unwrap());
}

#[test]
fn a_list_is_found_in_either_spelling() {
    for name in ["warmPools", "warm_pools", "warm\\u005fpools"] {
        let json = format!(r#"{{"{name}":[{{"id":"a"}},{{"id":"b"}}]}}"#);
        let kept = list::retain(&LIST_WARM_POOLS, read(&LIST_WARM_POOLS, &json), &[false, true]).unwrap();
        let json = String::from_utf8(kept.json.to_vec()).unwrap();
        assert!(json.contains(r#"[{"id":"b"}]"#), "{json}");
        let none = list::retain(&LIST_WARM_POOLS, read(&LIST_WARM_POOLS, &json), &[false]).unwrap();
        assert!(none.wire.is_empty() && !String::from_utf8(none.json.to_vec()).unwrap().contains("id"));
    }
}

#[test]
fn a_text_that_shows_another_list_is_written_anew() {
    for json in [
        r#"{"prebuilds":[{"id":"b"}]}"#,
        r#"{"prebuilds":null}"#,
        "{}",
        "[",
        r#"{"prebuilds":[{"id":"a"},
        {"id":"b"}],"prebuilds":[{"id":"a"},{"id":"b"}]}"#,
    ] {
        let reply = read(&LIST_PREBUILDS, r#"{"prebuilds":[{"id":"a"},{"id":"b"}]}"#);
        let reply = Reply { json: json.to_owned().into(), ..reply };
        let kept = list::retain(&LIST_PREBUILDS, reply, &[false, true]).unwrap();
        assert_eq!(kept.json, r#"{"prebuilds":[{"id":"b"}]}"#);
    }
}
