//! What is kept of how many creations.

use super::*;

fn at(millis: usize) -> Stamp {
    Stamp(Duration::from_millis(millis as u64))
}

fn window(most: usize) -> Window {
    Window { length: Duration::from_secs(3600), most }
}

/// Audited windows may be large, and projects many.
#[test]
fn of_an_org_as_many_are_kept_as_its_largest_budget_asks_for() {
    let mut creations = Creations::default();
    for made in 1..=MAX_KEPT + 500 {
        creations.add(at(made), &format!("project-{:03}", made % 300), window(0));
    }
    assert_eq!(creations.len(), MAX_KEPT);
    let kept = creations.within(at(MAX_KEPT + 501), Duration::from_secs(3600), |_| true);
    assert_eq!((kept[0], kept.len()), (at(501), MAX_KEPT), "the newest");
}

#[test]
fn what_a_budget_of_a_project_in_force_counts_is_kept_whatever_others_create() {
    let mut creations = Creations::default();
    for made in 1..=6 {
        creations.add(at(made), "mine", window(4));
    }
    for made in 7..MAX_KEPT + 100 {
        creations.add(at(made), "another", window(0));
    }
    let mine = creations.within(at(MAX_KEPT + 100), Duration::from_secs(3600), |project| project == "mine");
    assert_eq!(mine, [at(3), at(4), at(5), at(6)]);
    creations.forget("mine", at(5));
    let mine = creations.within(at(MAX_KEPT + 100), Duration::from_secs(3600), |project| project == "mine");
    assert_eq!(mine, [at(3), at(4), at(6)]);
}
