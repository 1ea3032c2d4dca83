//! A rule that is not in force decides nothing.

use proptest::prelude::*;

use super::*;
use crate::rule::{Share, Stance};

/// A sum that no `Long` holds, on calls that say a long timeout; ordinary ones it survives.
const OVERFLOWS: &str = "context.timeout_seconds * 1000000000000000 > 9000000000000000000";

/// What a small rule is made of.
#[derive(Clone, Debug)]
struct Small {
    effect: &'static str,
    head: &'static str,
    condition: &'static str,
    mode: Mode,
    share: &'static str,
}

impl Small {
    fn text(&self, index: usize, annotations: &str) -> String {
        let Self { effect, head, condition, .. } = self;
        format!("@id(\"r{index}\") {annotations} {effect}({head}) when {{ {condition} }};\n")
    }

    fn is_in_force(&self, index: usize, draw: u128) -> bool {
        let share = Share::try_from(self.share.parse::<f64>().unwrap()).unwrap();
        let rule = RuleId::from(format!("rules.r{index}").as_str());
        Stance { mode: self.mode, share }.of(&rule, Draw::new(draw)) == Mode::Enforce
    }
}

fn small() -> impl Strategy<Value = Small> {
    const HEADS: [&str; 5] = [
        "principal, action == Action::\"CreatePrebuild\", resource",
        "principal == Subject::\"acme/ci\", action == Action::\"CreatePrebuild\", resource",
        "principal in Org::\"globex\", action == Action::\"CreatePrebuild\", resource",
        "principal, action == Action::\"CreatePrebuild\", resource == Project::\"11111111-1111-4111-8111-111111111111\"",
        "principal is Subject, action == Action::\"CreatePrebuild\", resource in Org::\"acme\"",
    ];
    const CONDITIONS: [&str; 6] = [
        "true",
        "context.hour < 12",
        "context.hour >= 12",
        "!context.timeout_given",
        OVERFLOWS,
        "context has environment_class && principal.id == \"ci\"",
    ];
    (
        prop::sample::select(vec!["permit", "forbid"]),
        prop::sample::select(HEADS.to_vec()),
        prop::sample::select(CONDITIONS.to_vec()),
        prop::sample::select(vec![Mode::Off, Mode::Audit, Mode::Warn, Mode::Enforce]),
        prop::sample::select(vec!["1", "0.5", "0.1"]),
    )
        .prop_map(|(effect, head, condition, mode, share)| Small {
            effect,
            head,
            condition,
            mode,
            share,
        })
}

fn create(hour: u64, seconds: Option<i64>, class: bool) -> Asking {
    Asking::of(&rpc::CREATE_PREBUILD).at(hour * 60 * 60).with(|facts| {
        facts.timeout = seconds.map(|seconds| Timeout { seconds, nanos: 0 });
        facts.class = facts.class.take().filter(|_| class);
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]

    /// Against the same rules without those not in force; and against the rules' meaning, told once more.
    #[test]
    fn rules_not_in_force_change_no_verdict(
        all in prop::collection::vec(small(), 0..7),
        draw in any::<u128>(),
        forbids in any::<bool>(),
        hour in 0_u64..24,
        seconds in prop::sample::select(vec![None, Some(600), Some(7200), Some(20_000)]),
        class in any::<bool>(),
    ) {
        let otherwise = if forbids { Otherwise::Forbid } else { Otherwise::Permit };
        let asking = Asking { draw, ..create(hour, seconds, class) };
        let annotated = |(index, rule): (usize, &Small)| {
            rule.text(index, &format!("@mode(\"{}\") @share(\"{}\")", rule.mode.as_str(), rule.share))
        };
        let with = compiled(&all.iter().enumerate().map(annotated).collect::<String>(), otherwise);
        let in_force = all.iter().enumerate().filter(|(index, rule)| rule.is_in_force(*index, draw));
        let without: String = in_force.map(|(index, rule)| rule.text(index, "")).collect();
        let without = compiled(&without, otherwise);
        prop_assert_eq!(asking.refused_by(&with), asking.refused_by(&without));
        // A ruling in another mode never refuses, and there is none of a rule that is off.
        for (rule, mode, _) in asking.outcomes(&with) {
            prop_assert!(mode != Mode::Off, "{}", rule);
        }
    }
}

#[test]
fn a_shadow_permit_permits_nothing() {
    for (mode, expected) in [("off", true), ("audit", true), ("warn", true), ("enforce", false)] {
        let text = format!("@id(\"p\") @mode(\"{mode}\") permit(principal, action, resource);");
        let refused = Asking::of(&rpc::LIST_PREBUILDS).refused_by(&compiled(&text, Otherwise::Forbid));
        assert_eq!(refused == ["rules.default"], expected, "{mode}");
    }
}

#[test]
fn a_shadow_forbid_refuses_nothing_and_tells() {
    for (mode, told) in [("off", None), ("audit", Some(Mode::Audit)), ("warn", Some(Mode::Warn))] {
        let rules = rules(&format!("@id(\"f\") @mode(\"{mode}\") forbid(principal, action, resource);"));
        let asking = Asking::of(&rpc::LIST_PREBUILDS);
        assert!(asking.refused_by(&rules).is_empty());
        let expected: Vec<_> =
            told.map(|mode| ("rules.f".to_owned(), mode, Outcome::Broken)).into_iter().collect();
        assert_eq!(asking.outcomes(&rules), expected);
    }
}

#[test]
fn a_rule_that_cannot_be_told_refuses_where_it_is_in_force() {
    for effect in ["forbid", "permit"] {
        for (mode, expected) in [("audit", false), ("warn", false), ("off", false), ("enforce", true)] {
            let text = format!(
                "@id(\"sum\") @mode(\"{mode}\") {effect}(principal, action == Action::\"CreatePrebuild\", resource)
                 when {{ {OVERFLOWS} }};"
            );
            let rules = rules(&text);
            let asking = create(12, Some(20_000), true);
            assert_eq!(asking.refused_by(&rules) == ["rules.sum"], expected, "{effect} {mode}");
            let failed = asking.outcomes(&rules).iter().any(|(_, _, outcome)| *outcome == Outcome::Failed);
            assert_eq!(failed, mode != "off");
            assert!(create(12, Some(600), true).refused_by(&rules).is_empty());
        }
    }
}

#[test]
fn a_failing_permit_is_not_made_good_by_another() {
    let text = format!(
        "@id(\"sum\") permit(principal, action == Action::\"CreatePrebuild\", resource) when {{ {OVERFLOWS} }};
         @id(\"all\") permit(principal, action, resource);"
    );
    let asking = create(12, Some(20_000), true);
    for otherwise in [Otherwise::Permit, Otherwise::Forbid] {
        assert_eq!(asking.refused_by(&compiled(&text, otherwise)), ["rules.sum"]);
    }
}

#[test]
fn a_share_refuses_its_share() {
    let rules = rules("@id(\"f\") @share(\"0.25\") forbid(principal, action, resource);");
    let refused = (0..400)
        .filter(|draw| {
            !Asking { draw: *draw, ..Asking::of(&rpc::LIST_PREBUILDS) }.refused_by(&rules).is_empty()
        })
        .count();
    assert!((60..140).contains(&refused), "{refused}");
}
