//! The books beside an upstream that does whatever it likes with what it is sent: random calls, answers, losses, ends and
//! censuses in any order, and what is promised holds at every step.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use proptest::prelude::*;

use super::{
    super::{Books, Stamp},
    LAG, LATE, at, pool, pools, prebuild, running, sight, standing, warm,
};
use crate::{
    budget::claim::{Claim, Count, End, Present, Sight, Verdict, Work},
    call::{Counted, Extent, RequestId, Standing},
};

const RUNNING: u32 = 3;
const WARM: u32 = 12;

/// Books, wherever they are.
pub(in crate::budget) trait Kept {
    /// Claims that nobody settles go by themselves.
    const LEASE: Option<Duration>;

    fn new() -> Self;
    fn on<T>(&mut self, now: Duration, step: impl FnOnce(&mut Books, Duration) -> T) -> T;
}

impl Kept for Books {
    const LEASE: Option<Duration> = None;

    fn new() -> Self {
        Self::new(LAG)
    }

    fn on<T>(&mut self, now: Duration, step: impl FnOnce(&mut Books, Duration) -> T) -> T {
        step(self, now)
    }
}

/// One thing that happens. Numbers choose among what there is.
#[derive(Clone, Copy, Debug)]
pub(in crate::budget) enum Event {
    /// A call comes, and is sent if it is let through.
    Create,
    Resize {
        pool: usize,
        max: u32,
    },
    /// A call that was sent reaches upstream.
    Reach(usize),
    /// Its answer is read; one that has not reached upstream was refused.
    Answer(usize),
    /// Its answer is lost. If it has not reached upstream yet, it may still, for a while.
    Lose(usize),
    /// Whoever made the call is gone, and settles nothing.
    Kill(usize),
    /// A prebuild ends.
    End(usize),
    /// Somebody reads a prebuild, running or not.
    Read(usize),
    /// What was read is seen.
    See(usize),
    /// A census reads its list.
    Count,
    /// And is over.
    Apply(usize),
    Wait(u64),
}

#[derive(Clone, Copy, Debug)]
enum Sent {
    Create,
    Resize { pool: usize, max: u32 },
}

struct Call {
    request: RequestId,
    sent: Sent,
    /// The answer that upstream has for it.
    answer: Option<Sight>,
    /// It cannot reach upstream later than this.
    limit: Option<u64>,
    /// Nobody knows what becomes of it.
    is_lost: bool,
}

/// Upstream, the gateway, and what is on the way between them.
struct World<K> {
    now: u64,
    books: K,
    calls: Vec<Call>,
    running: BTreeMap<String, bool>,
    pools: Vec<Present>,
    reads: Vec<Sight>,
    censuses: Vec<(Stamp, Counted)>,
}

pub(in crate::budget) fn events() -> impl Strategy<Value = Vec<Event>> {
    let which = 0..3_usize;
    let event = prop_oneof![
        4 => Just(Event::Create),
        2 => (0..2_usize, 0..9_u32).prop_map(|(pool, max)| Event::Resize { pool, max }),
        4 => which.clone().prop_map(Event::Reach),
        3 => which.clone().prop_map(Event::Answer),
        1 => which.clone().prop_map(Event::Lose),
        1 => which.clone().prop_map(Event::Kill),
        3 => which.clone().prop_map(Event::End),
        2 => which.clone().prop_map(Event::Read),
        2 => which.clone().prop_map(Event::See),
        2 => Just(Event::Count),
        2 => which.prop_map(Event::Apply),
        3 => (0..40_u64).prop_map(Event::Wait),
    ];
    prop::collection::vec(event, 0..250)
}

fn name(pool: usize) -> String {
    format!("pool-{pool}")
}

impl<K: Kept> World<K> {
    fn new() -> Self {
        let mut world = Self {
            now: 0,
            books: K::new(),
            calls: Vec::new(),
            running: BTreeMap::new(),
            pools: vec![Present { max: 4, version: 1 }; 2],
            reads: Vec::new(),
            censuses: Vec::new(),
        };
        world.census();
        world
    }

    fn census(&mut self) {
        let (begun, counted) = self.count();
        self.books.on(at(self.now), |books, now| books.apply(now, begun, counted));
    }

    fn count(&mut self) -> (Stamp, Counted) {
        let begun = self.books.on(at(self.now), Books::begin);
        let running = self.running.iter().filter(|(_, runs)| **runs).map(|(id, _)| &**id);
        let named: Vec<_> = (0..self.pools.len()).map(name).collect();
        let present = self.pools.iter().zip(&named).map(|(pool, name)| (&**name, pool.max, pool.version));
        let prebuilds = standing(&running.collect::<Vec<_>>(), Extent::Whole).prebuilds;
        (begun, Counted { prebuilds, ..pools(&present.collect::<Vec<_>>()) })
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Create => self.call(&prebuild("p", &[running(RUNNING)]), Sent::Create),
            Event::Resize { pool: index, max } => {
                let present = self.pools[index];
                let present = Some((present.max, present.version));
                let claim = pool(&name(index), max, present, &[warm(WARM)]);
                self.call(&claim, Sent::Resize { pool: index, max });
            }
            Event::Reach(index) => self.reach(index),
            Event::Answer(index) => self.answer(index),
            Event::Lose(index) => {
                let limit = self.now + LATE.as_secs() - 1;
                if let Some(call) = self.calls.get_mut(index).filter(|call| !call.is_lost) {
                    (call.limit, call.is_lost) = (Some(limit), true);
                    let request = call.request;
                    self.books.on(at(self.now), |books, now| books.settle(now, request, End::Unknown, LATE));
                }
            }
            Event::Kill(index) => {
                if let Some(call) = self.calls.get_mut(index).filter(|call| call.limit.is_some()) {
                    call.is_lost = true;
                }
            }
            Event::End(index) => {
                if let Some(runs) = self.running.values_mut().filter(|runs| **runs).nth(index % 3) {
                    *runs = false;
                }
            }
            Event::Read(index) => {
                let read = self.running.iter().nth_back(index).map(|(id, runs)| sight(id, !runs));
                self.reads.extend(read);
            }
            Event::See(index) if index < self.reads.len() => {
                let read = self.reads.remove(index);
                self.books.on(at(self.now), |books, now| books.see(now, [read]));
            }
            Event::See(_) => {}
            Event::Count => {
                let census = self.count();
                self.censuses.push(census);
            }
            Event::Apply(index) if index < self.censuses.len() => {
                let (begun, counted) = self.censuses.remove(index);
                self.books.on(at(self.now), |books, now| books.apply(now, begun, counted));
            }
            Event::Apply(_) => {}
            Event::Wait(seconds) => self.now += seconds,
        }
        let now = self.now;
        self.calls.retain(|call| call.limit.is_none_or(|limit| limit > now));
    }

    fn call(&mut self, claim: &Claim, sent: Sent) {
        let verdict = self.books.on(at(self.now), |books, now| books.claim(now, claim, K::LEASE));
        if matches!(verdict, Verdict::Taken(_)) {
            let limit = K::LEASE.map(|lease| self.now + lease.as_secs() - 1);
            self.calls.push(Call { request: claim.request, sent, answer: None, limit, is_lost: false });
        }
    }

    fn reach(&mut self, index: usize) {
        let Some(call) = self.calls.get_mut(index).filter(|call| call.answer.is_none()) else { return };
        call.answer = Some(match call.sent {
            Sent::Create => {
                let id = format!("prebuild-{:04}", self.running.len());
                self.running.insert(id.clone(), true);
                sight(&id, false)
            }
            Sent::Resize { pool, max } => {
                let version = self.pools[pool].version + 1;
                self.pools[pool] = Present { max, version };
                super::pool_sight(&name(pool), max, version)
            }
        });
    }

    fn answer(&mut self, index: usize) {
        if self.calls.get(index).is_some_and(|call| !call.is_lost) {
            let call = self.calls.remove(index);
            let end = call.answer.map_or(End::Nothing, End::Shown);
            self.books.on(at(self.now), |books, now| books.settle(now, call.request, end, LATE));
        }
    }

    fn used(&mut self) -> u32 {
        self.look(&prebuild("p", &[running(1)]))
    }

    fn used_warm(&mut self) -> u32 {
        self.look(&Claim { work: Work::NewPool { max: 1 }, ..prebuild("p", &[warm(1)]) })
    }

    fn look(&mut self, claim: &Claim) -> u32 {
        let counts = self.books.on(at(self.now), |books, now| books.look(now, claim));
        counts.as_deref().and_then(<[Count]>::first).unwrap().used
    }

    fn runs(&self) -> u32 {
        u32::try_from(self.running.values().filter(|runs| **runs).count()).unwrap()
    }

    fn is_warm(&self) -> u32 {
        self.pools.iter().map(|pool| pool.max).sum()
    }
}

/// Whatever happens, at every step and in the end.
pub(in crate::budget) fn hold<K: Kept>(events: Vec<Event>) -> Result<(), TestCaseError> {
    let mut world = World::<K>::new();
    for event in events {
        world.happen(event);
        let (runs, is_warm) = (world.runs(), world.is_warm());
        prop_assert!(runs <= RUNNING, "{} run", runs);
        prop_assert!(is_warm <= WARM, "{} are warm", is_warm);
        prop_assert!(world.used() >= runs, "the books miss some");
        prop_assert!(world.used_warm() >= is_warm, "the books miss instances");
    }
    // Whatever is on the way arrives, or is lost for good.
    while !world.calls.is_empty() {
        let before = world.calls.len();
        world.answer(0);
        if world.calls.len() == before {
            world.now += 1;
            world.happen(Event::Wait(0));
        }
    }
    world.now += LATE.as_secs() + LAG.as_secs() + 1;
    world.census();
    let (runs, is_warm) = (world.runs(), world.is_warm());
    prop_assert_eq!((world.used(), world.used_warm()), (runs, is_warm));
    let stays = world.books.on(at(world.now), |books, _| !books.open.is_empty() || !books.ended.is_empty());
    prop_assert!(!stays, "something stays for ever");
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn never_above_the_limit_upstream_and_no_slot_is_lost(events in events()) {
        hold::<Books>(events)?;
    }
}

/// A list that shows more than there is takes no slot for longer than until the next one.
#[test]
fn a_census_that_is_wrong_is_forgotten() {
    let mut world = World::<Books>::new();
    let ids: BTreeSet<_> = (0..50).map(|index| format!("made-up-{index}")).collect();
    let prebuilds = ids.into_iter().map(|id| Standing { id, project: String::new() }).collect();
    let begun = world.books.begin(at(1));
    world.books.apply(at(1), begun, Counted { prebuilds, ..Counted::default() });
    world.now = 1;
    assert_eq!(world.used(), 50);
    world.now = 10;
    world.census();
    assert_eq!(world.used(), 0);
    let request = super::take(&mut world.books, 11, prebuild("p", &[running(1)]));
    assert!(matches!(prebuild("p", &[]).work, Work::Prebuild));
    world.books.settle(at(12), request, End::Nothing, LATE);
}

/// The way that a slot would be lost to a census that was begun too early: the model can see it.
#[test]
fn a_census_that_was_begun_before_a_creation_leaves_it() {
    let mut world = World::<Books>::new();
    for event in
        [Event::Wait(30), Event::Count, Event::Create, Event::Reach(0), Event::Answer(0), Event::Apply(0)]
    {
        world.happen(event);
        assert!(world.used() >= world.runs(), "{event:?}");
    }
    assert_eq!(world.runs(), 1);
}
