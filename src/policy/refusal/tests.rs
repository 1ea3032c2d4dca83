//! What the caller is told of the rules that it breaks.

use std::sync::Arc;

use prost::Message as _;
use tonic_types::pb;

use super::{MAX_SHOWN, refuse};
use crate::{
    error::{Code, Detail, Error, Reason, Sent},
    rule::{Applied, Mode, Outcome, Ruling},
};

fn ruling(rule: &str, mode: Mode, outcome: Outcome) -> Ruling {
    let link = Some(Arc::from("https://example.com/policy"));
    Applied { rule: rule.into(), mode, candidate: false, value: (), link }.ruling(outcome)
}

fn detail<D: Detail + Default>(error: &Error) -> Option<D> {
    let found = error.details.iter().find(|any| D::is(any))?;
    Some(D::decode(&found.value[..]).unwrap())
}

#[test]
fn only_a_broken_rule_in_force_refuses() {
    let candidate = Ruling { candidate: true, ..ruling("a", Mode::Enforce, Outcome::Broken) };
    let kept = ruling("b", Mode::Enforce, Outcome::Kept);
    let shadows = [Mode::Audit, Mode::Warn].map(|mode| ruling("c", mode, Outcome::Broken));
    assert!(refuse(&[]).is_none());
    assert!(refuse(&[candidate, kept, shadows[0].clone(), shadows[1].clone()]).is_none());
    assert!(refuse(&[ruling("d", Mode::Enforce, Outcome::Failed)]).is_some());
}

#[test]
fn all_rules_are_named_with_field_bound_message_and_link() {
    let mut rules_own = ruling("rules.no-nights", Mode::Enforce, Outcome::Broken);
    (rules_own.message, rules_own.link) = (Some("not at night".into()), None);
    let rulings = [
        ruling("limits.audited", Mode::Audit, Outcome::Broken).on("spec.timeout"),
        ruling("limits.max_timeout", Mode::Enforce, Outcome::Broken)
            .on("spec.timeout")
            .within("must be at most 60s"),
        ruling("limits.projects", Mode::Enforce, Outcome::Failed).on("prebuild_id"),
        rules_own,
    ];
    let error = refuse(&rulings).unwrap();
    assert_eq!((error.code, error.reason), (Code::PermissionDenied, Some(Reason::PolicyDenied)));
    assert_eq!((error.rule.as_deref(), error.sent), (Some("limits.max_timeout"), Sent::No));
    let found: pb::BadRequest = detail(&error).unwrap();
    let found: Vec<_> =
        found.field_violations.iter().map(|v| (v.field.as_str(), v.description.as_str())).collect();
    assert_eq!(
        found,
        [
            ("spec.timeout", "limits.max_timeout: must be at most 60s"),
            ("prebuild_id", "limits.projects: could not be judged"),
            ("", "rules.no-nights: not at night"),
        ]
    );
    let help: pb::Help = detail(&error).unwrap();
    let links: Vec<_> =
        help.links.iter().map(|link| (link.description.as_str(), link.url.as_str())).collect();
    assert_eq!(links, [("limits.max_timeout", "https://example.com/policy")], "each link once");
}

#[test]
fn without_a_link_there_is_no_help_and_many_rules_are_counted() {
    let broken = Ruling { link: None, ..ruling("a", Mode::Enforce, Outcome::Broken) };
    let error = refuse(&vec![broken; MAX_SHOWN + 3]).unwrap();
    assert_eq!(detail::<pb::Help>(&error), None);
    let found: pb::BadRequest = detail(&error).unwrap();
    assert_eq!(found.field_violations.len(), MAX_SHOWN + 1);
    assert_eq!(found.field_violations[0].description, "a: is broken");
    assert_eq!(found.field_violations[MAX_SHOWN].description, "3 more rules are broken");
}

#[test]
fn what_is_said_has_room_in_headers_whatever_is_broken() {
    for number in 1..=64 {
        let rulings: Vec<_> = (0..number)
            .map(|index| Ruling {
                message: Some("m".repeat(256).into()),
                link: Some(format!("https://example.com/{index:0>490}").into()),
                ..ruling(&format!("rules.{index:0>64}"), Mode::Enforce, Outcome::Broken)
            })
            .collect();
        let error = refuse(&rulings).unwrap();
        let size: usize = error.details.iter().map(prost_types::Any::encoded_len).sum();
        assert!(size <= 4 << 10, "{number}: {size}");
        let found = detail::<pb::BadRequest>(&error).unwrap().field_violations;
        let more = found.last().unwrap().description.strip_suffix(" more rules are broken");
        let more: usize = more.map_or(0, |more| more.parse().unwrap());
        assert_eq!(found.len() + more, if more == 0 { number } else { number + 1 });
        assert!(!detail::<pb::Help>(&error).unwrap().links.is_empty());
    }
}
