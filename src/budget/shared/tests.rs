//! A page by itself. What the store makes of it needs a real one: `tests/redis.rs`.

use std::time::Duration;

use proptest::prelude::*;

use super::{Page, Terms, shelf::MAX_PAGE};
use crate::{
    budget::{
        books::{
            Books, Stamp,
            tests::model::{Kept, events, hold},
        },
        claim::{Claim, End, Limit, Sight, Verdict, Work},
        ledger::Begin,
    },
    call::{Counted, RequestId, Standing},
    rule::{BudgetOf, Burden, Selection},
};

const LEASE: Duration = Duration::from_secs(60);
const TERMS: Terms = Terms {
    lag: Duration::from_secs(2),
    interval: Duration::from_secs(10),
    lease: LEASE,
    renewal: Duration::ZERO,
};

/// As the store has it between any two steps.
struct Written(String);

impl Kept for Written {
    const LEASE: Option<Duration> = Some(LEASE);

    fn new() -> Self {
        Self(String::new())
    }

    fn on<T>(&mut self, now: Duration, step: impl FnOnce(&mut Books, Duration) -> T) -> T {
        let mut page = Page::read(&self.0, true, now, TERMS);
        let now = page.time(now);
        let said = step(page.books(now), now);
        self.0 = written(&page);
        said
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() })]

    /// The model that the books in memory hold, with processes that are killed.
    #[test]
    fn what_holds_in_memory_holds_in_the_store(events in events()) {
        hold::<Written>(events)?;
    }
}

fn written(page: &Page) -> String {
    page.write(&page.content().unwrap()).unwrap()
}

fn at(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn claim() -> Claim {
    let limit = Limit { burden: Burden::RunningPrebuilds(2), of: BudgetOf::Org, is_enforced: true };
    Claim {
        request: RequestId::new(),
        project: "p".to_owned(),
        work: Work::Prebuild,
        limits: vec![limit],
        shown: Selection::default(),
    }
}

fn read(text: &str, is_sure: bool, seconds: u64) -> Page {
    Page::read(text, is_sure, at(seconds), TERMS)
}

/// Counted at `seconds`, with one that runs.
fn counted(page: &mut Page, seconds: u64) {
    let Begin::Now(begun) = page.begin(at(seconds)) else { panic!("not now") };
    let prebuilds = vec![Standing { id: "a".to_owned(), project: "p".to_owned() }];
    page.books(at(seconds)).apply(at(seconds), begun, Counted { prebuilds, ..Counted::default() });
}

fn used(page: &mut Page, seconds: u64) -> Option<u32> {
    page.books(at(seconds)).look(at(seconds), &claim()).map(|counts| counts[0].used)
}

fn take(page: &mut Page, seconds: u64) -> Verdict {
    page.books(at(seconds)).claim(at(seconds), &claim(), Some(LEASE))
}

fn again_in(page: &mut Page, seconds: u64) -> Option<Duration> {
    match page.begin(at(seconds)) {
        Begin::Now(_) => None,
        Begin::Later { again_in, .. } => Some(again_in),
    }
}

/// Calls may be under way that nobody knows of any more.
#[test]
fn lost_books_are_counted_when_the_longest_lease_has_passed() {
    for text in ["", "nonsense", "{}\n{}"] {
        let mut page = read(text, true, 100);
        assert_eq!(take(&mut page, 100), Verdict::Uncounted);
        assert_eq!(again_in(&mut page, 100), Some(LEASE), "{text}");
        let mut page = read(&written(&page), true, 130);
        assert_eq!(again_in(&mut page, 130), Some(at(30)));
        counted(&mut page, 160);
        assert_eq!(used(&mut page, 160), Some(1));
    }
}

/// What was written last may be missing; what was before is not.
#[test]
fn another_server_is_believed_what_is_under_way_and_no_more() {
    let mut page = read("", true, 0);
    counted(&mut page, 60);
    assert!(matches!(take(&mut page, 61), Verdict::Taken(_)));
    let mut page = read(&written(&page), false, 62);
    assert_eq!((take(&mut page, 62), used(&mut page, 62)), (Verdict::Uncounted, None));
    assert_eq!(again_in(&mut page, 63), Some(at(59)));
    let mut page = read(&written(&page), true, 100);
    assert_eq!(again_in(&mut page, 100), Some(at(22)), "written back, it is sure");
    counted(&mut page, 122);
    assert_eq!(used(&mut page, 122), Some(1));
}

#[test]
fn all_replicas_together_count_once_an_interval_and_sooner_where_it_settles_something() {
    let mut page = read("", true, 0);
    assert!(again_in(&mut page, 60).is_none());
    assert_eq!(
        again_in(&mut page, 60).map(|wait| wait.as_secs_f32().round()),
        Some(1.0),
        "who began may be gone"
    );
    counted(&mut page, 62);
    assert_eq!(again_in(&mut page, 64).map(|wait| wait.as_secs_f32().round()), Some(5.0));
    counted(&mut page, 69);
    assert!(matches!(take(&mut page, 69), Verdict::Taken(_)));
    for seconds in [79, 89, 99, 109, 119, 129, 139] {
        counted(&mut page, seconds);
    }
    assert_eq!(used(&mut page, 140), Some(1), "its lease had just passed");
    let claim = claim();
    page.books(at(140)).claim(at(140), &claim, Some(LEASE));
    page.books(at(140)).settle(at(140), claim.request, End::Unknown, at(2));
    assert_eq!(
        again_in(&mut page, 141).map(|wait| wait.as_secs_f32().round()),
        Some(5.0),
        "too early to tell"
    );
    assert!(again_in(&mut page, 143).is_none(), "it settles something");
}

#[test]
fn books_that_nobody_kept_have_grown_old() {
    let mut page = read("", true, 0);
    counted(&mut page, 60);
    assert!(matches!(take(&mut page, 399), Verdict::Taken(_)));
    assert_eq!(take(&mut page, 402), Verdict::Uncounted);
    assert!(again_in(&mut page, 403).is_none());
}

#[test]
fn a_clock_that_is_set_back_goes_on_from_where_it_was() {
    let mut page = read("", true, 1000);
    assert_eq!(page.time(at(1000)), at(1000));
    assert_eq!(page.time(at(1005)), at(1005));
    let mut page = read(&written(&page), true, 5);
    assert_eq!((page.time(at(5)), page.time(at(6))), (at(1005), at(1006)));
    assert_eq!(Stamp(at(3)), serde_json::from_str("3000000000").unwrap());
}

/// Another replica sends calls without claims: it has no budget for the org yet, or not any more.
#[test]
fn calls_that_no_books_know_of_close_them_until_they_are_over() {
    let mut page = read("", true, 0);
    counted(&mut page, 60);
    page.heed(at(140), at(80));
    assert_eq!((take(&mut page, 80), again_in(&mut page, 80)), (Verdict::Uncounted, Some(at(60))));
    let mut page = read(&written(&page), true, 141);
    page.heed(at(140), at(141));
    counted(&mut page, 141);
    assert_eq!(used(&mut page, 141), Some(1), "it is heeded once");
    // It was said while nobody looked, and is over.
    page.heed(at(145), at(150));
    assert_eq!(take(&mut page, 150), Verdict::Uncounted);
    counted(&mut page, 151);
    // The clock was set back since.
    page.heed(at(9000), at(152));
    assert_eq!(again_in(&mut page, 152), Some(LEASE));
}

/// As many prebuilds as a census reads, as many creations as are kept, and calls under way beside.
#[test]
fn the_largest_books_of_most_orgs_can_be_kept() {
    let mut page = read("", true, 0);
    let id = |at: usize| format!("0198c0de-0000-7000-8000-{at:012}");
    let standing = |at| Standing { id: id(at), project: id(at % 300) };
    let Begin::Now(begun) = page.begin(at(60)) else { panic!() };
    let counted = Counted { prebuilds: (0..10_000).map(standing).collect(), ..Counted::default() };
    let books = page.books(at(60));
    books.apply(at(60), begun, counted);
    let burden = Burden::Creates { count: 10_000, window: at(3600) };
    let limit = Limit { burden, of: BudgetOf::Org, is_enforced: false };
    let ended = Sight { id: String::new(), project: String::new(), has_ended: true, pool: None };
    for made in 0..10_000 {
        let claim = Claim { project: id(made % 300), limits: vec![limit], ..claim() };
        books.claim(at(61), &claim, Some(LEASE));
        if made >= 1_000 {
            books.settle(at(61), claim.request, End::Shown(ended.clone()), LEASE);
        }
    }
    let size = written(&page).len();
    assert!((MAX_PAGE / 2..MAX_PAGE).contains(&size), "{size}");
}
