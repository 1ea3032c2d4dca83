//! What upstream calls the orgs, and when their credentials are not theirs.

use super::{Organization, Organizations, Trouble};
use crate::{
    error::{Reason, Sent},
    upstream::ask::Unsaid,
};

fn organization(id: &str) -> Organization {
    Organization { id: id.to_owned(), tier: "enterprise".to_owned() }
}

/// One org is configured.
fn organizations() -> Organizations {
    Organizations::new([("acme".into(), "one".to_owned())])
}

fn in_trouble(organizations: &Organizations) -> Vec<String> {
    organizations.troubles().into_iter().map(|(org, _)| org.to_string()).collect()
}

#[test]
fn what_is_configured_or_learnt_is_known_to_every_clone() {
    let organizations = organizations();
    assert!(organizations.clone().hear(&"globex".into(), organization("two")).is_empty());
    assert_eq!(organizations.get(&"acme".into()).unwrap().id, "one");
    assert_eq!(organizations.get(&"globex".into()).as_deref(), Some(&organization("two")));
    assert_eq!(organizations.get(&"initech".into()), None);
    assert!(organizations.is_settled(&"globex".into()) && !organizations.is_settled(&"acme".into()));
}

#[test]
fn another_organization_than_is_configured_or_was_before_is_trouble() {
    let organizations = organizations();
    assert!(organizations.hear(&"globex".into(), organization("two")).is_empty());
    for (org, ours) in [("acme", "one"), ("globex", "two")] {
        let org = org.into();
        assert_eq!(organizations.hear(&org, organization("three")).len(), 1, "new");
        assert!(organizations.hear(&org, organization("three")).is_empty(), "not new");
        assert!(!organizations.is_settled(&org), "it is asked again");
        assert_eq!(organizations.get(&org).unwrap().id, ours);
        let error = organizations.check(&org).unwrap_err();
        assert_eq!((error.reason, error.sent), (Some(Reason::UpstreamTenancy), Sent::No));
        // A credential of the right one ends it.
        assert!(organizations.would_be(&org, "three").is_err() && organizations.would_be(&org, ours).is_ok());
        organizations.hear(&org, organization(ours));
        assert!(organizations.check(&org).is_ok());
    }
}

#[test]
fn a_uuid_in_other_letters_is_the_same() {
    let id = "0198c0de-0000-7000-8000-00000000acce";
    let organizations = Organizations::new([("acme".into(), id.to_uppercase())]);
    assert!(organizations.hear(&"acme".into(), organization(id)).is_empty());
    assert!(in_trouble(&organizations).is_empty());
}

#[test]
fn orgs_that_turn_out_to_be_one_are_both_refused_but_for_a_configured_one() {
    let organizations = organizations();
    organizations.hear(&"b".into(), organization("two"));
    assert_eq!(organizations.hear(&"c".into(), organization("two")).len(), 2);
    assert_eq!(in_trouble(&organizations), ["b", "c"]);
    let with = |org: &str| Trouble::Shared { said: "two".to_owned(), with: org.into() };
    assert_eq!(organizations.troubles()[0].1, with("c"));
    // Another credential for one of them parts them.
    assert!(organizations.would_be(&"c".into(), "one").is_err(), "acme's");
    assert!(organizations.would_be(&"c".into(), "three").is_ok());
    organizations.hear(&"c".into(), organization("three"));
    assert!(in_trouble(&organizations).is_empty());
    // Who is configured is right.
    assert_eq!(organizations.hear(&"d".into(), organization("one")).len(), 1);
    assert_eq!(in_trouble(&organizations), ["d"]);
    // Of two that are one, nobody can tell whose a token is.
    assert_eq!(organizations.whose("one"), None);
    assert_eq!(organizations.whose("two"), Some("b".into()));
    organizations.hear(&"b".into(), organization("four"));
    assert_eq!(organizations.whose("two"), None, "its credential says otherwise");
}

#[test]
fn where_something_else_parts_them_two_orgs_may_be_one_organization() {
    let organizations = organizations().sharing(true);
    organizations.hear(&"b".into(), organization("two"));
    organizations.hear(&"c".into(), organization("two"));
    organizations.hear(&"d".into(), organization("one"));
    assert!(in_trouble(&organizations).is_empty());
    assert!(organizations.would_be(&"e".into(), "one").is_ok());
}

#[test]
fn where_upstream_does_not_say_it_the_configs_word_counts_and_a_missing_one_stays_open() {
    let organizations = organizations();
    for (org, unsaid, settled) in [
        ("acme", Unsaid::Open, false),
        ("acme", Unsaid::Unknown, false),
        ("globex", Unsaid::Withheld, false),
        ("acme", Unsaid::Withheld, true),
    ] {
        organizations.hear_none(&org.into(), unsaid);
        assert_eq!(organizations.is_settled(&org.into()), settled, "{unsaid:?}");
    }
}

#[test]
fn of_another_credential_that_may_not_ask_the_configs_word_counts() {
    let organizations = organizations();
    for org in ["acme", "globex"] {
        let org = org.into();
        organizations.hear(&org, organization("two"));
        organizations.hear(&org, organization("three"));
        organizations.trust(&org);
    }
    assert!(organizations.is_settled(&"acme".into()));
    assert_eq!(in_trouble(&organizations), ["globex"], "nobody has written what it is");
}
