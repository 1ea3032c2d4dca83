//! What is only looked at decides nothing: with it and without it, all that is in force answers the same.

use std::time::Duration;

use proptest::{collection::vec, prelude::*};

use super::{Demand, costing, demand, faked, rate};

/// One call: the time since the last one, who calls, and what it asks for.
type Step = (u64, Vec<Demand>);

fn any_demand(subject: &'static str) -> impl Strategy<Value = Demand> {
    let rule = prop::sample::select(vec!["all", "read", "mutate", "expensive"]);
    let numbers = (1_u32..5, 1_u32..8, 1_u32..4);
    (any::<bool>(), rule, numbers, any::<bool>(), any::<bool>()).prop_map(
        move |(is_subjects, rule, (calls, burst, cost), candidate, in_force)| {
            let mut demand = demand(is_subjects.then_some(subject), rule, rate(calls, burst));
            demand.bucket.candidate = candidate && !in_force;
            demand.in_force = in_force;
            costing(cost, demand)
        },
    )
}

fn any_step() -> impl Strategy<Value = Step> {
    let demands =
        prop::sample::select(vec!["ci", "cd"]).prop_flat_map(|subject| vec(any_demand(subject), 0..8));
    (0_u64..400, demands)
}

/// One subject that calls far too often is no reason to say that the org's audited rate would refuse everybody.
#[test]
fn what_is_refused_is_not_taken_of_what_is_only_looked_at() {
    let (local, _) = faked();
    let own = |subject| demand(Some(subject), "rates.subject.all", rate(1, 1));
    let audited = Demand { in_force: false, ..demand(None, "rates.org.all", rate(1, 3)) };
    let asked = |subject| [own(subject), audited.clone()];
    for turn in 0..50 {
        let taken = local.take(&asked("noisy"));
        assert_eq!(taken[0].is_refused(), turn > 0);
        assert!(!taken[1].is_refused(), "{turn}");
    }
    for (subject, is_over) in [("ci", false), ("cd", false), ("ada", true)] {
        assert_eq!(local.take(&asked(subject))[1].is_refused(), is_over, "{subject}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn shadows_and_candidates_never_decide(steps in vec(any_step(), 1..60)) {
        let ((with, clock), (without, other)) = (faked(), faked());
        for (millis, demands) in steps {
            clock.advance(Duration::from_millis(millis));
            other.advance(Duration::from_millis(millis));
            let in_force: Vec<_> = demands.iter().filter(|demand| demand.in_force).cloned().collect();
            let taken = with.take(&demands);
            let decided: Vec<_> =
                demands.iter().zip(&taken).filter(|(demand, _)| demand.in_force).map(|(_, taken)| *taken).collect();
            prop_assert_eq!(decided, without.take(&in_force));
        }
    }
}
