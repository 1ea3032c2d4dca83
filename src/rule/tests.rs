//! Modes, shares, versions and rates, by themselves.

use super::*;

fn stance(mode: Mode, share: f64) -> Stance {
    Stance { mode, share: share.try_into().unwrap() }
}

#[test]
fn a_share_is_above_nothing_and_at_most_all() {
    for share in [0.0, -0.1, 1.000_001, f64::NAN, f64::INFINITY, 0.000_000_1] {
        assert_eq!(Share::try_from(share), Err(NotAShare), "{share}");
    }
    assert!(Share::try_from(1.0).unwrap().is_whole());
    assert!(!Share::try_from(0.999_999).unwrap().is_whole());
}

#[test]
fn a_share_of_the_calls_is_as_large_as_it_says() {
    let rule = RuleId::from("limits.max_timeout");
    let count = (0..10_000)
        .filter(|request| stance(Mode::Enforce, 0.1).of(&rule, Draw::new(*request)) == Mode::Enforce)
        .count();
    assert!((900..1100).contains(&count), "{count}");
}

#[test]
fn the_same_request_draws_the_same_and_another_rule_draws_anew() {
    let (one, other) = (RuleId::from("one"), RuleId::from("other"));
    let drawn = |rule: &RuleId| -> Vec<Mode> {
        (0..1000).map(|request| stance(Mode::Warn, 0.5).of(rule, Draw::new(request))).collect()
    };
    assert_eq!(drawn(&one), drawn(&one));
    assert_ne!(drawn(&one), drawn(&other));
}

#[test]
fn what_is_drawn_in_a_small_share_is_drawn_in_a_larger_one() {
    let rule = RuleId::from("rule");
    for request in (0..1000).map(Draw::new) {
        let within = |share| stance(Mode::Enforce, share).of(&rule, request) == Mode::Enforce;
        assert!(!within(0.1) || within(0.5));
    }
}

#[test]
fn calls_outside_the_share_are_audited_at_most() {
    let (rule, whole) = (RuleId::from("rule"), 1.0);
    let out = (0..).map(Draw::new).find(|draw| !draw.is_within(0.5.try_into().unwrap(), &rule)).unwrap();
    for (mode, outside) in [
        (Mode::Off, Mode::Off),
        (Mode::Audit, Mode::Off),
        (Mode::Warn, Mode::Audit),
        (Mode::Enforce, Mode::Audit),
    ] {
        assert_eq!(stance(mode, 0.5).of(&rule, out), outside);
        assert_eq!(stance(mode, whole).of(&rule, out), mode);
    }
}

#[test]
fn versions_tell_where_a_text_ends() {
    assert_ne!(Version::of(["ab", "c"]), Version::of(["a", "bc"]));
    assert_eq!(Version::of(["ab", "c"]), Version::of(["ab", "c"]));
    assert_eq!(Version::of([""]).as_str().len(), 16);
}

#[test]
fn only_a_live_rule_in_force_refuses() {
    let applied = |mode, candidate| Applied { rule: "r".into(), mode, candidate, value: (), link: None };
    let broken = |mode, candidate| applied(mode, candidate).ruling(Outcome::Broken);
    assert!(broken(Mode::Enforce, false).refuses());
    assert!(!broken(Mode::Enforce, true).refuses());
    assert!(!broken(Mode::Warn, false).refuses() && broken(Mode::Warn, false).warns());
    assert!(!broken(Mode::Audit, false).refuses() && !broken(Mode::Audit, false).warns());
    assert!(!applied(Mode::Enforce, false).ruling(Outcome::Kept).refuses());
    assert!(applied(Mode::Enforce, false).ruling(Outcome::Failed).refuses());
}

#[test]
fn a_rate_is_per_second_minute_or_hour() {
    let read = |text: &str| toml::from_str::<Rate>(text);
    assert_eq!(read("per_minute = 3\nburst = 2").unwrap().to_string(), "3 per minute, bursts of 2");
    assert_eq!(read("per_hour = 3\nburst = 2").unwrap().per, Duration::from_secs(3600));
    for text in ["burst = 2", "per_second = 1\nper_hour = 1\nburst = 2"] {
        assert!(read(text).unwrap_err().to_string().contains("one of `per_second`"), "{text}");
    }
}
