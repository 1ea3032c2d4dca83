//! The decision, and what is left of a list.

use super::{Judgement, judge, list, same};
use crate::{
    call::{Reply, tests::reply},
    connect::json::{Duplicates, to_wire},
    rpc::{CREATE_PREBUILD, GET_PREBUILD, LIST_PREBUILDS, LIST_WARM_POOLS, MethodSpec, Object},
};

const OURS: &str = "0198c0de-0000-7000-8000-00000000acce";
const THEIRS: &str = "0198c0de-0000-7000-8000-00000000610b";
const ID: &str = "0198c0de-0000-7000-8000-000000000abc";
const OTHER: &str = "0198c0de-0000-7000-8000-000000000def";

fn object(organization: &str, id: &str) -> Object {
    Object { organization: organization.to_owned(), id: id.to_owned(), ..Object::default() }
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
        (THEIRS, ID, Judgement::Foreign),
        (THEIRS, OTHER, Judgement::Foreign),
        (THEIRS, "", Judgement::Foreign),
        ("acme", ID, Judgement::Foreign),
        (" ", ID, Judgement::Foreign),
    ] {
        let judged = judge(&GET_PREBUILD, Some(ID), OURS, &[object(organization, id)]);
        assert_eq!(judged, expected, "{organization:?} {id:?}");
    }
}

#[test]
fn what_is_made_has_any_id_but_no_other_org() {
    for (organization, expected) in
        [(OURS, Judgement::All), ("", Judgement::All), (THEIRS, Judgement::Foreign)]
    {
        assert_eq!(judge(&CREATE_PREBUILD, None, OURS, &[object(organization, OTHER)]), expected);
    }
}

#[test]
fn a_list_keeps_what_is_not_another_orgs() {
    let of = |organizations: &[&str]| {
        let objects: Vec<_> = organizations.iter().map(|organization| object(organization, ID)).collect();
        judge(&LIST_PREBUILDS, None, OURS, &objects)
    };
    assert_eq!(of(&[OURS, "", OURS]), Judgement::All);
    assert_eq!(of(&[THEIRS, OURS, ""]), Judgement::These(vec![false, true, true]));
    assert_eq!(of(&[THEIRS]), Judgement::These(vec![false]));
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
