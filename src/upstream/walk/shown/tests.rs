//! What stands in a filter, and what of a page is left.

use std::sync::Arc;

use uuid::Uuid;

use super::{MAX_IDS, Shown, narrowed};
use crate::{rpc::Object, rule::Selection};

fn id(number: u128) -> String {
    Uuid::from_u128(number).to_string()
}

fn selection(allow: Option<&[u128]>, deny: &[u128]) -> Selection {
    let ids = |ids: &[u128]| Arc::new(ids.iter().copied().map(Uuid::from_u128).collect());
    Selection { allow: allow.map(ids), deny: ids(deny) }
}

#[test]
fn a_filter_names_no_more_than_is_let_through() {
    let many: Vec<u128> = (1..=MAX_IDS as u128 + 1).collect();
    for (selection, asked, expected) in [
        (selection(None, &[]), vec![3], None),
        (selection(Some(&[1, 2]), &[]), vec![], Some(vec![1, 2])),
        (selection(Some(&[1, 2]), &[2]), vec![], Some(vec![1])),
        (selection(Some(&[1, 2]), &[2]), vec![3, 2, 1], Some(vec![1])),
        (selection(Some(&[1]), &[]), vec![3], Some(vec![])),
        (selection(Some(&[]), &[]), vec![], Some(vec![])),
        (selection(None, &[2]), vec![3, 2], Some(vec![3])),
        (selection(None, &[2]), vec![2], Some(vec![])),
        (selection(None, &[2]), vec![], None),
        (selection(Some(&many), &[]), vec![], None),
        (selection(Some(&many), &[1]), vec![], Some(many[1..].to_vec())),
        (selection(Some(&many), &[]), vec![1, 99], Some(vec![1])),
    ] {
        let ids = |numbers: Vec<u128>| numbers.into_iter().map(id).collect::<Vec<_>>();
        let found = narrowed(&selection, &ids(asked.clone()));
        assert_eq!(found, expected.map(ids), "{selection:?} {asked:?}");
    }
}

#[test]
fn of_a_page_is_left_what_is_let_through() {
    let object = |project: &str, class: &str| Object {
        project: project.to_owned(),
        class: class.to_owned(),
        ..Object::default()
    };
    let (projects, classes) = (selection(Some(&[1]), &[]), selection(None, &[9]));
    let shown = Shown { projects: &projects, classes: &classes };
    let page = [object(&id(1), &id(2)), object(&id(2), &id(2)), object(&id(1), &id(9)), object("", &id(2))];
    assert_eq!(shown.keep(&page), Some(vec![true, false, false, false]));
    assert_eq!(shown.keep(&[object(&id(1), "")]), Some(vec![false]), "who knows of which class it is?");
    assert_eq!(shown.keep(&page[..1]), None);
    let all = Selection::default();
    assert_eq!(Shown { projects: &all, classes: &all }.keep(&page), None);
}
