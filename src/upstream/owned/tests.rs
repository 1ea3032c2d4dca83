//! What is kept, for whom, and how much of it.

use super::Owned;
use crate::rpc::{GET_PREBUILD, GET_WARM_POOL, Object, Sizes};

const ID: &str = "0198c0de-0000-7000-8000-000000000abc";

fn object(id: &str) -> Object {
    let sizes = Sizes { min: Some(1), ..Sizes::default() };
    Object { id: id.to_owned(), project: "p".to_owned(), sizes, ..Object::default() }
}

#[test]
fn an_object_is_found_by_its_own_org_and_kind_in_any_spelling() {
    let owned = Owned::new();
    owned.keep(&"acme".into(), &GET_WARM_POOL, &object(ID));
    let found = owned.find(&"acme".into(), &GET_WARM_POOL, &ID.to_ascii_uppercase()).unwrap();
    assert_eq!(found, Object { sizes: Sizes::default(), ..object(ID) }, "sizes change");
    assert!(owned.find(&"globex".into(), &GET_WARM_POOL, ID).is_none());
    assert!(owned.find(&"acme".into(), &GET_PREBUILD, ID).is_none());
    owned.keep(&"acme".into(), &GET_PREBUILD, &object("no id"));
    assert!(owned.find(&"acme".into(), &GET_PREBUILD, "no id").is_none());
}

/// What is kept for an hour is as small as it looks, whatever upstream sends, and no secret.
#[test]
fn no_url_and_no_class_that_is_no_id_is_kept() {
    let owned = Owned::new();
    for (class, kept) in [(ID, ID), ("c", ""), (&"c".repeat(1 << 20), "")] {
        let shown = Object { class: class.to_owned(), log_url: "https://secret".to_owned(), ..object(ID) };
        owned.keep(&"acme".into(), &GET_PREBUILD, &shown);
        let found = owned.find(&"acme".into(), &GET_PREBUILD, ID).unwrap();
        assert_eq!((&*found.class, &*found.log_url), (kept, ""));
    }
}

#[test]
fn it_is_bounded() {
    let owned = Owned::bounded(100);
    for id in 0..1_000_u128 {
        owned.keep(&"acme".into(), &GET_PREBUILD, &object(&uuid::Uuid::from_u128(id).to_string()));
    }
    owned.0.run_pending_tasks();
    assert!(owned.0.entry_count() <= 100);
}
