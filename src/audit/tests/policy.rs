//! What a record tells of the policy.

use serde_json::Value;

use super::{Record, create, read};
use crate::{
    audit::record::Client,
    error::{Error, Reason},
    rule::{Applied, Mode, Outcome, Ruling, Version},
};

/// As it stands in the log, without its beginning.
fn shown(record: &Record) -> Value {
    let tail = String::from_utf8(record.tail()).unwrap();
    read::flat(&serde_json::from_str(&format!("{{\"unmapped\":{{{tail}")).unwrap())
}

fn broken(rule: &str, mode: Mode) -> Ruling {
    let applied = Applied { rule: rule.into(), mode, candidate: false, value: (), link: None };
    applied.ruling(Outcome::Broken).on("spec.timeout").within("at most 30m")
}

#[test]
fn a_record_names_the_policy_and_what_was_broken_what_refused_first() {
    let call = create();
    // Opened before any policy had a word.
    let mut record = Record::of(&call);
    call.context.set_policy(Version::of(["policy"]));
    let audited = (0..40).map(|number| broken(&format!("rules.{number}"), Mode::Audit));
    call.context.add_rulings(audited.chain([broken("limits.max_timeout", Mode::Enforce)]));
    record.ends(&Err(Error::refuse(Reason::PolicyDenied)), &call.context, Client::There);
    let record = shown(&record);
    assert_eq!(record["policy"], Version::of(["policy"]).as_str());
    let rulings = record["rulings"].as_array().unwrap();
    assert_eq!(rulings.len(), 32);
    assert_eq!(
        rulings[0],
        serde_json::json!({
            "rule": "limits.max_timeout",
            "mode": "enforce",
            "outcome": "broken",
            "field": "spec.timeout",
            "bound": "at most 30m",
        })
    );
    assert_eq!(rulings[1]["rule"], "rules.0");
    // An intent names it, too.
    assert!(shown(&Record::of(&call))["policy"].is_string());
}

#[test]
fn what_is_broken_is_on_record_however_much_is_kept() {
    let call = create();
    call.context.set_dry_run();
    let kept =
        |number| Ruling { outcome: Outcome::Kept, ..broken(&format!("rules.{number}"), Mode::Enforce) };
    call.context.add_rulings((0..300).map(kept));
    call.context.add_rulings([broken("rules.tried", Mode::Audit)]);
    assert_eq!(call.context.rulings().len(), 256);
    let record = shown(&Record::of(&call));
    assert_eq!(record["rulings"].as_array().unwrap().len(), 32);
    assert_eq!(record["rulings"][0]["rule"], "rules.tried");
}
