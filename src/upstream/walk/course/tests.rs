//! Batches, and the way through them.

use std::{collections::HashMap, sync::Arc};

use super::{BATCH, Course, Place, Way};
use crate::{
    call::{Call, tests::call},
    proto::gitpod::v1::{ListPrebuildsRequest, PaginationRequest, list_prebuilds_request},
    rpc::{LIST_PREBUILDS, Part, Turn},
    rule::Selection,
    upstream::{Holding, PageKey, Parting},
};

fn id(number: u128) -> String {
    uuid::Uuid::from_u128(number).to_string()
}

/// acme with the projects 0 to `projects`.
fn parting(projects: u128) -> Parting {
    let projects = (0..projects).map(uuid::Uuid::from_u128).collect();
    let holding = Holding { projects, ..Holding::default() };
    let key = PageKey::new(vec![7; 32]).unwrap();
    Parting::ByProject { holdings: Arc::new(HashMap::from([("acme".into(), holding)])), key }
}

fn asks(projects: Vec<String>, size: i32) -> Call {
    let filter = list_prebuilds_request::Filter { project_ids: projects, ..Default::default() };
    let pagination = PaginationRequest { page_size: size, token: String::new() };
    call(&LIST_PREBUILDS, &ListPrebuildsRequest { filter: Some(filter), pagination: Some(pagination) })
}

fn course(held: u128, asked: Vec<String>) -> Course {
    Course::of(&asks(asked, 5), &parting(held)).unwrap()
}

fn batches(course: &Course) -> Vec<usize> {
    let Way::Narrow { batches, .. } = &course.way else { panic!("it is not narrowed") };
    batches.iter().map(Vec::len).collect()
}

#[test]
fn an_empty_filter_is_all_of_the_orgs_projects() {
    for (held, expected) in
        [(0, vec![]), (1, vec![1]), (25, vec![25]), (26, vec![25, 1]), (60, vec![25, 25, 10])]
    {
        assert_eq!(batches(&course(held, Vec::new())), expected);
    }
}

#[test]
fn a_filter_keeps_what_is_the_orgs_each_once_and_in_order() {
    let asked = [9, 3, 70, 3].map(id).to_vec();
    let course_of = course(60, [asked, vec![id(3).to_ascii_uppercase()]].concat());
    let Way::Narrow { batches, .. } = course_of.way else { panic!("it is not narrowed") };
    assert_eq!(batches, [[3, 9].map(id).to_vec()]);
    assert!(course(60, vec![id(70)]).is_empty());
    assert!(course(60, vec!["no id".to_owned()]).is_empty(), "what is asked for is nothing, not all");
}

#[test]
fn an_org_without_projects_is_shown_nothing() {
    let Parting::ByProject { key, .. } = parting(1) else { panic!() };
    let nobody = Parting::ByProject { holdings: Arc::default(), key };
    assert!(Course::of(&asks(Vec::new(), 5), &nobody).unwrap().is_empty());
}

#[test]
fn the_way_leads_through_every_page_of_every_batch() {
    let course = course(60, Vec::new());
    let mut place = course.start(None).unwrap();
    let mut way = vec![];
    for next in [Some("a"), Some("b"), None, None, Some("c"), None] {
        way.push((place.batch, place.token.clone()));
        let Part { projects, page, .. } = course.part(&place);
        assert_eq!(projects.unwrap()[0], id(BATCH as u128 * u128::from(place.batch)));
        assert_eq!(page, place.token.clone().map_or(Turn::First, Turn::To));
        match course.after(&place, next) {
            Some(after) => {
                let token = course.seal(&after).unwrap();
                assert_eq!(course.start(Some(&token)), Some(after.clone()));
                place = after;
            }
            None => break,
        }
    }
    let expected = [(0, None), (0, Some("a")), (0, Some("b")), (1, None), (2, None), (2, Some("c"))];
    assert_eq!(way, expected.map(|(batch, token)| (batch, token.map(str::to_owned))));
    assert_eq!(course.after(&place, None), None);
}

#[test]
fn a_token_is_for_one_filter_and_any_page_size() {
    let filter = vec![id(1), id(2)];
    let token = course(60, filter.clone()).seal(&Place { batch: 0, token: Some("t".to_owned()) }).unwrap();
    assert!(Course::of(&asks(filter, 100), &parting(60)).unwrap().start(Some(&token)).is_some());
    for other in [course(60, Vec::new()), course(60, vec![id(1)]), course(2, vec![id(1)]), course(0, vec![])]
    {
        assert_eq!(other.start(Some(&token)), None);
    }
    // Another set of projects under the same empty filter.
    let token = course(60, Vec::new()).seal(&Place::default()).unwrap();
    assert_eq!(course(61, Vec::new()).start(Some(&token)), None);
    assert_eq!(course(60, Vec::new()).start(Some("raw")), None);
}

#[test]
fn a_list_that_is_not_narrowed_goes_by_upstreams_own_tokens() {
    let course = Course::of(&asks(vec![id(1)], 5), &Parting::ByOrganization).unwrap();
    let place = course.start(Some("raw")).unwrap();
    assert_eq!(course.part(&place), Part { page: Turn::To("raw".to_owned()), ..Part::default() });
    assert_eq!(course.after(&place, Some("next")).unwrap().token.as_deref(), Some("next"));
    assert_eq!(course.after(&place, None), None);
    assert!(!course.is_empty());
}

/// The caller's, with an org that has the projects 0 to 59.
fn under(selection: Selection, asked: Vec<String>, parting: &Parting) -> Course {
    let mut call = asks(asked, 5);
    call.bound.projects = selection;
    Course::of(&call, parting).unwrap()
}

fn only(ids: impl IntoIterator<Item = u128>) -> Selection {
    let allow = Some(Arc::new(ids.into_iter().map(uuid::Uuid::from_u128).collect()));
    Selection { allow, ..Selection::default() }
}

#[test]
fn what_the_policy_lets_through_is_batched_like_what_the_org_has() {
    for (selection, asked, expected) in [
        (only(10..100), vec![], vec![25, 25]),
        (only([1, 2, 99]), vec![], vec![2]),
        (only([1, 2]), vec![id(2), id(3)], vec![1]),
        (only([99]), vec![], vec![]),
    ] {
        assert_eq!(batches(&under(selection, asked, &parting(60))), expected);
    }
}

#[test]
fn a_token_ends_with_the_selection_that_it_was_given_under() {
    let place = Place { batch: 0, token: Some("t".to_owned()) };
    let course = |selection| under(selection, Vec::new(), &parting(60));
    let token = course(only([1, 2])).seal(&place).unwrap();
    assert_eq!(course(only([1, 2])).start(Some(&token)), Some(place));
    for other in [only([1]), only([1, 3]), Selection::default()] {
        assert_eq!(course(other).start(Some(&token)), None);
    }
}

#[test]
fn a_list_by_upstreams_own_tokens_is_one_batch_of_what_is_let_through() {
    let course = under(only([1, 2]), Vec::new(), &Parting::ByOrganization);
    assert!(!course.is_empty() && !course.is_as_asked() && course.is_plain());
    let place = course.start(Some("raw")).unwrap();
    let asked = Part { projects: Some(vec![id(1), id(2)]), page: Turn::To("raw".to_owned()), classes: None };
    assert_eq!(course.part(&place), asked);
    assert_eq!(course.after(&place, None), None);
    assert!(under(only([1]), vec![id(2)], &Parting::ByOrganization).is_empty());
    assert!(under(only(0..26), Vec::new(), &Parting::ByOrganization).is_as_asked(), "it is cut as it comes");
}
