//! A token opens for the list that it was sealed for, and for nothing else.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use proptest::prelude::*;

use super::{List, PageKey, Place, WeakKey};
use crate::rpc::{LIST_PREBUILDS, LIST_WARM_POOLS};

fn key(byte: u8) -> PageKey {
    PageKey::new(vec![byte; 32]).unwrap()
}

fn list() -> List {
    List::of(&"acme".into(), &LIST_PREBUILDS, b"filter")
}

fn place(batch: u32, token: Option<&str>) -> Place {
    Place { batch, token: token.map(str::to_owned) }
}

#[test]
fn it_opens_with_the_same_key_alone() {
    for place in [place(0, Some("t")), place(7, None), place(u32::MAX, Some("zwei wörter/+="))] {
        let token = key(1).seal(&list(), &place).unwrap();
        assert_eq!(key(1).open(&list(), &token), Some(place));
        assert_eq!(key(2).open(&list(), &token), None);
    }
}

#[test]
fn it_opens_for_its_own_list_alone() {
    let token = key(1).seal(&list(), &place(1, Some("t"))).unwrap();
    for other in [
        List::of(&"globex".into(), &LIST_PREBUILDS, b"filter"),
        List::of(&"acme".into(), &LIST_WARM_POOLS, b"filter"),
        List::of(&"acme".into(), &LIST_PREBUILDS, b"another"),
        List::of(&"acme".into(), &LIST_PREBUILDS, b""),
    ] {
        assert_eq!(key(1).open(&other, &token), None, "{other:?}");
    }
}

#[test]
fn what_was_never_sealed_does_not_open() {
    let token = key(1).seal(&list(), &place(1, Some("t"))).unwrap();
    for text in ["", "t", "=", "....", &token.to_lowercase(), &format!("{token}="), &format!(" {token}")] {
        assert_eq!(key(1).open(&list(), text), None, "{text}");
    }
}

#[test]
fn a_key_is_long_and_does_not_show() {
    assert_eq!(PageKey::new(vec![b'k'; 31]).err(), Some(WeakKey));
    let shown = format!("{:?}", PageKey::new(vec![b'k'; 32]).unwrap());
    assert!(!shown.contains("107") && !shown.contains("kkk"), "{shown}");
}

proptest! {
    #[test]
    fn no_changed_token_opens(batch: u32, inner in ".{0,80}", at: prop::sample::Index, flip in 1_u8..) {
        let token = key(1).seal(&list(), &place(batch, Some(&inner))).unwrap();
        let bytes = URL_SAFE_NO_PAD.decode(&token).unwrap();
        let mut flipped = bytes.clone();
        flipped[at.index(bytes.len())] ^= flip;
        prop_assert_eq!(key(1).open(&list(), &URL_SAFE_NO_PAD.encode(flipped)), None);
        let cut = at.index(token.len());
        prop_assert_eq!(key(1).open(&list(), &token[..cut]), None);
        prop_assert_eq!(key(1).open(&list(), &token[cut.max(1)..]), None);
        prop_assert_eq!(key(1).open(&list(), &format!("{token}{token}")), None);
    }

    #[test]
    fn nothing_made_up_opens(text in ".{0,200}", bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        prop_assert_eq!(key(1).open(&list(), &text), None);
        prop_assert_eq!(key(1).open(&list(), &URL_SAFE_NO_PAD.encode(bytes)), None);
    }
}
