//! The books of one org: what is written down, what leaves them and when.

use std::time::Duration;

use super::Books;
use crate::{
    budget::claim::{Claim, End, Limit, Present, Sight, Verdict, Work},
    call::{Counted, Extent, RequestId, Standing, StandingPool},
    rule::{BudgetOf, Burden, Selection},
};

pub(in crate::budget) mod model;

const LAG: Duration = Duration::from_secs(2);
const LATE: Duration = Duration::from_secs(60);

fn at(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn limit(burden: Burden, of: BudgetOf) -> Limit {
    Limit { burden, of, is_enforced: true }
}

fn running(max: u32) -> Limit {
    limit(Burden::RunningPrebuilds(max), BudgetOf::Org)
}

fn warm(max: u32) -> Limit {
    limit(Burden::WarmInstances(max), BudgetOf::Org)
}

fn prebuild(project: &str, limits: &[Limit]) -> Claim {
    Claim {
        shown: Selection::default(),
        request: RequestId::new(),
        project: project.to_owned(),
        work: Work::Prebuild,
        limits: limits.to_vec(),
    }
}

fn pool(id: &str, max: u32, present: Option<(u32, u64)>, limits: &[Limit]) -> Claim {
    let present = present.map(|(max, version)| Present { max, version });
    let work = Work::Pool { id: id.to_owned(), max, present };
    Claim { work, ..prebuild("p", limits) }
}

fn sight(id: &str, has_ended: bool) -> Sight {
    Sight { id: id.to_owned(), project: "p".to_owned(), has_ended, pool: None }
}

fn pool_sight(id: &str, max: u32, version: u64) -> Sight {
    Sight { pool: Some(Present { max, version }), ..sight(id, false) }
}

fn standing(ids: &[&str], extent: Extent) -> Counted {
    let standing = |id: &&str| Standing { id: (*id).to_owned(), project: "p".to_owned() };
    Counted { prebuilds: ids.iter().map(standing).collect(), pools: Vec::new(), extent }
}

fn pools(pools: &[(&str, u32, u64)]) -> Counted {
    let pool = |(id, max, version): &(&str, u32, u64)| StandingPool {
        id: (*id).to_owned(),
        project: "p".to_owned(),
        max: *max,
        version: *version,
    };
    Counted { pools: pools.iter().map(pool).collect(), ..Counted::default() }
}

/// Books in which these prebuilds were counted at 0.
fn counted(ids: &[&str]) -> Books {
    let mut books = Books::new(LAG);
    census(&mut books, 0, standing(ids, Extent::Whole));
    books
}

fn census(books: &mut Books, seconds: u64, counted: Counted) {
    let begun = books.begin(at(seconds));
    books.apply(at(seconds), begun, counted);
}

fn is_taken(verdict: &Verdict) -> bool {
    matches!(verdict, Verdict::Taken(_))
}

/// A claim that was taken.
fn take(books: &mut Books, seconds: u64, claim: Claim) -> RequestId {
    let verdict = books.claim(at(seconds), &claim, None);
    assert!(is_taken(&verdict), "{verdict:?}");
    claim.request
}

/// What is used of a budget of the org's prebuilds.
fn used(books: &mut Books, seconds: u64) -> u32 {
    books.look(at(seconds), &prebuild("p", &[running(1)])).unwrap()[0].used
}

fn used_warm(books: &mut Books, seconds: u64) -> u32 {
    let claim = Claim { work: Work::NewPool { max: 1 }, ..prebuild("p", &[warm(1)]) };
    books.look(at(seconds), &claim).unwrap()[0].used
}

#[test]
fn nothing_in_force_is_granted_before_the_first_census() {
    let mut books = Books::new(LAG);
    let claim = prebuild("p", &[running(10)]);
    assert_eq!(books.claim(at(0), &claim, None), Verdict::Uncounted);
    assert_eq!(books.look(at(0), &claim), None);
    let audited = prebuild("p", &[Limit { is_enforced: false, ..running(10) }]);
    assert!(is_taken(&books.claim(at(1), &audited, None)), "what is only looked at keeps nobody waiting");
    census(&mut books, 2, standing(&["a", "b"], Extent::Whole));
    assert_eq!(used(&mut books, 2), 3, "two were there, and one is under way");
    assert!(is_taken(&books.claim(at(3), &claim, None)));
}

#[test]
fn a_claim_is_taken_in_all_limits_or_in_none() {
    let mut books = counted(&["a"]);
    let creates = limit(Burden::Creates { count: 1, window: at(100) }, BudgetOf::Project);
    let verdict = books.claim(at(1), &prebuild("p", &[creates, running(1)]), None);
    let Verdict::Full(counts) = verdict else { panic!("{verdict:?}") };
    assert_eq!((counts[0].is_within(), counts[1].is_within()), (true, false));
    assert_eq!(counts[1].holders, ["a"]);
    take(&mut books, 2, prebuild("p", &[creates, running(2)]));
}

#[test]
fn a_limit_that_is_only_looked_at_decides_nothing() {
    let mut books = counted(&["a", "b"]);
    let audited = Limit { is_enforced: false, ..running(1) };
    let verdict = books.claim(at(1), &prebuild("p", &[audited, running(3)]), None);
    let Verdict::Taken(counts) = verdict else { panic!("{verdict:?}") };
    assert_eq!((counts[0].is_within(), counts[1].is_within()), (false, true));
}

#[test]
fn a_project_counts_for_itself() {
    let mut books = Books::new(LAG);
    census(&mut books, 0, standing(&["a"], Extent::Whole));
    let of_project = limit(Burden::RunningPrebuilds(1), BudgetOf::Project);
    assert!(!is_taken(&books.claim(at(1), &prebuild("p", &[of_project]), None)));
    let request = take(&mut books, 2, prebuild("q", &[of_project]));
    assert!(!is_taken(&books.claim(at(3), &prebuild("q", &[of_project]), None)));
    books.settle(at(4), request, End::Nothing, LATE);
    take(&mut books, 5, prebuild("q", &[of_project]));
}

/// By what each end leaves behind at once, at a census that begins too early to tell, and at one that can tell.
#[test]
fn ends_of_calls() {
    for (end, at_once, early, late) in [
        (End::Shown(sight("a", false)), 1, 1, 0),
        (End::Shown(sight("a", true)), 0, 0, 0),
        (End::Nothing, 0, 0, 0),
        (End::Unknown, 1, 1, 0),
    ] {
        let mut books = counted(&[]);
        let begun = books.begin(at(9));
        let request = take(&mut books, 10, prebuild("p", &[running(1)]));
        books.settle(at(11), request, end.clone(), LATE);
        assert_eq!(used(&mut books, 11), at_once, "{end:?}");
        books.apply(at(12), begun, standing(&[], Extent::Whole));
        assert_eq!(used(&mut books, 12), early, "{end:?}");
        census(&mut books, 72, standing(&[], Extent::Whole));
        assert_eq!(used(&mut books, 72), late, "{end:?}");
    }
}

#[test]
fn an_unknown_outcome_counts_beside_what_it_may_have_made_until_it_is_too_late_for_it() {
    let mut books = counted(&[]);
    let request = take(&mut books, 10, prebuild("p", &[running(2)]));
    books.settle(at(10), request, End::Unknown, LATE);
    census(&mut books, 20, standing(&["made"], Extent::Whole));
    assert_eq!(used(&mut books, 20), 2);
    assert_eq!((books.tally().doubts, books.tally().running), (1, 1));
    census(&mut books, 69, standing(&["made"], Extent::Whole));
    assert_eq!(used(&mut books, 69), 2);
    census(&mut books, 71, standing(&["made"], Extent::Whole));
    assert_eq!(used(&mut books, 71), 1);
}

#[test]
fn an_end_that_comes_after_all_settles_a_doubt() {
    let mut books = counted(&[]);
    let request = take(&mut books, 1, prebuild("p", &[running(1)]));
    books.settle(at(2), request, End::Unknown, LATE);
    books.settle(at(3), request, End::Nothing, LATE);
    assert_eq!(used(&mut books, 3), 0);
    books.settle(at(4), request, End::Unknown, LATE);
    assert_eq!(used(&mut books, 4), 0, "nothing is open any more");
}

#[test]
fn what_has_ended_is_not_revived() {
    let mut books = counted(&["a"]);
    let begun = books.begin(at(10));
    books.see(at(11), [sight("a", true)]);
    books.see(at(12), [sight("a", false)]);
    assert_eq!(used(&mut books, 12), 0, "an older read");
    books.apply(at(13), begun, standing(&["a"], Extent::Whole));
    assert_eq!(used(&mut books, 13), 0, "an older census");
    census(&mut books, 12 + LAG.as_secs(), standing(&[], Extent::Whole));
    let request = take(&mut books, 20, prebuild("p", &[running(1)]));
    books.see(at(21), [sight("b", true)]);
    census(&mut books, 30, standing(&[], Extent::Whole));
    books.settle(at(31), request, End::Shown(sight("b", false)), LATE);
    assert_eq!(used(&mut books, 31), 0, "the answer of the call that made it came late");
}

#[test]
fn of_two_censuses_the_one_that_was_begun_later_counts() {
    let mut books = counted(&[]);
    let (first, second) = (books.begin(at(10)), books.begin(at(11)));
    books.apply(at(12), second, standing(&["b"], Extent::Whole));
    books.apply(at(13), first, standing(&["a"], Extent::Whole));
    assert_eq!(used(&mut books, 13), 1);
}

#[test]
fn a_list_that_is_older_than_an_answer_takes_nothing_away() {
    let mut books = counted(&[]);
    let request = take(&mut books, 10, prebuild("p", &[running(1)]));
    books.settle(at(10), request, End::Shown(sight("a", false)), LATE);
    census(&mut books, 11, standing(&[], Extent::Whole));
    assert_eq!(used(&mut books, 11), 1);
    census(&mut books, 13, standing(&[], Extent::Whole));
    assert_eq!(used(&mut books, 13), 0);
}

#[test]
fn what_several_pages_do_not_show_may_have_been_overlooked_once() {
    let mut books = counted(&["a", "b"]);
    census(&mut books, 10, standing(&["a"], Extent::Paged));
    assert_eq!(used(&mut books, 10), 2);
    census(&mut books, 20, standing(&["a", "b"], Extent::Paged));
    census(&mut books, 30, standing(&["a"], Extent::Paged));
    assert_eq!(used(&mut books, 30), 2);
    census(&mut books, 40, standing(&["a"], Extent::Paged));
    assert_eq!(used(&mut books, 40), 1);
    census(&mut books, 50, standing(&[], Extent::Cut));
    assert_eq!(used(&mut books, 50), 1);
}

#[test]
fn creations_are_counted_in_any_stretch_of_the_window() {
    let window = at(100);
    let creates = limit(Burden::Creates { count: 2, window }, BudgetOf::Project);
    let mut books = counted(&[]);
    for second in [10, 40] {
        let request = take(&mut books, second, prebuild("p", &[creates]));
        books.settle(at(second), request, End::Shown(sight("a", true)), LATE);
    }
    for (second, wait) in [(41, 69), (109, 1)] {
        let Verdict::Full(counts) = books.claim(at(second), &prebuild("p", &[creates]), None) else {
            panic!()
        };
        assert_eq!((counts[0].used, counts[0].room_in), (2, Some(at(wait))));
        take(&mut books, second, prebuild("q", &[creates]));
    }
    take(&mut books, 110, prebuild("p", &[creates]));
    assert!(!is_taken(&books.claim(at(139), &prebuild("p", &[creates]), None)));
    take(&mut books, 140, prebuild("p", &[creates]));
    census(&mut books, 1000, Counted::default());
    assert_eq!(books.creations.len(), 0);
}

/// The budget is for what is made; how often one asks is the rates'.
#[test]
fn a_creation_that_was_refused_does_not_count() {
    let creates = limit(Burden::Creates { count: 1, window: at(100) }, BudgetOf::Project);
    let mut books = counted(&[]);
    let request = take(&mut books, 1, prebuild("p", &[creates]));
    books.settle(at(2), request, End::Nothing, LATE);
    let request = take(&mut books, 3, prebuild("p", &[creates]));
    books.settle(at(4), request, End::Unknown, LATE);
    assert!(!is_taken(&books.claim(at(5), &prebuild("p", &[creates]), None)), "it may have been made");
}

#[test]
fn a_window_that_allows_none_has_no_room_ever() {
    let none = limit(Burden::Creates { count: 0, window: at(100) }, BudgetOf::Project);
    assert!(!is_taken(&counted(&[]).claim(at(1), &prebuild("p", &[none]), None)));
    let none = limit(Burden::RunningPrebuilds(0), BudgetOf::Org);
    assert!(!is_taken(&counted(&[]).claim(at(1), &prebuild("p", &[none]), None)));
}

#[test]
fn a_pool_counts_as_the_most_that_it_may_be() {
    let mut books = Books::new(LAG);
    census(&mut books, 0, pools(&[("a", 5, 1), ("b", 3, 1)]));
    assert_eq!(used_warm(&mut books, 1), 8);
    // Grown: reserved at once.
    let grown = take(&mut books, 2, pool("a", 7, Some((5, 1)), &[warm(10)]));
    assert_eq!(used_warm(&mut books, 2), 10);
    assert!(!is_taken(&books.claim(at(3), &pool("b", 4, Some((3, 1)), &[warm(10)]), None)));
    books.settle(at(4), grown, End::Shown(pool_sight("a", 7, 2)), LATE);
    assert_eq!(used_warm(&mut books, 4), 10);
    // Shrunk: given back when it has succeeded.
    let shrunk = take(&mut books, 5, pool("a", 2, Some((7, 2)), &[warm(10)]));
    assert_eq!(used_warm(&mut books, 5), 10);
    books.settle(at(6), shrunk, End::Shown(pool_sight("a", 2, 3)), LATE);
    assert_eq!(used_warm(&mut books, 6), 5);
}

#[test]
fn a_pool_above_a_limit_that_was_lowered_can_be_made_smaller() {
    let mut books = Books::new(LAG);
    census(&mut books, 0, pools(&[("a", 9, 1)]));
    take(&mut books, 1, pool("a", 8, Some((9, 1)), &[warm(3)]));
    let mut books = Books::new(LAG);
    census(&mut books, 0, pools(&[("a", 9, 1)]));
    assert!(!is_taken(&books.claim(at(1), &pool("a", 10, Some((9, 1)), &[warm(3)]), None)));
}

#[test]
fn an_unknown_update_counts_as_the_larger_one_until_it_is_too_late_for_it() {
    let mut books = Books::new(LAG);
    census(&mut books, 0, pools(&[("a", 5, 1)]));
    for max in [2, 9] {
        let request = take(&mut books, 10, pool("a", max, Some((5, 1)), &[warm(20)]));
        books.settle(at(11), request, End::Unknown, LATE);
    }
    census(&mut books, 20, pools(&[("a", 2, 2)]));
    assert_eq!(used_warm(&mut books, 20), 9);
    census(&mut books, 80, pools(&[("a", 2, 2)]));
    assert_eq!(used_warm(&mut books, 80), 2);
}

/// By its version: answers of two changes may come in any order, and a list may be older than both.
#[test]
fn the_newer_state_of_a_pool_counts() {
    let mut books = Books::new(LAG);
    census(&mut books, 0, pools(&[("a", 5, 1)]));
    let one = take(&mut books, 10, pool("a", 7, Some((5, 1)), &[warm(20)]));
    let two = take(&mut books, 10, pool("a", 6, Some((5, 1)), &[warm(20)]));
    books.settle(at(11), two, End::Shown(pool_sight("a", 6, 3)), LATE);
    books.settle(at(12), one, End::Shown(pool_sight("a", 7, 2)), LATE);
    assert_eq!(used_warm(&mut books, 12), 6);
    books.see(at(13), [pool_sight("a", 5, 1)]);
    census(&mut books, 30, pools(&[("a", 5, 1)]));
    assert_eq!(used_warm(&mut books, 30), 6);
    books.see(at(31), [pool_sight("a", 8, 4)]);
    assert_eq!(used_warm(&mut books, 31), 8);
    // A change past the gateway, as the look-up of a call shows it.
    take(&mut books, 32, pool("a", 8, Some((9, 5)), &[warm(20)]));
    assert_eq!(used_warm(&mut books, 32), 9);
    census(&mut books, 40, pools(&[]));
    assert_eq!(used_warm(&mut books, 40), 8, "the call is still under way");
}

#[test]
fn one_object_in_two_spellings_is_one() {
    let (small, large) = ("0198c0de-0000-7000-8000-00000000000a", "0198C0DE-0000-7000-8000-00000000000A");
    let mut books = counted(&[]);
    let request = take(&mut books, 1, prebuild("p", &[running(2)]));
    books.settle(at(2), request, End::Shown(sight(small, false)), LATE);
    census(&mut books, 10, standing(&[large], Extent::Whole));
    assert_eq!(used(&mut books, 10), 1);
}

#[test]
fn closed_books_keep_only_what_is_under_way() {
    let mut books = counted(&["a"]);
    let request = take(&mut books, 1, prebuild("p", &[running(2)]));
    books.close();
    assert!(!books.is_blank(at(2)));
    assert_eq!(books.claim(at(2), &prebuild("p", &[running(2)]), None), Verdict::Uncounted);
    census(&mut books, 3, standing(&["a"], Extent::Whole));
    assert_eq!(used(&mut books, 3), 2);
    books.settle(at(4), request, End::Nothing, LATE);
    books.close();
    assert!(books.is_blank(at(5)));
    let request = take(&mut books, 6, prebuild("p", &[]));
    books.settle(at(7), request, End::Unknown, LATE);
    assert!(!books.is_blank(at(66)), "it may still take effect");
    assert!(books.is_blank(at(67)));
}
